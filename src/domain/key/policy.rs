//! Which types of key the operator allows.

use super::{KeyError, KeyType};

/// The types of key that are made, certified and read.
#[derive(Debug, Clone, Copy)]
pub struct KeyPolicy {
    /// Ed25519: certified as a subject, and signs certification requests for itself. It never signs a
    /// certificate (ISO/IEC 18013-5, B.1.1).
    pub ed25519: bool,
}

impl KeyPolicy {
    /// Refuses a type that the operator does not allow, with the error for an unsupported type.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`].
    pub fn check(self, key_type: KeyType) -> Result<(), KeyError> {
        if key_type == KeyType::Ed25519 && !self.ed25519 {
            return Err(KeyError::Unsupported(key_type.name().to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ed25519_alone_can_be_switched_off() {
        for key_type in KeyType::ALL {
            assert_eq!(KeyPolicy { ed25519: true }.check(key_type), Ok(()));
            let is_allowed = KeyPolicy { ed25519: false }.check(key_type).is_ok();
            assert_eq!(is_allowed, key_type != KeyType::Ed25519, "{key_type}");
        }
    }
}
