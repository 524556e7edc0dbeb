//! The signing mechanisms that a token offers. Some are only shown to operators.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number and name of each (PKCS#11 v3.0, `pkcs11t.h`). RSA-PSS is only shown, because each key type has one
/// algorithm, and RSA keys sign with PKCS#1 v1.5.
const SIGNING: [(u64, &str); 13] = [
    (0x1041, "CKM_ECDSA"),
    (0x1044, "CKM_ECDSA_SHA256"),
    (0x1045, "CKM_ECDSA_SHA384"),
    (0x1046, "CKM_ECDSA_SHA512"),
    (0x1057, "CKM_EDDSA"),
    (0x0001, "CKM_RSA_PKCS"),
    (0x0040, "CKM_SHA256_RSA_PKCS"),
    (0x0041, "CKM_SHA384_RSA_PKCS"),
    (0x0042, "CKM_SHA512_RSA_PKCS"),
    (0x000d, "CKM_RSA_PKCS_PSS"),
    (0x0043, "CKM_SHA256_RSA_PKCS_PSS"),
    (0x0044, "CKM_SHA384_RSA_PKCS_PSS"),
    (0x0045, "CKM_SHA512_RSA_PKCS_PSS"),
];

pub(super) const OFFERS_MAX: usize = SIGNING.len();

/// A mechanism and its range of key sizes (`CK_MECHANISM_INFO`), in bits by the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// `CKM_…`.
    number: u64,
    /// `ulMinKeySize`.
    pub key_size_min: u64,
    /// `ulMaxKeySize`.
    pub key_size_max: u64,
}

impl Offer {
    /// `None` for a mechanism that is not in the table.
    pub(super) fn new(number: u64, key_size_min: u64, key_size_max: u64) -> Option<Self> {
        let offer = Self { number, key_size_min, key_size_max };
        offer.known().map(|_| offer)
    }

    /// `CKM_…`.
    pub fn name(&self) -> &'static str {
        self.known().map_or("", |(_, name)| name)
    }

    fn known(&self) -> Option<(u64, &'static str)> {
        SIGNING.into_iter().find(|(number, _)| *number == self.number)
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} to {})", self.name(), self.key_size_min, self.key_size_max)
    }
}

/// What is believed of a signer's list: known mechanisms, each once, in the order of the table.
pub(super) fn sanitised(offers: &[Offer]) -> Vec<Offer> {
    let told = |(number, _)| offers.iter().find(|offer| offer.number == number).copied();
    SIGNING.into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use cryptoki::mechanism::MechanismType;

    use super::*;

    #[test]
    fn each_name_is_that_of_its_number() {
        for (number, name) in SIGNING {
            assert_eq!(MechanismType::try_from(number).unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_signer_can_neither_invent_nor_repeat_a_mechanism() {
        let offer = |number| Offer { number, key_size_min: 1, key_size_max: 2 };
        assert_eq!(Offer::new(0x4711, 1, 2), None);
        let lies = [offer(0x4711), offer(0x0d), offer(0x1041), offer(0x0d)];
        assert_eq!(sanitised(&lies), [offer(0x1041), offer(0x0d)]);
        assert_eq!(offer(0x0d).to_string(), "CKM_RSA_PKCS_PSS (1 to 2)");
    }
}
