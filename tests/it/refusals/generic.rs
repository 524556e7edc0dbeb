//! Generic certificates, and the CA that stands behind them.

use serde_json::{Value, json};

use super::{
    bench::{BARE, Bench},
    keys::{by_jwk, public_jwk},
    request::{Ask, intermediate, leaf, leaf_under, root},
};
use crate::appliance::{Appliance, key};

const SUPPLIED: &str = "/issuer/issuerCertificatePem";
const ISSUER_NAME: &str = "/certificateData/issuerName";
const ISSUER_KEY: &str = "/issuer/issuerKeyDescriptor/keyIdPath";

#[test]
fn the_issuer_must_be_a_ca_that_is_known_and_valid() {
    let mut bench = Bench::new();
    let name = |common_name: &str| json!({ "commonName": common_name, "country": "US" });
    bench.judge([
        leaf_under("root-secp256r1").blames(
            "69",
            400,
            ISSUER_KEY,
            "no CA certificate is known for key test.tenant1.kms1.root-secp256r1",
        ),
        leaf_under("root-secp256r1").set(ISSUER_NAME, name("Example Root")).blames(
            "69 with a name",
            400,
            ISSUER_KEY,
            "give issuer.issuerCertificatePem",
        ),
    ]);
    let root_pem = bench.accepted(&root("root-secp256r1")).certificate().to_owned();
    let leaf_pem = bench.accepted(&leaf()).certificate().to_owned();
    let future = root("tls-secp256r1").set("/certificateData/notBefore", "2040-01-01T00:00:00Z");
    let future_pem = bench.accepted(&future).certificate().to_owned();
    bench.judge([
        leaf_under("root-secp256r1").set(ISSUER_NAME, name("Example")).blames(
            "68",
            400,
            ISSUER_NAME,
            "issuerName differs from the issuer certificate's subject",
        ),
        leaf_under("root-secp256r1")
            .set(SUPPLIED, root_pem.clone())
            .set(ISSUER_NAME, json!({ "commonName": "Example Root" }))
            .blames("68 supplied", 400, ISSUER_NAME, "issuerName differs from the issuer"),
        leaf().set(ISSUER_NAME, name("Example Leaf")).blames(
            "68 self-signed",
            400,
            ISSUER_NAME,
            "issuerName of a self-signed certificate must equal subjectName",
        ),
        leaf_under("leaf-secp256r1")
            .set("/subjectPublicKeySource/keyDescriptor", key("tls-secp256r1"))
            .blames("69 leaf", 400, ISSUER_KEY, "no CA certificate is known for key"),
        leaf_under("tls-secp256r1").blames(
            "69 not yet valid",
            400,
            ISSUER_KEY,
            "no CA certificate",
        ),
        leaf_under("leaf-secp256r1")
            .set("/subjectPublicKeySource/keyDescriptor", key("tls-secp256r1"))
            .set(SUPPLIED, leaf_pem.clone())
            .blames("70", 400, SUPPLIED, "issuer certificate may not sign certificates"),
        leaf_under("tls-secp256r1").set(SUPPLIED, future_pem).blames(
            "62 not yet",
            400,
            SUPPLIED,
            "issuer certificate is valid from",
        ),
        leaf_under("root-secp256r1").set(SUPPLIED, leaf_pem).blames(
            "61 generic",
            400,
            SUPPLIED,
            "public key differs from issuerKeyDescriptor",
        ),
        leaf_under("root-secp256r1").set(SUPPLIED, "hello").blames(
            "67 issuer",
            400,
            SUPPLIED,
            "issuerCertificatePem: expected exactly one CERTIFICATE block",
        ),
        leaf_under("root-secp256r1").set(SUPPLIED, format!("{root_pem}{root_pem}")).blames(
            "67 issuer twice",
            400,
            SUPPLIED,
            "exactly one CERTIFICATE block",
        ),
        intermediate().set("/subjectPublicKeySource/keyDescriptor", key("root-secp256r1")).blames(
            "its own issuer",
            400,
            "/subjectPublicKeySource/keyDescriptor",
            "the key must differ from the issuer's",
        ),
    ]);
    bench.verdict();
}

#[test]
fn validity_nests_in_the_issuers() {
    let mut bench = Bench::new();
    let (start, end) = ("/certificateData/notBefore", "/certificateData/notAfter");
    bench.accepted(
        &root("root-secp256r1").set(start, "2026-01-01T00:00:00Z").set(end, "2036-03-01T00:00:00Z"),
    );
    let ask = || leaf_under("root-secp256r1");
    bench.judge([
        ask().set(end, "2037-01-01T00:00:00Z").blames(
            "54",
            400,
            end,
            "notAfter 2037-01-01T00:00:00Z is beyond the issuer's 2036-03-01T00:00:00Z",
        ),
        ask().set(end, "2036-03-01T00:00:01Z").blames("54 by a second", 400, end, "is beyond the"),
        ask().set(start, "2025-12-31T23:59:59Z").set(end, "2030-01-01T00:00:00Z").blames(
            "54 start",
            400,
            start,
            "notBefore 2025-12-31T23:59:59Z is outside the issuer's validity",
        ),
    ]);
    bench.accepted(&ask().set(start, "2026-01-01T00:00:00Z").set(end, "2036-03-01T00:00:00Z"));
    bench.verdict();
}

