//! Logging in, with a PIN that is tried once: tokens lock after a few wrong ones, some for good.

use std::path::PathBuf;

use cryptoki::{
    error::{Error, RvError},
    session::{Session, UserType},
    slot::TokenInfo,
    types::RawAuthPin,
};

use super::{Outbox, classify::fault, module::OpenToken, pin};
use crate::hsm::{
    fault::{Class, Fault},
    protocol::{FromSigner, Hello},
    refusals::PinMark,
};

/// `CKU_USER`.
const NORMAL_USER: u64 = 1;

/// See the module.
pub(super) struct Login {
    pin: RawAuthPin,
    pin_file: PathBuf,
    vendor_user: Option<u32>,
    /// Refused before this process was.
    marks: Vec<PinMark>,
    marks_file: PathBuf,
    /// Set once the PIN was refused here.
    refused: Option<Fault>,
    outbox: Outbox,
}

impl Login {
    /// Reads the PIN.
    ///
    /// # Errors
    /// [`Fault`] of configuration class that names the file.
    pub(super) fn prepare(hello: &Hello, outbox: Outbox) -> Result<Self, Fault> {
        Ok(Self {
            pin: pin::read(&hello.pin_file)?,
            pin_file: hello.pin_file.clone(),
            vendor_user: hello.vendor_user,
            marks: hello.refused_pins.clone(),
            marks_file: hello.refused_pins_file.clone(),
            refused: None,
            outbox,
        })
    }

    /// Logs in, unless the PIN was refused before. A refusal is told to the front, which remembers it
    /// for those who come after this process.
    ///
    /// # Errors
    /// [`Fault`], of credential class when the PIN is, or was, refused.
    pub(super) fn log_in(&mut self, token: &OpenToken, session: &Session) -> Result<(), Fault> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let result = self.attempt(token, session);
        if let Err(fault) = &result
            && fault.class == Class::Credential
        {
            self.refused = Some(fault.clone());
        }
        result
    }

    fn attempt(&self, token: &OpenToken, session: &Session) -> Result<(), Fault> {
        let serial = &token.facts.serial;
        heed(&token.still_there()?)?;
        let (user, number) = match self.vendor_user {
            None => (UserType::User, NORMAL_USER),
            Some(number) => (UserType::VendorExtension(number), u64::from(number)),
        };
        if pin::is_marked(&self.pin, serial, number, &self.marks) {
            return Err(self.refused_before(serial));
        }
        match session.login_with_raw(user, &self.pin) {
            // Login belongs to process and token, not to the session.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => {
                let fault = fault(&error);
                if fault.class == Class::Credential {
                    match pin::mark(&self.pin, serial, number) {
                        Ok(mark) => self.outbox.send(&FromSigner::PinRefused(mark)),
                        Err(error) => tracing::error!("{error}"),
                    }
                }
                Err(fault)
            }
        }
    }

    fn refused_before(&self, serial: &str) -> Fault {
        let (pin, marks) = (self.pin_file.display(), self.marks_file.display());
        let words = format!(
            "not called: the token (serial {serial}) has refused the PIN in {pin} before, and would \
             lock after a few more. Correct the file; if the token has been unlocked or given this \
             PIN since then, remove {marks}"
        );
        Fault::ours(Class::Credential, "C_Login", words)
    }
}

/// The token's own warnings: its last try is never ours.
fn heed(info: &TokenInfo) -> Result<(), Fault> {
    let refuse = |words: &str| Err(Fault::ours(Class::Credential, "C_GetTokenInfo", words));
    if info.user_pin_locked() {
        return refuse("the token reports its user PIN as locked: unlock it with its own tools");
    }
    if info.user_pin_final_try() {
        return refuse(
            "the token would lock after one more wrong user PIN: log in to it once with another tool, \
             which proves the PIN and makes the token forget the wrong ones",
        );
    }
    if info.user_pin_count_low() {
        tracing::warn!("the token reports that a wrong user PIN was given since the last login");
    }
    Ok(())
}
