//! The functions of PKCS#11 v2.40. Each goes through [`around`](crate::call::around); those with orders of
//! their own are implemented in [`faults`](crate::faults).

use std::{env, ffi::c_void, sync::OnceLock};

use cryptoki_sys::*;
use libloading::Library;

use crate::{
    call::{Subject, around, real},
    faults::*,
    mechanisms::{mechanism_info, mechanism_list},
};

/// The wrapped module and its functions. Loaded once, never unloaded.
struct Wrapped {
    real: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
    _library: Library,
}

static WRAPPED: OnceLock<Result<Wrapped, String>> = OnceLock::new();

fn load() -> Result<Wrapped, String> {
    let path = env::var_os("CHAOS_MODULE").ok_or("CHAOS_MODULE names no module to wrap")?;
    let words = |error: libloading::Error| format!("{}: {error}", path.display());
    // SAFETY: what the module does when it is loaded is up to the test that names it.
    let library = unsafe { Library::new(&path) }.map_err(words)?;
    let mut list = std::ptr::null_mut();
    let code = {
        // SAFETY: PKCS#11 gives the symbol this type.
        let get = unsafe {
            library.get::<unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV>(
                b"C_GetFunctionList\0",
            )
        }
        .map_err(words)?;
        // SAFETY: the pointer is good for the call.
        unsafe { get(&raw mut list) }
    };
    if code != CKR_OK || list.is_null() {
        return Err(format!("C_GetFunctionList: {code:#x}"));
    }
    // SAFETY: a module that returns CKR_OK has written a list that lasts as long as the module.
    let real = unsafe { *list };
    Ok(Wrapped { ours: ours(&real), real, _library: library })
}

/// The entry of every PKCS#11 module.
///
/// # Safety
/// `list` must be good for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    match WRAPPED.get_or_init(load) {
        _ if list.is_null() => CKR_ARGUMENTS_BAD,
        Ok(wrapped) => {
            // SAFETY: the caller promises that the pointer can be written to.
            unsafe { *list = (&raw const wrapped.ours).cast_mut() };
            CKR_OK
        }
        Err(error) => {
            eprintln!("chaos: {error}");
            CKR_GENERAL_ERROR
        }
    }
}

/// The functions of the wrapped module. It is loaded before any call, because its list is asked for first.
pub(crate) fn real_functions() -> Option<&'static CK_FUNCTION_LIST> {
    WRAPPED.get()?.as_ref().ok().map(|wrapped| &wrapped.real)
}

/// The object that a call is about, by function and arguments.
macro_rules! subject {
    (C_SignInit, $session:ident, $_mechanism:ident, $key:ident) => {
        Subject::Object($session, $key)
    };
    (C_Sign, $session:ident $(, $_rest:ident)*) => {
        Subject::SignsWith($session)
    };
    (C_GetAttributeValue, $session:ident, $object:ident $(, $_rest:ident)*) => {
        Subject::Object($session, $object)
    };
    ($_name:ident $(, $_argument:ident)*) => {
        Subject::None
    };
}

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) $(=> $special:ident)?;)*) => {
        /// The names of all functions.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Our functions, where the real module has them.
        fn ours(real: &CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
            CK_FUNCTION_LIST {
                version: real.version,
                C_GetFunctionList: Some(C_GetFunctionList),
                $($name: real.$name.and(Some($name as unsafe extern "C" fn($($type),*) -> CK_RV)),)*
            }
        }

        $(
            unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                around(stringify!($name), subject!($name $(, $argument)*), |call| {
                    functions!(@work call, $name, ($($argument),*) $(, $special)?)
                })
            }
        )*
    };
    (@work $call:ident, $name:ident, ($($argument:ident),*)) => {
        real!($call.$name($($argument),*))
    };
    (@work $call:ident, $name:ident, ($($argument:ident),*), $special:ident) => {
        // SAFETY: the caller's promises to us are those that the real function needs.
        unsafe { $special($call, $($argument),*) }
    };
}

