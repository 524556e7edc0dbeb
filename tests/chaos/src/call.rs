//! One call: what it is told before, during and after its work.

use std::{
    cell::Cell,
    fs, process, thread,
    time::{Duration, Instant},
};

use cryptoki_sys::*;

use crate::{
    count::is_told,
    functions::real_functions,
    orders::{Action, First, Last, Order, Orders},
    state, trace,
};

/// Between two looks at whether an order is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A call under way.
pub(crate) struct Call {
    pub(crate) function: &'static str,
    pub(crate) real: &'static CK_FUNCTION_LIST,
    /// There is no work whose reply could be lost.
    pub(crate) gave_only_a_length: Cell<bool>,
    orders: Orders,
}

/// Calls the real function.
macro_rules! real {
    ($call:ident.$name:ident($($argument:expr),*)) => {
        match $call.real.$name {
            // SAFETY: the caller's promises to us are those that the real function needs.
            Some(function) => unsafe { function($($argument),*) },
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use real;

/// The values of the orders of a kind for this call.
macro_rules! told {
    ($call:ident, $kind:pat => $value:expr) => {
        $call.told(|action| if let $kind = action { Some($value) } else { None })
    };
}
pub(crate) use told;

/// Runs a function with all that was ordered for it.
pub(crate) fn around(function: &'static str, work: impl FnOnce(&Call) -> CK_RV) -> CK_RV {
    let Some(real) = real_functions() else { return CKR_GENERAL_ERROR };
    let orders = match Orders::read() {
        Ok(orders) => orders,
        Err(words) => {
            // An order that nobody carries out would make every test pass.
            eprintln!("chaos: {function} fails because of {words}");
            return CKR_GENERAL_ERROR;
        }
    };
    let call = Call { function, real, gave_only_a_length: Cell::new(false), orders };
    let traced = call.is_told(&Action::Trace);
    let begin = Instant::now();
    if traced {
        trace::begin(function);
    }
    let code = call.before().unwrap_or_else(|| call.after(work(&call)));
    if traced {
        trace::end(function, code, begin.elapsed());
    }
    code
}

impl Call {
    /// What was ordered for this call, as far as `pick` wants it; it counts for those orders alone.
    pub(crate) fn told<T>(&self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        self.told_of(self.function, pick)
    }

    /// The same of orders that name another function.
    pub(crate) fn told_of<T>(&self, function: &str, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let orders = self.orders.of(function);
        let picked = orders.filter_map(|order| Some((order, pick(&order.action)?)));
        picked.filter(|(order, _)| is_told(&self.orders, order)).map(|(_, told)| told).collect()
    }

    /// Whether this very action was ordered.
    pub(crate) fn is_told(&self, wanted: &Action) -> bool {
        !self.told(|action| (action == wanted).then_some(())).is_empty()
    }

    /// The code of a call that does not come to its work.
    fn before(&self) -> Option<CK_RV> {
        if let Some(code) = state::removed().filter(|_| self.needs_a_token()) {
            return Some(code);
        }
        for order in self.orders.of(self.function) {
            let Action::First(action) = &order.action else { continue };
            if !is_told(&self.orders, order) {
                continue;
            }
            match action {
                First::Fail(code) => return Some(*code),
                First::Removed(code) => {
                    state::remove(*code);
                    if self.needs_a_token() {
                        return Some(*code);
                    }
                }
                First::Delay(time) => thread::sleep(*time),
                First::Hang => hang(order),
                First::Abort => process::abort(),
                First::Segfault => segfault(),
                First::Exit(status) => process::exit(*status),
                First::Leak(octets) => leak(*octets),
                First::LeakDescriptor => std::mem::forget(fs::File::open("/dev/null")),
            }
        }
        None
    }

    /// The lost reply of a call that has done its work.
    fn after(&self, code: CK_RV) -> CK_RV {
        if code != CKR_OK || self.gave_only_a_length.get() {
            return code;
        }
        for order in self.orders.of(self.function) {
            let Action::Last(action) = &order.action else { continue };
            if !is_told(&self.orders, order) {
                continue;
            }
            match action {
                Last::Fail(code) => return *code,
                Last::Hang => hang(order),
                Last::Abort => process::abort(),
            }
        }
        code
    }

    /// The library itself answers without a token; lists of slots are short then.
    fn needs_a_token(&self) -> bool {
        !matches!(self.function, "C_Initialize" | "C_Finalize" | "C_GetInfo" | "C_GetSlotList")
    }
}

/// Blocks for as long as the order is there.
fn hang(order: &Order) {
    let stands = || Orders::read().is_ok_and(|orders| orders.has(order));
    while stands() {
        thread::sleep(LOOK_AGAIN);
    }
}

fn segfault() {
    // SAFETY: none. It is what a broken module does.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(0) }
}

/// Memory that is really taken, not only promised.
fn leak(octets: usize) {
    std::mem::forget(vec![0xA5_u8; octets]);
}
