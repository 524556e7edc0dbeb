//! Rate-limited logging and auditing of requests: one line each while they are few, a summary when they are
//! many.
//!
//! Every request makes the daemon write: a line of the log, and an entry of the audit log when a request that
//! would have changed something is refused. Both are bounded for each caller and minute. Beyond the bound
//! requests are counted, and at the end of the minute the counts are written: one line for each caller, one
//! entry for all of them. A request that has changed something always has its line.
//!
//! Requests without a certificate, to the distribution listener, are only counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::HeaderName},
};

use super::headers;
use crate::{
    domain::{excerpt::excerpt, time::Timestamp},
    service::{
        Services,
        journal::{self, RefusedCaller},
    },
};

/// The target of the lines that are written here: their number has its bound already.
pub const BOUNDED_LINES: &str = module_path!();

/// Lines of refusals, and as many of reads, that each caller has in a minute.
const LINES_PER_MINUTE: u32 = 60;
/// Unknown certificates that are counted one by one within a minute; further ones are counted together.
const STRANGERS_MAX: usize = 64;
/// All unknown certificates together get at most this many times the lines and entries of one.
const STRANGERS_SHARE: u32 = 4;
/// Callers that a summary in the audit log names: those with most refusals. The others are a number.
const CALLERS_NAMED_MAX: usize = 32;

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// A configured client.
    Client(Arc<str>),
    /// An unknown certificate, by its SHA-256.
    Stranger([u8; 32]),
    /// Further unknown certificates, when there are many.
    OtherStrangers,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something was changed, or signed.
    Changed,
    /// It was answered, and nothing has changed.
    Read,
    /// It was refused.
    Refused {
        /// Whether it would have changed something: then the audit log is told.
        is_recorded: bool,
    },
}

/// How a request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// By a line of its own.
    pub(super) line: bool,
    /// By an entry of its own.
    pub(super) entry: bool,
}

/// The counts of the running minute.
pub(super) struct Tally {
    minute: Mutex<Minute>,
    public: Mutex<BTreeMap<u16, u64>>,
}

/// The counts since the last summary.
struct Minute {
    since: Timestamp,
    callers: HashMap<Caller, Count>,
    strangers_seen: usize,
    /// The lines and entries of all unknown certificates together.
    strangers: Own,
}

/// Requests that had a line or an entry of their own.
#[derive(Default)]
struct Own {
    entries: u32,
    refusals: u32,
    reads: u32,
}

