//! VICALs (ISO/IEC 18013-5 C.1): from the issuance of IACAs to what everyone may fetch, decoded by
//! others.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use ureq::http::HeaderMap;

use crate::appliance::{
    Answer, Appliance, Client, Daemon, KMS, SERVICE, SOON, STORE, generic_ca, key, signal, until,
};

const VICAL: &str = "test.tenant1.vical-1";
const SIGNER_KEY: &str = "root-secp256r1";

// ---- what is needed ----

/// A declared VICAL service whose other settings are `more`.
fn service(path: &str, key: &str, certificate: &str, more: &str) -> String {
    format!(
        "[[services]]\npath = \"{path}\"\ntype = \"vical-service\"\n\
         signing_key = \"{KMS}.{key}\"\nsigner_certificate = \"{STORE}.{certificate}\"\n{more}\n"
    )
}

fn with_store() -> String {
    format!("dependencies = [\"{STORE}\"]")
}

/// An appliance with a VICAL service whose signer is stored as `vical-signer`.
fn appliance() -> Appliance {
    let appliance = Appliance::new();
    appliance.configure(|text| {
        text.replace("\"store:read\",", "\"store:read\", \"store:write\", \"resource:write\",")
    });
    appliance.declare(&service(VICAL, SIGNER_KEY, "vical-signer", &with_store()));
    appliance
}

/// Settings that stand in a table of their own.
fn set(appliance: &Appliance, setting: &str) {
    appliance.declare(&format!("[vical]\n{setting}"));
}

/// The signer as existing deployments have it: self-signed, keyCertSign and cRLSign.
fn issue_signer(client: &Client) {
    let mut request = generic_ca(SIGNER_KEY, "Acme Trust List Signer");
    request["storedCertificateId"] = "vical-signer".into();
    client.issue("certificate", &request).ok();
}

fn iaca(key_name: &str, id: &str, metadata: &Value) -> Value {
    json!({
        "storedCertificateId": id,
        "certificateData": {
            "country": "NL", "commonName": format!("IACA {id}, \"quoted\""),
            "stateOrProvinceName": "Utrecht",
            "issuerAlternativeNameConf": { "uri": "https://iaca.example.com" },
        },
        "iacaKeyDesc": key(key_name),
        "vicalEntryComplementaryMetadata": metadata,
    })
}

fn mdl() -> Value {
    json!({ "docType": ["org.iso.18013.5.1.mDL"] })
}

fn publish(client: &Client, body: &Value) -> Answer {
    publish_at(client, VICAL, body)
}

fn publish_at(client: &Client, service: &str, body: &Value) -> Answer {
    client.post(&format!("/v1/{service}/vical-service-api/publish"), &body.to_string())
}

fn by_acme() -> Value {
    json!({ "vicalProvider": "Acme Trust List Office" })
}