#[test]
fn a_path_length_is_kept() {
    let mut bench = Bench::new();
    let length = "/certificateData/pathLengthConstraint";
    let ca = "/certificateData/isCertificateAuthority";
    bench.accepted(&root("root-secp256r1").set(length, 0));
    bench.accepted(&root("root-rsa3072").set(length, 2));
    let under = |name: &str| intermediate().set("/issuer/issuerKeyDescriptor", key(name));
    bench.judge([
        under("root-secp256r1").blames(
            "71",
            400,
            ca,
            "the issuer's path length allows no CA below",
        ),
        under("root-secp256r1").without(length).blames(
            "71 no length",
            400,
            ca,
            "allows no CA below",
        ),
        under("root-rsa3072").set(length, 2).blames(
            "71 equal",
            400,
            length,
            "must be smaller than",
        ),
        under("root-rsa3072").set(length, 255).blames(
            "71 more",
            400,
            length,
            "must be smaller than",
        ),
        leaf().set(length, 0).blames(
            "72",
            400,
            length,
            "pathLengthConstraint needs isCertificateAuthority true",
        ),
        leaf().without(ca).set(length, 0).blames(
            "72 by default",
            400,
            length,
            "needs isCertificate",
        ),
    ]);
    bench.accepted(&leaf_under("root-secp256r1"));
    bench.verdict();
}

fn usage(ask: Ask, usages: &[&str]) -> Ask {
    ask.set("/certificateData/keyUsage", json!(usages))
}

#[test]
fn key_usages_and_purposes_fit_the_certificate() {
    let mut bench = Bench::new();
    let place = "/certificateData/keyUsage";
    let item = |index: usize| format!("{place}/{index}");
    let rows = [
        usage(leaf(), &["digitalSignature"]).blames(
            "73",
            400,
            &item(0),
            "'digitalSignature' is unknown, did you mean 'DigitalSignature'?",
        ),
        usage(leaf(), &["KeyAgreement", "Signing"]).blames(
            "73",
            400,
            &item(1),
            "'Signing' is unknown",
        ),
        usage(leaf(), &["ContentCommitment"]).blames("73", 400, &item(0), "is unknown"),
        usage(leaf(), &["CrlSign"]).blames("73 case", 400, &item(0), "did you mean 'CRLSign'?"),
        usage(leaf(), &["KeyAgreement", "KeyAgreement"]).blames(
            "73 repeat",
            400,
            &item(1),
            "twice",
        ),
        usage(leaf(), &["EncipherOnly"]).blames("73 alone", 400, place, "need KeyAgreement"),
        usage(leaf(), &["DigitalSignature", "DecipherOnly"]).blames(
            "73",
            400,
            place,
            "KeyAgreement",
        ),
        usage(root("root-secp256r1"), &["CRLSign"]).blames(
            "74",
            400,
            place,
            "a CA needs KeyCertSign",
        ),
        usage(root("root-secp256r1"), &[]).blames("74 empty", 400, place, "a CA needs KeyCertSign"),
        root("root-secp256r1").without(place).blames("74 absent", 400, place, "needs KeyCertSign"),
        usage(leaf(), &["KeyCertSign"]).blames("74 reverse", 400, place, "KeyCertSign needs"),
        usage(leaf(), &["KeyEncipherment"]).blames("RFC 8813", 400, place, "is not for P-256"),
        usage(leaf(), &["DigitalSignature", "DataEncipherment"]).blames(
            "RFC 8813",
            400,
            place,
            "'DataEncipherment' is not for P-256",
        ),
        usage(root("root-secp256r1"), &["KeyCertSign", "KeyEncipherment"]).blames(
            "RFC 8813, CA",
            400,
            place,
            "'KeyEncipherment' is not for P-256",
        ),
        usage(root("root-rsa3072"), &["KeyCertSign", "KeyAgreement"]).blames(
            "RFC 3279",
            400,
            place,
            "'KeyAgreement' is not for RSA-3072",
        ),
        usage(leaf(), &["KeyAgreement", "EncipherOnly", "DecipherOnly"]).blames(
            "73 both",
            400,
            place,
            "EncipherOnly and DecipherOnly exclude each other",
        ),
    ];
    bench.judge(rows);
    let place = "/certificateData/extendedKeyUsageOids";
    let oids = |oids: Value| leaf().set(place, oids);
    let first = format!("{place}/0");
    bench.judge([
        oids(json!(["1.0.18013.5.1.2"])).blames(
            "75",
            400,
            place,
            "1.0.18013.5.1.2 is issued by iso/document-signers only",
        ),
        oids(json!(["1.3.6.1.5.5.7.3.1", "1.0.18013.5.1.2"])).blames("75", 400, place, "only"),
        oids(json!(["1.3.6.1.5.5.7.3.9"])).blames("75 OCSP", 400, place, "3.9 is reserved"),
        oids(json!(["1.0.18013.5.1.8"])).blames("75 VICAL", 400, place, "5.1.8 is reserved"),
        oids(json!(["1.0.18013.5.1.6"])).blames("75 reader", 400, place, "5.1.6 is reserved"),
        oids(json!(["1.0.18013.5.1.99.1"])).blames("75 deep", 400, place, "99.1 is reserved"),
        oids(json!(["1.0.23220.4.1.2"])).blames("75 mdoc", 400, place, "4.1.2 is reserved"),
        oids((0..65).map(|n| json!(format!("1.3.6.{n}"))).collect()).blames(
            "75 many",
            400,
            place,
            "at most 64 values",
        ),
        oids(json!(["serverAuth"])).blames("75 word", 400, &first, "object identifier"),
        oids(json!([""])).blames("75 empty", 400, &first, "object identifier"),
        oids(json!(["1.3.6.1.5.5.7.3.1."])).blames("75 dot", 400, &first, "object identifier"),
        oids(json!(["1"])).blames("75 one arc", 400, &first, "object identifier"),
        oids(json!(["3.1.2"])).blames("75 first arc", 400, &first, "object identifier"),
        oids(json!(["1.40.2"])).blames("75 second arc", 400, &first, "object identifier"),
        oids(json!(["1.3.06"])).blames("75 leading zero", 400, &first, "object identifier"),
        oids(json!([" 1.3.6"])).blames("75 space", 400, &first, "object identifier"),
        oids(json!([format!("1.3.6.{}", "9".repeat(400))])).blames(
            "75 huge",
            400,
            &first,
            "object identifier",
        ),
        oids(json!(["1.3.6.1", "1.3.6.1"])).blames(
            "75 repeat",
            400,
            &format!("{place}/1"),
            "twice",
        ),
        oids(json!("1.3.6.1")).blames("14", 400, place, "must be an array of strings"),
    ]);
    bench.verdict();
}

