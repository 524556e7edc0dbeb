//! What is known of the jobs that the daemon runs by itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::domain::time::Timestamp;

/// The runs of one job, since the start of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// Time from the end of a run to the next; `None` for a job that runs once.
    pub period: Option<Duration>,
    /// When a run last succeeded.
    pub last_success: Option<Timestamp>,
    /// How long that run took.
    pub duration: Duration,
    /// Runs that failed, panicked, or missed their deadline.
    pub failures: u64,
}

/// The jobs, by name.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<BTreeMap<&'static str, JobStatus>>);

impl Jobs {
    /// Adds a job that has not run yet.
    pub fn add(&self, name: &'static str, period: Option<Duration>) {
        self.lock().insert(name, JobStatus { period, ..JobStatus::default() });
    }

    /// A run has ended well.
    pub fn succeeded(&self, name: &'static str, duration: Duration) {
        let mut jobs = self.lock();
        let job = jobs.entry(name).or_default();
        job.last_success = Some(Timestamp::now());
        job.duration = duration;
    }

    /// A run has failed, panicked, or missed its deadline.
    pub fn failed(&self, name: &'static str) {
        self.lock().entry(name).or_default().failures += 1;
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<&'static str, JobStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, JobStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
