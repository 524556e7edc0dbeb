//! One signer process as the front sees it: a child, a socket, and the answers it owes.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use outbox::Outbox;
pub(super) use pending::Deadlines;
use pending::PendingRequests;
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    process::{Child, Command},
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    StoredKey, TokenConfig, TokenUser, Usage,
    jobs::Job,
    pin_attempts::{LoginDecision, PinAttempt, PinFingerprint, WrongPinFlag},
    protocol::{
        self, FROM_SIGNER_BYTES_MAX, FromSigner, HELLO_BYTES_MAX, Hello, PROTOCOL_VERSION, Request,
        SignRequest, TO_SIGNER_BYTES_MAX, ToSigner,
    },
    recycling::RecycleCause,
    sandbox::Cage,
    supervisor::{Canary, PendingChange, Probe},
};

mod outbox;
mod pending;
mod stderr;

/// What a signer has of our own environment. The rest says where other secrets lie, or speaks to the
/// front alone (sd_notify(3), sd_listen_fds(3)).
const FOR_SIGNERS: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// What allocators are told: ours not to map a gigabyte at once, as memory that counts against the limit of
/// the cage; the C library's, which modules use, to have more than seven pieces of each size at hand. Big
/// numbers take and give back more than that for each signature: a tenth of its time in SoftHSM.
const ALLOCATORS: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=100")];

/// A signature takes no more steps of recovery than three.
const NOTES_PER_REQUEST: u32 = 3;
/// Messages to a signer that wait to be written, beside two per session.
const SPARE_MESSAGES: usize = 8;

/// What a signer process does, for the supervisor.
pub(super) enum Event {
    /// It said something.
    Said(FromSigner),
    /// Its socket has ended or broken, in words for the log.
    Gone(String),
}

/// An answer that a signer owes.
pub(super) struct Pending {
    /// When it was asked for, or when it could be begun after a change of the token.
    pub(super) since: Instant,
    /// How long it may take. Of a signature, the supervisor knows better; see its `pace`.
    pub(super) patience: Duration,
    /// What for.
    pub(super) task: Task,
}

/// What a signer was asked for.
pub(super) enum Task {
    /// A caller's signature.
    Job(Job),
    /// A proof of life.
    Canary(Canary),
    /// A signature that tells something of a key in question.
    Probe(Box<Probe>),
    /// A new listing.
    Catalogue,
    /// A listing that every signer makes after a change.
    Relist,
    /// A change of the token.
    Change(PendingChange),
}

/// How far a signer is with a login.
pub(super) enum LoginStage {
    /// None is under way.
    None,
    /// It waits for leave.
    Requested(PinFingerprint, WrongPinFlag),
    /// It has leave, and the token may be looking at the PIN.
    Running(PinFingerprint),
    /// The token has refused the PIN.
    Refused(PinFingerprint),
}

/// What is to become of a signer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// It serves.
    Serves,
    /// It serves until it is replaced.
    Worn(RecycleCause),
    /// The same, and is given nothing more to do while a replacement can be expected.
    Exhausted(RecycleCause),
    /// It does what it owes, and then goes.
    Retires(RecycleCause),
}

/// See the module. Dropping it kills the process.
pub(super) struct Signer {
    /// Ours, never used twice.
    pub(super) id: u64,
    /// The system's.
    pub(super) pid: u32,
    /// Sessions that sign.
    pub(super) sessions: usize,
    /// Whether one session does everything.
    pub(super) alone: bool,
    /// Since when it is up.
    pub(super) up_since: Instant,
    /// When it was asked for a listing last.
    pub(super) listed_at: Instant,
    /// Signatures that it has made.
    pub(super) signatures: u64,
    /// What it has, and had when it said so first.
    pub(super) usage: Option<(Usage, Usage)>,
    /// What is to become of it.
    pub(super) service: Service,
    /// What it owes.
    pub(super) pending: PendingRequests,
    /// How far it is with a login.
    pub(super) login: LoginStage,
    /// Logins that it may still begin: one at its start, and one for each request.
    logins_left: u32,
    /// Faults of its own that it may still tell of; see [`NOTES_PER_REQUEST`].
    notes_left: u32,
    child: Child,
    listening: AbortHandle,
    /// `None` once it was dismissed.
    outbox: Option<Outbox>,
    next_message: u64,
}

