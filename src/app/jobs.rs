//! The jobs that keep the daemon in order while it serves.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    advice,
    schedule::{Job, Schedule},
};
use crate::{
    domain::time::Timestamp,
    http::Running,
    ledger::Ledger,
    service::{Services, idempotency, tokens::Watch},
};

/// Deletes the answers to Idempotency-Keys that are older than the configured time.
const FORGET_ANSWERS: Job = every("forget-answers", Duration::from_secs(3_600));
/// Records new tokens and where pinned keys are; raises the alarm for pinned keys that cannot be used.
const RECORD_TOKENS: Job = every("record-tokens", Duration::from_secs(1));
/// Checks that the ledger's file is still the one at its path.
const LEDGER_PLACE: Job = every("ledger-place", Duration::from_secs(1));
/// Checks whether a transaction of the ledger takes too long for callers to wait.
const LEDGER_STALLS: Job = every("ledger-stalls", Duration::from_millis(100));
/// Logs what an earlier version has left in the ledger and this version would refuse.
const INHERITED: Job = Job { name: "inherited", period: None, deadline: Duration::from_secs(600) };

/// Takes up TLS files that have changed.
const TLS_FILES: Job = every("tls-files", Duration::from_secs(5));
/// Logs how many answers callers had, and writes the audit entry that sums up their refusals.
const LOG_ANSWERS: Job = every("log-answers", Duration::from_secs(60));
/// Logs how many answers the public had.
const LOG_PUBLIC_ANSWERS: Job = every("log-public-answers", Duration::from_secs(10));

/// How long a run may take. A ledger or a disk that stalls for some seconds is no failure of a job.
const DEADLINE: Duration = Duration::from_secs(60);
const fn every(name: &'static str, period: Duration) -> Job {
    Job { name, period: Some(period), deadline: DEADLINE }
}

/// Adds the jobs on tokens and ledger.
pub(super) fn add_upkeep(
    schedule: &mut Schedule,
    services: &Arc<Services>,
    ledger: &Ledger,
    watch: Watch,
    now: Timestamp,
) {
    let of = Arc::clone(services);
    schedule.add(FORGET_ANSWERS, move || {
        let services = Arc::clone(&of);
        async move {
            let forgotten = idempotency::forget_old_answers(&services, Timestamp::now()).await;
            forgotten.map_err(|error| format!("old answers were not deleted: {error}"))
        }
    });
    let (of, watch) = (Arc::clone(services), Arc::new(Mutex::new(watch)));
    schedule.add(RECORD_TOKENS, move || {
        let (services, watch) = (Arc::clone(&of), Arc::clone(&watch));
        async move {
            watch.lock().await.look(&services).await;
            Ok(())
        }
    });
    let of = ledger.clone();
    schedule.add(LEDGER_PLACE, move || {
        let ledger = of.clone();
        blocking(move || ledger.look_at_place())
    });
    let of = ledger.clone();
    schedule.add(LEDGER_STALLS, move || {
        let ledger = of.clone();
        async move {
            ledger.look_for_stall();
            Ok(())
        }
    });
    let of = ledger.clone();
    schedule.add(INHERITED, move || advice::log_inherited(of.clone(), now));
}

/// Adds the jobs on the listeners.
pub(super) fn add_listeners(schedule: &mut Schedule, running: &Running) {
    let of = Arc::new(std::sync::Mutex::new(running.tls_watch()));
    schedule.add(TLS_FILES, move || {
        let watch = Arc::clone(&of);
        blocking(move || watch.lock().unwrap_or_else(PoisonError::into_inner).look())
    });
    let of = running.current();
    schedule.add(LOG_ANSWERS, move || {
        let current = Arc::clone(&of);
        async move {
            current.log_answers().await;
            Ok(())
        }
    });
    let of = running.current();
    schedule.add(LOG_PUBLIC_ANSWERS, move || {
        let current = Arc::clone(&of);
        async move {
            current.log_public_answers();
            Ok(())
        }
    });
}

/// Runs a blocking call outside the threads of the runtime.
async fn blocking(run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(run).await.map_err(|error| error.to_string())
}
