//! What the front says, read by whichever thread waits for some of it: one that did nothing but read
//! would cost each signature two switches between threads.

use std::{
    collections::VecDeque,
    io::{self, BufReader},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::hsm::{
    protocol::{self, Request, TO_SIGNER_BYTES_MAX, ToSigner},
    tries::Leave,
};

/// A request, with the id of its message.
type Asked = (u64, Request);

/// See the module. Shared by all threads.
#[derive(Clone)]
pub(super) struct Inbox(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// With the thread that reads, while one does.
    socket: Option<BufReader<UnixStream>>,
    has_ended: bool,
    /// Read by one who waited for something else.
    requests: VecDeque<Asked>,
    leaves: VecDeque<Leave>,
    /// Threads that wait for the one that reads.
    waiting: usize,
}

impl Inbox {
    pub(super) fn new(socket: BufReader<UnixStream>) -> Self {
        let state = State {
            socket: Some(socket),
            has_ended: false,
            requests: VecDeque::new(),
            leaves: VecDeque::new(),
            waiting: 0,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// The next request; `None` when there will be no more.
    pub(super) fn request(&self) -> Option<Asked> {
        self.wait_for(|state| state.requests.pop_front())
    }

    /// The next answer to a login that wants to begin; `None` when there will be none.
    pub(super) fn leave(&self) -> Option<Leave> {
        self.wait_for(|state| state.leaves.pop_front())
    }

    fn wait_for<T>(&self, take: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let Shared { state, changed } = &*self.0;
        let mut locked = lock(state);
        let mut has_read = false;
        loop {
            if let Some(taken) = take(&mut locked) {
                // Another has to read on.
                if locked.waiting > 0 {
                    changed.notify_one();
                }
                return Some(taken);
            }
            // What was read is for one of these, or the end.
            if has_read && locked.waiting > 0 {
                changed.notify_all();
            }
            if locked.has_ended {
                return None;
            }
            has_read = match locked.socket.take() {
                Some(mut socket) => {
                    drop(locked);
                    let message = protocol::read(&mut socket, TO_SIGNER_BYTES_MAX);
                    locked = lock(state);
                    locked.put_back(socket, message);
                    true
                }
                None => {
                    locked.waiting += 1;
                    locked = changed.wait(locked).unwrap_or_else(PoisonError::into_inner);
                    locked.waiting -= 1;
                    false
                }
            };
        }
    }
}

impl State {
    /// Takes the socket back, and what was read from it.
    fn put_back(&mut self, socket: BufReader<UnixStream>, message: io::Result<Option<ToSigner>>) {
        match message {
            Ok(Some(ToSigner::Request { id, request })) => self.requests.push_back((id, request)),
            Ok(Some(ToSigner::Leave(leave))) => self.leaves.push_back(leave),
            // The end, or what is out of place: nothing after it would be understood.
            Ok(Some(ToSigner::Hello(_)) | None) | Err(_) => {
                self.has_ended = true;
                let _ = socket.get_ref().shutdown(Shutdown::Both);
            }
        }
        self.socket = Some(socket);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::mpsc, thread, time::Duration};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn say(front: &mut UnixStream, message: &ToSigner) {
        let frame = protocol::encode(message, TO_SIGNER_BYTES_MAX).unwrap();
        front.write_all(&frame).unwrap();
    }

    /// Three threads wait for requests, and one for leaves, until the end.
    fn waiting(inbox: &Inbox) -> (mpsc::Receiver<Option<u64>>, mpsc::Receiver<Option<Leave>>) {
        let (asked, requests) = mpsc::channel();
        let (granted, leaves) = mpsc::channel();
        for _ in 0..3 {
            let (inbox, asked) = (inbox.clone(), asked.clone());
            thread::spawn(move || {
                while let Some((id, _)) = inbox.request() {
                    asked.send(Some(id)).unwrap();
                }
                asked.send(None).unwrap();
            });
        }
        let inbox = inbox.clone();
        thread::spawn(move || {
            loop {
                let leave = inbox.leave();
                granted.send(leave).unwrap();
                if leave.is_none() {
                    return;
                }
            }
        });
        (requests, leaves)
    }

    #[test]
    fn each_thread_gets_what_it_waits_for_whoever_reads_it_and_all_hear_of_the_end() {
        let (mut front, ours) = UnixStream::pair().unwrap();
        let inbox = Inbox::new(BufReader::new(ours));
        let (requests, leaves) = waiting(&inbox);
        for id in 0..500 {
            say(&mut front, &ToSigner::Leave(Leave::Granted));
            assert!(matches!(leaves.recv_timeout(PATIENCE), Ok(Some(Leave::Granted))), "{id}");
            say(&mut front, &ToSigner::Request { id, request: Request::Catalogue });
            assert_eq!(requests.recv_timeout(PATIENCE), Ok(Some(id)));
        }
        drop(front);
        for _ in 0..3 {
            assert_eq!(requests.recv_timeout(PATIENCE), Ok(None));
        }
        assert!(matches!(leaves.recv_timeout(PATIENCE), Ok(None)));
    }
}
