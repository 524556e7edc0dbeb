//! One task per token: it alone knows which signers live, what each owes, and what waits. Nothing is
//! shared and nothing is locked; callers watch their own deadlines.

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
    process::{Deadlines, Ending, Event, LoginStage, Signer, Task},
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

pub(super) use canary::Canary;
pub(super) use changes::{ChangeJob, ChangeOutcome, PendingChange};
pub(super) use probes::Probe;
pub(super) use published::{Outlook, Published};

/// Time for a signer to end in order.
const END_GRACE_MS: u64 = 2_000;
/// `Retry-After` while the PIN is refused: an operator has to act.
const CREDENTIAL_RETRY_SECONDS: u64 = 60;
/// Events of signers that wait for the supervisor; signers wait when there are more.
const EVENTS_QUEUED_MAX: usize = 256;
/// Orders, or events, that are taken in before the next look at everything else.
const TAKEN_AT_ONCE: usize = 32;

/// Of a signer that does not read what it is told.
const FULL: &str = "it takes no more messages";

/// What the handle asks for.
pub(super) enum Command {
    /// A signature.
    Sign(Job),
    /// A listing of the token that begins after this.
    Refresh(oneshot::Sender<Result<(), HsmError>>),
    /// A change of the token.
    Change(ChangeJob),
    /// A listing by every signer that begins after this.
    Relist(oneshot::Sender<Result<(), HsmError>>),
    /// Nothing but a token that is back soon.
    Wanted,
    /// A canary signature, now.
    Prove,
    /// A signature with a key, made by this signer, did not verify.
    BadSignature(TokenKey, u64),
    /// Whether a key signs, which nobody has seen yet.
    ProveKey(TokenKey, oneshot::Sender<Result<(), HsmError>>),
    /// Nothing but an answer: whether this task still runs.
    Ping(oneshot::Sender<()>),
    /// The end; answered when all signers are gone.
    Stop(oneshot::Sender<()>),
}

