//! What a key is, whose it is, and how long.

use serde_json::json;

use super::{counts, fresh, plain, replayed, requests};
use crate::{
    appliance::{Appliance, SERVICE, SOON, STORE, until},
    support::{leaf, refused},
};

#[test]
fn the_first_answer_is_given_again_octet_for_octet_and_nothing_is_signed() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    for (number, (route, body)) in requests().into_iter().enumerate() {
        let key = format!("key-{number}");
        let first = fresh(daemon.client.issue_once(route, &key, &body));
        let is_certificate = route != "csrs";
        assert_eq!(first.header("chancery-serial").is_some(), is_certificate, "{route}");
        let before = counts(&appliance);
        for _ in 0..3 {
            // Also where the chosen id is taken by now: by this very certificate.
            replayed(&daemon.client.issue_once(route, &key, &body), &first);
        }
        assert_eq!(counts(&appliance), before, "{route}");
        // Without the header, or with another key, each call stands alone.
        let mut another = body.clone();
        if let Some(object) = another.as_object_mut() {
            object.remove("storedCertificateId");
        }
        for answer in [
            daemon.client.issue(route, &another),
            daemon.client.issue_once(route, &format!("{key}-b"), &another),
        ] {
            let answer = fresh(answer);
            assert_ne!(answer.header("chancery-audit-index"), first.header("chancery-audit-index"));
            if is_certificate {
                assert_ne!(answer.header("chancery-serial"), first.header("chancery-serial"));
            }
        }
        let after = counts(&appliance);
        assert_eq!(after[0], before[0] + 2, "{route}");
    }
}

#[test]
fn a_key_with_another_body_is_a_conflict_however_small_the_difference() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    let path = format!("/v1/{SERVICE}/x509-service-api/certificate");
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let body = plain("Leaf").to_string();
    let first = fresh(client.send("POST", &path, &headers, &body).unwrap());
    let before = counts(&appliance);
    for other in [format!("{body} "), format!("\n{body}"), plain("Other").to_string()] {
        let answer = client.send("POST", &path, &headers, &other).unwrap();
        refused(&answer, 409, None, "Idempotency-Key was used with another body");
        assert_eq!(answer.header("retry-after"), None, "waiting would not help");
        assert_eq!(answer.header("idempotent-replayed"), None);
        assert_eq!(answer.json.get("type"), None, "no duplicate of a target");
    }
    // The conflict comes before the rules of the fields, and after JSON, members and types.
    let with = |name: &str, value: serde_json::Value| {
        let mut other = plain("Leaf");
        other["certificateData"][name] = value;
        client.send("POST", &path, &headers, other.to_string()).unwrap()
    };
    let rule = with("keyUsage", json!(["Nothing"]));
    refused(&rule, 409, None, "Idempotency-Key was used with another body");
    refused(&with("keyUsage", json!([1])), 400, Some("/certificateData/keyUsage/0"), "string");
    refused(&with("more", json!(1)), 400, Some("/certificateData/more"), "unknown member");
    // Each refusal is an entry of the audit log, and no more than that.
    let [intents, certificates, entries] = counts(&appliance);
    assert_eq!([intents, certificates, entries - 6], before);
    replayed(&client.send("POST", &path, &headers, &body).unwrap(), &first);
}

#[test]
fn a_key_has_one_to_128_characters_of_its_alphabet() {
    let appliance = Appliance::new();
    let daemon = appliance.start();
    let client = &daemon.client;
    let long = "k".repeat(128);
    for good in ["a", "0", "A-z_0.9:", long.as_str()] {
        let first = fresh(client.issue_once("certificate", good, &plain("Leaf")));
        replayed(&client.issue_once("certificate", good, &plain("Leaf")), &first);
    }
    // Case makes a difference.
    fresh(client.issue_once("certificate", "A", &plain("Leaf")));
    let before = counts(&appliance)[..2].to_vec();
    let longer = "k".repeat(129);
    let wanted = "Idempotency-Key: 1 to 128 of A-Z a-z 0-9 . _ : -";
    for bad in ["", "a b", "a/b", "a,b", "\"a\"", "a=b", "ä", "a\tb", longer.as_str()] {
        let answer = client.issue_once("certificate", bad, &plain("Leaf"));
        refused(&answer, 400, None, wanted);
        assert_eq!(answer.json["id"], "BadRequestException");
    }
    let path = format!("/v1/{SERVICE}/x509-service-api/certificate");
    let twice = [
        ("content-type", "application/json"),
        ("idempotency-key", "one"),
        ("idempotency-key", "two"),
    ];
    let answer = client.send("POST", &path, &twice, plain("Leaf").to_string()).unwrap();
    refused(&answer, 400, None, wanted);
    assert_eq!(counts(&appliance)[..2], before);
    // Where keys mean nothing, they are not looked at.
    let certificate = client.issue("certificate", &plain("Leaf")).ok();
    let body = json!({ "type": "base", "certificatePem": certificate.certificate() }).to_string();
    for _ in 0..2 {
        let headers = [("content-type", "application/json"), ("idempotency-key", "a b")];
        let path = format!("/v1/{STORE}/x509-store-api/certificates");
        assert_eq!(client.send("POST", &path, &headers, &body).unwrap().status, 201);
    }
}

