//! Dev mode: private keys in requests.

use serde_json::{Value, json};

use crate::{
    appliance::{Appliance, SOFTHSM_WARNING},
    refusals::{
        bench::Bench,
        keys::{by_jwk, private_jwk},
        openssl::jwk,
        request::{csr, document_signer, iaca, intermediate, leaf, leaf_under, root},
    },
};

#[test]
fn private_jwks_sign_and_are_recorded_as_such() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    let subject = "/subjectPublicKeySource/keyDescriptor";
    for curve in ["P-256", "P-384", "P-521"] {
        let options = format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}");
        let key = by_jwk(jwk(&bench, &options));
        bench.accepted(&csr().set("/subjectKeyDescriptor", key.clone()));
        bench.accepted(&leaf().set(subject, key.clone()));
        bench.accepted(&root("root-secp256r1").set(subject, key.clone()));
        bench.accepted(&leaf_under("x").set("/issuer/issuerKeyDescriptor", key));
        let key = by_jwk(jwk(&bench, &options));
        let pem = bench.accepted(&iaca().set("/iacaKeyDesc", key.clone()));
        bench.accepted(&document_signer().set(
            "/iacaSigner",
            json!({
                "type": "iaca-pem-cert-descriptor",
                "iacaPemEncodedCertificate": pem.certificate(),
                "iacaKeyDesc": key,
            }),
        ));
    }
    for bits in [2048, 3072, 4096] {
        let options = format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}");
        let key = by_jwk(jwk(&bench, &options));
        bench.accepted(&csr().set("/subjectKeyDescriptor", key.clone()));
        bench.accepted(&leaf().set(subject, key.clone()));
        if bits > 2048 {
            bench.accepted(&root("root-secp256r1").set(subject, key));
        }
    }
    let [intents, certificates, ..] = bench.counts();
    assert!(intents > 20 && certificates > 15);
    for table in ["intents", "certificates"] {
        let others = format!("select count(*) from {table} where not dev_key");
        assert_eq!(bench.appliance.count(&others), 0, "{table}");
    }
    let silent =
        "select count(*) from audit_entries where json_extract(entry, '$.detail.devKey') = 0";
    assert_eq!(bench.appliance.count(silent), 0);
    bench.verdict();
}

#[test]
fn a_private_jwk_is_certified_like_a_public_one() {
    let mut bench = Bench::with(Appliance::new(), &["--dev"]);
    bench.accepted(&root("root-secp256r1"));
    let none = "select count(*) from certificates where dev_key";
    assert_eq!(bench.appliance.count(none), 0);
    let place = "/subjectPublicKeySource/keyDescriptor";
    let answer = bench.accepted(&intermediate().set(place, by_jwk(private_jwk())));
    let jwk = &answer.json["certificateData"]["publicKeyJwk"];
    assert_eq!((jwk.get("d"), &jwk["x"]), (None, &private_jwk()["x"]));
    bench.accepted(
        &document_signer()
            .set("/dsPublicKeySource/keyDescriptor", by_jwk(private_jwk().to_string().into())),
    );
    assert_eq!(bench.appliance.count(none), 2);
    let health = ureq::get(format!("{}/healthz", bench.daemon.operations)).call().unwrap();
    let health: Value =
        serde_json::from_str(&health.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(health["dev"], true);
    assert_eq!(
        health["warnings"],
        json!(["--dev: private JWKs are accepted as signing keys", SOFTHSM_WARNING])
    );
    assert!(bench.daemon.log().contains("WARN"), "{}", bench.daemon.log());
    bench.verdict();
}
