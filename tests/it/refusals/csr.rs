//! Certification requests: those that we make, and those that we are given.

use serde_json::{Value, json};

use super::{
    bench::Bench,
    openssl::flip_last_octet,
    request::{Ask, csr, document_signer, document_signer_csr, leaf, leaf_under, root},
};
use crate::appliance::Appliance;

#[test]
fn each_kind_of_request_has_its_own_members() {
    let mut bench = Bench::new();
    let name = json!({ "commonName": "x", "country": "NL" });
    let data = "/certificateData";
    bench.judge([
        csr().without("/subjectName").blames("13", 400, "/subjectName", "subjectName is required"),
        csr().set(data, name.clone()).blames("12 generic", 400, data, "unknown member"),
        document_signer_csr().set("/subjectName", name.clone()).blames(
            "7.4 both",
            400,
            data,
            "give exactly one of subjectName and certificateData",
        ),
        document_signer_csr().without(data).blames("7.4 neither", 400, "/subjectName", "required"),
        document_signer_csr().without("/certificateData/country").blames(
            "7.4 country",
            400,
            "/certificateData/country",
            "is required",
        ),
        document_signer_csr().set("/certificateData/organizationalUnitName", "x").blames(
            "7.4 unit",
            400,
            "/certificateData/organizationalUnitName",
            "unknown member",
        ),
        document_signer_csr().set("/subjectAlternativeNames", json!({})).blames(
            "7.4 names",
            400,
            "/subjectAlternativeNames",
            "unknown member",
        ),
        csr().set("/storedCertificateId", "x").blames(
            "12 id",
            400,
            "/storedCertificateId",
            "unknown",
        ),
    ]);
    bench.verdict();
}

/// The same CSR in PEM, once right and in many ways wrong.
struct Requests {
    good: String,
    tampered: String,
    other: Vec<(&'static str, String, &'static str)>,
}

fn requests(appliance: &Appliance) -> Requests {
    let make = |options: &str| {
        appliance.shell(&format!("openssl req -new -nodes -keyout /dev/null {options} 2>/dev/null"))
    };
    let good = make("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=x");
    let tampered = flip_last_octet("CERTIFICATE REQUEST", &good);
    let other = vec![
        ("38 Ed25519", make("-newkey ed25519 -subj /CN=x"), "is not supported"),
        (
            "38 secp256k1",
            make("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -subj /CN=x"),
            "key type secp256k1 is not supported",
        ),
        ("34 RSA-1024", make("-newkey rsa:1024 -subj /CN=x"), "1024"),
        (
            "66 SHA-1",
            make("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha1 -subj /CN=x"),
            "SHA-1",
        ),
    ];
    Requests { good, tampered, other }
}

