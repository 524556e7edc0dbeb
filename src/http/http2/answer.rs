//! A stream: the body of a request, and its answer.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use actix_http::{
    ConnectionType, HttpMessage, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    header::{self, HttpDate},
};
use bytes::Bytes;
use futures_util::Stream;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::End;
use crate::http::{
    connection::Link,
    exchange::{Ask, Exchanges, Unread},
};

/// A body as it arrives.
pub(super) struct Received(pub(super) RecvStream);

impl Stream for Received {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.0.poll_data(cx)) {
            Some(Ok(chunk)) => {
                // An error means that the stream has ended, so its window does not matter.
                let _ = self.0.flow_control().release_capacity(chunk.len());
                Some(Ok(chunk))
            }
            Some(Err(_)) => Some(Err(PayloadError::Incomplete(None))),
            None => None,
        })
    }
}

/// Answers when there is room, unless the client takes the request back.
pub(super) async fn serve(
    exchanges: Exchanges,
    link: Rc<Link>,
    room: &Semaphore,
    share: u32,
    request: Request,
    respond: SendResponse<Bytes>,
) -> End {
    let respond = Rc::new(RefCell::new(respond));
    let waits = request
        .headers()
        .get(header::EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let ask = waits.then(|| -> Ask {
        let respond = Rc::clone(&respond);
        Box::new(move || {
            let mut go_on = http::Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // If it cannot be sent, neither can the answer.
            let _ = respond.borrow_mut().send_informational(go_on);
        })
    });
    let is_head = *request.method() == actix_http::Method::HEAD;
    let answered = async {
        link.flow.has_room().await;
        // Never closed.
        let place = room.acquire_many(share).await;
        let mut answer = exchanges.answer(Rc::clone(&link), request, ask).await;
        let end = match answer.head().connection_type() {
            ConnectionType::Close => End::Last,
            ConnectionType::KeepAlive | ConnectionType::Upgrade => End::Answered,
        };
        let unread = answer.extensions_mut().remove::<Unread>();
        let sent = send(&respond, answer, is_head).await;
        drop(place);
        // A client that resets the stream gets no answer.
        if sent.is_err() { (End::TakenBack, None) } else { (end, unread) }
    };
    let (end, unread) = tokio::select! {
        biased;
        answered = answered => answered,
        () = is_reset(&respond) => return End::TakenBack,
    };
    if let Some(unread) = unread {
        // Some clients lose an answer when the stream ends before their body has (RFC 9113, section 8.1). A
        // reset ends the body, too.
        unread.read_away().await;
    }
    end
}

/// Returns when the client resets a stream whose answer has not begun. From then on this never returns,
/// because h2 refuses the question and sending tells of a reset.
async fn is_reset(respond: &RefCell<SendResponse<Bytes>>) {
    poll_fn(|cx| match ready!(respond.borrow_mut().poll_reset(cx)) {
        Ok(_) => Poll::Ready(()),
        Err(_) => Poll::Pending,
    })
    .await;
}

/// Answers to a head that is too large (RFC 6585, section 5).
pub(super) fn refuse_head(mut respond: SendResponse<Bytes>) {
    let mut answer = http::Response::new(());
    *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    // An error means that the client does not read the answer any more.
    let _ = respond.send_response(answer, true);
}

async fn send(
    respond: &RefCell<SendResponse<Bytes>>,
    answer: Response<BoxBody>,
    is_head: bool,
) -> Result<(), h2::Error> {
    let (answer, mut body) = answer.into_parts();
    let size = body.size();
    let is_whole = is_head || size.is_eof();
    let head = head(&answer, size);
    let mut stream = respond.borrow_mut().send_response(head, is_whole)?;
    if is_whole {
        return Ok(());
    }
    while let Some(part) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
        // Ours cannot fail.
        let Ok(part) = part else { break };
        send_part(&mut stream, part).await?;
    }
    stream.send_data(Bytes::new(), true)
}

/// Sends when the client's windows allow.
async fn send_part(stream: &mut SendStream<Bytes>, mut part: Bytes) -> Result<(), h2::Error> {
    while !part.is_empty() {
        stream.reserve_capacity(part.len());
        let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(h2::Reason::CANCEL.into()),
        };
        stream.send_data(part.split_to(room.min(part.len())), false)?;
    }
    Ok(())
}

fn head(answer: &Response<()>, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(answer.status().as_u16()).unwrap_or_default();
    let headers = head.headers_mut();
    for (name, value) in answer.headers() {
        // Of HTTP/1.1 (RFC 9113, section 8.2.2), and what is written below.
        if [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::CONTENT_LENGTH]
            .contains(name)
        {
            continue;
        }
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    if let BodySize::Sized(length) = size {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if !headers.contains_key(http::header::DATE)
        && let Ok(date) = HeaderValue::try_from(HttpDate::from(SystemTime::now()).to_string())
    {
        headers.insert(http::header::DATE, date);
    }
    head
}