struct Fetched {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Fetched {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Without TLS, without a client certificate.
fn send(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> Fetched {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let uri = format!("{}{path}", daemon.distribution);
    let mut request = ureq::http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    Fetched {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().read_to_vec().unwrap(),
    }
}

fn fetch(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Fetched {
    send(daemon, "GET", path, headers)
}

fn latest(tail: &str) -> String {
    format!("/v1/{VICAL}/vical-service-api/latest{tail}")
}

fn version(id: &str, tail: &str) -> String {
    format!("/v1/{VICAL}.versions.{id}/vical-service-api/versions{tail}")
}

fn octets_of_latest(daemon: &Daemon) -> Vec<u8> {
    fetch(daemon, &latest("?format=cbor"), &[]).ok().body
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn sha256(octets: &[u8]) -> String {
    hex(&chancery::domain::key::sha256(octets))
}

/// What cbor2 and cryptography make of a VICAL; they verify its signature and each member.
#[track_caller]
fn judged(appliance: &Appliance, octets: &[u8]) -> Value {
    let output = judge(appliance, octets);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", hex(octets));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn judge(appliance: &Appliance, octets: &[u8]) -> Output {
    let file = appliance.path("vical.cbor");
    fs::write(&file, octets).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/judges/bin/python3");
    assert!(python.exists(), "./tests/run.sh installs the judges");
    let script = root.join("tests/judges/vical.py");
    Command::new(python).arg(script).arg(&file).output().unwrap()
}

// ---- the whole way ----

#[test]
fn what_is_published_is_fetched_in_every_form_and_read_by_others() {
    let appliance = appliance();
    let daemon = appliance.start();
    let client = &daemon.client;
    issue_signer(client);
    for key_name in ["iaca-secp256r1", "iaca-secp384r1", "iaca-secp521r1"] {
        client.issue("iso/iacas", &iaca(key_name, key_name, &mdl())).ok();
    }
    // Without metadata it is no VICAL entry.
    let mut plain = iaca("secp256r1", "plain", &Value::Null);
    plain["certificateData"]["commonName"] = "Plain".into();
    client.issue("iso/iacas", &plain).ok();
    assert_eq!(fetch(&daemon, &latest(""), &[]).status, 404);

    let answer = publish(
        client,
        &json!({
            "vicalProvider": "Acme Trust List Office", "versionId": "2026-06",
            "issuanceDate": "2026-06-15T11:40:00.9+02:00", "nextUpdate": "2099-09-15T00:00:00Z",
        }),
    )
    .ok();
    assert_eq!(
        answer.json,
        json!({
            "versionIdPath": format!("{VICAL}.versions.2026-06"), "version": "1.0",
            "entryCount": 3, "vicalProvider": "Acme Trust List Office",
            "date": "2026-06-15T09:40:00Z", "vicalIssueId": 1,
            "nextUpdate": "2099-09-15T00:00:00Z",
        })
    );

    let octets = octets_of_latest(&daemon);
    let said = judged(&appliance, &octets);
    assert_eq!(said["tagged"], false);
    assert_eq!(said["algorithm"], -7);
    assert_eq!(said["provider"], "Acme Trust List Office");
    assert_eq!(said["date"], "2026-06-15T09:40:00Z");
    assert_eq!(said["nextUpdate"], "2099-09-15T00:00:00Z");
    assert_eq!((&said["version"], &said["issueId"]), (&json!("1.0"), &json!(1)));
    let entries = said["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        assert_eq!(entry["docType"], json!(["org.iso.18013.5.1.mDL"]));
        assert_eq!((&entry["country"], &entry["state"]), (&json!("NL"), &json!("Utrecht")));
        assert_eq!(entry["certificateProfile"], Value::Null);
    }
    assert_eq!(said["chain"], json!(["C=US,CN=Acme Trust List Signer"].map(reversed)));
    octets_are_as_the_standard_writes_them(&octets);
    // The judge is awake.
    for place in [octets.len() / 2, octets.len() - 1] {
        let mut altered = octets.clone();
        altered[place] ^= 1;
        assert!(!judge(&appliance, &altered).status.success(), "{place}");
    }

    for path in [latest(""), version("2026-06", "")] {
        forms(&daemon, &path, &octets);
    }
    descriptions(&daemon, &octets);
    daemon.stop();
}

/// The subject's own order is C, CN; RFC 4514 says it backwards.
fn reversed(text: &str) -> String {
    text.split(',').rev().collect::<Vec<_>>().join(",")
}

fn octets_are_as_the_standard_writes_them(octets: &[u8]) {
    let octets = hex(octets);
    // An array of four without a tag, the protected header exactly {1: -7}, then {33: bytes}.
    assert!(octets.starts_with("8443a10126a1182159"), "{octets}");
    // vicalIssueID: 1; a date is tag 0 with twenty characters; a serial number is tag 2 with the
    // sixteen octets of ours, the first below 0x80 and not 0.
    assert!(octets.contains(&format!("6c{}01", hex(b"vicalIssueID"))));
    assert!(octets.contains(&format!("64{}c074{}", hex(b"date"), hex(b"2026-06-15T09:40:00Z"))));
    for name in ["notBefore", "notAfter"] {
        let dated = format!("{:x}{}c074", 0x60 + name.len(), hex(name.as_bytes()));
        assert_eq!(octets.matches(&dated).count(), 3, "{name}");
    }
    let serial = format!("6c{}c250", hex(b"serialNumber"));
    assert_eq!(octets.matches(&serial).count(), 3);
    for (at, _) in octets.match_indices(&serial) {
        let first = &octets[at + serial.len()..][..1];
        assert!(("4".."8").contains(&first), "{first}");
    }
    assert!(octets.contains(&format!("63{}54", hex(b"ski"))));
    // The signature: 64 octets of r and s.
    assert_eq!(&octets[octets.len() - 132..octets.len() - 128], "5840");
}

/// Every form of one artifact, on both listeners.
fn forms(daemon: &Daemon, path: &str, octets: &[u8]) {
    let tag = format!("\"{}\"", sha256(octets));
    let cache = match path.contains("latest") {
        true => "public, max-age=300",
        false => "max-age=31536000, immutable",
    };
    let verifier = "application/cbor, application/octet-stream, */*";
    let by_accept = [
        (None, "text/plain"),
        (Some("*/*"), "text/plain"),
        (Some("application/json"), "text/plain"),
        (Some("application/cbor;q=0, */*"), "text/plain"),
        (Some(verifier), "application/cbor"),
        (Some("application/octet-stream, Application/CBOR;q=0.1"), "application/cbor"),
        (Some("text/html, application/octet-stream"), "application/octet-stream"),
        (Some("application/cwt"), "application/cwt"),
    ];
    for (accept, content_type) in by_accept {
        let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
        let fetched = fetch(daemon, path, &headers).ok();
        assert_eq!(fetched.header("content-type"), Some(content_type), "{accept:?}");
        match content_type {
            "text/plain" => assert_eq!(fetched.text(), hex(octets), "{accept:?}"),
            _ => assert_eq!(fetched.body, octets, "{accept:?}"),
        }
        assert_eq!(fetched.header("etag"), Some(tag.as_str()));
        assert_eq!(fetched.header("cache-control"), Some(cache));
        assert_eq!(fetched.header("vary"), Some("accept"));

        let answer = daemon.client.send("GET", path, &headers, "").unwrap();
        assert_eq!((answer.status, &answer.body), (200, &fetched.body), "{accept:?}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{accept:?}");
    }
    for (format, content_type, body) in [
        ("hex", "text/plain", hex(octets).into_bytes()),
        ("base64", "text/plain", STANDARD.encode(octets).into_bytes()),
        ("cbor", "application/cbor", octets.to_vec()),
    ] {
        let fetched =
            fetch(daemon, &format!("{path}?format={format}"), &[("accept", "text/html")]).ok();
        assert_eq!(fetched.body, body, "{format}");
        assert_eq!(fetched.header("content-type"), Some(content_type), "{format}");
        let head = send(daemon, "HEAD", &format!("{path}?format={format}"), &[]).ok();
        assert!(head.body.is_empty());
        let length = body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{format}");
        assert_eq!(head.header("etag"), Some(tag.as_str()));
    }
    for known in [tag.clone(), "*".to_owned(), format!("\"a\", W/{tag}")] {
        let unchanged = fetch(daemon, path, &[("if-none-match", &known)]);
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{known}");
        assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
        assert_eq!(unchanged.header("cache-control"), Some(cache));
    }
    assert_eq!(fetch(daemon, path, &[("if-none-match", "\"a\"")]).status, 200);
    for bad in ["json", "HEX", ""] {
        let refused = fetch(daemon, &format!("{path}?format={bad}"), &[]);
        assert_eq!(refused.status, 400, "{bad}");
        assert_eq!(refused.json()["id"], "BadRequestException");
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
}

fn descriptions(daemon: &Daemon, octets: &[u8]) {
    let path = format!("{VICAL}.versions.2026-06");
    let signer =
        daemon.client.get(&format!("/v1/{STORE}.vical-signer/x509-store-api/certificates"));
    let signer = &signer.ok().json["data"]["pem"];
    let manifest = json!({
        "versionIdPath": path, "version": "1.0", "vicalProvider": "Acme Trust List Office",
        "vicalIssueId": 1, "date": "2026-06-15T09:40:00Z", "nextUpdate": "2099-09-15T00:00:00Z",
        "entryCount": 3, "sizeBytes": octets.len(), "sha256": sha256(octets),
        "signatureAlgorithm": "ES256", "formats": ["hex", "base64", "cbor"],
    });
    let trust = json!({
        "versionIdPath": path, "signerCertificatePem": signer, "signerCertificateChainPem": [],
    });
    for place in [latest, |tail: &str| version("2026-06", tail)] {
        for (tail, expected) in [("/manifest", &manifest), ("/trust-material", &trust)] {
            let fetched = fetch(daemon, &place(tail), &[]).ok();
            assert_eq!(fetched.json(), *expected, "{tail}");
            assert_eq!(fetched.header("content-type"), Some("application/json"));
            let tag = fetched.header("etag").unwrap().to_owned();
            assert_eq!(fetch(daemon, &place(tail), &[("if-none-match", &tag)]).status, 304);
            assert_eq!(daemon.client.get(&place(tail)).ok().json, *expected);
            assert!(send(daemon, "HEAD", &place(tail), &[]).ok().body.is_empty());
        }
    }
    let ids = daemon.client.get(&format!("/v1/{VICAL}/vical-service-api/versions/ids")).ok();
    assert_eq!(ids.json, json!([path]));
}

#[test]
fn the_public_routes_need_no_grant_and_the_public_listener_has_nothing_else() {
    let appliance = appliance();
    let stranger = appliance.client_certificate("stranger", "/CN=stranger", "-days 2");
    appliance.declare("[[clients]]\nname = \"stranger\"\nsubject = \"CN=stranger\"");
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    publish(&daemon.client, &json!({ "vicalProvider": "Acme", "versionId": "one" })).ok();

    let stranger = daemon.client_with(&appliance, &stranger);
    assert_eq!(stranger.get(&latest("/manifest")).status, 200);
    assert_eq!(stranger.get(&version("one", "")).status, 200);
    assert_eq!(stranger.get(&format!("/v1/{VICAL}/vical-service-api/versions/ids")).status, 403);
    assert_eq!(publish(&stranger, &by_acme()).status, 403);

    for (method, path) in [
        ("GET", "/".to_owned()),
        ("GET", "/healthz".to_owned()),
        ("GET", "/readyz".to_owned()),
        ("GET", format!("/v1/{VICAL}/vical-service-api/versions/ids")),
        ("POST", format!("/v1/{VICAL}/vical-service-api/publish")),
        ("GET", format!("/v1/{STORE}/x509-store-api/certificates")),
        ("POST", format!("/v1/{SERVICE}/x509-service-api/csrs")),
        ("GET", version("two", "")),
        ("GET", format!("/v1/{VICAL}.versions.one/vical-service-api/latest")),
        ("GET", format!("/v1/{VICAL}/vical-service-api/versions")),
        ("GET", format!("/v1/{VICAL}.other.one/vical-service-api/versions")),
        ("GET", format!("/v1/{STORE}/vical-service-api/latest")),
        ("GET", "/v1/test.none/vical-service-api/latest".to_owned()),
    ] {
        let refused = send(&daemon, method, &path, &[]);
        assert_eq!(refused.status, 404, "{method} {path}");
        assert_eq!(refused.json()["id"], "NotFoundException");
        assert!(refused.header("x-request-id").is_some());
    }
    for method in ["POST", "PUT", "DELETE"] {
        for path in [latest(""), version("one", "/manifest")] {
            let refused = send(&daemon, method, &path, &[]);
            assert_eq!(refused.status, 405, "{method} {path}");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"));
            assert_eq!(daemon.client.send(method, &path, &[], "").unwrap().status, 405);
        }
    }
    assert_eq!(fetch(&daemon, "/v1/a%20b/vical-service-api/latest", &[]).status, 400);
    // Also over HTTP/2, HEAD has no body and says how long it would be.
    let head = appliance.shell(&format!(
        "curl -sS --http2 -I --cacert pki/server-ca.pem --cert pki/client.pem \
         --key pki/client.key '{}{}?format=cbor'",
        daemon.url,
        latest("")
    ));
    let length = format!("content-length: {}", octets_of_latest(&daemon).len());
    assert!(head.starts_with("HTTP/2 200") && head.contains(&length), "{head}");
    daemon.stop();
}

// ---- what is listed ----

#[test]
fn one_certificate_in_several_stores_is_listed_once_with_all_its_document_types() {
    let appliance = appliance();
    let second = "test.tenant1.x509-store-2";
    appliance.configure(|text| {
        text.replace(
            &with_store(),
            &format!("dependencies = [\"{second}\", \"{KMS}\", \"{STORE}\"]"),
        )
    });
    appliance.declare(&format!("[[services]]\npath = \"{second}\"\ntype = \"x509-store\""));
    let daemon = appliance.start();
    let client = &daemon.client;
    issue_signer(client);
    let metadata = json!({
        "docType": ["a", "b"], "certificateProfile": ["urn:oid:1.0.18013.5.1.7"],
    });
    let issued = client.issue("iso/iacas", &iaca("iaca-secp256r1", "one", &metadata)).ok();
    client.issue("iso/iacas", &iaca("iaca-secp384r1", "two", &mdl())).ok();
    let add = |id: &str, metadata: Value| {
        let body = json!({
            "type": "vical-entry", "certificatePem": issued.certificate(),
            "complementaryMetadata": metadata,
        });
        let path = format!("/v1/{id}/x509-store-api/certificates");
        assert_eq!(client.post(&path, &body.to_string()).status, 201);
    };
    add(&format!("{second}.z"), json!({ "docType": ["c", "b"], "certificateProfile": ["free"] }));
    add(&format!("{STORE}.zzz"), json!({ "docType": ["d", "a"] }));

    let answer = publish(client, &by_acme()).ok();
    assert_eq!(answer.json["entryCount"], 2);
    let said = judged(&appliance, &octets_of_latest(&daemon));
    let entries = said["entries"].as_array().unwrap();
    let expected = [
        (json!(["c", "b", "a", "d"]), json!(["free", "urn:oid:1.0.18013.5.1.7"])),
        (json!(["org.iso.18013.5.1.mDL"]), Value::Null),
    ];
    for (entry, (doc_types, profiles)) in entries.iter().zip(&expected) {
        assert_eq!((&entry["docType"], &entry["certificateProfile"]), (doc_types, profiles));
    }
    // 'free' is no URN: published, and said in log and audit.
    let warned = "select count(*) from audit_entries where \
                  cast(entry as text) like '%\"type\":\"vical-published\"%not a URN%'";
    assert_eq!(appliance.count(warned), 1);
    assert!(daemon.log().contains("'free'"));
    daemon.stop();
}

#[test]
fn an_expired_iaca_is_left_out_and_named() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    let soon = chancery::domain::time::Timestamp::now().plus_seconds(3);
    let mut short = iaca("iaca-secp256r1", "short", &mdl());
    short["certificateData"]["notBefore"] = "2020-01-01T00:00:00Z".into();
    short["certificateData"]["notAfter"] = soon.to_string().into();
    daemon.client.issue("iso/iacas", &short).ok();
    thread::sleep(Duration::from_secs(5));
    let refused = publish(&daemon.client, &by_acme());
    assert_eq!(refused.status, 400, "{}", refused.json);

    daemon.client.issue("iso/iacas", &iaca("iaca-secp384r1", "long", &mdl())).ok();
    let answer = publish(&daemon.client, &by_acme()).ok();
    assert_eq!(answer.json["entryCount"], 1);
    assert_eq!(
        answer.json["skipped"],
        json!([{ "storedCertificateId": format!("{STORE}.short"), "reason": "expired" }])
    );
    assert_eq!(
        judged(&appliance, &octets_of_latest(&daemon))["entries"].as_array().unwrap().len(),
        1
    );
    daemon.stop();
}

#[test]
fn a_list_of_nothing_and_a_tag_are_written_where_the_settings_say_so() {
    let appliance = appliance();
    set(&appliance, "allow_empty = true\ncose_tag = true");
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    assert_eq!(publish(&daemon.client, &by_acme()).ok().json["entryCount"], 0);
    let octets = octets_of_latest(&daemon);
    assert!(hex(&octets).starts_with("d28443a10126"), "{}", hex(&octets));
    let said = judged(&appliance, &octets);
    assert_eq!((&said["tagged"], &said["entries"]), (&json!(true), &json!([])));
    daemon.stop();
}

// ---- versions ----

#[test]
fn issue_ids_are_consecutive_however_many_publish_at_once() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| publish(&daemon.client.clone(), &by_acme()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().ok()).collect()
    });
    let ids: BTreeSet<_> =
        answers.iter().map(|answer| answer.json["vicalIssueId"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=8).collect());

    // Newest first, and the newest is the latest.
    let mut by_id = answers;
    by_id.sort_by_key(|answer| std::cmp::Reverse(answer.json["vicalIssueId"].as_u64()));
    let paths: Vec<_> = by_id.iter().map(|answer| answer.json["versionIdPath"].clone()).collect();
    let ids = daemon.client.get(&format!("/v1/{VICAL}/vical-service-api/versions/ids"));
    assert_eq!(ids.ok().json, Value::Array(paths));
    assert_eq!(fetch(&daemon, &latest("/manifest"), &[]).ok().json()["vicalIssueId"], 8);
    assert_eq!(judged(&appliance, &octets_of_latest(&daemon))["issueId"], 8);
    daemon.stop();
}

#[test]
fn of_two_requests_for_one_version_one_is_a_duplicate_and_spends_no_issue_id() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let body = json!({ "vicalProvider": "Acme", "versionId": "2026-06" });
    let mut answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| publish(&daemon.client.clone(), &body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [200, 409, 409, 409]
    );
    for refused in &answers[1..] {
        let mut told = refused.json.clone();
        let id = told.as_object_mut().unwrap().remove("requestId");
        assert!(id.is_some());
        let target = format!("{VICAL}.versions.2026-06");
        assert_eq!(
            told,
            json!({
                "type": "DuplicateTarget", "status": 409,
                "message": format!("target already exists: {target}"), "target": target,
                "target_entry_type": "vical-version", "exception": true,
                "id": "ConflictException", "code": "409", "field": "/versionId",
            })
        );
    }
    assert_eq!(publish(&daemon.client, &by_acme()).ok().json["vicalIssueId"], 2);
    daemon.stop();
}

#[test]
fn an_idempotency_key_publishes_once() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let send = || {
        let path = format!("/v1/{VICAL}/vical-service-api/publish");
        let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
        daemon.client.send("POST", &path, &headers, by_acme().to_string()).unwrap().ok()
    };
    let (first, second) = (send(), send());
    assert_eq!(first.body, second.body);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(appliance.count("select count(*) from vical_versions"), 1);
    daemon.stop();
}

