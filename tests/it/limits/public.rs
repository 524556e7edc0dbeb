//! What is open without a grant: the public routes, and the listener for operators.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::{HeaderMap, Request};

use crate::{
    appliance::{Appliance, Client, SERVICE, STORE},
    support::{leaf, refused},
};

/// A VICAL service that has published nothing, beside services of other types.
const VICAL: &str = r#"
[[services]]
path = "test.tenant1.vical"
type = "vical-service"
signing_key = "test.tenant1.kms1.vical"
signer_certificate = "test.tenant1.x509-store-1.vical"
"#;

/// Status, headers and body.
fn send(url: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = Request::builder().method(method).uri(format!("{url}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = agent.configure_request(request.body(()).unwrap());
    let mut answer = agent.run(request.allow_non_standard_methods(true).build()).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), answer.headers().clone(), text)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[test]
fn nobody_learns_from_the_public_routes_what_there_is() {
    let appliance = Appliance::new();
    appliance.declare(VICAL);
    let nobody = appliance.add_client("nobody", &[]);
    let reader = appliance.add_client("reader", &[("test.tenant1.vical", &["vical:read"])]);
    let daemon = appliance.start();
    let nobody: Client = daemon.client_with(&appliance, &nobody);
    // What is there in some way, and beside it what is not.
    let targets = [
        "test",
        "test.tenant1",
        "test.tenant1.kms1",
        "test.tenant1.kms1.iaca-secp256r1",
        SERVICE,
        STORE,
        "test.tenant1.vical",
        "test.tenant1.vical.versions.1",
        "test.tenant1.vical.x",
        "nowhere",
        "test.nowhere",
        "test.tenant1.nowhere",
        "test.tenant1.nowhere.versions.1",
    ];
    let tails = [
        "latest",
        "latest/manifest",
        "latest/trust-material",
        "versions",
        "versions/manifest",
        "versions/trust-material",
        "latest?format=none",
        "latest?other=1",
        "nothing",
    ];
    for tail in tails {
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS"] {
            let mut told = Vec::new();
            for target in targets {
                let path = format!("/v1/{target}/vical-service-api/{tail}");
                let (status, headers, text) = send(&daemon.distribution, method, &path, &[]);
                let shown = format!("{method} {path}: {status} {text}");
                assert_eq!(header(&headers, "content-type"), "text/plain", "{shown}");
                assert!(!header(&headers, "x-request-id").is_empty(), "{shown}");
                assert_eq!(header(&headers, "access-control-allow-origin"), "*", "{shown}");
                assert!(status != 404 || method == "HEAD" || text == "not found", "{shown}");
                let allow = header(&headers, "allow").to_owned();
                assert_eq!(status == 405, allow == "GET, HEAD", "{shown}");
                told.push((status, text, allow));
                // With a client certificate and without a grant it is the same.
                let answer = nobody.send(method, &path, &[], "").unwrap();
                assert_eq!(answer.status, status, "{shown}: {}", answer.text);
                if status == 404 && method != "HEAD" {
                    refused(&answer, 404, None, "not found");
                    assert_eq!(answer.json["message"], "not found", "{shown}");
                }
            }
            told.dedup();
            assert_eq!(told.len(), 1, "{method} {tail}: {told:?}");
        }
    }
    // Whoever may read of the service is told what is missing.
    let latest = "/v1/test.tenant1.vical/vical-service-api/latest";
    let told = daemon.client_with(&appliance, &reader).get(latest);
    refused(&told, 404, None, "no version published");
    refused(&daemon.client.get(latest), 404, None, "no version published");
    refused(
        &daemon.client.get("/v1/test.tenant1.kms1/vical-service-api/latest"),
        404,
        None,
        "test.tenant1.kms1 is a kms, not a vical-service",
    );
}

#[test]
fn every_error_without_tls_is_in_the_form_of_its_listener() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let many = format!("/healthz?{}", "a&".repeat(33));
    for (path, method, status, message) in [
        ("/", "GET", 404, "not found"),
        ("/healthz/", "GET", 404, "not found"),
        ("/v1/test", "POST", 404, "not found"),
        ("/crl/00.crl", "GET", 404, "not found"),
        ("/healthz", "POST", 405, "use GET, HEAD"),
        ("/readyz", "BREW", 405, "use GET, HEAD"),
        ("/metrics", "DELETE", 405, "use GET, HEAD"),
        (&many, "GET", 400, "query: at most 32 parameters"),
    ] {
        let id = [("x-request-id", "mine")];
        let (said, headers, text) = send(&daemon.operations, method, path, &id);
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let shown = format!("{method} {path}: {said} {text}");
        assert_eq!((said, header(&headers, "x-request-id")), (status, "mine"), "{shown}");
        assert_eq!(body["message"], message, "{shown}");
        assert_eq!(
            (&body["requestId"], &body["code"]),
            (&json!("mine"), &json!(status.to_string()))
        );
        assert_eq!(header(&headers, "content-type"), "application/json", "{shown}");
        assert_eq!(status == 405, header(&headers, "allow") == "GET, HEAD", "{shown}");
        // The public listener has none of these.
        let (said, headers, text) = send(&daemon.distribution, method, path, &id);
        let (status, message) = if status == 400 { (400, message) } else { (404, "not found") };
        assert_eq!((said, text.as_str()), (status, message), "{shown}");
        assert_eq!(header(&headers, "content-type"), "text/plain", "{shown}");
        assert_eq!(header(&headers, "x-request-id"), "mine", "{shown}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (status, headers, body) = send(&daemon.operations, "GET", path, &[]);
        assert_eq!(header(&headers, "x-request-id").len(), 36, "{path}");
        let (of_head, headers, nothing) = send(&daemon.operations, "HEAD", path, &[]);
        assert_eq!((of_head, nothing.as_str()), (status, ""), "{path}");
        assert!(header(&headers, "content-length").parse::<usize>().unwrap() > body.len() / 2);
    }
}

