//! One signer process as the front sees it: a child process, a socket, and the requests that are pending.

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

/// What a signer inherits of the daemon's environment. The rest may name files with secrets, or is for the
/// daemon alone (sd_notify(3), sd_listen_fds(3)).
const FOR_SIGNERS: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// Settings of the allocators. mimalloc must not map a gigabyte in advance, because that counts against the
/// memory limit. glibc's malloc, which modules use, gets larger thread caches, because big-number arithmetic
/// frees more blocks of one size than the default of seven: a tenth of the time of a signature in SoftHSM.
const ALLOCATORS: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=100")];

/// Steps of recovery that a signature takes at most.
const NOTES_PER_REQUEST: u32 = 3;
/// Messages to a signer that may be in the backlog, in addition to two per session.
const SPARE_MESSAGES: usize = 8;

/// An event of a signer process, for the supervisor.
pub(super) enum Event {
    /// It sent a message.
    Message(FromSigner),
    /// Its socket was closed or broke; the reason is for the log.
    Gone(String),
}

/// A request that the signer has not answered yet.
pub(super) struct Pending {
    /// When it was sent, or when the signer could begin it after a change of the token.
    pub(super) since: Instant,
    /// How long it may take. For signatures, the supervisor's `latency` decides.
    pub(super) patience: Duration,
    pub(super) task: Task,
}

/// What a request was sent for.
pub(super) enum Task {
    /// A caller's signature.
    Job(Job),
    /// A canary signature.
    Canary(Canary),
    /// A signature of a probe.
    Probe(Box<Probe>),
    /// A new listing.
    Catalogue,
    /// A listing that every signer makes after a change.
    Relist,
    /// A change of the keys on the token.
    Change(PendingChange),
}

/// The stage of a signer's login.
pub(super) enum LoginStage {
    /// No login is running.
    None,
    /// The signer waits for the decision.
    Requested(PinFingerprint, WrongPinFlag),
    /// `C_Login` may be running.
    Running(PinFingerprint),
    /// The token has refused the PIN. The signer may still report the complete fingerprint.
    Refused(PinFingerprint),
}

/// Where a signer is in its replacement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// It is not to be replaced.
    Serves,
    /// It works until its replacement is up.
    Worn(RecycleCause),
    /// The same, but it gets no more requests while a replacement may come up.
    Exhausted(RecycleCause),
    /// It finishes what is pending and then ends.
    Retires(RecycleCause),
}

/// See the module. Dropping it kills the process.
pub(super) struct Signer {
    /// Assigned by the supervisor, never reused.
    pub(super) id: u64,
    /// The process id.
    pub(super) pid: u32,
    /// Sessions that sign.
    pub(super) sessions: usize,
    /// Whether it has one session for everything.
    pub(super) alone: bool,
    /// Since when it is up.
    pub(super) up_since: Instant,
    /// When it was last asked for a listing.
    pub(super) listed_at: Instant,
    /// Signatures that it has made.
    pub(super) signatures: u64,
    /// What it used when it first said so, and what it uses now.
    pub(super) usage: Option<(Usage, Usage)>,
    /// Where it is in its replacement.
    pub(super) service: Service,
    /// Requests without an answer.
    pub(super) pending: PendingRequests,
    /// The stage of its login.
    pub(super) login: LoginStage,
    /// Logins that it may still begin: one for its start and one for each request, because each costs two
    /// writes to the disk.
    logins_left: u32,
    /// Faults that it may still report, because each takes a line of the log; see [`NOTES_PER_REQUEST`].
    notes_left: u32,
    child: Child,
    listening: AbortHandle,
    /// `None` once it was dismissed.
    outbox: Option<Outbox>,
    next_message: u64,
}

