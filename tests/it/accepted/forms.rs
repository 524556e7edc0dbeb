//! Other spellings of the same request.

use serde_json::{Value, json};

use crate::{
    appliance::{STORE, key},
    refusals::{
        bench::Bench,
        keys::public_jwk,
        request::{Ask, document_signer, document_signer_under, iaca, leaf, leaf_under, root},
    },
};

#[test]
fn legacy_names_of_members_are_understood() {
    let mut bench = Bench::new();
    let legacy = document_signer().without("/dsPublicKeySource");
    let answer = bench.accepted(&legacy.clone().set("/dsKeyDescriptor", key("ds-secp256r1")));
    assert_eq!(answer.json["certificateData"]["commonName"], "Example DS");
    let jwks = [
        json!({ "type": "jwk-encoded-key-descriptor", "jwk": public_jwk() }),
        json!({ "type": "jwk-encoded-key-descriptor", "key": public_jwk() }),
        json!({ "type": "jwk-encoded-key-descriptor", "jwk": public_jwk().to_string() }),
        json!({ "type": "jwk-encoded-key-descriptor", "key": public_jwk().to_string(), "jwk": null }),
    ];
    bench.accepted(&root("root-secp256r1"));
    for jwk in jwks {
        bench.accepted(&legacy.clone().set("/dsKeyDescriptor", jwk.clone()));
        let answer = bench.accepted(
            &leaf_under("root-secp256r1").set("/subjectPublicKeySource/keyDescriptor", jwk),
        );
        let wanted = public_jwk();
        let found = &answer.json["certificateData"]["publicKeyJwk"];
        assert_eq!((&found["x"], &found["y"]), (&wanted["x"], &wanted["y"]));
        assert_eq!(found.get("kid"), None);
    }
    bench.verdict();
}

#[test]
fn requests_made_by_openssl_are_taken_whatever_their_subject() {
    let mut bench = Bench::new();
    bench.accepted(&root("root-secp256r1"));
    let key =
        |options: &str| format!("openssl req -new -nodes -keyout /dev/null {options} 2>/dev/null");
    let p256 = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    let mut scripts = vec![];
    for subject in [
        "-subj /CN=x",
        "-subj /",
        "-subj '/C=us/O=lower case/emailAddress=a@b.example'",
        "-multivalue-rdn -subj '/CN=a+UID=b/DC=example'",
        "-utf8 -subj '/CN=Müller'",
        "-subj /CN=x -addext subjectAltName=DNS:evil.example -addext basicConstraints=CA:TRUE",
        "-subj /CN=x -sha384",
        "-subj /CN=x -sha512",
    ] {
        scripts.push((true, key(&format!("{p256} {subject}"))));
    }
    for curve in ["P-384", "P-521"] {
        let options = format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve} -subj /CN=x");
        scripts.push((true, key(&options)));
    }
    for bits in [2048, 3072, 4096] {
        scripts.push((false, key(&format!("-newkey rsa:{bits} -subj /CN=x"))));
    }
    for (is_ec, script) in scripts {
        let pem = bench.shell(&script);
        for member in ["csrPem", "csr", "pemEncodedCsr"] {
            let source = json!({ "type": "csr", member: pem });
            if is_ec {
                bench.accepted(&document_signer().set("/dsPublicKeySource", source.clone()));
            }
            let ask = leaf_under("root-secp256r1").set("/subjectPublicKeySource", source);
            let answer = bench.accepted(&ask);
            // Nothing but the key is taken.
            let data = &answer.json["certificateData"];
            assert_eq!(data["subjectName"], ask.json()["certificateData"]["subjectName"]);
            assert_eq!(data.get("subjectAlternativeNames"), None);
            assert_eq!(data["isCertificateAuthority"], false);
        }
    }
    bench.verdict();
}

#[test]
fn pem_may_have_crlf_and_no_final_newline() {
    let mut bench = Bench::new();
    let pem = bench.accepted(&iaca()).certificate().to_owned();
    assert!(pem.ends_with("-----END CERTIFICATE-----\n") && !pem.contains('\r'));
    let crlf = pem.replace('\n', "\r\n");
    for text in [crlf.as_str(), crlf.trim_end(), pem.trim_end(), &format!("\n \t{pem}\r\n\n")] {
        bench.accepted(&document_signer_under(text, "secp256r1"));
    }
    let csr = bench.shell(
        "openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout /dev/null \
         -subj /CN=x 2>/dev/null",
    );
    for text in [csr.replace('\n', "\r\n"), csr.trim_end().to_owned()] {
        let source = json!({ "type": "csr", "csrPem": text });
        bench.accepted(&document_signer_under(&pem, "secp256r1").set("/dsPublicKeySource", source));
    }
    bench.verdict();
}

