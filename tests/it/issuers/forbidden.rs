//! What the certificates above forbid is not issued; whatever is issued below them verifies.

use serde_json::{Value, json};

use super::{CA, GIVEN, Lab, SIGN, SKI, leaf, sub_ca};
use crate::support::refused;

const SUBJECT: &str = "/certificateData/subjectName";
const NAMES: &str = "/certificateData/subjectAlternativeNames";
const PURPOSES: &str = "/certificateData/extendedKeyUsageOids";

const SERVER: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT: &str = "1.3.6.1.5.5.7.3.2";

/// A leaf with more in its data.
fn with(member: &str, value: &Value) -> Value {
    let mut request = leaf();
    request["certificateData"][member] = value.clone();
    request
}

fn named(form: &str, name: &str) -> Value {
    with("subjectAlternativeNames", &json!({ form: [name] }))
}

fn subject(common_name: &str) -> Value {
    with(
        "subjectName",
        &json!({ "commonName": common_name, "country": "NL", "organizationName": "Acme" }),
    )
}

fn purpose(oid: &str) -> Value {
    with("extendedKeyUsageOids", &json!([oid]))
}

/// Each issuer extension, what it allows, and what it forbids at which member.
fn table() -> Vec<(Vec<&'static str>, Vec<Value>, Vec<(Value, &'static str)>)> {
    let constraints = |text: &'static str| vec![text];
    vec![
        (
            constraints("nameConstraints=critical,permitted;DNS:acme.example"),
            vec![
                named("dnsNames", "acme.example"),
                named("dnsNames", "HOST.Acme.example"),
                named("dnsNames", "*.acme.example"),
                named("emails", "a@other.example"),
                named("ipAddresses", "192.0.2.1"),
                subject("host.acme.example"),
                subject("Acme, Other"),
            ],
            vec![
                (named("dnsNames", "host.other.example"), NAMES),
                (named("dnsNames", "notacme.example"), NAMES),
                (named("dnsNames", "*.example.acme"), NAMES),
                (subject("www.other.example"), SUBJECT),
            ],
        ),
        (
            constraints("nameConstraints=critical,excluded;DNS:evil.acme.example"),
            vec![named("dnsNames", "acme.example"), named("dnsNames", "x.acme.example")],
            vec![
                (named("dnsNames", "evil.acme.example"), NAMES),
                (named("dnsNames", "a.EVIL.acme.example"), NAMES),
                (named("dnsNames", "*.acme.example"), NAMES),
            ],
        ),
        (
            constraints(
                "nameConstraints=critical,permitted;email:acme.example,excluded;email:ceo@acme.example",
            ),
            vec![named("emails", "a@acme.example"), named("dnsNames", "a.example")],
            vec![
                (named("emails", "a@sub.acme.example"), NAMES),
                (named("emails", "ceo@acme.example"), NAMES),
                (named("emails", "a@other.example"), NAMES),
            ],
        ),
        (
            constraints("nameConstraints=critical,permitted;URI:.acme.example"),
            vec![named("uris", "https://a.acme.example/x")],
            vec![
                (named("uris", "https://acme.example/"), NAMES),
                (named("uris", "https://other.example/.acme.example"), NAMES),
                (named("uris", "urn:oid:1.2.3"), NAMES),
                (named("uris", "https://192.0.2.1/"), NAMES),
            ],
        ),
        (
            constraints(
                "nameConstraints=critical,permitted;IP:10.0.0.0/255.0.0.0,excluded;IP:10.1.0.0/255.255.0.0",
            ),
            vec![named("ipAddresses", "10.2.3.4"), named("uris", "urn:oid:1.2.3")],
            vec![
                (named("ipAddresses", "10.1.2.3"), NAMES),
                (named("ipAddresses", "192.0.2.1"), NAMES),
                (named("ipAddresses", "2001:db8::1"), NAMES),
            ],
        ),
        (
            vec!["nameConstraints=critical,permitted;dirName:n", "[n]", "C=NL", "O=acme"],
            vec![],
            vec![(leaf(), SUBJECT), (subject("Other"), SUBJECT)],
        ),
        (
            vec!["nameConstraints=critical,excluded;dirName:n", "[n]", "C=NL", "CN=leaf"],
            vec![subject("Other")],
            vec![(leaf(), SUBJECT)],
        ),
        (
            constraints("extendedKeyUsage=clientAuth"),
            // Without a purpose it counts for the issuer's.
            vec![purpose(CLIENT), leaf()],
            vec![
                (purpose(SERVER), PURPOSES),
                (with("extendedKeyUsageOids", &json!([CLIENT, SERVER])), PURPOSES),
            ],
        ),
        (
            constraints("extendedKeyUsage=critical,anyExtendedKeyUsage"),
            vec![purpose(SERVER)],
            vec![],
        ),
    ]
}

