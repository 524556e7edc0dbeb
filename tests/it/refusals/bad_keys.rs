//! Keys that anybody can use, or break, are neither certified nor sign (BR 6.1.1.3).

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    bench::Bench,
    keys::{by_jwk, private_jwk, public_jwk},
    request::{Ask, csr, document_signer, iaca, intermediate, leaf, leaf_under, root},
};
use crate::appliance::{Appliance, key, signal, until};

const SUBJECT: &str = "/subjectPublicKeySource/keyDescriptor";

/// The P-256 key of RFC 9500, 2.3.
const PUBLISHED: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIObLW92AqkWunJXowVR2Z5/+yVPBaFHnEedDk5WJxk/BoAoGCCqGSM49
AwEHoUQDQgAEQiVI+I+3gv+17KN0RFLHKh5Vj71vc75eSOkyMsxFxbFsTNEMTLjV
uKFxOelIgsiZJXKZNCX0FBmrfpCkKklCcg==
-----END EC PRIVATE KEY-----
";

fn ec(crv: &str, x: &str, y: &str) -> Value {
    json!({ "kty": "EC", "crv": crv, "x": x, "y": y })
}

/// The generator of P-256: the private key is 1.
fn generator() -> Value {
    ec(
        "P-256",
        "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    )
}

/// RSA of 2048 bits, modulus in base64url.
const NEAR_PRIMES: &str = "ymJm5wYtxY0aCAZDsk6VRhQG_yMjAgT_cDf2U_0vT6UiCXV1_aj0ALWBOC0DEOYGJ_ftcRl1E8RGpcN0odKDeqD4xpMmLhP1NQ5IO4g4WKnkjW4D5gv040r2lvouVnfXaj8AkPVYYlnu8_wpMSFKXURVr2WoyYdDZ35wsXg2EdIAfhHxoONkEVi6XtknJ7_QykplxRG6ZlEwmyFYsk-gyNae4aHxV2JD7hYFFlUwwGKvQb4u8re7NxTpEkbfGJmkq6-8wvWqiXj_sIoSdK13Y0M1J_TmUOskYMb4-Xmr2HgXY9YDHeOFR1aqC6Hlx3NOpMnegBYf52T8s0o7AHfWPQ";
const DIVISIBLE: &str = "wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHHFly5RMs72iarcHv1wG8KdE4SFi2-Gxdmk7kutiZuOB0HJd35FOcQP6yzYCTBFdUn4EHRpMHW2K_T1QT_KlQk_-4GOecI1UKqjitNYvkpMi4XHqQgK_AwABmgSbfuWOxcXOQV5NbaXT37YzIrnq6kwppYfDJZlRQIKY-J_w";

#[test]
fn a_public_key_that_anybody_has_the_private_half_of_is_not_certified() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let rsa = |n: &str| json!({ "kty": "RSA", "n": n, "e": "AQAB" });
    let seven = ec(
        "P-384",
        "KDwdc2XOR4jyn46_I07f_q1v6Zf76l_6LVjMnfp7HFCLBVJvVbnrsgQPBbSPttDh",
        "lHXJkGHkG4i6Uu_bjBaQRxph2GfteZcp2cks0B29IlYw2E7eMqePnmRmTNrFEu-M",
    );
    let rfc_7517 = ec(
        "P-256",
        "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    );
    let field = format!("{SUBJECT}/jwk");
    let mut rows = Vec::new();
    for (name, jwk, words) in [
        ("d = 1", generator(), "the key is known to be bad: its private key is a small number"),
        ("d = 7", seven, "its private key is a small number"),
        ("RFC 7517", rfc_7517.clone(), "its private key is published"),
        ("Fermat", rsa(NEAR_PRIMES), "its primes are too close to each other"),
        ("a factor of 3", rsa(DIVISIBLE), "its modulus has a divisor below 65536"),
    ] {
        let under = leaf_under("root-secp256r1").set(SUBJECT, by_jwk(jwk));
        rows.push(under.blames(name, 400, &field, words));
    }
    let place = "/dsPublicKeySource/keyDescriptor";
    rows.push(document_signer().set(place, by_jwk(rfc_7517)).blames(
        "document signer",
        400,
        &format!("{place}/jwk"),
        "published",
    ));
    std::fs::write(bench.appliance.path("published.key"), PUBLISHED).unwrap();
    let request = bench.shell("openssl req -new -key published.key -subj /CN=x");
    let source = json!({ "type": "csr", "csrPem": request });
    rows.push(leaf_under("root-secp256r1").set("/subjectPublicKeySource", source).blames(
        "CSR",
        400,
        "/subjectPublicKeySource/csrPem",
        "csrPem: the key is known to be bad: its private key is published",
    ));
    bench.judge(rows);
    bench.accepted(&leaf_under("root-secp256r1").set(SUBJECT, by_jwk(public_jwk())));
    bench.verdict();
}

/// A token key under a label, whose private half everybody has.
fn published_on_the_token(appliance: &Appliance) {
    std::fs::write(appliance.path("published.key"), PUBLISHED).unwrap();
    appliance.shell("openssl ec -in published.key -outform DER -out published.der 2>/dev/null");
    appliance
        .shell("openssl ec -in published.key -pubout -outform DER -out published.pub 2>/dev/null");
    let write = |options: &str| {
        appliance
            .pkcs11_tool(&format!("--login --label test.tenant1.kms1.published --id 77 {options}"))
    };
    let file = |name: &str| appliance.path(name).display().to_string();
    write(&format!("--write-object {} --type privkey --usage-sign", file("published.der")));
    write(&format!("--write-object {} --type pubkey", file("published.pub")));
}

#[test]
fn a_key_on_the_token_that_everybody_has_signs_nothing_and_is_not_certified() {
    let appliance = Appliance::new();
    published_on_the_token(&appliance);
    let mut bench = Bench::with(appliance, &[]);
    bench.accepted(&root("root-secp256r1"));
    let path = |place: &str| format!("{place}/keyIdPath");
    let words = "the key is known to be bad: its private key is published";
    let row = |ask: Ask, place: &str| {
        ask.set(place, key("published")).blames(place, 400, &path(place), words)
    };
    bench.judge([
        row(iaca(), "/iacaKeyDesc"),
        row(document_signer(), "/iacaSigner/iacaKeyDesc"),
        row(document_signer(), "/dsPublicKeySource/keyDescriptor"),
        row(leaf(), SUBJECT),
        row(intermediate(), SUBJECT),
        row(intermediate(), "/issuer/issuerKeyDescriptor"),
        row(csr(), "/subjectKeyDescriptor"),
    ]);
    bench.verdict();
}

#[test]
fn a_bad_private_key_is_not_imported_and_does_not_sign_in_dev_mode() {
    let appliance = Appliance::new();
    appliance.declare("[dev]\nimport_keys = true");
    let mut bench = Bench::with(appliance, &["--dev"]);
    let mut jwk = generator();
    jwk["d"] = format!("{}E", "A".repeat(42)).into();
    bench.judge([iaca().set("/iacaKeyDesc", by_jwk(jwk.clone())).blames(
        "d = 1 signs",
        400,
        "/iacaKeyDesc/jwk",
        "its private key is a small number",
    )]);
    let import = "/v1/test.tenant1.kms1.one/kms-service-api/keys/import/jwk";
    let answer = bench.daemon.client.post(import, &jwk.to_string());
    assert_eq!(answer.status, 400, "{}", answer.json);
    assert!(answer.json.to_string().contains("its private key is a small number"));
    let answer = bench.daemon.client.post(import, &private_jwk().to_string());
    assert_eq!(answer.status, 201, "{}", answer.json);
    bench.verdict();
}

#[test]
fn the_operators_list_is_read_at_start_and_reload_and_its_faults_have_line_numbers() {
    let appliance = Appliance::new();
    let list = appliance.path("bad-keys.txt");
    std::fs::write(&list, "# nothing yet\n").unwrap();
    appliance.declare("[issuance]\nbad_keys = \"bad-keys.txt\"");
    let daemon = appliance.start();
    daemon.wait_until_ready();
    let ask = leaf().json().clone();
    daemon.client.issue("certificate", &ask).ok();

    let answer =
        daemon.client.get("/v1/test.tenant1.kms1.leaf-secp256r1/kms-service-api/keys?format=pem");
    let pem = answer.ok().json["publicKeyPem"].as_str().unwrap().to_owned();
    std::fs::write(appliance.path("listed.pub"), pem).unwrap();
    let hash = appliance.shell(
        "openssl pkey -pubin -in listed.pub -outform DER | openssl dgst -sha256 -r | cut -c1-64",
    );
    std::fs::write(&list, format!("{}\n", hash.trim().to_uppercase())).unwrap();
    signal(daemon.pid(), "HUP");
    let mut other = ask.clone();
    other["storedCertificateId"] = "other".into();
    let refused = until(Duration::from_secs(20), || {
        let answer = daemon.client.issue("certificate", &other);
        other["storedCertificateId"] = format!("other-{}", answer.status).into();
        (answer.status == 400).then_some(answer)
    });
    let refused = refused.expect("the list is not in force");
    assert!(refused.json.to_string().contains("issuance.bad_keys"), "{}", refused.json);

    std::fs::write(&list, format!("{}\nnot a hash\n", hash.trim())).unwrap();
    signal(daemon.pid(), "HUP");
    let told = || daemon.log().contains("line 2 is not 64 hexadecimal digits").then_some(());
    until(Duration::from_secs(20), told).expect("the line is not named");
    assert_eq!(daemon.client.issue("certificate", &other).status, 400);
}
