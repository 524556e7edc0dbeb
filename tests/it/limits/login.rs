//! The login of existing clients.

use serde_json::json;

use crate::{
    appliance::{Appliance, Client, Daemon, SERVICE, SOFTHSM_WARNING, STORE},
    support::{leaf, members, refused},
};

const LOGIN: &str = "/auth/account/emailpass";

fn with_login() -> (Appliance, std::path::PathBuf) {
    let appliance = Appliance::new();
    appliance
        .configure(|text| format!("{text}\n[compat]\nlogin = true\n[log]\nfilter = \"trace\"\n"));
    let nobody = appliance.add_client("nobody", &[]);
    (appliance, nobody)
}

#[test]
fn without_the_setting_there_is_no_login() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let body = json!({ "email": "a@example.com", "password": "x" });
    refused(&daemon.client.post_json(LOGIN, &body), 404, None, "not found");
    refused(&daemon.client.get(LOGIN), 404, None, "not found");
    let health = daemon.client.get("/healthz").ok();
    assert_eq!(health.json["warnings"], json!([SOFTHSM_WARNING]), "nothing but the token");
}

#[test]
fn a_login_takes_anything_and_gives_a_token_of_its_own() {
    let (appliance, nobody) = with_login();
    let daemon = appliance.start();
    let mut seen = std::collections::BTreeSet::new();
    for client in [daemon.client.clone(), daemon.client_with(&appliance, &nobody)] {
        for body in [
            json!({ "email": "a@example.com", "password": "x" }),
            json!({ "email": "", "password": "" }),
            json!({ "email": "no address\n", "password": "\u{0}ü".repeat(3_000) }),
            json!({ "email": "a", "password": "b", "remember": true, "x": { "y": [] } }),
        ] {
            let answer = client.post_json(LOGIN, &body).ok();
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(members(&answer.json), ["token"]);
            let token = answer.json["token"].as_str().unwrap();
            let random = token.strip_prefix("chl_").unwrap();
            assert_eq!(random.len(), 22, "16 octets in base64url");
            assert!(random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert!(seen.insert(token.to_owned()), "twice: {token}");
        }
    }
    let client = &daemon.client;
    for (body, field, message) in [
        ("{}", Some("/email"), "email is required"),
        (r#"{"email": "a"}"#, Some("/password"), "password is required"),
        (r#"{"email": null, "password": "b"}"#, Some("/email"), "email is required"),
        (r#"{"email": 1, "password": "b"}"#, Some("/email"), "email must be a string"),
        (r#"{"email": "a", "password": ["b"]}"#, Some("/password"), "must be a string"),
        (r#"{"email": "a", "email": "b", "password": "b"}"#, Some("/email"), "occurs twice"),
        ("[]", None, "must be an object"),
        ("", None, "body is not JSON"),
    ] {
        refused(&client.post(LOGIN, body), 400, field, message);
    }
    let text = client.send("POST", LOGIN, &[("content-type", "text/plain")], "{}").unwrap();
    refused(&text, 415, None, "send application/json");
    let health = client.get("/healthz").ok();
    assert!(health.json["warnings"][0].as_str().unwrap().contains("compat.login"));
}

/// What a client may do with a token in its header.
fn with_token(client: &Client, token: &str) -> [u16; 2] {
    let bearer = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let body = leaf("leaf-secp256r1", "Leaf").to_string();
    let issue = format!("/v1/{SERVICE}/x509-service-api/certificate");
    let read = format!("/v1/{STORE}/x509-store-api/certificates");
    [("POST", issue.as_str(), body.as_str()), ("GET", read.as_str(), "")]
        .map(|(method, path, body)| client.send(method, path, &headers, body).unwrap().status)
}

#[test]
fn a_token_grants_nothing_and_takes_nothing_away() {
    let (appliance, nobody) = with_login();
    let stray = appliance.client_certificate("stray", "/CN=stray", "-days 2");
    let daemon: Daemon = appliance.start();
    let body = json!({ "email": "a@example.com", "password": "x" });
    let token = |client: &Client| {
        let answer = client.post_json(LOGIN, &body).ok();
        answer.json["token"].as_str().unwrap().to_owned()
    };
    let nobody = daemon.client_with(&appliance, &nobody);
    let stray = daemon.client_with(&appliance, &stray);
    let known = [token(&daemon.client), token(&nobody), "nonsense".to_owned(), String::new()];
    for token in &known {
        assert_eq!(with_token(&daemon.client, token), [200, 200]);
        assert_eq!(with_token(&nobody, token), [403, 403]);
        assert_eq!(with_token(&stray, token), [401, 401]);
    }
    let unknown = "client certificate 'CN=stray' is not a known client";
    refused(&stray.post_json(LOGIN, &body), 401, None, unknown);
}

#[test]
fn what_is_sent_to_the_login_is_in_no_log_and_no_ledger() {
    let (appliance, _) = with_login();
    let daemon = appliance.start();
    let client = &daemon.client;
    let (email, password) = ("wally-the-secret@example.com", "hunter2-the-secret");
    let body = json!({ "email": email, "password": password });
    let token = client.post_json(LOGIN, &body).ok().json["token"].as_str().unwrap().to_owned();
    // Also where it is refused.
    let more = json!({ "email": [email], "password": password });
    let refusals = [
        client.post_json(LOGIN, &more),
        client.post(LOGIN, &format!("{{\"email\": \"{email}\", \"{password}")),
        client.send("PUT", LOGIN, &[("content-type", "application/json")], password).unwrap(),
    ];
    assert_eq!(refusals.each_ref().map(|answer| answer.status), [400, 400, 405]);
    let random = token.strip_prefix("chl_").unwrap().to_owned();
    let audit = "select group_concat(cast(entry as text)) from audit_entries";
    let audit: String = appliance.ledger().query_row(audit, [], |row| row.get(0)).unwrap();
    let answers: String = refusals.iter().map(|answer| answer.text.as_str()).collect();
    // The question was a good one: that there was a login is known.
    assert!(daemon.log().contains(LOGIN));
    assert!(audit.contains(LOGIN));
    for secret in [email, "wally", password, "hunter2", &random] {
        assert!(!daemon.log().contains(secret), "{secret}");
        assert!(!audit.contains(secret), "{secret}");
        assert!(!answers.contains(secret), "{secret}");
    }
}
