//! Key descriptors: what may be named, what is there, what it may sign.

use serde_json::{Value, json};

use super::{
    bench::{Bench, FOREIGN, TWO_STORES},
    request::{
        Ask, MakeAsk, Row, csr, document_signer, document_signer_csr, iaca, intermediate, leaf,
        leaf_under, root,
    },
};
use crate::appliance::{Appliance, key};

/// A key that was made for these tests: published ones are refused.
pub fn public_jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "use": "enc", "kid": "1",
        "x": "WzD_WtNliZd1_j_Un-TQ-KZdbdrMBXsXUMGPR7NmBTY",
        "y": "KSXay-8sxcF9u_o_lqoqwix5q0CGP1qFmxyS3DSYb6U",
    })
}

/// Its private half.
pub fn private_jwk() -> Value {
    let mut jwk = public_jwk();
    jwk["d"] = "Aal5YyNRBwclpn24xw8ComBuvJ3urXsSXaHNLnpzxzQ".into();
    jwk
}

pub fn by_jwk(jwk: Value) -> Value {
    json!({ "type": "jwk-encoded-key-descriptor", "jwk": jwk })
}

pub fn by_path(path: &str) -> Value {
    json!({ "type": "kms-hosted-key-descriptor", "keyIdPath": path })
}

/// Where a signing key is named.
const SIGNERS: [(MakeAsk, &str); 6] = [
    (iaca, "/iacaKeyDesc"),
    (document_signer, "/iacaSigner/iacaKeyDesc"),
    (leaf, "/subjectPublicKeySource/keyDescriptor"),
    (intermediate, "/issuer/issuerKeyDescriptor"),
    (csr, "/subjectKeyDescriptor"),
    (document_signer_csr, "/subjectKeyDescriptor"),
];

/// Where a key is named that is only certified.
const SUBJECTS: [(MakeAsk, &str); 2] = [
    (document_signer, "/dsPublicKeySource/keyDescriptor"),
    (intermediate, "/subjectPublicKeySource/keyDescriptor"),
];

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[test]
fn a_key_must_be_attached_there_and_one() {
    let appliance = Appliance::new();
    appliance.generate_key("test.tenant1.kms1.twice", "0a", "EC:secp256r1");
    appliance.generate_key("test.tenant1.kms1.twice", "0b", "EC:secp256r1");
    let mut bench = Bench::with(appliance, &[]);
    bench.accepted(&root("root-secp256r1"));
    for (ask, place) in SIGNERS.into_iter().chain(SUBJECTS) {
        let field = format!("{place}/keyIdPath");
        let path = |text: &str| ask().set(place, by_path(text));
        bench.judge([
            path("test.tenant1.kms2.tls").blames(
                &format!("29 {place}"),
                400,
                &field,
                "KMS test.tenant1.kms2 is not attached to test.tenant1.x509-service-1",
            ),
            path("test.tenant2.kms9.x").blames("29 other tenant", 400, &field, "is not attached to"),
            path("test.nowhere.x").blames("29 no such KMS", 400, &field, "KMS test.nowhere is not"),
            path("test.tenant1.kms1").blames("29 the KMS itself", 400, &field, "is not attached to"),
            path("test.tenant1.x509-store-1.x").blames("29 a store", 400, &field, "is not attached"),
            path("Test.tenant1.kms1.x").blames("29 case", 400, &field, "is not attached to"),
            path("test.tenant1.kms1.iaca-2027").blames(
                &format!("30 {place}"),
                404,
                &field,
                "key test.tenant1.kms1.iaca-2027 not found",
            ),
            path("test.tenant1.kms1.a.b").blames("30 too deep", 404, &field, "not found"),
            path("test.tenant1.kms1.Secp256r1").blames("30 case", 404, &field, "not found"),
            path("test.tenant1.kms1.twice").refused(
                &format!("31 {place}"),
                500,
                "key test.tenant1.kms1.twice is ambiguous on its token; an operator must resolve it",
            ),
            path("kms1").blames("19 one element", 400, &field, "at least two elements"),
            path("test.tenant1.kms1.").blames("19 final dot", 400, &field, "an element is empty"),
            path("test.tenant1.kms1.a b").blames("19 space", 400, &field, "' '"),
            path("").blames("19 empty", 400, &field, "an element is empty"),
        ]);
    }
    bench.judge([
        leaf().at(FOREIGN).blames(
            "29 the other way",
            400,
            "/subjectPublicKeySource/keyDescriptor/keyIdPath",
            "KMS test.tenant1.kms1 is not attached to test.tenant2.x509-foreign",
        ),
        iaca().at(TWO_STORES).set("/iacaKeyDesc", by_path("test.tenant1.kms2.gone")).blames(
            "30 in the label table",
            404,
            "/iacaKeyDesc/keyIdPath",
            "key test.tenant1.kms2.gone not found",
        ),
    ]);
    bench.verdict();
}

