//! What is said to a signer: all that there is at once, straight into the socket. What that does not take
//! is written by a task of its own.

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

/// See the module. The socket is closed, for writing, when all is said and this is gone.
pub(super) struct Outbox {
    writer: Arc<OwnedWriteHalf>,
    /// Frames that are not given to the socket yet.
    unsaid: Vec<u8>,
    /// What the socket did not take.
    backlog: mpsc::Sender<Zeroizing<Vec<u8>>>,
    /// Pieces of that which are not written yet; nothing may overtake them.
    behind: Arc<AtomicUsize>,
}

impl Outbox {
    /// `pieces_max`: how often the socket may take less than it is given before a signer is given up.
    pub(super) fn new(writer: OwnedWriteHalf, pieces_max: usize) -> Self {
        let writer = Arc::new(writer);
        let behind = Arc::<AtomicUsize>::default();
        let (backlog, pieces) = mpsc::channel(pieces_max);
        tokio::spawn(write(Arc::clone(&writer), pieces, Arc::clone(&behind)));
        Self { writer, unsaid: Vec::new(), backlog, behind }
    }

    /// Adds a message to what [`Self::flush`] writes; false when it is too long.
    pub(super) fn say<T: Serialize>(&mut self, message: &T, bytes_max: usize) -> bool {
        protocol::encode_onto(&mut self.unsaid, message, bytes_max).is_ok()
    }

    /// Says a message that may hold a private key, at once; false as [`Self::flush`].
    pub(super) fn say_secret<T: Serialize>(&mut self, message: &T, bytes_max: usize) -> bool {
        let frame = protocol::encode_secret(message, bytes_max);
        self.flush() && frame.is_ok_and(|frame| self.give(&frame))
    }

    /// Writes what there is; false when there is no room for what the socket does not take.
    pub(super) fn flush(&mut self) -> bool {
        if self.unsaid.is_empty() {
            return true;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        let given = self.give(&unsaid);
        self.unsaid = unsaid;
        self.unsaid.clear();
        given
    }

    fn give(&self, octets: &[u8]) -> bool {
        let taken = match self.behind.load(Ordering::Acquire) {
            0 => self.writer.try_write(octets),
            _ => Ok(0),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // A broken socket shows at the reading side too, and is acted on there.
            Err(_) => return true,
        };
        let rest = &octets[taken..];
        if rest.is_empty() {
            return true;
        }
        self.behind.fetch_add(1, Ordering::AcqRel);
        // Of the full length at once: what grows leaves copies of itself behind.
        self.backlog.try_send(Zeroizing::new(rest.to_vec())).is_ok()
    }
}

async fn write(
    writer: Arc<OwnedWriteHalf>,
    mut pieces: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    behind: Arc<AtomicUsize>,
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
        behind.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::UnixStream};

    use super::*;

    const MANY: usize = 1 << 20;

    /// Far more than a socket takes, some of it secret, to one who begins to read late.
    #[tokio::test]
    async fn all_is_said_in_order_and_then_the_socket_ends() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_reader, writer) = ours.into_split();
        let mut outbox = Outbox::new(writer, 64);
        let mut expected = Vec::new();
        for number in 0..30_u8 {
            let message = vec![number; 40_000];
            expected.extend(protocol::encode(&message, MANY).unwrap());
            match number % 3 {
                0 => assert!(outbox.say_secret(&message, MANY)),
                1 => assert!(outbox.say(&message, MANY) && outbox.flush()),
                _ => assert!(outbox.say(&message, MANY)),
            }
            tokio::task::yield_now().await;
        }
        assert!(outbox.flush());
        assert!(outbox.behind.load(Ordering::Acquire) > 0, "it took all at once");
        let mut heard = vec![0; expected.len()];
        theirs.read_exact(&mut heard).await.unwrap();
        assert!(heard == expected, "in another order, or not all");
        // The socket takes what follows at once, again.
        while outbox.behind.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
        assert!(outbox.say(&"last", MANY) && outbox.flush());
        assert_eq!(outbox.behind.load(Ordering::Acquire), 0);
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
        assert!(outbox.say(&"one", 64));
        assert!(!outbox.say(&"x".repeat(100), 64));
        assert!(outbox.say(&"two", 64) && outbox.flush());
        let mut expected = protocol::encode(&"one", 64).unwrap();
        expected.extend(protocol::encode(&"two", 64).unwrap());
        let mut heard = vec![0; expected.len()];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
        let message = vec![7_u8; MANY - 10];
        let taken = (0..10).take_while(|_| outbox.say(&message, MANY) && outbox.flush()).count();
        assert!(taken < 10, "{taken}");
    }
}
