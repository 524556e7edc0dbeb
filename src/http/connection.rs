//! An open connection: its stream of octets, the client at its other end, and whether it serves a request.
//!
//! A client can make the daemon buffer at most [`HELD_OCTETS_MAX`]. For HTTP/1.1 the bound is kept here:
//! the dispatcher of actix-http reads all that it is given, 128 KiB at a time, decodes as many heads
//! as are in it (6.7 KiB each), and answers them whether or not the answers are taken. So it is given
//! the octets of one head, then those of its body, and the next head when the answer has been taken.
//! For HTTP/2 it is kept by flow control and [`super::http2`].

mod flow;
mod frames;
mod heads;

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

pub(super) use flow::{Expected, Flow};
use frames::{Allowance, Frames};
pub(super) use heads::HEAD_OCTETS_MAX;
use heads::Heads;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls::Peer;

/// The buffers of one connection together, in octets. Answers that are larger than this have a limit of their
/// own: see [`super::exchange::Answers`].
pub(super) const HELD_OCTETS_MAX: usize = 262_144;

/// Octets that a connection hands to the parser before other connections get a turn.
const ROUND_OCTETS: usize = 16_384;

/// After the refusal of a head, so much more is read, since a peer that is cut off while it sends may
/// not see the answer.
const READ_AFTER_REFUSAL: usize = 262_144;

/// The period of the check whether the client's certificate has expired.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// RFC 6585, section 5.
const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// The stream that HTTP is served over, with or without TLS.
pub(super) struct Connection {
    io: Box<dyn Io>,
    link: Rc<Link>,
    intake: Intake,
}

/// The rule for how much may be read now.
enum Intake {
    /// HTTP/1.1.
    Heads(Heads),
    /// A head was too large: the part of the refusal that is still to be sent, and the octets that may still
    /// be read.
    Refused { left: &'static [u8], octets: usize },
    /// HTTP/2, which has windows.
    Frames(Frames),
}

/// A connection as its requests see it.
pub(super) struct Link {
    /// The client, authenticated by its certificate.
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) usage: Usage,
    pub(super) flow: Flow,
    /// The frames that the client may still send over HTTP/2.
    pub(super) allowance: Allowance,
    /// A private key was sent, so the buffers must not outlive the answer.
    pub(super) is_secret: Cell<bool>,
}

impl Link {
    pub(super) fn new(peer: Option<Arc<Peer>>) -> Rc<Self> {
        let (usage, flow) = (Usage::new(), Flow::default());
        let allowance = Allowance::default();
        Rc::new(Self { peer, usage, flow, allowance, is_secret: Cell::new(false) })
    }

    /// Returns when the certificate of the client has expired, and none of its requests is served.
    pub(super) async fn has_expired(&self) {
        let Some(peer) = &self.peer else { return std::future::pending().await };
        // The wall clock may be set at any time, so one long timer would not do.
        while self.usage.is_serving() || !peer.has_expired() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Notes the result of a write: backpressure, and the octets that were sent.
    fn is_written(&self, written: &Poll<io::Result<usize>>) {
        self.flow.is_taken(written.is_ready());
        if let Poll::Ready(Ok(octets)) = written {
            self.allowance.is_sent(*octets);
        }
    }

    /// A request is served until this is dropped.
    pub(super) fn serve(self: &Rc<Self>) -> Serving {
        self.usage.serving.set(self.usage.serving.get() + 1);
        Serving(Rc::clone(self))
    }
}

/// A stream of octets in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Whether requests are served over the connection, and since when not.
pub(super) struct Usage {
    serving: Cell<usize>,
    unused_since: Cell<Instant>,
}

impl Usage {
    fn new() -> Self {
        Self { serving: Cell::new(0), unused_since: Cell::new(Instant::now()) }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.get() > 0
    }

