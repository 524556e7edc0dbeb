//! What a client may send, and the login that grants nothing.

use serde_json::json;

use crate::appliance::{Appliance, SERVICE, documented};

/// Puts settings into a table of the configuration.
fn set(appliance: &Appliance, toml: &str) {
    // Tables come before the lists of the shipped file.
    appliance.configure(|text| text.replacen("[[tokens]]", &format!("{toml}\n\n[[tokens]]"), 1));
}

#[test]
fn a_client_that_sends_too_much_waits_and_the_others_do_not() {
    let appliance = Appliance::new();
    set(&appliance, "[limits]\nclient_requests_per_minute = 3");
    let other = appliance.client_certificate("other", "/CN=other", "");
    appliance.declare(
        "[[clients]]\nname = \"other\"\nsubject = \"CN=other\"\n\
         grants = [{ path = \"test\", permissions = [\"resource:read\"] }]",
    );
    let daemon = appliance.start();
    let path = "/v1/test.tenant1/resource-api/services";
    for _ in 0..3 {
        daemon.client.get(path).ok();
    }
    let refused = daemon.client.get(path);
    assert_eq!(refused.status, 429, "{}", refused.json);
    assert_eq!(refused.json["id"], "TooManyRequestsException");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let issuing = daemon.client.issue("iso/iacas", &documented("iacas-create.request.json"));
    assert_eq!(issuing.status, 429, "{}", issuing.json);
    assert_eq!(appliance.count("select count(*) from intents"), 0);
    daemon.client_with(&appliance, &other).get(path).ok();
}

#[test]
fn the_login_is_off_unless_it_is_switched_on_and_grants_nothing() {
    let appliance = Appliance::new();
    let login = json!({ "email": "a@b.example", "password": "correct horse" }).to_string();
    let path = "/auth/account/emailpass";
    let daemon = appliance.start();
    assert_eq!(daemon.client.post(path, &login).status, 404);
    daemon.stop();

    set(&appliance, "[compat]\nlogin = true");
    let nobody = appliance.client_certificate("nobody", "/CN=nobody", "");
    appliance.declare("[[clients]]\nname = \"nobody\"\nsubject = \"CN=nobody\"");
    let daemon = appliance.start_with(&[]);
    let client = daemon.client_with(&appliance, &nobody);
    let answer = client.post(path, &login).ok();
    let token = answer.json["token"].as_str().unwrap();
    assert!(token.starts_with("chl_") && token.len() > 20, "{token}");
    let headers =
        [("content-type", "application/json"), ("authorization", &format!("Bearer {token}"))];
    let route = format!("/v1/{SERVICE}/x509-service-api/iso/iacas");
    let request = documented("iacas-create.request.json").to_string();
    let refused = client.send("POST", &route, &headers, request).unwrap();
    assert_eq!(refused.status, 403, "{}", refused.json);
    assert!(!daemon.log().contains("correct horse"));
    let broken = client.post(path, r#"{"email":"a@b.example"}"#);
    assert_eq!((broken.status, broken.json["field"].as_str()), (400, Some("/password")));
}
