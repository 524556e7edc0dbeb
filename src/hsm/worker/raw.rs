//! The calls of a module that cryptoki 0.12 does not make safely or cheaply, and one system call. All unsafe
//! code of this crate is in this file.
#![expect(
    unsafe_code,
    reason = "cryptoki asks for the length of a signature before each: twice the calls; it allocates and \
              indexes by whatever counts a module returns; pReserved is any pointer; it fails on a time \
              that is not as the standard has it; descriptors that nobody owns can be closed by number \
              alone"
)]

use std::{
    ffi::{CString, c_void},
    io,
    path::Path,
    ptr::{self, NonNull},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11},
    error::{Error, Rv, RvError},
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
    slot::{Slot, TokenInfo},
};
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM_TYPE,
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_TRUE, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CKF_CLOCK_ON_TOKEN, CKR_CRYPTOKI_NOT_INITIALIZED,
};

use super::classify::fault;
use crate::hsm::fault::{Class, Fault};

/// Room for a signature, in octets: one of RSA with 8192 bits. ECDSA needs 132.
const SIGNATURE_BYTES_MAX: usize = 1024;
/// Limit of the slots, or of the mechanisms of a slot, that a module may report.
const LIST_MAX: usize = 4_096;
/// Limit of an attribute's length, in octets. The longest that are read are certificates.
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

type CGetSlotList = unsafe extern "C" fn(CK_BBOOL, *mut CK_SLOT_ID, *mut CK_ULONG) -> CK_RV;
type CGetMechanismList =
    unsafe extern "C" fn(CK_SLOT_ID, *mut CK_MECHANISM_TYPE, *mut CK_ULONG) -> CK_RV;
type CGetAttributeValue =
    unsafe extern "C" fn(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG) -> CK_RV;
type CGetTokenInfo = unsafe extern "C" fn(CK_SLOT_ID, *mut CK_TOKEN_INFO) -> CK_RV;
type CSign = unsafe extern "C" fn(
    CK_SESSION_HANDLE,
    *mut CK_BYTE,
    CK_ULONG,
    *mut CK_BYTE,
    *mut CK_ULONG,
) -> CK_RV;

/// Closes every descriptor but standard input, output and error. Call it at the start of the process.
///
/// # Errors
/// Of close_range(2), which exists since Linux 5.9.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: at the start of the process no code of ours owns a descriptor, so none in use is closed.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `C_Initialize` with the vendor's arguments in `pReserved`. They are never freed, because a module may go
/// on reading them.
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
        // SAFETY: the memory belongs to this call alone, ends with a NUL, and is never freed. How the module
        // interprets it is between its vendor and the operator who has configured it.
        Some(reserved) => unsafe { CInitializeArgs::new_with_reserved(flags, reserved) },
    })
}

/// Functions of a module, called without cryptoki.
pub(super) struct Raw {
    sign: CSign,
    get_token_info: CGetTokenInfo,
    get_slot_list: CGetSlotList,
    get_mechanism_list: CGetMechanismList,
    get_attribute_value: CGetAttributeValue,
    /// Keeps the module loaded, and so the function pointers valid.
    _library: cryptoki_sys::Pkcs11,
}

impl Raw {
    /// The functions of a module that cryptoki has loaded from the same path and initialised: a second
    /// dlopen(3) returns the same module. `None` when the module creates a new instance for each
    /// C_GetFunctionList, as that of p11-kit does, because sessions of one instance are invalid in another.
    ///
    /// # Errors
    /// [`Error`] of a module without a list of functions, or without one of these functions.
    pub(super) fn of(module: &Path) -> Result<Option<Self>, Error> {
        // SAFETY: the module is loaded already, so this runs none of its code.
        let library =
            unsafe { cryptoki_sys::Pkcs11::new(module) }.map_err(Error::LibraryLoading)?;
        if library.C_GetFunctionList.is_err() {
            return Err(Error::MissingSymbol("C_GetFunctionList"));
        }
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: PKCS#11 v2.40, 5.4: writes one pointer to the given place.
        Rv::from(unsafe { library.C_GetFunctionList(&raw mut list) })
            .into_result(Function::GetFunctionList)?;
        // SAFETY: the same section: on CKR_OK it points to a list that lives as long as the module, which
        // `library` keeps loaded; null is handled.
        let list = unsafe { list.as_ref() }.ok_or(Error::NullFunctionPointer)?;
        let sign = list.C_Sign.ok_or(Error::NullFunctionPointer)?;
        let get_token_info = list.C_GetTokenInfo.ok_or(Error::NullFunctionPointer)?;
        let get_slot_list = list.C_GetSlotList.ok_or(Error::NullFunctionPointer)?;
        let get_mechanism_list = list.C_GetMechanismList.ok_or(Error::NullFunctionPointer)?;
        let get_attribute_value = list.C_GetAttributeValue.ok_or(Error::NullFunctionPointer)?;
        let get_info = list.C_GetInfo.ok_or(Error::NullFunctionPointer)?;
        let mut info = CK_INFO::default();
        // SAFETY: PKCS#11 v2.40, 5.4: writes one CK_INFO to the given place, or fails.
        match unsafe { get_info(&raw mut info) } {
            CKR_CRYPTOKI_NOT_INITIALIZED => Ok(None),
            _ => Ok(Some(Self {
                sign,
                get_token_info,
                get_slot_list,
                get_mechanism_list,
                get_attribute_value,
                _library: library,
            })),
        }
    }

