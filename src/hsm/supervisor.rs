//! The supervisor of a token: an actor, that is one task which owns all mutable state about the signer
//! processes, the queue of requests and the requests that are pending. It shares no state and takes no locks.
//! Callers enforce their own deadlines.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use backoff::Backoff;
use changes::{Changes, Relists};
use key_breaker::KeyBreakers;
use latency::Latency;
use refresh::Refresh;
use retiring::Leaving;
use starting::Starting;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    HsmError, StoredKey, TokenConfig, TokenKey,
    figures::{LossCause, Meter},
    jobs::{Job, Queue},
    key_change::KeyName,
    process::{Ending, Event, LoginStage, Signer, Task},
};

mod answers;
mod backoff;
mod broken_keys;
mod canary;
mod changes;
mod hedged_start;
mod key_breaker;
mod latency;
mod logins;
mod probes;
mod published;
mod refresh;
mod retiring;
mod starting;
mod watchdog;

pub(super) use canary::Canary;
pub(super) use changes::{ChangeJob, ChangeOutcome, PendingChange};
pub(super) use probes::Probe;
pub(super) use published::{Outlook, Published};

/// Time that a signer gets to end by itself before it is killed.
const END_GRACE_MS: u64 = 2_000;
/// `Retry-After` while the PIN is refused: an operator has to act.
const CREDENTIAL_RETRY_SECONDS: u64 = 60;
/// Capacity of the channel for events of signers. When it is full, the tasks that read from signers wait.
const EVENTS_QUEUED_MAX: usize = 256;
/// Commands, or events, that are handled in one round of the loop.
const TAKEN_AT_ONCE: usize = 32;

/// Cause of a loss: the signer does not read its socket, and the backlog is full.
const BACKLOG_FULL: &str = "it takes no more messages";

/// What a handle ([`Token`](super::Token)) asks the supervisor for.
pub(super) enum Command {
    /// Make a signature.
    Sign(Job),
    /// List the token; the listing must begin after this command.
    Refresh(oneshot::Sender<Result<(), HsmError>>),
    /// Change the keys on the token.
    Change(ChangeJob),
    /// Have every signer list the token; the listings must begin after this command.
    Relist(oneshot::Sender<Result<(), HsmError>>),
    /// A request wants the token: cut a long backoff short.
    Wanted,
    /// Have the signers make a canary signature now.
    Prove,
    /// A signature made with this key by this signer did not verify.
    BadSignature(TokenKey, u64),
    /// Find out whether a key signs that has not been seen to sign yet.
    ProveKey(TokenKey, oneshot::Sender<Result<(), HsmError>>),
    /// Answer at once. Shows that this task still runs.
    Ping(oneshot::Sender<()>),
    /// Stop; answered when all signers have ended.
    Stop(oneshot::Sender<()>),
}

/// Spawns the task.
pub(super) fn start(
    config: TokenConfig,
    program: PathBuf,
    stored: Vec<StoredKey>,
    commands: mpsc::Receiver<Command>,
    meter: Arc<Meter>,
) -> watch::Receiver<Published> {
    let now = Instant::now();
    let (published, reader) = watch::channel(Published::new(now));
    let (events_in, events) = mpsc::channel(EVENTS_QUEUED_MAX);
    let config = TokenConfig {
        processes: config.processes.max(1),
        sessions: config.sessions.max(1),
        canary_seconds: config.canary_seconds.max(1),
        ..config
    };
    let supervisor = Supervisor {
        serial: config.serial.clone(),
        program,
        stored,
        events_in,
        published,
        meter,
        trouble: None,
        starting: None,
        slow_starts: Vec::new(),
        aside: None,
        up: Vec::new(),
        leaving: Vec::new(),
        one_at_a_time: config.recycling.one_at_a_time,
        backoff: Backoff::new(now),
        credential_fault: None,
        queue: Queue::default(),
        latency: Latency::default(),
        refresh: Refresh::new(now),
        changes: Changes::default(),
        relists: Relists::default(),
        unproven: HashSet::new(),
        suspects: HashMap::new(),
        suspicions: 0,
        keys_broken: false,
        canary_at: now,
        failed_canaries: HashMap::new(),
        usual_start: None,
        hurried_starts: 0,
        key_breakers: KeyBreakers::default(),
        signers_started: 0,
        stopping: None,
        config,
    };
    tokio::spawn(supervisor.run(commands, events));
    reader
}

