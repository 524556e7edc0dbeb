//! Classification of PKCS#11 return values (v2.40, section 5.1) by what has to happen next.

use cryptoki::{
    context::Function,
    error::{Error, RvError},
};

use crate::hsm::fault::{Class, Code, Fault};

/// The fault for an error of cryptoki.
pub(super) fn fault(error: &Error) -> Fault {
    match error {
        Error::Pkcs11(value, function) => {
            let (name, number, class) = classify(*function, *value);
            Fault {
                class,
                function: format!("C_{function:?}"),
                code: Some(Code { name, number }),
                detail: String::new(),
            }
        }
        Error::LibraryLoading(_) | Error::MissingSymbol(_) => {
            Fault::ours(Class::Configuration, "dlopen", error.to_string())
        }
        Error::NotSupported
        | Error::TryFromInt(_)
        | Error::TryFromSlice(_)
        | Error::ParseInt(_)
        | Error::Utf8(_)
        | Error::NulError(_)
        | Error::NullFunctionPointer
        | Error::InvalidValue
        | Error::PinNotSet => Fault::ours(Class::Device, "PKCS#11", error.to_string()),
    }
}

/// Whether a login failed with a code that does not mention the PIN.
pub(super) fn is_unexplained_login(error: &Error) -> bool {
    let Error::Pkcs11(value, Function::Login) = error else { return false };
    row(*value).2 == Class::Unexpected
}

/// Name, number and class. The function decides where a code has two meanings.
pub(super) fn classify(function: Function, value: RvError) -> (String, u64, Class) {
    let (name, number, class) = row(value);
    // Some tokens count a wrong PIN without returning CKR_PIN_INCORRECT, so an unexplained failure of a login
    // is not retried.
    let unexplained_login = matches!(function, Function::Login) && class == Class::Unexpected;
    (name.to_owned(), number, if unexplained_login { Class::Credential } else { class })
}

