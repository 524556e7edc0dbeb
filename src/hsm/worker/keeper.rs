//! The keeper: the thread and session that hold the login and list the token. A login belongs to the process
//! and ends with its last session, so this session stays open. It signs only when it is the only one.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use cryptoki::session::{Session, SessionState};

use super::{
    FrontWriter, cage,
    classify::fault,
    key_changer::{self, KeyChanger},
    listing::Listing,
    login::Login,
    module::OpenToken,
    scheme,
    signing::{SigningSession, SigningThread, Step},
    stored_keys::StoredKeys,
};
use crate::hsm::{
    fault::{Class, Fault},
    key_change::KeyChange,
    protocol::{Answer, Hello, Ready},
};

/// Pause before the token is asked again for its information, in milliseconds.
const SECOND_LOOK_AFTER_MS: u64 = 100;

/// Adds a hint about the sandbox, because modules seldom say what they could not open.
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

/// A request to the keeper.
pub(super) enum KeeperRequest {
    /// From the front: list the token and answer with the keys.
    Catalogue {
        /// Id of the message.
        id: u64,
    },
    /// From a signing thread whose handle was refused: list the token.
    FindAgain {
        /// [`Epoch::number`] of the listing that it used.
        stale: u64,
        /// Answered when there is a newer one.
        done: mpsc::Sender<Result<(), Fault>>,
    },
    /// From a signing thread that was told that no user is logged in.
    LogInAgain {
        /// [`Epoch::login`] of the listing that it used.
        stale: u64,
        /// Answered when there is a newer login with a listing.
        done: mpsc::Sender<Result<(), Fault>>,
    },
}

/// A listing with its generation. Handles are valid within one epoch only.
pub(super) struct Epoch {
    /// Counts listings.
    pub(super) number: u64,
    /// Counts logins.
    pub(super) login: u64,
    pub(super) listing: Listing,
}

/// The current epoch, shared by all threads.
#[derive(Clone)]
pub(super) struct Current(Arc<Mutex<Arc<Epoch>>>);

impl Current {
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
    /// `None` only when it was the only session and had to be dropped.
    session: Option<Session>,
    /// Whether it is the only session, which also signs and changes the token.
    alone: bool,
    login: Login,
    stored_keys: StoredKeys,
    current: Current,
}

impl Keeper {
    /// Opens the token, logs in, lists it, and opens up to `hello.sessions` sessions for signing; none when
    /// the keeper has to do everything, see [`super::single_thread`].
    ///
    /// # Errors
    /// [`Fault`], of credential class when the PIN is refused.
    pub(super) fn open(hello: &Hello, mut login: Login) -> Result<(Self, Vec<Session>), Fault> {
        let token = OpenToken::open(hello).map_err(|fault| hinted(fault, hello))?;
        let mut stored_keys = StoredKeys::new(&hello.stored);
        match Self::begin(&token, &mut login, hello.sessions, &mut stored_keys) {
            Ok((session, sessions, listing)) => {
                let first = Epoch { number: 0, login: 0, listing };
                let current = Current(Arc::new(Mutex::new(Arc::new(first))));
                let (token, alone) = (Arc::new(token), sessions.is_empty());
                let session = Some(session);
                Ok((Self { token, session, alone, login, stored_keys, current }, sessions))
            }
            Err(fault) => {
                token.finalize();
                Err(fault)
            }
        }
    }

    /// All sessions are opened before the login, so that the PIN is tried once even when some are refused.
    fn begin(
        token: &OpenToken,
        login: &mut Login,
        wanted: usize,
        stored_keys: &mut StoredKeys,
    ) -> Result<(Session, Vec<Session>, Listing), Fault> {
        let (session, sessions) = match token.signing_sessions_max() {
            0 => (token.only_session()?, Vec::new()),
            allowed => {
                let session = token.session()?;
                let sessions = token.signing_sessions(wanted.min(allowed))?;
                match sessions.is_empty() {
                    false => (session, sessions),
                    true => {
                        drop(session);
                        (token.only_session()?, sessions)
                    }
                }
            }
        };
        login.log_in(token, &session)?;
        let listing = Listing::read(&session, token, stored_keys)?;
        listing.assert_mechanisms()?;
        Ok((session, sessions, listing))
    }

    /// The answer to the greeting.
    pub(super) fn ready(&self, sessions: usize) -> Ready {
        Ready {
            facts: self.token.facts.clone(),
            sessions,
            hashing: scheme::hashing(&self.token.mechanisms),
            keys: self.current.epoch().listing.to_wire(),
        }
    }

    /// A signing thread.
    pub(super) fn signing_thread(
        &self,
        session: Session,
        keeper: mpsc::Sender<KeeperRequest>,
        key_changer: mpsc::Sender<(u64, KeyChange)>,
        front: FrontWriter,
    ) -> SigningThread {
        SigningThread::new(
            Arc::clone(&self.token),
            session,
            self.current.clone(),
            keeper,
            key_changer,
            front,
        )
    }

    /// The key changer.
    pub(super) fn key_changer(
        &self,
        keeper: mpsc::Sender<KeeperRequest>,
        front: FrontWriter,
    ) -> KeyChanger {
        KeyChanger::new(Arc::clone(&self.token), keeper, front)
    }

