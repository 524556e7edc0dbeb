//! The metrics of a token. Counting is an atomic addition; how the metrics are shown is decided elsewhere.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::{HsmError, RecycleCause, Token, TokenState, Usage, fault::Class};

/// Upper bounds of the histograms' buckets, in seconds; one more bucket has no bound.
pub const BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of a token at one moment. Counters start with the daemon.
#[derive(Clone, Debug)]
pub struct TokenFigures {
    /// The state of the token.
    pub state: TokenState,
    /// The circuit breaker.
    pub breaker: Breaker,
    /// Signatures that callers requested, by outcome.
    pub signatures: Vec<(SignatureOutcome, u64)>,
    /// Signers that were up and were lost, by cause.
    pub signers_lost: Vec<(LossCause, u64)>,
    /// Signers that were recycled, by cause.
    pub signers_recycled: Vec<(RecycleCause, u64)>,
    /// For each resource, the most that a signer uses; `None` while none is up.
    pub usage: Option<Usage>,
    /// Signer processes that were started.
    pub signers_started: u64,
    /// Signers that did not come up.
    pub starts_failed: u64,
    /// Faults that were logged, by class.
    pub faults: Vec<(&'static str, u64)>,
    /// Signatures in the queue.
    pub queue_depth: usize,
    /// Limit of the queue.
    pub queue_max: usize,
    /// Time from a caller's request until a signer gets it.
    pub queue_wait: Histogram,
    /// Time from then until the signature.
    pub signing: Histogram,
    /// Time since a canary signature verified; `None` before the first and without keys.
    pub canary_age: Option<Duration>,
    /// Private keys in the last listing.
    pub keys: usize,
    /// Sessions that sign when all signers are up.
    pub sessions_configured: usize,
    /// Sessions that are busy.
    pub sessions_in_use: usize,
    /// The signer processes that are up.
    pub signer_pids: Vec<u32>,
}

/// The circuit breaker of a token. Faults of the module or the device open it; a signer that makes a canary
/// signature closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Closed, half-open or open.
    pub state: BreakerState,
    /// Why it is not closed: function, code and class, or what was seen of a signer.
    pub reason: Option<String>,
    /// How long it has been in this state.
    pub age: Duration,
    /// When the next signer is started; `None` while none is needed or none will be started.
    pub next_try_in: Option<Duration>,
}

/// The states of a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Signers are up: requests are served.
    Closed,
    /// A signer is being started and has not made a canary signature yet: requests wait.
    #[default]
    HalfOpen,
    /// No signer is up or about to come up: requests are refused at once.
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

/// The outcome of a request for a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureOutcome {
    /// The signature was made.
    Signed,
    /// There is no such key, or more than one.
    NoKey,
    /// The token does not sign with this key.
    Refused,
    /// The token does not answer.
    Unavailable,
    /// Too many requests wait.
    Busy,
    /// The deadline passed.
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

/// Why a signer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// Its process or its socket has ended.
    Ended,
    /// An answer was overdue.
    Frozen,
    /// A fault of the module or the device.
    Fault,
    /// The PIN was refused when its login was lost.
    Credential,
    /// It made a signature that does not verify.
    BadSignature,
    /// It broke the protocol, or does not read its socket.
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

/// A histogram of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Cumulative: how many took at most as long as each of [`BUCKETS_SECONDS`].
    pub at_most: [u64; BUCKETS_SECONDS.len()],
    /// The number of times.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

/// The counters of a token, shared by its handles and its supervisor.
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

    /// Sets the gauges.
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
    /// The metrics of the token.
    pub fn figures(&self) -> TokenFigures {
        fn named<T, const N: usize>(names: [T; N], counts: &[AtomicU64; N]) -> Vec<(T, u64)> {
            names.into_iter().zip(counts).map(|(name, count)| (name, count.load(Relaxed))).collect()
        }
        let (meter, limits) = self.meter();
        // Read the state before borrowing `published`, because two live read guards of a watch channel can
        // deadlock with a waiting writer.
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

/// Configured limits that are shown with the metrics.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) queue_max: usize,
    /// Sessions that sign, in all processes.
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
