//! Rate-limited, shared listings of the token: one at a time, each answers all callers that wait for it.

use std::time::Duration;

use tokio::{sync::oneshot, time::Instant};

use super::{BACKLOG_FULL, Supervisor};
use crate::hsm::{
    HsmError, figures::LossCause, jobs::whole_seconds, process::Task, protocol::Request,
};

/// Shortest time between two listings.
const REFRESH_INTERVAL_MS: u64 = 500;

type Reply = oneshot::Sender<Result<(), HsmError>>;

/// See the module. A caller gets a listing that began after it asked, so it sees a key that another tool has
/// just made.
pub(super) struct Refresh {
    wanted: bool,
    waiting: Vec<Reply>,
    /// The signer that lists, and the callers that wait for that listing.
    under_way: Option<(u64, Vec<Reply>)>,
    not_before: Instant,
}

impl Refresh {
    pub(super) fn new(now: Instant) -> Self {
        Self { wanted: false, waiting: Vec::new(), under_way: None, not_before: now }
    }

    /// Requests a listing for no caller in particular.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// A caller waits for a new listing.
    pub(super) fn wait(&mut self, reply: Reply) {
        self.wanted = true;
        self.waiting.retain(|reply| !reply.is_closed());
        self.waiting.push(reply);
    }

    /// When the next listing is due, if one is wanted.
    pub(super) fn due_at(&self) -> Option<Instant> {
        (self.wanted && self.under_way.is_none()).then_some(self.not_before)
    }

    /// The pending listing has come or failed.
    pub(super) fn settle(&mut self, result: &Result<(), HsmError>) {
        for reply in self.under_way.take().into_iter().flat_map(|(_, waiting)| waiting) {
            let _ = reply.send(result.clone());
        }
    }

    /// A signer was lost. If it was listing, another has to.
    pub(super) fn lost(&mut self, signer: u64) {
        if let Some((_, waiting)) = self.under_way.take_if(|(lister, _)| *lister == signer) {
            self.waiting.extend(waiting);
            self.wanted = true;
        }
    }

    /// Answers all with [`HsmError::Unavailable`].
    pub(super) fn refuse_all(&mut self, retry_after: Duration) {
        let retry_after_seconds = whole_seconds(retry_after);
        self.wanted = false;
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Err(HsmError::Unavailable { retry_after_seconds }));
        }
    }

    fn begin(&mut self, signer: u64, now: Instant) {
        self.wanted = false;
        self.under_way = Some((signer, std::mem::take(&mut self.waiting)));
        self.not_before = now + Duration::from_millis(REFRESH_INTERVAL_MS);
    }
}

impl Supervisor {
    /// Requests a listing of the signer with the fewest pending requests, when one is due.
    pub(super) fn refresh_if_due(&mut self, now: Instant) {
        if self.refresh.due_at().is_none_or(|due| due > now) {
            return;
        }
        let patience = Duration::from_millis(self.config.start_deadline_ms.max(1));
        let Some(at) = self.least_busy() else { return };
        let signer = &mut self.up[at];
        signer.listed_at = now;
        let id = signer.id;
        match signer.ask(Request::Catalogue, Task::Catalogue, patience) {
            Ok(()) => self.refresh.begin(id, now),
            Err(_) => self.lose(at, LossCause::Protocol, BACKLOG_FULL),
        }
    }
}
