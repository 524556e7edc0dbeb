//! Admits signers without a canary signature where the token answers but none of its keys signs, such as
//! after a crash that left half of its first key. A working key can then be made by way of these signers.

use tokio::time::Instant;

use super::{BACKLOG_FULL, Canary, Supervisor, starting::PROTOCOL_BROKEN};
use crate::hsm::{
    KeyRef,
    fault::{Class, Fault},
    process::Task,
    protocol::{Answer, Request},
};

impl Supervisor {
    /// Whether each key that could make a canary signature has failed since it last signed.
    pub(super) fn is_every_key_suspect(&self) -> bool {
        self.canary_key().is_none_or(|key| self.is_suspect(&key.public_key.spki_sha256()))
    }

    /// Whether a fault may be that of a key alone. Asked only while no signer is up, because otherwise others
    /// show that the token works.
    pub(super) fn may_be_the_key(&self, fault: &Fault) -> bool {
        use Class::{Caller, Device, Handle, Unexpected, Vendor};
        self.up.is_empty() && matches!(fault.class, Caller | Handle | Device | Vendor | Unexpected)
    }

    /// Asks for a listing in place of the canary signature, because a token that is in trouble fails that
    /// too.
    pub(super) fn ask_for_listing(&mut self, fault: Fault, label: &str) {
        self.log_fault(&fault, Some(label), "see whether the token is well, but for its keys");
        let patience = self.patience();
        let Some(starting) = &mut self.starting else { return };
        starting.until = Instant::now() + patience;
        starting.unproven = Some(fault.to_string());
        if starting.signer.ask(Request::Catalogue, Task::Catalogue, patience).is_err() {
            self.start_failed(BACKLOG_FULL.to_owned());
        }
    }

    pub(super) fn judge_listing(&mut self, answer: Answer) {
        let unproven = self.starting.as_mut().and_then(|starting| starting.unproven.take());
        match (answer, unproven) {
            (Answer::Listed(keys), Some(reason)) => {
                tracing::error!(
                    token = self.config.name,
                    reason,
                    "the token is well, but none of its keys signs: keys can be made and deleted"
                );
                self.adopt(keys);
                // Counts as a failed start, so that the pauses grow: the token may be at fault after all.
                let now = Instant::now();
                self.backoff.failed(now, now, reason);
                self.keys_broken = true;
                self.admit_signer(false);
            }
            (Answer::Failed(fault), Some(reason)) => {
                self.log_fault(&fault.sanitised(), None, "start another signer after a pause");
                self.start_failed(reason);
            }
            _ => self.start_failed(PROTOCOL_BROKEN.to_owned()),
        }
    }

    /// A canary signature was made with this key.
    pub(super) fn canary_verified(&mut self, canary: &Canary) {
        self.clear(canary);
        let key = KeyRef::to(&canary.key);
        // Recorded, so that the configured canary key is preferred again.
        self.key_breakers.signed(key.spki_sha256, Instant::now());
        self.clear_key(&key);
        if std::mem::take(&mut self.keys_broken) {
            self.backoff.succeeded();
            self.trouble = None;
            self.publish();
        }
    }
}