#[test]
fn what_was_cut_off_between_intent_and_outcome_is_no_version_and_its_issue_id_is_spent() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let body = json!({ "vicalProvider": "Acme", "versionId": "cut" });

    // The signers hold still, so that the intent is recorded and no signature comes.
    let signers = daemon.signers();
    for signer in &signers {
        signal(*signer, "STOP");
    }
    let client = daemon.client.clone();
    let cut_off = thread::spawn(move || {
        let path = format!("/v1/{VICAL}/vical-service-api/publish");
        client.try_post(&path, &body.to_string()).is_err()
    });
    let open = "select count(*) from intents where purpose = 'vical' and state = 'open'";
    until(SOON, || (appliance.count(open) == 1).then_some(())).expect("no intent");
    let reserved = "select count(*) from vical_versions where reserved_by is not null";
    assert_eq!(appliance.count(reserved), 1);
    assert_eq!(fetch(&daemon, &version("cut", ""), &[]).status, 404);
    daemon.kill();
    for signer in &signers {
        signal(*signer, "KILL");
    }
    assert!(cut_off.join().unwrap());

    let daemon = appliance.start();
    daemon.wait_until_ready();
    assert_eq!(appliance.count(open), 0);
    assert_eq!(appliance.count("select count(*) from vical_versions"), 0);
    assert_eq!(fetch(&daemon, &latest(""), &[]).status, 404);
    let again = json!({ "vicalProvider": "Acme", "versionId": "cut" });
    assert_eq!(publish(&daemon.client, &again).ok().json["vicalIssueId"], 2);
    daemon.stop();
}