impl Signer {
    /// Starts the process and sends the greeting. Its events are sent with `id`.
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
            // In a process group of its own, because a Ctrl-C in the terminal is for the daemon, which lets
            // signers finish.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        // The command still holds the other end of the socket.
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
        if !outbox.add(&hello, HELLO_BYTES_MAX) {
            let words = format!("its greeting is longer than {HELLO_BYTES_MAX} octets");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if !outbox.flush() {
            let words = "it ended before it was greeted, or does not read";
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

    /// Adds a request, which [`Self::flush`] sends.
    ///
    /// # Errors
    /// Returns the task when the signer accepts no more messages.
    pub(super) fn ask(
        &mut self,
        request: Request<&SignRequest>,
        task: Task,
        patience: Duration,
    ) -> Result<(), Box<Task>> {
        match self.add_request(request) {
            Some(message) => {
                self.expect_answer(message, Pending { since: Instant::now(), patience, task });
                Ok(())
            }
            None => Err(Box::new(task)),
        }
    }

    /// Adds a request for a caller's signature; as [`Self::ask`].
    ///
    /// # Errors
    /// Returns the job when the signer accepts no more messages.
    pub(super) fn ask_for(
        &mut self,
        job: Job,
        since: Instant,
        patience: Duration,
    ) -> Result<(), Box<Job>> {
        match self.add_request(Request::Sign(&job.request)) {
            Some(message) => {
                self.expect_answer(message, Pending { since, patience, task: Task::Job(job) });
                Ok(())
            }
            None => Err(Box::new(job)),
        }
    }

    fn add_request(&mut self, request: Request<&SignRequest>) -> Option<u64> {
        let id = self.next_message;
        let outbox = self.outbox.as_mut()?;
        let is_secret = matches!(request, Request::Change(_));
        let message = ToSigner::Request { id, request };
        let said = match is_secret {
            true => outbox.send_secret(&message, TO_SIGNER_BYTES_MAX),
            false => outbox.add(&message, TO_SIGNER_BYTES_MAX),
        };
        said.then_some(id)
    }

    fn expect_answer(&mut self, message: u64, pending: Pending) {
        self.next_message += 1;
        self.notes_left = self.notes_left.saturating_add(NOTES_PER_REQUEST);
        self.logins_left = self.logins_left.saturating_add(1);
        self.pending.insert(message, pending);
    }

    /// Sends what was added. Returns false when the signer accepts no more messages.
    pub(super) fn flush(&mut self) -> bool {
        self.outbox.as_mut().is_none_or(Outbox::flush)
    }

    /// Whether it may begin a login now. Counts.
    pub(super) fn may_log_in(&mut self) -> bool {
        let left = self.logins_left.checked_sub(1);
        self.logins_left = left.unwrap_or(0);
        left.is_some() && matches!(self.login, LoginStage::None | LoginStage::Refused(_))
    }

    /// Answers a login request. A failure shows elsewhere.
    pub(super) fn answer_login(&mut self, decision: LoginDecision) {
        if let Some(outbox) = &mut self.outbox {
            let _ =
                outbox.add(&ToSigner::<&SignRequest>::LoginDecision(decision), TO_SIGNER_BYTES_MAX);
        }
    }

    /// Whether it may report a fault from which it recovers by itself. Counts.
    pub(super) fn may_note(&mut self) -> bool {
        let left = self.notes_left.checked_sub(1);
        self.notes_left = left.unwrap_or(0);
        left.is_some()
    }

    /// Records what it uses now. Returns whether that has changed.
    pub(super) fn used(&mut self, usage: Usage) -> bool {
        if self.usage.is_some_and(|(_, before)| before == usage) {
            return false;
        }
        let (mut at_first, _) = self.usage.unwrap_or((usage, usage));
        // Some tokens report the number of sessions only later.
        at_first.sessions = at_first.sessions.or(usage.sessions);
        self.usage = Some((at_first, usage));
        true
    }

    /// Whether it gets new requests.
    pub(super) fn serves(&self) -> bool {
        !matches!(self.service, Service::Retires(_))
    }

    /// Closes the socket on this side, so that the signer logs out and ends.
    pub(super) fn dismiss(&mut self) {
        self.flush();
        self.outbox = None;
    }

    /// Signatures for callers that are pending.
    pub(super) fn pending_jobs(&self) -> usize {
        self.pending.pending_jobs()
    }

    /// Whether a canary signature is pending.
    pub(super) fn has_pending_canary(&self) -> bool {
        self.pending.has_canary()
    }

    /// Whether a change of the token is pending.
    pub(super) fn is_changing(&self) -> bool {
        self.pending.has_change()
    }

    /// Pending signatures, including canaries and probes.
    pub(super) fn pending_signatures(&self) -> usize {
        self.pending.signatures()
    }

    /// When its pending requests are overdue. While it changes the token, only that change counts, because a
    /// module may do one thing at a time.
    pub(super) fn deadlines(&self) -> Deadlines {
        self.pending.deadlines()
    }

    /// Restarts the patience with all pending requests, because a change may have blocked them.
    pub(super) fn restart_patience(&mut self, now: Instant) {
        self.pending.restart_patience(now);
    }

    /// Ends the process: kills it at once, or with some `grace` closes the socket first and kills it later.
    /// Returns the tasks of what was pending.
    pub(super) fn end(mut self, grace: Duration, token: &str) -> (Ending, Vec<Task>) {
        if !grace.is_zero() {
            self.flush();
        }
        let pending = std::mem::take(&mut self.pending).into_tasks();
        let Self { mut child, listening, outbox, pid, .. } = self;
        // The signer may go on sending until it is gone.
        listening.abort();
        if grace.is_zero() {
            let _ = child.start_kill();
        }
        // The signer sees the end of the socket once everything was written.
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

/// Completes when the process has ended.
pub(super) type Ending = tokio::task::JoinHandle<()>;

async fn listen(reader: OwnedReadHalf, id: u64, events: mpsc::Sender<(u64, Event)>) {
    let mut reader = BufReader::new(reader);
    loop {
        let event = match read(&mut reader).await {
            Ok(message) => Event::Message(message),
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
