//! HTTP/2 (RFC 9113): how many requests of one connection are served at a time, and how a connection ends.
//!
//! The memory that a connection can take is bounded by its flow-control windows, by the heads of the
//! requests that wait, and by a semaphore for the requests that are served: each takes as many permits as its
//! body may have octets.

mod answer;

use std::{cell::Cell, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use actix_http::{BoxedPayloadStream, Payload, Request, Uri, Version, header::HeaderMap};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use h2::{Reason, RecvStream, server};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    body::BODY_BYTES_MAX,
    connection::{Connection, HEAD_OCTETS_MAX, HELD_OCTETS_MAX, Link},
    exchange::{Exchanges, Local},
    limits::Limits,
};

/// Requests that a client may have under way. Those that find no room wait.
const STREAMS_MAX: u32 = 100;

/// Permits of the semaphore, in octets of bodies: enough for 16 small requests, or for one with the largest
/// body and some small ones.
const ROOM_OCTETS: usize = HELD_OCTETS_MAX / 2;

/// Permits that a request takes beside its body, for its head and its answer.
const REQUEST_OCTETS: usize = ROOM_OCTETS / UNANSWERED_MAX;

/// Requests that are served at a time.
const UNANSWERED_MAX: usize = 16;

/// Octets of a body that wait in a stream: most bodies are not longer. So a hundred streams that wait do
/// not fill the connection's window, of which those that are served need some.
const STREAM_WINDOW: u32 = 1_280;
const CONNECTION_WINDOW: usize = HELD_OCTETS_MAX / 2;

/// Octets of an answer that are under way in a stream.
const SEND_OCTETS: usize = 8_192;

/// Header fields of a request; HTTP/1.1 has the same limit, in actix-http.
const FIELDS_MAX: usize = 96;

/// Heads of all requests under way: the largest that there may be, and some beside it.
const HEADS_OCTETS_MAX: usize = 2 * HEAD_OCTETS_MAX;

/// Streams that a client may open and reset before they are accepted, or that we reset (CVE-2023-44487).
const RESETS_MAX: usize = 32;

/// Requests that a client may take back, of those that were accepted. A connection with more is closed.
const TAKEN_BACK_MAX: usize = 200;

/// Heads that a client may send, of those that are too large. A connection with more is closed: others have
/// to wait while each is decoded.
const REFUSED_HEADS_MAX: usize = 2;

/// The table of header fields that clients are asked to use: none (see `frames`).
const TABLE_OCTETS: u32 = 0;

/// How long the end of a connection may take whose last answer was sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a request ended.
enum End {
    Answered,
    /// The connection is to end with it.
    Last,
    /// The client did not want the answer any more.
    TakenBack,
}

