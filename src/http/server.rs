//! The listeners.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    http::Method,
    web::{self, Payload},
};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};
use tokio_util::task::TaskTracker;

use super::{
    current::Current,
    dispatch::{self, Context},
    metrics::{self, Requests},
    operations, public,
    rate::Rates,
    room::Room,
    tls::{self, Tls, TlsFiles},
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlainListeners {
    /// Health and readiness, on loopback.
    pub operations: Option<SocketAddr>,
    /// What everyone may fetch.
    pub distribution: Option<SocketAddr>,
}

/// Sockets that listen already, and then count instead of a configured address.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For the API.
    pub api: Option<TcpListener>,
    /// For what everyone may fetch.
    pub distribution: Option<TcpListener>,
    /// For health and readiness.
    pub operations: Option<TcpListener>,
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
/// Names every setting and file that cannot be used.
pub fn check_tls(config: &ApiConfig) -> Result<(), Vec<String>> {
    TlsFiles::read(config).map(|_| ())
}

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The HTTP side of the daemon, not yet serving.
pub struct Api {
    config: ApiConfig,
    plain: PlainListeners,
    limits: Limits,
    current: Arc<Current>,
    tls: Arc<Tls>,
}

impl Api {
    /// Must be called in the runtime that is to run the use cases.
    ///
    /// # Errors
    /// Names every TLS file that cannot be used.
    pub fn new(
        config: ApiConfig,
        plain: PlainListeners,
        limits: Limits,
        services: Arc<Services>,
        access: Access,
    ) -> Result<Self, String> {
        let files = TlsFiles::read(&config).map_err(|problems| problems.join("\n"))?;
        let tls = Arc::new(Tls::new(files));
        let context = Context {
            services,
            access,
            limits,
            tls: Arc::clone(&tls),
            rates: Arc::new(Rates::per_minute(limits.client_requests_per_minute)),
            requests: Arc::new(Requests::new()),
            compat_login: config.compat_login,
            in_flight: Arc::new(Room::new(limits.in_flight_max)),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        };
        Ok(Self { config, plain, limits, current: Arc::new(Current::new(context)), tls })
    }

    /// Binds the listeners that are not there yet, and starts to serve.
    ///
    /// # Errors
    /// Names the setting that cannot be used: an address in use.
    pub fn start(self, listeners: Listeners) -> Result<Running, String> {
        let mut servers = Vec::new();
        let mut serve = |server: Server, address: SocketAddr| {
            servers.push(server.handle());
            tokio::spawn(server);
            address
        };
        let (listener, address) = bound("api.listen", listeners.api, self.config.listen)?;
        let address = serve(self.api(listener)?, address);
        let operations =
            match optional("operations.listen", listeners.operations, self.plain.operations)? {
                Some((listener, address)) => Some(serve(self.operations(listener)?, address)),
                None => None,
            };
        let distribution =
            match optional("distribution.listen", listeners.distribution, self.plain.distribution)?
            {
                Some((listener, address)) => Some(serve(self.distribution(listener)?, address)),
                None => None,
            };
        let watching = tokio::spawn(tls::watch(Arc::clone(&self.tls)));
        Ok(Running {
            servers,
            current: self.current,
            tls: self.tls,
            watching,
            address,
            operations,
            distribution,
        })
    }

    fn api(&self, listener: TcpListener) -> Result<Server, String> {
        let current = Arc::clone(&self.current);
        let limits = self.limits;
        let workers = workers();
        let server = HttpServer::new(move || {
            let current = Arc::clone(&current);
            App::new().default_service(web::to(move |request: HttpRequest, payload: Payload| {
                let context = current.context();
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
        .listen_rustls_0_23(listener, self.tls.server_config()?)
        .map_err(|error| format!("api.listen: {error}"))?;
        Ok(server.run())
    }

    fn operations(&self, listener: TcpListener) -> Result<Server, String> {
        let current = Arc::clone(&self.current);
        let server = HttpServer::new(move || {
            let current = Arc::clone(&current);
            App::new().default_service(web::to(move |request: HttpRequest| {
                let context = current.context();
                async move { operations_answer(&context, &request).await }
            }))
        })
        .workers(1)
        .client_request_timeout(self.limits.request_head)
        .shutdown_timeout(self.limits.shutdown.as_secs())
        .disable_signals()
        .listen(listener)
        .map_err(|error| format!("operations.listen: {error}"))?;
        Ok(server.run())
    }

    fn distribution(&self, listener: TcpListener) -> Result<Server, String> {
        let current = Arc::clone(&self.current);
        let limits = self.limits;
        let server = HttpServer::new(move || {
            let current = Arc::clone(&current);
            App::new().default_service(web::to(move |request: HttpRequest| {
                let context = current.context();
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
        .listen(listener)
        .map_err(|error| format!("distribution.listen: {error}"))?;
        Ok(server.run())
    }
}

/// A listener, and where it is.
fn bound(
    setting: &str,
    passed: Option<TcpListener>,
    listen: SocketAddr,
) -> Result<(TcpListener, SocketAddr), String> {
    passed
        .map_or_else(|| TcpListener::bind(listen), Ok)
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .map_err(|error| format!("{setting}: {listen}: {error}"))
}

/// A listener that need not be.
fn optional(
    setting: &str,
    passed: Option<TcpListener>,
    listen: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, String> {
    let anywhere = passed.is_some().then_some(SocketAddr::from(([0, 0, 0, 0], 0)));
    listen.or(anywhere).map(|listen| bound(setting, passed, listen)).transpose()
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

/// The HTTP side while it serves.
pub struct Running {
    servers: Vec<ServerHandle>,
    current: Arc<Current>,
    tls: Arc<Tls>,
    watching: JoinHandle<()>,
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where health and readiness are.
    pub operations: Option<SocketAddr>,
    /// Where everyone may fetch.
    pub distribution: Option<SocketAddr>,
}

/// TLS files that were read and fit together.
pub struct NewTls(TlsFiles);

impl NewTls {
    /// Reads the files of a configuration that is to replace the present one.
    ///
    /// # Errors
    /// Names every setting and file that cannot be used.
    pub fn read(config: &ApiConfig) -> Result<Self, Vec<String>> {
        TlsFiles::read(config).map(Self)
    }
}

impl Running {
    /// From the next request on, also of open connections, these count. Requests under way end with
    /// what they began with. Listeners, connections and their times stay as they are.
    pub fn replace(
        &self,
        config: &ApiConfig,
        limits: Limits,
        services: Arc<Services>,
        access: Access,
        tls: NewTls,
    ) {
        self.tls.replace(tls.0);
        self.current.replace(|now| {
            let same_rate =
                limits.client_requests_per_minute == now.limits.client_requests_per_minute;
            let same_room = limits.in_flight_max == now.limits.in_flight_max;
            Context {
                services,
                access,
                limits,
                tls: Arc::clone(&now.tls),
                rates: if same_rate {
                    Arc::clone(&now.rates)
                } else {
                    Arc::new(Rates::per_minute(limits.client_requests_per_minute))
                },
                requests: Arc::clone(&now.requests),
                compat_login: config.compat_login,
                in_flight: if same_room {
                    Arc::clone(&now.in_flight)
                } else {
                    Arc::new(Room::new(limits.in_flight_max))
                },
                runtime: now.runtime.clone(),
                tasks: now.tasks.clone(),
            }
        });
    }

    /// Tells what is switched on at a moment and has no place in production.
    pub fn warnings(&self) -> impl Fn() -> Vec<&'static str> + Send + Sync + 'static {
        let current = Arc::clone(&self.current);
        move || {
            let context = current.context();
            operations::warnings(&context.services, context.compat_login)
        }
    }

    /// Takes no new connection, lets requests in flight end, and then the use cases whose clients
    /// are gone.
    pub async fn stop(self) {
        self.watching.abort();
        let mut stopping = JoinSet::new();
        for server in self.servers {
            stopping.spawn(async move { server.stop(true).await });
        }
        stopping.join_all().await;
        let context = self.current.context();
        context.tasks.close();
        if tokio::time::timeout(context.limits.shutdown, context.tasks.wait()).await.is_err() {
            tracing::error!("work in flight did not end in time");
        }
    }
}
