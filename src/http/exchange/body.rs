//! The body of a request, as it arrives.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::{Payload, error::PayloadError};
use bytes::Bytes;
use futures_util::Stream;

use crate::http::connection::Link;

/// Tells a client that it may send the body.
pub(in crate::http) type Ask = Box<dyn FnOnce()>;

/// Who reads it, and who answers, have it both: the second reads away what the first has left.
pub(super) struct Body {
    payload: RefCell<Payload>,
    link: Rc<Link>,
    ask: RefCell<Option<Ask>>,
    has_ended: Cell<bool>,
}

impl Body {
    pub(super) fn new(payload: Payload, link: Rc<Link>, ask: Option<Ask>) -> Rc<Self> {
        let (payload, ask) = (RefCell::new(payload), RefCell::new(ask));
        Rc::new(Self { payload, link, ask, has_ended: Cell::new(false) })
    }

    /// Whether all of it was read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Whether its client waits to be told that it may send it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.ask.borrow().is_some()
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.has_ended.get() {
            return Poll::Ready(None);
        }
        let next = Pin::new(&mut *self.payload.borrow_mut()).poll_next(cx);
        let ask = if next.is_pending() { self.ask.borrow_mut().take() } else { None };
        if let Some(ask) = ask {
            ask();
        }
        self.link.flow.await_chunk(next.is_pending());
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.has_ended.set(matches!(next, Poll::Ready(None)));
        }
        next
    }

    /// Reads the rest, at most so much.
    pub(super) async fn read_away(&self, octets_max: usize) {
        let mut octets = 0;
        while octets <= octets_max {
            match poll_fn(|cx| self.poll_next(cx)).await {
                Some(Ok(chunk)) => octets += chunk.len(),
                Some(Err(_)) | None => return,
            }
        }
    }
}

/// A body for its reader.
pub(super) struct Reading(pub(super) Rc<Body>);

impl Stream for Reading {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}
