//! Canary signatures. Sessions and slots look well after a token has gone, so only a signature shows that it
//! works.

use std::time::Duration;

use tokio::time::Instant;

use super::{BACKLOG_FULL, Supervisor};
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

/// Prefix of each canary message. What is signed for callers is DER or CBOR and never begins so; therefore no
/// canary signature is valid for anything else.
const PREFIX: &[u8; 16] = b"chancery canary ";

/// Canary signatures of one signer that may fail in a row.
const FAILED_CANARIES_MAX: u32 = 3;

/// A signature over a random message, which cannot have been made before.
pub(in crate::hsm) struct Canary {
    pub(super) key: TokenKey,
    message: [u8; 48],
}

impl Canary {
    /// A new one, and the request for it.
    pub(super) fn new(key: TokenKey) -> (Self, SignRequest) {
        let mut message = [0; 48];
        message[..PREFIX.len()].copy_from_slice(PREFIX);
        // Without randomness the canary proves less and is still correct.
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

    /// Whether this signature is the one that was requested.
    pub(super) fn is_proven_by(&self, signature: &Signature) -> bool {
        self.key.public_key.verifies(&self.message, signature)
    }
}

impl Supervisor {
    /// Requests a canary signature of every signer, and a new listing.
    pub(super) fn canaries_if_due(&mut self, now: Instant) {
        if self.up.is_empty() || self.canary_at > now {
            return;
        }
        self.canary_at = now + self.canary_interval();
        self.refresh.want();
        let Some(key) = self.canary_key() else { return };
        let patience = self.patience();
        for at in (0..self.up.len()).rev() {
            // Not of one that changes the token, because a change may take long and the canary would count as
            // overdue.
            let signer = &self.up[at];
            if !signer.serves() || signer.has_pending_canary() || signer.is_changing() {
                continue;
            }
            let (canary, request) = Canary::new(key.clone());
            let task = Task::Canary(canary);
            if self.up[at].ask(Request::Sign(&request), task, patience).is_err() {
                self.lose(at, LossCause::Protocol, BACKLOG_FULL);
            }
        }
    }

    /// Half the age at which a canary counts as outdated.
    pub(super) fn canary_interval(&self) -> Duration {
        Duration::from_secs(self.config.canary_seconds) / 2
    }

    pub(super) fn canary_key(&self) -> Option<TokenKey> {
        let preferred = self.config.canary_label.as_deref();
        let rank = |spki: &[u8; 32]| self.rank(spki);
        self.published.borrow().catalogue.canary(preferred, rank)
    }

    /// A fault of class capacity or unexpected fails a request and not the signer. When all that a signer
    /// does is fail canaries, it is replaced nevertheless.
    pub(super) fn canary_failed(&mut self, at: usize, canary: &Canary, fault: &Fault) {
        self.suspect(canary);
        let id = self.up[at].id;
        let failed = self.failed_canaries.entry(id).or_default();
        *failed += 1;
        let in_a_row = *failed >= FAILED_CANARIES_MAX;
        let fails_requests_only = matches!(fault.class, Class::Capacity | Class::Unexpected);
        if fails_requests_only && (in_a_row || fault.is_out_of_memory()) {
            self.log_fault(fault, Some(&canary.key.label), "kill and respawn the signer");
            return self.lose(
                at,
                LossCause::Fault,
                &format!("its canary signatures fail: {fault}"),
            );
        }
        self.task_failed(at, fault, Some(&canary.key.label));
    }

    /// The token or the key may be at fault. The next canary is made with another key, if there is one, so
    /// that a broken key is not mistaken for a dead token.
    pub(super) fn suspect(&mut self, canary: &Canary) {
        self.suspicions += 1;
        self.suspects.insert(canary.key.public_key.spki_sha256(), self.suspicions);
    }

    /// Order in which keys are used for canaries: those that have signed, those not seen to sign yet, those
    /// in question, and those that failed a canary, the longest ago first.
    fn rank(&self, spki: &[u8; 32]) -> u64 {
        match self.suspects.get(spki) {
            Some(turn) => 2 + turn,
            None if self.key_breakers.is_in_doubt(spki) => 2,
            None => u64::from(!self.key_breakers.has_signed(spki)),
        }
    }

    /// The key has made a canary signature since.
    pub(super) fn clear(&mut self, canary: &Canary) {
        self.suspects.remove(&canary.key.public_key.spki_sha256());
    }

    pub(super) fn is_suspect(&self, spki_sha256: &[u8; 32]) -> bool {
        self.suspects.contains_key(spki_sha256)
    }
}
