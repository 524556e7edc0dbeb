//! A signing thread: one session, one signature at a time, and the recovery for each class of fault. It reads
//! requests itself, because a thread that only reads would cost two context switches per signature.

use std::sync::{Arc, mpsc};

use cryptoki::{context::Function, error::Error, session::Session};

use super::{
    FrontWriter, Inbox,
    classify::fault,
    convert::{ecdsa_signature, eddsa_signature, rsa_signature},
    keeper::{Current, Epoch, KeeperRequest},
    module::OpenToken,
    scheme::Scheme,
};
use crate::{
    domain::key::{Digest, KeyType, Signature},
    hsm::{
        fault::{Class, Fault},
        key_change::KeyChange,
        protocol::{Answer, Request, SignRequest},
    },
};

/// See the module.
pub(super) struct SigningThread {
    token: Arc<OpenToken>,
    session: Option<Session>,
    current: Current,
    keeper: mpsc::Sender<KeeperRequest>,
    key_changer: mpsc::Sender<(u64, KeyChange)>,
    front: FrontWriter,
}

/// Steps of recovery within the process, weakest first. Each is taken once per signature; when the next
/// attempt fails too, a stronger one follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Open another session.
    FreshSession,
    /// List the token.
    FindAgain,
    /// Log in once more.
    LogInAgain,
}

impl Step {
    /// For the log.
    fn words(self) -> &'static str {
        match self {
            Self::FreshSession => "try once more in a fresh session",
            Self::FindAgain => "find the key again and try once more",
            Self::LogInAgain => "log in again and try once more",
        }
    }
}

enum Trouble {
    Missing,
    Fault(Fault),
}

impl SigningThread {
    pub(super) fn new(
        token: Arc<OpenToken>,
        session: Session,
        current: Current,
        keeper: mpsc::Sender<KeeperRequest>,
        key_changer: mpsc::Sender<(u64, KeyChange)>,
        front: FrontWriter,
    ) -> Self {
        Self { token, session: Some(session), current, keeper, key_changer, front }
    }

    /// Works until the socket ends. Passes requests for the keeper and the key changer on.
    pub(super) fn work(mut self, inbox: &Inbox) {
        let front = self.front.clone();
        let mut reader = inbox.reader();
        while let Some((id, request)) = reader.request() {
            match request {
                Request::Sign(request) => {
                    let answer = sign(&mut self, &front, &request);
                    front.answer(id, answer);
                }
                // If that thread has ended, the answer becomes overdue, and the front acts on that.
                Request::Catalogue => {
                    let _ = self.keeper.send(KeeperRequest::Catalogue { id });
                }
                Request::Change(change) => {
                    let _ = self.key_changer.send((id, *change));
                }
            }
        }
    }
}

/// What a signature needs, and its recovery. Implemented by a signing thread and by a keeper with the only
/// session.
pub(super) trait SigningSession {
    /// The token of the session.
    fn token(&self) -> Arc<OpenToken>;

    /// The listing to find keys in.
    ///
    /// # Errors
    /// [`Fault`] when there is none for this session.
    fn epoch(&mut self) -> Result<Arc<Epoch>, Fault>;

    /// Takes the session. If it is not given back, it is closed.
    ///
    /// # Errors
    /// [`Fault`] when there is none.
    fn take_session(&mut self) -> Result<Session, Fault>;

    /// Gives a session back in which no operation is open.
    fn give_session_back(&mut self, session: Session);

    /// Takes a step of recovery after `epoch` has failed.
    ///
    /// # Errors
    /// [`Fault`] when the step fails.
    fn recover(&mut self, step: Step, epoch: &Epoch) -> Result<(), Fault>;
}

impl SigningSession for SigningThread {
    fn token(&self) -> Arc<OpenToken> {
        Arc::clone(&self.token)
    }

    fn epoch(&mut self) -> Result<Arc<Epoch>, Fault> {
        Ok(self.current.epoch())
    }

    fn take_session(&mut self) -> Result<Session, Fault> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => self.token.session(),
        }
    }

    fn give_session_back(&mut self, session: Session) {
        self.session = Some(session);
    }

    fn recover(&mut self, step: Step, epoch: &Epoch) -> Result<(), Fault> {
        let (done, result) = mpsc::channel();
        let request = match step {
            // The session was dropped; the next attempt opens another.
            Step::FreshSession => return Ok(()),
            Step::FindAgain => KeeperRequest::FindAgain { stale: epoch.number, done },
            Step::LogInAgain => KeeperRequest::LogInAgain { stale: epoch.login, done },
        };
        let gone = || Fault::ours(Class::Device, "ask keeper", "the signer is shutting down");
        self.keeper.send(request).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}

