//! A connection while it lasts: its octets, who is at the other end, and whether it is of use.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls::Peer;

/// What HTTP is spoken over, with or without TLS.
pub(super) struct Connection {
    pub(super) io: Box<dyn Io>,
    /// Who has proved a certificate.
    pub(super) peer: Option<Arc<Peer>>,
    pub(super) usage: Rc<Usage>,
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
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { serving: Cell::new(0), unused_since: Cell::new(Instant::now()) })
    }

    /// A request is served until this is dropped.
    pub(super) fn serve(self: &Rc<Self>) -> Serving {
        self.serving.set(self.serving.get() + 1);
        Serving(Rc::clone(self))
    }

    /// Returns when no request was served for so long: the client took its time with the next
    /// request, or with the last answer.
    pub(super) async fn has_ended(&self, idle: Duration) {
        loop {
            let is_served = self.serving.get() > 0;
            let unused = if is_served { Duration::ZERO } else { self.unused_since.get().elapsed() };
            let left = idle.saturating_sub(unused);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// See [`Usage::serve`].
pub(super) struct Serving(Rc<Usage>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.set(self.0.serving.get() - 1);
        self.0.unused_since.set(Instant::now());
    }
}

impl Connection {
    fn io(self: Pin<&mut Self>) -> Pin<&mut dyn Io> {
        Pin::new(&mut *self.get_mut().io)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
