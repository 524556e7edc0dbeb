//! Whether the event loops behind the listeners turn.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// A question is answered by sending nothing.
type Question = oneshot::Sender<()>;

/// Asks the event loops.
#[derive(Default)]
pub struct Heartbeat(Mutex<Vec<mpsc::UnboundedSender<Question>>>);

impl Heartbeat {
    /// Has the event loop that this is called in answer as long as it lasts.
    pub(super) fn attach(&self) {
        let (ask, mut questions) = mpsc::unbounded_channel::<Question>();
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|ask| !ask.is_closed());
        loops.push(ask);
        actix_web::rt::spawn(async move {
            while let Some(question) = questions.recv().await {
                // Who does not wait any more has given up.
                let _ = question.send(());
            }
        });
    }

    /// Returns when each has answered. One that has ended is not asked: another is in its place.
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