#[test]
fn names_and_purposes_that_the_issuer_forbids_are_not_issued_and_the_others_verify() {
    let lab = Lab::new();
    let root = lab.root("root", "/CN=Outside Root", &[CA, SIGN, SKI]);
    lab.store("root", &root);
    for (number, (extensions, allowed, forbidden)) in table().into_iter().enumerate() {
        let all = [&[CA, SIGN, SKI][..], &extensions].concat();
        let pem = lab.over_key("own", "/CN=Constrained", "root", &all);
        let by = |mut request: Value| {
            request["issuer"]["issuerCertificatePem"] = pem.clone().into();
            lab.issue(&request)
        };
        for request in allowed {
            let answer = by(request).ok();
            assert!(
                lab.openssl_verifies(answer.certificate(), "root", &["own"]),
                "{number}: {}",
                lab.appliance.shell("cat verdict")
            );
        }
        for (request, field) in forbidden {
            let answer = by(request.clone());
            assert_eq!(answer.status, 400, "{number}: {request}");
            refused(&answer, 400, Some(field), "the issuer's");
        }
    }
}

#[test]
fn an_issuer_with_an_extension_that_is_not_processed_issues_nothing() {
    let lab = Lab::new();
    let root = lab.root("root", "/CN=Outside Root", &[CA, SIGN, SKI]);
    lab.store("root", &root);
    for (extension, words) in [
        ("1.2.3.4=critical,DER:0500", "critical extension 1.2.3.4 is not processed"),
        ("policyConstraints=critical,requireExplicitPolicy:0", "2.5.29.36 is not processed"),
        ("policyConstraints=requireExplicitPolicy:3", "require a certificate policy"),
        ("inhibitAnyPolicy=critical,0", "2.5.29.54 is not processed"),
        ("certificatePolicies=critical,1.2.3.4", "2.5.29.32 is not processed"),
        ("nameConstraints=critical,permitted;DNS:*.acme.example", "cannot be judged"),
        ("nameConstraints=critical,permitted;IP:10.0.0.0/255.0.255.0", "no prefix"),
        ("2.5.29.30=critical,DER:3000", "malformed"),
    ] {
        let pem = lab.over_key("own", "/CN=Odd", "root", &[CA, SIGN, SKI, extension]);
        let mut request = leaf();
        request["issuer"]["issuerCertificatePem"] = pem.clone().into();
        refused(&lab.issue(&request), 400, Some(GIVEN), words);
        lab.store("own", &pem);
        refused(&lab.issue(&leaf()), 400, Some(super::ISSUER_KEY), words);
        lab.remove("own");
    }
}

#[test]
fn what_a_certificate_further_up_forbids_holds_below_also_when_it_is_gone() {
    let lab = Lab::new();
    let constraint = "nameConstraints=critical,permitted;DNS:acme.example";
    let length = "basicConstraints=critical,CA:TRUE,pathlen:2";
    let root = lab.root("root", "/CN=Outside Root", &[length, SIGN, SKI, constraint]);
    lab.store("root", &root);
    let pem =
        lab.over_key("own", "/CN=Own", "root", &[CA, SIGN, SKI, "extendedKeyUsage=serverAuth"]);
    lab.store("own", &pem);
    let outside = named("dnsNames", "other.example");
    refused(&lab.issue(&outside), 400, Some(NAMES), "name constraints forbid");
    // A CA below, made here; then what is above it leaves the store.
    let below = lab.issue(&sub_ca()).ok();
    assert_eq!(below.json["certificateData"]["pathLengthConstraint"], 0);
    lab.remove("root");
    lab.remove("own");
    let under = |mut request: Value| {
        request["issuer"]["issuerKeyDescriptor"] = crate::appliance::key("tls-secp256r1");
        lab.issue(&request)
    };
    refused(&under(outside), 400, Some(NAMES), "name constraints forbid");
    refused(&under(purpose(CLIENT)), 400, Some(PURPOSES), "does not hold");
    let inside = under(named("dnsNames", "www.acme.example")).ok();
    std::fs::write(lab.appliance.path("below.pem"), below.certificate()).unwrap();
    assert!(lab.openssl_verifies(inside.certificate(), "root", &["own", "below"]));
}
