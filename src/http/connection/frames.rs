//! Looks at the frames of HTTP/2 as they come (RFC 9113, section 4.1), and says when they are too many.
//!
//! h2 itself bounds CONTINUATION frames, decoded heads, resets before a request is accepted, and small
//! or empty DATA frames. It does not bound what costs a client nothing and is no work: PING, SETTINGS,
//! WINDOW_UPDATE, PRIORITY and unknown frames, heads that are refused, and trailers. So each frame
//! costs something here, and answers and the time give it back.
//!
//! Our SETTINGS ask for no table of header fields (RFC 7541, section 4.2), because its entries keep the
//! buffers that they were read into: some megabytes for each connection. Clients that ignore this, as
//! Go 1.19 does, are served all the same, but each of their connections ends before it keeps much.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::HEAD_OCTETS_MAX;

/// The length of a frame's head.
const HEAD: usize = 9;
/// The length of a client's connection preface.
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A dynamic table size update to 0 (RFC 7541, section 6.3).
const EMPTY_TABLE: u8 = 0x20;

/// Octets that a client may send while it uses a table of header fields. After them the connection ends
/// in order (GOAWAY, NO_ERROR), and the client opens another.
const OCTETS_WITH_TABLE_MAX: usize = HEAD_OCTETS_MAX;

/// HEADERS and CONTINUATION frames of such a client after that: they were under way, or the client
/// ignores the GOAWAY as well.
const LATE_HEADS_MAX: usize = 16;

/// Frames that a client may send beyond those that its answers and the time have given it.
const FRAMES_MAX: u32 = 1_024;

/// Frames that each second gives back.
const FRAMES_PER_SECOND: u32 = 100;

/// Frames that an answered request gives back, beside the cost of its head.
const FRAMES_PER_ANSWER: u32 = 16;

/// So many octets of a frame cost as much as a frame.
const OCTETS_PER_FRAME: usize = 256;

/// So many octets that we send give a frame back: each may need two WINDOW_UPDATE frames.
const SENT_OCTETS_PER_FRAME: usize = 4_096;

/// How many frames a client may still send.
pub(in crate::http) struct Allowance {
    left: Cell<u32>,
    /// When time has given something last.
    since: Cell<Instant>,
    /// Sent, and not counted yet.
    sent: Cell<usize>,
    is_exceeded: Cell<bool>,
    exceeded: Notify,
    /// The connection keeps enough in its table of header fields.
    is_table_full: Cell<bool>,
    table_full: Notify,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left: Cell::new(FRAMES_MAX),
            since: Cell::new(Instant::now()),
            sent: Cell::default(),
            is_exceeded: Cell::default(),
            exceeded: Notify::default(),
            is_table_full: Cell::default(),
            table_full: Notify::default(),
        }
    }
}

impl Allowance {
    /// Gives frames back for an answered request with a head of `head_octets`.
    pub(in crate::http) fn is_answered(&self, head_octets: usize) {
        self.earn(FRAMES_PER_ANSWER.saturating_add(cost(head_octets)));
    }

    /// So many octets were sent.
    pub(super) fn is_sent(&self, octets: usize) {
        let sent = self.sent.get().saturating_add(octets);
        self.sent.set(sent % SENT_OCTETS_PER_FRAME);
        self.earn(u32::try_from(sent / SENT_OCTETS_PER_FRAME).unwrap_or(FRAMES_MAX));
    }

    fn earn(&self, frames: u32) {
        self.left.set(self.left.get().saturating_add(frames).min(FRAMES_MAX));
    }

    fn earn_by_time(&self) {
        let frames = self.since.get().elapsed().as_millis() * u128::from(FRAMES_PER_SECOND) / 1_000;
        let Ok(frames @ 1..) = u32::try_from(frames) else { return };
        let taken = Duration::from_secs(1).saturating_mul(frames) / FRAMES_PER_SECOND;
        self.since.set(self.since.get() + taken);
        self.earn(frames);
    }

    /// Whether there was so much.
    fn spend(&self, frames: u32) -> bool {
        match self.left.get().checked_sub(frames) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => false,
        }
    }

    fn exceed(&self) {
        self.is_exceeded.set(true);
        self.exceeded.notify_one();
    }

    /// Whether nothing more is read.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }

    /// Returns when the client has sent more than it may.
    pub(in crate::http) async fn has_exceeded(&self) {
        while !self.is_exceeded.get() {
            self.exceeded.notified().await;
        }
    }

    fn fill_table(&self) {
        self.is_table_full.set(true);
        self.table_full.notify_one();
    }

    /// Returns when the connection should end because of its table of header fields.
    pub(in crate::http) async fn has_full_table(&self) {
        while !self.is_table_full.get() {
            self.table_full.notified().await;
        }
    }
}

