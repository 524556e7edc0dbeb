//! From a listening socket to a request: the door, the handshake, HTTP.

use std::{
    fmt::Display,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, apply_fn_factory, map_config};
use actix_web::{
    App, HttpRequest, HttpResponse,
    dev::{AppConfig, RequestHead, Server, Service, ServiceFactory, fn_factory, fn_service},
    http::header::{HeaderMap, HeaderValue},
    rt::net::TcpStream,
    web::{self, Payload},
};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{Connection, Usage},
    current::Current,
    dispatch::Context,
    door::{Door, Place},
    pulse::Pulse,
    refusals::{Cause, Refusals},
    server::Limits,
    tls::{self, Peer},
};

/// How long the end of a connection may take that is closed in order.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What answers requests of a listener.
pub(super) type Handler =
    fn(Arc<Context>, HttpRequest, Payload) -> Pin<Box<dyn Future<Output = HttpResponse>>>;

/// One listener and what is behind it.
#[derive(Clone)]
pub(super) struct Entrance {
    /// Its name, in words for the operator.
    pub(super) setting: &'static str,
    /// Event loops for handshakes and parsing; the use cases run elsewhere.
    pub(super) workers: usize,
    /// With TLS, and a certificate of each client.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    pub(super) door: Arc<Door>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) current: Arc<Current>,
    pub(super) handler: Handler,
}

impl Entrance {
    /// Serves on a socket that listens.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn serve(self, listener: TcpListener) -> Result<Server, String> {
        let setting = self.setting;
        let server = Server::build()
            .workers(self.workers)
            // The door says how many there may be; those that it sends away need a moment to go.
            .max_concurrent_connections(self.limits.connections_max.saturating_mul(2))
            .shutdown_timeout(self.limits.shutdown.as_secs())
            .disable_signals();
        let ending = server.graceful_shutdown_signal();
        let server = server.listen(setting, listener, move || {
            self.pulse.attach();
            let (current, handler) = (Arc::clone(&self.current), self.handler);
            let app = App::new().default_service(web::to(
                move |request: HttpRequest, payload: Payload| {
                    let serving = request.conn_data::<Rc<Usage>>().map(Usage::serve);
                    let answer = handler(current.context(), request, payload);
                    async move {
                        let answer = answer.await;
                        drop(serving);
                        answer
                    }
                },
            ));
            let ending = ending.clone();
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let ending = ending.clone();
                    async move { ending.notified().await }
                })
                .keep_alive(self.limits.idle)
                .client_request_timeout(self.limits.request_head)
                .client_disconnect_timeout(DISCONNECT)
                .on_connect_ext(|connection: &Connection, extensions| {
                    extensions.insert(Rc::clone(&connection.usage));
                    if let Some(peer) = &connection.peer {
                        extensions.insert(Arc::clone(peer));
                    }
                })
                .finish(apply_fn_factory(
                    map_config(
                        app.into_factory()
                            .map_err(|error: actix_web::Error| error.error_response()),
                        |()| AppConfig::default(),
                    ),
                    |mut request: actix_http::Request, app| {
                        own(request.head_mut());
                        app.call(request)
                    },
                ));
            let entrance = Rc::new(self.clone());
            fn_factory(move || {
                let http = http.new_service(());
                let entrance = Rc::clone(&entrance);
                async move {
                    let http = Rc::new(http.await?);
                    Ok::<_, ()>(fn_service(move |socket: TcpStream| {
                        let (entrance, http) = (Rc::clone(&entrance), Rc::clone(&http));
                        async move {
                            // Boxed: actix-server has room for its future twice.
                            Box::pin(entrance.receive(socket, &*http)).await;
                            Ok::<(), ()>(())
                        }
                    }))
                }
            })
        });
        Ok(server.map_err(|error| format!("{setting}: {error}"))?.run())
    }

    /// A connection from its beginning to its end.
    async fn receive<S>(&self, socket: TcpStream, http: &S)
    where
        S: Service<(Connection, Protocol, Option<SocketAddr>)>,
    {
        // One that is gone already has no address.
        let Ok(from) = socket.peer_addr() else { return };
        let Some((place, pushed)) = self.door.enter(from.ip()) else {
            return self.refusals.note(from, Cause::Crowded, &"all connections are taken");
        };
        let pushed_out = async move {
            if pushed.await.is_err() {
                // Nobody can push it out any more.
                std::future::pending::<()>().await;
            }
        };
        let served = async {
            match self.greet(socket, place).await {
                Ok((connection, protocol, place)) => {
                    let usage = Rc::clone(&connection.usage);
                    tokio::select! {
                        // What ends a connection is the client's doing.
                        _ = http.call((connection, protocol, Some(from))) => {}
                        () = usage.has_ended(self.limits.idle) => {}
                    }
                    drop(place);
                }
                Err((cause, reason)) => self.refusals.note(from, cause, &reason),
            }
        };
        tokio::select! {
            () = served => {}
            () = pushed_out => self.refusals.note(from, Cause::Crowded, &"others need the place"),
        }
    }

    /// Does the handshake, if there is one.
    ///
    /// # Errors
    /// Why there is no connection.
    async fn greet(
        &self,
        socket: TcpStream,
        mut place: Place,
    ) -> Result<(Connection, Protocol, Place), (Cause, String)> {
        let handshake = |error: &dyn Display| (Cause::Handshake, format!("handshake: {error}"));
        socket.set_nodelay(true).map_err(|error| handshake(&error))?;
        let usage = Usage::new();
        let Some(tls) = &self.tls else {
            let connection = Connection { io: Box::new(socket), peer: None, usage };
            return Ok((connection, Protocol::Http1, place));
        };
        let stream = timeout(self.limits.handshake, tls.accept(socket))
            .await
            .map_err(|_| handshake(&"it took too long"))?
            .map_err(|error| handshake(&error))?;
        let (_, session) = stream.get_ref();
        let peer = Peer::of(session).ok_or_else(|| handshake(&"no certificate"))?;
        if !place.is_of(peer.certificate_sha256()) {
            let reason = format!("{} has all the connections that it may have", peer.subject());
            return Err((Cause::Crowded, reason));
        }
        let is_http2 = session.alpn_protocol() == Some(tls::ALPN_HTTP2);
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok((
            Connection { io: Box::new(stream), peer: Some(Arc::new(peer)), usage },
            protocol,
            place,
        ))
    }
}

/// Has a request's head stand on its own. As it comes it is a part of what was read from the connection,
/// bodies included, and actix keeps it, with all of that, until it needs it for another request. Its room
/// for headers is that for 28, 6 KiB, until it is that for as many as there are.
fn own(head: &mut RequestHead) {
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
    use actix_web::{HttpMessage, http::header};

    use super::*;

    #[test]
    fn a_head_of_its_own_has_all_headers_and_no_room_for_many_more() {
        let mut request = actix_http::Request::new();
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
        own(request.head_mut());
        assert_eq!(request.headers().len(), 4);
        for name in as_it_came.keys() {
            assert!(request.headers().get_all(name).eq(as_it_came.get_all(name)), "{name}");
        }
        assert!(request.headers().capacity() <= 8, "{}", request.headers().capacity());
    }
}
