//! Proof of life. Sessions and slots go on looking well when a token is gone; a signature does not.

use std::time::Duration;

use tokio::time::Instant;

use super::{FULL, Supervisor};
use crate::{
    domain::key::{Digest, Signature},
    hsm::{
        TokenKey,
        fault::{Class, Fault},
        figures::LossCause,
        process::Task,
        protocol::{Request, SignRequest},
    },
};

/// What every canary message begins with. Nothing that is signed in earnest, all of it DER or CBOR,
/// begins so: a canary signature can never pass for one.
const PREFIX: &[u8; 16] = b"chancery canary ";

/// Canary signatures of one signer that may fail in a row, for whatever reason.
const FAILED_CANARIES_MAX: u32 = 3;

/// A signature over something that nobody could have signed before.
pub(in crate::hsm) struct Canary {
    pub(super) key: TokenKey,
    message: [u8; 48],
}

impl Canary {
    /// A new one and what to ask for.
    pub(super) fn new(key: TokenKey) -> (Self, SignRequest) {
        let mut message = [0; 48];
        message[..PREFIX.len()].copy_from_slice(PREFIX);
        // Without randomness the proof is weaker, not wrong.
        let _ = aws_lc_rs::rand::fill(&mut message[PREFIX.len()..]);
        let algorithm = key.public_key.key_type().signature_algorithm();
        let digest = Digest::of(algorithm.hash(), &message);
        let request = SignRequest {
            label: key.label.clone(),
            id: key.id.clone(),
            spki_sha256: key.public_key.spki_sha256(),
            algorithm,
            digest: digest.as_octets().to_vec(),
            message: Some(message.to_vec()),
        };
        (Self { key, message }, request)
    }

    /// Whether the signature is the one that was asked for.
    pub(super) fn is_proven_by(&self, signature: &Signature) -> bool {
        self.key.public_key.verifies(&self.message, signature)
    }
}

impl Supervisor {
    /// Has every signer prove itself, and the catalogue renewed.
    pub(super) fn canaries_if_due(&mut self, now: Instant) {
        if self.up.is_empty() || self.canary_at > now {
            return;
        }
        self.canary_at = now + self.canary_interval();
        self.refresh.want();
        let Some(key) = self.canary_key() else { return };
        let patience = self.patience();
        for at in (0..self.up.len()).rev() {
            // A change may take its time; it is not to be killed for a key that cannot sign.
            let signer = &self.up[at];
            if !signer.serves() || signer.has_pending_canary() || signer.is_changing() {
                continue;
            }
            let (canary, request) = Canary::new(key.clone());
            let task = Task::Canary(canary);
            if self.up[at].ask(Request::Sign(&request), task, patience).is_err() {
                self.lose(at, LossCause::Protocol, FULL);
            }
        }
    }

    /// So that the last proof is never too old while all is well.
    pub(super) fn canary_interval(&self) -> Duration {
        Duration::from_secs(self.config.canary_seconds) / 2
    }

    pub(super) fn canary_key(&self) -> Option<TokenKey> {
        let preferred = self.config.canary_label.as_deref();
        let rank = |spki: &[u8; 32]| self.rank(spki);
        self.published.borrow().catalogue.canary(preferred, rank)
    }

    /// A fault that says nothing of the module fails one request, and so one canary. A signer of which
    /// nothing else comes is not sound, whatever the module calls it.
    pub(super) fn canary_failed(&mut self, at: usize, canary: &Canary, fault: &Fault) {
        self.suspect(canary);
        let id = self.up[at].id;
        let failed = self.failed_canaries.entry(id).or_default();
        *failed += 1;
        let in_a_row = *failed >= FAILED_CANARIES_MAX;
        match fault.class {
            Class::Capacity | Class::Unexpected if in_a_row || fault.is_out_of_memory() => {
                self.log_fault(fault, Some(&canary.key.label), "kill and respawn the signer");
                self.lose(at, LossCause::Fault, &format!("its canary signatures fail: {fault}"));
            }
            Class::Caller
            | Class::Session
            | Class::Handle
            | Class::Login
            | Class::Credential
            | Class::Capacity
            | Class::Device
            | Class::Vendor
            | Class::Configuration
            | Class::Identity
            | Class::Unexpected => self.task_failed(at, fault, Some(&canary.key.label)),
        }
    }

    /// A signature failed: the token is in trouble, or this one key is. Where there are others, the
    /// next canary is made with one of them, so that a broken key cannot pass for a dead token.
    pub(super) fn suspect(&mut self, canary: &Canary) {
        self.suspicions += 1;
        self.suspects.insert(canary.key.public_key.spki_sha256(), self.suspicions);
    }

    /// Keys that were seen to sign come first, suspects last, each in its turn.
    fn rank(&self, spki: &[u8; 32]) -> u64 {
        match self.suspects.get(spki) {
            Some(turn) => 2 + turn,
            None if self.key_breakers.is_in_doubt(spki) => 2,
            None => u64::from(!self.key_breakers.has_signed(spki)),
        }
    }

    /// The key has signed since.
    pub(super) fn clear(&mut self, canary: &Canary) {
        self.suspects.remove(&canary.key.public_key.spki_sha256());
    }

    pub(super) fn is_suspect(&self, spki_sha256: &[u8; 32]) -> bool {
        self.suspects.contains_key(spki_sha256)
    }
}
