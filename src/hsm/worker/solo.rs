//! One thread and one session for everything: for a token that grants no more, and for a module that
//! must not be used by several threads.

use super::{Inbox, Outbox, keeper::Keeper, signing};
use crate::hsm::protocol::Request;

/// Works until there is nobody left to ask.
pub(super) fn work(keeper: &mut Keeper, inbox: &Inbox, outbox: &Outbox) {
    let mut desk = inbox.desk();
    while let Some((id, request)) = desk.request() {
        let answer = match request {
            Request::Sign(request) => signing::sign(keeper, outbox, &request),
            Request::Catalogue => keeper.catalogue(),
            Request::Change(change) => keeper.change(*change),
        };
        outbox.answer(id, answer);
    }
}
