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
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use cryptoki::session::Session;
use keeper::Keeper;
use login::Login;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    fault::{Class, Fault},
    protocol::{
        self, Answer, FROM_SIGNER_BYTES_MAX, FromSigner, HELLO_BYTES_MAX, Hello, PROTOCOL_VERSION,
        Request, TO_SIGNER_BYTES_MAX, ToSigner,
    },
};

mod attributes;
mod cage;
mod classify;
mod convert;
mod keeper;
mod known;
mod listing;
mod login;
mod module;
mod pin;
mod proof;
mod quirks;
mod raw;
mod scheme;
mod signing;
mod smith;
mod solo;
mod templates;

/// Time for an orderly shutdown after the socket has closed.
const SHUTDOWN_MS: u64 = 2_000;

/// Serves the socket on standard input until it closes: the life of a signer process.
///
/// A module that hangs cannot keep the process alive: two seconds after the end of the socket it is
/// gone, whatever its threads are stuck in.
pub fn run_signer() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{panic}");
        die();
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
    let outbox = Outbox(Arc::new(Mutex::new(socket.try_clone()?)));
    let end = socket.try_clone()?;
    let mut socket = BufReader::new(socket);
    let hello = match protocol::read(&mut socket, HELLO_BYTES_MAX) {
        Ok(Some(ToSigner::Hello(hello))) if hello.version == PROTOCOL_VERSION => hello,
        Ok(None) => return Ok(()),
        Ok(Some(_)) | Err(_) => {
            let words = "front and signer are of different versions: restart the service";
            let fault = Fault::ours(Class::Configuration, "greet signer", words);
            outbox.send(&FromSigner::Refused(fault));
            return Ok(());
        }
    };
    // The PIN file lies outside.
    let login = match Login::prepare(&hello, outbox.clone()) {
        Ok(login) => login,
        Err(fault) => {
            outbox.send(&FromSigner::Refused(fault));
            return Ok(());
        }
    };
    cage::close(&hello.cage);
    let inbox = Inbox(Arc::new(Mutex::new(Some(socket))));
    let (ending, ended) = mpsc::channel::<()>();
    // Loading a module may hang; this thread must go on, to see the end of the socket.
    thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        keep(&hello, login, &inbox, &outbox);
        drop(ending);
    })?;
    wait_for_the_end(&end);
    match ended.recv_timeout(Duration::from_millis(SHUTDOWN_MS)) {
        Err(RecvTimeoutError::Timeout) => die(),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
    }
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
fn keep(hello: &Hello, login: Login, inbox: &Inbox, outbox: &Outbox) {
    let (mut keeper, sessions) = match Keeper::open(hello, login) {
        Ok(opened) => opened,
        Err(fault) => return outbox.send(&FromSigner::Refused(fault)),
    };
    cage::die_with_the_front();
    outbox.send(&FromSigner::Ready(keeper.ready(sessions.len().max(1))));
    if sessions.is_empty() {
        solo::work(&mut keeper, inbox, outbox);
    } else {
        keep_with_others(&mut keeper, sessions, inbox, outbox);
    }
    keeper.close();
}

fn keep_with_others(keeper: &mut Keeper, sessions: Vec<Session>, inbox: &Inbox, outbox: &Outbox) {
    let (changes, changes_queue) = mpsc::channel();
    let (errands, errands_queue) = mpsc::channel();
    let threads: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            let bench = keeper.bench(session, errands.clone(), changes.clone(), outbox.clone());
            let inbox = inbox.clone();
            thread::Builder::new().name("signing".to_owned()).spawn(move || bench.work(&inbox))
        })
        .collect();
    let smith = keeper.smith(errands, outbox.clone());
    let smith =
        thread::Builder::new().name("smith".to_owned()).spawn(move || smith.work(&changes_queue));
    drop(changes);
    keeper.serve(&errands_queue, outbox);
    for thread in threads.into_iter().chain([smith]).flatten() {
        let _ = thread.join();
    }
}

/// What the front asks for, shared by all threads that may read it. `None` after its end.
#[derive(Clone)]
struct Inbox(Arc<Mutex<Option<BufReader<UnixStream>>>>);

impl Inbox {
    /// The next request; `None` when there will be no more. One thread at a time waits here for the
    /// front, the others for that thread.
    fn next(&self) -> Option<(u64, Request)> {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match protocol::read(socket.as_mut()?, TO_SIGNER_BYTES_MAX) {
            Ok(Some(ToSigner::Request { id, request })) => Some((id, request)),
            // The end, or what is no request: nothing after it would be understood.
            Ok(Some(ToSigner::Hello(_)) | None) | Err(_) => {
                let ended = socket.take()?.into_inner();
                let _ = ended.shutdown(std::net::Shutdown::Both);
                None
            }
        }
    }
}

/// The way back to the front, shared by all threads.
#[derive(Clone)]
struct Outbox(Arc<Mutex<UnixStream>>);

impl Outbox {
    fn answer(&self, id: u64, answer: Answer) {
        self.send(&FromSigner::Answer { id, answer });
    }

    /// Tells the front of a fault that is being got over here; it writes the log.
    fn note(&self, fault: &Fault, key: &str, next: &str) {
        let (fault, key, next) = (fault.clone(), key.to_owned(), next.to_owned());
        self.send(&FromSigner::Noted { fault, key, next });
    }

    /// Without a front there is nobody to work for: the main thread sees the same end.
    fn send(&self, message: &FromSigner) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = protocol::write(&mut *socket, message, FROM_SIGNER_BYTES_MAX) {
            tracing::warn!("the front does not listen: {error}");
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Ends the process now. `exit` would run the module's destructors, which may wait for the very
/// lock that a stuck thread holds.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
