//! One thread and one session for everything: for a token that grants no more, and for a module that does not
//! support several threads.

use super::{FrontWriter, Inbox, keeper::Keeper, signing};
use crate::hsm::protocol::Request;

/// Works until the socket ends.
pub(super) fn work(keeper: &mut Keeper, inbox: &Inbox, front: &FrontWriter) {
    let mut reader = inbox.reader();
    while let Some((id, request)) = reader.request() {
        let answer = match request {
            Request::Sign(request) => signing::sign(keeper, front, &request),
            Request::Catalogue => keeper.catalogue(),
            Request::Change(change) => keeper.change(*change),
        };
        front.answer(id, answer);
    }
}