#[test]
fn null_stands_for_absent() {
    let mut bench = Bench::new();
    let all = |ask: Ask, members: &[&str]| {
        members.iter().fold(ask, |ask, member| ask.set(member, Value::Null))
    };
    let data = "/certificateData";
    let shared = ["notBefore", "notAfter", "stateOrProvinceName", "organizationName"];
    let shared: Vec<_> = shared.iter().map(|member| format!("{data}/{member}")).collect();
    let shared: Vec<&str> = shared.iter().map(String::as_str).collect();
    let answer = bench.accepted(
        &all(iaca(), &shared)
            .set("/certificateData/crlDistributionPointUri", Value::Null)
            .set("/certificateData/issuerAlternativeNameConf/email", Value::Null)
            .set("/vicalEntryComplementaryMetadata", Value::Null)
            .set("/storedCertificateId", Value::Null),
    );
    assert!(!answer.json.to_string().contains("null"), "{}", answer.json);
    // No metadata: an ordinary entry.
    let path = answer.json["storedCertificateIds"][0].as_str().unwrap();
    let entry = bench.daemon.client.get(&format!("/v1/{path}/x509-store-api/certificates")).ok();
    assert_eq!(entry.json["data"]["type"], "base");
    bench.accepted(
        &all(document_signer(), &shared)
            .set("/certificateData/localityName", Value::Null)
            .set("/dsKeyDescriptor", Value::Null),
    );
    let answer = bench.accepted(&all(
        leaf(),
        &[
            "/certificateData/issuerName",
            "/certificateData/notBefore",
            "/certificateData/notAfter",
            "/certificateData/isCertificateAuthority",
            "/certificateData/pathLengthConstraint",
            "/certificateData/keyUsage",
            "/certificateData/extendedKeyUsageOids",
            "/certificateData/subjectAlternativeNames",
            "/certificateData/crlDistributionPointUri",
        ],
    ));
    assert_eq!(answer.json["certificateData"]["keyUsage"], json!([]));
    assert!(!answer.json.to_string().contains("null"), "{}", answer.json);
    bench.verdict();
}

#[test]
fn alternative_names_come_back_as_they_were_given() {
    let mut bench = Bench::new();
    let names = json!({
        "dnsNames": ["Gateway.Acme.example"],
        "uris": ["HTTPS://a.example/%7Ex"],
        "emails": ["Ops@Acme.example"],
        "ipAddresses": ["2001:0DB8:0:0:0:0:0:1", "2001:db8::2", "192.0.2.17"],
    });
    let place = "/certificateData/subjectAlternativeNames";
    let answer = bench.accepted(&leaf().set(place, names.clone()));
    assert_eq!(answer.json["certificateData"]["subjectAlternativeNames"], names);
    bench.verdict();
}

#[test]
fn times_are_converted_and_cut_to_whole_seconds() {
    let mut bench = Bench::new();
    for (given, shown) in [
        ("2036-03-01T00:00:00Z", "2036-03-01T00:00:00Z"),
        ("2036-03-01T00:00:00.999999999999Z", "2036-03-01T00:00:00Z"),
        ("2036-03-01t02:30:00.5+02:30", "2036-03-01T00:00:00Z"),
        ("2036-02-29T16:00:00-08:00", "2036-03-01T00:00:00Z"),
        ("2036-03-01T00:00:00z", "2036-03-01T00:00:00Z"),
        ("2036-03-01T00:00:00-00:00", "2036-03-01T00:00:00Z"),
    ] {
        let answer = bench.accepted(&iaca().set("/certificateData/notAfter", given));
        assert_eq!(answer.json["certificateData"]["notAfter"], shown, "{given}");
    }
    bench.verdict();
}

#[test]
fn headers_that_do_not_matter_do_not_matter() {
    let mut bench = Bench::new();
    for kind in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8;x=y",
        "Application/JSON",
        " application/json ",
    ] {
        bench.accepted(&iaca().header("content-type", kind));
    }
    for authorization in ["Bearer x", "Basic Og==", "nonsense", ""] {
        bench.accepted(&iaca().header("authorization", authorization));
    }
    bench.accepted(&iaca().header("accept", "text/html").header("host", "acme.localhost"));
    let ids = format!("/v1/{STORE}/x509-store-api/certificates/ids");
    for kind in ["application/json", "text/plain", "x"] {
        let answer = bench.daemon.client.send("GET", &ids, &[("content-type", kind)], "").unwrap();
        assert_eq!(answer.ok().header("content-type"), Some("application/json"));
    }
    bench.verdict();
}

#[test]
fn a_request_id_is_taken_or_made() {
    let bench = Bench::new();
    let ask = |id: &str| {
        let headers = [("x-request-id", id)];
        let answer = bench.daemon.client.send("GET", "/nowhere", &headers, "").unwrap();
        assert_eq!(answer.json["requestId"], answer.header("x-request-id").unwrap());
        answer.header("x-request-id").unwrap().to_owned()
    };
    for good in ["a", "A.b_c-9", &"x".repeat(64)] {
        assert_eq!(ask(good), good);
    }
    for bad in ["", "a b", "a/b", "ä", &"x".repeat(65), "a\"b"] {
        let made = ask(bad);
        assert!(uuid::Uuid::parse_str(&made).is_ok(), "{bad}: {made}");
    }
}