    /// `C_GetTokenInfo` without the token's time, which is not used here and which opencryptoki 3.8 writes as
    /// `11:17:58` where the standard (v2.40, 3.2) has sixteen digits.
    ///
    /// # Errors
    /// [`Error`] of the module.
    pub(super) fn token_info(&self, slot: Slot) -> Result<TokenInfo, Error> {
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: PKCS#11 v2.40, 5.5: writes one CK_TOKEN_INFO to the given place, or fails.
        let value = unsafe { (self.get_token_info)(slot.id(), &raw mut info) };
        Rv::from(value).into_result(Function::GetTokenInfo)?;
        info.flags &= !CKF_CLOCK_ON_TOKEN;
        TokenInfo::try_from(info)
    }

    /// `C_GetSlotList`: the slots with a token.
    ///
    /// # Errors
    /// [`Fault`] of the module, or when the count that it returns cannot be true.
    pub(super) fn slots_with_token(&self) -> Result<Vec<Slot>, Fault> {
        let ids = read_list(Function::GetSlotList, |ids, count| {
            // SAFETY: PKCS#11 v2.40, 5.5: writes the count alone where `ids` is null, else no more ids
            // than the count says, which is the room that `ids` has.
            unsafe { (self.get_slot_list)(CK_TRUE, ids, count) }
        })?;
        let slots = ids.into_iter().map(Slot::try_from);
        slots.collect::<Result<_, _>>().map_err(|error| fault(&error))
    }

    /// `C_GetMechanismList`, without mechanisms that cryptoki does not know.
    ///
    /// # Errors
    /// [`Fault`] of the module, or when the count that it returns cannot be true.
    pub(super) fn mechanisms(&self, slot: Slot) -> Result<Vec<MechanismType>, Fault> {
        let types = read_list(Function::GetMechanismList, |types, count| {
            // SAFETY: PKCS#11 v2.40, 5.5: as for C_GetSlotList.
            unsafe { (self.get_mechanism_list)(slot.id(), types, count) }
        })?;
        Ok(types.into_iter().filter_map(|kind| MechanismType::try_from(kind).ok()).collect())
    }

