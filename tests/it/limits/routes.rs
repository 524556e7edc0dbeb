//! Which methods a route has, and which routes there are not.

use crate::{
    appliance::{Appliance, KMS, SERVICE, STORE, documented},
    support::refused,
};

#[test]
fn every_known_route_with_another_method_says_which_it_has() {
    let appliance = Appliance::new();
    appliance.configure(|text| format!("{text}\n[compat]\nlogin = true\n"));
    let daemon = appliance.start();
    let client = &daemon.client;
    let x509 = |tail: &str| format!("/v1/{SERVICE}/x509-service-api/{tail}");
    for (target, allowed) in [
        (x509("iso/iacas"), "POST"),
        (x509("iso/document-signers"), "POST"),
        (x509("certificate"), "POST"),
        (x509("csrs"), "POST"),
        (x509("certificates"), "GET"),
        (x509("certificates/0a"), "GET"),
        (x509("dependencies"), "GET"),
        (x509("dependencies/add"), "POST"),
        (x509("dependencies/remove"), "POST"),
        ("/v1/test/resource-api/tenants".to_owned(), "GET"),
        ("/v1/test/resource-api/services".to_owned(), "GET"),
        ("/v1/test.t/resource-api/tenants/create".to_owned(), "POST"),
        ("/v1/test.t/resource-api/services/create".to_owned(), "POST"),
        (format!("/v1/{STORE}/x509-store-api/certificates/ids"), "GET"),
        ("/auth/account/emailpass".to_owned(), "POST"),
        ("/healthz".to_owned(), "GET"),
        ("/readyz".to_owned(), "GET"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            if method == allowed {
                continue;
            }
            let headers = [("content-type", "application/json")];
            let answer = client.send(method, &target, &headers, "").unwrap();
            assert_eq!(answer.status, 405, "{method} {target}: {}", answer.json);
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
            if method == "HEAD" {
                assert_eq!(answer.text, "");
            } else {
                refused(&answer, 405, None, &format!("use {allowed}"));
                assert_eq!(answer.json["id"], "MethodNotAllowedException");
            }
        }
    }
    assert_eq!(appliance.count("select count(*) from intents"), 0);
}

#[test]
fn the_abandoned_forms_and_what_never_was_are_not_found() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    let iaca = documented("iacas-create.request.json");
    for tail in ["iso/iacas", "iso/document-signers", "certificate", "csrs"] {
        let target = format!("/v1/{SERVICE}.iaca-2026/x509-service-api/{tail}");
        refused(&client.post_json(&target, &iaca), 404, None, "iaca-2026 does not exist");
        // The id as one more segment is no better.
        let target = format!("/v1/{SERVICE}/x509-service-api/{tail}/iaca-2026");
        refused(&client.post_json(&target, &iaca), 404, None, "not found");
    }
    for target in [
        format!("/v1/{KMS}.k/kms-service-api/keys/store"),
        format!("/v1/{SERVICE}/x509-service-api/certificates/0a/0b"),
        format!("/v1/{SERVICE}/x509-service-api"),
        format!("/v1/{SERVICE}/x509-service-api/"),
        format!("/v1/{SERVICE}"),
        "/v1".to_owned(),
        "/".to_owned(),
        "/v1/test/resource-api/tenant".to_owned(),
        "/v1/test/resource-api/tenants/".to_owned(),
        "/auth/account".to_owned(),
        "/favicon.ico".to_owned(),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let headers = [("content-type", "application/json")];
            let answer = client.send(method, &target, &headers, "").unwrap();
            refused(&answer, 404, None, "not found");
        }
    }
    assert_eq!(appliance.count("select count(*) from intents"), 0);
}
