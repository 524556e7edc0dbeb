//! Gives the octets of a connection head by head.
//!
//! A head ends with an empty line (RFC 9112, section 2.1). Whatever else is true of the octets,
//! between two empty lines there is the end of one head at most: that bounds what a reader can make
//! of them, and nothing has to be understood here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;
use zeroize::{Zeroize, Zeroizing};

use super::{Io, ROUND_OCTETS};

/// The head of a request, over HTTP/1.1 and HTTP/2, with all names and values.
pub(in crate::http) const HEAD_OCTETS_MAX: usize = 65_536;

/// Empty lines that are given at once where a body is awaited: its chunks may hold some.
pub(super) const ENDS_MAX: usize = 8;

/// Octets that are read of the next request while one is served.
const AHEAD_OCTETS: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Heads {
    /// What was read, and is not to be given yet.
    rest: Vec<u8>,
    /// Whether the present line, and a line since the last empty one, has anything in it.
    line_has_text: bool,
    has_text: bool,
    /// Since the last empty line.
    octets: usize,
    /// In this round.
    ends_given: usize,
    octets_given: usize,
}

impl Heads {
    /// Whether so much was given that it has to be looked at; the next round has begun then.
    pub(super) fn has_paused(&mut self, ends_max: usize) -> bool {
        let has_paused = self.ends_given >= ends_max || self.octets_given >= ROUND_OCTETS;
        if has_paused {
            (self.ends_given, self.octets_given) = (0, 0);
        }
        has_paused
    }

    /// Of the head that has not ended yet.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Puts octets into the buffer, at most so many and to the end of so many heads; how many.
    pub(super) fn poll_give(
        &mut self,
        io: &mut dyn Io,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        octets_max: usize,
        ends_max: usize,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        let room = buffer.remaining().min(octets_max).min(ROUND_OCTETS);
        if self.rest.is_empty() {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
            ready!(Pin::new(io).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
        } else {
            let length = room.min(self.rest.len());
            buffer.put_slice(self.rest.get(..length).unwrap_or_default());
            self.forget(length);
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        let length = if octets_max == usize::MAX { self.scan(new, ends_max) } else { new.len() };
        let beyond = new.get(length..).unwrap_or_default();
        if !beyond.is_empty() {
            let mut rest = Vec::with_capacity(beyond.len() + self.rest.len());
            rest.extend_from_slice(beyond);
            rest.extend_from_slice(&self.rest);
            self.rest.zeroize();
            self.rest = rest;
            buffer.set_filled(before + length);
        }
        self.octets_given += length;
        Poll::Ready(Ok(length))
    }

    /// Ready when the other end has closed the connection, or it has failed. What else comes is kept, so
    /// much of it that it is known to be there.
    pub(super) fn poll_end(
        &mut self,
        io: &mut dyn Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            return Poll::Pending;
        }
        let mut octets = Zeroizing::new([0; AHEAD_OCTETS]);
        let mut ahead = ReadBuf::new(&mut *octets);
        ready!(Pin::new(io).poll_read(cx, &mut ahead))?;
        if ahead.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.rest.extend_from_slice(ahead.filled());
        Poll::Pending
    }

    /// Drops what was given: it may have been a private key.
    fn forget(&mut self, length: usize) {
        let left = self.rest.split_off(length);
        self.rest.zeroize();
        self.rest = left;
    }

    /// How many of the octets come before the end of the last head that may be given in this round.
    fn scan(&mut self, octets: &[u8], ends_max: usize) -> usize {
        for (index, octet) in octets.iter().enumerate() {
            self.octets += 1;
            if ends_max == 1 && self.octets > HEAD_OCTETS_MAX {
                // No head any more, wherever it may end.
                return index;
            }
            match octet {
                b'\n' if self.line_has_text => (self.line_has_text, self.has_text) = (false, true),
                b'\n' if self.has_text => {
                    (self.has_text, self.octets) = (false, 0);
                    self.ends_given += 1;
                    if self.ends_given >= ends_max {
                        return index + 1;
                    }
                }
                b'\n' | b'\r' => {}
                _ => self.line_has_text = true,
            }
        }
        octets.len()
    }
}
