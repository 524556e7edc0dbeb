//! Reads messages of the front by the leader/follower pattern. There is no thread that only reads, because
//! handing a request to another thread costs two context switches per signature.
//!
//! While signatures are fast, the thread that has read a request keeps the socket (it leads): it signs and
//! then reads the next one. Waking another thread for each request would cost a context switch, and locks in
//! modules make two busy sessions slower than one. One of the waiting threads watches the leader and takes
//! the socket over when the leader is busy with one request for 4 to 8 ms. While signatures are slow, the
//! socket is handed on at once, so that all sessions sign.

use std::{
    collections::VecDeque,
    io::{self, BufReader},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use speed::Speed;

use crate::hsm::{
    pin_attempts::LoginDecision,
    protocol::{self, Request, TO_SIGNER_BYTES_MAX, ToSigner},
};

mod speed;

/// Interval at which the leader is checked. A leader that is found with the same request twice loses the
/// lead.
const CHECK_INTERVAL: Duration = Duration::from_millis(4);

/// A request with the id of its message.
type NumberedRequest = (u64, Request);

/// See the module. Shared by all threads.
#[derive(Clone)]
pub(super) struct Inbox(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// `None` while a thread reads from it.
    socket: Option<BufReader<UnixStream>>,
    /// The turn of the leader, while it works on its request.
    leading: Option<u64>,
    /// Whether a waiting thread watches the leader.
    watched: bool,
    /// Number of requests that were given to threads, which is that of the last turn.
    turns: u64,
    speed: Speed,
    has_ended: bool,
    /// Read by a thread that waited for a login decision.
    requests: VecDeque<NumberedRequest>,
    decisions: VecDeque<LoginDecision>,
    /// Threads that wait for the one that reads or leads.
    waiting: usize,
}

/// Gives requests to one thread.
pub(super) struct RequestReader {
    inbox: Inbox,
    /// The turn of the thread's current request, and when it began.
    turn: Option<(u64, Instant)>,
}

/// What the watching thread saw at its last check.
struct Watch {
    leading: Option<u64>,
    turns: u64,
    /// The time of its next check.
    until: Instant,
}

impl Inbox {
    pub(super) fn new(socket: BufReader<UnixStream>) -> Self {
        let state = State {
            socket: Some(socket),
            leading: None,
            watched: false,
            turns: 0,
            speed: Speed::default(),
            has_ended: false,
            requests: VecDeque::new(),
            decisions: VecDeque::new(),
            waiting: 0,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// For a thread that handles requests.
    pub(super) fn reader(&self) -> RequestReader {
        RequestReader { inbox: self.clone(), turn: None }
    }

    /// The next answer to a login request; `None` when the socket has ended.
    pub(super) fn login_decision(&self) -> Option<LoginDecision> {
        let state = self.0.lock();
        let (state, decision) = self.0.wait_for(state, |state| state.decisions.pop_front())?;
        self.0.wake_reader_or_watcher(&state);
        Some(decision)
    }
}

impl RequestReader {
    /// The next request; `None` when the socket has ended.
    pub(super) fn request(&mut self) -> Option<NumberedRequest> {
        let shared = &*self.inbox.0;
        let mut state = shared.lock();
        if let Some((turn, since)) = self.turn.take() {
            state.speed.note(since.elapsed());
            state.leading.take_if(|leading| *leading == turn);
        }
        let (mut state, asked) = shared.wait_for(state, |state| state.requests.pop_front())?;
        state.turns += 1;
        self.turn = Some((state.turns, Instant::now()));
        if state.is_unread() && state.speed.is_fast() {
            state.leading = Some(state.turns);
        }
        shared.wake_reader_or_watcher(&state);
        Some(asked)
    }
}

impl Shared {
    fn wait_for<'a, T>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        take: impl Fn(&mut State) -> Option<T>,
    ) -> Option<(MutexGuard<'a, State>, T)> {
        let mut watch = None;
        let mut has_read = false;
        loop {
            if let Some(taken) = take(&mut state) {
                state.end(&mut watch);
                return Some((state, taken));
            }
            // The message is for another thread, or the socket has ended.
            if has_read && state.waiting > 0 {
                self.changed.notify_all();
            }
            if state.has_ended {
                return None;
            }
            let left = state.check_leader(&mut watch);
            has_read = state.is_unread();
            state = match state.socket.take_if(|_| has_read) {
                Some(mut socket) => {
                    state.end(&mut watch);
                    drop(state);
                    let message = protocol::read(&mut socket, TO_SIGNER_BYTES_MAX);
                    let mut state = self.lock();
                    state.put_back(socket, message);
                    state
                }
                None => self.wait(state, left),
            };
        }
    }

    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = match at_most {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.changed.wait_timeout(state, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.waiting -= 1;
        state
    }

    /// Wakes a waiting thread when none reads, or when none watches the leader.
    fn wake_reader_or_watcher(&self, state: &State) {
        let is_seen_to = state.socket.is_none() || state.leading.is_some() && state.watched;
        if state.waiting > 0 && !is_seen_to {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether no thread reads and none leads.
    fn is_unread(&self) -> bool {
        self.socket.is_some() && self.leading.is_none()
    }

    /// Watches the leader, unless another thread does, and ends its lead when it has been at one request for
    /// too long. Returns the time until the next check; `None` if this thread does not watch.
    fn check_leader(&mut self, watch: &mut Option<Watch>) -> Option<Duration> {
        if watch.is_none() && (self.leading.is_none() || self.watched) {
            return None;
        }
        let now = Instant::now();
        if let Some(seen) = watch {
            if now < seen.until {
                return Some(seen.until - now);
            }
            match self.leading {
                Some(leading) if seen.leading == Some(leading) => {
                    self.leading = None;
                    self.speed = Speed::default();
                    return None;
                }
                // Idle: stop watching. The next leader wakes a thread to watch it.
                None if seen.turns == self.turns => {
                    self.end(watch);
                    return None;
                }
                Some(_) | None => {}
            }
        }
        self.watched = true;
        *watch =
            Some(Watch { leading: self.leading, turns: self.turns, until: now + CHECK_INTERVAL });
        Some(CHECK_INTERVAL)
    }

    /// This thread stops watching.
    fn end(&mut self, watch: &mut Option<Watch>) {
        if watch.take().is_some() {
            self.watched = false;
        }
    }

    /// Puts the socket back, and stores what was read from it.
    fn put_back(&mut self, socket: BufReader<UnixStream>, message: io::Result<Option<ToSigner>>) {
        match message {
            Ok(Some(ToSigner::Request { id, request })) => self.requests.push_back((id, request)),
            Ok(Some(ToSigner::LoginDecision(decision))) => self.decisions.push_back(decision),
            // The end, or a message that is not allowed here. Nothing that follows could be understood.
            Ok(Some(ToSigner::Hello(_)) | None) | Err(_) => {
                self.has_ended = true;
                let _ = socket.get_ref().shutdown(Shutdown::Both);
            }
        }
        self.socket = Some(socket);
    }
}

#[cfg(test)]
mod tests;
