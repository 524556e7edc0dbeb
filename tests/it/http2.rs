//! HTTP/2 as clients meet it: answers that come before the body was read, "100 Continue", how many
//! streams there may be, and how a connection ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

use crate::{
    appliance::{Appliance, Daemon, SERVICE, SOON},
    hostile::frames,
    support::{Raw, leaf, tls_of},
};

/// Runs on a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, test).await.expect("it took too long") })
}

/// A connection for HTTP/2, of which nothing was used yet.
async fn greet(appliance: &Appliance, daemon: &Daemon) -> TlsStream<tokio::net::TcpStream> {
    let mut tls = (*tls_of(appliance, &appliance.path("pki/client"))).clone();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(daemon.api).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

/// A connection, and what becomes of it.
async fn connect(
    appliance: &Appliance,
    daemon: &Daemon,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = greet(appliance, daemon).await;
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header("content-type", "application/json")
        .body(())
        .unwrap()
}

async fn read(answer: Response<h2::RecvStream>) -> (u16, Vec<u8>) {
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut octets = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        octets.extend_from_slice(&chunk);
    }
    (status, octets)
}

/// What is decided before a body is read, with curl's options for it.
fn early() -> Vec<(&'static str, String, &'static str, u16)> {
    let store = "/v1/test.tenant1.x509-store-1/x509-store-api/certificates";
    let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
    vec![
        ("PUT", "/none".to_owned(), "client", 404),
        ("POST", "/none".to_owned(), "client", 404),
        ("DELETE", "/none".to_owned(), "client", 404),
        ("PATCH", "/none".to_owned(), "client", 404),
        ("PUT", "/healthz".to_owned(), "client", 405),
        ("DELETE", issue.clone(), "client", 405),
        ("PUT", store.to_owned(), "client", 405),
        ("POST", issue.clone(), "nobody", 403),
        ("PUT", issue.clone(), "nobody", 403),
        ("DELETE", store.to_owned(), "nobody", 403),
        ("POST", issue.clone(), "stray", 401),
        ("DELETE", issue, "stray", 401),
    ]
}

