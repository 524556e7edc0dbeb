//! The calls of a module that cryptoki 0.12 has no safe or no cheap way to make, and one of the system.
//! All code of ours that the compiler does not check is in this file.
#![expect(
    unsafe_code,
    reason = "cryptoki asks for the length of a signature before each: twice the calls; pReserved is any \
              pointer; it fails on a time that is not as the standard has it; descriptors that nobody \
              owns can be closed by number alone"
)]

use std::{
    ffi::{CString, c_void},
    io,
    path::Path,
    ptr::{self, NonNull},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11},
    error::{Error, Rv},
    mechanism::Mechanism,
    object::ObjectHandle,
    session::Session,
    slot::{Slot, TokenInfo},
};
use cryptoki_sys::{
    CK_BYTE, CK_FUNCTION_LIST, CK_INFO, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO,
    CK_ULONG, CKF_CLOCK_ON_TOKEN, CKR_CRYPTOKI_NOT_INITIALIZED,
};

/// Room for a signature, in octets: one of RSA with 8192 bits. ECDSA needs 132.
const SIGNATURE_BYTES_MAX: usize = 1024;

type CGetTokenInfo = unsafe extern "C" fn(CK_SLOT_ID, *mut CK_TOKEN_INFO) -> CK_RV;
type CSign = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    *mut CK_BYTE,
    CK_ULONG,
    *mut CK_BYTE,
    *mut CK_ULONG,
) -> CK_RV;

/// Closes every descriptor but standard input, output and error; for the first moments of the process.
///
/// # Errors
/// Of close_range(2), which is there since Linux 5.9.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing of this process has opened a descriptor yet, so nobody's is closed here.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `C_Initialize` with arguments as the vendor has them, in `pReserved`. They are never freed: a module
/// may go on reading them.
///
/// # Errors
/// [`Error`] of the module.
pub(super) fn initialize(
    pkcs11: &Pkcs11,
    flags: CInitializeFlags,
    arguments: Option<&str>,
) -> Result<(), Error> {
    let text = arguments.map(CString::new).transpose().map_err(Error::NulError)?;
    let reserved = text.and_then(|text| NonNull::new(text.into_raw().cast::<c_void>()));
    pkcs11.initialize(match reserved {
        None => CInitializeArgs::new(flags),
        // SAFETY: memory that is ours alone, ends with a NUL, and is there until the process ends. What
        // the module takes it for is between its vendor and the operator who has set it.
        Some(reserved) => unsafe { CInitializeArgs::new_with_reserved(flags, reserved) },
    })
}

/// A module's own functions.
pub(super) struct Raw {
    sign: CSign,
    get_token_info: CGetTokenInfo,
    /// Keeps the module loaded, and so the functions where they are.
    _library: cryptoki_sys::Pkcs11,
}

impl Raw {
    /// Of a module that is loaded already, from the same path, and initialised: a second dlopen(3) of
    /// it is another reference to the first. `None` when the module is a new one for each that asks
    /// for its list, as that of p11-kit is: sessions of the first mean nothing to the second.
    ///
    /// # Errors
    /// [`Error`] of a module without a list of functions, or without `C_Sign`.
    pub(super) fn of(module: &Path) -> Result<Option<Self>, Error> {
        // SAFETY: the module is loaded, so none of its code runs here.
        let library =
            unsafe { cryptoki_sys::Pkcs11::new(module) }.map_err(Error::LibraryLoading)?;
        if library.C_GetFunctionList.is_err() {
            return Err(Error::MissingSymbol("C_GetFunctionList"));
        }
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: PKCS#11 v2.40, 5.4: writes one pointer to where it is told.
        Rv::from(unsafe { library.C_GetFunctionList(&raw mut list) })
            .into_result(Function::GetFunctionList)?;
        // SAFETY: the same section: on CKR_OK it points to a list that lives as long as the module,
        // which `library` keeps; the case of null is seen to.
        let list = unsafe { list.as_ref() }.ok_or(Error::NullFunctionPointer)?;
        let sign = list.C_Sign.ok_or(Error::NullFunctionPointer)?;
        let get_token_info = list.C_GetTokenInfo.ok_or(Error::NullFunctionPointer)?;
        let get_info = list.C_GetInfo.ok_or(Error::NullFunctionPointer)?;
        let mut info = CK_INFO::default();
        // SAFETY: PKCS#11 v2.40, 5.4: writes one CK_INFO to where it is told, or refuses.
        match unsafe { get_info(&raw mut info) } {
            CKR_CRYPTOKI_NOT_INITIALIZED => Ok(None),
            _ => Ok(Some(Self { sign, get_token_info, _library: library })),
        }
    }

    /// `C_GetTokenInfo`, without the time on the token, which nobody here asks for: opencryptoki 3.8
    /// writes `11:17:58` where the standard (v2.40, 3.2) has sixteen digits.
    ///
    /// # Errors
    /// [`Error`] of the module.
    pub(super) fn token_info(&self, slot: Slot) -> Result<TokenInfo, Error> {
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: PKCS#11 v2.40, 5.5: writes one CK_TOKEN_INFO to where it is told, or refuses.
        let value = unsafe { (self.get_token_info)(slot.id(), &raw mut info) };
        Rv::from(value).into_result(Function::GetTokenInfo)?;
        info.flags &= !CKF_CLOCK_ON_TOKEN;
        TokenInfo::try_from(info)
    }

    /// A signature by two calls: `C_SignInit` and `C_Sign`. After an error, and unless it is one of
    /// `C_SignInit`, an operation may be left open in the session.
    ///
    /// # Errors
    /// [`Error`] of the module.
    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        session.sign_init(mechanism, key)?;
        let mut signature = vec![0; SIGNATURE_BYTES_MAX];
        let mut length = signature.len() as CK_ULONG;
        // SAFETY: the session is open: it closes when dropped, and is borrowed. Both lengths are those
        // of the memory that the pointers lead to. `data` is not changed; the type of its pointer is
        // that of all of PKCS#11.
        let value = unsafe {
            (self.sign)(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                signature.as_mut_ptr(),
                &raw mut length,
            )
        };
        Rv::from(value).into_result(Function::Sign)?;
        let length = usize::try_from(length)?;
        if length > signature.len() {
            return Err(Error::InvalidValue);
        }
        signature.truncate(length);
        Ok(signature)
    }
}