/// The cost of octets, in frames.
fn cost(octets: usize) -> u32 {
    u32::try_from(octets / OCTETS_PER_FRAME).unwrap_or(u32::MAX)
}

/// The table of header fields, while the client uses one.
#[derive(Default)]
struct Table {
    /// Octets that the client has sent.
    octets: usize,
    /// HEADERS and CONTINUATION frames since the octets exceeded their limit.
    late_heads: usize,
}

/// How far our SETTINGS have come. The first block of a head after their acknowledgement has to begin with
/// an update of the table's size to 0.
#[derive(PartialEq, Eq)]
enum Settings {
    Sent,
    Acknowledged,
    /// The block begins after this number of octets of the payload.
    BlockBegins(usize),
    Settled,
}

/// The parser of the incoming frames' heads.
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Octets of the head that have come.
    known: usize,
    /// Octets of the payload that are still to come.
    payload: usize,
    /// `None` once the client has emptied it.
    table: Option<Table>,
    settings: Settings,
    /// The highest stream, and whether the last block was trailers of another.
    stream: u32,
    is_trailers: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            head: [0; HEAD],
            known: 0,
            // Nothing has to be understood of it here.
            payload: PREFACE,
            table: Some(Table::default()),
            settings: Settings::Sent,
            stream: 0,
            is_trailers: false,
        }
    }
}

impl Frames {
    /// Looks at what has come; when it is more than there may be, that is the end.
    pub(super) fn look(&mut self, octets: &[u8], allowance: &Allowance) {
        allowance.earn_by_time();
        if !self.allow(octets, allowance) {
            allowance.exceed();
        }
    }

    fn allow(&mut self, mut octets: &[u8], allowance: &Allowance) -> bool {
        while let Some((first, rest)) = octets.split_first() {
            if self.payload > 0 {
                let (part, rest) = octets.split_at(self.payload.min(octets.len()));
                self.look_for_update(part);
                self.payload -= part.len();
                octets = rest;
                continue;
            }
            if let Some(place) = self.head.get_mut(self.known) {
                *place = *first;
                self.known += 1;
            }
            octets = rest;
            if self.known == HEAD {
                self.known = 0;
                if !self.begin(allowance) {
                    return false;
                }
            }
        }
        true
    }

    /// Looks at a part of a payload for the update that empties the table.
    fn look_for_update(&mut self, part: &[u8]) {
        let Settings::BlockBegins(before) = self.settings else { return };
        self.settings = match part.get(before) {
            Some(octet) => {
                self.table.take_if(|_| *octet == EMPTY_TABLE);
                Settings::Settled
            }
            None => Settings::BlockBegins(before - part.len()),
        };
    }