    /// Handles requests one at a time, until all senders are gone.
    pub(super) fn serve(&mut self, requests: &mpsc::Receiver<KeeperRequest>, front: &FrontWriter) {
        for request in requests {
            match request {
                KeeperRequest::Catalogue { id } => front.answer(id, self.catalogue()),
                // One listing serves all threads that used the same outdated epoch.
                KeeperRequest::FindAgain { stale, done } => {
                    let newer = self.current.epoch().number > stale;
                    let _ = done.send(if newer { Ok(()) } else { self.list() });
                }
                KeeperRequest::LogInAgain { stale, done } => {
                    let newer = self.current.epoch().login > stale;
                    let _ = done.send(if newer { Ok(()) } else { self.log_in_again() });
                }
            }
        }
    }

    /// Closes the session and finalises the module. The signing threads must have ended.
    pub(super) fn close(self) {
        let Self { token, session, .. } = self;
        drop(session);
        if let Some(token) = Arc::into_inner(token) {
            token.finalize();
        }
    }

    /// A new listing, as an answer to the front.
    pub(super) fn catalogue(&mut self) -> Answer {
        match self.list() {
            Ok(()) => Answer::Listed(self.current.epoch().listing.to_wire()),
            Err(fault) => Answer::Failed(fault),
        }
    }

    /// Changes the token in the only session.
    pub(super) fn change(&mut self, change: KeyChange) -> Answer {
        let token = Arc::clone(&self.token);
        let answer = match self.list().and_then(|()| self.take_session()) {
            Ok(session) => match key_changer::carry_out(&token, &session, change) {
                Ok(answer) => {
                    self.give_session_back(session);
                    Answer::Changed(answer)
                }
                Err(fault) => Answer::Failed(fault),
            },
            Err(fault) => return Answer::Failed(fault),
        };
        if let Err(fault) = self.list() {
            tracing::warn!("the token may have been changed and cannot be listed: {fault}");
        }
        answer
    }

    fn list(&mut self) -> Result<(), Fault> {
        self.still_there()?;
        self.token.offers_the_same()?;
        let listing = match self.read() {
            Err(fault) if fault.class == Class::Session => {
                self.renew_session()?;
                self.read()
            }
            first => first,
        }?;
        let before = self.current.epoch();
        self.current.replace(Epoch { number: before.number + 1, login: before.login, listing });
        Ok(())
    }

    /// Opens the new session before it closes the old one, because the login ends with the last session; in
    /// the other order where the token has room for one only.
    fn renew_session(&mut self) -> Result<(), Fault> {
        self.session = match self.alone {
            false => Some(self.token.session()?),
            true => {
                self.session = None;
                Some(self.token.only_session()?)
            }
        };
        Ok(())
    }

    /// Retries once, because SoftHSM has no token information for a moment whenever another process logs in.
    fn still_there(&self) -> Result<(), Fault> {
        match self.token.still_there() {
            Ok(_) => Ok(()),
            Err(fault) if fault.class == Class::Device => {
                tracing::warn!("{fault}: asking the token once more");
                thread::sleep(Duration::from_millis(SECOND_LOOK_AFTER_MS));
                self.token.still_there().map(|_| ())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Checks the login first, because without one a token hides its private keys instead of returning an
    /// error.
    fn read(&mut self) -> Result<Listing, Fault> {
        if self.session.is_none() {
            self.renew_session()?;
        }
        let info = self.session()?.get_session_info().map_err(|error| fault(&error))?;
        match info.session_state() {
            SessionState::RoUser | SessionState::RwUser => {}
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {
                self.renew_login()?;
            }
        }
        let session = self.session.as_ref().ok_or_else(no_session)?;
        Listing::read(session, &self.token, &mut self.stored_keys)
    }

    fn session(&self) -> Result<&Session, Fault> {
        self.session.as_ref().ok_or_else(no_session)
    }

    fn log_in_again(&mut self) -> Result<(), Fault> {
        self.renew_login()?;
        self.list()
    }

    fn renew_login(&mut self) -> Result<(), Fault> {
        tracing::warn!("the token reports no login: logging in again");
        let session = self.session.as_ref().ok_or_else(no_session)?;
        self.login.log_in(&self.token, session)?;
        let before = self.current.epoch();
        // This epoch is empty; the listing that follows makes the next one.
        self.current.replace(Epoch {
            number: before.number + 1,
            login: before.login + 1,
            listing: Listing::empty(),
        });
        Ok(())
    }
}

fn no_session() -> Fault {
    Fault::ours(Class::Session, "C_OpenSession", "the only session was dropped")
}

/// A keeper with the only session signs too.
impl SigningSession for Keeper {
    fn token(&self) -> Arc<OpenToken> {
        Arc::clone(&self.token)
    }

    /// When the session was dropped, the login and all handles are gone as well.
    fn epoch(&mut self) -> Result<Arc<Epoch>, Fault> {
        if self.session.is_none() {
            self.list()?;
        }
        Ok(self.current.epoch())
    }

    fn take_session(&mut self) -> Result<Session, Fault> {
        self.session.take().ok_or_else(no_session)
    }

    fn give_session_back(&mut self, session: Session) {
        self.session = Some(session);
    }

    fn recover(&mut self, step: Step, _: &Epoch) -> Result<(), Fault> {
        match step {
            _ if self.session.is_none() => self.list(),
            Step::FreshSession => Ok(()),
            Step::FindAgain => self.list(),
            Step::LogInAgain => self.log_in_again(),
        }
    }
}
