//! One call of the module: what is ordered before, during and after its work.

use std::{
    cell::{Cell, OnceCell},
    fs, process, thread,
    time::{Duration, Instant},
};

use cryptoki_sys::*;

use crate::{
    count::is_told,
    functions::real_functions,
    orders::{Action, First, Hang, Last, Order, Orders, directory},
    state, trace,
    turn::Turn,
};

/// Longest label that is compared.
const LABEL_OCTETS_MAX: usize = 1024;

/// Interval at which a hanging call checks whether its order still stands.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The object that a call is about.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    /// None.
    None,
    /// An object, by its handle in a session.
    Object(CK_SESSION_HANDLE, CK_OBJECT_HANDLE),
    /// The key of the session's signature.
    SignsWith(CK_SESSION_HANDLE),
}

pub(crate) struct Call {
    pub(crate) function: &'static str,
    pub(crate) real: &'static CK_FUNCTION_LIST,
    /// Whether the call only returned a length, so that there is no result to lose.
    pub(crate) gave_only_a_length: Cell<bool>,
    orders: Orders,
    subject: Subject,
    /// The label of the subject, read when an order needs it.
    label: OnceCell<Option<Vec<u8>>>,
}

/// Calls the real function.
macro_rules! real {
    ($call:ident.$name:ident($($argument:expr),*)) => {
        match $call.real.$name {
            // SAFETY: the caller's guarantees to us are those that the real function needs.
            Some(function) => unsafe { function($($argument),*) },
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use real;

/// The values of the orders of one kind for this call.
macro_rules! told {
    ($call:ident, $kind:pat => $value:expr) => {
        $call.told(|action| if let $kind = action { Some($value) } else { None })
    };
}
pub(crate) use told;

/// Runs a function with all orders for it.
pub(crate) fn around(
    function: &'static str,
    subject: Subject,
    work: impl FnOnce(&Call) -> CK_RV,
) -> CK_RV {
    let Some(real) = real_functions() else { return CKR_GENERAL_ERROR };
    let orders = match Orders::read() {
        Ok(orders) => orders,
        Err(words) => {
            // Fail, because tests would pass if an order were ignored.
            eprintln!("chaos: {function} fails because of {words}");
            return CKR_GENERAL_ERROR;
        }
    };
    let gave_only_a_length = Cell::new(false);
    let label = OnceCell::new();
    let call = Call { function, real, gave_only_a_length, orders, subject, label };
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
    /// The orders for this call that `pick` selects. The call counts for these orders only.
    pub(crate) fn told<T>(&self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        self.told_of(self.function, pick)
    }

    /// The same, with orders for another function.
    pub(crate) fn told_of<T>(&self, function: &str, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let orders = self.orders.of(function).filter(|order| self.is_of_the_key_of(order));
        let picked = orders.filter_map(|order| Some((order, pick(&order.action)?)));
        picked.filter(|(order, _)| is_told(&self.orders, order)).map(|(_, told)| told).collect()
    }

    /// Whether exactly this action is ordered.
    pub(crate) fn is_told(&self, wanted: &Action) -> bool {
        !self.told(|action| (action == wanted).then_some(())).is_empty()
    }

    /// Whether an order has no key, or that of this call.
    fn is_of_the_key_of(&self, order: &Order) -> bool {
        let Some(wanted) = &order.key else { return true };
        let label = self.label.get_or_init(|| self.read_label());
        label.as_ref().is_some_and(|label| wanted.fits(label))
    }

    fn read_label(&self) -> Option<Vec<u8>> {
        let (session, object) = match self.subject {
            Subject::None => return None,
            Subject::Object(session, object) => (session, object),
            Subject::SignsWith(session) => (session, state::signs_with(session)?),
        };
        label_of(self, session, object)
    }

    /// The return value of a call that is not executed.
    fn before(&self) -> Option<CK_RV> {
        if let Some(code) = state::removed().filter(|_| self.needs_a_token()) {
            return Some(code);
        }
        for order in self.orders.of(self.function) {
            let Action::First(action) = &order.action else { continue };
            if !self.is_of_the_key_of(order) || !is_told(&self.orders, order) {
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
                First::InTurn(time) => in_turn(*time),
                First::Hang(how) => hang(order, *how),
                First::Abort => process::abort(),
                First::Segfault => segfault(),
                First::Exit(status) => process::exit(*status),
                First::Leak(octets) => leak(*octets),
                First::LeakDescriptor => std::mem::forget(fs::File::open("/dev/null")),
            }
        }
        None
    }

    /// The return value of a call that was executed, or of its lost reply.
    fn after(&self, code: CK_RV) -> CK_RV {
        if code != CKR_OK || self.gave_only_a_length.get() {
            return code;
        }
        for order in self.orders.of(self.function) {
            let Action::Last(action) = &order.action else { continue };
            if !self.is_of_the_key_of(order) || !is_told(&self.orders, order) {
                continue;
            }
            match action {
                Last::Fail(code) => return *code,
                Last::Hang(how) => hang(order, *how),
                Last::Abort => process::abort(),
            }
        }
        code
    }

    /// The library itself answers without a token; its lists of slots are shorter then.
    fn needs_a_token(&self) -> bool {
        !matches!(self.function, "C_Initialize" | "C_Finalize" | "C_GetInfo" | "C_GetSlotList")
    }
}

/// Blocks while the order stands, or for good.
fn hang(order: &Order, how: Hang) {
    let stands = || Orders::read().is_ok_and(|orders| orders.has(order));
    while how == Hang::ForGood || stands() {
        thread::sleep(LOOK_AGAIN);
    }
}

/// Takes its time while no other call does, in whichever process: a device does one thing at a time.
fn in_turn(time: Duration) {
    let turn = directory().map(Turn::wait);
    if let Some(Err(error)) = &turn {
        eprintln!("chaos: no turn: {error}");
    }
    thread::sleep(time);
}

/// The label of an object.
pub(crate) fn label_of(
    call: &Call,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Option<Vec<u8>> {
    let mut label = vec![0; LABEL_OCTETS_MAX];
    let mut attribute = CK_ATTRIBUTE {
        type_: CKA_LABEL,
        pValue: label.as_mut_ptr().cast(),
        ulValueLen: label.len() as CK_ULONG,
    };
    let code = real!(call.C_GetAttributeValue(session, object, &raw mut attribute, 1));
    label.truncate(usize::try_from(attribute.ulValueLen).unwrap_or(0));
    (code == CKR_OK).then_some(label)
}

fn segfault() {
    // SAFETY: none. This is what a broken module does.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(0) }
}

/// Written to, so that the memory is really allocated.
fn leak(octets: usize) {
    std::mem::forget(vec![0xA5_u8; octets]);
}
