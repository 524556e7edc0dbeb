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

use cryptoki::session::Session;
use keeper::{Errand, Keeper};
use login::Login;

use super::{
    fault::{Class, Fault},
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
mod usage;

/// Signatures that may wait for a session here; the front sends far fewer.
const JOBS_QUEUED_MAX: usize = 1024;
/// Time for an orderly shutdown after the socket has closed.
const SHUTDOWN_MS: u64 = 2_000;
/// The same in the middle of a login, which is not to be cut short.
const SHUTDOWN_IN_LOGIN_MS: u64 = 10_000;

/// A signature that was asked for, with the id of the message.
type Job = (u64, SignOrder);

/// Hands a request to the thread that it is for; false when that takes no more.
type Route = Box<dyn Fn(u64, Request) -> bool + Send>;

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
    let (leave, leaves) = mpsc::channel();
    let login = match Login::prepare(&hello, outbox.clone(), leaves) {
        Ok(login) => login,
        Err(fault) => {
            outbox.send(&FromSigner::Refused(fault));
            return Ok(());
        }
    };
    if let Err(fault) = cage::close(&hello.cage) {
        outbox.send(&FromSigner::Refused(fault));
        return Ok(());
    }
    let (told, routes) = mpsc::channel();
    let (ending, ended) = mpsc::channel::<()>();
    // Loading a module may hang; this thread must go on reading to see the end of the socket.
    thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        keep(&hello, login, &outbox, &told);
        drop(ending);
    })?;
    let mut route = None;
    while let Ok(Some(message)) = protocol::read(&mut socket, TO_SIGNER_BYTES_MAX) {
        let taken = match message {
            ToSigner::Hello(_) => false,
            ToSigner::Leave(granted) => leave.send(granted).is_ok(),
            ToSigner::Request { id, request } => {
                // The front asks for nothing before it was told that the token is open.
                route = route.or_else(|| routes.try_recv().ok());
                route.as_ref().is_some_and(|route: &Route| route(id, request))
            }
        };
        if !taken {
            break;
        }
    }
    drop((route, routes, leave));
    let over = |ms| {
        !matches!(ended.recv_timeout(Duration::from_millis(ms)), Err(RecvTimeoutError::Timeout))
    };
    if over(SHUTDOWN_MS) || login::is_under_way() && over(SHUTDOWN_IN_LOGIN_MS) {
        return Ok(());
    }
    die()
}

/// The keeper's life: open the token, serve it by as many threads as there may be, and take all down
/// in order.
fn keep(hello: &Hello, login: Login, outbox: &Outbox, told: &mpsc::Sender<Route>) {
    let (mut keeper, sessions) = match Keeper::open(hello, login) {
        Ok(opened) => opened,
        Err(fault) => return outbox.send(&FromSigner::Refused(fault)),
    };
    cage::die_with_the_front();
    let ready = FromSigner::Ready(keeper.ready(sessions.len()));
    if sessions.is_empty() {
        let (requests, queue) = mpsc::sync_channel(JOBS_QUEUED_MAX);
        // When the front is gone already, nobody takes the route, and the queue has ended.
        let _ = told.send(Box::new(move |id, request| requests.try_send((id, request)).is_ok()));
        outbox.send(&ready);
        solo::work(&mut keeper, &queue, outbox);
    } else {
        keep_with_others(&mut keeper, sessions, outbox, told, &ready);
    }
    keeper.close();
}

fn keep_with_others(
    keeper: &mut Keeper,
    sessions: Vec<Session>,
    outbox: &Outbox,
    told: &mpsc::Sender<Route>,
    ready: &FromSigner,
) {
    let (jobs, jobs_queue) = mpsc::sync_channel(JOBS_QUEUED_MAX);
    let (changes, changes_queue) = mpsc::channel();
    let (errands, errands_queue) = mpsc::channel();
    let jobs_queue = Arc::new(Mutex::new(jobs_queue));
    let threads: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            let bench = keeper.bench(session, errands.clone(), outbox.clone());
            let jobs = Arc::clone(&jobs_queue);
            thread::Builder::new().name("signing".to_owned()).spawn(move || bench.work(&jobs))
        })
        .collect();
    let smith = keeper.smith(errands.clone(), outbox.clone());
    let smith =
        thread::Builder::new().name("smith".to_owned()).spawn(move || smith.work(&changes_queue));
    drop(jobs_queue);
    let _ = told.send(Box::new(move |id, request| match request {
        Request::Sign(order) => jobs.try_send((id, order)).is_ok(),
        Request::Catalogue => errands.send(Errand::Catalogue { id }).is_ok(),
        Request::Change(order) => changes.send((id, order)).is_ok(),
    }));
    outbox.send(ready);
    keeper.serve(&errands_queue, outbox);
    for thread in threads.into_iter().chain([smith]).flatten() {
        let _ = thread.join();
    }
}

/// The way back to the front, shared by all threads.
#[derive(Clone)]
struct Outbox(Arc<Mutex<UnixStream>>);

impl Outbox {
    fn answer(&self, id: u64, answer: Answer) {
        self.send(&FromSigner::Answer { id, answer, usage: usage::measure() });
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