/// Starts the task.
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
    /// Public keys on record before the token was open.
    stored: Vec<StoredKey>,
    /// As configured, or as first met: a token of another serial is not ours.
    serial: Option<String>,
    events_in: mpsc::Sender<(u64, Event)>,
    published: watch::Sender<Published>,
    meter: Arc<Meter>,
    /// Why no signer is up, as seen last.
    trouble: Option<String>,
    /// The newest that is not up yet. So a wrong PIN is tried once, however many processes are wanted.
    starting: Option<Starting>,
    /// Those before it that take their time.
    slow_starts: Vec<Starting>,
    /// The one that starts, while one that is slow is heard in its place.
    aside: Option<Starting>,
    up: Vec<Signer>,
    /// Dismissed, and not gone yet.
    leaving: Vec<Leaving>,
    /// Whether the token lets one process in at a time.
    one_at_a_time: bool,
    backoff: Backoff,
    credential_fault: Option<String>,
    queue: Queue,
    latency: Latency,
    refresh: Refresh,
    changes: Changes,
    relists: Relists,
    /// Keys that are being made, or of which nobody knows what became; nobody signs with them.
    unproven: HashSet<KeyName>,
    /// Keys whose canary signatures failed, by SPKI hash, in order; others are tried first.
    suspects: HashMap<[u8; 32], u64>,
    suspicions: u64,
    /// Whether the signers that are up were let in although no key has signed.
    keys_broken: bool,
    canary_at: Instant,
    /// In a row, by signer.
    failed_canaries: HashMap<u64, u32>,
    /// What a signer takes to come up, on average of the last ones.
    usual_start: Option<Duration>,
    /// Starts in a row that were to take no longer.
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
        let (mut asked, mut heard) = (Vec::new(), Vec::new());
        // Set again for an earlier time, and when it has gone off: not for each signature.
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            let now = Instant::now();
            self.end_the_frozen(now);
            self.grant_a_login();
            self.part_with_the_worn(now);
            self.start_if_due(now);
            self.refuse_if_hopeless(now);
            self.refresh_if_due(now);
            self.canaries_if_due(now);
            self.probes_if_due(now);
            self.relist_if_wanted();
            self.change_if_due(now);
            self.dispatch(now);
            while !self.speak() {
                self.dispatch(now);
            }
            self.count();
            if self.stopping.is_some() && self.is_idle() {
                return self.stop().await;
            }
            let wake = self.next_wake(now);
            if alarm.is_elapsed() || wake < alarm.deadline() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                count = commands.recv_many(&mut asked, TAKEN_AT_ONCE) => match count {
                    // All handles are gone. Dropping the signers kills them.
                    0 => return,
                    _ => asked.drain(..).for_each(|command| self.take(command)),
                },
                _ = events.recv_many(&mut heard, TAKEN_AT_ONCE) => {
                    heard.drain(..).for_each(|(id, event)| self.hear(id, event));
                }
                () = &mut alarm => {}
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Sign(job) if self.stopping.is_some() => {
                job.answer(Err(HsmError::Unavailable { retry_after_seconds: 1 }));
            }
            Command::Sign(job) => {
                if let Some(refusal) = self.refusal_of(&job.request) {
                    return job.answer(Err(refusal));
                }
                self.queue.push(job, self.config.queue_max.max(1), Instant::now());
                self.demand();
            }
            Command::Refresh(reply) => {
                self.refresh.wait(reply);
                self.demand();
            }
            Command::Change(change) if self.stopping.is_some() => {
                let unavailable = HsmError::Unavailable { retry_after_seconds: 1 };
                let _ = change.reply.send(ChangeOutcome::NotAsked(unavailable));
            }
            Command::Change(change) => {
                self.changes.push(change, self.config.queue_max.max(1));
                self.demand();
            }
            Command::Relist(reply) => {
                self.relists.wait(reply);
                self.demand();
            }
            Command::Wanted => self.demand(),
            Command::Prove => self.canary_at = Instant::now(),
            Command::BadSignature(key, maker) => self.hear_of_bad_signature(&key, maker),
            Command::ProveKey(key, waiting) => self.prove_key(key, waiting),
            Command::Ping(reply) => {
                let _ = reply.send(());
            }
            Command::Stop(done) => {
                self.stopping = Some(done);
            }
        }
    }

    /// Somebody waits; when nobody is there to serve, that shortens a long pause.
    fn demand(&mut self) {
        if self.up.is_empty() && self.starting.is_none() {
            self.backoff.demand(Instant::now());
            self.publish();
        }
    }

    /// Gives waiting signatures to the signers that owe least, to one that changes the token last. While
    /// signatures are slow, none is given more than it can work on; what could not be there in time is
    /// refused now instead of made for nobody.
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
            let taking = |job: &Job| self.latency.expected_time(job.request.algorithm, most);
            let Some(job) = self.queue.pop(now, taking) else { return };
            let Some(mut job) = self.admit(job, now) else { continue };
            if job.given_at.replace(now).is_none() {
                self.meter.waited(now.saturating_duration_since(job.since));
            }
            if let Err(job) = self.up[at].ask_for(job, now, patience) {
                self.take_back(vec![Task::Job(*job)], None);
                self.lose(at, LossCause::Protocol, FULL);
            }
        }
    }

    /// Sends what signers were asked since; false when one is lost, and others are to be asked.
    fn speak(&mut self) -> bool {
        if self.starting.as_mut().is_some_and(|starting| !starting.signer.flush()) {
            self.start_failed(FULL.to_owned());
        }
        match self.up.iter_mut().position(|signer| !signer.flush()) {
            None => true,
            Some(at) => {
                self.lose(at, LossCause::Protocol, FULL);
                false
            }
        }
    }

    fn count(&self) {
        let at_work = |signer: &Signer| signer.pending.len().min(signer.sessions);
        self.meter.at_work(self.queue.len(), self.up.iter().map(at_work).sum());
    }

    /// A signer that owes a signature for this long is frozen, unless others are answered; see [`pace`].
    fn patience(&self) -> Duration {
        Duration::from_millis((self.config.sign_deadline_ms / 2).max(1))
    }

    /// When a signer will count as frozen.
    fn patience_until(&self, signer: &Signer) -> Option<Instant> {
        let Deadlines { signature_since, until } = signer.deadlines();
        let frozen_at =
            |since| self.latency.frozen_at(since, self.patience(), self.pending_signatures());
        signature_since.map(frozen_at).into_iter().chain(until).min()
    }

    fn is_suspiciously_slow(&self, signer: &Signer, now: Instant) -> bool {
        let Deadlines { signature_since, until } = signer.deadlines();
        let (patience, owed) = (self.patience(), self.pending_signatures());
        signature_since
            .is_some_and(|since| self.latency.is_suspiciously_slow(since, patience, owed, now))
            || until.is_some_and(|until| until <= now + patience / 2)
    }

    /// By all signers.
    fn pending_signatures(&self) -> usize {
        self.up.iter().map(Signer::pending_signatures).sum()
    }

    /// Signatures of callers that a signer is given at once. Where they are fast, the next ones lie ready.
    fn jobs_at_once(&self, signer: &Signer) -> usize {
        if self.latency.is_slow(signer.sessions) { signer.sessions } else { 2 * signer.sessions }
    }

    fn end_the_frozen(&mut self, now: Instant) {
        let is_frozen = |this: &Self, signer: &Signer| {
            this.patience_until(signer).is_some_and(|until| until <= now)
        };
        while let Some(at) = self.up.iter().position(|signer| is_frozen(self, signer)) {
            self.lose(at, LossCause::Frozen, "it is frozen: an answer is overdue");
        }
        self.start_is_overdue(now);
        self.end_slow_starts(now);
    }

    /// Kills a signer that was up; what it owed goes to others.
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
        self.login_is_cut(&signer);
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

    /// `ending` is there when the signer that owed them is being killed.
    fn take_back(&mut self, tasks: Vec<Task>, mut ending: Option<Ending>) {
        // Each goes to the front of the queue: the youngest first, so that the oldest leads.
        for task in tasks.into_iter().rev() {
            match task {
                Task::Job(job) => self.queue.give_back(job),
                Task::Change(reply) => reply.lost(&mut ending),
                Task::Canary(_) | Task::Probe(_) | Task::Catalogue | Task::Relist => {}
            }
        }
    }

    /// Without a signer, and without one that is about to come, waiting is no use.
    fn refuse_if_hopeless(&mut self, now: Instant) {
        let hopeless = self.stopping.is_some() || !self.may_come();
        if !self.up.is_empty() || !hopeless {
            return;
        }
        // Who has waited in vain has an answer that holds: the next try is as soon as for who asks now.
        if !(self.queue.is_empty() && self.changes.is_empty()) {
            self.demand();
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
    fn may_come(&self) -> bool {
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
        // One that is starting may be in the middle of its login, which is not to be cut short.
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