#[test]
fn an_answer_before_the_end_of_the_body_arrives_whole() {
    let appliance = Appliance::new();
    appliance.add_client("nobody", &[]);
    appliance.client_certificate("stray", "/CN=stray", "-days 2");
    let daemon = appliance.start();
    for octets in [1, 100, 3_000, 65_536, 65_537, 300_000, 3_000_000] {
        std::fs::write(appliance.path(&format!("body-{octets}")), " ".repeat(octets)).unwrap();
    }
    let mut wrong = Vec::new();
    for version in ["--http1.1", "--http2"] {
        for (method, path, certificate, status) in early() {
            for octets in [1, 100, 3_000, 65_536, 300_000, 3_000_000] {
                for more in ["-H 'expect:'", "-H 'transfer-encoding: chunked' -H 'expect:'"] {
                    if version == "--http2" && more.contains("chunked") {
                        continue;
                    }
                    let said = appliance.shell(&format!(
                        "cd pki; curl -sS {version} --cacert server-ca.pem --cert {certificate}.pem \
                         --key {certificate}.key -X {method} {more} -H 'content-type: application/json' \
                         --data-binary @../body-{octets} -w ' %{{http_code}}' '{}{path}' 2>&1 || true",
                        daemon.url
                    ));
                    let whole =
                        said.contains("\"requestId\"") && said.ends_with(&format!("}} {status}"));
                    if !whole {
                        wrong.push(format!("{version} {method} {path} {octets} {more}: {said}"));
                    }
                }
            }
        }
        let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
        for (octets, kind, status) in
            [(65_537, "json", 413), (3_000_000, "json", 413), (3_000, "xml", 415)]
        {
            let said = appliance.shell(&format!(
                "cd pki; curl -sS {version} --cacert server-ca.pem --cert client.pem --key client.key \
                 -H 'expect:' -H 'content-type: application/{kind}' --data-binary @../body-{octets} \
                 -w ' %{{http_code}}' '{}{issue}' 2>&1 || true",
                daemon.url
            ));
            if !said.ends_with(&format!("}} {status}")) {
                wrong.push(format!("{version} {octets} {kind}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn who_expects_100_continue_gets_it_or_the_final_status_at_once() {
    let appliance = Appliance::new();
    appliance.add_client("nobody", &[]);
    let daemon = appliance.start();
    let body = leaf("leaf-secp256r1", "Leaf").to_string();
    std::fs::write(appliance.path("body"), &body).unwrap();
    std::fs::write(appliance.path("large"), " ".repeat(70_000)).unwrap();
    let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
    for version in ["--http1.1", "--http2"] {
        for (path, certificate, body, status) in [
            (issue.as_str(), "client", "body", 200),
            (&issue, "client", "large", 413),
            (&issue, "nobody", "body", 403),
            ("/none", "client", "body", 404),
            ("/healthz", "client", "body", 405),
        ] {
            let asked = Instant::now();
            let said = appliance.shell(&format!(
                "cd pki; curl -sS {version} --expect100-timeout 60 -H 'Expect: 100-continue' \
                 --cacert server-ca.pem --cert {certificate}.pem --key {certificate}.key \
                 -H 'content-type: application/json' --data-binary @../{body} -o /dev/null \
                 -w '%{{http_code}}' '{}{path}' 2>&1 || true",
                daemon.url
            ));
            assert_eq!(said, status.to_string(), "{version} {path} {certificate} {body}");
            assert!(asked.elapsed() < Duration::from_secs(30), "{version} {path}");
        }
    }
    // Over HTTP/1.1, octet by octet: "100 Continue" only for a body that somebody wants.
    for (length, path, first) in [
        (70_000, issue.as_str(), "http/1.1 413"),
        (body.len(), &issue, "http/1.1 100"),
        (body.len(), "/none", "http/1.1 404"),
    ] {
        let mut raw = Raw::demo(&appliance, &daemon);
        raw.write(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        ));
        let (status, head, _) = raw.answer();
        assert!(head.starts_with(first), "{length} {path}: {head}");
        if status == 100 {
            raw.write(&body);
            assert_eq!(raw.answer().0, 200);
        }
    }
}

#[test]
fn a_hundred_requests_at_a_time_are_served_with_bodies_of_any_size() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let path = format!("/v1/{SERVICE}/x509-service-api/csrs");
    run(async {
        let (sender, _) = connect(&appliance, &daemon).await;
        let mut sender = sender.ready().await.unwrap();
        // The settings of the other end have come with its first answer.
        let (answer, _) = sender.send_request(request("GET", "/healthz"), true).unwrap();
        assert_eq!(read(answer.await.unwrap()).await.0, 200);
        assert_eq!(sender.current_max_send_streams(), 100);
        let mut sent = Vec::new();
        for index in 0..100 {
            let octets = [300, 3_000, 60_000][index % 3];
            let (answer, mut body) = sender.send_request(request("POST", &path), false).unwrap();
            sent.push(tokio::spawn(async move {
                let mut left = Bytes::from(vec![b' '; octets]);
                while !left.is_empty() {
                    body.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap();
                    let part = left.split_to(room.unwrap().min(left.len()));
                    body.send_data(part, false).unwrap();
                }
                body.send_data(Bytes::new(), true).unwrap();
                read(answer.await.unwrap()).await
            }));
        }
        for answer in sent {
            let (status, body) = answer.await.unwrap();
            assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
        }
    });
}

#[test]
fn an_answer_of_any_size_arrives_whole_whatever_the_window() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let tools = "curl -sSf --cacert pki/server-ca.pem --cert pki/client.pem --key pki/client.key";
    for path in ["/healthz", "/openapi.json", "/swagger/swagger-ui.css"] {
        let url = format!("{}{path}", daemon.url);
        let wanted = appliance.shell(&format!("{tools} --http1.1 {url}"));
        // With the windows of curl, tens of mebibytes.
        let curl = appliance.shell(&format!("{tools} --http2 {url}"));
        assert_eq!(curl.len(), wanted.len(), "{path}");
        // A part of the answer leaves with each window that the client gives.
        for window in [1_000, 16_384, 65_535, 1_048_576] {
            let (status, octets) = run(async {
                let mut tls = (*tls_of(&appliance, &appliance.path("pki/client"))).clone();
                tls.alpn_protocols = vec![b"h2".to_vec()];
                let stream = tokio::net::TcpStream::connect(daemon.api).await.unwrap();
                let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
                let stream = connector.connect("localhost".try_into().unwrap(), stream).await;
                let mut builder = h2::client::Builder::new();
                builder.initial_window_size(window);
                let (mut sender, connection) =
                    builder.handshake::<_, Bytes>(stream.unwrap()).await.unwrap();
                tokio::spawn(connection);
                let (answer, _) = sender.send_request(request("GET", path), true).unwrap();
                read(answer.await.unwrap()).await
            });
            assert_eq!((status, octets.len()), (200, wanted.len()), "{path}, {window}");
        }
    }
}

#[test]
fn a_head_above_64_kib_is_refused_and_the_largest_is_read() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    run(async {
        let (mut sender, _) = connect(&appliance, &daemon).await;
        for (name, octets, number, status) in [
            ("one", 60_000, 1, 404),
            ("one", 66_000, 1, 431),
            ("many", 600, 90, 404),
            ("many", 10, 200, 431),
            ("many", 1_000, 90, 431),
        ] {
            let mut request = request("GET", "/none");
            for _ in 0..number {
                let value = "a".repeat(octets).parse().unwrap();
                request.headers_mut().append("x-much", value);
            }
            sender = sender.ready().await.unwrap();
            let (answer, _) = sender.send_request(request, true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status, "{name} {octets} {number}");
        }
    });
    for (octets, status) in [(60_000, 404), (66_000, 431), (200_000, 431)] {
        let mut raw = Raw::demo(&appliance, &daemon);
        let _ = raw.try_write(format!(
            "GET /none HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
            "a".repeat(octets)
        ));
        assert_eq!(raw.answer().0, status, "{octets}");
    }
}

#[test]
fn idle_connections_do_not_delay_the_end_and_are_told_of_it() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    run(async {
        let mut idle = Vec::new();
        for _ in 0..20 {
            let (sender, connection) = connect(&appliance, &daemon).await;
            let mut sender = sender.ready().await.unwrap();
            let (answer, _) = sender.send_request(request("GET", "/healthz"), true).unwrap();
            assert_eq!(read(answer.await.unwrap()).await.0, 200);
            idle.push((sender, connection));
        }
        let asked = Instant::now();
        let stopping = tokio::task::spawn_blocking(move || daemon.stop());
        for (sender, connection) in idle {
            // In order: GOAWAY with NO_ERROR, and the end.
            connection.await.unwrap().unwrap();
            let error = sender.ready().await.map(|_| ()).unwrap_err();
            assert!(error.is_go_away() || error.is_io(), "{error:?}");
        }
        stopping.await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    });
}

