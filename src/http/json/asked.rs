//! Which members a reader asks for; the tests of the OpenAPI document compare them with its schemas.

use std::{cell::RefCell, mem};

thread_local! {
    static ASKED: RefCell<Vec<(String, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// Notes that a member of the object at a pointer was asked for.
pub(super) fn note(pointer: String, member: &'static str) {
    ASKED.with_borrow_mut(|asked| asked.push((pointer, member)));
}

/// Runs `read`; returns its value and the members that it asked for.
pub(in crate::http) fn during<T>(read: impl FnOnce() -> T) -> (T, Vec<(String, &'static str)>) {
    ASKED.take();
    let value = read();
    (value, ASKED.with_borrow_mut(mem::take))
}
