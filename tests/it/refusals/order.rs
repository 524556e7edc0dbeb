//! Two faults in one request: the check that comes first in the contract decides.

use serde_json::json;

use super::{
    bench::{Bench, TWO_STORES},
    keys::{by_jwk, by_path, private_jwk},
    request::{Caller, document_signer, iaca, intermediate, leaf, root},
};
use crate::appliance::key;

#[test]
fn the_earlier_check_wins_before_the_body_is_read() {
    let mut bench = Bench::new();
    let bad_target = "/v1/test.a%20b/x509-service-api/iso/iacas";
    let nowhere = "/v1/test.tenant1.nowhere/x509-service-api/iso/iacas";
    let huge = " ".repeat(65_537);
    bench.judge([
        iaca().to(bad_target).by(Caller::Stray).refused("401 > 400", 401, "not a known client"),
        iaca().to(bad_target).by(Caller::Nobody).refused("400 > 403", 400, "target: "),
        iaca().to("/v1/a%20b/nothing").refused("400 > 404", 400, "target: "),
        iaca().to(bad_target).method("PUT").refused("400 > 405", 400, "target: "),
        iaca().to(bad_target).raw(huge.clone()).refused("400 > 413", 400, "target: "),
        iaca().to(nowhere).by(Caller::Nobody).refused("403 > 404", 403, "no issue:iaca"),
        iaca().method("PUT").by(Caller::Nobody).refused("403 > 405", 403, "no issue:iaca"),
        iaca().raw(huge.clone()).by(Caller::Nobody).refused("403 > 413", 403, "no issue:iaca"),
        iaca().raw("x").by(Caller::Nobody).refused("403 > JSON", 403, "no issue:iaca"),
        iaca().to(nowhere).method("PUT").refused("404 > 405", 404, "does not exist"),
        iaca().to(nowhere).raw(huge.clone()).refused("404 > 413", 404, "does not exist"),
        iaca().method("PUT").raw(huge.clone()).refused("405 > 413", 405, "use POST"),
        iaca().method("PUT").header("content-type", "x/y").refused("405 > 415", 405, "use POST"),
        iaca().raw(huge).header("content-type", "x/y").refused("413 > 415", 413, "larger than"),
        iaca().raw("x").header("content-type", "x/y").refused(
            "415 > JSON",
            415,
            "send application",
        ),
    ]);
    bench.verdict();
}

#[test]
fn the_earlier_check_wins_within_the_body() {
    let mut bench = Bench::new();
    bench.accepted(&iaca().set("/storedCertificateId", "taken"));
    bench.accepted(&root("root-secp256r1"));
    let country = "/certificateData/country";
    let twice = String::from_utf8(iaca().set(country, "us").body()).unwrap();
    let twice = twice.replacen("\"type\":", "\"type\":\"x\",\"type\":", 1);
    let desc = "/iacaKeyDesc";
    let signer = "/iacaSigner/iacaKeyDesc";
    let subject = "/dsPublicKeySource/keyDescriptor";
    let end = "/certificateData/notAfter";
    let past = "2020-01-01T00:00:00Z";
    let private = || by_jwk(private_jwk());
    let unattached = || by_path("test.tenant2.kms9.x");
    let missing = || by_path("test.tenant1.kms1.missing");
    let forbidden = || by_path("test.tenant1.kms2.refused");
    let taken = |ask: super::request::Ask| ask.set("/storedCertificateId", "taken");
    let key_of = |place: &str| format!("{place}/keyIdPath");
    bench.judge([
        iaca().raw(twice).blames("duplicate > field", 400, "/iacaKeyDesc/type", "occurs twice"),
        iaca().set(country, "us").set("/storedCertificateID", "x").blames(
            "unknown member > field",
            400,
            "/storedCertificateID",
            "unknown member",
        ),
        iaca().set(country, "us").set("/iacaKeyDesc/keyIdPath", 7).blames(
            "type > field",
            400,
            "/iacaKeyDesc/keyIdPath",
            "must be a string",
        ),
        leaf().set("/certificateData/keyUsage", json!(["Nothing"])).set("/issuer/more", 1).blames(
            "unknown member of a variant > field",
            400,
            "/issuer/more",
            "unknown member",
        ),
        iaca().set(country, "us").set(desc, private()).blames(
            "field > private",
            400,
            country,
            "us",
        ),
        iaca().set(end, past).set(desc, private()).blames("period > private", 400, end, "past"),
        iaca().set(end, past).set(desc, missing()).blames("period > missing", 400, end, "past"),
        taken(iaca()).set(end, past).blames("period > taken", 400, end, "past"),
        iaca().set("/storedCertificateId", "a.b").set(desc, missing()).blames(
            "id > missing",
            400,
            "/storedCertificateId",
            "'.' is not allowed",
        ),
        document_signer()
            .set("/dsPublicKeySource", json!({ "type": "csr", "csrPem": "x" }))
            .set(signer, private())
            .blames("CSR > private", 400, "/dsPublicKeySource/csrPem", "exactly one"),
        document_signer().set(signer, unattached()).set(subject, private()).blames(
            "private subject > unattached signer",
            403,
            subject,
            "private JWKs",
        ),
        document_signer().set(signer, private()).set(subject, unattached()).blames(
            "private signer > unattached subject",
            403,
            signer,
            "private JWKs",
        ),
        document_signer().at(TWO_STORES).set(signer, forbidden()).set(subject, private()).blames(
            "private subject > policy of the signer",
            403,
            subject,
            "private JWKs",
        ),
        document_signer()
            .at(TWO_STORES)
            .set(signer, forbidden())
            .set(subject, unattached())
            .blames(
                "unattached subject > policy of the signer",
                400,
                &key_of(subject),
                "is not attached",
            ),
        document_signer().set(signer, missing()).set(subject, unattached()).blames(
            "unattached subject > missing signer",
            400,
            &key_of(subject),
            "is not attached",
        ),
        document_signer().at(TWO_STORES).set(signer, forbidden()).set(subject, missing()).blames(
            "policy > missing",
            403,
            &key_of(signer),
            "may not sign profile document-signer",
        ),
        intermediate()
            .set("/issuer/issuerKeyDescriptor", unattached())
            .set("/subjectPublicKeySource/keyDescriptor", private())
            .blames(
                "private subject > unattached issuer",
                403,
                "/subjectPublicKeySource/keyDescriptor",
                "private JWKs",
            ),
        taken(iaca()).set(desc, private()).blames("private > taken", 403, desc, "private JWKs"),
        taken(iaca()).set(desc, unattached()).blames(
            "unattached > taken",
            400,
            &key_of(desc),
            "is not attached",
        ),
        taken(iaca()).set(desc, missing()).blames(
            "missing > taken",
            404,
            &key_of(desc),
            "not found",
        ),
        taken(leaf()).set("/subjectPublicKeySource/keyDescriptor", key("secp256r1")).blames(
            "IACA key > taken",
            403,
            "/subjectPublicKeySource/keyDescriptor/keyIdPath",
            "belongs to an IACA",
        ),
        taken(iaca()).set(desc, key("rsa2048")).blames(
            "taken > key type",
            409,
            "/storedCertificateId",
            "already exists",
        ),
        taken(leaf()).set("/certificateData/keyUsage", json!(["KeyCertSign"])).blames(
            "taken > key usage",
            409,
            "/storedCertificateId",
            "already exists",
        ),
        taken(document_signer()).set("/certificateData/country", "DE").blames(
            "taken > the IACA's country",
            409,
            "/storedCertificateId",
            "already exists",
        ),
    ]);
    bench.verdict();
}