/// The next frame: its kind, flags, stream and payload. None at the end of the connection.
async fn next_frame(
    stream: &mut TlsStream<tokio::net::TcpStream>,
) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, rest @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(rest), payload))
}

/// Go's client up to 1.19 does so. RFC 9113, section 6.8: what comes after the GOAWAY is asked again.
#[test]
fn a_client_that_keeps_its_table_of_header_fields_is_served_and_then_asked_to_come_again() {
    const REQUESTS_MIN: u32 = 40;
    let appliance = Appliance::new();
    let daemon = appliance.start();
    run(async {
        let mut stream = greet(&appliance, &daemon).await;
        stream.write_all(&[frames::preface(), frames::acknowledgement()].concat()).await.unwrap();
        let mut answered = 0;
        let whole = frames::END_HEADERS | frames::END_STREAM;
        let mut last = None;
        for number in 0.. {
            let kept = match number {
                0 => frames::field("x", "a", true),
                _ => vec![frames::NEWEST],
            };
            let more = frames::field("y", &"b".repeat(1_000), false);
            let block = [frames::request("GET", "/healthz"), kept, more].concat();
            let head = frames::frame(frames::HEADERS, whole, 2 * number + 1, &block);
            stream.write_all(&head).await.unwrap();
            while answered <= number && last.is_none() {
                match next_frame(&mut stream).await.expect("the connection ended without a word") {
                    (frames::HEADERS, _, _, _) => answered += 1,
                    (frames::PING, 0, _, payload) => {
                        let pong = frames::frame(frames::PING, frames::ACK, 0, &payload);
                        stream.write_all(&pong).await.unwrap();
                    }
                    (frames::GOAWAY, _, _, payload) => {
                        assert_eq!(payload[4..8], [0; 4], "NO_ERROR");
                        let stream = u32::from_be_bytes(payload[..4].try_into().unwrap());
                        // The first GOAWAY only says that there will be an end.
                        last = (stream < u32::MAX >> 1).then_some(stream);
                    }
                    _ => {}
                }
            }
            if last.is_some() {
                break;
            }
        }
        while let Some((kind, ..)) = next_frame(&mut stream).await {
            answered += u32::from(kind == frames::HEADERS);
        }
        assert!(answered >= REQUESTS_MIN, "{answered}");
        assert_eq!(last.unwrap().div_ceil(2), answered, "a request was taken and not answered");
    });
}
