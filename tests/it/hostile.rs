//! Clients by the hundred and thousand that take connections and do nothing good with them, and one that
//! means well beside them.

pub mod frames;
mod held;

use std::{
    fs,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    time::sleep,
};
use tokio_rustls::TlsConnector;

use crate::{
    appliance::{Appliance, Daemon, SOON, until},
    metrics::{read, scrape},
    support::{Raw, leaf, tls_of},
};

/// Where the crowd comes from; the others are 127.0.0.1.
const CROWD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A request is answered within this time, whoever else is there.
const PROMPTLY: Duration = Duration::from_secs(2);
const OCTET_EVERY: Duration = Duration::from_millis(200);
/// Half a ClientHello.
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00";

/// A connection from an address, with a small buffer for what is not read.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Clients that come at once, and stay until they are sent away.
struct Crowd {
    runtime: Runtime,
    /// Those that have still to begin.
    coming: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many, each of which does the same after it has connected.
    fn gather<F>(
        size: usize,
        to: SocketAddr,
        behave: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send,
    {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (coming, open) = (Arc::new(AtomicUsize::new(size)), Arc::default());
        let behave = Arc::new(behave);
        for _ in 0..size {
            let (coming, open, behave) =
                (Arc::clone(&coming), Arc::<AtomicUsize>::clone(&open), Arc::clone(&behave));
            runtime.spawn(async move {
                let connected = connect(CROWD, to).await;
                open.fetch_add(1, Ordering::SeqCst);
                coming.fetch_sub(1, Ordering::SeqCst);
                if let Ok(stream) = connected {
                    // However it ends, it has ended.
                    let _ = behave(stream).await;
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
        Self { runtime, coming, open }
    }

    /// Waits until all have come.
    fn has_come(&self) {
        let come = || (self.coming.load(Ordering::SeqCst) == 0).then_some(());
        until(SOON, come).expect("the crowd has not come");
    }

    /// Those that were not sent away.
    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn leaves(self) {
        self.runtime.shutdown_timeout(SOON);
    }
}

/// Reads until the other end closes.
async fn wait_for_the_end(mut stream: impl AsyncRead + Unpin) -> std::io::Result<()> {
    let mut octets = [0; 1_024];
    while stream.read(&mut octets).await? > 0 {}
    Ok(())
}

/// Sends octet after octet, for ever, of what never ends.
async fn drip(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    beginning: &[u8],
) -> std::io::Result<()> {
    stream.write_all(beginning).await?;
    loop {
        stream.write_all(b"x").await?;
        stream.flush().await?;
        sleep(OCTET_EVERY).await;
    }
}

/// Connects with TLS from where the crowd is, if it is let in.
async fn greet(
    stream: TcpStream,
    tls: Arc<ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    TlsConnector::from(tls).connect("localhost".try_into().unwrap(), stream).await
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

fn resident_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What a daemon has while nobody is there.
struct Rest {
    descriptors: usize,
    resident_kib: u64,
}

impl Rest {
    fn of(daemon: &Daemon) -> Self {
        Self { descriptors: descriptors(daemon), resident_kib: resident_kib(daemon) }
    }

    /// Waits until it has that again: descriptors are closed, memory did not go up with the crowd.
    #[track_caller]
    fn comes_back(&self, daemon: &Daemon) {
        self.comes_back_but_for(daemon, 48 * 1_024);
    }

    /// The allocator keeps some of what its threads have freed.
    #[track_caller]
    fn comes_back_but_for(&self, daemon: &Daemon, kib: u64) {
        // The connection that the test's own client keeps.
        let back = || (descriptors(daemon) <= self.descriptors + 2).then_some(());
        assert!(until(SOON, back).is_some(), "{} of {}", descriptors(daemon), self.descriptors);
        // The allocator gives back when it is asked for something.
        let more = || resident_kib(daemon).saturating_sub(self.resident_kib);
        let small = until(SOON, || {
            scrape(daemon);
            (more() < kib).then_some(())
        });
        println!("{} KiB more than before", more());
        assert!(small.is_some(), "{} KiB more", more());
    }
}

/// Sends on a new connection each time; the longest that an answer took.
fn longest(times: usize, mut ask: impl FnMut()) -> Duration {
    let took = (0..times).map(|_| {
        let asked = Instant::now();
        ask();
        asked.elapsed()
    });
    took.max().unwrap()
}

/// Whether a certificate comes over a new connection before the daemon's own deadlines for it.
fn is_served(appliance: &Appliance, daemon: &Daemon, certificate: &Path) -> bool {
    let client = daemon.client_with(appliance, certificate);
    let answer = client.try_issue("certificate", &leaf("leaf-secp256r1", "Leaf"));
    answer.is_ok_and(|answer| answer.status == 200)
}

/// A certificate over a new connection.
fn issues(appliance: &Appliance, daemon: &Daemon, certificate: &Path) {
    let client = daemon.client_with(appliance, certificate);
    client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).ok();
}

#[test]
fn two_thousand_that_do_not_end_the_handshake_keep_nobody_out() {
    let appliance = Appliance::new();
    // Only the door can help: no deadline does.
    appliance.declare("[limits]\nconnections_max = 128\nhandshake_ms = 600000");
    let daemon = appliance.start();
    let demo = appliance.path("pki/client");
    issues(&appliance, &daemon, &demo);
    let rest = Rest::of(&daemon);
    let number = AtomicUsize::new(0);
    let crowd = Crowd::gather(2_000, daemon.api, move |mut stream| {
        let says_something = number.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        async move {
            if says_something {
                stream.write_all(HALF_HELLO).await?;
            }
            wait_for_the_end(stream).await
        }
    });
    let meanwhile = longest(10, || issues(&appliance, &daemon, &demo));
    crowd.has_come();
    let there = || descriptors(&daemon) - rest.descriptors;
    until(SOON, || (there() <= 128).then_some(())).expect("all of the crowd is there");
    let took = longest(20, || issues(&appliance, &daemon, &demo));
    println!("longest: {meanwhile:?} while they came, {took:?} while they were there");
    assert!(meanwhile < PROMPTLY && took < PROMPTLY);
    assert!(there() > 100, "the test is none: {} are there", there());
    // One that means well may come from where they come from.
    let tls = tls_of(&appliance, &demo);
    let answer = crowd.runtime.block_on(async {
        let mut stream = greet(connect(CROWD, daemon.api).await?, tls).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    });
    assert_eq!(&answer.unwrap(), b"HTTP/1.1 200");
    crowd.leaves();
    rest.comes_back(&daemon);
}

#[test]
fn who_does_not_end_the_handshake_in_time_is_sent_away() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nhandshake_ms = 700");
    let daemon = appliance.start();
    let rest = Rest::of(&daemon);
    let crowd = Crowd::gather(500, daemon.api, |mut stream| async move {
        stream.write_all(HALF_HELLO).await?;
        wait_for_the_end(stream).await
    });
    crowd.has_come();
    until(SOON, || (crowd.open() == 0).then_some(())).expect("some are there");
    rest.comes_back(&daemon);
    let refused =
        read(&scrape(&daemon)).0["chancery_connections_refused_total{cause=\"handshake\"}"];
    assert_eq!(refused, 500.0);
}

#[test]
fn a_thousand_slow_heads_keep_nobody_from_the_listeners_without_tls() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nconnections_max = 64\nrequest_head_ms = 600000");
    let daemon = appliance.start();
    let rest = Rest::of(&daemon);
    for url in [&daemon.operations, &daemon.distribution] {
        let crowd = Crowd::gather(1_000, url["http://".len()..].parse().unwrap(), |stream| {
            drip(stream, b"GET /healthz HTTP/1.1\r\nhost: ")
        });
        let ask = || {
            let within = ureq::Agent::config_builder().timeout_global(Some(SOON)).build();
            let answer = within.new_agent().get(format!("{url}/none")).call();
            assert!(matches!(answer, Err(ureq::Error::StatusCode(404))), "{answer:?}");
        };
        let meanwhile = longest(10, ask);
        crowd.has_come();
        let there = || descriptors(&daemon) - rest.descriptors;
        until(SOON, || (there() <= 64).then_some(())).expect("all of the crowd is there");
        let took = longest(20, ask);
        println!("{url}, longest: {meanwhile:?}, {took:?}");
        assert!(meanwhile < PROMPTLY && took < PROMPTLY);
        assert!(there() > 40, "the test is none: {} are there", there());
        crowd.leaves();
    }
    rest.comes_back(&daemon);
}

#[test]
fn no_certificate_has_all_connections_whatever_it_does_with_them() {
    let appliance = Appliance::new();
    appliance.declare(
        "[limits]\nconnections_max = 64\nrequest_head_ms = 600000\nrequest_body_ms = 600000\n\
         idle_ms = 600000",
    );
    let other = appliance.add_client("other", &[("test", &["issue:generic"])]);
    let daemon = appliance.start();
    let rest = Rest::of(&daemon);
    let number = AtomicUsize::new(0);
    let tls = tls_of(&appliance, &appliance.path("pki/client"));
    let crowd = Crowd::gather(300, daemon.api, move |stream| {
        let (tls, manner) = (Arc::clone(&tls), number.fetch_add(1, Ordering::Relaxed) % 4);
        async move {
            let mut stream = greet(stream, tls).await?;
            match manner {
                0 => drip(stream, b"GET /healthz HTTP/1.1\r\nhost: ").await,
                // The body of a route that reads it.
                1 => drip(stream, SLOW_BODY).await,
                // The answer stays where it is: there is no room for it at this end.
                2 => {
                    stream.write_all(LARGE_ANSWER).await?;
                    std::future::pending().await
                }
                _ => wait_for_the_end(stream).await,
            }
        }
    });
    crowd.has_come();
    let there = || descriptors(&daemon) - rest.descriptors;
    until(SOON, || (there() <= 48).then_some(()))
        .expect("more of the crowd than its share is there");
    let took = longest(20, || issues(&appliance, &daemon, &other));
    println!("longest: {took:?}, {} are there", there());
    assert!(took < PROMPTLY, "{took:?}");
    assert!(there() > 40, "the test is none: {} are there", there());
    crowd.leaves();
    rest.comes_back(&daemon);
    issues(&appliance, &daemon, &appliance.path("pki/client"));
}

const SLOW_BODY: &[u8] =
    b"POST /v1/test.tenant1.x509-service-1/x509-service-api/certificate HTTP/1.1\r\n\
    host: x\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n";
const LARGE_ANSWER: &[u8] = b"GET /swagger/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n";

/// Requests that stay unfinished after one that was served, and an answer that is not taken.
#[test]
fn a_connection_of_no_use_is_closed_in_time_whatever_it_is_kept_busy_with() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nidle_ms = 700\nrequest_body_ms = 700");
    let daemon = appliance.start();
    let rest = Rest::of(&daemon);
    let number = AtomicUsize::new(0);
    let tls = tls_of(&appliance, &appliance.path("pki/client"));
    let crowd = Crowd::gather(200, daemon.api, move |stream| {
        let (tls, manner) = (Arc::clone(&tls), number.fetch_add(1, Ordering::Relaxed) % 4);
        async move {
            let mut stream = greet(stream, tls).await?;
            let healthz = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: ";
            match manner {
                0 => drip(stream, healthz.as_bytes()).await,
                1 => drip(stream, SLOW_BODY).await,
                2 => {
                    stream.write_all(LARGE_ANSWER).await?;
                    // As slow as can be; the end comes in the middle.
                    while stream.read_u8().await.is_ok() {
                        sleep(OCTET_EVERY).await;
                    }
                    Ok(())
                }
                _ => wait_for_the_end(stream).await,
            }
        }
    });
    crowd.has_come();
    let closed = until(SOON, || (descriptors(&daemon) <= rest.descriptors + 2).then_some(()));
    assert!(closed.is_some(), "{} of {}", descriptors(&daemon), rest.descriptors);
    crowd.leaves();
    rest.comes_back(&daemon);
    // A request that takes its time is of use.
    let mut raw = Raw::demo(&appliance, &daemon);
    raw.write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(raw.answer().0, 200);
}

#[test]
fn a_scanner_fills_no_log_and_reads_nothing_in_it() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let before = daemon.log().lines().count();
    let crowd = Crowd::gather(1_000, daemon.api, |mut stream| async move {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: PRIVATE KEY\r\n\r\n").await?;
        wait_for_the_end(stream).await
    });
    crowd.has_come();
    until(SOON, || (crowd.open() == 0).then_some(())).expect("some are there");
    let tls = appliance.shell(&format!(
        "cd pki; for i in $(seq 20); do openssl s_client -connect {} </dev/null >/dev/null 2>&1 || true; done",
        daemon.api
    ));
    assert_eq!(tls, "");
    let refused =
        read(&scrape(&daemon)).0["chancery_connections_refused_total{cause=\"handshake\"}"];
    assert_eq!(refused, 1_020.0);
    for number in 0..200 {
        let answer = ureq::get(format!("{}/v1/{number}", daemon.distribution)).call();
        assert!(matches!(answer, Err(ureq::Error::StatusCode(404))), "{answer:?}");
    }
    let log = daemon.log();
    let more: Vec<_> = log.lines().skip(before).filter(|line| line.contains("refused")).collect();
    assert!((1..=3).contains(&more.len()), "{more:#?}");
    assert!(more[0].contains("from=127.0.0.2:") && more[0].contains("handshake: "), "{more:#?}");
    assert!(log.lines().count() <= before + 5, "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");
}