struct Supervisor {
    config: TokenConfig,
    program: PathBuf,
    /// Public keys that were on record when the daemon started.
    stored: Vec<StoredKey>,
    /// The configured serial, else that of the first token that was opened. Another token is refused.
    serial: Option<String>,
    events_in: mpsc::Sender<(u64, Event)>,
    published: watch::Sender<Published>,
    meter: Arc<Meter>,
    /// The last reason why no signer is up.
    trouble: Option<String>,
    /// The newest signer that is not up yet. There is one at a time, so that a wrong PIN is tried once
    /// however many processes are configured.
    starting: Option<Starting>,
    /// Earlier starts that are slow and go on beside it; see [`hedged_start`].
    slow_starts: Vec<Starting>,
    /// Holds the newest start while an event of a slow one is handled in its place.
    aside: Option<Starting>,
    up: Vec<Signer>,
    /// Signers that were told to end and have not ended yet.
    leaving: Vec<Leaving>,
    /// Whether the token accepts one process at a time.
    one_at_a_time: bool,
    backoff: Backoff,
    credential_fault: Option<String>,
    queue: Queue,
    latency: Latency,
    refresh: Refresh,
    changes: Changes,
    relists: Relists,
    /// Keys that are being made, or whose making was cut short. They are listed as unusable.
    unproven: HashSet<KeyName>,
    /// Keys whose canary signatures failed, by SPKI hash, with a number that grows with each failure.
    /// Canaries are made with other keys first.
    suspects: HashMap<[u8; 32], u64>,
    suspicions: u64,
    /// Whether the signers that are up were admitted although none of the keys signs; see [`broken_keys`].
    keys_broken: bool,
    canary_at: Instant,
    /// Failed canary signatures in a row, by signer.
    failed_canaries: HashMap<u64, u32>,
    /// Moving average of the time that a signer takes to come up.
    usual_start: Option<Duration>,
    /// Starts in a row that got less time than `start_deadline_ms`.
    hurried_starts: u32,
    key_breakers: KeyBreakers,
    signers_started: u64,
    stopping: Option<oneshot::Sender<()>>,
}

