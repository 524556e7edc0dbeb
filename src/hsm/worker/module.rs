//! The module and the token: loading, finding, logging in. Everything here may block without end.

use std::{fs::File, io::Read, path::Path};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{Mechanism, MechanismType},
    object::ObjectHandle,
    session::{Session, UserType},
    slot::{Limit, Slot, TokenInfo},
    types::RawAuthPin,
};

use super::{classify::fault, raw::Raw};
use crate::hsm::{
    TokenFacts,
    fault::{Class, Fault},
    protocol::Hello,
};

/// Longest PIN, in octets; `user:password` forms included.
const PIN_BYTES_MAX: u64 = 1024;

/// An initialised module and the one token in it that the configuration means.
pub(super) struct OpenToken {
    pkcs11: Pkcs11,
    raw: Raw,
    slot: Slot,
    pub(super) facts: TokenFacts,
    pub(super) mechanisms: Vec<MechanismType>,
    /// Sessions that the token allows one application; `None` when it does not say or care.
    pub(super) sessions_max: Option<u64>,
}

impl OpenToken {
    /// Loads and initialises the module and finds the token. Slots are never configured: their
    /// numbers move at every initialisation.
    ///
    /// # Errors
    /// [`Fault`]; twin labels without a serial are refused, naming both.
    pub(super) fn open(hello: &Hello) -> Result<Self, Fault> {
        let pkcs11 = Pkcs11::new(&hello.module)
            .map_err(|error| fault(&error).with_detail(describe(&error, &hello.module)))?;
        let raw = Raw::of(&hello.module)
            .map_err(|error| fault(&error).with_detail(describe(&error, &hello.module)))?;
        // PKCS#11 v2.40, C_Initialize: without CKF_OS_LOCKING_OK, use by several threads is undefined.
        match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => {
                let words = "check the module's configuration file and its environment";
                return Err(fault(&error).with_detail(words));
            }
        }
        let (slot, info) = match resolve(&pkcs11, hello) {
            Ok(found) => found,
            Err(fault) => {
                // Nothing is open yet; a failure to finalise says no more than the fault does.
                let _ = pkcs11.finalize();
                return Err(fault);
            }
        };
        let mechanisms = pkcs11.get_mechanism_list(slot).map_err(|error| fault(&error))?;
        let slot_info = pkcs11.get_slot_info(slot).map_err(|error| fault(&error))?;
        let sessions_max = match info.max_session_count() {
            Limit::Max(count) if count > 0 => Some(count),
            Limit::Max(_) | Limit::Unavailable | Limit::Infinite => None,
        };
        Ok(Self {
            slot,
            facts: TokenFacts {
                serial: info.serial_number().to_owned(),
                manufacturer: info.manufacturer_id().to_owned(),
                model: info.model().to_owned(),
                hardware_version: info.hardware_version().to_string(),
                firmware_version: info.firmware_version().to_string(),
                is_hardware: slot_info.hardware_slot(),
            },
            mechanisms,
            sessions_max,
            raw,
            pkcs11,
        })
    }

    /// A read-only session.
    ///
    /// # Errors
    /// [`Fault`] of `C_OpenSession`.
    pub(super) fn session(&self) -> Result<Session, Fault> {
        self.pkcs11.open_ro_session(self.slot).map_err(|error| fault(&error))
    }

    /// A session that may change the token.
    ///
    /// # Errors
    /// [`Fault`] of `C_OpenSession`.
    pub(super) fn rw_session(&self) -> Result<Session, Fault> {
        self.pkcs11.open_rw_session(self.slot).map_err(|error| fault(&error))
    }

    /// Logs in, once. The token's flags come first: the last try is never ours.
    ///
    /// # Errors
    /// [`Fault`], of credential class when the PIN is refused.
    pub(super) fn log_in(&self, session: &Session, pin: &RawAuthPin) -> Result<(), Fault> {
        let info = self.still_there()?;
        if info.user_pin_locked() || info.user_pin_final_try() {
            let words = "the token reports its user PIN as locked, or one try short of it";
            return Err(Fault::ours(Class::Credential, "C_GetTokenInfo", words));
        }
        if info.user_pin_count_low() {
            tracing::warn!("the token reports that a wrong user PIN was given before");
        }
        match session.login_with_raw(UserType::User, pin) {
            // Login belongs to process and token, not to the session.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }

    /// A signature over `data` by exactly two calls of the module.
    ///
    /// # Errors
    /// [`Error`] of `C_SignInit`, which leaves the session clean, or of `C_Sign`, which may not.
    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.raw.sign(session, mechanism, key, data)
    }

    /// Asks the token itself. Sessions go on looking alive when it is gone; this call does not.
    ///
    /// # Errors
    /// [`Fault`] of identity class when another token is in its place, of device class when none is.
    pub(super) fn still_there(&self) -> Result<TokenInfo, Fault> {
        let info = self.pkcs11.get_token_info(self.slot).map_err(|error| fault(&error))?;
        if info.serial_number() != self.facts.serial {
            let words = format!("the slot now holds serial {}", info.serial_number());
            return Err(Fault::ours(Class::Identity, "C_GetTokenInfo", words));
        }
        Ok(info)
    }

    /// `C_Finalize`. All sessions must be gone.
    pub(super) fn finalize(self) {
        if let Err(error) = self.pkcs11.finalize() {
            tracing::warn!("{}: the process ends all the same", fault(&error));
        }
    }
}

