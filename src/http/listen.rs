//! From a listening socket to a request: the connection limit, the handshake, HTTP.

use std::{
    fmt::Display,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{Request, Response, body::BoxBody, h1::H1Service};
use actix_service::{IntoServiceFactory, map_config};
use actix_web::{
    App, HttpRequest,
    dev::{AppConfig, Server, Service, ServiceFactory, fn_factory, fn_service},
    rt::net::TcpStream,
    web::{self, Payload},
};
use rustix::net::sockopt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{Connection, Io, Link},
    connection_limit::{ConnectionLimit, Permit},
    current::Current,
    dispatch::{self, Listener},
    exchange::{self, Answers, Exchanges},
    heartbeat::Heartbeat,
    http2,
    limits::Limits,
    rejected_connections::{Cause, RejectedConnections},
    tls::{self, Peer},
};

/// The time limit for closing a connection in order.
const DISCONNECT: Duration = Duration::from_secs(1);

/// SO_SNDBUF and SO_RCVBUF of a connection, in octets; the kernel doubles them. Without a limit the kernel
/// buffers some megabytes for each client that does not read its answers.
const SOCKET_OCTETS: usize = 65_536;

/// The largest buffer of rustls for outgoing data of a connection, in octets.
const TLS_OCTETS: usize = 32_768;

/// Makes futures that resolve when the daemon begins its shutdown.
type Ending = Rc<dyn Fn() -> exchange::Local<()>>;

/// A listener with everything that its connections need.
#[derive(Clone)]
pub(super) struct Entrance {
    /// Its name, in words for the operator.
    pub(super) setting: &'static str,
    /// Event loops for handshakes and parsing; the use cases run elsewhere.
    pub(super) workers: usize,
    /// With TLS, and a certificate of each client.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    pub(super) rejected: Arc<RejectedConnections>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) current: Arc<Current>,
    pub(super) answers: Arc<Answers>,
    pub(super) listener: Listener,
}

