//! The schedule: named jobs that the daemon runs by itself, each with a period, a deadline and a record of
//! its runs (`chancery_job_*`, `GET /v1/status`).
//!
//! Each job has a task of its own, and each run another one: a job that hangs or panics does not stop the
//! others. A job never runs twice at the same time, because a run that hangs in a system call cannot be
//! ended: after its deadline it is reported, and the next run waits for its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::service::status::{Jobs, Observations};

/// Runs jobs until it is dropped.
pub(super) struct Schedule {
    observations: Arc<Observations>,
    tasks: JoinSet<()>,
}

/// The name of a job, and when it runs.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) name: &'static str,
    /// From the end of a run to the next run; `None`: the job runs once.
    pub(super) period: Option<Duration>,
    /// How long a run may take before it is reported.
    pub(super) deadline: Duration,
}

impl Schedule {
    pub(super) fn new(observations: Arc<Observations>) -> Self {
        Self { observations, tasks: JoinSet::new() }
    }

    /// Adds a job, which runs at once and then with its period. `run` starts one run, on a clone of `of`; an
    /// error of it is in words for the operator.
    pub(super) fn add<T, F>(
        &mut self,
        job: Job,
        of: &T,
        mut run: impl FnMut(T) -> F + Send + 'static,
    ) where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (of, observations) = (of.clone(), Arc::clone(&self.observations));
        observations.jobs.add(job.name, job.period);
        self.tasks.spawn(async move {
            loop {
                run_once(&observations.jobs, job, run(of.clone())).await;
                let Some(period) = job.period else { return };
                sleep(period).await;
            }
        });
    }
}

async fn run_once<F>(jobs: &Jobs, Job { name, deadline, .. }: Job, run: F)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let begun = Instant::now();
    // The run is a task of its own, because its panic must not end this loop.
    let mut task = AbortOnDropHandle::new(tokio::spawn(run));
    let ended = match timeout(deadline, &mut task).await {
        Ok(ended) => ended,
        Err(_) => {
            jobs.failed(name);
            let milliseconds = deadline.as_millis();
            tracing::error!(
                job = name,
                "a job has not ended within {milliseconds} ms; its next run waits for its end"
            );
            task.await
        }
    };
    match ended {
        Ok(Ok(())) => jobs.succeeded(name, begun.elapsed()),
        Ok(Err(error)) => {
            jobs.failed(name);
            tracing::warn!(job = name, error, "a job has failed");
        }
        Err(panic) => {
            jobs.failed(name);
            tracing::error!(job = name, error = %panic, "a job has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{domain::time::Timestamp, service::status::JobStatus};

    const fn job(name: &'static str) -> Job {
        let period = Some(Duration::from_millis(1));
        Job { name, period, deadline: Duration::from_millis(50) }
    }

    /// Waits until the record of a job is as wanted.
    async fn until(observations: &Observations, name: &str, wanted: impl Fn(&JobStatus) -> bool) {
        let reached = async {
            while !observations.jobs.all().get(name).is_some_and(&wanted) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), reached).await.unwrap();
    }

    #[tokio::test]
    async fn a_job_that_hangs_panics_or_fails_is_counted_and_stops_no_other() {
        let observations = Arc::new(Observations::new(Timestamp::now()));
        let mut schedule = Schedule::new(Arc::clone(&observations));
        schedule.add(job("hangs"), &(), |()| std::future::pending());
        schedule.add(job("panics"), &(), |()| async { panic!("a test") });
        schedule.add(job("fails"), &(), |()| async { Err("a test".to_owned()) });
        let runs = Arc::new(AtomicU32::new(0));
        schedule.add(job("works"), &runs, |runs| async move {
            runs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        until(&observations, "panics", |job| job.failures > 2).await;
        until(&observations, "fails", |job| job.failures > 2).await;
        until(&observations, "hangs", |job| job.failures == 1).await;
        let before = runs.load(Ordering::Relaxed);
        until(&observations, "works", |job| job.last_success.is_some()).await;
        while runs.load(Ordering::Relaxed) < before + 3 {
            sleep(Duration::from_millis(1)).await;
        }
        let jobs = observations.jobs.all();
        assert_eq!((jobs["works"].failures, jobs["hangs"].last_success), (0, None));
        assert!(jobs["hangs"].failures == 1, "a hanging job does not run twice at the same time");
    }

    #[tokio::test]
    async fn a_run_after_its_deadline_counts_as_failed_and_as_done() {
        let observations = Arc::new(Observations::new(Timestamp::now()));
        let mut schedule = Schedule::new(Arc::clone(&observations));
        let once = Job { period: None, deadline: Duration::from_millis(1), ..job("late") };
        let mut runs = 0;
        schedule.add(once, &(), move |()| {
            runs += 1;
            assert_eq!(runs, 1, "it runs once");
            async {
                sleep(Duration::from_millis(20)).await;
                Ok(())
            }
        });
        until(&observations, "late", |job| job.failures == 1 && job.last_success.is_some()).await;
        assert!(observations.jobs.all()["late"].duration >= Duration::from_millis(20));
    }
}
