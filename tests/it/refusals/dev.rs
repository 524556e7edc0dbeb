//! What is refused even in dev mode.

use serde_json::{Value, json};

use super::{
    bench::Bench,
    keys::{by_jwk, private_jwk, public_jwk},
    openssl::jwk,
    request::{MakeAsk, csr, document_signer, iaca, intermediate, leaf, root},
};
use crate::appliance::Appliance;

#[test]
fn a_private_jwk_must_be_whole_and_fit_its_public_half() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    bench.accepted(&root("root-secp256r1"));
    let places: [(MakeAsk, &str); 4] = [
        (iaca, "/iacaKeyDesc"),
        (leaf, "/subjectPublicKeySource/keyDescriptor"),
        (document_signer, "/dsPublicKeySource/keyDescriptor"),
        (csr, "/subjectKeyDescriptor"),
    ];
    let with = |member: &str, value: Value| {
        let mut jwk = private_jwk();
        jwk[member] = value;
        jwk
    };
    let x = public_jwk()["x"].clone();
    for (ask, place) in places {
        let field = format!("{place}/jwk");
        let row = |name: &str, jwk: Value, words: &str| {
            ask().set(place, by_jwk(jwk)).blames(&format!("34 {place} {name}"), 400, &field, words)
        };
        bench.judge([
            row("another d", with("d", x.clone()), "do not match"),
            row("zero d", with("d", "A".repeat(43).into()), "do not match"),
            row("short d", with("d", "870M".into()), "d must have 32 octets"),
            row("no base64url", with("d", "*".into()), "d is not base64url"),
            row("off the curve", with("y", x.clone()), "point is not on P-256"),
            row("no crv", with("crv", Value::Null), "crv is required"),
            row("secp256k1", with("crv", "secp256k1".into()), "secp256k1 is not supported"),
            row("oct", json!({ "kty": "oct", "k": "AAAA" }), "is not supported"),
            row(
                "k alone",
                with("d", Value::Null)
                    .as_object()
                    .map(|jwk| {
                        let mut jwk = jwk.clone();
                        jwk.insert("k".into(), "AA".into());
                        Value::Object(jwk)
                    })
                    .unwrap(),
                "d is required",
            ),
            ask()
                .set(
                    place,
                    json!({ "type": "jwk-encoded-key-descriptor", "key": with("d", x.clone()) }),
                )
                .blames("34 by its other name", 400, &format!("{place}/key"), "do not match"),
        ]);
    }
    bench.verdict();
}

#[test]
fn a_jwk_is_held_to_the_rules_of_keys_on_a_token() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    let issuer = "/issuer/issuerKeyDescriptor";
    let subject = "/subjectPublicKeySource/keyDescriptor";
    bench.judge([
        intermediate().set(issuer, by_jwk(private_jwk())).blames(
            "69 dev",
            400,
            issuer,
            "no CA certificate is known for key",
        ),
        iaca().set("/iacaKeyDesc", by_jwk(public_jwk())).blames(
            "33 dev",
            400,
            "/iacaKeyDesc",
            "a public JWK cannot sign",
        ),
    ]);
    bench.accepted(&iaca().set("/iacaKeyDesc", by_jwk(private_jwk())));
    let words = "belongs to an IACA and may not sign generic certificates";
    bench.judge([
        leaf().set(subject, by_jwk(private_jwk())).blames("36 dev leaf", 403, subject, words),
        intermediate().set(issuer, by_jwk(private_jwk())).blames("36 dev CA", 403, issuer, words),
    ]);
    bench.verdict();
}

/// A certificate over the key in `dev.pem`, as openssl makes it with these extensions.
fn certificate(bench: &Bench, subject: &str, days: u32, extensions: &[&str]) -> String {
    let extensions: String =
        extensions.iter().map(|extension| format!(" -addext '{extension}'")).collect();
    bench.shell(&format!(
        "printf '[req]\\ndistinguished_name=n\\n[n]\\n' >bare.conf; openssl req -x509 -new \
         -config bare.conf -key dev.pem -subj '{subject}' -days {days}{extensions}"
    ))
}

const BASIC: &str = "basicConstraints=critical,CA:TRUE,pathlen:0";
const USAGE: &str = "keyUsage=critical,keyCertSign,cRLSign";
const SKI: &str = "subjectKeyIdentifier=hash";
const CONTACT: &str = "issuerAltName=URI:https://iaca.example.com";