/// A connection that HTTP can be spoken over.
struct Greeted {
    io: Box<dyn Io>,
    link: Rc<Link>,
    is_http2: bool,
    permit: Permit,
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
            // The connection limit holds below; refused connections need a moment to close.
            .max_concurrent_connections(self.limits.connections_max.saturating_mul(2))
            .shutdown_timeout(self.limits.shutdown.as_secs())
            .disable_signals();
        let ending = server.graceful_shutdown_signal();
        let server = server.listen(setting, listener, move || {
            self.heartbeat.attach();
            let entrance = Rc::new(self.clone());
            let ending = ending.clone();
            let ending: Ending = Rc::new(move || {
                let ending = ending.clone();
                Box::pin(async move { ending.notified().await })
            });
            fn_factory(move || {
                let (entrance, ending) = (Rc::clone(&entrance), ending.clone());
                async move {
                    let exchanges = entrance.exchanges().await?;
                    let http1 = entrance.http1(exchanges.clone(), ending.clone());
                    let http1 = Rc::new(http1.new_service(()).await?);
                    Ok::<_, ()>(fn_service(move |socket: TcpStream| {
                        let (entrance, http1) = (Rc::clone(&entrance), Rc::clone(&http1));
                        let (exchanges, ending) = (exchanges.clone(), ending.clone());
                        async move {
                            let served = entrance.receive(socket, &*http1, exchanges, ending);
                            // Boxed: actix-server has room for its future twice.
                            Box::pin(served).await;
                            Ok::<(), ()>(())
                        }
                    }))
                }
            })
        });
        Ok(server.map_err(|error| format!("{setting}: {error}"))?.run())
    }

    /// Makes the request handler of a worker thread.
    async fn exchanges(&self) -> Result<Exchanges, ()> {
        let (current, listener) = (Arc::clone(&self.current), self.listener);
        let app =
            App::new().default_service(web::to(move |request: HttpRequest, payload: Payload| {
                let context = current.context();
                async move { dispatch::dispatch(&context, listener, request, payload).await }
            }));
        let app = map_config(app.into_factory(), |()| AppConfig::default());
        let app = Rc::new(app.new_service(()).await?);
        let app = move |request: Request| -> exchange::Local<Response<BoxBody>> {
            let app = Rc::clone(&app);
            Box::pin(async move {
                match app.call(request).await {
                    Ok(answer) => answer.into(),
                    Err(error) => error.error_response().into(),
                }
            })
        };
        Ok(Exchanges { app: Rc::new(app), answers: Arc::clone(&self.answers) })
    }

    /// HTTP/1.1.
    fn http1(
        &self,
        exchanges: Exchanges,
        ending: Ending,
    ) -> impl ServiceFactory<
        (Connection, Option<SocketAddr>),
        Config = (),
        Service: Service<(Connection, Option<SocketAddr>)>,
        InitError = (),
    > + use<> {
        let expecting = exchanges.clone();
        let http1: H1Service<Connection, _, _, _, _> = actix_http::HttpService::build()
            .graceful_shutdown_signal(move || ending())
            .keep_alive(self.limits.idle)
            .client_request_timeout(self.limits.request_head)
            .client_disconnect_timeout(DISCONNECT)
            .expect(fn_service(move |request| exchange::expect(expecting.clone(), request)))
            .on_connect_ext(|connection: &Connection, extensions| {
                extensions.insert(Rc::clone(connection.link()));
            })
            .h1(fn_service(move |request| exchange::http1(exchanges.clone(), request)));
        http1
    }

    /// A connection from its beginning to its end.
    async fn receive<S>(&self, socket: TcpStream, http1: &S, exchanges: Exchanges, ending: Ending)
    where
        S: Service<(Connection, Option<SocketAddr>)>,
    {
        // One that is gone already has no address.
        let Ok(from) = socket.peer_addr() else { return };
        let Some((permit, closed)) = self.connection_limit.enter(from.ip()) else {
            return self.rejected.note(from, Cause::Crowded, &"all connections are taken");
        };
        let closed_for_another = async move {
            if closed.await.is_err() {
                // The connection is authenticated, so it is not closed for another one any more.
                std::future::pending::<()>().await;
            }
        };
        let served = async {
            match self.greet(socket, permit).await {
                Ok(greeted) => self.speak(greeted, from, http1, exchanges, ending).await,
                Err((cause, reason)) => self.rejected.note(from, cause, &reason),
            }
        };
        tokio::select! {
            () = served => {}
            () = closed_for_another => self.rejected.note(from, Cause::Crowded, &"others need the place"),
        }
    }

    /// Serves HTTP until the client closes the connection or its certificate expires.
    async fn speak<S>(
        &self,
        Greeted { io, link, is_http2, permit: _permit }: Greeted,
        from: SocketAddr,
        http1: &S,
        exchanges: Exchanges,
        ending: Ending,
    ) where
        S: Service<(Connection, Option<SocketAddr>)>,
    {
        let ended = Rc::clone(&link);
        let spoken = async {
            if is_http2 {
                let connection = Connection::http2(io, link);
                http2::serve(connection, exchanges, from, &self.limits, ending()).await;
            } else {
                let connection = Connection::http1(io, Rc::clone(&link));
                tokio::select! {
                    _ = http1.call((connection, Some(from))) => {}
                    () = link.usage.has_ended(self.limits.idle) => {}
                }
            }
        };
        tokio::select! {
            () = spoken => {}
            () = ended.has_expired() => {}
        }
    }

    /// Does the handshake, if there is one.
    ///
    /// # Errors
    /// Why there is no connection.
    async fn greet(
        &self,
        socket: TcpStream,
        mut permit: Permit,
    ) -> Result<Greeted, (Cause, String)> {
        let handshake = |error: &dyn Display| (Cause::Handshake, format!("handshake: {error}"));
        socket.set_nodelay(true).map_err(|error| handshake(&error))?;
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_OCTETS)
            .and_then(|()| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_OCTETS))
            .map_err(|error| handshake(&error))?;
        let Some(tls) = &self.tls else {
            return Ok(Greeted {
                io: Box::new(socket),
                link: Link::new(None),
                is_http2: false,
                permit,
            });
        };
        let mut stream = timeout(self.limits.handshake, tls.accept(socket))
            .await
            .map_err(|_| handshake(&"it took too long"))?
            .map_err(|error| handshake(&error))?;
        let (_, session) = stream.get_mut();
        session.set_buffer_limit(Some(TLS_OCTETS));
        let peer = Peer::of(session).ok_or_else(|| handshake(&"no certificate"))?;
        if !permit.authenticate(peer.certificate_sha256()) {
            let reason = format!("{} has all the connections that it may have", peer.subject());
            return Err((Cause::Crowded, reason));
        }
        let is_http2 = session.alpn_protocol() == Some(tls::ALPN_HTTP2);
        let link = Link::new(Some(Arc::new(peer)));
        Ok(Greeted { io: Box::new(stream), link, is_http2, permit })
    }
}
