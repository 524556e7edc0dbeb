//! What is refused even in dev mode.

use serde_json::{Value, json};

use super::{
    bench::Bench,
    keys::{by_jwk, private_jwk, public_jwk},
    request::{Ask, csr, document_signer, iaca, intermediate, leaf, root},
};
use crate::appliance::Appliance;

#[test]
fn a_private_jwk_must_be_whole_and_fit_its_public_half() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    bench.accepted(&root("root-secp256r1"));
    let places: [(fn() -> Ask, &str); 4] = [
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