/// Makes a signature, with the recovery for each class of fault.
pub(super) fn sign(
    signing: &mut impl SigningSession,
    front: &FrontWriter,
    request: &SignRequest,
) -> Answer {
    let Some(digest) = Digest::from_octets(request.algorithm.hash(), &request.digest) else {
        let words = format!("a digest of {} octets", request.digest.len());
        return Answer::Failed(Fault::ours(Class::Caller, "sign", words));
    };
    let mut taken = None;
    let mut refused = None;
    loop {
        let epoch = match signing.epoch() {
            Ok(epoch) => epoch,
            Err(fault) => return Answer::Failed(fault.escalated()),
        };
        let trouble = match attempt(signing, &epoch, request, &digest) {
            Ok(signature) => return Answer::Signed(signature),
            Err(trouble) => trouble,
        };
        let Some(step) = next_step(&trouble, taken) else {
            return match (trouble, refused) {
                (Trouble::Missing, None) => Answer::Missing,
                // The key was listed a moment ago, and a module may show an empty token when its device is
                // gone. A new signer has to find out.
                (Trouble::Missing, Some(fault)) => Answer::Failed(
                    Fault::escalated(fault).with_detail("and the key is not listed any more"),
                ),
                (Trouble::Fault(fault), _) => Answer::Failed(fault.escalated()),
            };
        };
        if let Trouble::Fault(fault) = trouble {
            front.note(&fault, &request.label, step.words());
            refused = Some(fault);
        }
        if let Err(fault) = signing.recover(step, &epoch) {
            return Answer::Failed(fault.escalated());
        }
        taken = Some(step);
    }
}

fn attempt(
    signing: &mut impl SigningSession,
    epoch: &Epoch,
    request: &SignRequest,
    digest: &Digest,
) -> Result<Signature, Trouble> {
    let (handle, key) = epoch.listing.handle(request).ok_or(Trouble::Missing)?;
    let key_type = key.key_type();
    if key_type.signature_algorithm() != request.algorithm {
        let words = format!("{:?} is not the algorithm of {key_type}", request.algorithm);
        return Err(Trouble::Fault(Fault::ours(Class::Caller, "sign", words)));
    }
    let token = signing.token();
    let scheme = Scheme::of(request.algorithm, &token.mechanisms).ok_or(Trouble::Missing)?;
    let Some(input) = scheme.input(digest, request.message.as_deref()) else {
        let words = "the token hashes itself, and was not given the message of the digest";
        return Err(Trouble::Fault(Fault::ours(Class::Caller, "sign", words)));
    };
    let session = signing.take_session().map_err(Trouble::Fault)?;
    let output = match token.sign(&session, &scheme.mechanism, handle, &input) {
        Ok(output) => output,
        Err(error) => {
            let fault = fault(&error);
            // Only a refusal by C_SignInit itself leaves no operation open.
            if fault.class == Class::Caller && matches!(error, Error::Pkcs11(_, Function::SignInit))
            {
                signing.give_session_back(session);
            }
            return Err(Trouble::Fault(fault));
        }
    };
    signing.give_session_back(session);
    x509_form(key_type, output)
        .map_err(|words| Trouble::Fault(Fault::ours(Class::Device, "C_Sign", words)))
}

fn next_step(trouble: &Trouble, taken: Option<Step>) -> Option<Step> {
    let wanted = match trouble {
        // A token without a login shows no private keys; the listing logs in again.
        Trouble::Missing => return (taken < Some(Step::FindAgain)).then_some(Step::FindAgain),
        Trouble::Fault(fault) => match fault.class {
            Class::Session => Step::FreshSession,
            Class::Handle => Step::FindAgain,
            Class::Login => Step::LogInAgain,
            Class::Caller
            | Class::Credential
            | Class::Capacity
            | Class::Device
            | Class::Vendor
            | Class::Configuration
            | Class::Identity
            | Class::Unexpected => return None,
        },
    };
    let after = match taken {
        None => Step::FreshSession,
        Some(Step::FreshSession) => Step::FindAgain,
        Some(Step::FindAgain) => Step::LogInAgain,
        Some(Step::LogInAgain) => return None,
    };
    Some(wanted.max(after))
}

/// The output of a signing mechanism in the form of X.509.
///
/// # Errors
/// For the log, when it is not a signature.
pub(super) fn x509_form(key_type: KeyType, output: Vec<u8>) -> Result<Signature, String> {
    match key_type {
        KeyType::P256 | KeyType::P384 | KeyType::P521 => ecdsa_signature(key_type, &output),
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => rsa_signature(key_type, output),
        KeyType::Ed25519 => eddsa_signature(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(class: Class) -> Vec<Step> {
        let trouble = Trouble::Fault(Fault::ours(class, "C_Sign", ""));
        let mut taken = Vec::new();
        while let Some(step) = next_step(&trouble, taken.last().copied()) {
            taken.push(step);
        }
        taken
    }

    #[test]
    fn each_class_starts_at_its_own_step_and_goes_up() {
        use Step::{FindAgain, FreshSession, LogInAgain};
        assert_eq!(steps(Class::Session), [FreshSession, FindAgain, LogInAgain]);
        assert_eq!(steps(Class::Handle), [FindAgain, LogInAgain]);
        assert_eq!(steps(Class::Login), [LogInAgain]);
    }

    #[test]
    fn a_refused_pin_and_a_dead_device_have_no_step() {
        for class in [
            Class::Caller,
            Class::Credential,
            Class::Capacity,
            Class::Device,
            Class::Vendor,
            Class::Configuration,
            Class::Identity,
            Class::Unexpected,
        ] {
            assert_eq!(steps(class), [], "{class:?}");
        }
    }

    #[test]
    fn a_missing_key_is_looked_for_once() {
        assert_eq!(next_step(&Trouble::Missing, None), Some(Step::FindAgain));
        assert_eq!(next_step(&Trouble::Missing, Some(Step::FindAgain)), None);
        assert_eq!(next_step(&Trouble::Missing, Some(Step::LogInAgain)), None);
    }
}
