//! One request from its head to its answer, whatever version of HTTP it came with.

mod answers;
mod body;

use std::{
    cell::Cell, convert::Infallible, future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration,
};

use actix_http::{
    BoxedPayloadStream, ConnectionType, HttpMessage, Payload, Request, RequestHead, Response,
    StatusCode, Version,
    body::{BoxBody, MessageBody},
    header::{CONTENT_LENGTH, HeaderMap, HeaderValue},
};
pub(super) use answers::Answers;
use answers::Paced;
pub(super) use body::Ask;
use body::{Body, Reading};

use super::{
    body::BODY_BYTES_MAX,
    connection::{Expected, Link},
    headers::X_REQUEST_ID,
    problem::Problem,
};

/// A future that stays on its thread.
pub(super) type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// The actix-web app, which answers requests.
pub(super) type App = Rc<dyn Fn(Request) -> Local<Response<BoxBody>>>;

/// How long the rest of a body that the handler does not read may take. It is read because some clients lose
/// the answer, and the connection, when the answer comes before the end of their body.
const LEFTOVERS_TIME: Duration = Duration::from_millis(500);

/// How long the rest of a body is read after the answer.
const AFTER_ANSWER_TIME: Duration = Duration::from_secs(2);

/// The Retry-After of a request for whose answer there is no room.
const NO_ROOM_SECONDS: u64 = 1;

/// State that all requests of a listener share.
#[derive(Clone)]
pub(super) struct Exchanges {
    pub(super) app: App,
    pub(super) answers: std::sync::Arc<Answers>,
}

impl Exchanges {
    /// Answers a request. `ask` sends "100 Continue"; it is called when the handler reads the body and no part of
    /// it has come.
    pub(super) async fn answer(
        &self,
        link: Rc<Link>,
        mut request: Request,
        ask: Option<Ask>,
    ) -> Response<BoxBody> {
        detach_head(request.head_mut());
        let is_http2 = request.version() == Version::HTTP_2;
        let serving = link.serve();
        if let Some(peer) = &link.peer {
            request.extensions_mut().insert(std::sync::Arc::clone(peer));
        }
        request.extensions_mut().insert(Rc::clone(&link));
        let body = match request.take_payload() {
            Payload::None => None,
            payload @ (Payload::H1 { .. } | Payload::Stream { .. }) => {
                Some(Body::new(payload, Rc::clone(&link), ask))
            }
        };
        let announced = length(request.head());
        link.flow.expect(match (&body, announced) {
            (None, _) => Expected::Head,
            // A larger body is refused before any of it is read.
            (Some(_), Some(octets)) => Expected::Octets(octets.min(BODY_BYTES_MAX)),
            (Some(_), None) => Expected::Chunks { is_awaited: false },
        });
        let request = match &body {
            None => request,
            Some(body) => {
                let stream: BoxedPayloadStream = Box::pin(Reading(Rc::clone(body)));
                request.replace_payload(Payload::Stream { payload: stream }).0
            }
        };
        let mut answer = (self.app)(request).await;
        let mut unread = None;
        if let Some(body) = body {
            let is_small = announced.is_none_or(|octets| octets <= BODY_BYTES_MAX);
            if is_small && !body.is_asked_for() {
                // The result does not matter: the next line looks at what has come.
                let _ = tokio::time::timeout(LEFTOVERS_TIME, body.read_away(BODY_BYTES_MAX)).await;
            }
            match (body.has_ended(), is_http2) {
                (true, _) => {}
                (false, true) => drop(answer.extensions_mut().insert(Unread(body))),
                (false, false) => {
                    answer.head_mut().set_connection_type(ConnectionType::Close);
                    unread = Some(body);
                }
            }
        }
        if link.is_secret.get() {
            // Its buffers, and those of TLS, are wiped when they are freed, and only then.
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        link.flow.expect(if unread.is_some() { Expected::Leftovers } else { Expected::Head });
        drop(serving);
        self.paced(answer, unread)
    }

    /// Sends an answer in small parts.
    fn paced(&self, answer: Response<BoxBody>, unread: Option<Rc<Body>>) -> Response<BoxBody> {
        let (answer, octets) = answer.into_parts();
        match octets.try_into_bytes() {
            Ok(octets) if octets.is_empty() && unread.is_none() => {
                answer.set_body(BoxBody::new(octets))
            }
            Ok(octets) => match self.answers.hold(octets) {
                Some(octets) => answer.set_body(BoxBody::new(Paced::new(octets, unread))),
                None => self.paced(no_room(&answer), unread),
            },
            Err(streamed) => answer.set_body(streamed),
        }
    }
}

/// All the octets that answers may take are taken, so this one is refused.
fn no_room(answer: &Response<()>) -> Response<BoxBody> {
    let request_id = answer.headers().get(&X_REQUEST_ID);
    let named = request_id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let mut refusal = Problem::busy(NO_ROOM_SECONDS).into_response(named);
    if let Some(request_id) = request_id {
        refusal.headers_mut().insert(X_REQUEST_ID, request_id.clone());
    }
    let mut refusal = Response::from(refusal);
    refusal.head_mut().set_connection_type(answer.head().connection_type());
    refusal
}

/// The rest of a body that has to be read after the answer, over HTTP/2, where nothing else does.
pub(super) struct Unread(Rc<Body>);

impl Unread {
    /// Reads it away while the client takes the answer. Whoever has it sends no more.
    pub(super) async fn read_away(&self) {
        // The connection ends anyway when the rest does not come in time.
        let _ = tokio::time::timeout(AFTER_ANSWER_TIME, self.0.read_away(usize::MAX)).await;
    }
}

/// The announced length of a body.
fn length(head: &RequestHead) -> Option<usize> {
    let value = head.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
    // A length that is too large for the type is larger than any limit.
    Some(value.parse().unwrap_or(usize::MAX))
}

/// The answer in progress to a request whose client waits for "100 Continue".
struct Begun(Local<Response<BoxBody>>);

/// A final answer that was ready before the handler read the body.
pub(super) struct Early(Response<BoxBody>);

impl From<Early> for Response<BoxBody> {
    fn from(early: Early) -> Self {
        early.0
    }
}

impl std::fmt::Debug for Early {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Early({})", self.0.status())
    }
}

