//! The keeper: one session that holds the login, lists the token, and never signs. Login belongs to
//! the process and ends with its last session, so this one stays.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use cryptoki::{
    session::{Session, SessionState},
    types::RawAuthPin,
};

use super::{
    Outbox, cage, classify::fault, known::Known, listing::Listing, module::OpenToken, scheme,
    signing::Bench, smith::Smith,
};
use crate::hsm::{
    fault::{Class, Fault},
    protocol::{Answer, Hello, Ready},
};

/// How long a token may be without information about itself, in milliseconds.
const SECOND_LOOK_AFTER_MS: u64 = 100;

/// With what may be behind it: a module seldom says what it could not open.
fn hinted(fault: Fault, hello: &Hello) -> Fault {
    match cage::hint(&hello.cage, &hello.module) {
        None => fault,
        Some(hint) if fault.detail.is_empty() => fault.with_detail(hint),
        Some(hint) => {
            let words = format!("{}; {hint}", fault.detail);
            fault.with_detail(words)
        }
    }
}

/// What the keeper is asked to do.
pub(super) enum Errand {
    /// By the front: list the token again and answer with the keys.
    Catalogue {
        /// Of the message.
        id: u64,
    },
    /// By a signing thread whose handle was refused.
    FindAgain {
        /// [`Epoch::number`] of the listing it used.
        stale: u64,
        /// Told when there is a newer one.
        done: mpsc::Sender<Result<(), Fault>>,
    },
    /// By a signing thread that was told that nobody is logged in.
    LogInAgain {
        /// [`Epoch::login`] of the listing it used.
        stale: u64,
        /// Told when there is a newer login, and a listing made under it.
        done: mpsc::Sender<Result<(), Fault>>,
    },
}

/// A listing and when it was made. Handles of one epoch mean nothing in another.
pub(super) struct Epoch {
    /// Counts listings.
    pub(super) number: u64,
    /// Counts logins.
    pub(super) login: u64,
    /// What was there.
    pub(super) listing: Listing,
}

/// The current epoch, for all threads.
#[derive(Clone)]
pub(super) struct Current(Arc<Mutex<Arc<Epoch>>>);

impl Current {
    /// A snapshot.
    pub(super) fn epoch(&self) -> Arc<Epoch> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, epoch: Epoch) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(epoch);
    }
}

/// See the module.
pub(super) struct Keeper {
    token: Arc<OpenToken>,
    session: Session,
    pin: RawAuthPin,
    known: Known,
    current: Current,
    /// Set once the PIN was refused: it is not tried again by this process.
    refused: Option<Fault>,
}

impl Keeper {
    /// Opens the token, logs in, lists it, and opens up to `hello.sessions` sessions for signing.
    ///
    /// # Errors
    /// [`Fault`], of credential class when the PIN is refused.
    pub(super) fn open(hello: &Hello, pin: RawAuthPin) -> Result<(Self, Vec<Session>), Fault> {
        let token = OpenToken::open(hello).map_err(|fault| hinted(fault, hello))?;
        let mut known = Known::new(&hello.stored);
        match Self::log_in(&token, &pin, hello.sessions, &mut known) {
            Ok((session, sessions, listing)) => {
                let first = Epoch { number: 0, login: 0, listing };
                let current = Current(Arc::new(Mutex::new(Arc::new(first))));
                let token = Arc::new(token);
                Ok((Self { token, session, pin, known, current, refused: None }, sessions))
            }
            Err(fault) => {
                token.finalize();
                Err(fault)
            }
        }
    }

