//! Buffered, non-blocking writing to a signer. Messages are gathered and written to the socket together; what
//! the socket does not take goes to a backlog that a task writes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Serialize;
use tokio::{net::unix::OwnedWriteHalf, sync::mpsc};
use zeroize::Zeroizing;

use crate::hsm::protocol;

/// See the module. After it is dropped and all is written, the socket is closed for writing.
pub(super) struct Outbox {
    writer: Arc<OwnedWriteHalf>,
    /// Frames that [`Outbox::flush`] will write.
    buffer: Vec<u8>,
    /// To the task that writes what the socket did not take.
    backlog: mpsc::Sender<Zeroizing<Vec<u8>>>,
    /// Pieces in the backlog. While there are any, new messages go there too, so that the order is kept.
    queued: Arc<AtomicUsize>,
}

impl Outbox {
    /// `pieces_max` is the capacity of the backlog; beyond it the signer is given up.
    pub(super) fn new(writer: OwnedWriteHalf, pieces_max: usize) -> Self {
        let writer = Arc::new(writer);
        let queued = Arc::<AtomicUsize>::default();
        let (backlog, pieces) = mpsc::channel(pieces_max);
        tokio::spawn(write(Arc::clone(&writer), pieces, Arc::clone(&queued)));
        Self { writer, buffer: Vec::new(), backlog, queued }
    }

    /// Adds a message for [`Self::flush`]. Returns false when it is too long.
    pub(super) fn add<T: Serialize>(&mut self, message: &T, bytes_max: usize) -> bool {
        protocol::encode_onto(&mut self.buffer, message, bytes_max).is_ok()
    }

    /// Writes a message that may contain a private key, at once. Returns as [`Self::flush`].
    pub(super) fn send_secret<T: Serialize>(&mut self, message: &T, bytes_max: usize) -> bool {
        let frame = protocol::encode_secret(message, bytes_max);
        self.flush() && frame.is_ok_and(|frame| self.write_or_queue(&frame))
    }

    /// Writes what was added. Returns false when the backlog is full.
    pub(super) fn flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let given = self.write_or_queue(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        given
    }

    fn write_or_queue(&self, octets: &[u8]) -> bool {
        let taken = match self.queued.load(Ordering::Acquire) {
            0 => self.writer.try_write(octets),
            _ => Ok(0),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The reading side sees the broken socket too and acts on it.
            Err(_) => return true,
        };
        let rest = &octets[taken..];
        if rest.is_empty() {
            return true;
        }
        self.queued.fetch_add(1, Ordering::AcqRel);
        // Allocated once, because a vector that grows leaves copies of secrets behind.
        self.backlog.try_send(Zeroizing::new(rest.to_vec())).is_ok()
    }
}

async fn write(
    writer: Arc<OwnedWriteHalf>,
    mut pieces: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    queued: Arc<AtomicUsize>,
) {
    while let Some(piece) = pieces.recv().await {
        let mut left = &piece[..];
        while !left.is_empty() {
            let taken = match writer.writable().await {
                Ok(()) => writer.try_write(left),
                Err(error) => Err(error),
            };
            match taken {
                Ok(taken) => left = &left[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        queued.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::UnixStream};

    use super::*;

    const MANY: usize = 1 << 20;

    /// Far more than a socket takes, some of it secret, to a reader that is late and slow.
    #[tokio::test]
    async fn all_is_said_in_order_and_then_the_socket_ends() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (_reader, writer) = UnixStream::from_std(ours).unwrap().into_split();
        let mut outbox = Outbox::new(writer, 64);
        let mut expected = Vec::new();
        for number in 0..30_u8 {
            let message = vec![number; 40_000];
            expected.extend(protocol::encode(&message, MANY).unwrap());
            match number % 3 {
                0 => assert!(outbox.send_secret(&message, MANY)),
                1 => assert!(outbox.add(&message, MANY) && outbox.flush()),
                _ => assert!(outbox.add(&message, MANY)),
            }
            tokio::task::yield_now().await;
        }
        assert!(outbox.flush());
        assert!(outbox.queued.load(Ordering::Acquire) > 0, "it took all at once");
        // The socket has room again before the task that writes has noticed.
        let mut heard = Vec::new();
        let full = io::Read::read_to_end(&mut &theirs, &mut heard).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        outbox.writer.writable().await.unwrap();
        expected.extend(protocol::encode(&"next", MANY).unwrap());
        assert!(outbox.add(&"next", MANY) && outbox.flush());
        let mut theirs = UnixStream::from_std(theirs).unwrap();
        let mut rest = vec![0; expected.len() - heard.len()];
        theirs.read_exact(&mut rest).await.unwrap();
        assert!([heard, rest].concat() == expected, "in another order, or not all");
        // After the backlog is empty, the socket is written to directly again.
        while outbox.queued.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
        assert!(outbox.add(&"last", MANY) && outbox.flush());
        assert_eq!(outbox.queued.load(Ordering::Acquire), 0);
        drop(outbox);
        let mut last = Vec::new();
        theirs.read_to_end(&mut last).await.unwrap();
        assert_eq!(last, protocol::encode(&"last", MANY).unwrap());
    }

    #[tokio::test]
    async fn one_that_reads_nothing_is_found_out_and_a_message_too_long_leaves_the_others_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_reader, writer) = ours.into_split();
        let mut outbox = Outbox::new(writer, 2);
        assert!(outbox.add(&"one", 64));
        assert!(!outbox.add(&"x".repeat(100), 64));
        assert!(outbox.add(&"two", 64) && outbox.flush());
        let mut expected = protocol::encode(&"one", 64).unwrap();
        expected.extend(protocol::encode(&"two", 64).unwrap());
        let mut heard = vec![0; expected.len()];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
        let message = vec![7_u8; MANY - 10];
        let taken = (0..10).take_while(|_| outbox.add(&message, MANY) && outbox.flush()).count();
        assert!(taken < 10, "{taken}");
    }
}
