//! The listeners.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use tokio::{runtime::Handle, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{
    api_config::ApiConfig,
    connection_limit::ConnectionLimit,
    context::Context,
    current::Current,
    dispatch::Listener,
    exchange::Answers,
    heartbeat::Heartbeat,
    in_flight::InFlight,
    limits::Limits,
    listen::Entrance,
    rate::Rates,
    rejected_connections::RejectedConnections,
    request_counter::RequestCounter,
    tally::Tally,
    tls::{Tls, TlsFiles, TlsWatch},
};
use crate::{
    access::Access,
    domain::{client_name::ComparableName, time::Timestamp},
    service::{Services, status::Status},
};

/// The listeners without TLS; each may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlainListeners {
    /// Health and readiness, on loopback.
    pub operations: Option<SocketAddr>,
    /// The socket of the distribution listener.
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

/// Reads the TLS files as the start does. Problems that do not keep the daemon from working are warnings.
///
/// # Errors
/// Names every setting and file that cannot be used.
pub fn check_tls(config: &ApiConfig) -> Result<Vec<String>, Vec<String>> {
    TlsFiles::read(config).map(|files| files.expired_crl(Timestamp::now()).into_iter().collect())
}

/// The subjects of the CAs for clients, each once, `None` for those that cannot be read; none when the
/// files of a configuration cannot be used, which [`check_tls`] tells.
pub fn client_ca_subjects(config: &ApiConfig) -> Vec<Option<ComparableName>> {
    let files = TlsFiles::read(config);
    files.iter().flat_map(TlsFiles::client_ca_subjects).cloned().collect()
}

/// The backlog of `listen`, the same as in the socket units; the kernel may lower it (net.core.somaxconn).
const BACKLOG: i32 = 4_096;

/// How long connections that were taken just before the end have for their handshake and their request.
const LAST_CALL: Duration = Duration::from_millis(200);

/// The HTTP side of the daemon, not yet serving.
pub struct Api {
    config: ApiConfig,
    plain: PlainListeners,
    limits: Limits,
    current: Arc<Current>,
    tls: Arc<Tls>,
    rejected: Arc<RejectedConnections>,
    heartbeat: Arc<Heartbeat>,
    answers: Arc<Answers>,
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
        let rejected = Arc::new(RejectedConnections::new());
        let context = Context {
            services,
            access,
            limits,
            tls: Arc::clone(&tls),
            rejected: Arc::clone(&rejected),
            rates: Arc::new(Rates::per_minute(limits.client_requests_per_minute)),
            tally: Arc::new(Tally::new()),
            requests: Arc::new(RequestCounter::new()),
            compat_login: config.compat_login,
            in_flight: Arc::new(InFlight::new(limits.in_flight_max)),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        };
        let current = Arc::new(Current::new(context));
        let (heartbeat, answers) = (Arc::default(), Arc::default());
        Ok(Self { config, plain, limits, current, tls, rejected, heartbeat, answers })
    }

    /// Binds the listeners that are not there yet, and starts to serve.
    ///
    /// # Errors
    /// Names the setting that cannot be used: an address in use.
    pub fn start(self, listeners: Listeners) -> Result<Running, String> {
        let mut servers = Vec::new();
        let mut serve = |entrance: Entrance, listener| {
            let server = entrance.serve(listener)?;
            servers.push(server.handle());
            tokio::spawn(server);
            Ok::<_, String>(())
        };
        let (listener, address) = bound("api.listen", listeners.api, self.config.listen)?;
        serve(self.api()?, listener)?;
        let mut serve_plain = |entrance: Entrance, passed, listen| {
            let Some((listener, address)) = optional(entrance.setting, passed, listen)? else {
                return Ok::<_, String>(None);
            };
            serve(entrance, listener)?;
            Ok(Some(address))
        };
        let operations =
            serve_plain(self.operations(), listeners.operations, self.plain.operations)?;
        let distribution =
            serve_plain(self.distribution(), listeners.distribution, self.plain.distribution)?;
        Ok(Running {
            servers,
            current: self.current,
            tls: self.tls,
            heartbeat: self.heartbeat,
            address,
            operations,
            distribution,
        })
    }

    /// A listener with a connection limit of its own, so that unauthenticated connections to one listener take
    /// none of another.
    fn entrance(&self, setting: &'static str, listener: Listener) -> Entrance {
        Entrance {
            setting,
            workers: 1,
            tls: None,
            limits: self.limits,
            connection_limit: ConnectionLimit::new(self.limits.connections_max),
            rejected: Arc::clone(&self.rejected),
            heartbeat: Arc::clone(&self.heartbeat),
            current: Arc::clone(&self.current),
            answers: Arc::clone(&self.answers),
            listener,
        }
    }

    fn api(&self) -> Result<Entrance, String> {
        let tls = TlsAcceptor::from(Arc::new(self.tls.server_config()?));
        let entrance = self.entrance("api.listen", Listener::Api);
        Ok(Entrance { workers: workers(), tls: Some(tls), ..entrance })
    }

    fn operations(&self) -> Entrance {
        self.entrance("operations.listen", Listener::Operations)
    }

    fn distribution(&self) -> Entrance {
        self.entrance("distribution.listen", Listener::Distribution)
    }
}

/// A listener, and where it is.
fn bound(
    setting: &str,
    passed: Option<TcpListener>,
    listen: SocketAddr,
) -> Result<(TcpListener, SocketAddr), String> {
    let bind = || {
        let listener = TcpListener::bind(listen)?;
        // A burst of connections waits in the backlog. A SYN that finds no room is sent again a second later.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    passed
        .map_or_else(bind, Ok)
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

/// Handshakes and parsing; the use cases run elsewhere.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The HTTP side while it serves.
pub struct Running {
    servers: Vec<ServerHandle>,
    current: Arc<Current>,
    tls: Arc<Tls>,
    heartbeat: Arc<Heartbeat>,
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
                rejected: Arc::clone(&now.rejected),
                rates: if same_rate {
                    Arc::clone(&now.rates)
                } else {
                    Arc::new(Rates::per_minute(limits.client_requests_per_minute))
                },
                tally: Arc::clone(&now.tally),
                requests: Arc::clone(&now.requests),
                compat_login: config.compat_login,
                in_flight: if same_room {
                    Arc::clone(&now.in_flight)
                } else {
                    Arc::new(InFlight::new(limits.in_flight_max))
                },
                runtime: now.runtime.clone(),
                tasks: now.tasks.clone(),
            }
        });
    }

    /// Whether the event loops of the listeners turn.
    pub fn heartbeat(&self) -> Arc<Heartbeat> {
        Arc::clone(&self.heartbeat)
    }

    /// Watches the TLS files.
    pub fn tls_watch(&self) -> TlsWatch {
        TlsWatch::new(Arc::clone(&self.tls))
    }

    /// What requests are judged by, which has the counts of answers.
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// Reads the status of the appliance, from memory alone.
    pub fn status(&self) -> impl Fn() -> Status + Send + Sync + 'static {
        let current = Arc::clone(&self.current);
        move || {
            let context = current.context();
            context.services.status(context.front())
        }
    }

    /// Takes no new connection, lets requests in flight end, and then the use cases whose clients
    /// are gone.
    pub async fn stop(self) {
        for server in &self.servers {
            server.pause().await;
        }
        tokio::time::sleep(LAST_CALL).await;
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
        self.current.log_public_answers();
        self.current.log_answers().await;
    }
}