    /// Returns when no request was served for so long: the client took its time with the next
    /// request, or with the last answer.
    pub(super) async fn has_ended(&self, idle: Duration) {
        loop {
            let unused =
                if self.is_serving() { Duration::ZERO } else { self.unused_since.get().elapsed() };
            let left = idle.saturating_sub(unused);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// See [`Link::serve`].
pub(super) struct Serving(Rc<Link>);

impl Drop for Serving {
    fn drop(&mut self) {
        let usage = &self.0.usage;
        usage.serving.set(usage.serving.get() - 1);
        usage.unused_since.set(Instant::now());
        self.0.flow.resume();
    }
}

impl Connection {
    /// For HTTP/1.1.
    pub(super) fn http1(io: Box<dyn Io>, link: Rc<Link>) -> Self {
        Self { io, link, intake: Intake::Heads(Heads::default()) }
    }

    /// For HTTP/2.
    pub(super) fn http2(io: Box<dyn Io>, link: Rc<Link>) -> Self {
        Self { io, link, intake: Intake::Frames(Frames::default()) }
    }

    pub(super) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// Refuses a head, reads a little more, and then says that there is nothing to read any more.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, intake: Intake::Refused { left, octets }, .. } = self else {
            return Poll::Ready(Ok(()));
        };
        while !left.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, left))?;
            *left = left.get(written..).filter(|_| written > 0).unwrap_or_default();
        }
        ready!(Pin::new(&mut *io).poll_flush(cx))?;
        let mut unheard = [0; 1_024];
        while *octets > 0 {
            let mut buffer = ReadBuf::new(&mut unheard);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            *octets = octets.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flow = &this.link.flow;
        let heads = match &mut this.intake {
            // Its task is told, and ends it.
            Intake::Frames(_) if this.link.allowance.is_exceeded() => return Poll::Pending,
            Intake::Frames(frames) => {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
                let new = buffer.filled().get(before..).unwrap_or_default();
                frames.look(new, &this.link.allowance);
                if this.link.allowance.is_exceeded() {
                    buffer.set_filled(before);
                    return Poll::Pending;
                }
                return Poll::Ready(Ok(()));
            }
            Intake::Refused { .. } => return this.poll_refusal(cx),
            Intake::Heads(heads) => heads,
        };
        let is_serving = this.link.usage.is_serving();
        let expected = flow.expected();
        let (octets_max, ends_max) = match expected {
            // After an early answer the rest of the body is read and dropped.
            Expected::Leftovers => (usize::MAX, usize::MAX),
            _ if flow.is_blocked() => return flow.park(cx),
            Expected::Octets(octets) if is_serving && octets > 0 => (octets, usize::MAX),
            Expected::Chunks { is_awaited: true } if is_serving => (usize::MAX, heads::ENDS_MAX),
            _ if is_serving => {
                // The next head waits until the answer is sent; the end of the connection is noticed at once.
                let _ = flow.park(cx);
                return heads.poll_end(&mut *this.io, cx);
            }
            Expected::Head | Expected::Octets(_) | Expected::Chunks { .. } => (usize::MAX, 1),
        };
        if heads.has_paused(ends_max) {
            // The parser gets its turn before more is read.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let given = ready!(heads.poll_give(&mut *this.io, cx, buffer, octets_max, ends_max))?;
        match expected {
            Expected::Octets(octets) if is_serving => {
                flow.expect(Expected::Octets(octets.saturating_sub(given)));
            }
            Expected::Leftovers => {}
            _ if !is_serving && heads.octets() > HEAD_OCTETS_MAX => {
                buffer.clear();
                this.intake = Intake::Refused { left: HEAD_TOO_LARGE, octets: READ_AFTER_REFUSAL };
                return this.poll_refusal(cx);
            }
            Expected::Head | Expected::Octets(_) | Expected::Chunks { .. } => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, octets);
        this.link.is_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, octets);
        this.link.is_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.link.flow.is_taken(flushed.is_ready());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
