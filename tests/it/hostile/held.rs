//! What a crowd can make the daemon hold, under the memory and descriptor limits of its unit: so much for
//! each connection, whatever it is used for, and all of it is given back.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    Crowd, HALF_HELLO, OCTET_EVERY, Rest, SLOW_BODY,
    frames::{
        CONTINUATION, DATA, EMPTY_TABLE, END_HEADERS, END_STREAM, HEADERS, NEWEST, PING, PRIORITY,
        RST_STREAM, SETTINGS, STATIC, UNKNOWN, WINDOW, WINDOW_UPDATE, acknowledgement, field,
        frame, preface, request, setting,
    },
    greet, is_served, issues, longest, resident_kib,
};
use crate::{
    appliance::{Appliance, Daemon, binary, until},
    support::tls_of,
};

/// As many as a listener takes.
const CROWD: usize = 1_024;
/// What each costs shows with fewer, too, and a program without optimisations takes minutes to decode the
/// heads and to encrypt the answers of more.
const CROWD_OVER_HTTP2: usize = 256;
/// What a connection may cost.
const KIB_EACH: u64 = 256;
/// What large answers may cost beside, all of them together: `ANSWERS_OCTETS_MAX`.
const KIB_OF_ANSWERS: u64 = 64 * 1_024;
/// What stays of that in the allocator when all are gone.
const KIB_KEPT: u64 = 128 * 1_024;
/// A certificate for a proper client. A program without optimisations serves what a thousand connections
/// have sent ten times as slowly, and those are served in turn.
const PROMPTLY: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
/// A thousand handshakes, both ends of them on one machine.
const COMING: Duration = Duration::from_secs(120);

/// A daemon with the limits that `systemd/chancery.service` sets.
struct Unit {
    crowd: usize,
    appliance: Appliance,
    daemon: Daemon,
    other: PathBuf,
}

impl Unit {
    fn new(crowd: usize) -> Self {
        let unit =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/chancery.service"))
                .unwrap();
        assert!(unit.contains("\nLimitDATA=1G\n") && unit.contains("\nLimitNOFILE=8192\n"));
        let appliance = Appliance::new();
        let other = appliance.add_client("other", &[("test", &["issue:generic"])]);
        appliance.add_client("nobody", &[]);
        // From its start on, as systemd does: the allocator goes by what it is given then.
        let program = appliance.path("limited");
        let script = format!("#!/bin/sh\nulimit -d 1048576 -n 8192\nexec {} \"$@\"\n", binary());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = appliance.start_program(&program);
        issues(&appliance, &daemon, &other);
        Self { crowd, appliance, daemon, other }
    }

    /// A crowd sends the same, and reads nothing; meanwhile a proper client is served, and it is told
    /// what it costs.
    fn stands(&self, what: &str, to: SocketAddr, tls: Option<Arc<ClientConfig>>, octets: Vec<u8>) {
        let rest = Rest::of(&self.daemon);
        let (octets, greeted) = (Arc::<[u8]>::from(octets), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&greeted);
        let crowd = Crowd::gather(self.crowd, to, move |stream| {
            let (tls, octets, greeted) = (tls.clone(), Arc::clone(&octets), Arc::clone(&count));
            async move {
                let Some(tls) = tls else {
                    greeted.fetch_add(1, Ordering::SeqCst);
                    return push(stream, &octets).await;
                };
                let stream = greet(stream, tls).await;
                greeted.fetch_add(1, Ordering::SeqCst);
                push(stream?, &octets).await
            }
        });
        crowd.has_come();
        until(COMING, || (greeted.load(Ordering::SeqCst) == self.crowd).then_some(()))
            .unwrap_or_else(|| panic!("{what}: the crowd has not come"));
        let mut most = 0;
        let settled = until(COMING, || {
            let before = most;
            // While a program without optimisations decodes what all of the crowd have sent, a handshake may
            // last longer than it may.
            let is_served = is_served(&self.appliance, &self.daemon, &self.other);
            std::thread::sleep(OCTET_EVERY);
            most = most.max(resident_kib(&self.daemon));
            (is_served && most == before).then_some(())
        });
        settled.unwrap_or_else(|| panic!("{what}: {most} KiB, and more and more"));
        let took = longest(10, || issues(&self.appliance, &self.daemon, &self.other));
        most = most.max(resident_kib(&self.daemon));
        let more = most.saturating_sub(rest.resident_kib);
        println!("{what}: {more} KiB more, {} are there, longest {took:?}", crowd.open());
        crowd.leaves();
        rest.comes_back_but_for(&self.daemon, KIB_KEPT);
        let most = KIB_EACH * self.crowd as u64 + KIB_OF_ANSWERS;
        assert!(more < most, "{what}: {more} KiB");
        assert!(took < PROMPTLY, "{what}: {took:?}");
    }