#[test]
fn a_key_is_one_clients_on_one_path() {
    let appliance = Appliance::new();
    appliance.declare(
        "[[services]]\npath = \"test.tenant1.bare\"\ntype = \"x509-service\"\n\
         dependencies = [\"test.tenant1.kms1\"]",
    );
    let second = appliance.add_client("second", &[("test", &["issue:generic", "issue:csr"])]);
    let daemon = appliance.start();
    let client = &daemon.client;
    let second = daemon.client_with(&appliance, &second);
    let body = plain("Leaf");
    let bare = |client: &crate::appliance::Client| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let path = "/v1/test.tenant1.bare/x509-service-api/certificate";
        client.send("POST", path, &headers, body.to_string()).unwrap()
    };
    let csr = requests().remove(3).1;
    let answers = [
        fresh(client.issue_once("certificate", "k", &body)),
        fresh(second.issue_once("certificate", "k", &body)),
        fresh(bare(client)),
        fresh(bare(&second)),
        // Another body is no conflict on another path.
        fresh(client.issue_once("csrs", "k", &csr)),
    ];
    for (first, again) in answers.iter().zip([
        client.issue_once("certificate", "k", &body),
        second.issue_once("certificate", "k", &body),
        bare(client),
        bare(&second),
        client.issue_once("csrs", "k", &csr),
    ]) {
        replayed(&again, first);
    }
    assert_eq!(counts(&appliance)[..2], [5, 4]);
}

#[test]
fn after_an_error_the_key_may_be_used_again_also_with_another_body() {
    let appliance = Appliance::new();
    appliance
        .configure(|text| text.replace("processes = 2", "processes = 1\nsign_deadline_ms = 2000"));
    let daemon = appliance.start();
    let client = &daemon.client;
    let mut stored = leaf("leaf-secp256r1", "Leaf");
    stored["storedCertificateId"] = "taken".into();
    fresh(client.issue("certificate", &stored));
    let mut wrong = plain("Leaf");
    wrong["certificateData"]["subjectName"]["country"] = "us".into();
    let mut missing = plain("Leaf");
    missing["subjectPublicKeySource"]["keyDescriptor"] = crate::appliance::key("none");
    for (body, status) in [(wrong, 400), (missing, 404), (stored, 409)] {
        for _ in 0..2 {
            let answer = client.issue_once("certificate", "k", &body);
            assert_eq!(answer.status, status, "{}", answer.json);
            assert_eq!(answer.header("idempotent-replayed"), None);
        }
    }
    // Signers that do not answer, and none that could take their place: 503, and the intent comes
    // to nothing.
    let conf = appliance.path("softhsm2.conf");
    let away = appliance.path("softhsm2.conf.away");
    std::fs::rename(&conf, &away).unwrap();
    super::signal_all(&daemon, "STOP");
    let answer = client.issue_once("certificate", "k", &plain("Leaf"));
    assert_eq!(answer.status, 503, "{}", answer.json);
    assert!(answer.header("retry-after").is_some());
    std::fs::rename(&away, &conf).unwrap();
    daemon.wait_until_ready();
    let first = fresh(client.issue_once("certificate", "k", &plain("Another")));
    replayed(&client.issue_once("certificate", "k", &plain("Another")), &first);
    let aborted = "select count(*) from intents where state = 'aborted'";
    assert_eq!(appliance.count(aborted), 1);
}

#[test]
fn answers_are_kept_as_long_as_is_configured() {
    let appliance = Appliance::new();
    appliance.declare("[idempotency]\nretention_hours = 2");
    let daemon = appliance.start();
    let kept = || appliance.count("select count(*) from answers");
    let ask = |daemon: &crate::appliance::Daemon, key: &str| {
        daemon.client.issue_once("certificate", key, &plain("Leaf"))
    };
    let age = |seconds: u32| {
        let set = format!("update answers set kept_at = kept_at - {seconds}");
        appliance.ledger().execute(&set, []).unwrap();
    };
    let first = fresh(ask(&daemon, "k"));
    age(7_100);
    replayed(&ask(&daemon, "k"), &first);
    age(200);
    let second = fresh(ask(&daemon, "k"));
    assert_ne!(second.header("chancery-serial"), first.header("chancery-serial"));
    assert_eq!(kept(), 1, "the new answer takes the place of the old");
    replayed(&ask(&daemon, "k"), &second);
    // At the start the old ones are forgotten, and only they.
    fresh(ask(&daemon, "old"));
    daemon.stop();
    age(7_300);
    let daemon = appliance.start();
    assert!(until(SOON, || (kept() == 0).then_some(())).is_some(), "{}", kept());
    let third = fresh(ask(&daemon, "k"));
    daemon.stop();

    // With 0 none is kept, and what was kept counts no more.
    appliance.configure(|text| text.replace("retention_hours = 2", "retention_hours = 0"));
    let daemon = appliance.start();
    let serials: std::collections::BTreeSet<_> = (0..4)
        .map(|_| fresh(ask(&daemon, "k")).header("chancery-serial").unwrap().to_owned())
        .chain([third.header("chancery-serial").unwrap().to_owned()])
        .collect();
    assert_eq!(serials.len(), 5);
    let other = daemon.client.issue_once("certificate", "k", &plain("Other"));
    fresh(other);
}
