//! Functions with orders of their own, which lie, hide or forge.

use std::{
    cell::LazyCell,
    env,
    ffi::{CStr, c_void},
};

use cryptoki_sys::*;

use crate::{
    call::{Call, label_of, real, told},
    mechanisms::{is_hidden, real_data, real_mechanism},
    orders::{Action, Field},
    state, trace,
};

pub(crate) unsafe fn initialize(call: &Call, arguments: *mut c_void) -> CK_RV {
    // SAFETY: PKCS#11 allows nothing else than these arguments or null.
    let given = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>().as_ref() };
    if let Some(given) = given {
        if call.is_told(&Action::Record) {
            record_environment(given);
        }
        let without_mutexes = given.CreateMutex.is_none();
        if without_mutexes
            && given.flags & CKF_OS_LOCKING_OK != 0
            && call.is_told(&Action::CantLock)
        {
            return CKR_CANT_LOCK;
        }
    }
    real!(call.C_Initialize(arguments))
}

fn record_environment(given: &CK_C_INITIALIZE_ARGS) {
    trace::record("C_Initialize", &format!("flags {:#x}", given.flags));
    if !given.pReserved.is_null() {
        // SAFETY: modules that use pReserved take a text, and a test that records it passes one.
        let text = unsafe { CStr::from_ptr(given.pReserved.cast()) };
        trace::record("C_Initialize", &format!("reserved {}", text.to_bytes().escape_ascii()));
    }
    for (name, value) in env::vars_os() {
        let line = format!("environment {}={}", name.display(), value.display());
        trace::record("C_Initialize", &line.escape_default().to_string());
    }
}

pub(crate) unsafe fn finalize(call: &Call, reserved: *mut c_void) -> CK_RV {
    let code = real!(call.C_Finalize(reserved));
    if code == CKR_OK {
        state::finalized();
    }
    code
}

pub(crate) unsafe fn slot_list(
    call: &Call,
    with_token: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    if state::removed().is_some() && with_token != 0 && !count.is_null() {
        // SAFETY: the caller wants the number there.
        unsafe { *count = 0 };
        return CKR_OK;
    }
    let code = real!(call.C_GetSlotList(with_token, slots, count));
    // SAFETY: the caller wants the number there.
    lie_about_count(call, unsafe { count.as_mut() }, code);
    code
}

/// Returns another count than the real module does.
pub(crate) fn lie_about_count(call: &Call, count: Option<&mut CK_ULONG>, code: CK_RV) {
    let Some(count) = count.filter(|_| code == CKR_OK) else { return };
    for lie in told!(call, Action::LieCount(number) => *number) {
        *count = lie;
    }
}

pub(crate) unsafe fn token_info(call: &Call, slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let code = real!(call.C_GetTokenInfo(slot, info));
    // SAFETY: the real function has just filled it.
    let Some(info) = (unsafe { info.as_mut() }).filter(|_| code == CKR_OK) else { return code };
    for flags in told!(call, Action::SetFlags(flags) => *flags) {
        info.flags |= flags;
    }
    for flags in told!(call, Action::ClearFlags(flags) => *flags) {
        info.flags &= !flags;
    }
    for most in told!(call, Action::MaxSessions(most) => *most) {
        (info.ulMaxSessionCount, info.ulMaxRwSessionCount) = (most, most);
    }
    if call.is_told(&Action::CountSessions) {
        info.ulSessionCount = state::sessions() as CK_ULONG;
    }
    let texts = told!(call, Action::Text(field, text) => (*field, text.clone()));
    for (field, text) in texts {
        match field {
            Field::Label => pad(&mut info.label, &text),
            Field::Serial => pad(&mut info.serialNumber, &text),
            Field::Model => pad(&mut info.model, &text),
            Field::Manufacturer => pad(&mut info.manufacturerID, &text),
        }
    }
    code
}