// ---- refusals ----

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, field: Option<&str>, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.json);
    assert_eq!(answer.json["field"].as_str(), field, "{}", answer.json);
    let message = answer.json["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
}

#[test]
fn what_breaks_a_rule_is_refused_and_nothing_is_published() {
    let appliance = appliance();
    appliance.configure(|text| {
        text.replace(
            &format!("path = \"{KMS}\"\ntype = \"kms\"\n"),
            &format!(
                "path = \"{KMS}\"\ntype = \"kms\"\n[services.policies]\n\
                 secp256r1 = [\"iaca\", \"generic\"]\n"
            ),
        )
    });
    let vical = |name: &str| format!("test.tenant1.{name}");
    for (name, key, certificate) in [
        ("mismatch", "leaf-secp256r1", "vical-signer"),
        ("no-key", "none", "vical-signer"),
        ("no-certificate", SIGNER_KEY, "none"),
        ("policy", "secp256r1", "vical-signer"),
        ("rsa", "root-rsa3072", "rsa"),
        ("chainless", "leaf-secp256r1", "leaf"),
        ("short-lived", "ds-secp256r1", "short-lived"),
    ] {
        appliance.declare(&service(&vical(name), key, certificate, &with_store()));
    }
    let wrong_chain = format!(
        "{}\nsigner_certificate_chain = [\"{STORE}.vical-signer\", \"{STORE}.rsa\"]",
        with_store()
    );
    appliance.declare(&service(&vical("wrong-chain"), "leaf-secp256r1", "leaf", &wrong_chain));
    appliance.declare(&service(&vical("storeless"), SIGNER_KEY, "vical-signer", ""));
    let daemon = appliance.start();
    let client = &daemon.client;
    issue_signer(client);
    client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let mut rsa = generic_ca("root-rsa3072", "RSA");
    rsa["storedCertificateId"] = "rsa".into();
    client.issue("certificate", &rsa).ok();
    let mut leaf = generic_ca(SIGNER_KEY, "Leaf");
    leaf["storedCertificateId"] = "leaf".into();
    leaf["certificateData"]["isCertificateAuthority"] = false.into();
    leaf["certificateData"]["keyUsage"] = json!(["NonRepudiation"]);
    leaf["subjectPublicKeySource"]["keyDescriptor"] = key("leaf-secp256r1");
    leaf["issuer"] = json!({ "type": "ca-signed", "issuerKeyDescriptor": key(SIGNER_KEY) });
    client.issue("certificate", &leaf).ok();
    let mut short = generic_ca("ds-secp256r1", "Short-lived");
    short["storedCertificateId"] = "short-lived".into();
    let soon = chancery::domain::time::Timestamp::now().plus_seconds(2);
    short["certificateData"]["notAfter"] = soon.to_string().into();
    short["certificateData"]["notBefore"] = "2026-01-01T00:00:00Z".into();
    client.issue("certificate", &short).ok();
    thread::sleep(Duration::from_secs(4));

    // Bodies.
    let at = "2026-06-15T09:40:00Z";
    let provider = |more: Value| {
        let mut body = by_acme();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, field, words) in [
        (json!({}), "/vicalProvider", "required"),
        (json!({ "vicalProvider": " " }), "/vicalProvider", "blank"),
        (provider(json!({ "versionId": "a.b" })), "/versionId", "versionId"),
        (provider(json!({ "versionId": "" })), "/versionId", "versionId"),
        (provider(json!({ "issuanceDate": "today" })), "/issuanceDate", "RFC 3339"),
        (provider(json!({ "unknown": 1 })), "/unknown", "unknown member 'unknown'"),
        (provider(json!({ "issuanceDate": at, "nextUpdate": at })), "/nextUpdate", "later than"),
        (provider(json!({ "nextUpdate": "2020-01-01T00:00:00Z" })), "/nextUpdate", "later than"),
    ] {
        assert_refused(&publish(client, &body), 400, Some(field), words);
    }

    // Signers and keys; nothing in the request is to blame.
    for (name, status, words) in [
        ("mismatch", 400, "does not belong to the signing key"),
        ("chainless", 400, "chain is missing"),
        ("wrong-chain", 400, "chain does not verify"),
        ("short-lived", 400, "not now"),
        ("rsa", 400, "RSA is not allowed"),
        ("storeless", 400, "no vical-entry in the attached stores"),
        ("policy", 403, "may not sign profile vical"),
        ("no-key", 404, "key test.tenant1.kms1.none not found"),
        ("no-certificate", 404, "does not exist"),
    ] {
        assert_refused(&publish_at(client, &vical(name), &by_acme()), status, None, words);
    }

    // Before the first publication.
    let none = fetch(&daemon, &latest("/manifest"), &[]);
    assert_eq!((none.status, none.json()["message"].as_str()), (404, Some("no version published")));
    let ids = client.get(&format!("/v1/{VICAL}/vical-service-api/versions/ids"));
    assert_eq!(ids.ok().json, json!([]));
    assert_eq!(appliance.count("select count(*) from intents where purpose = 'vical'"), 0);
    assert_eq!(publish(client, &by_acme()).ok().json["vicalIssueId"], 1);
    daemon.stop();
}

