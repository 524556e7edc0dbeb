//! The jobs that keep the daemon in order while it serves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

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
    schedule.add(FORGET_ANSWERS, services, |services| async move {
        let forgotten = idempotency::forget_old_answers(&services, Timestamp::now()).await;
        forgotten.map_err(|error| format!("old answers were not deleted: {error}"))
    });
    let watch = Arc::new(tokio::sync::Mutex::new(watch));
    schedule.add(RECORD_TOKENS, &(Arc::clone(services), watch), |(services, watch)| async move {
        watch.lock().await.look(&services).await;
        Ok(())
    });
    schedule.add(LEDGER_PLACE, ledger, |ledger| blocking(move || ledger.look_at_place()));
    schedule.add(LEDGER_STALLS, ledger, |ledger| async move {
        ledger.look_for_stall();
        Ok(())
    });
    schedule.add(INHERITED, ledger, move |ledger| advice::log_inherited(ledger, now));
}

/// Adds the jobs on the listeners.
pub(super) fn add_listeners(schedule: &mut Schedule, running: &Running) {
    let watch = Arc::new(Mutex::new(running.tls_watch()));
    schedule.add(TLS_FILES, &watch, |watch| {
        blocking(move || watch.lock().unwrap_or_else(PoisonError::into_inner).look())
    });
    schedule.add(LOG_ANSWERS, &running.current(), |current| async move {
        current.log_answers().await;
        Ok(())
    });
    schedule.add(LOG_PUBLIC_ANSWERS, &running.current(), |current| async move {
        current.log_public_answers();
        Ok(())
    });
}

/// Runs a blocking call outside the threads of the runtime.
async fn blocking(run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(run).await.map_err(|error| error.to_string())
}