#[test]
fn a_body_that_says_that_it_is_coded_is_not_read() {
    let appliance = Appliance::new();
    appliance.configure(|text| format!("{text}\n[compat]\nlogin = true\n"));
    let daemon = appliance.start();
    let client = &daemon.client;
    let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
    let add = format!("/v1/{SERVICE}/x509-service-api/dependencies/add");
    let leaf = leaf("leaf-secp256r1", "Leaf").to_string();
    for coding in ["gzip", "GZIP", "br", "deflate", "x-gzip", "identity, gzip", "none", ""] {
        for (path, media_type, body) in [
            (issue.as_str(), "application/json", leaf.as_str()),
            (&add, "text/plain", "test.tenant1.kms1"),
            ("/auth/account/emailpass", "application/json", r#"{"email":"a","password":"b"}"#),
        ] {
            let headers = [("content-type", media_type), ("content-encoding", coding)];
            let answer = client.send("POST", path, &headers, body).unwrap();
            refused(&answer, 415, None, "no content coding");
            assert_eq!(answer.header("accept-encoding"), Some("identity"), "{coding} {path}");
        }
    }
    assert_eq!(appliance.count("select count(*) from intents"), 0);
    // What changes nothing is taken, and what has no body is not asked.
    for coding in ["identity", "Identity", "identity, identity"] {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        client.send("POST", &issue, &headers, &leaf).unwrap().ok();
        client.send("GET", "/healthz", &[("content-encoding", "gzip")], "").unwrap().ok();
    }
}

#[test]
fn no_request_has_more_than_32_parameters_and_none_is_compared_with_each_other() {
    let appliance = Appliance::new();
    appliance.declare(VICAL);
    let nobody = appliance.add_client("nobody", &[]);
    let daemon = appliance.start();
    let nobody = daemon.client_with(&appliance, &nobody);
    let query = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("{number:x}")).collect();
        names.join("&")
    };
    let latest = "/v1/test.tenant1.vical/vical-service-api/latest";
    let inventory = format!("/v1/{SERVICE}/x509-service-api/certificates");
    let before = processor_seconds(daemon.pid());
    let started = Instant::now();
    for _ in 0..20 {
        for count in [33, 1_000, 12_000] {
            let query = query(count);
            let (status, _, text) =
                send(&daemon.distribution, "GET", &format!("{latest}?{query}"), &[]);
            assert_eq!((status, text.as_str()), (400, "query: at most 32 parameters"));
            for path in [latest, &inventory, "/healthz", "/nowhere"] {
                for client in [&nobody, &daemon.client] {
                    refused(
                        &client.get(&format!("{path}?{query}")),
                        400,
                        None,
                        "at most 32 parameters",
                    );
                }
            }
        }
    }
    // 20 of the largest took 3 s each listener; all of them now take a fraction of what the test itself takes.
    let spent = processor_seconds(daemon.pid()) - before;
    assert!(spent < 20.0, "{spent} s of {:?}", started.elapsed());
    daemon.client.get(&format!("/healthz?{}", query(32))).ok();
    let twice = format!("{inventory}?limit=1&limit=2");
    refused(&daemon.client.get(&twice), 400, None, "limit: occurs twice");
}

/// What a process has used of the processors.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

#[test]
fn what_a_body_repeats_costs_no_more_than_its_length() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
    let members: Vec<_> = (0..6_000).map(|number| format!("\"{number:x}\":1")).collect();
    let members = format!("{{{}}}", members.join(","));
    let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    let with = |member: &str, value: &str| {
        let mut body = leaf("leaf-secp256r1", "Leaf");
        body["certificateData"][member] = json!("PLACE");
        body.to_string().replace("\"PLACE\"", value)
    };
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let started = Instant::now();
    for _ in 0..10 {
        for (body, message) in [
            (members.clone(), "unknown member '0'"),
            (with("keyUsage", &list("\"a\"", 10_000)), "at most 1024"),
            (with("extendedKeyUsageOids", &list("\"1.2.3\"", 5_000)), "at most 1024"),
            (with("extendedKeyUsageOids", &list("\"1.2.3\"", 65)), "at most 64"),
            (
                with(
                    "subjectAlternativeNames",
                    &format!("{{\"dnsNames\":{}}}", list("\"a.b\"", 9_000)),
                ),
                "at most",
            ),
            (deep.clone(), "body is not JSON"),
        ] {
            let answer = client.post(&issue, &body);
            assert_eq!(answer.status, 400, "{message}: {}", answer.json);
            let said = answer.json["message"].as_str().unwrap();
            assert!(said.contains(message), "'{message}' in {said}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(appliance.count("select count(*) from intents"), 0);
}