#[test]
fn what_another_organisation_has_is_not_signed_with() {
    let appliance = appliance();
    appliance.configure(|text| {
        text.replace("path = \"test\"\n", "path = \"test\"\n[[organisations]]\npath = \"other\"\n")
            .replace("{ path = \"test\", ", "{ path = \"other\", permissions = [\"resource:write\"] },\n    { path = \"test\", ")
    });
    let daemon = appliance.start();
    let body = json!({
        "type": "vical-service", "signingKeyId": format!("{KMS}.{SIGNER_KEY}"),
        "signerCertificateId": format!("{STORE}.vical-signer"),
    });
    let path = "/v1/other.vical/resource-api/services/create";
    let refused = daemon.client.post(path, &body.to_string());
    assert_refused(&refused, 400, Some("/signingKeyId"), "another organisation");
    daemon.stop();

    appliance.declare(&service("other.vical", SIGNER_KEY, "vical-signer", ""));
    let output = appliance.run(&["check", "--config", appliance.config().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("another organisation"), "{text}");
}

#[test]
fn the_strict_mode_refuses_what_is_only_reported_without_it() {
    let appliance = appliance();
    let daemon = appliance.start();
    issue_signer(&daemon.client);
    daemon.client.issue("iso/iacas", &iaca("iaca-secp256r1", "a", &mdl())).ok();
    let answer = publish(&daemon.client, &by_acme()).ok();
    assert!(daemon.log().contains("does not have the VICAL signer profile"));
    let index = answer.header("chancery-audit-index").unwrap();
    let warned = format!(
        "select count(*) from audit_entries where idx = {index} and \
         cast(entry as text) like '%VICAL signer profile%nonRepudiation%'"
    );
    assert_eq!(appliance.count(&warned), 1);
    // A signer with the whole profile, made elsewhere from a CSR of ours.
    let csr = daemon.client.issue(
        "csrs",
        &json!({
            "type": "generic", "subjectKeyDescriptor": key("leaf-secp256r1"),
            "subjectName": {
                "country": "NL", "organizationName": "Acme", "commonName": "Acme VICAL Signer",
            },
        }),
    );
    fs::write(appliance.path("signer.csr"), csr.ok().json["csrPem"].as_str().unwrap()).unwrap();
    appliance.shell(
        "openssl ecparam -name prime256v1 -genkey -noout -out ca.key
         openssl req -x509 -new -key ca.key -days 900 -subj '/C=NL/CN=VICAL CA' \
             -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' \
             -out ca.pem
         printf '%s\\n' 'keyUsage=critical,nonRepudiation' \
             'extendedKeyUsage=critical,1.0.18013.5.1.8' 'subjectKeyIdentifier=hash' \
             'authorityKeyIdentifier=keyid' 'crlDistributionPoints=URI:http://crl.example/ca.crl' \
             >signer.ext
         openssl x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -days 800 \
             -set_serial 0x$(openssl rand -hex 15)01 -extfile signer.ext -out signer.pem",
    );
    for (id, file) in [("profiled", "signer.pem"), ("vical-ca", "ca.pem")] {
        let pem = fs::read_to_string(appliance.path(file)).unwrap();
        let body = json!({ "type": "base", "certificatePem": pem }).to_string();
        let path = format!("/v1/{STORE}.{id}/x509-store-api/certificates");
        assert_eq!(daemon.client.post(&path, &body).status, 201);
    }
    daemon.stop();

    set(&appliance, "strict = true");
    let profiled = "test.tenant1.vical-2";
    let chain = format!("{}\nsigner_certificate_chain = [\"{STORE}.vical-ca\"]", with_store());
    appliance.declare(&service(profiled, "leaf-secp256r1", "profiled", &chain));
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let refused = publish(&daemon.client, &by_acme());
    assert_refused(&refused, 400, None, "does not have the VICAL signer profile");

    publish_at(&daemon.client, profiled, &by_acme()).ok();
    let path = format!("/v1/{profiled}/vical-service-api/latest");
    let octets = fetch(&daemon, &format!("{path}?format=cbor"), &[]).ok().body;
    let said = judged(&appliance, &octets);
    let names = json!(["CN=Acme VICAL Signer,O=Acme,C=NL", "CN=VICAL CA,C=NL"]);
    assert_eq!(said["chain"].as_array().unwrap().len(), 2);
    assert_eq!(said["chain"][1], names[1]);
    let trust = fetch(&daemon, &format!("{path}/trust-material"), &[]).ok().json();
    let ca = fs::read_to_string(appliance.path("ca.pem")).unwrap();
    assert_eq!(trust["signerCertificateChainPem"], json!([ca]));

    // In an entry, too.
    let pem = daemon.client.get(&format!("/v1/{STORE}.a/x509-store-api/certificates")).ok();
    let body = json!({
        "type": "vical-entry", "certificatePem": pem.json["data"]["pem"],
        "complementaryMetadata": { "docType": ["a"], "certificateProfile": ["free"] },
    });
    let entry = format!("/v1/{STORE}.b/x509-store-api/certificates");
    assert_eq!(daemon.client.post(&entry, &body.to_string()).status, 201);
    let refused = publish_at(&daemon.client, profiled, &by_acme());
    assert_refused(&refused, 400, None, "'free'");
    daemon.stop();
}