#[test]
fn a_ca_certificate_over_somebody_elses_key_is_not_their_issuer() {
    let mut bench = Bench::new();
    // The public half of root-secp256r1, as everybody can know it.
    let made =
        bench.accepted(&leaf().set("/subjectPublicKeySource/keyDescriptor", key("root-secp256r1")));
    let jwk = made.json["certificateData"]["publicKeyJwk"].clone();
    // Another service certifies it as a CA under a name of its own choice.
    bench.accepted(&root("tls-secp256r1").at(BARE));
    let stolen = intermediate()
        .at(BARE)
        .set("/subjectPublicKeySource/keyDescriptor", by_jwk(jwk))
        .set("/issuer/issuerKeyDescriptor", key("tls-secp256r1"));
    bench.accepted(&stolen);
    bench.judge([leaf_under("root-secp256r1").blames(
        "69 made by another service",
        400,
        ISSUER_KEY,
        "no CA certificate is known for key",
    )]);
    // The certificate made for the key's own path is theirs.
    bench.accepted(&root("root-secp256r1").at(BARE));
    bench.accepted(&leaf_under("root-secp256r1").set("/storedCertificateId", "found"));
    bench.verdict();
}

#[test]
fn a_public_jwk_is_certified_but_not_by_itself() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let place = "/subjectPublicKeySource/keyDescriptor";
    bench.judge([leaf().set(place, by_jwk(public_jwk())).blames(
        "33 self-signed",
        400,
        place,
        "a public JWK cannot sign",
    )]);
    bench.accepted(&leaf_under("root-secp256r1").set(place, by_jwk(public_jwk())));
    bench.verdict();
}

#[test]
fn a_setting_lifts_the_reservation_of_extended_key_usages() {
    let appliance = Appliance::new();
    appliance.declare("[issuance]\ngeneric_reserved_ekus = true");
    let mut bench = Bench::with(appliance, &[]);
    let place = "/certificateData/extendedKeyUsageOids";
    bench.accepted(&leaf().set(place, json!(["1.0.18013.5.1.8", "1.3.6.1.5.5.7.3.9"])));
    // Beside the reserved arcs, not within.
    bench.accepted(&leaf().set(place, json!(["1.0.18013.5.10", "1.0.23220.4.2.1"])));
    bench.accepted(
        &leaf().set(place, (0..64).map(|n| json!(format!("1.3.6.{n}"))).collect::<Value>()),
    );
    bench.verdict();
}