/// RFC 9110, section 10.1.1, over HTTP/1.1: the final status if it does not depend on the body, else
/// "100 Continue", which the dispatcher sends when this returns a request.
///
/// # Errors
/// The final answer.
pub(super) async fn expect(exchanges: Exchanges, request: Request) -> Result<Request, Early> {
    let Some(link) = request.conn_data::<Rc<Link>>().cloned() else { return Ok(request) };
    let is_asked = Rc::new(Cell::new(false));
    let ask: Ask = {
        let is_asked = Rc::clone(&is_asked);
        Box::new(move || is_asked.set(true))
    };
    let mut answering: Local<_> =
        Box::pin(async move { exchanges.answer(link, request, Some(ask)).await });
    let early = poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if is_asked.get() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match early.await {
        Some(answer) => Err(Early(answer)),
        None => {
            let begun = Request::new();
            begun.extensions_mut().insert(Begun(answering));
            Ok(begun)
        }
    }
}

/// Answers a request over HTTP/1.1.
///
/// # Errors
/// Never.
pub(super) async fn http1(
    exchanges: Exchanges,
    request: Request,
) -> Result<Response<BoxBody>, Infallible> {
    let begun = request.extensions_mut().remove::<Begun>();
    if let Some(Begun(answering)) = begun {
        return Ok(answering.await);
    }
    Ok(match request.conn_data::<Rc<Link>>().cloned() {
        Some(link) => exchanges.answer(link, request, None).await,
        None => Response::new(StatusCode::INTERNAL_SERVER_ERROR),
    })
}

/// Copies URI and header values out of the read buffer. actix recycles request heads, and a head that refers
/// to the read buffer would keep all of it, bodies included. The copy also shrinks the header map, which has
/// room for 28 fields (6 KiB) at first.
fn detach_head(head: &mut RequestHead) {
    if head.version == Version::HTTP_2 {
        // `http2` has copied it already.
        return;
    }
    if let Ok(own) = head.uri.to_string().parse() {
        head.uri = own;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len_keys());
    for (name, value) in &head.headers {
        let own = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
        headers.append(name.clone(), own);
    }
    head.headers = headers;
}

#[cfg(test)]
mod tests {
    use actix_http::header;

    use super::*;

    #[test]
    fn an_answer_without_room_is_a_refusal_like_any_other() {
        let mut answer = Response::new(StatusCode::OK);
        answer.headers_mut().insert(X_REQUEST_ID, HeaderValue::from_static("mine"));
        let refusal = no_room(&answer.drop_body());
        assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
        for (name, value) in
            [("x-request-id", "mine"), ("retry-after", "1"), ("content-type", "application/json")]
        {
            assert_eq!(refusal.headers().get(name).unwrap(), value);
        }
        let body = refusal.into_body().try_into_bytes().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["exception"], true);
        assert_eq!(body["id"], "ServiceUnavailableException");
        assert_eq!(body["code"], "503");
        assert_eq!(body["requestId"], "mine");
    }

    #[test]
    fn a_head_of_its_own_has_all_headers_and_no_room_for_many_more() {
        let mut request = Request::new();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::HOST, "appliance"),
            (header::ACCEPT, "application/json"),
            (header::ACCEPT, "text/plain"),
            // Not ASCII, and allowed (RFC 9110, section 5.5).
            (header::USER_AGENT, "caf\u{e9}"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let as_it_came = headers.clone();
        detach_head(request.head_mut());
        assert_eq!(request.headers().len(), 4);
        for name in as_it_came.keys() {
            assert!(request.headers().get_all(name).eq(as_it_came.get_all(name)), "{name}");
        }
        assert!(request.headers().capacity() <= 8, "{}", request.headers().capacity());
    }
}
