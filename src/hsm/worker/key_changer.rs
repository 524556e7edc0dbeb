//! The key changer: the one thread of a signer that changes the keys on the token, one change at a time, in a
//! read-write session of its own. Signing goes on meanwhile.
//!
//! Nothing is retried here. When a call fails, the front finds out whether it has left something on the
//! token.

use std::sync::{Arc, mpsc};

use cryptoki::{
    object::{Attribute, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{
    FrontWriter,
    classify::fault,
    keeper::KeeperRequest,
    module::OpenToken,
    proof::{self, Proof},
    templates::{self, Pair},
};
use crate::{
    domain::key::{KeyType, PublicKey},
    hsm::{
        fault::{Class, Fault},
        key_change::{KeyChange, KeyName, PrivateParts, Wanted},
        protocol::{Answer, KEYS_MAX, KeyChangeResult},
    },
};

/// See the module.
pub(super) struct KeyChanger {
    token: Arc<OpenToken>,
    keeper: mpsc::Sender<KeeperRequest>,
    front: FrontWriter,
}

impl KeyChanger {
    pub(super) fn new(
        token: Arc<OpenToken>,
        keeper: mpsc::Sender<KeeperRequest>,
        front: FrontWriter,
    ) -> Self {
        Self { token, keeper, front }
    }

    /// Works until all senders are gone.
    pub(super) fn work(self, changes: &mpsc::Receiver<(u64, KeyChange)>) {
        for (id, change) in changes {
            let answer = match self.change(change) {
                Ok(answer) => Answer::Changed(answer),
                Err(fault) => Answer::Failed(fault),
            };
            self.front.answer(id, answer);
        }
    }

    fn change(&self, change: KeyChange) -> Result<KeyChangeResult, Fault> {
        // List first: a token without a login hides private keys from the searches below, and a listing logs
        // in again.
        self.list()?;
        let session = self.token.rw_session()?;
        let answer = carry_out(&self.token, &session, change);
        // List again, even after a failure, so that the signing threads see the token as it is now.
        drop(session);
        let listed = self.list();
        if let Err(fault) = listed {
            tracing::warn!("the token may have been changed and cannot be listed: {fault}");
        }
        answer
    }

    fn list(&self) -> Result<(), Fault> {
        let (done, result) = mpsc::channel();
        let gone = || Fault::ours(Class::Device, "ask keeper", "the signer is shutting down");
        // Only a listing that begins from now on is new enough.
        let request = KeeperRequest::FindAgain { stale: u64::MAX, done };
        self.keeper.send(request).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}

/// Changes the token in a read-write session.
///
/// # Errors
/// [`Fault`] of the call that failed; it may leave an operation open in the session.
pub(super) fn carry_out(
    token: &OpenToken,
    session: &Session,
    change: KeyChange,
) -> Result<KeyChangeResult, Fault> {
    let changes = ChangeSession { token, session };
    match change {
        KeyChange::Generate { name, key_type } => changes.generate(&name, key_type),
        KeyChange::Import { name, spki, private } => changes.import(&name, &spki, &private),
        KeyChange::Prove { name, wanted } => {
            let pairs = Halves::of(token, session, &name)?;
            match pairs.only() {
                Some(pair) => changes.prove(&name, pair, &wanted),
                None if pairs.private.is_empty() => Ok(KeyChangeResult::Missing),
                None => {
                    let reason = "a half is missing or there twice".to_owned();
                    Ok(discard(session, &pairs, reason))
                }
            }
        }
        KeyChange::Destroy { name, spki_sha256 } => destroy(token, session, &name, spki_sha256),
    }
}

/// A read-write session in which keys are made.
struct ChangeSession<'a> {
    token: &'a OpenToken,
    session: &'a Session,
}

impl ChangeSession<'_> {
    fn generate(&self, name: &KeyName, key_type: KeyType) -> Result<KeyChangeResult, Fault> {
        if let Some(missing) = templates::missing_to_generate(key_type, &self.token.mechanisms) {
            return Ok(KeyChangeResult::Unsupported(missing));
        }
        if self.is_taken(name)? {
            return Ok(KeyChangeResult::Taken);
        }
        let (mechanism, public, private) = templates::to_generate(name, key_type)?;
        let (public, private) = match self.session.generate_key_pair(&mechanism, &public, &private)
        {
            Ok(made) => made,
            Err(error) if templates::is_unsupported(&error) => {
                tracing::warn!(
                    "{}: key '{}' of type {key_type} is refused",
                    fault(&error),
                    name.label
                );
                return Ok(KeyChangeResult::Unsupported(format!("key type {}", key_type.name())));
            }
            Err(error) => return Err(fault(&error)),
        };
        self.prove(name, Pair { public, private }, &Wanted::Generated(key_type))
    }

    fn import(
        &self,
        name: &KeyName,
        spki: &[u8],
        private: &PrivateParts,
    ) -> Result<KeyChangeResult, Fault> {
        let key = PublicKey::from_spki_der(spki)
            .map_err(|error| Fault::ours(Class::Caller, "import", error.to_string()))?;
        if let Some(missing) = templates::missing_to_sign(key.key_type(), &self.token.mechanisms) {
            return Ok(KeyChangeResult::Unsupported(missing));
        }
        if self.is_taken(name)? {
            return Ok(KeyChangeResult::Taken);
        }
        let create = |template: &[Attribute]| self.session.create_object(template);
        // The public half first, as most tokens generate, because a public half that a crash leaves cannot
        // sign.
        let public = match create(&templates::public_to_import(name, &key)?) {
            Ok(handle) => handle,
            Err(error) if templates::is_unsupported(&error) => {
                tracing::warn!("{}: key '{}' is refused", fault(&error), name.label);
                return Ok(KeyChangeResult::Unsupported(format!("import of {}", key.key_type())));
            }
            Err(error) => return Err(fault(&error)),
        };
        let template = templates::PrivateTemplate::to_import(name, &key, private)?;
        let private = match create(template.attributes()) {
            Ok(handle) => handle,
            Err(error) => {
                let label = &name.label;
                tracing::warn!(
                    "{}: the public half of key '{label}' is destroyed again",
                    fault(&error)
                );
                self.session.destroy_object(public).map_err(|error| fault(&error))?;
                if templates::is_unsupported(&error) {
                    return Ok(KeyChangeResult::Unsupported(format!(
                        "import of {}",
                        key.key_type()
                    )));
                }
                return Err(fault(&error));
            }
        };
        drop(template);
        self.prove(name, Pair { public, private }, &Wanted::Imported(spki.to_vec()))
    }

    /// Whether a key has the label or the id. A lone public half with both is what a crash has left of a key
    /// of ours; it is destroyed.
    fn is_taken(&self, name: &KeyName) -> Result<bool, Fault> {
        let with_attribute = |class, attribute| find(self.token, self.session, class, &[attribute]);
        let label = || Attribute::Label(name.label.clone().into());
        let id = || Attribute::Id(name.id.clone());
        if !with_attribute(ObjectClass::PRIVATE_KEY, label())?.is_empty()
            || !with_attribute(ObjectClass::PRIVATE_KEY, id())?.is_empty()
        {
            return Ok(true);
        }
        let remains = Halves::of(self.token, self.session, name)?.public;
        if with_attribute(ObjectClass::PUBLIC_KEY, label())?.len() > remains.len()
            || with_attribute(ObjectClass::PUBLIC_KEY, id())?.len() > remains.len()
        {
            return Ok(true);
        }
        for handle in remains {
            tracing::warn!("a public key without its private half is destroyed");
            self.session.destroy_object(handle).map_err(|error| fault(&error))?;
        }
        Ok(false)
    }

    /// The last step of every change that makes a key.
    fn prove(&self, name: &KeyName, pair: Pair, wanted: &Wanted) -> Result<KeyChangeResult, Fault> {
        let halves = Halves { private: vec![pair.private], public: vec![pair.public] };
        match proof::of(self.token, self.session, name, &pair, wanted) {
            Ok(Proof::Good(listed)) => Ok(KeyChangeResult::Made(listed)),
            Ok(Proof::Bad(reason)) => Ok(discard(self.session, &halves, reason)),
            Ok(Proof::Label) if destroy_both(self.session, &halves) => {
                Ok(KeyChangeResult::LabelTooLong(name.label.len()))
            }
            Ok(Proof::Label) => {
                let reason = "the label was changed".to_owned();
                Ok(KeyChangeResult::Rejected { reason, destroyed: false })
            }
            // No caller knows the key yet, so it can be destroyed.
            Err(fault) => Ok(discard(self.session, &halves, fault.to_string())),
        }
    }
}

/// The objects that have both label and id of a key.
struct Halves {
    private: Vec<ObjectHandle>,
    public: Vec<ObjectHandle>,
}

impl Halves {
    fn of(token: &OpenToken, session: &Session, name: &KeyName) -> Result<Self, Fault> {
        let both = [Attribute::Label(name.label.clone().into()), Attribute::Id(name.id.clone())];
        Ok(Self {
            private: find(token, session, ObjectClass::PRIVATE_KEY, &both)?,
            public: find(token, session, ObjectClass::PUBLIC_KEY, &both)?,
        })
    }

    fn only(&self) -> Option<Pair> {
        match (self.private.as_slice(), self.public.as_slice()) {
            ([private], [public]) => Some(Pair { private: *private, public: *public }),
            _ => None,
        }
    }
}

fn destroy(
    token: &OpenToken,
    session: &Session,
    name: &KeyName,
    spki_sha256: [u8; 32],
) -> Result<KeyChangeResult, Fault> {
    let halves = Halves::of(token, session, name)?;
    let Some(pair) = halves.only() else { return Ok(KeyChangeResult::Missing) };
    let is_meant = proof::public_half(token, session, pair.public)?
        .is_ok_and(|key| key.spki_sha256() == spki_sha256);
    if !is_meant {
        return Ok(KeyChangeResult::Missing);
    }
    // The private half first, because a public half that a crash leaves cannot sign.
    for handle in [pair.private, pair.public] {
        session.destroy_object(handle).map_err(|error| fault(&error))?;
    }
    Ok(KeyChangeResult::Destroyed)
}

/// Destroys a key that is not what was requested.
fn discard(session: &Session, halves: &Halves, reason: String) -> KeyChangeResult {
    KeyChangeResult::Rejected { reason, destroyed: destroy_both(session, halves) }
}

/// Destroys both halves. Returns false when one remains.
fn destroy_both(session: &Session, halves: &Halves) -> bool {
    let mut gone = true;
    for handle in halves.private.iter().chain(&halves.public) {
        if let Err(error) = session.destroy_object(*handle) {
            tracing::error!(
                "a key that is not what was requested remains on the token: {}",
                fault(&error)
            );
            gone = false;
        }
    }
    gone
}

fn find(
    token: &OpenToken,
    session: &Session,
    class: ObjectClass,
    more: &[Attribute],
) -> Result<Vec<ObjectHandle>, Fault> {
    let template = [&[Attribute::Class(class), Attribute::Token(true)], more].concat();
    token.find(session, &template, KEYS_MAX)
}
