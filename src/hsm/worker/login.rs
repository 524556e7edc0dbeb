//! The login. A wrong PIN is tried only once, because tokens lock after a few.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use cryptoki::{
    error::{Error, RvError},
    session::{Session, UserType},
    slot::TokenInfo,
    types::RawAuthPin,
};

use super::{
    FrontWriter, Inbox,
    classify::{fault, is_unexplained_login},
    module::OpenToken,
    pin,
};
use crate::hsm::{
    fault::{Class, Fault},
    pin_attempts::{
        LoginDecision, LoginOutcome, PinAttempt, PinFingerprint, TRIES_AN_HOUR_MAX, WrongPinFlag,
    },
    protocol::{FromSigner, Hello, LoginNotice},
};

/// `CKU_USER`.
const NORMAL_USER: u64 = 1;

/// Whether `C_Login` is running.
static LOGIN_RUNNING: AtomicBool = AtomicBool::new(false);

/// Whether `C_Login` is running. SoftHSM rewrites its token in place at each login, and a process that ends
/// meanwhile may destroy the token.
pub(super) fn is_under_way() -> bool {
    LOGIN_RUNNING.load(Relaxed)
}

/// See the module.
pub(super) struct Login {
    pin: RawAuthPin,
    pin_file: PathBuf,
    vendor_user: Option<u32>,
    /// Attempts that are on record from before this process.
    attempts: Vec<PinAttempt>,
    attempts_file: PathBuf,
    /// The fingerprint of the PIN, once it was computed.
    fingerprint: Option<PinFingerprint>,
    /// The fault of a login that was refused in this process.
    refused: Option<Fault>,
    front: FrontWriter,
    inbox: Inbox,
}

impl Login {
    /// Reads the PIN.
    ///
    /// # Errors
    /// [`Fault`] of configuration class that names the file.
    pub(super) fn prepare(hello: &Hello, front: FrontWriter, inbox: Inbox) -> Result<Self, Fault> {
        Ok(Self {
            pin: pin::read(&hello.pin_file)?,
            pin_file: hello.pin_file.clone(),
            vendor_user: hello.vendor_user,
            attempts: hello.tried_pins.clone(),
            attempts_file: hello.tried_pins_file.clone(),
            fingerprint: None,
            refused: None,
            front,
            inbox,
        })
    }

    /// Logs in, after the front has recorded and permitted the attempt.
    ///
    /// # Errors
    /// [`Fault`], of credential class when the PIN is refused now or was before.
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