functions! {
    C_Initialize(a: *mut c_void) => initialize;
    C_Finalize(a: *mut c_void) => finalize;
    C_GetInfo(a: *mut CK_INFO);
    C_GetSlotList(a: CK_BBOOL, b: *mut CK_SLOT_ID, c: *mut CK_ULONG) => slot_list;
    C_GetSlotInfo(a: CK_SLOT_ID, b: *mut CK_SLOT_INFO);
    C_GetTokenInfo(a: CK_SLOT_ID, b: *mut CK_TOKEN_INFO) => token_info;
    C_GetMechanismList(
        a: CK_SLOT_ID, b: *mut CK_MECHANISM_TYPE, c: *mut CK_ULONG
    ) => mechanism_list;
    C_GetMechanismInfo(
        a: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO
    ) => mechanism_info;
    C_InitToken(a: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR);
    C_InitPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG);
    C_SetPIN(
        a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR, e: CK_ULONG
    );
    C_OpenSession(
        a: CK_SLOT_ID, b: CK_FLAGS, c: *mut c_void, d: CK_NOTIFY, e: *mut CK_SESSION_HANDLE
    ) => open_session;
    C_CloseSession(a: CK_SESSION_HANDLE) => close_session;
    C_CloseAllSessions(a: CK_SLOT_ID) => close_all_sessions;
    C_GetSessionInfo(a: CK_SESSION_HANDLE, b: *mut CK_SESSION_INFO);
    C_GetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SetOperationState(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE,
        e: CK_OBJECT_HANDLE
    );
    C_Login(a: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG) => login;
    C_Logout(a: CK_SESSION_HANDLE);
    C_CreateObject(
        a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE
    );
    C_CopyObject(
        a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_OBJECT_HANDLE
    );
    C_DestroyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    C_GetObjectSize(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ULONG);
    C_GetAttributeValue(
        a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG
    ) => attribute_value;
    C_SetAttributeValue(
        a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG
    );
    C_FindObjectsInit(
        a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG
    ) => find_objects_init;
    C_FindObjects(
        a: CK_SESSION_HANDLE, b: *mut CK_OBJECT_HANDLE, c: CK_ULONG, d: *mut CK_ULONG
    ) => find_objects;
    C_FindObjectsFinal(a: CK_SESSION_HANDLE);
    C_EncryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Encrypt(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_EncryptUpdate(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_EncryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_DecryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Decrypt(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_DecryptUpdate(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_DecryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_DigestInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM);
    C_Digest(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    C_DigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_DigestKey(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    C_DigestFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SignInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => sign_init;
    C_Sign(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    ) => sign;
    C_SignUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_SignFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    C_SignRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_SignRecover(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_VerifyInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_Verify(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG);
    C_VerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_VerifyFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_VerifyRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    C_VerifyRecover(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_DigestEncryptUpdate(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_DecryptDigestUpdate(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_SignEncryptUpdate(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_DecryptVerifyUpdate(
        a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    C_GenerateKey(
        a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_OBJECT_HANDLE
    );
    C_GenerateKeyPair(
        a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_ATTRIBUTE, f: CK_ULONG, g: *mut CK_OBJECT_HANDLE, h: *mut CK_OBJECT_HANDLE
    ) => generate_key_pair;
    C_WrapKey(
        a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE,
        e: *mut CK_BYTE, f: *mut CK_ULONG
    );
    C_UnwrapKey(
        a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE,
        e: CK_ULONG, f: *mut CK_ATTRIBUTE, g: CK_ULONG, h: *mut CK_OBJECT_HANDLE
    );
    C_DeriveKey(
        a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_ATTRIBUTE,
        e: CK_ULONG, f: *mut CK_OBJECT_HANDLE
    );
    C_SeedRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_GenerateRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    C_GetFunctionStatus(a: CK_SESSION_HANDLE);
    C_CancelFunction(a: CK_SESSION_HANDLE);
    C_WaitForSlotEvent(a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void);
}
