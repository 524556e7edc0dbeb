//! A certificate is nobody's issuer until something proves it.

use serde_json::json;

use super::{CA, GIVEN, ISSUER_KEY, KEY, Lab, SIGN, SKI, leaf, leaf_by, sub_ca};
use crate::{
    appliance::{Appliance, generic_ca},
    support::refused,
};

const UNPROVEN: &str = "nothing proves it";
const UNKNOWN: &str = "no CA certificate is known for key";

#[test]
fn who_may_write_to_a_store_or_give_a_certificate_does_not_become_the_issuer() {
    let lab = Lab::new();
    lab.root("foreign", "/CN=Foreign Root", &[CA, SIGN, SKI]);
    lab.root("leaf", "/CN=No CA", &["basicConstraints=critical,CA:FALSE"]);
    lab.root("nosign", "/CN=Signs No Certificates", &[CA, "keyUsage=critical,cRLSign"]);
    lab.root("short", "/CN=Nothing Below", &["basicConstraints=critical,CA:TRUE,pathlen:0", SIGN]);
    lab.root("unknown", "/CN=Unknown", &[CA, SIGN, "1.2.3.4=critical,DER:0500"]);
    lab.root("policy", "/CN=Policy", &[CA, SIGN, "policyConstraints=requireExplicitPolicy:0"]);
    lab.root(
        "narrow",
        "/CN=Narrow",
        &[CA, SIGN, "nameConstraints=critical,permitted;dirName:n", "[n]", "C=DE"],
    );
    // The certificate of the same key under another name.
    lab.appliance.shell("cp foreign.key renamed.key");
    lab.root("renamed", "/CN=Another Name", &[CA, SIGN, SKI]);
    lab.appliance.shell(
        "openssl ecparam -name prime256v1 -genkey -noout -out expired.key; touch index
         printf '%s\\n' '[ca]' 'default_ca=d' '[d]' 'database=index' 'new_certs_dir=.' \
             'rand_serial=yes' 'default_md=sha256' 'policy=p' '[p]' 'commonName=supplied' >ca.cnf
         openssl req -new -key expired.key -subj '/CN=Expired Root' -out expired.csr
         openssl ca -batch -config ca.cnf -selfsign -keyfile expired.key -in expired.csr \
             -startdate 20200101000000Z -enddate 20210101000000Z -extfile foreign.ext -notext \
             -out expired.pem 2>/dev/null",
    );
    // What lies in the store beside it, and who has signed it.
    for (parents, ca, why) in [
        (&[][..], "foreign", "nobody knows who has signed it"),
        (&["renamed"], "foreign", "the name that has signed it is another"),
        (&["leaf"], "leaf", "the signer is no CA"),
        (&["nosign"], "nosign", "the signer may not sign certificates"),
        (&["short"], "short", "the signer allows no CA below it"),
        (&["unknown"], "unknown", "the signer has an unknown critical extension"),
        (&["policy"], "policy", "the signer wants a policy"),
        (&["narrow"], "narrow", "the signer forbids the name"),
        (&["expired"], "expired", "the signer has expired"),
    ] {
        for (id, parent) in parents.iter().enumerate() {
            let pem = lab.appliance.shell(&format!("cat {parent}.pem"));
            lab.store(&format!("parent-{id}"), &pem);
        }
        let pem = lab.over_key("evil", "/CN=Evil Issuer", ca, &[CA, SIGN, SKI]);
        let answer = lab.issue(&leaf_by(&pem));
        assert_eq!(answer.status, 400, "{why}: {}", answer.json);
        refused(&answer, 400, Some(GIVEN), UNPROVEN);
        lab.store("evil", &pem);
        let answer = lab.issue(&leaf());
        assert_eq!(answer.status, 400, "{why}: {}", answer.json);
        refused(&answer, 400, Some(ISSUER_KEY), UNKNOWN);
        lab.remove("evil");
        (0..parents.len()).for_each(|id| lab.remove(&format!("parent-{id}")));
    }
    // It says that it has signed itself, and has not.
    lab.appliance.shell("cp foreign.key self.key");
    lab.root("self", "/CN=Evil Issuer", &[CA, SIGN]);
    let forged = lab.over_key("forged", "/CN=Evil Issuer", "self", &[CA, SIGN]);
    refused(&lab.issue(&leaf_by(&forged)), 400, Some(GIVEN), UNPROVEN);
    lab.store("forged", &forged);
    refused(&lab.issue(&leaf()), 400, Some(ISSUER_KEY), UNKNOWN);
}

#[test]
fn a_chain_in_the_store_proves_a_certificate_while_it_is_whole() {
    let lab = Lab::new();
    let root = lab.root("root", "/CN=Outside Root", &[CA, SIGN, SKI]);
    let middle = lab.appliance.shell(
        "openssl ecparam -name prime256v1 -genkey -noout -out middle.key
         openssl ec -in middle.key -pubout -out middle.pub 2>/dev/null
         openssl x509 -new -force_pubkey middle.pub -subj '/CN=Middle' -CA root.pem -CAkey root.key \
             -days 2500 -extfile root.ext -out middle.pem 2>/dev/null; cat middle.pem",
    );
    let pem = lab.over_key("own", "/CN=Moved In", "middle", &[CA, SIGN, SKI]);
    lab.store("own", &pem);
    refused(&lab.issue(&leaf()), 400, Some(ISSUER_KEY), UNKNOWN);
    lab.store("middle", &middle);
    refused(&lab.issue(&leaf()), 400, Some(ISSUER_KEY), UNKNOWN);
    refused(&lab.issue(&leaf_by(&pem)), 400, Some(GIVEN), UNPROVEN);
    lab.store("root", &root);
    for request in [leaf(), leaf_by(&pem)] {
        let answer = lab.issue(&request).ok();
        assert_eq!(answer.json["certificateData"]["issuerName"]["commonName"], "Moved In");
        assert!(lab.openssl_verifies(answer.certificate(), "root", &["middle", "own"]));
    }
    for (id, pem) in [("middle", &middle), ("root", &root)] {
        lab.remove(id);
        refused(&lab.issue(&leaf()), 400, Some(ISSUER_KEY), UNKNOWN);
        lab.store(id, pem);
        lab.issue(&leaf()).ok();
    }
}