/// The counts of one caller.
struct Count {
    name: Arc<str>,
    own: Own,
    /// Refusals without an entry of their own, by status.
    unrecorded: BTreeMap<u16, u64>,
    /// Refusals without a line of their own.
    refusals: u64,
    /// Other answers without a line of their own.
    reads: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { minute: Mutex::new(Minute::new()), public: Mutex::default() }
    }

    /// Counts a request of a caller called `name`. At most `entries_max`
    /// refusals have entries of their own in a minute.
    pub(super) fn count(
        &self,
        caller: Caller,
        name: &Arc<str>,
        status: StatusCode,
        outcome: Outcome,
        entries_max: u32,
    ) -> Told {
        self.minute().count(caller, name, status, outcome, entries_max)
    }

    /// Counts an answer to the public.
    pub(super) fn count_public(&self, status: StatusCode) {
        *self.public().entry(status.as_u16()).or_default() += 1;
    }

    /// Counts a refusal whose audit entry could not be written, so that the next summary has it.
    pub(super) fn is_unrecorded(&self, caller: Caller, name: &Arc<str>, status: StatusCode) {
        self.minute().of(caller, name).0.add_unrecorded(status.as_u16(), 1);
    }

    /// Logs the counts of the distribution listener since the last time.
    pub(super) fn tell_of_the_public(&self) {
        let counts = std::mem::take(&mut *self.public());
        if !counts.is_empty() {
            let answers: u64 = counts.values().sum();
            tracing::info!(answers, statuses = by_status(&counts), "answered to the public");
        }
    }

    /// Writes the summary of the counts since the last time. Counts that the ledger does not take stay for
    /// the next summary.
    pub(super) async fn tell(&self, services: &Services) {
        let minute = std::mem::replace(&mut *self.minute(), Minute::new());
        let mut unrecorded = Vec::new();
        for (caller, count) in minute.callers {
            let Count { name, refusals, reads, .. } = count;
            if refusals + reads > 0 {
                tracing::info!(client = &*name, refusals, reads, "more answers in the last minute");
            }
            if !count.unrecorded.is_empty() {
                unrecorded.push((caller, RefusedCaller { name, statuses: count.unrecorded }));
            }
        }
        if unrecorded.is_empty() {
            return;
        }
        unrecorded.sort_by_key(|(_, refused)| std::cmp::Reverse(refused.count()));
        let refused: Vec<_> = unrecorded.iter().map(|(_, refused)| refused).collect();
        let named = refused.len().min(CALLERS_NAMED_MAX);
        let (named, others) = refused.split_at(named);
        let now = Timestamp::now();
        let written = journal::more_refused(services, minute.since, named, others, now).await;
        if let Err(error) = written {
            let refusals: u64 = refused.iter().map(|refused| refused.count()).sum();
            tracing::error!(%error, refusals, "refusals are missing in the audit log yet");
            let mut next = self.minute();
            next.since = minute.since;
            for (caller, refused) in unrecorded {
                let (count, _) = next.of(caller, &refused.name);
                for (status, number) in refused.statuses {
                    count.add_unrecorded(status, number);
                }
            }
        }
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn public(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        self.public.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn new() -> Self {
        Self {
            since: Timestamp::now(),
            callers: HashMap::new(),
            strangers_seen: 0,
            strangers: Own::default(),
        }
    }

    fn count(
        &mut self,
        caller: Caller,
        name: &Arc<str>,
        status: StatusCode,
        outcome: Outcome,
        entries_max: u32,
    ) -> Told {
        let (count, mut all) = self.of(caller, name);
        let mut take = |of: fn(&mut Own) -> &mut u32, max: u32| {
            let (own, max_of_all) = (of(&mut count.own), max.saturating_mul(STRANGERS_SHARE));
            let mut of_all = all.as_mut().map(|all| of(all));
            let has_room = *own < max && of_all.as_ref().is_none_or(|taken| **taken < max_of_all);
            if has_room {
                *own += 1;
                if let Some(taken) = &mut of_all {
                    **taken += 1;
                }
            }
            has_room
        };
        match outcome {
            Outcome::Changed => Told { line: true, entry: false },
            Outcome::Read => {
                let line = take(|own| &mut own.reads, LINES_PER_MINUTE);
                count.reads += u64::from(!line);
                Told { line, entry: false }
            }
            Outcome::Refused { is_recorded } => {
                let entry = is_recorded && take(|own| &mut own.entries, entries_max);
                let line = take(|own| &mut own.refusals, LINES_PER_MINUTE);
                if is_recorded && !entry {
                    count.add_unrecorded(status.as_u16(), 1);
                }
                count.refusals += u64::from(!line);
                Told { line, entry }
            }
        }
    }

    /// The counts of a caller; for an unknown certificate also those of all unknown certificates.
    fn of(&mut self, caller: Caller, name: &Arc<str>) -> (&mut Count, Option<&mut Own>) {
        let is_known = matches!(caller, Caller::Client(_)) || self.callers.contains_key(&caller);
        let (caller, name) = match is_known || self.strangers_seen < STRANGERS_MAX {
            true => (caller, Arc::clone(name)),
            false => (Caller::OtherStrangers, "unknown certificates".into()),
        };
        let is_stranger = !matches!(caller, Caller::Client(_));
        self.strangers_seen += usize::from(!is_known);
        let all = is_stranger.then_some(&mut self.strangers);
        (self.callers.entry(caller).or_insert_with(|| Count::new(name)), all)
    }
}

impl Count {
    fn new(name: Arc<str>) -> Self {
        Self { name, own: Own::default(), unrecorded: BTreeMap::new(), refusals: 0, reads: 0 }
    }

    fn add_unrecorded(&mut self, status: u16, number: u64) {
        *self.unrecorded.entry(status).or_default() += number;
    }
}

/// `200: 5, 404: 2`.
fn by_status(counts: &BTreeMap<u16, u64>) -> String {
    let words: Vec<_> = counts.iter().map(|(status, count)| format!("{status}: {count}")).collect();
    words.join(", ")
}

/// Writes the line of a request.
pub(super) fn line(client: &str, request: &HttpRequest, answer: &HttpResponse, took: Duration) {
    let said = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
    tracing::info!(
        client = &*excerpt(client),
        method = %excerpt(request.method().as_str()),
        path = &*excerpt(request.path()),
        status = answer.status().as_u16(),
        serial = said(headers::SERIAL),
        audit_index = said(headers::AUDIT_INDEX).and_then(|index| index.parse::<u64>().ok()),
        replayed = said(headers::REPLAYED).map(|_| true),
        milliseconds = took.as_millis(),
        "answered"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Outcome = Outcome::Refused { is_recorded: true };

    fn count(minute: &mut Minute, caller: Caller, outcome: Outcome) -> Told {
        let name = format!("{caller:?}").into();
        minute.count(caller, &name, StatusCode::FORBIDDEN, outcome, 60)
    }

    #[test]
    fn of_a_client_that_is_refused_all_day_some_are_told_and_the_others_are_a_number() {
        let mut minute = Minute::new();
        let client = |name: &str| Caller::Client(name.into());
        let told: Vec<_> = (0..10_000).map(|_| count(&mut minute, client("a"), REFUSED)).collect();
        assert_eq!(told.iter().filter(|told| told.entry).count(), 60);
        assert_eq!(told.iter().filter(|told| told.line).count(), 60);
        let counted = &minute.callers[&client("a")];
        assert_eq!(counted.unrecorded, BTreeMap::from([(403, 9_940)]));
        assert_eq!(counted.refusals, 9_940);
        // Changes and reads still have their lines, and another client is not affected.
        let all = Told { line: true, entry: false };
        assert_eq!(count(&mut minute, client("a"), Outcome::Changed), all);
        assert_eq!(count(&mut minute, client("a"), Outcome::Read), all);
        let not_recorded = Outcome::Refused { is_recorded: false };
        assert_eq!(count(&mut minute, client("b"), not_recorded), all);
        assert_eq!(count(&mut minute, client("b"), REFUSED), Told { line: true, entry: true });
        let reads = (0..1_000).filter(|_| count(&mut minute, client("b"), Outcome::Read).line);
        assert_eq!(reads.count(), 60);
    }

    #[test]
    fn any_number_of_certificates_is_told_of_within_one_bound() {
        let mut minute = Minute::new();
        let (mut entries, mut lines) = (0, 0);
        for number in 0..10_000_u32 {
            let mut certificate = [0; 32];
            certificate[..4].copy_from_slice(&number.to_be_bytes());
            for _ in 0..3 {
                let told = count(&mut minute, Caller::Stranger(certificate), REFUSED);
                entries += u32::from(told.entry);
                lines += u32::from(told.line);
            }
        }
        assert_eq!((entries, lines), (240, 240));
        assert_eq!(minute.callers.len(), STRANGERS_MAX + 1);
        let told: u64 = minute.callers.values().flat_map(|one| one.unrecorded.values()).sum();
        assert_eq!(told, 30_000 - 240);
    }
}
