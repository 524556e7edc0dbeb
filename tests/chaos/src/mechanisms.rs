//! Hidden mechanisms, and mechanisms that hash for a module that has only those that do not. The digest is
//! made by the real module.

use std::ptr;

use cryptoki_sys::*;

use crate::{
    call::{Call, real},
    faults::lie_about_count,
    orders::Action,
    state,
};

pub(crate) unsafe fn mechanism_list(
    call: &Call,
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller gives a place for a number, or null.
    let Some(count) = (unsafe { count.as_mut() }) else {
        return real!(call.C_GetMechanismList(slot, list, count));
    };
    let offered = offered(call);
    let room = *count;
    let code = real!(call.C_GetMechanismList(slot, list, &raw mut *count));
    if code != CKR_OK || list.is_null() {
        // Room for the offered mechanisms too.
        *count += offered.len() as CK_ULONG;
        lie_about_count(call, Some(count), code);
        return code;
    }
    let hidden = hidden_mechanisms(call);
    // SAFETY: the real function has written that many, where the caller had room for them.
    let all = unsafe { std::slice::from_raw_parts(list, usize::try_from(*count).unwrap_or(0)) };
    let shown: Vec<_> =
        all.iter().filter(|one| !hidden.contains(one)).chain(&offered).copied().collect();
    *count = shown.len() as CK_ULONG;
    if *count > room {
        return CKR_BUFFER_TOO_SMALL;
    }
    // SAFETY: the caller has room for as many.
    unsafe { std::ptr::copy_nonoverlapping(shown.as_ptr(), list, shown.len()) };
    lie_about_count(call, Some(count), code);
    code
}

pub(crate) unsafe fn mechanism_info(
    call: &Call,
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    if hidden_mechanisms(call).contains(&mechanism) {
        return CKR_MECHANISM_INVALID;
    }
    real!(call.C_GetMechanismInfo(slot, mechanism, info))
}

/// Whether the mechanism is hidden by an order.
pub(crate) unsafe fn is_hidden(call: &Call, mechanism: *mut CK_MECHANISM) -> bool {
    // SAFETY: a caller gives a mechanism or null.
    let Some(mechanism) = (unsafe { mechanism.as_ref() }) else { return false };
    hidden_mechanisms(call).contains(&mechanism.mechanism)
}

fn hidden_mechanisms(call: &Call) -> Vec<CK_MECHANISM_TYPE> {
    call.told_of("C_GetMechanismList", |action| {
        if let Action::HideMechanism(mechanism) = action { Some(*mechanism) } else { None }
    })
}

/// The mechanisms that `offer` adds to the list.
pub(crate) fn offered(call: &Call) -> Vec<CK_MECHANISM_TYPE> {
    call.told_of("C_GetMechanismList", |action| {
        if let Action::OfferMechanism(mechanism) = action { Some(*mechanism) } else { None }
    })
}

/// The real module's mechanism for one that is only offered. Records whether the session hashes.
pub(crate) fn real_mechanism(
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
) -> CK_MECHANISM_TYPE {
    let hash = if offered(call).contains(&mechanism) { hash_of(mechanism) } else { None };
    state::set_hash(session, hash);
    if hash.is_some() { CKM_ECDSA } else { mechanism }
}

fn hash_of(mechanism: CK_MECHANISM_TYPE) -> Option<CK_MECHANISM_TYPE> {
    match mechanism {
        CKM_ECDSA_SHA256 => Some(CKM_SHA256),
        CKM_ECDSA_SHA384 => Some(CKM_SHA384),
        CKM_ECDSA_SHA512 => Some(CKM_SHA512),
        _ => None,
    }
}

/// The data for the real module: as given, or their digest where the session hashes.
pub(crate) fn real_data(
    call: &Call,
    session: CK_SESSION_HANDLE,
    data: &mut [u8],
) -> Result<Vec<u8>, CK_RV> {
    let Some((slot, hash)) = state::hash(session) else { return Ok(data.to_vec()) };
    let ok = |code| if code == CKR_OK { Ok(()) } else { Err(code) };
    let mut helper = 0;
    let flags = CKF_SERIAL_SESSION;
    ok(real!(call.C_OpenSession(slot, flags, ptr::null_mut(), None, &raw mut helper)))?;
    let mut mechanism =
        CK_MECHANISM { mechanism: hash, pParameter: ptr::null_mut(), ulParameterLen: 0 };
    let mut digest = vec![0; 64];
    let mut length = digest.len() as CK_ULONG;
    let octets = data.len() as CK_ULONG;
    let made = ok(real!(call.C_DigestInit(helper, &raw mut mechanism))).and_then(|()| {
        let to = digest.as_mut_ptr();
        ok(real!(call.C_Digest(helper, data.as_mut_ptr(), octets, to, &raw mut length)))
    });
    ok(real!(call.C_CloseSession(helper)))?;
    made?;
    digest.truncate(usize::try_from(length).unwrap_or(0));
    Ok(digest)
}
