//! What operators see of a token, in numbers. Counting costs an atomic addition; nothing here knows
//! how the numbers are shown.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::{HsmError, RecycleCause, Token, TokenState, Usage, fault::Class};

/// Upper bounds of the histograms' buckets, in seconds; one more bucket has no bound.
pub const BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The numbers of one token at one moment. Counts are since the start of the daemon.
#[derive(Clone, Debug)]
pub struct TokenFigures {
    /// How it is doing.
    pub state: TokenState,
    /// Whether requests reach it.
    pub breaker: Breaker,
    /// Signatures that callers asked for, by what they were told.
    pub signatures: Vec<(SignatureOutcome, u64)>,
    /// Signers that were up and had to be replaced, by cause.
    pub signers_lost: Vec<(LossCause, u64)>,
    /// Signers that were replaced in good order before they met a limit, by cause.
    pub signers_recycled: Vec<(RecycleCause, u64)>,
    /// The most that a signer has of each, as of its last answer; `None` while none is up.
    pub usage: Option<Usage>,
    /// Signer processes that were started, the first ones among them.
    pub signers_started: u64,
    /// Signers that did not come up.
    pub starts_failed: u64,
    /// Faults that the log names, by the word for their class.
    pub faults: Vec<(&'static str, u64)>,
    /// Signatures that no signer has taken yet.
    pub queue_depth: usize,
    /// How many may wait.
    pub queue_max: usize,
    /// From a caller's request to the signer that takes it.
    pub queue_wait: Histogram,
    /// From the signer that takes it to a signature.
    pub signing: Histogram,
    /// Time since a canary signature verified; `None` before the first, and without keys.
    pub canary_age: Option<Duration>,
    /// Private keys on it, when it was last listed.
    pub keys: usize,
    /// Sessions that sign when all signers are up.
    pub sessions_configured: usize,
    /// Sessions that have something to do.
    pub sessions_in_use: usize,
    /// The processes that are up.
    pub signer_pids: Vec<u32>,
}

/// Whether requests reach the token. Faults of its module or device open it; a signer that proves
/// itself by a signature closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// See there.
    pub state: BreakerState,
    /// Function, code and class, or what was seen of a signer, while it is not closed.
    pub reason: Option<String>,
    /// How long it has been in this state.
    pub age: Duration,
    /// When the next signer is started; `None` while none is needed or none will be.
    pub next_try_in: Option<Duration>,
}

/// The three states of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Signers are up: requests are served.
    Closed,
    /// A signer is being started and has yet to prove itself: requests wait for it.
    #[default]
    HalfOpen,
    /// No signer is up, and none will be before the next try: requests are refused at once.
    Open,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// What came of a request for a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureOutcome {
    /// There is one.
    Signed,
    /// The key is not there, or not one key.
    NoKey,
    /// The token does not sign with this key.
    Refused,
    /// The token does not answer.
    Unavailable,
    /// Too many wait for it.
    Busy,
    /// It was not there in time.
    Late,
}

impl SignatureOutcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Signed, Self::NoKey, Self::Refused, Self::Unavailable, Self::Busy, Self::Late];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::NoKey => "no-key",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Late => "late",
        }
    }

    fn of<T>(result: &Result<T, HsmError>) -> Self {
        match result {
            Ok(_) => Self::Signed,
            Err(HsmError::Missing | HsmError::Ambiguous { .. }) => Self::NoKey,
            Err(HsmError::Unusable { .. }) => Self::Refused,
            Err(HsmError::Unavailable { .. }) => Self::Unavailable,
            Err(HsmError::Busy { .. }) => Self::Busy,
            Err(HsmError::DeadlineMissed { .. }) => Self::Late,
        }
    }
}

/// Why a signer that was up had to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// Its process has ended, or its socket.
    Ended,
    /// It owed an answer for too long.
    Frozen,
    /// A fault of the module or the device.
    Fault,
    /// The PIN was refused when its login was lost.
    Credential,
    /// It made a signature that does not verify.
    BadSignature,
    /// It said what nobody asked for, or listens no more.
    Protocol,
}

impl LossCause {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ended,
        Self::Frozen,
        Self::Fault,
        Self::Credential,
        Self::BadSignature,
        Self::Protocol,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Frozen => "frozen",
            Self::Fault => "fault",
            Self::Credential => "credential",
            Self::BadSignature => "bad-signature",
            Self::Protocol => "protocol",
        }
    }
}

