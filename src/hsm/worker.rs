//! The signer process: one token's PKCS#11 module, synchronous and boring. The main thread reads
//! frames, the keeper thread holds the login, signing threads own one session each.
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

use cryptoki::types::RawAuthPin;
use keeper::{Errand, Keeper};
use module::read_pin;

use super::{
    fault::{Class, Fault},
    orders::KeyOrder,
    protocol::{
        self, Answer, FROM_SIGNER_BYTES_MAX, FromSigner, HELLO_BYTES_MAX, Hello, PROTOCOL_VERSION,
        Request, SignOrder, TO_SIGNER_BYTES_MAX, ToSigner,
    },
};

mod attributes;
mod cage;
mod classify;
mod convert;
mod keeper;
mod known;
mod listing;
mod module;
mod proof;
mod raw;
mod scheme;
mod signing;
mod smith;
mod templates;

/// Signatures that may wait for a session here; the front sends far fewer.
const JOBS_QUEUED_MAX: usize = 1024;
/// Time for an orderly shutdown after the socket has closed.
const SHUTDOWN_MS: u64 = 2_000;

/// A signature that was asked for, with the id of the message.
type Job = (u64, SignOrder);

/// A change that was asked for, with the id of the message.
type Change = (u64, KeyOrder);

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
    let pin = match read_pin(&hello.pin_file) {
        Ok(pin) => pin,
        Err(fault) => {
            outbox.send(&FromSigner::Refused(fault));
            return Ok(());
        }
    };
    cage::close(&hello.cage);
    let (jobs, jobs_queue) = mpsc::sync_channel(JOBS_QUEUED_MAX);
    let (changes, changes_queue) = mpsc::channel();
    let (errands, errands_queue) = mpsc::channel();
    let (ending, ended) = mpsc::channel::<()>();
    let keeper_errands = errands.clone();
    // Loading a module may hang; this thread must go on reading to see the end of the socket.
    thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        keep(&hello, pin, &outbox, jobs_queue, changes_queue, keeper_errands, &errands_queue);
        drop(ending);
    })?;
    while let Ok(Some(message)) = protocol::read(&mut socket, TO_SIGNER_BYTES_MAX) {
        let taken = match message {
            ToSigner::Request { id, request: Request::Sign(order) } => {
                jobs.try_send((id, order)).is_ok()
            }
            ToSigner::Request { id, request: Request::Catalogue } => {
                errands.send(Errand::Catalogue { id }).is_ok()
            }
            ToSigner::Request { id, request: Request::Change(order) } => {
                changes.send((id, order)).is_ok()
            }
            ToSigner::Hello(_) => false,
        };
        if !taken {
            break;
        }
    }
    drop((jobs, changes, errands));
    match ended.recv_timeout(Duration::from_millis(SHUTDOWN_MS)) {
        Err(RecvTimeoutError::Timeout) => die(),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
    }
}

/// The keeper's life: open the token, start the signing threads, serve, and take all down in order.
fn keep(
    hello: &Hello,
    pin: RawAuthPin,
    outbox: &Outbox,
    jobs: mpsc::Receiver<Job>,
    changes: mpsc::Receiver<Change>,
    errands: mpsc::Sender<Errand>,
    errands_queue: &mpsc::Receiver<Errand>,
) {
    let (mut keeper, sessions) = match Keeper::open(hello, pin) {
        Ok(opened) => opened,
        Err(fault) => return outbox.send(&FromSigner::Refused(fault)),
    };
    let ready = keeper.ready(sessions.len());
    let jobs = Arc::new(Mutex::new(jobs));
    let threads: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            let bench = keeper.bench(session, errands.clone(), outbox.clone());
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name("signing".to_owned()).spawn(move || bench.work(&jobs))
        })
        .collect();
    let smith = keeper.smith(errands, outbox.clone());
    let smith = thread::Builder::new().name("smith".to_owned()).spawn(move || smith.work(&changes));
    drop(jobs);
    outbox.send(&FromSigner::Ready(ready));
    keeper.serve(errands_queue, outbox);
    for thread in threads.into_iter().chain([smith]).flatten() {
        let _ = thread.join();
    }
    keeper.close();
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