    /// `C_GetAttributeValue`: the attributes that the module is willing to give. The first call asks for
    /// the lengths of those that have no fixed one, the second for their values.
    ///
    /// # Errors
    /// [`Fault`] of the module, or when a length that it returns cannot be true.
    pub(super) fn attributes(
        &self,
        session: &Session,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Vec<Attribute>, Fault> {
        let mut values: Vec<Vec<u8>> =
            wanted.iter().map(|kind| vec![0; kind.fixed_size().unwrap_or(0)]).collect();
        let mut told = self.read_values(session, object, wanted, &mut values)?;
        let (mut missing, mut places) = (Vec::new(), Vec::new());
        for (at, length) in told.iter().enumerate() {
            let Some(length) = *length else { continue };
            if wanted[at].fixed_size().is_none() || length > values[at].len() {
                values[at] = vec![0; length];
                missing.push(wanted[at]);
                places.push(at);
            }
        }
        if !missing.is_empty() {
            let mut rest: Vec<_> =
                places.iter().map(|at| std::mem::take(&mut values[*at])).collect();
            let lengths = self.read_values(session, object, &missing, &mut rest)?;
            for ((at, value), length) in places.into_iter().zip(rest).zip(lengths) {
                (values[at], told[at]) = (value, length);
            }
        }
        let mut attributes = Vec::with_capacity(wanted.len());
        for ((kind, value), length) in wanted.iter().zip(&mut values).zip(told) {
            let Some(length) = length else { continue };
            if length > value.len() {
                return Err(implausible(Function::GetAttributeValue, length as CK_ULONG));
            }
            value.truncate(length);
            let attribute = Attribute::try_from(as_attribute(*kind, value)).map_err(|error| {
                let words = format!("{kind} of {length} octets: {error}");
                Fault::ours(Class::Device, "C_GetAttributeValue", words)
            })?;
            attributes.push(attribute);
        }
        Ok(attributes)
    }

    /// One `C_GetAttributeValue`: the lengths that it returns, `None` where the module does not give the
    /// attribute. An empty value stands for a question after the length.
    fn read_values(
        &self,
        session: &Session,
        object: ObjectHandle,
        wanted: &[AttributeType],
        values: &mut [Vec<u8>],
    ) -> Result<Vec<Option<usize>>, Fault> {
        let mut template: Vec<CK_ATTRIBUTE> =
            wanted.iter().zip(values).map(|(kind, value)| as_attribute(*kind, value)).collect();
        // SAFETY: PKCS#11 v2.40, 5.7: writes into the template, of the length that is given, and into
        // each value no more than its length says. All of these outlive the call.
        let value = unsafe {
            (self.get_attribute_value)(
                session.handle(),
                object.handle(),
                template.as_mut_ptr(),
                template.len() as CK_ULONG,
            )
        };
        match Rv::from(value) {
            Rv::Ok
            | Rv::Error(
                RvError::BufferTooSmall
                | RvError::AttributeSensitive
                | RvError::AttributeTypeInvalid,
            ) => {}
            refused => {
                let refused = refused.into_result(Function::GetAttributeValue);
                refused.map_err(|error| fault(&error))?;
            }
        }
        let length = |attribute: &CK_ATTRIBUTE| match attribute.ulValueLen {
            CK_UNAVAILABLE_INFORMATION => Ok(None),
            length => match usize::try_from(length) {
                Ok(octets) if octets <= ATTRIBUTE_BYTES_MAX => Ok(Some(octets)),
                Ok(_) | Err(_) => Err(implausible(Function::GetAttributeValue, length)),
            },
        };
        template.iter().map(length).collect()
    }

    /// A signature by two calls: `C_SignInit` and `C_Sign`. An error of `C_Sign` may leave an operation open
    /// in the session.
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
        // SAFETY: the session is borrowed and closes only when dropped. Both lengths are those of the memory
        // behind the pointers. `data` is not written to; its pointer is mutable because all pointers of
        // PKCS#11 are.
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

/// An attribute whose buffer is this value; no buffer where it is empty.
fn as_attribute(kind: AttributeType, value: &mut [u8]) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: kind.into(),
        pValue: match value.is_empty() {
            true => ptr::null_mut(),
            false => value.as_mut_ptr().cast(),
        },
        ulValueLen: value.len() as CK_ULONG,
    }
}

/// A list by the convention of PKCS#11 (v2.40, 5.2): the first call returns the count, the second the
/// elements. The second is repeated when the list has grown in between.
fn read_list<T: Clone + Default>(
    function: Function,
    call: impl Fn(*mut T, *mut CK_ULONG) -> CK_RV,
) -> Result<Vec<T>, Fault> {
    let mut count = 0;
    Rv::from(call(ptr::null_mut(), &raw mut count))
        .into_result(function)
        .map_err(|error| fault(&error))?;
    loop {
        let room = match usize::try_from(count) {
            Ok(room) if room <= LIST_MAX => room,
            Ok(_) | Err(_) => return Err(implausible(function, count)),
        };
        let mut list = vec![T::default(); room];
        match Rv::from(call(list.as_mut_ptr(), &raw mut count)) {
            Rv::Error(RvError::BufferTooSmall) if count > room as CK_ULONG => {}
            told @ (Rv::Ok | Rv::Error(_)) => {
                told.into_result(function).map_err(|error| fault(&error))?;
                if count > room as CK_ULONG {
                    return Err(implausible(function, count));
                }
                list.truncate(usize::try_from(count).unwrap_or(room));
                return Ok(list);
            }
        }
    }
}

fn implausible(function: Function, number: CK_ULONG) -> Fault {
    let words = format!("the module returns a count or length that cannot be true: {number}");
    Fault::ours(Class::Device, &format!("C_{function:?}"), words)
}