/// How long something took, how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// How many took at most as long as each of [`BUCKETS_SECONDS`].
    pub at_most: [u64; BUCKETS_SECONDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

/// What is counted of one token, by its handles and its supervisor.
#[derive(Default)]
pub(super) struct Meter {
    signatures: [AtomicU64; SignatureOutcome::ALL.len()],
    signers_lost: [AtomicU64; LossCause::ALL.len()],
    signers_recycled: [AtomicU64; RecycleCause::ALL.len()],
    signers_started: AtomicU64,
    starts_failed: AtomicU64,
    faults: [AtomicU64; Class::ALL.len()],
    queue_depth: AtomicUsize,
    sessions_in_use: AtomicUsize,
    queue_wait: Timings,
    signing: Timings,
}

impl Meter {
    pub(super) fn record<T>(&self, result: &Result<T, HsmError>) {
        self.signatures[SignatureOutcome::of(result) as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn lost(&self, cause: LossCause) {
        self.signers_lost[cause as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn recycled(&self, cause: RecycleCause) {
        self.signers_recycled[cause as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn started(&self) {
        self.signers_started.fetch_add(1, Relaxed);
    }

    pub(super) fn start_failed(&self) {
        self.starts_failed.fetch_add(1, Relaxed);
    }

    pub(super) fn fault(&self, class: Class) {
        self.faults[class as usize].fetch_add(1, Relaxed);
    }

    /// What is waiting and what is being worked on, now.
    pub(super) fn at_work(&self, queue_depth: usize, sessions_in_use: usize) {
        self.queue_depth.store(queue_depth, Relaxed);
        self.sessions_in_use.store(sessions_in_use, Relaxed);
    }

    pub(super) fn waited(&self, time: Duration) {
        self.queue_wait.add(time);
    }

    pub(super) fn signed_within(&self, time: Duration) {
        self.signing.add(time);
    }
}

impl Token {
    /// What operators see of the token, in numbers.
    pub fn figures(&self) -> TokenFigures {
        fn named<T, const N: usize>(names: [T; N], counts: &[AtomicU64; N]) -> Vec<(T, u64)> {
            names.into_iter().zip(counts).map(|(name, count)| (name, count.load(Relaxed))).collect()
        }
        let (meter, limits) = self.meter();
        // Before the next line: who looks twice at once may wait for a writer that waits for him.
        let state = self.state();
        let published = self.published();
        TokenFigures {
            state,
            breaker: published.breaker(Instant::now()),
            signatures: named(SignatureOutcome::ALL, &meter.signatures),
            signers_lost: named(LossCause::ALL, &meter.signers_lost),
            signers_recycled: named(RecycleCause::ALL, &meter.signers_recycled),
            usage: published.usage,
            signers_started: meter.signers_started.load(Relaxed),
            starts_failed: meter.starts_failed.load(Relaxed),
            faults: named(Class::ALL.map(Class::name), &meter.faults),
            queue_depth: meter.queue_depth.load(Relaxed),
            queue_max: limits.queue_max,
            queue_wait: meter.queue_wait.histogram(),
            signing: meter.signing.histogram(),
            canary_age: published.canary_age(Instant::now()),
            keys: published.catalogue.entries().len(),
            sessions_configured: limits.sessions,
            sessions_in_use: meter.sessions_in_use.load(Relaxed),
            signer_pids: published.signer_pids.to_vec(),
        }
    }
}

/// What is configured of a token and shown with its numbers.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) queue_max: usize,
    /// That sign, in all processes.
    pub(super) sessions: usize,
}

#[derive(Default)]
struct Timings {
    buckets: [AtomicU64; BUCKETS_SECONDS.len() + 1],
    sum_microseconds: AtomicU64,
}

impl Timings {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BUCKETS_SECONDS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS_SECONDS.len())].fetch_add(1, Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_microseconds.fetch_add(microseconds, Relaxed);
    }

    fn histogram(&self) -> Histogram {
        let mut at_most = [0; BUCKETS_SECONDS.len()];
        let mut count = 0;
        for (bucket, below) in self.buckets.iter().zip(&mut at_most) {
            count += bucket.load(Relaxed);
            *below = count;
        }
        count += self.buckets[BUCKETS_SECONDS.len()].load(Relaxed);
        let sum = Duration::from_micros(self.sum_microseconds.load(Relaxed));
        Histogram { at_most, count, sum }
    }
}