/// PKCS#11 pads texts with blanks and does not terminate them.
fn pad(field: &mut [u8], text: &str) {
    field.fill(b' ');
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

pub(crate) unsafe fn open_session(
    call: &Call,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let limits = told!(call, Action::LimitSessions(most) => *most);
    if limits.into_iter().any(|most| state::sessions() >= most) {
        return CKR_SESSION_COUNT;
    }
    if call.is_told(&Action::ExclusiveSessions) && !state::has_token_alone() {
        return CKR_SESSION_COUNT;
    }
    let code = real!(call.C_OpenSession(slot, flags, application, notify, session));
    if code == CKR_OK && !session.is_null() {
        // SAFETY: the real function has put a handle there.
        state::opened(slot, unsafe { *session });
    }
    code
}

pub(crate) unsafe fn close_session(call: &Call, session: CK_SESSION_HANDLE) -> CK_RV {
    if call.is_told(&Action::LeakSession) {
        return CKR_OK;
    }
    let code = real!(call.C_CloseSession(session));
    // A session that the token does not know is not open either.
    if matches!(code, CKR_OK | CKR_SESSION_HANDLE_INVALID) {
        state::closed(session);
    }
    code
}

pub(crate) unsafe fn close_all_sessions(call: &Call, slot: CK_SLOT_ID) -> CK_RV {
    let code = real!(call.C_CloseAllSessions(slot));
    if code == CKR_OK {
        state::closed_all(slot);
    }
    code
}

pub(crate) unsafe fn login(
    call: &Call,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    if call.is_told(&Action::Record) {
        let pin = if pin.is_null() { "none".to_owned() } else { format!("{length} octets") };
        trace::record("C_Login", &format!("user {user:#x} pin {pin}"));
    }
    real!(call.C_Login(session, user, pin, length))
}

pub(crate) unsafe fn find_objects(
    call: &Call,
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    let batches = told!(call, Action::Batch(most) => *most);
    let class = state::searches_for(session);
    let ends = call.told(|action| {
        let Action::EndAfter(most, of) = action else { return None };
        let is_meant = of.is_none() || *of == class;
        is_meant.then(|| most.saturating_sub(state::found(session)))
    });
    let most = batches.into_iter().chain(ends).fold(most, CK_ULONG::min);
    let code = real!(call.C_FindObjects(session, objects, most, count));
    // SAFETY: the caller wants the number there.
    if let Some(count) = unsafe { count.as_mut() }.filter(|_| code == CKR_OK) {
        state::has_found(session, *count);
    }
    if code == CKR_OK && call.is_told(&Action::Record) && !objects.is_null() {
        // SAFETY: the real function has put as many handles there as it says.
        let found =
            unsafe { std::slice::from_raw_parts(objects, usize::try_from(*count).unwrap_or(0)) };
        for handle in found {
            trace::record("C_FindObjects", &format!("handle {handle}"));
        }
    }
    // SAFETY: as above.
    lie_about_count(call, unsafe { count.as_mut() }, code);
    code
}

pub(crate) unsafe fn find_objects_init(
    call: &Call,
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let mut class = None;
    if !template.is_null() {
        let length = usize::try_from(count).unwrap_or(0);
        // SAFETY: the caller gives that many attributes.
        let attributes = unsafe { std::slice::from_raw_parts(template, length) };
        let of_class = attributes.iter().find(|attribute| attribute.type_ == CKA_CLASS);
        // SAFETY: the value of this one is a class.
        class = of_class.and_then(|attribute| unsafe {
            attribute.pValue.cast::<CK_OBJECT_CLASS>().as_ref().copied()
        });
    }
    state::begins_a_search(session, class);
    real!(call.C_FindObjectsInit(session, template, count))
}

#[expect(clippy::too_many_arguments, reason = "the standard gives it nine")]
pub(crate) unsafe fn generate_key_pair(
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    publics: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    privates: CK_ULONG,
    to_public: *mut CK_OBJECT_HANDLE,
    to_private: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: a caller gives a mechanism or null.
    if unsafe { is_hidden(call, mechanism) } {
        return CKR_MECHANISM_INVALID;
    }
    let code = real!(call.C_GenerateKeyPair(
        session, mechanism, public, publics, private, privates, to_public, to_private
    ));
    if code == CKR_OK && call.is_told(&Action::Record) && !to_private.is_null() {
        // SAFETY: the real function has put a handle there.
        trace::record("C_GenerateKeyPair", &format!("handle {}", unsafe { *to_private }));
    }
    code
}

pub(crate) unsafe fn sign_init(
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: a caller gives a mechanism or null.
    if unsafe { is_hidden(call, mechanism) } {
        return CKR_MECHANISM_INVALID;
    }
    if call.is_told(&Action::Logout) {
        let _ = real!(call.C_Logout(session));
        trace::record("C_SignInit", "logout");
    }
    if call.is_told(&Action::Record) {
        trace::record("C_SignInit", &format!("handle {key}"));
    }
    state::set_signs_with(session, key);
    let label = LazyCell::new(|| label_of(call, session, key));
    let instead = call.told(|action| {
        let Action::Foreign(meant, instead) = action else { return None };
        let is_meant = meant.is_none() || *meant == *label;
        is_meant.then(|| instead.clone())
    });
    let key = match instead.into_iter().next() {
        None => key,
        Some(label) => match private_key(call, session, label) {
            Some(other) => other,
            None => {
                eprintln!("chaos: no private key has the label of the foreign one");
                return CKR_GENERAL_ERROR;
            }
        },
    };
    // SAFETY: a caller gives a mechanism or null.
    let Some(mut mechanism) = (unsafe { mechanism.as_ref() }).copied() else {
        return real!(call.C_SignInit(session, mechanism, key));
    };
    mechanism.mechanism = real_mechanism(call, session, mechanism.mechanism);
    real!(call.C_SignInit(session, &raw mut mechanism, key))
}

/// The first private key with this label.
fn private_key(
    call: &Call,
    session: CK_SESSION_HANDLE,
    mut label: Vec<u8>,
) -> Option<CK_OBJECT_HANDLE> {
    let mut class = CKO_PRIVATE_KEY;
    let mut template = [
        CK_ATTRIBUTE {
            type_: CKA_CLASS,
            pValue: (&raw mut class).cast(),
            ulValueLen: size_of::<CK_OBJECT_CLASS>() as CK_ULONG,
        },
        CK_ATTRIBUTE {
            type_: CKA_LABEL,
            pValue: label.as_mut_ptr().cast(),
            ulValueLen: label.len() as CK_ULONG,
        },
    ];
    let (mut key, mut found) = (0, 0);
    let code = real!(call.C_FindObjectsInit(session, template.as_mut_ptr(), 2));
    if code != CKR_OK {
        return None;
    }
    let code = real!(call.C_FindObjects(session, &raw mut key, 1, &raw mut found));
    let _ = real!(call.C_FindObjectsFinal(session));
    (code == CKR_OK && found == 1).then_some(key)
}

pub(crate) unsafe fn sign(
    call: &Call,
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    length: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_length: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller gives that many octets.
    let given =
        unsafe { std::slice::from_raw_parts_mut(data, usize::try_from(length).unwrap_or(0)) };
    let mut octets = match real_data(call, session, given) {
        Ok(octets) => octets,
        Err(code) => return code,
    };
    let count = octets.len() as CK_ULONG;
    let code = real!(call.C_Sign(session, octets.as_mut_ptr(), count, signature, signature_length));
    if signature.is_null() {
        call.gave_only_a_length.set(true);
        return code;
    }
    let flips = |of: &Option<CK_ULONG>| of.is_none_or(|of| of == length).then_some(());
    let flips = |action: &Action| if let Action::Flip(of) = action { flips(of) } else { None };
    if code == CKR_OK && !call.told(flips).is_empty() {
        // SAFETY: the real function has written that many octets there.
        unsafe {
            let last = usize::try_from(*signature_length).unwrap_or(1) - 1;
            *signature.add(last) ^= 1;
        }
    }
    code
}

pub(crate) unsafe fn attribute_value(
    call: &Call,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    if template.is_null() {
        return real!(call.C_GetAttributeValue(session, object, template, count));
    }
    // SAFETY: the caller gives that many attributes.
    let attributes =
        unsafe { std::slice::from_raw_parts_mut(template, usize::try_from(count).unwrap_or(0)) };
    let rooms: Vec<_> = attributes.iter().map(|attribute| attribute.ulValueLen).collect();
    let mut code = real!(call.C_GetAttributeValue(session, object, template, count));
    for (attribute, room) in attributes.iter_mut().zip(rooms) {
        let kind = attribute.type_;
        for value in lies(call, kind) {
            match value {
                Some(value) => show(attribute, room, &value),
                None => deface(attribute),
            }
        }
        if call.is_told(&Action::HideAttribute(kind)) {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            code = CKR_ATTRIBUTE_TYPE_INVALID;
        }
    }
    for attribute in attributes.iter_mut() {
        let lengths = call.told(|action| {
            let Action::LieLength(of, length) = action else { return None };
            (*of == attribute.type_).then_some(*length)
        });
        attribute.ulValueLen = lengths.into_iter().next_back().unwrap_or(attribute.ulValueLen);
        if call.is_told(&Action::Unavailable(attribute.type_)) {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
        }
    }
    let all_shown = attributes.iter().all(|a| a.ulValueLen != CK_UNAVAILABLE_INFORMATION);
    // The buffer was too small for the real value, and is large enough for the ordered one.
    if code == CKR_BUFFER_TOO_SMALL && all_shown { CKR_OK } else { code }
}

fn lies(call: &Call, kind: CK_ATTRIBUTE_TYPE) -> Vec<Option<Vec<u8>>> {
    call.told(|action| {
        if let Action::Lie(of, value) = action {
            (*of == kind).then(|| value.clone())
        } else {
            None
        }
    })
}

/// Flips the lowest bit of the first octet.
fn deface(attribute: &mut CK_ATTRIBUTE) {
    let is_there = !matches!(attribute.ulValueLen, 0 | CK_UNAVAILABLE_INFORMATION);
    if is_there && !attribute.pValue.is_null() {
        // SAFETY: the real function has written octets there.
        unsafe { *attribute.pValue.cast::<u8>() ^= 1 };
    }
}

/// Writes another value, or its length when there is no buffer.
fn show(attribute: &mut CK_ATTRIBUTE, room: CK_ULONG, value: &[u8]) {
    let length = value.len() as CK_ULONG;
    if !attribute.pValue.is_null() {
        if room < length {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            return;
        }
        // SAFETY: the caller has room for that many octets there.
        unsafe { attribute.pValue.cast::<u8>().copy_from(value.as_ptr(), value.len()) };
    }
    attribute.ulValueLen = length;
}