impl Signer {
    /// Starts the process and greets it. Its events carry `id`.
    ///
    /// # Errors
    /// When the process cannot be started or greeted.
    pub(super) fn spawn(
        id: u64,
        program: &Path,
        config: &TokenConfig,
        serial: Option<&str>,
        stored: Vec<StoredKey>,
        tried_pins: Vec<PinAttempt>,
        events: mpsc::Sender<(u64, Event)>,
    ) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(program);
        command
            .arg0("chancery")
            .arg("signer")
            .env_clear()
            .envs(FOR_SIGNERS.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(ALLOCATORS)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .envs(&config.environment)
            // Not in our group: a Ctrl-C in the terminal asks us to stop, and we let them finish.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        // The command holds the other end of the socket.
        drop(command);
        let pid = child.id().unwrap_or_default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(stderr::relog(stderr, config.name.clone(), pid));
        }
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        let mut outbox = Outbox::new(writer, 2 * config.sessions + SPARE_MESSAGES);
        let listening = tokio::spawn(listen(reader, id, events)).abort_handle();
        let hello = ToSigner::<&SignRequest>::Hello(Box::new(Hello {
            version: PROTOCOL_VERSION,
            module: config.module.clone(),
            module_arguments: config.module_arguments.clone(),
            label: config.label.clone(),
            serial: serial.map(str::to_owned),
            pin_file: config.pin_file.clone(),
            vendor_user: match config.user {
                TokenUser::Normal => None,
                TokenUser::Vendor(number) => Some(number),
            },
            tried_pins,
            tried_pins_file: config.tried_pins.clone(),
            sessions: config.sessions,
            cage: Cage::around(config),
            stored,
        }));
        if !outbox.say(&hello, HELLO_BYTES_MAX) {
            let words = format!("its greeting is longer than {HELLO_BYTES_MAX} octets");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if !outbox.flush() {
            let words = "it was gone before it was greeted, or does not read";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, words));
        }
        Ok(Self {
            id,
            pid,
            sessions: 1,
            alone: false,
            up_since: Instant::now(),
            listed_at: Instant::now(),
            signatures: 0,
            usage: None,
            service: Service::Serves,
            pending: PendingRequests::default(),
            login: LoginStage::None,
            logins_left: 1,
            notes_left: 0,
            child,
            listening,
            outbox: Some(outbox),
            next_message: 0,
        })
    }

    /// Says a request, which [`Self::flush`] sends.
    ///
    /// # Errors
    /// The task comes back when the signer takes no more messages.
    pub(super) fn ask(
        &mut self,
        request: Request<&SignRequest>,
        task: Task,
        patience: Duration,
    ) -> Result<(), Box<Task>> {
        match self.say(request) {
            Some(message) => {
                self.expect_answer(message, Pending { since: Instant::now(), patience, task });
                Ok(())
            }
            None => Err(Box::new(task)),
        }
    }

    /// Says that a caller wants a signature; as [`Self::ask`].
    ///
    /// # Errors
    /// The job comes back when the signer takes no more messages.
    pub(super) fn ask_for(
        &mut self,
        job: Job,
        since: Instant,
        patience: Duration,
    ) -> Result<(), Box<Job>> {
        match self.say(Request::Sign(&job.request)) {
            Some(message) => {
                self.expect_answer(message, Pending { since, patience, task: Task::Job(job) });
                Ok(())
            }
            None => Err(Box::new(job)),
        }
    }

    fn say(&mut self, request: Request<&SignRequest>) -> Option<u64> {
        let id = self.next_message;
        let outbox = self.outbox.as_mut()?;
        let is_secret = matches!(request, Request::Change(_));
        let message = ToSigner::Request { id, request };
        let said = match is_secret {
            true => outbox.say_secret(&message, TO_SIGNER_BYTES_MAX),
            false => outbox.say(&message, TO_SIGNER_BYTES_MAX),
        };
        said.then_some(id)
    }

    fn expect_answer(&mut self, message: u64, pending: Pending) {
        self.next_message += 1;
        self.notes_left = self.notes_left.saturating_add(NOTES_PER_REQUEST);
        self.logins_left = self.logins_left.saturating_add(1);
        self.pending.insert(message, pending);
    }

    /// Sends what was said since; false when the signer takes no more messages.
    pub(super) fn flush(&mut self) -> bool {
        self.outbox.as_mut().is_none_or(Outbox::flush)
    }

    /// Whether it may begin a login: each costs two writes to the disk.
    pub(super) fn may_log_in(&mut self) -> bool {
        let left = self.logins_left.checked_sub(1);
        self.logins_left = left.unwrap_or(0);
        left.is_some() && matches!(self.login, LoginStage::None | LoginStage::Refused(_))
    }

    /// Answers it that begins one. One that takes no message has other troubles, which show.
    pub(super) fn answer_login(&mut self, decision: LoginDecision) {
        if let Some(outbox) = &mut self.outbox {
            let _ =
                outbox.say(&ToSigner::<&SignRequest>::LoginDecision(decision), TO_SIGNER_BYTES_MAX);
        }
    }

    /// Whether it may tell of a fault that it gets over by itself: each takes one line of our log.
    pub(super) fn may_note(&mut self) -> bool {
        let left = self.notes_left.checked_sub(1);
        self.notes_left = left.unwrap_or(0);
        left.is_some()
    }

    /// What it has now; whether that is something else than before.
    pub(super) fn used(&mut self, usage: Usage) -> bool {
        if self.usage.is_some_and(|(_, before)| before == usage) {
            return false;
        }
        let (mut at_first, _) = self.usage.unwrap_or((usage, usage));
        // A token may say later what it did not say at first.
        at_first.sessions = at_first.sessions.or(usage.sessions);
        self.usage = Some((at_first, usage));
        true
    }

    /// Whether it is to be given more to do.
    pub(super) fn serves(&self) -> bool {
        !matches!(self.service, Service::Retires(_))
    }

    /// Closes the socket on this side: the signer takes its leave of the token and ends.
    pub(super) fn dismiss(&mut self) {
        self.flush();
        self.outbox = None;
    }

    /// Signatures of callers that it owes.
    pub(super) fn pending_jobs(&self) -> usize {
        self.pending.pending_jobs()
    }

    /// Whether it owes a proof of life.
    pub(super) fn has_pending_canary(&self) -> bool {
        self.pending.has_canary()
    }

    /// Whether it owes a change of the token.
    pub(super) fn is_changing(&self) -> bool {
        self.pending.has_change()
    }

    /// Signatures that it owes, proofs of life among them.
    pub(super) fn pending_signatures(&self) -> usize {
        self.pending.signatures()
    }

    /// When the patience with what it owes ends; signatures count apart from the rest. While it changes
    /// the token, nothing else that it owes counts: a module may well do one thing at a time.
    pub(super) fn deadlines(&self) -> Deadlines {
        self.pending.deadlines()
    }

    /// What was kept waiting by a change gets its time now.
    pub(super) fn restart_patience(&mut self, now: Instant) {
        self.pending.restart_patience(now);
    }

    /// Ends the process: by SIGKILL at once, or, with some `grace`, by closing the socket first.
    /// Returns what it pending.
    pub(super) fn end(mut self, grace: Duration, token: &str) -> (Ending, Vec<Task>) {
        if !grace.is_zero() {
            self.flush();
        }
        let pending = std::mem::take(&mut self.pending).into_tasks();
        let Self { mut child, listening, outbox, pid, .. } = self;
        // Nobody hears it any more, and it may talk on until it is gone.
        listening.abort();
        if grace.is_zero() {
            let _ = child.start_kill();
        }
        // The signer reads the end of the socket, when nothing is left to be written.
        drop(outbox);
        let token = token.to_owned();
        let ending = tokio::spawn(async move {
            if timeout(grace, child.wait()).await.is_err() {
                let _ = child.start_kill();
            }
            match child.wait().await {
                Ok(status) => tracing::info!(token, pid, %status, "signer has ended"),
                Err(error) => tracing::warn!(token, pid, %error, "signer cannot be waited for"),
            }
        });
        (ending, pending)
    }
}

/// Done when the process is gone.
pub(super) type Ending = tokio::task::JoinHandle<()>;

async fn listen(reader: OwnedReadHalf, id: u64, events: mpsc::Sender<(u64, Event)>) {
    let mut reader = BufReader::new(reader);
    loop {
        let event = match read(&mut reader).await {
            Ok(message) => Event::Said(message),
            Err(error) => Event::Gone(error.to_string()),
        };
        let last = matches!(event, Event::Gone(_));
        if events.send((id, event)).await.is_err() || last {
            return;
        }
    }
}

async fn read(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<FromSigner> {
    let mut prefix = [0; 4];
    reader.read_exact(&mut prefix).await?;
    let mut content = vec![0; protocol::announced_length(prefix, FROM_SIGNER_BYTES_MAX)?];
    reader.read_exact(&mut content).await?;
    protocol::decode(&content)
}
