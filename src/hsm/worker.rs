//! The signer process: one token's PKCS#11 module, synchronous and boring. The main thread waits for
//! the end, the keeper thread holds the login, signing threads own one session each; whichever of
//! these is free reads the next frame.
//!
//! It does not decide when to die or to be born again: the front does, by closing the socket.

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

/// Time for an orderly shutdown after the socket has closed.
const SHUTDOWN_MS: u64 = 2_000;
/// The same in the middle of a login, which is not to be cut short.
const SHUTDOWN_IN_LOGIN_MS: u64 = 10_000;
/// How long the front is told the same of what this process uses.
const USAGE_FOR: Duration = Duration::from_millis(20);

/// Serves the socket on standard input until it closes: the life of a signer process.
///
/// A module that hangs cannot keep the process alive: two seconds after the end of the socket it is
/// gone, whatever its threads are stuck in.
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
    // The PIN file lies outside.
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
    // Loading a module may hang; this thread must go on, to see the end of the socket.
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

/// Returns when the other side has closed the socket, or this one has shut it down.
fn wait_for_the_end(socket: &UnixStream) {
    loop {
        let mut ends = [PollFd::new(socket, PollFlags::RDHUP)];
        match poll(&mut ends, None) {
            // Interrupted by a signal.
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

/// The keeper's life: open the token, serve it by as many threads as there may be, and take all down
/// in order.
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

/// The way back to the front, shared by all threads.
#[derive(Clone)]
struct FrontWriter(Arc<Mutex<FrontSocket>>);

struct FrontSocket {
    socket: UnixStream,
    /// As measured last, and when.
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

    /// Tells the front of a fault that is being got over here; it writes the log.
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
    /// Measured now and then: a signature takes not much longer.
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

    /// Without a front there is nobody to work for: the main thread sees the same end.
    fn send(&mut self, message: &FromSigner) {
        if let Err(error) = protocol::write(&mut self.socket, message, FROM_SIGNER_BYTES_MAX) {
            tracing::warn!("the front does not listen: {error}");
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Ends the process now. `exit` would run the module's destructors, which may wait for the very
/// lock that a stuck thread holds.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
