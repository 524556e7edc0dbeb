//! Deviations of vendors' tokens, as data: `quirks.toml`. No other code knows a vendor by name.

use cryptoki::object::AttributeType;
use serde::Deserialize;

use crate::hsm::fault::{Class, Fault};

const TABLE: &str = include_str!("quirks.toml");

/// The deviations of a token; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quirks {
    manufacturer: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    leave_out: Vec<Omitted>,
    /// Limit of sessions, where the token does not report it.
    #[serde(default)]
    pub(super) sessions_max: Option<u64>,
    /// Whether `CKF_USER_PIN_COUNT_LOW` is reliable.
    #[serde(default)]
    pub(super) tells_wrong_pins: bool,
    #[serde(default)]
    busy: Vec<Busy>,
    /// Whether `CKA_LOCAL` does not tell where a key was made.
    #[serde(default)]
    pub(super) local_says_nothing: bool,
}

/// An attribute that a listing can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Omitted {
    #[serde(rename = "CKA_ALWAYS_AUTHENTICATE")]
    AlwaysAuthenticate,
    #[serde(rename = "CKA_PUBLIC_KEY_INFO")]
    PublicKeyInfo,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Busy {
    function: String,
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    quirks: Vec<Quirks>,
}

impl Quirks {
    /// The deviations of a token, by manufacturer and model.
    ///
    /// # Errors
    /// [`Fault`] when the table cannot be parsed; a test checks that it can.
    pub(super) fn of(manufacturer: &str, model: &str) -> Result<Self, Fault> {
        let Table { quirks } = toml::from_str(TABLE)
            .map_err(|error| Fault::ours(Class::Device, "read quirks", error.to_string()))?;
        let begins = |text: &str, with: &str| {
            text.to_ascii_lowercase().starts_with(&with.to_ascii_lowercase())
        };
        let fits = |quirks: &Self| {
            begins(manufacturer, &quirks.manufacturer) && begins(model, &quirks.model)
        };
        Ok(quirks.into_iter().find(fits).unwrap_or_default())
    }

    /// Without the attributes that the token must not be asked for.
    pub(super) fn askable(&self, wanted: &[AttributeType]) -> Vec<AttributeType> {
        let omitted = |attribute: &&AttributeType| {
            self.leave_out.iter().any(|omitted| omitted.attribute() == **attribute)
        };
        wanted.iter().filter(|attribute| !omitted(attribute)).copied().collect()
    }

    /// Reclassifies a fault that this token returns when it is busy.
    pub(super) fn reclassified(&self, mut fault: Fault) -> Fault {
        let named = |busy: &Busy| {
            fault.function == busy.function
                && fault.code.as_ref().is_some_and(|code| code.name == busy.code)
        };
        if self.busy.iter().any(named) {
            fault.class = Class::Capacity;
        }
        fault
    }
}

impl Omitted {
    fn attribute(self) -> AttributeType {
        match self {
            Self::AlwaysAuthenticate => AttributeType::AlwaysAuthenticate,
            Self::PublicKeyInfo => AttributeType::PublicKeyInfo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(manufacturer: &str, model: &str) -> Quirks {
        Quirks::of(manufacturer, model).unwrap()
    }

    #[test]
    fn a_token_has_the_quirks_of_its_vendor_and_of_no_other() {
        assert_eq!(of("Yubico (www.yubico.com)", "YubiHSM").sessions_max, Some(16));
        assert_eq!(of("Yubico (www.yubico.com)", "YubiKey YK5"), Quirks::default());
        assert_eq!(of("opencryptoki", "Soft"), Quirks::default());
        assert!(of("SoftHSM project", "SoftHSM v2").tells_wrong_pins);
        assert!(
            of("SAFENET", "LunaSA 7.7.0").askable(&[AttributeType::AlwaysAuthenticate]).is_empty()
        );
    }

    #[test]
    fn every_entry_changes_something() {
        let Table { quirks } = toml::from_str(TABLE).unwrap();
        for quirk in quirks {
            let Quirks { manufacturer, model, .. } = &quirk;
            assert_eq!(of(manufacturer, model), quirk, "an earlier entry hides it");
            let nothing = Quirks {
                manufacturer: manufacturer.clone(),
                model: model.clone(),
                ..Quirks::default()
            };
            assert_ne!(quirk, nothing);
            // An entry with other names would never match.
            for busy in &quirk.busy {
                assert!(busy.function.starts_with("C_") && busy.code.starts_with("CKR_"));
            }
        }
    }
}
