//! How often a client may ask, and how many at once.

use std::time::Duration;

use crate::{
    appliance::{Answer, Appliance, Client, SERVICE, SOON, STORE, until},
    support::{Raw, leaf, refused},
};

fn ids(client: &Client) -> Answer {
    client.get(&format!("/v1/{STORE}/x509-store-api/certificates/ids"))
}

fn too_many(answer: &Answer, most: u64) -> u64 {
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=most).contains(&seconds), "{seconds}");
    let wanted = format!("too many requests; try again in {seconds} s");
    refused(answer, 429, None, &wanted);
    assert_eq!(answer.json["id"], "TooManyRequestsException");
    assert_eq!(answer.json["status"], "Too Many Requests");
    seconds
}

#[test]
fn a_client_that_asks_too_often_waits_and_the_others_do_not() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nclient_requests_per_minute = 4");
    let second = appliance.add_client("second", &[("test", &["store:read"])]);
    let daemon = appliance.start();
    let client = &daemon.client;
    let second = daemon.client_with(&appliance, &second);
    // Every kind of request counts, also one that is refused for what is in it.
    ids(client).ok();
    client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).ok();
    assert_eq!(client.post("/v1/test.t/resource-api/tenants/create", "{").status, 400);
    let missing = format!("/v1/{STORE}.none/x509-store-api/certificates");
    assert_eq!(client.send("DELETE", &missing, &[], "").unwrap().status, 404);
    // A bucket of four that refills evenly: the next is there after 15 s.
    too_many(&ids(client), 15);
    too_many(&client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")), 15);
    too_many(&client.send("DELETE", &missing, &[], "").unwrap(), 15);
    assert_eq!(appliance.count("select count(*) from certificates"), 1);
    // The rate comes right after the identity: of what is refused for any other reason nothing is said.
    let create = "/v1/test.t/resource-api/tenants/create";
    too_many(&client.post(create, "{"), 15);
    too_many(&client.send("POST", create, &[("content-type", "text/plain")], "{").unwrap(), 15);
    too_many(&client.get("/v1/test.none/x509-store-api/certificates"), 15);
    too_many(&client.get("/v1/a%20b/x509-store-api/certificates"), 15);
    too_many(&client.get("/healthz"), 15);
    for _ in 0..4 {
        ids(&second).ok();
    }
    too_many(&ids(&second), 15);
}

#[test]
fn a_request_that_is_refused_early_takes_its_place_in_the_rate() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nclient_requests_per_minute = 3");
    let nobody = appliance.add_client("nobody", &[]);
    let daemon = appliance.start();
    let certificates = "x509-store-api/certificates";
    for (path, status) in [
        (format!("/v1/{STORE}/{certificates}"), 403),
        ("/nowhere".to_owned(), 404),
        (format!("/v1/a%20b/{certificates}"), 400),
    ] {
        let client = daemon.client_with(&appliance, &nobody);
        assert_eq!(client.get(&path).status, status);
    }
    too_many(&daemon.client_with(&appliance, &nobody).get("/nowhere"), 20);
    ids(&daemon.client).ok();
}

#[test]
fn after_the_seconds_that_it_is_told_a_client_may_ask_again() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nclient_requests_per_minute = 60");
    let daemon = appliance.start();
    let refused = until(SOON, || Some(ids(&daemon.client)).filter(|answer| answer.status != 200));
    let seconds = too_many(&refused.expect("a limit"), 2);
    std::thread::sleep(Duration::from_secs(seconds));
    ids(&daemon.client).ok();
}

#[test]
fn without_a_limit_there_is_none() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    for _ in 0..200 {
        ids(&daemon.client).ok();
    }
}

#[test]
fn a_full_daemon_says_so_and_when_to_come_back() {
    let appliance = Appliance::new();
    appliance.declare("[limits]\nin_flight_max = 2\nrequest_body_ms = 60000");
    let daemon = appliance.start();
    let client = &daemon.client;
    let body = leaf("leaf-secp256r1", "Leaf").to_string();
    let (start, end) = body.split_at(10);
    let mut held: Vec<_> = (0..2)
        .map(|_| {
            let mut raw = Raw::demo(&appliance, &daemon);
            raw.write(format!(
                "POST /v1/{SERVICE}/x509-service-api/certificate HTTP/1.1\r\nhost: localhost\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{start}",
                body.len()
            ));
            raw
        })
        .collect();
    let full = until(SOON, || Some(ids(client)).filter(|answer| answer.status != 200));
    let full = full.expect("a full daemon");
    assert_eq!(full.header("retry-after"), Some("1"));
    refused(&full, 503, None, "busy; try again in 1 s");
    assert_eq!(full.json["id"], "ServiceUnavailableException");
    assert_eq!(full.json["status"], "Service Unavailable");
    assert_eq!(client.issue("certificate", &leaf("leaf-secp256r1", "Leaf")).status, 503);
    // What needs no room is answered.
    client.get("/healthz").ok();
    refused(&client.get("/v1/test.none/x509-store-api/certificates"), 404, None, "not exist");
    let ready = ureq::get(format!("{}/readyz", daemon.operations)).call();
    assert!(matches!(ready, Err(ureq::Error::StatusCode(503))), "{ready:?}");
    // Those who were let in are served, and then there is room again.
    for raw in &mut held {
        raw.write(end);
        assert_eq!(raw.answer().0, 200);
    }
    until(SOON, || (ids(client).status == 200).then_some(())).expect("room");
    assert_eq!(appliance.count("select count(*) from certificates"), 2);
}
