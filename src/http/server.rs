//! The listeners.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    http::Method,
    web::{self, Payload},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{
    dispatch::{self, Context},
    metrics::{self, Requests},
    operations, public,
    rate::Rates,
    room::Room,
    tls,
};
use crate::{access::Access, service::Services};

/// The listener with mutual TLS.
#[derive(Debug)]
pub struct ApiConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM chain of the server, own certificate first.
    pub certificate: PathBuf,
    /// PEM private key of the server.
    pub private_key: PathBuf,
    /// PEM certificates of the CAs that clients come from.
    pub client_ca: PathBuf,
    /// PEM CRLs of those CAs.
    pub client_crl: Option<PathBuf>,
    /// Whether the login of the compatible API is there.
    pub compat_login: bool,
}

/// The listeners without TLS; each may be absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainListeners {
    /// Health and readiness, on loopback.
    pub operations: Option<SocketAddr>,
    /// What everyone may fetch.
    pub distribution: Option<SocketAddr>,
}

/// Limits of the listeners.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections; more wait in the kernel.
    pub connections_max: usize,
    /// Requests that are worked on at the same time; more get 503.
    pub in_flight_max: usize,
    /// Requests of one client in a minute; 0: no limit.
    pub client_requests_per_minute: u32,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the connection to the end of the first request head.
    pub request_head: Duration,
    /// From the end of the head to the end of the body.
    pub request_body: Duration,
    /// For work in flight at shutdown.
    pub shutdown: Duration,
}

/// Reads the TLS files as the start does.
///
/// # Errors
/// Names the setting and the file that cannot be used.
pub fn check_tls(config: &ApiConfig) -> Result<(), String> {
    tls::server_config(config).map(|_| ())
}

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The HTTP side of the daemon, bound but not yet serving.
pub struct Api {
    config: ApiConfig,
    plain: PlainListeners,
    context: Arc<Context>,
}

impl Api {
    /// Must be called in the runtime that is to run the use cases.
    pub fn new(
        config: ApiConfig,
        plain: PlainListeners,
        limits: Limits,
        services: Arc<Services>,
        access: Access,
    ) -> Self {
        let context = Arc::new(Context {
            services,
            access,
            limits,
            rates: Rates::per_minute(limits.client_requests_per_minute),
            requests: Requests::new(),
            compat_login: config.compat_login,
            in_flight: Room::new(limits.in_flight_max),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        });
        Self { config, plain, context }
    }

    /// Binds the listeners and starts to serve.
    ///
    /// # Errors
    /// Names the setting that cannot be used: an address in use, a TLS file.
    pub fn start(self) -> Result<Running, String> {
        let (api, address) = self.api()?;
        let mut servers = vec![api.handle()];
        tokio::spawn(api);
        let mut serve = |(server, address): (Server, SocketAddr)| {
            servers.push(server.handle());
            tokio::spawn(server);
            address
        };
        let operations = match self.plain.operations {
            Some(listen) => Some(serve(self.operations(listen)?)),
            None => None,
        };
        let distribution = match self.plain.distribution {
            Some(listen) => Some(serve(self.distribution(listen)?)),
            None => None,
        };
        Ok(Running { servers, context: self.context, address, operations, distribution })
    }

    fn api(&self) -> Result<(Server, SocketAddr), String> {
        let context = Arc::clone(&self.context);
        let limits = context.limits;
        let workers = workers();
        let server = HttpServer::new(move || {
            let context = Arc::clone(&context);
            App::new().default_service(web::to(move |request: HttpRequest, payload: Payload| {
                let context = Arc::clone(&context);
                async move { dispatch::dispatch(&context, request, payload).await }
            }))
        })
        .workers(workers)
        .max_connections((limits.connections_max / workers).max(1))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(limits.request_head)
        .tls_handshake_timeout(limits.handshake)
        .tcp_nodelay(true)
        .shutdown_timeout(limits.shutdown.as_secs())
        .disable_signals()
        .on_connect(tls::remember_peer)
        .bind_rustls_0_23(self.config.listen, tls::server_config(&self.config)?)
        .map_err(|error| format!("api.listen: {}: {error}", self.config.listen))?;
        let address = bound(&server.addrs(), self.config.listen);
        Ok((server.run(), address))
    }

    fn operations(&self, listen: SocketAddr) -> Result<(Server, SocketAddr), String> {
        let context = Arc::clone(&self.context);
        let limits = context.limits;
        let server = HttpServer::new(move || {
            let context = Arc::clone(&context);
            App::new().default_service(web::to(move |request: HttpRequest| {
                let context = Arc::clone(&context);
                async move { operations_answer(&context, &request).await }
            }))
        })
        .workers(1)
        .client_request_timeout(limits.request_head)
        .shutdown_timeout(limits.shutdown.as_secs())
        .disable_signals()
        .bind(listen)
        .map_err(|error| format!("operations.listen: {listen}: {error}"))?;
        let address = bound(&server.addrs(), listen);
        Ok((server.run(), address))
    }

    fn distribution(&self, listen: SocketAddr) -> Result<(Server, SocketAddr), String> {
        let context = Arc::clone(&self.context);
        let limits = context.limits;
        let server = HttpServer::new(move || {
            let context = Arc::clone(&context);
            App::new().default_service(web::to(move |request: HttpRequest| {
                let context = Arc::clone(&context);
                async move { public::dispatch(&context, request).await }
            }))
        })
        .workers(1)
        .max_connections(limits.connections_max)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(limits.request_head)
        .tcp_nodelay(true)
        .shutdown_timeout(limits.shutdown.as_secs())
        .disable_signals()
        .bind(listen)
        .map_err(|error| format!("distribution.listen: {listen}: {error}"))?;
        let address = bound(&server.addrs(), listen);
        Ok((server.run(), address))
    }
}

async fn operations_answer(context: &Context, request: &HttpRequest) -> HttpResponse {
    match (request.path(), request.method() == Method::GET) {
        ("/healthz", true) => operations::health(&context.services, context.compat_login),
        ("/readyz", true) => dispatch::readiness(context).await,
        ("/metrics", true) => metrics::answer(context),
        ("/healthz" | "/readyz" | "/metrics", false) => HttpResponse::MethodNotAllowed()
            .insert_header((actix_web::http::header::ALLOW, "GET"))
            .finish(),
        _ => HttpResponse::NotFound().finish(),
    }
}

/// Handshakes and parsing; the use cases run elsewhere.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bound(addresses: &[SocketAddr], asked: SocketAddr) -> SocketAddr {
    addresses.first().copied().unwrap_or(asked)
}

/// The HTTP side while it serves.
pub struct Running {
    servers: Vec<ServerHandle>,
    context: Arc<Context>,
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where health and readiness are.
    pub operations: Option<SocketAddr>,
    /// Where everyone may fetch.
    pub distribution: Option<SocketAddr>,
}

impl Running {
    /// Takes no new connection, lets requests in flight end, and then the use cases whose clients
    /// are gone.
    pub async fn stop(self) {
        for server in &self.servers {
            server.stop(true).await;
        }
        self.context.tasks.close();
        if tokio::time::timeout(self.context.limits.shutdown, self.context.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("work in flight did not end in time");
        }
    }
}