#[test]
fn what_was_issued_here_goes_before_what_is_stored_and_the_narrowest_holds() {
    let lab = Lab::new();
    let mut own = generic_ca(KEY, "Own Root");
    own["certificateData"]["pathLengthConstraint"] = 0.into();
    own["certificateData"]["notAfter"] = "2030-01-01T00:00:00Z".into();
    lab.issue(&own).ok();
    let root = lab.root("root", "/CN=Outside Root", &[CA, SIGN, SKI]);
    lab.store("root", &root);
    // Proven, newer, without a limit; one in the same name in other letters.
    for (id, subject) in [("other", "/CN=Evil Issuer"), ("same", "/CN=own root/C=US")] {
        let pem = lab.over_key(id, subject, "root", &[CA, SIGN, SKI]);
        lab.store(id, &pem);
    }
    let answer = lab.issue(&leaf()).ok();
    assert_eq!(answer.json["certificateData"]["issuerName"]["commonName"], "Own Root");
    refused(
        &lab.issue(&sub_ca()),
        400,
        Some("/certificateData/isCertificateAuthority"),
        "path length allows no CA",
    );
    let mut late = leaf();
    late["certificateData"]["notAfter"] = "2031-01-01T00:00:00Z".into();
    refused(&lab.issue(&late), 400, Some("/certificateData/notAfter"), "issuer");
    // A second certificate of the same key and name widens nothing, looked up or given.
    let mut wider = generic_ca(KEY, "Own Root");
    wider["certificateData"]["notAfter"] = "2040-01-01T00:00:00Z".into();
    let wider = lab.issue(&wider).ok().certificate().to_owned();
    for request in [sub_ca(), {
        let mut given = sub_ca();
        given["issuer"]["issuerCertificatePem"] = wider.clone().into();
        given
    }] {
        refused(
            &lab.issue(&request),
            400,
            Some("/certificateData/isCertificateAuthority"),
            "path length allows no CA",
        );
    }
    refused(&lab.issue(&late), 400, Some("/certificateData/notAfter"), "issuer");
    late["issuer"]["issuerCertificatePem"] = wider.into();
    refused(&lab.issue(&late), 400, Some("/certificateData/notAfter"), "issuer");
}

#[test]
fn a_store_full_of_one_name_does_not_stop_what_has_a_key_identifier() {
    const MANY: i64 = 10_000;
    let appliance = Appliance::new();
    appliance.start().stop();
    appliance
        .ledger()
        .execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
             INSERT INTO store_entries (store, id, kind, der, spki_sha256, is_ca)
             SELECT 'test.tenant1.x509-store-1', 'e' || i, 'base', CAST(i AS BLOB), zeroblob(32), TRUE
             FROM n"
        ))
        .unwrap();
    // An earlier version has left them without an index: the start makes it.
    let lab = Lab::of(appliance);
    let indexed = "select count(*) from store_entries where subject_sha256 is not null";
    assert_eq!(lab.appliance.count(indexed), MANY);
    let root = lab.root("root", "/CN=Outside Root", &[CA, SIGN, SKI]);
    let pem = lab.over_key(
        "own",
        "/CN=Moved In",
        "root",
        &[CA, SIGN, SKI, "authorityKeyIdentifier=keyid:always"],
    );
    lab.appliance
        .ledger()
        .execute(
            "UPDATE store_entries SET subject_sha256 = ?1, key_id = zeroblob(20) \
             WHERE subject_sha256 IS NOT NULL",
            [chancery::domain::key::sha256(&subject_of(&root))],
        )
        .unwrap();
    lab.store("zz-root", &root);
    lab.store("own", &pem);
    let answer = lab.issue(&leaf()).ok();
    assert_eq!(answer.json["certificateData"]["issuerName"]["commonName"], "Moved In");
}

/// The subject of a certificate, DER.
fn subject_of(pem: &str) -> Vec<u8> {
    chancery::x509::Certificate::from_pem(pem).unwrap().subject().as_der().to_vec()
}

#[test]
fn what_is_given_is_judged_before_it_is_proven() {
    let lab = Lab::new();
    // A root of its own key is proven by itself, but is another key's.
    let root = lab.root("root", "/CN=Outside Root", &[CA, SIGN, SKI]);
    refused(&lab.issue(&leaf_by(&root)), 400, Some(GIVEN), "public key differs");
    let own = lab.issue(&generic_ca(KEY, "Own Root")).ok().certificate().to_owned();
    lab.issue(&leaf_by(&own)).ok();
    let mut named = leaf_by(&own);
    named["certificateData"]["issuerName"] = json!({ "commonName": "Another" });
    refused(&lab.issue(&named), 400, Some("/certificateData/issuerName"), "differs");
}
