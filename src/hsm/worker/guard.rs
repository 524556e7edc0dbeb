//! Turns a panic inside cryptoki into a fault of the call that caused it.
//!
//! cryptoki indexes by the counts that a module returns, so a module that lies about one makes it panic.
//! Any other panic ends the process, see [`super::run_signer`].

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use cryptoki::error::Error;

use super::classify::fault;
use crate::hsm::fault::{Class, Fault};

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught by [`call`].
pub(super) fn is_guarded() -> bool {
    IS_GUARDED.get()
}

/// Makes a call of the module by cryptoki.
///
/// # Errors
/// [`Fault`] of the module; of device class, and naming `function`, when cryptoki panics.
pub(super) fn call<T>(function: &str, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Fault> {
    IS_GUARDED.set(true);
    // What a panic leaves half done is dropped with the session, because the fault ends the signer.
    let result = catch_unwind(AssertUnwindSafe(call));
    IS_GUARDED.set(false);
    match result {
        Ok(result) => result.map_err(|error| fault(&error)),
        Err(panic) => {
            let words = format!("the module returns what cannot be true: {}", message(&*panic));
            Err(Fault::ours(Class::Device, function, words))
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("a panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_fault_that_names_the_call() {
        let cache = [0_u8; 1];
        let fault = call("C_FindObjects", || Ok(cache[std::hint::black_box(500)])).unwrap_err();
        let text = fault.to_string();
        assert!(text.starts_with("C_FindObjects: ") && text.contains("500"), "{text}");
        assert_eq!((fault.class, is_guarded()), (Class::Device, false));
    }
}
