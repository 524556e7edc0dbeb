//! The signer process: serves one token by blocking calls of its PKCS#11 module. The main thread waits for
//! the end of the socket, the keeper thread holds the login, and signing threads have one session each.
//! Whichever of them is free reads the next message.
//!
//! When a signer ends is decided by the front, which closes the socket.

use std::{
    io::{self, BufReader},
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use cryptoki::session::Session;
use inbox::Inbox;
use keeper::Keeper;
use login::Login;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    Usage,
    fault::{Class, Fault},
    protocol::{
        self, Answer, FROM_SIGNER_BYTES_MAX, FromSigner, HELLO_BYTES_MAX, Hello, PROTOCOL_VERSION,
        ToSigner,
    },
};

mod attributes;
mod cage;
mod classify;
mod convert;
mod guard;
mod inbox;
mod keeper;
mod key_changer;
mod listing;
mod login;
mod module;
mod pairing;
mod pin;
mod proof;
mod quirks;
mod raw;
mod scheme;
mod signing;
mod single_thread;
mod stored_keys;
mod templates;
mod usage;

/// Time for an orderly shutdown after the socket was closed, in milliseconds.
const SHUTDOWN_MS: u64 = 2_000;
/// The same during a login, which must not be interrupted.
const SHUTDOWN_IN_LOGIN_MS: u64 = 10_000;
/// Interval between two measurements of what this process uses.
const USAGE_FOR: Duration = Duration::from_millis(20);

/// Runs a signer process: serves the socket on standard input until it is closed.
///
/// A module that hangs cannot keep the process alive: it ends two seconds after the socket was closed,
/// whatever its threads are doing.
pub fn run_signer() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        if !guard::is_guarded() {
            tracing::error!("{panic}");
            die();
        }
    }));
    cage::enter();
    match socket().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error} (this command is started by the daemon, not by people)");
            ExitCode::FAILURE
        }
    }
}

fn socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    Ok(socket)
}

fn serve(socket: UnixStream) -> io::Result<()> {
    let front = FrontWriter::new(socket.try_clone()?);
    let end = socket.try_clone()?;
    let mut socket = BufReader::new(socket);
    let hello = match protocol::read::<ToSigner>(&mut socket, HELLO_BYTES_MAX) {
        Ok(Some(ToSigner::Hello(hello))) if hello.version == PROTOCOL_VERSION => hello,
        Ok(None) => return Ok(()),
        Ok(Some(_)) | Err(_) => {
            let words = "front and signer are of different versions: restart the service";
            let fault = Fault::ours(Class::Configuration, "greet signer", words);
            front.send(&FromSigner::Refused(fault));
            return Ok(());
        }
    };
    // Read before the sandbox, which hides the PIN file.
    let inbox = Inbox::new(socket);
    let login = match Login::prepare(&hello, front.clone(), inbox.clone()) {
        Ok(login) => login,
        Err(fault) => {
            front.send(&FromSigner::Refused(fault));
            return Ok(());
        }
    };
    if let Err(fault) = cage::close(&hello.cage) {
        front.send(&FromSigner::Refused(fault));
        return Ok(());
    }
    let (ending, ended) = mpsc::channel::<()>();
    // In a thread of its own, because loading a module may hang and this thread has to see the end of the
    // socket.
    thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        keep(&hello, login, &inbox, &front);
        drop(ending);
    })?;
    wait_for_the_end(&end);
    let over = |ms| {
        !matches!(ended.recv_timeout(Duration::from_millis(ms)), Err(RecvTimeoutError::Timeout))
    };
    if over(SHUTDOWN_MS) || login::is_under_way() && over(SHUTDOWN_IN_LOGIN_MS) {
        return Ok(());
    }
    die()
}

/// Returns when either side has closed the socket.
fn wait_for_the_end(socket: &UnixStream) {
    loop {
        let mut ends = [PollFd::new(socket, PollFlags::RDHUP)];
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

/// Runs the keeper thread: opens the token, serves it with all threads, and closes everything in order.
fn keep(hello: &Hello, login: Login, inbox: &Inbox, front: &FrontWriter) {
    let (mut keeper, sessions) = match Keeper::open(hello, login) {
        Ok(opened) => opened,
        Err(fault) => return front.send(&FromSigner::Refused(fault)),
    };
    cage::die_with_the_front();
    front.send(&FromSigner::Ready(keeper.ready(sessions.len())));
    if sessions.is_empty() {
        single_thread::work(&mut keeper, inbox, front);
    } else {
        keep_with_others(&mut keeper, sessions, inbox, front);
    }
    keeper.close();
}

fn keep_with_others(
    keeper: &mut Keeper,
    sessions: Vec<Session>,
    inbox: &Inbox,
    front: &FrontWriter,
) {
    let (changes, changes_queue) = mpsc::channel();
    let (requests, keeper_queue) = mpsc::channel();
    let threads: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            let signing =
                keeper.signing_thread(session, requests.clone(), changes.clone(), front.clone());
            let inbox = inbox.clone();
            thread::Builder::new().name("signing".to_owned()).spawn(move || signing.work(&inbox))
        })
        .collect();
    let key_changer = keeper.key_changer(requests, front.clone());
    let key_changer = thread::Builder::new()
        .name("key-changer".to_owned())
        .spawn(move || key_changer.work(&changes_queue));
    drop(changes);
    keeper.serve(&keeper_queue, front);
    for thread in threads.into_iter().chain([key_changer]).flatten() {
        let _ = thread.join();
    }
}

/// Writes messages to the front; shared by all threads.
#[derive(Clone)]
struct FrontWriter(Arc<Mutex<FrontSocket>>);

struct FrontSocket {
    socket: UnixStream,
    /// The last measurement and its time.
    usage: Option<(Usage, Instant)>,
}

impl FrontWriter {
    fn new(socket: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(FrontSocket { socket, usage: None })))
    }

    fn answer(&self, id: u64, answer: Answer) {
        let mut out = self.lock();
        let usage = out.usage();
        out.send(&FromSigner::Answer { id, answer, usage });
    }

    /// Reports a fault from which this signer recovers by itself. The front logs it.
    fn note(&self, fault: &Fault, key: &str, next: &str) {
        let (fault, key, next) = (fault.clone(), key.to_owned(), next.to_owned());
        self.send(&FromSigner::Noted { fault, key, next });
    }

    fn send(&self, message: &FromSigner) {
        self.lock().send(message);
    }

    fn lock(&self) -> MutexGuard<'_, FrontSocket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FrontSocket {
    /// Cached, because measuring takes a noticeable part of the time of a signature.
    fn usage(&mut self) -> Usage {
        match self.usage {
            Some((usage, at)) if at.elapsed() < USAGE_FOR => usage,
            _ => {
                let usage = usage::measure();
                self.usage = Some((usage, Instant::now()));
                usage
            }
        }
    }

    /// When the front is gone, the main thread sees the end of the socket too.
    fn send(&mut self, message: &FromSigner) {
        if let Err(error) = protocol::write(&mut self.socket, message, FROM_SIGNER_BYTES_MAX) {
            tracing::warn!("the front does not listen: {error}");
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Kills this process. `exit` would run the module's destructors, which may wait for a lock that a stuck
/// thread holds.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