    fn tls(&self, name: &str) -> Arc<ClientConfig> {
        tls_of(&self.appliance, &self.appliance.path("pki").join(name))
    }

    fn tls_http2(&self, name: &str) -> Arc<ClientConfig> {
        let mut tls = (*self.tls(name)).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(tls)
    }
}

/// Sends all that it can and reads nothing, and stays.
async fn push(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    octets: &[u8],
) -> std::io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await?;
    std::future::pending().await
}

fn http(url: &str) -> SocketAddr {
    url["http://".len()..].parse().unwrap()
}

fn heads(path: &str, number: usize) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(number).into_bytes()
}

/// What clients may send over HTTP/1.1 without reading, or without ending it.
fn http1() -> Vec<(&'static str, Vec<u8>)> {
    let post =
        "POST /v1/test.tenant1.x509-service-1/x509-service-api/certificate HTTP/1.1\r\nhost: x\r\n";
    vec![
        ("unread answers", heads("/v1/test.tenant1.vical/vical-service-api/latest", 20_000)),
        ("unread answers of no route", heads("/", 100_000)),
        ("the shortest heads", b"GET / HTTP/1.1\n\n".repeat(100_000)),
        ("unread figures", heads("/metrics", 5_000)),
        ("unread large answers", heads("/openapi.json", 200)),
        ("half a body", SLOW_BODY.to_vec()),
        ("a body without the last octet", [SLOW_BODY, &[b' '; 59_999]].concat()),
        (
            "bodies that nobody wants",
            format!("POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n{:60000}", "")
                .repeat(50)
                .into_bytes(),
        ),
        (
            "a chunked body with heads in it",
            format!("{post}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
                .into_bytes()
                .into_iter()
                .chain(b"1\r\n\n\r\n".repeat(10_000))
                .chain(*b"0\r\n\r\n")
                .chain(heads("/", 20_000))
                .collect(),
        ),
        (
            "a head of 60 KB without an end",
            format!("GET / HTTP/1.1\r\nx: {:a>60000}", "").into_bytes(),
        ),
        (
            "a head that never ends",
            format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(9_000_000)).into_bytes(),
        ),
        (
            "a thousand fields",
            format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(1_000)).into_bytes(),
        ),
        ("empty lines", b"\r\n".repeat(200_000)),
    ]
}

#[test]
fn a_connection_without_tls_makes_nobody_hold_more_than_its_share() {
    let unit = Unit::new(CROWD);
    let listeners = [&unit.daemon.distribution, &unit.daemon.operations];
    for ((what, octets), listener) in http1().into_iter().zip(listeners.into_iter().cycle()) {
        unit.stands(what, http(listener), None, octets);
    }
}

#[test]
fn a_connection_of_a_client_without_grants_makes_nobody_hold_more_than_its_share() {
    let unit = Unit::new(CROWD);
    unit.stands("half a handshake", unit.daemon.api, None, HALF_HELLO.to_vec());
    for (what, octets) in http1() {
        unit.stands(what, unit.daemon.api, Some(unit.tls("nobody")), octets);
    }
}

/// Streams that are odd, and rise.
fn stream(index: usize) -> u32 {
    u32::try_from(2 * index + 1).unwrap()
}

fn head(flags: u8, index: usize, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream(index), block)
}

/// What clients may send over HTTP/2 that have not acknowledged the SETTINGS, so that there is a table of
/// header fields.
fn http2_unsettled() -> Vec<(&'static str, Vec<u8>)> {
    let (get, post) = (request("GET", "/"), request("POST", "/"));
    let whole = END_HEADERS | END_STREAM;
    let bomb = field("x", &"a".repeat(3_900), true);
    let bombs = |ending: u8| -> Vec<u8> {
        let first = head(whole, 0, &[get.clone(), bomb.clone()].concat());
        let others = (1..600)
            .map(|index| head(ending, index, &[post.clone(), vec![NEWEST; 4_000]].concat()));
        std::iter::once(first).chain(others).flatten().collect()
    };
    // Each entry is in a buffer of its own.
    let entries: Vec<_> = (0..500)
        .flat_map(|index| {
            let kept = field("x", &format!("{index}"), true);
            let block = [get.clone(), field("y", &"a".repeat(8_000), false), kept].concat();
            [head(END_HEADERS, index, &block), frame(DATA, 0, stream(index), &[b' '; 500])].concat()
        })
        .collect();
    vec![
        ("header bombs", bombs(whole)),
        ("header bombs that have bodies to come", bombs(END_HEADERS)),
        ("entries that keep buffers", entries.clone()),
        ("entries of who acknowledges", [acknowledgement(), entries].concat()),
        ("heads of who does not acknowledge", {
            (0..20_000).flat_map(|index| head(whole, index, &get)).collect()
        }),
    ]
}