#[test]
fn a_given_request_proves_possession_and_is_one_block() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let Requests { good, tampered, other } = requests(&bench.appliance);
    let by_csr = |member: &str, pem: &str| json!({ "type": "csr", member: pem });
    let uses: [(Ask, &str); 2] = [
        (document_signer(), "/dsPublicKeySource"),
        (leaf_under("root-secp256r1"), "/subjectPublicKeySource"),
    ];
    let one_block = "expected exactly one CERTIFICATE REQUEST block";
    for (ask, place) in uses {
        let with = |member: &str, pem: &str| ask.clone().set(place, by_csr(member, pem));
        let field = format!("{place}/csrPem");
        let certificate = good.replace("CERTIFICATE REQUEST", "CERTIFICATE");
        let broken_base64 = good.replacen("MI", "M*", 1);
        let short: String = good
            .lines()
            .take(2)
            .chain(["-----END CERTIFICATE REQUEST-----"])
            .map(|line| format!("{line}\n"))
            .collect();
        for (name, pem, words) in [
            ("66", &tampered, "csrPem: signature does not verify"),
            ("67 certificate", &certificate, "another label, CERTIFICATE"),
            ("67 two", &format!("{good}{good}"), "a second block"),
            ("67 text before", &format!("hello\n{good}"), "text before it"),
            ("67 text after", &format!("{good}hello"), "text after it"),
            ("67 no line ends", &good.replace('\n', ""), "its line ends are missing"),
            ("67 BOM", &format!("\u{feff}{good}"), "a byte order mark"),
            ("67 empty", &String::new(), one_block),
            ("67 no PEM", &"MIIB".to_owned(), one_block),
            ("67 base64", &broken_base64, "not base64"),
            ("67 short", &short, "not a PKCS#10 request in DER"),
        ] {
            bench.judge([with("csrPem", pem).blames(name, 400, &field, words)]);
        }
        for (name, pem, words) in &other {
            bench.judge([with("csrPem", pem).blames(name, 400, &field, words)]);
        }
        bench.judge([
            with("csr", &tampered).blames(
                "66 csr",
                400,
                &format!("{place}/csr"),
                "does not verify",
            ),
            with("pemEncodedCsr", &tampered).blames(
                "66 pemEncodedCsr",
                400,
                &format!("{place}/pemEncodedCsr"),
                "does not verify",
            ),
            ask.clone().set(place, json!({ "type": "csr", "csr": good, "csrPem": good })).blames(
                "5.2 two names",
                400,
                place,
                "give exactly one of csrPem, csr, pemEncodedCsr",
            ),
            ask.clone().set(place, json!({ "type": "csr" })).blames(
                "13",
                400,
                &field,
                "is required",
            ),
            ask.clone().set(place, by_csr("csrPem", "x")).set(&format!("{place}/x"), 1).blames(
                "12",
                400,
                &format!("{place}/x"),
                "unknown member 'x'",
            ),
            ask.clone().set(place, json!({ "type": "csr", "csrPem": Value::Null })).blames(
                "13 null",
                400,
                &field,
                "is required",
            ),
        ]);
    }
    bench.judge([leaf().set("/subjectPublicKeySource", by_csr("csrPem", &good)).blames(
        "65",
        400,
        "/subjectPublicKeySource/type",
        "a self-signed certificate needs a key-descriptor",
    )]);
    bench.verdict();
}

/// `openssl req -verify` takes it: a PrintableString with '@' in the subject.
const AT_IN_SUBJECT: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHWMH0CAQAwGzEZMBcGA1UEAxMQb3BzQGFjbWUuZXhhbXBsZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABK61UIqD9woxD35V0ldVS652RfO7UkrWIuq6rZa7GhUu
TJ5Y82F05d2oSFJDIopAj6G323zi/FVE8kS4Dn2cJyqgADAKBggqhkjOPQQDAgNJ
ADBGAiEApzm7u4ndfqcu1DAPmyN4ajp3lLZ/M1ezwL9XpwNjOSECIQCjH+ZVrDNl
l1XgHt5kLYEVilcf7ISOROc3BpnomtYrmA==
-----END CERTIFICATE REQUEST-----
";

#[test]
fn of_a_given_request_the_key_alone_decides_and_other_tools_labels_and_blanks_are_taken() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let ask = |pem: &str| {
        let source = json!({ "type": "csr", "csrPem": pem });
        leaf_under("root-secp256r1").set("/subjectPublicKeySource", source)
    };
    bench.accepted(&ask(AT_IN_SUBJECT).set("/storedCertificateId", "at"));
    let new = AT_IN_SUBJECT.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    bench.accepted(&ask(&new).set("/storedCertificateId", "new"));
    let blanks = AT_IN_SUBJECT.replace('\n', " \t\r\n");
    bench.accepted(&ask(&blanks).set("/storedCertificateId", "blanks"));
    let field = "/subjectPublicKeySource/csrPem";
    // One more octet in the string's length.
    let broken = AT_IN_SUBJECT.replacen("AxMQb3Bz", "AxMRb3Bz", 1);
    bench.judge([ask(&broken).blames("66 subject", 400, field, "subject is malformed")]);
    bench.verdict();
}

#[test]
fn a_foreign_rsa_request_is_no_document_signer() {
    let mut bench = Bench::new();
    let pem = bench.shell(
        "openssl req -new -nodes -newkey rsa:3072 -keyout /dev/null -subj /CN=x 2>/dev/null",
    );
    bench.judge([document_signer()
        .set("/dsPublicKeySource", json!({ "type": "csr", "csrPem": pem }))
        .blames(
            "37 CSR",
            400,
            "/dsPublicKeySource/csrPem",
            "RSA is not allowed for a document signer; use P-256, P-384 or P-521",
        )]);
    bench.verdict();
}