/// The user PIN: opaque octets, one trailing newline not counted.
///
/// # Errors
/// [`Fault`] of configuration class that names the file.
pub(super) fn read_pin(path: &Path) -> Result<RawAuthPin, Fault> {
    let refuse = |words: String| Fault::ours(Class::Configuration, "read PIN file", words);
    let mut octets = Vec::new();
    // All the room at once: a vector that grows leaves copies behind.
    octets.reserve_exact(2 * 1024);
    File::open(path)
        .and_then(|file| file.take(PIN_BYTES_MAX + 1).read_to_end(&mut octets))
        .map_err(|error| refuse(format!("{}: {error}", path.display())))?;
    if octets.last() == Some(&b'\n') {
        octets.pop();
    }
    let length = octets.len();
    let pin = RawAuthPin::new(Box::new(octets));
    match length {
        0 => Err(refuse(format!("{}: the file is empty", path.display()))),
        _ if length as u64 > PIN_BYTES_MAX => {
            Err(refuse(format!("{}: longer than {PIN_BYTES_MAX} octets", path.display())))
        }
        _ => Ok(pin),
    }
}

fn resolve(pkcs11: &Pkcs11, hello: &Hello) -> Result<(Slot, TokenInfo), Fault> {
    let refuse = |words: String| Fault::ours(Class::Configuration, "find token", words);
    let slots = pkcs11.get_slots_with_token().map_err(|error| fault(&error))?;
    let mut labelled = Vec::new();
    for slot in slots {
        match pkcs11.get_token_info(slot) {
            Ok(info) if info.label() == hello.label => labelled.push((slot, info)),
            Ok(_) => {}
            // Another reader's trouble is not ours; if it is ours, the token is not found.
            Err(error) => tracing::warn!("{}: its slot is passed over", fault(&error)),
        }
    }
    let serials = |found: &[(Slot, TokenInfo)]| {
        found.iter().map(|(_, info)| info.serial_number().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let seen = serials(&labelled);
    if let Some(serial) = &hello.serial {
        labelled.retain(|(_, info)| info.serial_number() == serial);
    }
    let label = &hello.label;
    match (labelled.len(), &hello.serial) {
        (1, _) => labelled.pop().ok_or_else(|| refuse(String::new())),
        (0, Some(serial)) if !seen.is_empty() => {
            let words = format!(
                "no token is labelled '{label}' with serial {serial}; the label is on {seen}"
            );
            Err(Fault::ours(Class::Identity, "find token", words))
        }
        (0, _) => Err(refuse(format!("no token is labelled '{label}'"))),
        (count, _) => Err(refuse(format!(
            "{count} tokens are labelled '{label}', serials {seen}: configure the serial"
        ))),
    }
}

fn describe(error: &Error, module: &Path) -> String {
    format!("{}: {error}", module.display())
}

#[cfg(test)]
mod tests {
    use cryptoki::types::RawAuthPin;
    use secrecy::ExposeSecret;

    use super::*;

    fn read(content: &[u8]) -> Result<RawAuthPin, Fault> {
        let name = format!("chancery-pin-{}-{content:?}", std::process::id());
        let path = std::env::temp_dir().join(&name[..name.len().min(100)]);
        std::fs::write(&path, content).unwrap();
        let pin = read_pin(&path);
        std::fs::remove_file(&path).unwrap();
        pin
    }

    #[test]
    fn a_pin_is_opaque_but_for_one_newline() {
        for (content, expected) in [
            (&b"1234"[..], &b"1234"[..]),
            (b"1234\n", b"1234"),
            (b"1234\n\n", b"1234\n"),
            (b" 12\xff\0 ", b" 12\xff\0 "),
        ] {
            assert_eq!(read(content).unwrap().expose_secret(), expected);
        }
    }

    #[test]
    fn an_empty_missing_or_huge_pin_file_is_a_configuration_fault() {
        for content in [&b""[..], b"\n", &[b'1'; 1025]] {
            assert_eq!(read(content).unwrap_err().class, Class::Configuration);
        }
        let fault = read_pin(Path::new("/nonexistent/pin")).unwrap_err();
        assert!(fault.to_string().contains("/nonexistent/pin"), "{fault}");
    }
}
