//! What stands in a certificate when the request does not say.

use serde_json::{Value, json};

use crate::{
    appliance::key,
    refusals::{
        bench::Bench,
        request::{
            Ask, document_signer, document_signer_under, iaca, intermediate, leaf, leaf_under, root,
        },
    },
};

const START: &str = "/certificateData/notBefore";
const END: &str = "/certificateData/notAfter";
const LENGTH: &str = "/certificateData/pathLengthConstraint";

/// Seconds since 1970.
fn seconds(bench: &Bench, time: &Value) -> i64 {
    bench.shell(&format!("date -u -d {time} +%s")).trim().parse().unwrap()
}

fn span(bench: &Bench, data: &Value) -> i64 {
    seconds(bench, &data["notAfter"]) - seconds(bench, &data["notBefore"])
}

#[test]
fn each_profile_has_its_default_period() {
    let mut bench = Bench::new();
    let start = "2026-06-15T09:30:00Z";
    let asks: [(Ask, i64); 4] = [
        (iaca(), 7_300 * 86_400),
        (document_signer(), 457 * 86_400 - 1),
        (leaf(), 365 * 86_400),
        (root("root-secp256r1"), 365 * 86_400),
    ];
    for (ask, wanted) in asks {
        let before = seconds(&bench, &json!("now"));
        let answer = bench.accepted(&ask);
        let data = answer.json["certificateData"].clone();
        assert_eq!(span(&bench, &data), wanted);
        let (from, now) = (seconds(&bench, &data["notBefore"]), seconds(&bench, &json!("now")));
        assert!(before <= from && from <= now, "{before} {from} {now}");
        // The default end is counted from a given start.
        let answer = bench.accepted(&ask.set(START, start));
        let data = answer.json["certificateData"].clone();
        assert_eq!(data["notBefore"], start);
        assert_eq!(span(&bench, &data), wanted);
    }
    bench.verdict();
}

#[test]
fn given_periods_may_be_as_long_as_the_profile_allows() {
    let mut bench = Bench::new();
    let iaca = iaca().set(START, "2030-01-01T00:00:00Z").set(END, "2049-12-27T00:00:00Z");
    let answer = bench.accepted(&iaca);
    assert_eq!(span(&bench, &answer.json["certificateData"]), 7_300 * 86_400);
    let ds = document_signer().set(START, "2030-01-01T00:00:00Z").set(END, "2031-04-03T00:00:00Z");
    let answer = bench.accepted(&ds);
    assert_eq!(span(&bench, &answer.json["certificateData"]), 457 * 86_400);
    bench.accepted(&leaf().set(START, "1950-01-01T00:00:00Z").set(END, "9999-12-31T23:59:59Z"));
    bench.verdict();
}

#[test]
fn only_defaults_are_clipped_to_the_issuer() {
    let mut bench = Bench::new();
    let (start, end) = ("2026-01-01T00:00:00Z", "2027-01-15T00:00:00Z");
    let pem = bench.accepted(&iaca().set(START, start).set(END, end)).certificate().to_owned();
    let data = bench.accepted(&document_signer_under(&pem, "secp256r1")).json;
    assert_eq!(data["certificateData"]["notAfter"], end);
    bench.accepted(&root("root-secp256r1").set(START, start).set(END, end));
    let data = bench.accepted(&leaf_under("root-secp256r1")).json;
    assert_eq!(data["certificateData"]["notAfter"], end);
    // A described IACA that starts later than now: so does its document signer, by default.
    let later = "2040-01-01T00:00:00Z";
    let described = document_signer()
        .set("/iacaSigner/certificateData/notBefore", later)
        .set("/iacaSigner/certificateData/notAfter", "2040-03-01T00:00:00Z");
    let data = bench.accepted(&described).json;
    assert_eq!(data["certificateData"]["notBefore"], later);
    assert_eq!(data["certificateData"]["notAfter"], "2040-03-01T00:00:00Z");
    bench.verdict();
}

#[test]
fn the_path_length_is_one_less_than_a_limited_issuers() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1").set(LENGTH, 3));
    bench.accepted(&root("root-rsa3072"));
    let under = |name: &str| intermediate().set("/issuer/issuerKeyDescriptor", key(name));
    let mut length =
        |ask: &Ask| bench.accepted(ask).json["certificateData"]["pathLengthConstraint"].clone();
    assert_eq!(length(&under("root-secp256r1").without(LENGTH)), 2);
    assert_eq!(length(&under("root-secp256r1").set(LENGTH, 2)), 2);
    assert_eq!(length(&under("root-secp256r1").set(LENGTH, 0)), 0);
    assert_eq!(length(&under("root-rsa3072").without(LENGTH)), Value::Null);
    assert_eq!(length(&under("root-rsa3072").set(LENGTH, 255)), 255);
    assert_eq!(length(&leaf_under("root-secp256r1")), Value::Null);
    bench.verdict();
}

#[test]
fn the_issuer_may_be_named_or_brought_along() {
    let mut bench = Bench::new();
    let first = bench.accepted(&root("root-secp256r1").set(START, "2026-01-01T00:00:00Z"));
    let second = root("root-secp256r1")
        .set(START, "2026-02-01T00:00:00Z")
        .set("/certificateData/subjectName/commonName", "Newer Root");
    bench.accepted(&second);
    let issuer = |answer: crate::appliance::Answer| {
        answer.json["certificateData"]["issuerName"]["commonName"].as_str().unwrap().to_owned()
    };
    // The newest, unless the request says which.
    let ask = || leaf_under("root-secp256r1");
    assert_eq!(issuer(bench.accepted(&ask())), "Newer Root");
    let named = json!({ "country": "US", "commonName": "Example Root" });
    let by_name = ask().set("/certificateData/issuerName", named);
    assert_eq!(issuer(bench.accepted(&by_name)), "Example Root");
    let brought = ask().set("/issuer/issuerCertificatePem", first.certificate());
    assert_eq!(issuer(bench.accepted(&brought)), "Example Root");
    let of_itself = leaf().json()["certificateData"]["subjectName"].clone();
    bench.accepted(&leaf().set("/certificateData/issuerName", of_itself));
    bench.verdict();
}