/// Serves a connection until it ends. After `ending` it takes no more requests.
pub(super) async fn serve(
    connection: Connection,
    exchanges: Exchanges,
    from: SocketAddr,
    limits: &Limits,
    ending: impl Future<Output = ()>,
) {
    let link = Rc::clone(connection.link());
    let mut builder = server::Builder::new();
    builder
        .header_table_size(TABLE_OCTETS)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(number(HEAD_OCTETS_MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(number(CONNECTION_WINDOW))
        .max_send_buffer_size(SEND_OCTETS)
        .max_concurrent_reset_streams(RESETS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(Some(RESETS_MAX));
    let Ok(Ok(mut http2)) =
        timeout(limits.request_head, builder.handshake::<_, Bytes>(connection)).await
    else {
        return;
    };
    let requests = Requests {
        exchanges,
        link: Rc::clone(&link),
        from,
        room: Rc::new(Semaphore::new(ROOM_OCTETS)),
        heads: Rc::default(),
        refused_heads: Cell::default(),
    };
    let mut under_way = FuturesUnordered::<Local<End>>::new();
    let (mut ending, mut unused) = (pin!(ending), pin!(link.usage.has_ended(limits.idle)));
    let mut too_much = pin!(link.allowance.has_exceeded());
    let mut full_table = pin!(link.allowance.has_full_table());
    let (mut is_leaving, mut is_abuse, mut taken_back) = (false, false, 0);
    loop {
        if is_abuse {
            under_way.clear();
            http2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            // It is sent, or it is not.
            let _ = timeout(GOODBYE, http2.accept()).await;
            return;
        }
        tokio::select! {
            biased;
            request = http2.accept() => match request {
                Some(Ok((request, respond))) => {
                    under_way.extend(requests.begin(request, respond));
                    is_abuse = requests.refused_heads.get() > REFUSED_HEADS_MAX;
                }
                Some(Err(_)) | None => return,
            },
            () = &mut too_much => is_abuse = true,
            Some(end) = under_way.next() => match end {
                End::Answered => {}
                End::TakenBack => {
                    taken_back += 1;
                    is_abuse = taken_back > TAKEN_BACK_MAX;
                }
                End::Last => {
                    is_leaving = true;
                    http2.graceful_shutdown();
                }
            },
            () = &mut full_table, if !is_leaving => {
                is_leaving = true;
                http2.graceful_shutdown();
            }
            // Requests in progress are finished first. Without any, the connection ends at once.
            () = &mut ending, if !is_leaving => {
                is_leaving = true;
                if http2.has_streams() {
                    http2.graceful_shutdown();
                } else {
                    http2.abrupt_shutdown(Reason::NO_ERROR);
                }
            }
            () = &mut unused, if !is_leaving => {
                if http2.has_streams() {
                    // The client does not read its answers.
                    return;
                }
                is_leaving = true;
                http2.abrupt_shutdown(Reason::NO_ERROR);
            }
            () = sleep(GOODBYE), if is_leaving && under_way.is_empty() => return,
        }
    }
}

/// State that all requests of a connection share.
struct Requests {
    exchanges: Exchanges,
    link: Rc<Link>,
    from: SocketAddr,
    room: Rc<Semaphore>,
    /// The octets of the heads of requests in progress.
    heads: Rc<Cell<usize>>,
    /// The number of heads that were too large.
    refused_heads: Cell<usize>,
}

impl Requests {
    /// Begins to answer, if there is room for one more; otherwise the client may ask again.
    fn begin(
        &self,
        request: http::Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) -> Option<Local<End>> {
        let (head, body) = request.into_parts();
        let octets = octets(&head);
        if octets > HEAD_OCTETS_MAX || head.headers.len() > FIELDS_MAX {
            self.refused_heads.set(self.refused_heads.get() + 1);
            answer::refuse_head(respond);
            return None;
        }
        let held = Held::of(&self.heads, octets);
        if self.heads.get() > HEADS_OCTETS_MAX {
            respond.send_reset(Reason::REFUSED_STREAM);
            return None;
        }
        let Some(request) = own(&head, body, self.from) else {
            respond.send_reset(Reason::PROTOCOL_ERROR);
            return None;
        };
        let body_octets = match (request.1, head.headers.get(http::header::CONTENT_LENGTH)) {
            (false, _) => 0,
            (true, Some(length)) => {
                let length = length.to_str().ok().and_then(|length| length.parse().ok());
                length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX)
            }
            (true, None) => BODY_BYTES_MAX,
        };
        let share = number(REQUEST_OCTETS + body_octets);
        let (exchanges, link) = (self.exchanges.clone(), Rc::clone(&self.link));
        let room = Rc::clone(&self.room);
        Some(Box::pin(async move {
            let _held = held;
            let asked = Rc::clone(&link);
            let end = answer::serve(exchanges, link, &room, share, request.0, respond).await;
            if !matches!(end, End::TakenBack) {
                asked.allowance.is_answered(octets);
            }
            end
        }))
    }
}

fn number(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}

/// A head that is held until this is dropped.
struct Held(Rc<Cell<usize>>, usize);

impl Held {
    fn of(all: &Rc<Cell<usize>>, octets: usize) -> Self {
        all.set(all.get() + octets);
        Self(Rc::clone(all), octets)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

/// The size of a head: all names and values, before they are copied.
fn octets(head: &http::request::Parts) -> usize {
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    fields.sum::<usize>() + path + authority
}

/// Copies the head into a request of actix, and says whether it has a body. `None` when method, URI or a
/// header field is not valid for actix.
fn own(head: &http::request::Parts, body: RecvStream, from: SocketAddr) -> Option<(Request, bool)> {
    let has_body = !body.is_end_stream();
    let payload = if has_body {
        let payload: BoxedPayloadStream = Box::pin(answer::Received(body));
        Payload::Stream { payload }
    } else {
        Payload::None
    };
    let mut request = Request::with_payload(payload);
    let own = request.head_mut();
    own.version = Version::HTTP_2;
    own.method = head.method.as_str().parse().ok()?;
    own.uri = head.uri.to_string().parse::<Uri>().ok()?;
    own.peer_addr = Some(from);
    let mut headers = HeaderMap::with_capacity(head.headers.keys_len());
    for (name, value) in &head.headers {
        let name = actix_http::header::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        let value = actix_http::header::HeaderValue::from_bytes(value.as_bytes()).ok()?;
        headers.append(name, value);
    }
    own.headers = headers;
    Some((request, has_body))
}
