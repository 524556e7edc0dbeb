//! The ledger's own figures. They are read without asking its threads, so also while those hang.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::Histogram;

use super::{
    Ledger,
    record::{CaEnd, LedgerFigures, News},
};
use crate::{domain::client::KeyPurpose, metrics};

/// Kept up to date by the writer.
pub(super) struct Figures {
    tree_size: AtomicU64,
    known: Mutex<Known>,
    committed: AtomicU64,
    lost: AtomicU64,
    writable: AtomicBool,
    has_room: AtomicBool,
    /// When what is under way began: a transaction, or the writer's part of a checkpoint.
    begun: Mutex<Option<Instant>>,
    /// From the call to the answer.
    pub(super) write_seconds: Histogram,
    /// From the call to the answer.
    pub(super) read_seconds: Histogram,
}

#[derive(Default)]
struct Known {
    issued: BTreeMap<&'static str, (KeyPurpose, u64)>,
    cas: BTreeMap<String, CaEnd>,
}

/// CAs in the figures, at most: those that expire first.
const CAS_MAX: usize = 1_000;

impl Figures {
    /// Those of a ledger that holds this.
    pub(super) fn of(news: News) -> Self {
        let figures = Self {
            tree_size: AtomicU64::new(0),
            known: Mutex::default(),
            committed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            writable: AtomicBool::new(true),
            has_room: AtomicBool::new(true),
            begun: Mutex::default(),
            write_seconds: metrics::histogram(
                "chancery_ledger_write_seconds",
                "Time from a write's call to its answer, waiting and the sync to disk included.",
            ),
            read_seconds: metrics::histogram(
                "chancery_ledger_read_seconds",
                "Time from a read's call to its answer, waiting included.",
            ),
        };
        figures.learn(news);
        figures
    }

    pub(super) fn begun(&self) {
        *lock(&self.begun) = Some(Instant::now());
    }

    /// A transaction has lasted.
    pub(super) fn committed(&self, news: News, has_room: bool) {
        self.learn(news);
        self.has_room.store(has_room, Ordering::Relaxed);
        self.committed.fetch_add(1, Ordering::Relaxed);
        self.writable.store(true, Ordering::Relaxed);
        self.ended();
    }

    /// Whether there was room on the disk after the last transaction for what an issuance writes.
    pub(super) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    /// How long what is under way has taken.
    pub(super) fn under_way(&self) -> Option<Duration> {
        lock(&self.begun).map(|begun| begun.elapsed())
    }

    /// A transaction was lost.
    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.writable.store(false, Ordering::Relaxed);
        self.ended();
    }

    /// Nothing is under way.
    pub(super) fn ended(&self) {
        *lock(&self.begun) = None;
    }

    fn learn(&self, news: News) {
        self.tree_size.store(news.tree_size, Ordering::Relaxed);
        if news.issued.is_empty() && news.cas.is_empty() {
            return;
        }
        let mut known = lock(&self.known);
        for (profile, count) in news.issued {
            known.issued.entry(profile.name()).or_insert((profile, 0)).1 += count;
        }
        for ca in news.cas {
            match known.cas.get(&ca.key_id) {
                Some(other) if other.not_after >= ca.not_after => {}
                Some(_) | None => {
                    known.cas.insert(ca.key_id.clone(), ca);
                }
            }
        }
    }
}

/// Held for some instructions only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// The ledger at this moment; never blocks on its threads.
    pub fn figures(&self) -> LedgerFigures {
        let figures = &self.inner.figures;
        let known = lock(&figures.known);
        let mut cas: Vec<_> = known.cas.values().cloned().collect();
        cas.sort_by_key(|ca| ca.not_after);
        cas.truncate(CAS_MAX);
        let fault = match figures.has_room() {
            _ if self.inner.storage.is_displaced() => Some("its file is not at its path"),
            false => Some("its disk is full, or nearly"),
            true => None,
        };
        LedgerFigures {
            tree_size: figures.tree_size.load(Ordering::Relaxed),
            issued: known.issued.values().copied().collect(),
            cas,
            writable: figures.writable.load(Ordering::Relaxed) && fault.is_none(),
            fault,
            committed: figures.committed.load(Ordering::Relaxed),
            lost: figures.lost.load(Ordering::Relaxed),
            under_way: figures.under_way(),
            writes_waiting: self.inner.writes.waiting(),
            reads_waiting: self.inner.reads.waiting(),
            write_seconds: figures.write_seconds.clone(),
            read_seconds: figures.read_seconds.clone(),
        }
    }
}
