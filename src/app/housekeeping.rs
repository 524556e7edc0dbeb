//! What is done now and then, while the daemon serves.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    domain::time::Timestamp,
    ledger::Ledger,
    service::{Services, tokens::Watch},
};

/// How often answers to old Idempotency-Keys are forgotten.
const FORGET: Duration = Duration::from_secs(3_600);
/// How often the tokens, and the ledger's place, are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Answers forgotten in one transaction: others wait for it.
const FORGOTTEN_AT_ONCE: usize = 500;

/// Runs until it is dropped.
pub(super) async fn keep(services: Arc<Services>, watch: Watch) {
    let ledger = &services.ledger;
    tokio::join!(
        forget(&services),
        look(&services, watch),
        ledger.watch_for_stalls(),
        look_at_place(ledger)
    );
}

async fn look(services: &Services, mut watch: Watch) {
    loop {
        tokio::time::sleep(LOOK).await;
        watch.look(services).await;
    }
}

/// A disk that hangs holds up this task alone.
async fn look_at_place(ledger: &Ledger) {
    loop {
        tokio::time::sleep(LOOK).await;
        let ledger = ledger.clone();
        // It has logged what it found; a panic would be ours, and is logged by tokio's hook.
        let _ = tokio::task::spawn_blocking(move || ledger.look_at_place()).await;
    }
}

async fn forget(services: &Services) {
    let mut forget = interval(FORGET);
    forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        forget.tick().await;
        forget_answers(services).await;
    }
}

async fn forget_answers(services: &Services) {
    let since = services.idempotency.since(Timestamp::now());
    loop {
        match services.ledger.forget_answers(since, FORGOTTEN_AT_ONCE).await {
            Ok(FORGOTTEN_AT_ONCE) => {}
            Ok(_) => return,
            // The next time will do: an answer that is too old is given to nobody.
            Err(error) => return tracing::warn!(%error, "old answers were not forgotten"),
        }
    }
}