#[test]
fn without_dev_a_private_jwk_is_refused_unread() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let words = "private JWKs are accepted only in dev mode; use a kms-hosted-key-descriptor";
    let mut rows = Vec::new();
    for (ask, place) in SIGNERS.into_iter().chain(SUBJECTS) {
        let row = |name: &str, jwk: Value| {
            ask().set(place, by_jwk(jwk)).blames(&format!("32 {place} {name}"), 403, place, words)
        };
        rows.push(row("object", private_jwk()));
        rows.push(row("string", private_jwk().to_string().into()));
        rows.push(
            ask()
                .set(place, json!({ "type": "jwk-encoded-key-descriptor", "key": private_jwk() }))
                .blames(&format!("32 {place} key"), 403, place, words),
        );
        for member in ["p", "q", "dp", "dq", "qi", "oth", "k"] {
            let mut jwk = public_jwk();
            jwk[member] = if member == "oth" { json!([{}]) } else { json!("AA") };
            rows.push(row(member, jwk));
        }
        rows.push(row("empty d", json!({ "kty": "EC", "d": "" })));
    }
    for (ask, place) in SIGNERS {
        let words = format!("{}: a public JWK cannot sign", dotted(place));
        rows.push(ask().set(place, by_jwk(public_jwk())).blames("33", 400, place, &words));
    }
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn a_jwk_must_be_whole_and_on_its_curve() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let (x, y) = (public_jwk()["x"].clone(), public_jwk()["y"].clone());
    let ec = |x: &Value, y: &Value| json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    for (ask, place) in SUBJECTS {
        let field = format!("{place}/jwk");
        let row = |name: &str, jwk: Value, words: &str| {
            ask().set(place, by_jwk(jwk)).blames(&format!("34 {name}"), 400, &field, words)
        };
        let n = |octets: usize| {
            use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
            URL_SAFE_NO_PAD.encode(vec![0xc5; octets])
        };
        bench.judge([
            row("off the curve", ec(&x, &x), "point is not on P-256"),
            row(
                "zero",
                ec(&"A".repeat(43).into(), &"A".repeat(43).into()),
                "point is not on P-256",
            ),
            row("short x", ec(&x.as_str().unwrap()[..4].into(), &y), "x must have 32 octets"),
            row("long y", ec(&x, &"A".repeat(44).into()), "y must have 32 octets"),
            row("base64", ec(&"+/+/".into(), &y), "x is not base64url"),
            row("padded", ec(&format!("{}=", x.as_str().unwrap()).into(), &y), "not base64url"),
            row("no y", json!({ "kty": "EC", "crv": "P-256", "x": x }), "y is required"),
            row("null y", ec(&x, &json!(null)), "y is required"),
            row("no kty", json!({ "crv": "P-256", "x": x, "y": y }), "kty is required"),
            row("no crv", json!({ "kty": "EC", "x": x, "y": y }), "crv is required"),
            row("number", ec(&7.into(), &y), "x must be a string"),
            row("array", json!([]), "must be an object"),
            row("no JSON", "hello".into(), "does not hold one JSON object"),
            row("a string of a string", "\"{}\"".into(), "does not hold one JSON object"),
            row(
                "members twice",
                "{\"kty\":\"EC\",\"kty\":\"EC\"}".into(),
                "does not hold one JSON",
            ),
            row("P-384 with short x", json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y }), "48"),
            row("exponent", json!({ "kty": "RSA", "n": n(384), "e": "Aw" }), "exponent"),
            row("modulus", json!({ "kty": "RSA", "n": n(128), "e": "AQAB" }), "1024"),
            row(
                "38 secp256k1",
                json!({ "kty": "EC", "crv": "secp256k1", "x": x, "y": y }),
                "key type secp256k1 is not supported",
            ),
            row(
                "38 Ed25519",
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
                "key type Ed25519 is not supported",
            ),
            ask()
                .set(
                    place,
                    json!({ "type": "jwk-encoded-key-descriptor", "jwk": public_jwk(), "key": {} }),
                )
                .blames("5.1 both names", 400, place, "give exactly one of jwk, key"),
            ask().set(place, json!({ "type": "jwk-encoded-key-descriptor" })).blames(
                "13 neither name",
                400,
                &field,
                "is required",
            ),
            ask()
                .set(place, json!({ "type": "jwk-encoded-key-descriptor", "key": ec(&x, &x) }))
                .blames("34 by its other name", 400, &format!("{place}/key"), "not on P-256"),
        ]);
    }
    bench.verdict();
}