#[test]
fn a_foreign_iaca_is_held_to_every_row_of_its_table() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    let jwk = jwk(&bench, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    let under = |pem: &str| {
        document_signer().set(
            "/iacaSigner",
            json!({
                "type": "iaca-pem-cert-descriptor",
                "iacaPemEncodedCertificate": pem,
                "iacaKeyDesc": by_jwk(jwk.clone()),
            }),
        )
    };
    let subject = "/C=US/CN=Foreign IACA";
    let good = certificate(&bench, subject, 3_650, &[BASIC, USAGE, SKI, CONTACT]);
    let mut rows = Vec::new();
    for (name, subject, days, extensions, words) in [
        (
            "path length",
            subject,
            9,
            &["basicConstraints=critical,CA:TRUE,pathlen:1", USAGE, SKI, CONTACT][..],
            "pathLenConstraint must be 0",
        ),
        (
            "no path length",
            subject,
            9,
            &["basicConstraints=critical,CA:TRUE", USAGE, SKI, CONTACT],
            "pathLenConstraint must be 0",
        ),
        (
            "constraints not critical",
            subject,
            9,
            &["basicConstraints=CA:TRUE,pathlen:0", USAGE, SKI, CONTACT],
            "basicConstraints must be critical",
        ),
        (
            "no CA",
            subject,
            9,
            &["basicConstraints=critical,CA:FALSE", USAGE, SKI, CONTACT],
            "basicConstraints must say CA",
        ),
        ("no constraints", subject, 9, &[USAGE, SKI, CONTACT], "basicConstraints is missing"),
        (
            "a usage more",
            subject,
            9,
            &[BASIC, "keyUsage=critical,digitalSignature,keyCertSign,cRLSign", SKI, CONTACT],
            "keyUsage must be exactly",
        ),
        (
            "a usage less",
            subject,
            9,
            &[BASIC, "keyUsage=critical,keyCertSign", SKI, CONTACT],
            "keyUsage must be exactly",
        ),
        ("no usage", subject, 9, &[BASIC, SKI, CONTACT], "keyUsage is missing"),
        ("no contact", subject, 9, &[BASIC, USAGE, SKI], "issuerAltName is missing"),
        (
            "purpose",
            subject,
            9,
            &[BASIC, USAGE, SKI, CONTACT, "extendedKeyUsage=1.0.18013.5.1.7"],
            "extKeyUsage must be absent",
        ),
        ("country", "/C=us/CN=x", 9, &[BASIC, USAGE, SKI, CONTACT], "countryName must be"),
        ("no country", "/CN=x", 9, &[BASIC, USAGE, SKI, CONTACT], "countryName is missing"),
        ("no name", "/C=US", 9, &[BASIC, USAGE, SKI, CONTACT], "commonName is missing"),
        (
            "span",
            subject,
            7_306,
            &[BASIC, USAGE, SKI, CONTACT],
            "a supplied IACA is valid for at most 20 years (7305 days)",
        ),
    ] {
        let pem = certificate(&bench, subject, days, extensions);
        rows.push(under(&pem).blames(
            &format!("59 {name}"),
            400,
            "/iacaSigner/iacaPemEncodedCertificate",
            &format!("iacaPemEncodedCertificate: not an IACA: {words}"),
        ));
    }
    bench.judge(rows);
    bench.accepted(&under(&good));
    let calendar_years = certificate(&bench, subject, 7_305, &[BASIC, USAGE, SKI, CONTACT]);
    bench.accepted(&under(&calendar_years).set("/storedCertificateId", "calendar-years"));
    bench.verdict();
}

#[test]
fn a_foreign_issuer_must_be_a_ca_that_signs_certificates() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    let jwk = jwk(&bench, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    let place = "/issuer/issuerCertificatePem";
    let under = |pem: &str| {
        leaf().set(
            "/issuer",
            json!({
                "type": "ca-signed",
                "issuerKeyDescriptor": by_jwk(jwk.clone()),
                "issuerCertificatePem": pem,
            }),
        )
    };
    let words = "issuer certificate may not sign certificates";
    let mut rows = Vec::new();
    for (name, extensions) in [
        ("no CA", &["basicConstraints=critical,CA:FALSE", SKI][..]),
        ("no constraints", &[SKI]),
        ("no keyCertSign", &["basicConstraints=critical,CA:TRUE", "keyUsage=cRLSign", SKI]),
    ] {
        let pem = certificate(&bench, "/CN=Foreign CA", 9, extensions);
        rows.push(under(&pem).blames(&format!("70 {name}"), 400, place, words));
    }
    let exhausted = certificate(&bench, "/CN=Foreign CA", 9, &[BASIC, USAGE, SKI]);
    let sub_ca = under(&exhausted)
        .set("/certificateData/isCertificateAuthority", true)
        .set("/certificateData/keyUsage", json!(["KeyCertSign"]));
    rows.push(sub_ca.blames(
        "71 foreign",
        400,
        "/certificateData/isCertificateAuthority",
        "the issuer's path length allows no CA below it",
    ));
    bench.judge(rows);
    // Not even a name is needed: the subject is taken octet by octet.
    let good = certificate(&bench, "/O=Foreign/OU=a/OU=b/CN=CA", 9, &[BASIC, USAGE, SKI]);
    bench.accepted(&under(&good));
    bench.verdict();
}
