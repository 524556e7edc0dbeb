//! A liveness check of the event loops behind the listeners, for the watchdog of systemd.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// An event loop answers by sending the unit value.
type Question = oneshot::Sender<()>;

/// The event loops that can be asked.
#[derive(Default)]
pub struct Heartbeat(Mutex<Vec<mpsc::UnboundedSender<Question>>>);

impl Heartbeat {
    /// Registers the calling thread's event loop. It answers until it ends.
    pub(super) fn attach(&self) {
        let (ask, mut questions) = mpsc::unbounded_channel::<Question>();
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|ask| !ask.is_closed());
        loops.push(ask);
        actix_web::rt::spawn(async move {
            while let Some(question) = questions.recv().await {
                // An error means that the caller has stopped waiting.
                let _ = question.send(());
            }
        });
    }

    /// Returns when every registered event loop has answered. Loops that have ended are skipped, because the
    /// server has replaced them.
    pub async fn answers(&self) {
        let loops = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ask in loops {
            let (question, answer) = oneshot::channel();
            if ask.send(question).is_ok() {
                let _ = answer.await;
            }
        }
    }
}