#[test]
fn a_key_signs_what_its_policy_names() {
    let mut bench = Bench::new();
    let at = |ask: Ask, place: &str, name: &str| {
        ask.at(TWO_STORES).set(place, by_path(&format!("test.tenant1.kms2.{name}")))
    };
    let refused = |row: Ask, place: &str, key: &str, profile: &str| {
        row.blames(
            &format!("35 {key} {profile}"),
            403,
            &format!("{place}/keyIdPath"),
            &format!("key test.tenant1.kms2.{key} may not sign profile {profile}"),
        )
    };
    let signers = ["iaca", "document-signer", "generic", "generic", "csr", "csr"];
    let mut rows = Vec::new();
    for ((ask, place), profile) in SIGNERS.into_iter().zip(signers) {
        // Also when there is no such key on the token.
        rows.push(refused(at(ask(), place, "refused"), place, "refused", profile));
        let other = if ["iaca", "document-signer"].contains(&profile) { "tls" } else { "iaca" };
        rows.push(refused(at(ask(), place, other), place, other, profile));
    }
    bench.judge(rows);
    // To be certified needs no policy, and what the policy names is done.
    bench.accepted(&at(csr(), "/subjectKeyDescriptor", "tls"));
    bench.accepted(&at(leaf(), "/subjectPublicKeySource/keyDescriptor", "tls"));
    bench.accepted(&at(
        document_signer().set("/storedCertificateId", "by-policy"),
        "/dsPublicKeySource/keyDescriptor",
        "iaca",
    ));
    bench.verdict();
}

#[test]
fn a_key_must_be_of_a_type_that_the_profile_takes() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let rsa = |place: &str| format!("{}: RSA is not allowed for ", dotted(place));
    let mut rows: Vec<Row> = Vec::new();
    for name in ["rsa2048", "root-rsa3072", "root-rsa4096"] {
        for (ask, place) in [
            (iaca as MakeAsk, "/iacaKeyDesc"),
            (document_signer, "/iacaSigner/iacaKeyDesc"),
            (document_signer, "/dsPublicKeySource/keyDescriptor"),
            (document_signer_csr, "/subjectKeyDescriptor"),
        ] {
            let row = ask().set(place, key(name));
            rows.push(row.blames(&format!("37 {place} {name}"), 400, place, &rsa(place)));
        }
    }
    let subject = "/subjectPublicKeySource/keyDescriptor";
    rows.extend([
        root("rsa2048").blames("39 self-signed CA", 400, subject, "RSA-2048 may not sign as CA"),
        leaf_under("rsa2048").blames(
            "39 issuer",
            400,
            "/issuer/issuerKeyDescriptor",
            "RSA-2048 may not sign as CA; use 3072 or 4096",
        ),
        intermediate().set(subject, key("rsa2048")).blames("39 sub CA", 400, subject, "RSA-2048"),
    ]);
    bench.judge(rows);
    bench.verdict();
}
