//! Serialises the logins of all signers of a token. An attempt is recorded before it begins and after it has
//! ended, so that a wrong PIN is tried only once, whichever process dies in between. See [`pin_attempts`].
//!
//! Each record is synced to the disk, so a login costs two syncs.

use std::time::Duration;

use super::Supervisor;
use crate::hsm::{
    pin_attempts::{self, LoginDecision, LoginOutcome, PinFingerprint},
    process::{LoginStage, Signer},
    protocol::LoginNotice,
};

/// Time that a signer gets to finish when it is given up during `C_Login`. SoftHSM truncates the token's file
/// for a moment at each login, and killing the process in that moment destroys the token. The signer is
/// ignored meanwhile and killed afterwards; the next start does not wait for it.
pub(super) const LOGIN_GRACE: Duration = Duration::from_secs(5);

/// A signer sent a login notice that it may not send now.
pub(super) struct OutOfTurn;

impl Supervisor {
    /// Records that a signer wants to begin a login, or has ended one.
    pub(super) fn handle_login_notice(
        &mut self,
        id: u64,
        word: LoginNotice,
    ) -> Result<(), OutOfTurn> {
        let serial = self.serial.clone();
        let signer = self.all_signers().find(|signer| signer.id == id).ok_or(OutOfTurn)?;
        match word {
            LoginNotice::Begins { fingerprint, wrong } => {
                let is_ours = serial.is_none_or(|serial| serial == fingerprint.serial);
                if !is_ours || !signer.may_log_in() {
                    return Err(OutOfTurn);
                }
                signer.login = LoginStage::Requested(fingerprint, wrong);
            }
            LoginNotice::Ended(end) => {
                let stage = std::mem::replace(&mut signer.login, LoginStage::None);
                let LoginStage::Running(fingerprint) = stage else { return Err(OutOfTurn) };
                if end == LoginOutcome::Refused {
                    signer.login = LoginStage::Refused(fingerprint.clone());
                }
                self.note_end(&fingerprint, end);
            }
            LoginNotice::Refused(fingerprint) => {
                let stage = std::mem::replace(&mut signer.login, LoginStage::None);
                let LoginStage::Refused(kept) = stage else { return Err(OutOfTurn) };
                if !fingerprint.fits(&kept) {
                    return Err(OutOfTurn);
                }
                self.note_end(&fingerprint, LoginOutcome::Refused);
            }
        }
        Ok(())
    }

    fn note_end(&self, fingerprint: &PinFingerprint, end: LoginOutcome) {
        if let Err(error) = pin_attempts::end(&self.config.tried_pins, fingerprint, end) {
            let token = &self.config.name;
            tracing::warn!(token, error, ?end, "the outcome of a login cannot be recorded");
        }
    }

    /// Decides on a login that a signer has requested, when no other login is running.
    pub(super) fn decide_on_login(&mut self) {
        // Fast path: this runs with each signature, and hardly ever does a signer want to log in.
        if !self.all_signers().any(|signer| matches!(signer.login, LoginStage::Requested(..))) {
            return;
        }
        let tried_pins = self.config.tried_pins.clone();
        let token = self.config.name.clone();
        let refused = self.credential_fault.is_some();
        // A slow start may hang in `C_Login` for good, so others do not wait for it.
        let slow_start_logs_in = self.slow_start_logs_in();
        let mut serving = self.up.iter_mut().chain(self.starting.as_mut().map(|s| &mut s.signer));
        if serving.any(|signer| matches!(signer.login, LoginStage::Running(_))) {
            return;
        }
        let starting = self.starting.iter_mut().chain(&mut self.slow_starts);
        let serving = self.up.iter_mut().chain(starting.map(|starting| &mut starting.signer));
        for signer in serving {
            let LoginStage::Requested(fingerprint, wrong) = &signer.login else { continue };
            let decision = match refused {
                true => LoginDecision::RefusedBefore,
                false => {
                    pin_attempts::begin(&tried_pins, fingerprint, *wrong).unwrap_or_else(|error| {
                        tracing::error!(token, error, "a login cannot be recorded");
                        LoginDecision::NotNoted
                    })
                }
            };
            // The open attempt is that of the slow start, whose outcome is not known yet.
            let is_open = slow_start_logs_in && matches!(decision, LoginDecision::Unsettled);
            let decision = if is_open { LoginDecision::NotNow } else { decision };
            let fingerprint = fingerprint.clone();
            signer.answer_login(decision);
            if let LoginDecision::Granted { .. } = decision {
                signer.login = LoginStage::Running(fingerprint);
                return;
            }
            signer.login = LoginStage::None;
        }
    }

    /// A signer was given up during its login. The signers that wait are denied theirs, because what they
    /// read of the token before may be outdated.
    pub(super) fn login_was_cut(&mut self, given_up: &Signer) {
        if !matches!(given_up.login, LoginStage::Running(_)) {
            return;
        }
        for signer in self.all_signers() {
            if matches!(signer.login, LoginStage::Requested(..)) {
                signer.login = LoginStage::None;
                signer.answer_login(LoginDecision::NotNow);
            }
        }
    }

    fn all_signers(&mut self) -> impl Iterator<Item = &mut Signer> {
        let starting = self.starting.iter_mut().chain(&mut self.aside).chain(&mut self.slow_starts);
        let starting = starting.map(|starting| &mut starting.signer);
        let leaving = self.leaving.iter_mut().map(|leaving| &mut leaving.signer);
        self.up.iter_mut().chain(starting).chain(leaving)
    }
}