#[rustfmt::skip]
fn row(value: RvError) -> (&'static str, u64, Class) {
    match value {
        RvError::Cancel => ("CKR_CANCEL", 0x1, Class::Unexpected),
        RvError::HostMemory => ("CKR_HOST_MEMORY", 0x2, Class::Capacity),
        RvError::SlotIdInvalid => ("CKR_SLOT_ID_INVALID", 0x3, Class::Device),
        RvError::GeneralError => ("CKR_GENERAL_ERROR", 0x5, Class::Device),
        RvError::FunctionFailed => ("CKR_FUNCTION_FAILED", 0x6, Class::Unexpected),
        RvError::ArgumentsBad => ("CKR_ARGUMENTS_BAD", 0x7, Class::Unexpected),
        RvError::NoEvent => ("CKR_NO_EVENT", 0x8, Class::Unexpected),
        RvError::NeedToCreateThreads => ("CKR_NEED_TO_CREATE_THREADS", 0x9, Class::Device),
        RvError::CantLock => ("CKR_CANT_LOCK", 0xa, Class::Device),
        RvError::AttributeReadOnly => ("CKR_ATTRIBUTE_READ_ONLY", 0x10, Class::Unexpected),
        RvError::AttributeSensitive => ("CKR_ATTRIBUTE_SENSITIVE", 0x11, Class::Unexpected),
        RvError::AttributeTypeInvalid => ("CKR_ATTRIBUTE_TYPE_INVALID", 0x12, Class::Unexpected),
        RvError::AttributeValueInvalid => ("CKR_ATTRIBUTE_VALUE_INVALID", 0x13, Class::Unexpected),
        RvError::ActionProhibited => ("CKR_ACTION_PROHIBITED", 0x1b, Class::Unexpected),
        RvError::DataInvalid => ("CKR_DATA_INVALID", 0x20, Class::Caller),
        RvError::DataLenRange => ("CKR_DATA_LEN_RANGE", 0x21, Class::Caller),
        RvError::DeviceError => ("CKR_DEVICE_ERROR", 0x30, Class::Device),
        RvError::DeviceMemory => ("CKR_DEVICE_MEMORY", 0x31, Class::Capacity),
        RvError::DeviceRemoved => ("CKR_DEVICE_REMOVED", 0x32, Class::Device),
        RvError::EncryptedDataInvalid => ("CKR_ENCRYPTED_DATA_INVALID", 0x40, Class::Unexpected),
        RvError::EncryptedDataLenRange => ("CKR_ENCRYPTED_DATA_LEN_RANGE", 0x41, Class::Unexpected),
        RvError::FunctionCanceled => ("CKR_FUNCTION_CANCELED", 0x50, Class::Unexpected),
        RvError::FunctionNotParallel => ("CKR_FUNCTION_NOT_PARALLEL", 0x51, Class::Unexpected),
        RvError::FunctionNotSupported => ("CKR_FUNCTION_NOT_SUPPORTED", 0x54, Class::Unexpected),
        RvError::CurveNotSupported => ("CKR_CURVE_NOT_SUPPORTED", 0x140, Class::Unexpected),
        RvError::KeyHandleInvalid => ("CKR_KEY_HANDLE_INVALID", 0x60, Class::Handle),
        RvError::KeySizeRange => ("CKR_KEY_SIZE_RANGE", 0x62, Class::Caller),
        RvError::KeyTypeInconsistent => ("CKR_KEY_TYPE_INCONSISTENT", 0x63, Class::Caller),
        RvError::KeyNotNeeded => ("CKR_KEY_NOT_NEEDED", 0x64, Class::Unexpected),
        RvError::KeyChanged => ("CKR_KEY_CHANGED", 0x65, Class::Unexpected),
        RvError::KeyNeeded => ("CKR_KEY_NEEDED", 0x66, Class::Unexpected),
        RvError::KeyIndigestible => ("CKR_KEY_INDIGESTIBLE", 0x67, Class::Unexpected),
        RvError::KeyFunctionNotPermitted => ("CKR_KEY_FUNCTION_NOT_PERMITTED", 0x68, Class::Caller),
        RvError::KeyNotWrappable => ("CKR_KEY_NOT_WRAPPABLE", 0x69, Class::Unexpected),
        RvError::KeyUnextractable => ("CKR_KEY_UNEXTRACTABLE", 0x6a, Class::Unexpected),
        RvError::MechanismInvalid => ("CKR_MECHANISM_INVALID", 0x70, Class::Caller),
        RvError::MechanismParamInvalid => ("CKR_MECHANISM_PARAM_INVALID", 0x71, Class::Caller),
        RvError::ObjectHandleInvalid => ("CKR_OBJECT_HANDLE_INVALID", 0x82, Class::Handle),
        RvError::OperationActive => ("CKR_OPERATION_ACTIVE", 0x90, Class::Session),
        RvError::OperationNotInitialized => ("CKR_OPERATION_NOT_INITIALIZED", 0x91, Class::Session),
        RvError::PinIncorrect => ("CKR_PIN_INCORRECT", 0xa0, Class::Credential),
        RvError::PinInvalid => ("CKR_PIN_INVALID", 0xa1, Class::Credential),
        RvError::PinLenRange => ("CKR_PIN_LEN_RANGE", 0xa2, Class::Credential),
        RvError::PinExpired => ("CKR_PIN_EXPIRED", 0xa3, Class::Credential),
        RvError::PinLocked => ("CKR_PIN_LOCKED", 0xa4, Class::Credential),
        RvError::SessionClosed => ("CKR_SESSION_CLOSED", 0xb0, Class::Session),
        RvError::SessionCount => ("CKR_SESSION_COUNT", 0xb1, Class::Capacity),
        RvError::SessionHandleInvalid => ("CKR_SESSION_HANDLE_INVALID", 0xb3, Class::Session),
        RvError::SessionParallelNotSupported => ("CKR_SESSION_PARALLEL_NOT_SUPPORTED", 0xb4, Class::Unexpected),
        RvError::SessionReadOnly => ("CKR_SESSION_READ_ONLY", 0xb5, Class::Unexpected),
        RvError::SessionExists => ("CKR_SESSION_EXISTS", 0xb6, Class::Unexpected),
        RvError::SessionReadOnlyExists => ("CKR_SESSION_READ_ONLY_EXISTS", 0xb7, Class::Unexpected),
        RvError::SessionReadWriteSoExists => ("CKR_SESSION_READ_WRITE_SO_EXISTS", 0xb8, Class::Unexpected),
        RvError::SignatureInvalid => ("CKR_SIGNATURE_INVALID", 0xc0, Class::Unexpected),
        RvError::SignatureLenRange => ("CKR_SIGNATURE_LEN_RANGE", 0xc1, Class::Unexpected),
        RvError::TemplateIncomplete => ("CKR_TEMPLATE_INCOMPLETE", 0xd0, Class::Unexpected),
        RvError::TemplateInconsistent => ("CKR_TEMPLATE_INCONSISTENT", 0xd1, Class::Unexpected),
        RvError::TokenNotPresent => ("CKR_TOKEN_NOT_PRESENT", 0xe0, Class::Device),
        RvError::TokenNotRecognized => ("CKR_TOKEN_NOT_RECOGNIZED", 0xe1, Class::Device),
        RvError::TokenWriteProtected => ("CKR_TOKEN_WRITE_PROTECTED", 0xe2, Class::Unexpected),
        RvError::UnwrappingKeyHandleInvalid => ("CKR_UNWRAPPING_KEY_HANDLE_INVALID", 0xf0, Class::Unexpected),
        RvError::UnwrappingKeySizeRange => ("CKR_UNWRAPPING_KEY_SIZE_RANGE", 0xf1, Class::Unexpected),
        RvError::UnwrappingKeyTypeInconsistent => ("CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", 0xf2, Class::Unexpected),
        RvError::UserAlreadyLoggedIn => ("CKR_USER_ALREADY_LOGGED_IN", 0x100, Class::Unexpected),
        RvError::UserNotLoggedIn => ("CKR_USER_NOT_LOGGED_IN", 0x101, Class::Login),
        RvError::UserPinNotInitialized => ("CKR_USER_PIN_NOT_INITIALIZED", 0x102, Class::Credential),
        RvError::UserTypeInvalid => ("CKR_USER_TYPE_INVALID", 0x103, Class::Unexpected),
        RvError::UserAnotherAlreadyLoggedIn => ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", 0x104, Class::Unexpected),
        RvError::UserTooManyTypes => ("CKR_USER_TOO_MANY_TYPES", 0x105, Class::Unexpected),
        RvError::WrappedKeyInvalid => ("CKR_WRAPPED_KEY_INVALID", 0x110, Class::Unexpected),
        RvError::WrappedKeyLenRange => ("CKR_WRAPPED_KEY_LEN_RANGE", 0x112, Class::Unexpected),
        RvError::WrappingKeyHandleInvalid => ("CKR_WRAPPING_KEY_HANDLE_INVALID", 0x113, Class::Unexpected),
        RvError::WrappingKeySizeRange => ("CKR_WRAPPING_KEY_SIZE_RANGE", 0x114, Class::Unexpected),
        RvError::WrappingKeyTypeInconsistent => ("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", 0x115, Class::Unexpected),
        RvError::RandomSeedNotSupported => ("CKR_RANDOM_SEED_NOT_SUPPORTED", 0x120, Class::Unexpected),
        RvError::RandomNoRng => ("CKR_RANDOM_NO_RNG", 0x121, Class::Unexpected),
        RvError::DomainParamsInvalid => ("CKR_DOMAIN_PARAMS_INVALID", 0x130, Class::Unexpected),
        RvError::BufferTooSmall => ("CKR_BUFFER_TOO_SMALL", 0x150, Class::Unexpected),
        RvError::SavedStateInvalid => ("CKR_SAVED_STATE_INVALID", 0x160, Class::Unexpected),
        RvError::InformationSensitive => ("CKR_INFORMATION_SENSITIVE", 0x170, Class::Unexpected),
        RvError::StateUnsaveable => ("CKR_STATE_UNSAVEABLE", 0x180, Class::Unexpected),
        RvError::CryptokiNotInitialized => ("CKR_CRYPTOKI_NOT_INITIALIZED", 0x190, Class::Device),
        RvError::CryptokiAlreadyInitialized => ("CKR_CRYPTOKI_ALREADY_INITIALIZED", 0x191, Class::Unexpected),
        RvError::MutexBad => ("CKR_MUTEX_BAD", 0x1a0, Class::Device),
        RvError::MutexNotLocked => ("CKR_MUTEX_NOT_LOCKED", 0x1a1, Class::Device),
        RvError::NewPinMode => ("CKR_NEW_PIN_MODE", 0x1b0, Class::Unexpected),
        RvError::NextOtp => ("CKR_NEXT_OTP", 0x1b1, Class::Unexpected),
        RvError::ExceededMaxIterations => ("CKR_EXCEEDED_MAX_ITERATIONS", 0x1b5, Class::Unexpected),
        RvError::FipsSelfTestFailed => ("CKR_FIPS_SELF_TEST_FAILED", 0x1b6, Class::Device),
        RvError::LibraryLoadFailed => ("CKR_LIBRARY_LOAD_FAILED", 0x1b7, Class::Device),
        RvError::PinTooWeak => ("CKR_PIN_TOO_WEAK", 0x1b8, Class::Credential),
        RvError::PublicKeyInvalid => ("CKR_PUBLIC_KEY_INVALID", 0x1b9, Class::Unexpected),
        RvError::FunctionRejected => ("CKR_FUNCTION_REJECTED", 0x200, Class::Unexpected),
        RvError::VendorDefined(number) => ("CKR_VENDOR_DEFINED", number, Class::Vendor),
        RvError::UnknownErrorCode(number) => ("CKR_unknown", number, Class::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(value: RvError) -> Class {
        classify(Function::Sign, value).2
    }

    #[test]
    fn every_code_of_the_table_has_its_class() {
        for (expected, values) in [
            (
                Class::Caller,
                vec![
                    RvError::DataInvalid,
                    RvError::DataLenRange,
                    RvError::MechanismInvalid,
                    RvError::KeyTypeInconsistent,
                    RvError::KeyFunctionNotPermitted,
                ],
            ),
            (
                Class::Session,
                vec![
                    RvError::SessionHandleInvalid,
                    RvError::SessionClosed,
                    RvError::OperationActive,
                    RvError::OperationNotInitialized,
                ],
            ),
            (Class::Handle, vec![RvError::ObjectHandleInvalid, RvError::KeyHandleInvalid]),
            (Class::Login, vec![RvError::UserNotLoggedIn]),
            (
                Class::Credential,
                vec![
                    RvError::PinIncorrect,
                    RvError::PinLocked,
                    RvError::PinExpired,
                    RvError::PinInvalid,
                    RvError::UserPinNotInitialized,
                ],
            ),
            (
                Class::Capacity,
                vec![RvError::SessionCount, RvError::DeviceMemory, RvError::HostMemory],
            ),
            (
                Class::Device,
                vec![
                    RvError::DeviceError,
                    RvError::DeviceRemoved,
                    RvError::TokenNotPresent,
                    RvError::TokenNotRecognized,
                    RvError::GeneralError,
                    RvError::CryptokiNotInitialized,
                ],
            ),
            (Class::Vendor, vec![RvError::VendorDefined(0x8000_0001)]),
            (
                Class::Unexpected,
                vec![
                    RvError::FunctionFailed,
                    RvError::ArgumentsBad,
                    RvError::AttributeTypeInvalid,
                    RvError::TemplateInconsistent,
                    RvError::UnknownErrorCode(0x999),
                ],
            ),
        ] {
            for value in values {
                assert_eq!(class(value), expected, "{value:?}");
            }
        }
    }

    #[test]
    fn a_fault_carries_function_name_and_number() {
        let fault = fault(&Error::Pkcs11(RvError::PinIncorrect, Function::Login));
        assert_eq!(fault.to_string(), "C_Login: CKR_PIN_INCORRECT (0xa0) [credential class]");
        let code = classify(Function::Sign, RvError::VendorDefined(0x8000_0042));
        assert_eq!(code, ("CKR_VENDOR_DEFINED".to_owned(), 0x8000_0042, Class::Vendor));
    }

    #[test]
    fn an_unexplained_refusal_of_a_login_is_not_tried_again() {
        assert_eq!(classify(Function::Login, RvError::FunctionFailed).2, Class::Credential);
        assert_eq!(classify(Function::Login, RvError::DeviceError).2, Class::Device);
    }
}