    /// Whether a frame may be sent, whose head is known.
    fn begin(&mut self, allowance: &Allowance) -> bool {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.payload = length;
        if let Some(table) = &mut self.table {
            table.octets = table.octets.saturating_add(HEAD + length);
            if table.octets > OCTETS_WITH_TABLE_MAX {
                allowance.fill_table();
                table.late_heads += usize::from(matches!(kind, HEADERS | CONTINUATION));
                if table.late_heads > LATE_HEADS_MAX {
                    return false;
                }
            }
        }
        if kind == HEADERS {
            self.is_trailers = stream <= self.stream;
            self.stream = self.stream.max(stream);
            if self.settings == Settings::Acknowledged {
                let padding = usize::from(flags & PADDED != 0);
                let priority = if flags & PRIORITY != 0 { 5 } else { 0 };
                let before = padding + priority;
                self.settings = match before < length {
                    true => Settings::BlockBegins(before),
                    false => Settings::Settled,
                };
            }
        }
        if kind == SETTINGS && flags & ACK != 0 && self.settings == Settings::Sent {
            self.settings = Settings::Acknowledged;
        }
        allowance.spend(match kind {
            // The windows bound these, and h2 small ones.
            DATA => u32::from(length < OCTETS_PER_FRAME),
            // No request of ours needs any. h2 holds them until the body was read.
            HEADERS | CONTINUATION if self.is_trailers => {
                u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1)
            }
            _ => cost(length).saturating_add(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_UPDATE: u8 = 8;
    const PING: u8 = 6;
    const GET: &[u8] = &[0x82, 0x84, 0x87];

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// After an acknowledgement, and a head that empties the table.
    fn settled() -> Vec<u8> {
        let head = [&[EMPTY_TABLE], GET].concat();
        [vec![b'x'; PREFACE], frame(SETTINGS, ACK, 0, &[]), frame(HEADERS, 5, 1, &head)].concat()
    }

    /// Whether it is too much, however it is cut.
    fn is_too_much(octets: &[u8]) -> bool {
        let mut told = [octets.len(), 16_384, 7].map(|part| {
            let (mut frames, allowance) = (Frames::default(), Allowance::default());
            for part in octets.chunks(part) {
                frames.look(part, &allowance);
            }
            allowance.is_exceeded()
        });
        told.sort_unstable();
        assert_eq!(told[0], told[2], "it depends on how the octets are cut");
        told[0]
    }

    #[test]
    fn frames_that_ask_for_nothing_are_too_many_at_some_time() {
        for (what, one) in [
            ("PING", frame(PING, 0, 0, &[0; 8])),
            ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
            ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            ("PRIORITY", frame(2, 0, 1, &[0; 5])),
            ("empty DATA", frame(DATA, 0, 1, &[])),
            ("unknown", frame(99, 0, 0, &[0; 1_000])),
            ("resets", frame(3, 0, 1, &[0; 4])),
            ("large trailers", frame(HEADERS, 5, 1, &[0x82; 200])),
            (
                "trailers in parts",
                [frame(HEADERS, 1, 1, &[]), frame(9, 4, 1, &[0x82; 200])].concat(),
            ),
        ] {
            assert!(!is_too_much(&[settled(), one.repeat(5)].concat()), "{what}");
            assert!(is_too_much(&[settled(), one.repeat(2_000)].concat()), "{what}");
        }
        let large = frame(DATA, 0, 1, &[0; 1_000]);
        assert!(!is_too_much(&[settled(), large.repeat(2_000)].concat()));
    }

    #[test]
    fn answers_and_what_is_sent_give_frames_back() {
        let (mut frames, allowance) = (Frames::default(), Allowance::default());
        frames.look(&settled(), &allowance);
        for stream in 1..5_000 {
            let head = frame(HEADERS, 5, 2 * stream + 1, &[0x82; 5_000]);
            let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
            frames.look(&[head, update.repeat(20)].concat(), &allowance);
            allowance.is_answered(5_000);
            allowance.is_sent(20_000);
        }
        assert!(!allowance.is_exceeded());
    }

    /// Whether the connection ends in order for the sake of its table, after so many octets of DATA.
    fn leaves(octets: &[u8]) -> bool {
        let (mut frames, allowance) = (Frames::default(), Allowance::default());
        let data = frame(DATA, 0, 1, &[0; 1_000]).repeat(OCTETS_WITH_TABLE_MAX / 1_000);
        frames.look(&[octets, &data].concat(), &allowance);
        assert!(!allowance.is_exceeded());
        allowance.is_table_full.get()
    }

    #[test]
    fn a_client_that_keeps_its_table_is_served_for_a_while() {
        let begun = |head: &[u8]| {
            [vec![b'x'; PREFACE], frame(SETTINGS, ACK, 0, &[]), head.to_vec()].concat()
        };
        let block = [&[EMPTY_TABLE], GET].concat();
        for (keeps, head) in [
            (false, frame(HEADERS, 5, 1, &block)),
            (false, frame(HEADERS, 5 | PADDED, 1, &[&[1][..], &block, &[0]].concat())),
            (false, frame(HEADERS, 5 | PRIORITY, 1, &[&[0; 5][..], &block].concat())),
            (false, frame(HEADERS, 5 | PADDED | PRIORITY, 1, &[&[0; 6][..], &block].concat())),
            (true, frame(HEADERS, 5, 1, GET)),
            (true, frame(HEADERS, 5, 1, &[])),
            // To 1.
            (true, frame(HEADERS, 5, 1, &[&[EMPTY_TABLE + 1], GET].concat())),
            (true, frame(HEADERS, 5 | PADDED, 1, &[EMPTY_TABLE])),
        ] {
            assert!(!is_too_much(&begun(&head)), "{head:?}");
            assert_eq!(leaves(&begun(&head)), keeps, "{head:?}");
        }
        assert!(leaves(&[0; PREFACE]), "a client that does not acknowledge our SETTINGS");
        // Others follow.
        assert!(!is_too_much(&[settled(), frame(HEADERS, 5, 3, GET)].concat()));
    }

    #[test]
    fn a_client_that_keeps_its_table_and_goes_on_is_too_much() {
        let heads = |number: u32| {
            let heads =
                (0..number).flat_map(|index| frame(HEADERS, 5, 2 * index + 1, &[0x82; 991]));
            [0; PREFACE].into_iter().chain(heads).collect::<Vec<_>>()
        };
        assert!(!is_too_much(&heads(80)));
        assert!(is_too_much(&heads(90)));
    }
}
