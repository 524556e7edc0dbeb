//! A VICAL from its publication to those who read it, in every form.

use super::*;

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
        assert_eq!(refused.header("content-type"), Some("text/plain"));
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
        assert_eq!(refused.header("content-type"), Some("text/plain"));
        assert_eq!(refused.text(), "not found");
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
