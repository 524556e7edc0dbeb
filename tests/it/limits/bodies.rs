//! Bodies: how large, how slow, of what type.

use serde_json::{Value, json};

use crate::{
    appliance::{Appliance, Daemon, SERVICE, SOON, STORE, until},
    support::{Raw, leaf, refused},
};

const BODY_MAX: usize = 65_536;

fn path() -> String {
    format!("/v1/{SERVICE}/x509-service-api/certificate")
}

/// A request of so many octets: JSON may end in white space.
fn padded(octets: usize) -> String {
    let request = leaf("leaf-secp256r1", "Leaf").to_string();
    let spaces = " ".repeat(octets - request.len());
    request + &spaces
}

/// Sends a head with more headers, and what the body is made of; the answer.
fn raw(appliance: &Appliance, daemon: &Daemon, headers: &str, parts: &[&str]) -> (u16, Value) {
    let mut raw = Raw::demo(appliance, daemon);
    raw.write(format!("POST {} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n", path()));
    for part in parts {
        // Whoever is refused early may not be listened to any more.
        if raw.try_write(part).is_err() {
            break;
        }
    }
    let (status, _, body) = raw.answer();
    (status, body)
}

fn chunked(body: &str, chunk: usize) -> String {
    let chunks = body.as_bytes().chunks(chunk);
    let chunks = chunks
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    chunks.chain(["0\r\n\r\n".to_owned()]).collect()
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn a_body_has_at_most_65536_octets_however_they_come() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    client.post(&path(), &padded(BODY_MAX)).ok();
    let too_large = client.post(&path(), &padded(BODY_MAX + 1));
    refused(&too_large, 413, None, "body is larger than 65536 bytes");
    assert_eq!(too_large.json["id"], "PayloadTooLargeException");
    assert_eq!(too_large.json["status"], "Payload Too Large");

    // Streamed, nobody says beforehand how long it will be.
    let headers = format!("{JSON}transfer-encoding: chunked\r\n");
    for chunk in [BODY_MAX, 4_096, 1_000] {
        let body = chunked(&padded(BODY_MAX), chunk);
        let (status, answer) = raw(&appliance, &daemon, &headers, &[&body]);
        assert_eq!(status, 200, "{answer}");
        let body = chunked(&padded(BODY_MAX + 1), chunk);
        let (status, answer) = raw(&appliance, &daemon, &headers, &[&body]);
        assert_eq!(status, 413, "{answer}");
        assert_eq!(answer["message"], "body is larger than 65536 bytes");
    }
    // What never ends is refused as soon as it is too long.
    let (status, _) =
        raw(&appliance, &daemon, &headers, &[&format!("100000\r\n{}", padded(BODY_MAX + 1))]);
    assert_eq!(status, 413);
    // And what announces too much before any of it has come.
    for length in ["65537", "18446744073709551615"] {
        let headers = format!("{JSON}content-length: {length}\r\n");
        let (status, answer) = raw(&appliance, &daemon, &headers, &[]);
        assert_eq!(status, 413, "{length}: {answer}");
    }
    // The size comes before the type, and the type before what is in it.
    let headers = "content-type: text/plain\r\ncontent-length: 65537\r\n";
    assert_eq!(raw(&appliance, &daemon, headers, &[]).0, 413);
    let headers = "content-type: text/plain\r\ncontent-length: 1\r\n";
    assert_eq!(raw(&appliance, &daemon, headers, &["{"]).0, 415);
    assert_eq!(appliance.count("select count(*) from certificates"), 4);
    // Everywhere.
    let large = padded(BODY_MAX + 1);
    for target in [
        format!("/v1/{STORE}/x509-store-api/certificates"),
        "/v1/test.t/resource-api/tenants/create".to_owned(),
        "/v1/test.t/resource-api/services/create".to_owned(),
        format!("/v1/{SERVICE}/x509-service-api/dependencies/add"),
        format!("/v1/{SERVICE}/x509-service-api/dependencies/remove"),
        format!("/v1/{SERVICE}/x509-service-api/csrs"),
    ] {
        refused(&client.post(&target, &large), 413, None, "body is larger than 65536 bytes");
    }
    let text = [("content-type", "text/plain")];
    let add = format!("/v1/{SERVICE}/x509-service-api/dependencies/add");
    refused(&client.send("POST", &add, &text, &large).unwrap(), 413, None, "larger than 65536");
}

#[test]
fn bodies_are_json_by_name_too() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    let body = leaf("leaf-secp256r1", "Leaf").to_string();
    for good in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json ; charset=UTF-8; x=y",
    ] {
        client.send("POST", &path(), &[("content-type", good)], &body).unwrap().ok();
    }
    let before = appliance.count("select count(*) from intents");
    for bad in [
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/json, text/plain",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "json",
        "",
        "*/*",
    ] {
        let answer = client.send("POST", &path(), &[("content-type", bad)], &body).unwrap();
        refused(&answer, 415, None, "send application/json");
    }
    let length = format!("content-length: {}\r\n", body.len());
    assert_eq!(raw(&appliance, &daemon, &length, &[&body]).0, 415, "no type at all");
    assert_eq!(appliance.count("select count(*) from intents"), before);
    let store = format!("/v1/{STORE}/x509-store-api/certificates");
    for (target, method) in [
        (store.clone(), "POST"),
        (format!("/v1/{STORE}.x/x509-store-api/certificates"), "PUT"),
        ("/v1/test.t/resource-api/tenants/create".to_owned(), "POST"),
        (format!("/v1/{SERVICE}/x509-service-api/dependencies/remove"), "POST"),
    ] {
        let answer = client.send(method, &target, &[("content-type", "text/plain")], "{}");
        refused(&answer.unwrap(), 415, None, "send application/json");
    }
    // Without a body the type does not matter; existing clients send one with every GET.
    for media_type in ["application/json", "text/plain", "nonsense"] {
        let headers = [("content-type", media_type)];
        client.send("GET", &store, &headers, "").unwrap().ok();
    }
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_given_up() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nrequest_body_ms = 400\nin_flight_max = 1");
    let daemon = appliance.start();
    let mut slow = Raw::demo(&appliance, &daemon);
    slow.write(format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 100\r\n\r\n{{",
        path()
    ));
    let (status, _, answer) = slow.answer();
    assert_eq!((status, &answer["message"]), (400, &json!("the body did not arrive in time")));
    // A byte now and then does not help: the time is for the whole body.
    let mut dripping = Raw::demo(&appliance, &daemon);
    dripping.write(format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 10000\r\n\r\n",
        path()
    ));
    let started = std::time::Instant::now();
    let dripped = until(SOON, || {
        dripping.try_write(" ").err().or_else(|| {
            (started.elapsed().as_millis() > 600).then(|| std::io::ErrorKind::TimedOut.into())
        })
    });
    assert!(dripped.is_some());
    assert_eq!(dripping.answer().0, 400);
    // Its room is free again.
    until(SOON, || {
        let answer = daemon.client.post(&path(), &leaf("leaf-secp256r1", "Leaf").to_string());
        (answer.status == 200).then_some(())
    })
    .expect("room");
}