    fn log_in(
        token: &OpenToken,
        pin: &RawAuthPin,
        wanted: usize,
        known: &mut Known,
    ) -> Result<(Session, Vec<Session>, Listing), Fault> {
        // One session is the keeper's, and another is for changes, where there are so many.
        let allowed = token.sessions_max.map(|max| match usize::try_from(max) {
            Ok(max @ ..=2) => max - 1,
            Ok(max) => max - 2,
            Err(_) => usize::MAX,
        });
        if allowed == Some(0) {
            let words = "the token allows one session only; signing needs one beside the login";
            return Err(Fault::ours(Class::Configuration, "C_GetTokenInfo", words));
        }
        let session = token.session()?;
        token.log_in(&session, pin)?;
        let listing = Listing::read(&session, token, known)?;
        listing.assert_mechanisms()?;
        let mut sessions = Vec::new();
        for _ in 0..wanted.min(allowed.unwrap_or(usize::MAX)).max(1) {
            match token.session() {
                Ok(session) => sessions.push(session),
                Err(fault) if fault.class == Class::Capacity && !sessions.is_empty() => {
                    tracing::warn!("{} of {wanted} sessions: {fault}", sessions.len());
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok((session, sessions, listing))
    }

    /// The answer to the greeting.
    pub(super) fn ready(&self, sessions: usize) -> Ready {
        Ready {
            facts: self.token.facts.clone(),
            sessions,
            hashing: scheme::hashing(&self.token.mechanisms),
            mechanisms: self.token.mechanisms.iter().map(|mechanism| **mechanism).collect(),
            keys: self.current.epoch().listing.to_wire(),
        }
    }

    /// What a signing thread needs.
    pub(super) fn bench(
        &self,
        session: Session,
        keeper: mpsc::Sender<Errand>,
        outbox: Outbox,
    ) -> Bench {
        Bench::new(Arc::clone(&self.token), session, self.current.clone(), keeper, outbox)
    }

    /// What changes the token.
    pub(super) fn smith(&self, keeper: mpsc::Sender<Errand>, outbox: Outbox) -> Smith {
        Smith::new(Arc::clone(&self.token), keeper, outbox)
    }

    /// Runs errands, one at a time, until all who could send one are gone.
    pub(super) fn serve(&mut self, errands: &mpsc::Receiver<Errand>, outbox: &Outbox) {
        for errand in errands {
            match errand {
                Errand::Catalogue { id } => outbox.answer(
                    id,
                    match self.list() {
                        Ok(()) => Answer::Listed(self.current.epoch().listing.to_wire()),
                        Err(fault) => Answer::Failed(fault),
                    },
                ),
                // One listing serves all threads that met the same stale epoch.
                Errand::FindAgain { stale, done } => {
                    let newer = self.current.epoch().number > stale;
                    let _ = done.send(if newer { Ok(()) } else { self.list() });
                }
                Errand::LogInAgain { stale, done } => {
                    let newer = self.current.epoch().login > stale;
                    let _ = done.send(if newer { Ok(()) } else { self.log_in_again() });
                }
            }
        }
    }

    /// Drops what is left and finalises the module. The signing threads must have ended.
    pub(super) fn close(self) {
        let Self { token, session, .. } = self;
        drop(session);
        if let Some(token) = Arc::into_inner(token) {
            token.finalize();
        }
    }

    fn list(&mut self) -> Result<(), Fault> {
        self.still_there()?;
        let listing = match self.read() {
            Err(fault) if fault.class == Class::Session => {
                // The new session comes before the old one goes: the login ends with the last.
                self.session = self.token.session()?;
                self.read()
            }
            first => first,
        }?;
        let before = self.current.epoch();
        self.current.replace(Epoch { number: before.number + 1, login: before.login, listing });
        Ok(())
    }

    /// One failure proves nothing: SoftHSM has a moment without token information whenever another
    /// process logs in, as signers of one token do.
    fn still_there(&self) -> Result<(), Fault> {
        match self.token.still_there() {
            Ok(_) => Ok(()),
            Err(fault) if fault.class == Class::Device => {
                tracing::warn!("{fault}: the token is asked once more");
                thread::sleep(Duration::from_millis(SECOND_LOOK_AFTER_MS));
                self.token.still_there().map(|_| ())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Without a login a token hides its private keys instead of complaining.
    fn read(&mut self) -> Result<Listing, Fault> {
        let info = self.session.get_session_info().map_err(|error| fault(&error))?;
        match info.session_state() {
            SessionState::RoUser | SessionState::RwUser => {}
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {
                self.renew_login()?;
            }
        }
        Listing::read(&self.session, &self.token, &mut self.known)
    }

    fn log_in_again(&mut self) -> Result<(), Fault> {
        self.renew_login()?;
        self.list()
    }

    fn renew_login(&mut self) -> Result<(), Fault> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        tracing::warn!("the token forgot the login: logging in again");
        match self.token.log_in(&self.session, &self.pin) {
            Ok(()) => {
                let before = self.current.epoch();
                // No key is found in this epoch; the listing that follows makes the next.
                self.current.replace(Epoch {
                    number: before.number + 1,
                    login: before.login + 1,
                    listing: Listing::empty(),
                });
                Ok(())
            }
            Err(fault) => {
                if fault.class == Class::Credential {
                    self.refused = Some(fault.clone());
                }
                Err(fault)
            }
        }
    }
}
