//! What is done now and then, while the daemon serves.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    domain::time::Timestamp,
    service::{Services, tokens::Watch},
};

/// How often answers to old Idempotency-Keys are forgotten.
const FORGET: Duration = Duration::from_secs(3_600);
/// How often the tokens are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Answers forgotten in one transaction: others wait for it.
const FORGOTTEN_AT_ONCE: usize = 500;

/// Runs until it is dropped.
pub(super) async fn keep(services: Arc<Services>, watch: Watch) {
    tokio::join!(forget(&services), look(&services, watch));
}

async fn look(services: &Services, mut watch: Watch) {
    loop {
        tokio::time::sleep(LOOK).await;
        watch.look(services).await;
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