impl Supervisor {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<(u64, Event)>,
    ) {
        let (mut received, mut happened) = (Vec::new(), Vec::new());
        // Reset only for an earlier time or after it has fired, because resetting a timer for each signature
        // is expensive.
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            let now = Instant::now();
            self.kill_frozen_signers(now);
            self.decide_on_login();
            self.retire_worn_signers(now);
            self.start_if_due(now);
            self.refuse_if_open(now);
            self.refresh_if_due(now);
            self.canaries_if_due(now);
            self.probes_if_due(now);
            self.relist_if_wanted();
            self.change_if_due(now);
            self.dispatch(now);
            while !self.flush_signers() {
                self.dispatch(now);
            }
            self.update_gauges();
            if self.stopping.is_some() && self.is_idle() {
                return self.stop().await;
            }
            let wake = self.next_wake(now);
            if alarm.is_elapsed() || wake < alarm.deadline() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                count = commands.recv_many(&mut received, TAKEN_AT_ONCE) => match count {
                    // All handles were dropped. Dropping the signers kills them.
                    0 => return,
                    _ => received.drain(..).for_each(|command| self.handle_command(command)),
                },
                _ = events.recv_many(&mut happened, TAKEN_AT_ONCE) => {
                    happened.drain(..).for_each(|(id, event)| self.handle_event(id, event));
                }
                () = &mut alarm => {}
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Sign(job) if self.stopping.is_some() => {
                job.answer(Err(HsmError::UNAVAILABLE));
            }
            Command::Sign(job) => {
                if let Some(refusal) = self.refusal_of(&job.request) {
                    return job.answer(Err(refusal));
                }
                self.queue.push(job, self.config.queue_max.max(1), Instant::now());
                self.demand_signer();
            }
            Command::Refresh(reply) => {
                self.refresh.wait(reply);
                self.demand_signer();
            }
            Command::Change(change) if self.stopping.is_some() => {
                let unavailable = HsmError::UNAVAILABLE;
                let _ = change.reply.send(ChangeOutcome::NotAsked(unavailable));
            }
            Command::Change(change) => {
                self.changes.push(change, self.config.queue_max.max(1));
                self.demand_signer();
            }
            Command::Relist(reply) => {
                self.relists.wait(reply);
                self.demand_signer();
            }
            Command::Wanted => self.demand_signer(),
            Command::Prove => self.canary_at = Instant::now(),
            Command::BadSignature(key, maker) => self.handle_bad_signature(&key, maker),
            Command::ProveKey(key, waiting) => self.prove_key(key, waiting),
            Command::Ping(reply) => {
                let _ = reply.send(());
            }
            Command::Stop(done) => {
                self.stopping = Some(done);
            }
        }
    }

    /// A request needs a signer. Where none is up or starting, this cuts a long backoff short.
    fn demand_signer(&mut self) {
        if self.up.is_empty() && self.starting.is_none() {
            self.backoff.demand(Instant::now());
            self.publish();
        }
    }

    /// Gives queued signatures to the signers with the fewest pending ones, last to one that changes the
    /// token. While signatures are slow, a signer gets no more than it can work on, and requests that would
    /// miss their deadlines are refused now.
    fn dispatch(&mut self, now: Instant) {
        self.queue.expire(now);
        let patience = self.patience();
        while self.latency.has_room(self.pending_signatures(), patience) {
            let free = self
                .up
                .iter()
                .enumerate()
                .filter(|(_, signer)| self.may_be_given_more(signer))
                .filter(|(_, signer)| !self.is_suspiciously_slow(signer, now))
                .map(|(at, signer)| (at, signer.pending_jobs(), self.jobs_at_once(signer)))
                .filter(|(_, owed, most)| owed < most)
                .min_by_key(|(at, owed, _)| (self.up[*at].is_changing(), *owed));
            let Some((at, ..)) = free else { return };
            let most = patience + patience / 2;
            let expected_time = |job: &Job| self.latency.expected_time(job.request.algorithm, most);
            let Some(job) = self.queue.pop(now, expected_time) else { return };
            let Some(mut job) = self.admit(job, now) else { continue };
            if job.given_at.replace(now).is_none() {
                self.meter.waited(now.saturating_duration_since(job.since));
            }
            if let Err(job) = self.up[at].ask_for(job, now, patience) {
                self.take_back(vec![Task::Job(*job)], None);
                self.lose(at, LossCause::Protocol, BACKLOG_FULL);
            }
        }
    }

    /// Flushes the requests that were added for signers. Returns false when that lost a signer, because what
    /// it had pending then needs another one.
    fn flush_signers(&mut self) -> bool {
        if self.starting.as_mut().is_some_and(|starting| !starting.signer.flush()) {
            self.start_failed(BACKLOG_FULL.to_owned());
        }
        match self.up.iter_mut().position(|signer| !signer.flush()) {
            None => true,
            Some(at) => {
                self.lose(at, LossCause::Protocol, BACKLOG_FULL);
                false
            }
        }
    }

    fn update_gauges(&self) {
        let at_work = |signer: &Signer| signer.pending.len().min(signer.sessions);
        self.meter.at_work(self.queue.len(), self.up.iter().map(at_work).sum());
    }

    /// Kills a signer that was up and gives what it had pending to others.
    fn lose(&mut self, at: usize, cause: LossCause, words: &str) {
        let signer = self.up.swap_remove(at);
        let lived = signer.up_since.elapsed();
        let (token, pid) = (&self.config.name, signer.pid);
        let owed = signer.pending.len();
        let action = "kill and respawn";
        tracing::error!(token, pid, cause = words, owed, action, "signer lost");
        self.meter.lost(cause);
        self.trouble = Some(words.to_owned());
        let id = signer.id;
        self.failed_canaries.remove(&id);
        self.login_was_cut(&signer);
        let is_over_a_key = self.blame_keys(&signer, cause);
        let (ending, tasks) = signer.end(Duration::ZERO, &self.config.name);
        self.take_back(tasks, Some(ending));
        self.refresh.lost(id);
        self.relists.done(id, false);
        match is_over_a_key {
            true => self.backoff.lost_over_a_key(Instant::now()),
            false => self.backoff.lost(Instant::now(), lived),
        }
        self.publish();
    }

    /// Puts the tasks of a lost signer back. `ending` is given when that signer is being killed, because the
    /// outcome of a change may be looked for only after its end.
    fn take_back(&mut self, tasks: Vec<Task>, mut ending: Option<Ending>) {
        // In reverse, because each goes to the front of the queue and the oldest has to end up first.
        for task in tasks.into_iter().rev() {
            match task {
                Task::Job(job) => self.queue.give_back(job),
                Task::Change(reply) => reply.lost(&mut ending),
                Task::Canary(_) | Task::Probe(_) | Task::Catalogue | Task::Relist => {}
            }
        }
    }

    /// Circuit breaker: while no signer is up or about to come up, all that wait are refused at once.
    fn refuse_if_open(&mut self, now: Instant) {
        let hopeless = self.stopping.is_some() || !self.is_signer_coming();
        if !self.up.is_empty() || !hopeless {
            return;
        }
        // Callers are refused here with the time of the next start as Retry-After. Cut the backoff short
        // first, as a new request would, so that this time is true.
        if !(self.queue.is_empty() && self.changes.is_empty()) {
            self.demand_signer();
        }
        let retry_after = match self.credential_fault {
            Some(_) => Duration::from_secs(CREDENTIAL_RETRY_SECONDS),
            None => self.backoff.next_at().saturating_duration_since(now),
        };
        self.queue.refuse_all(retry_after);
        self.refresh.refuse_all(retry_after);
        self.changes.refuse_all(retry_after);
        self.relists.refuse_all(retry_after);
    }

    /// Whether a signer is about to come up.
    fn is_signer_coming(&self) -> bool {
        let due = self.starting.is_some() || !self.backoff.last_failed();
        due && self.credential_fault.is_none()
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let start =
            (self.starting.is_none() && self.wants_another()).then(|| self.backoff.next_at());
        let refresh = self.refresh.due_at().filter(|_| !self.up.is_empty());
        let canary = (!self.up.is_empty()).then_some(self.canary_at);
        let starting = self.starting.as_ref().map(|starting| starting.until);
        let change = self.changes.until();
        let probe = self.key_breakers.next_at(now).filter(|_| !self.up.is_empty());
        self.up
            .iter()
            .filter_map(|signer| self.patience_until(signer))
            .chain(self.leaving.iter().map(|leaving| leaving.until))
            .chain(self.slow_starts.iter().map(|slow| slow.until))
            .chain([start, refresh, canary, starting, change, probe].into_iter().flatten())
            .min()
            .unwrap_or(now + Duration::from_secs(3_600))
    }

    fn wants_another(&self) -> bool {
        self.credential_fault.is_none()
            && self.stopping.is_none()
            && match self.up.len() < self.config.processes {
                true => !self.one_at_a_time || self.leaving.is_empty(),
                false => self.wants_a_replacement(),
            }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.changes.is_empty()
            && self.up.iter().all(|signer| signer.pending_jobs() == 0 && !signer.is_changing())
    }

    async fn stop(mut self) {
        let grace = Duration::from_millis(END_GRACE_MS);
        // A signer that is starting may be in its login, which must not be interrupted.
        let starting = self.starting.take().into_iter().chain(self.slow_starts.drain(..));
        let starting = starting.map(|starting| starting.signer);
        let leaving = self.leaving.drain(..).map(|leaving| leaving.signer);
        let all: Vec<_> = self.up.drain(..).chain(starting).chain(leaving).collect();
        let ends = all.into_iter().map(|signer| {
            let in_login = matches!(signer.login, LoginStage::Running(_));
            let grace = if in_login { logins::LOGIN_GRACE } else { grace };
            signer.end(grace, &self.config.name).0
        });
        let endings: Vec<_> = ends.collect();
        for ending in endings {
            let _ = ending.await;
        }
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }
}