    fn attempt(&mut self, token: &OpenToken, session: &Session) -> Result<(), Fault> {
        let serial = &token.facts.serial;
        let wrong = heed_warnings(&token.still_there()?, token.quirks.tells_wrong_pins)?;
        let (user, number) = match self.vendor_user {
            None => (UserType::User, NORMAL_USER),
            Some(number) => (UserType::VendorExtension(number), u64::from(number)),
        };
        let mut fingerprint = match &self.fingerprint {
            Some(fingerprint) => fingerprint.clone(),
            None => pin::fingerprint(&self.pin, serial, number, &self.attempts)?,
        };
        self.fingerprint = Some(fingerprint.clone());
        self.front.send(&FromSigner::Login(LoginNotice::Begins {
            fingerprint: fingerprint.clone(),
            wrong,
        }));
        let taken_before = match self.inbox.login_decision() {
            Some(LoginDecision::Granted { taken_before }) => taken_before,
            Some(decision) => return Err(self.denied(decision, serial)),
            None => return Err(Fault::ours(Class::Device, "C_Login", "the front is gone")),
        };
        LOGIN_RUNNING.store(true, Relaxed);
        let answer = session.login_with_raw(user, &self.pin);
        LOGIN_RUNNING.store(false, Relaxed);
        let (end, result) = match answer {
            Ok(()) => (LoginOutcome::Taken, Ok(())),
            // The process is logged in already, because a login belongs to process and token. The PIN was not
            // examined.
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                (LoginOutcome::Unanswered, Ok(()))
            }
            Err(error) if is_unexplained_login(&error) => {
                let (end, fault) = unexplained(fault(&error), token, taken_before);
                (end, Err(fault))
            }
            Err(error) => match fault(&error) {
                fault if fault.class == Class::Credential => (LoginOutcome::Refused, Err(fault)),
                fault => (LoginOutcome::Unanswered, Err(fault)),
            },
        };
        self.front.send(&FromSigner::Login(LoginNotice::Ended(end)));
        if end == LoginOutcome::Refused && fingerprint.digest.is_none() {
            pin::complete(&mut fingerprint, &self.pin, number);
            self.front.send(&FromSigner::Login(LoginNotice::Refused(fingerprint)));
        }
        result
    }

    fn denied(&self, decision: LoginDecision, serial: &str) -> Fault {
        let (pin, attempts) = (self.pin_file.display(), self.attempts_file.display());
        let (class, words) = match decision {
            LoginDecision::Granted { .. } | LoginDecision::RefusedBefore => (
                Class::Credential,
                format!(
                    "not called: the token (serial {serial}) has refused the PIN in {pin} before, and \
                     would lock after a few more. Correct the file; if the token has been unlocked or \
                     given this PIN since then, remove {attempts}"
                ),
            ),
            LoginDecision::Unsettled => (
                Class::Credential,
                format!(
                    "not called: the PIN in {pin} was tried on the token (serial {serial}) before, and \
                     what came of that is not known: service or signer ended in the middle of it. See \
                     to it that the PIN is right, then remove {attempts}"
                ),
            ),
            LoginDecision::Unexplained => (
                Class::Credential,
                format!(
                    "not called: the token (serial {serial}) has not taken the PIN in {pin} before, has \
                     not said why, and was never seen to take it. See to it that the PIN is right, then \
                     remove {attempts}"
                ),
            ),
            LoginDecision::Later { seconds } => (
                Class::Device,
                format!(
                    "not called: the token (serial {serial}) has not taken the PIN in {pin} lately and has \
                     not said why. It took it before, so it is tried again in {seconds} s, at most \
                     {TRIES_AN_HOUR_MAX} times an hour"
                ),
            ),
            LoginDecision::NotNoted => (
                Class::Configuration,
                format!("not called: that the PIN is tried cannot be noted in {attempts}"),
            ),
            LoginDecision::NotNow => {
                (Class::Device, "not called: the login of another signer has not ended".to_owned())
            }
        };
        Fault::ours(class, "C_Login", words)
    }
}

/// The outcome of a login that failed with a code that does not mention the PIN.
fn unexplained(fault: Fault, token: &OpenToken, taken_before: bool) -> (LoginOutcome, Fault) {
    let counts = token.still_there().is_ok_and(|info| {
        info.user_pin_count_low() || info.user_pin_final_try() || info.user_pin_locked()
    });
    if counts {
        let words = "the token has not taken the PIN, and counts it as a wrong one";
        return (LoginOutcome::Refused, fault.with_detail(words));
    }
    let fault = match taken_before {
        true => Fault { class: Class::Device, ..fault }.with_detail(format!(
            "the token has not taken the PIN and has not said why; it took it before, so it is tried \
             again, at most {TRIES_AN_HOUR_MAX} times an hour"
        )),
        false => fault.with_detail(
            "the token has not taken the PIN and has not said why; it was never seen to take it, so it is \
             not tried again",
        ),
    };
    (LoginOutcome::Unexplained, fault)
}

/// Heeds the token's warnings about wrong PINs: its last attempt is never used.
fn heed_warnings(info: &TokenInfo, tells: bool) -> Result<WrongPinFlag, Fault> {
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
        return Ok(WrongPinFlag::Set);
    }
    Ok(if tells { WrongPinFlag::Clear } else { WrongPinFlag::Unreliable })
}