/// What clients may send over HTTP/2.
fn http2() -> Vec<(&'static str, Vec<u8>)> {
    // The table is emptied by each, because one is the first.
    let emptied = |request| [vec![EMPTY_TABLE], request].concat();
    let get = |path: &str| emptied(request("GET", path));
    let post =
        emptied(request("POST", "/v1/test.tenant1.x509-service-1/x509-service-api/certificate"));
    let json = [post.clone(), field("content-type", "application/json", false)].concat();
    let whole = END_HEADERS | END_STREAM;
    let many = |number: usize, of: &dyn Fn(usize) -> Vec<u8>| -> Vec<u8> {
        (0..number).flat_map(of).collect()
    };
    let no_window = setting(WINDOW, 0);
    vec![
        (
            "heads of as much as there may be",
            many(50, &|index| {
                let large = field("x", &"a".repeat(15_000), false);
                let more = |flags| frame(CONTINUATION, flags, stream(index), &large);
                [head(0, index, &post), more(0).repeat(3), more(END_HEADERS)].concat()
            }),
        ),
        (
            "a thousand cookies each",
            many(200, &|index| {
                head(
                    END_HEADERS,
                    index,
                    &[post.clone(), field("cookie", "a", false).repeat(1_000)].concat(),
                )
            }),
        ),
        (
            "a head that never ends",
            [
                head(0, 0, &get("/")),
                frame(CONTINUATION, 0, 1, &field("x", "a", false).repeat(1_000)).repeat(1_000),
            ]
            .concat(),
        ),
        (
            "empty continuations",
            [head(0, 0, &get("/")), frame(CONTINUATION, 0, 1, &[]).repeat(100_000)].concat(),
        ),
        (
            "requests taken back at once",
            many(20_000, &|index| {
                [
                    head(whole, index, &get("/openapi.json")),
                    frame(RST_STREAM, 0, stream(index), &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
        ("more streams than there may be", many(5_000, &|index| head(END_HEADERS, index, &json))),
        ("unread answers", many(5_000, &|index| head(whole, index, &get("/v1/none")))),
        (
            "unread large answers",
            many(100, &|index| head(whole, index, &get("/swagger/swagger-ui-bundle.js"))),
        ),
        (
            "answers without a window",
            [no_window, many(100, &|index| head(whole, index, &get("/openapi.json")))].concat(),
        ),
        (
            "bodies without an end",
            many(100, &|index| {
                [head(END_HEADERS, index, &json), frame(DATA, 0, stream(index), &[b' '; 650])]
                    .concat()
            }),
        ),
        (
            "bodies of many small parts",
            [
                many(100, &|index| head(END_HEADERS, index, &json)),
                many(100, &|index| frame(DATA, 0, stream(index), b" ").repeat(200)),
            ]
            .concat(),
        ),
        (
            "trailers without an end of requests",
            many(100, &|index| {
                [
                    head(END_HEADERS, index, &json),
                    frame(DATA, 0, stream(index), b" "),
                    head(whole, index, &[STATIC; 900]),
                ]
                .concat()
            }),
        ),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(200_000)),
        ("settings", frame(SETTINGS, 0, 0, &[]).repeat(200_000)),
        ("unknown frames", frame(UNKNOWN, 0, 0, &[0; 8]).repeat(200_000)),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(200_000)),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]).repeat(200_000)),
        (
            "empty DATA",
            [head(END_HEADERS, 0, &json), frame(DATA, 0, 1, &[]).repeat(200_000)].concat(),
        ),
        (
            "small DATA for a request that was answered",
            [head(END_HEADERS, 0, &get("/v1/none")), frame(DATA, 0, 1, b" ").repeat(50_000)]
                .concat(),
        ),
        ("no request", Vec::new()),
    ]
}

#[test]
fn a_connection_over_http2_makes_nobody_hold_more_than_its_share() {
    let unit = Unit::new(CROWD_OVER_HTTP2);
    let rows = http2_unsettled().into_iter();
    let settled = http2().into_iter();
    let rows =
        rows.chain(settled.map(|(what, octets)| (what, [acknowledgement(), octets].concat())));
    for (what, octets) in rows {
        let octets = [preface(), octets].concat();
        unit.stands(what, unit.daemon.api, Some(unit.tls_http2("client")), octets);
    }
}
