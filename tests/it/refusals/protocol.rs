//! Identity, target, route, size, media type, JSON.

use serde_json::json;

use super::{
    bench::{Bench, TWO_STORES, route},
    request::{Ask, Caller, csr, document_signer, iaca, intermediate, leaf},
};
use crate::appliance::STORE;

const BODY_MAX: usize = 65_536;

fn get(path: &str) -> Ask {
    iaca().method("GET").to(path).without_header("content-type").raw("")
}

#[test]
fn who_is_not_known_or_not_granted_is_refused() {
    let mut bench = Bench::new();
    let stray = "client certificate 'CN=stray' is not a known client";
    bench.judge([
        iaca().by(Caller::Stray).refused("1 post", 401, stray),
        get(&format!("/v1/{STORE}/x509-store-api/certificates"))
            .by(Caller::Stray)
            .refused("1 get", 401, stray),
        get("/healthz").by(Caller::Stray).refused("1 health", 401, stray),
        get("/nowhere").by(Caller::Stray).refused("1 no route", 401, stray),
        iaca().by(Caller::Nobody).refused(
            "2 iaca",
            403,
            "client 'nobody' has no issue:iaca on test.tenant1.x509-service-1",
        ),
        document_signer().by(Caller::Nobody).refused("2 ds", 403, "no issue:document-signer on"),
        leaf().by(Caller::Nobody).refused("2 generic", 403, "no issue:generic on"),
        csr().by(Caller::Nobody).refused("2 csr", 403, "no issue:csr on"),
        get(&format!("/v1/{STORE}/x509-store-api/certificates")).by(Caller::Nobody).refused(
            "2 store",
            403,
            "no store:read on",
        ),
        get(&format!("/v1/{STORE}.x/x509-store-api/certificates")).by(Caller::Nobody).refused(
            "2 entry",
            403,
            "no store:read on",
        ),
    ]);
    bench.verdict();
}

#[test]
fn a_target_must_be_written_right_and_lead_somewhere() {
    let mut bench = Bench::new();
    let to = |target: &str| iaca().to(format!("/v1/{target}/x509-service-api/iso/iacas"));
    let long = "a".repeat(129);
    bench.judge([
        to("test.a%20b").refused("3 space", 400, "target: element 'a b' may hold only letters"),
        to("test.t%2Fx").refused("3 slash", 400, "target: "),
        to("test.tenant1.x509-service-1.").refused("3 final dot", 400, "target: "),
        to(".test").refused("3 first dot", 400, "target: "),
        to("test..x").refused("3 empty element", 400, "target: "),
        to("test.%C3%A4").refused("3 umlaut", 400, "target: "),
        to("test.%FF").refused("3 not UTF-8", 400, "target: "),
        to("test.%00").refused("3 control", 400, "target: "),
        to("test.%2e").refused("3 encoded dot", 400, "target: "),
        to("").refused("3 empty", 400, "target: "),
        to(&format!("test.{long}")).refused("3 long", 400, "target: at most 128"),
        to("test.already%20exists").refused("3 the duplicate's words", 400, "target: "),
        to("test.tenant1.x510").refused("4 service", 404, "test.tenant1.x510 does not exist"),
        to("nowhere").by(Caller::Nobody).refused("4 needs a grant first", 403, "no issue:iaca"),
        to("test.tenant9.x509-service-1").refused("4 tenant", 404, "does not exist"),
        to("test.tenant1.X509-service-1").refused("4 case", 404, "does not exist"),
        to("test.tenant1.x509-service-1.iaca-2026").refused("4 id below", 404, "does not exist"),
        to("test").refused("4 organisation", 404, "test is not an x509-service"),
        to(STORE).refused("5 store", 404, "is an x509-store, not an x509-service"),
        to(&format!("{STORE}.x")).refused("5 entry", 404, "is an x509-store, not"),
        to("test.tenant1.kms1").refused("5 kms", 404, "is a kms, not an x509-service"),
        to("test.tenant1.vical").refused("5 vical", 404, "is a vical-service, not"),
        get("/v1/test.tenant1.x509-service-1/x509-store-api/certificates").refused(
            "5 service",
            404,
            "is an x509-service, not an x509-store",
        ),
        get(&format!("/v1/{STORE}.a.b/x509-store-api/certificates")).refused(
            "4 below an entry",
            404,
            "does not exist",
        ),
        get(&format!("/v1/{STORE}.none/x509-store-api/certificates")).refused(
            "78",
            404,
            "test.tenant1.x509-store-1.none does not exist",
        ),
        iaca().to(route("iso/iaca")).refused("4 no such route", 404, "not found"),
        iaca().to(route("iso/iacas/")).refused("4 final slash", 404, "not found"),
        iaca().to(route("iso/iacas/x")).refused("4 a segment more", 404, "not found"),
        iaca().to(route("ISO/iacas")).refused("4 case of a route", 404, "not found"),
        iaca().to("/v2/test/x509-service-api/iso/iacas").refused("4 version", 404, "not found"),
        iaca().to("/").refused("4 root", 404, "not found"),
        iaca().to("/auth/account/emailpass").refused("28 login is off", 404, "not found"),
    ]);
    bench.verdict();
}

#[test]
fn method_size_and_media_type_are_checked() {
    let mut bench = Bench::new();
    let ids = format!("/v1/{STORE}/x509-store-api/certificates/ids");
    let with_type = |name: &str, value: &str| {
        iaca().header("content-type", value).refused(name, 415, "send application/json")
    };
    let mut rows = vec![
        get(&route("iso/iacas")).refused("6 get", 405, "use POST"),
        iaca().method("PUT").refused("6 put", 405, "use POST"),
        iaca().method("PATCH").refused("6 patch", 405, "use POST"),
        iaca().method("BREW").refused("6 brew", 405, "use POST"),
        get(&route("csrs")).method("DELETE").refused("6 delete", 405, "use POST"),
        iaca().to(&ids).refused("6 post ids", 405, "use GET"),
        iaca().to("/healthz").refused("6 post health", 405, "use GET"),
        iaca().raw(" ".repeat(BODY_MAX + 1)).refused("7", 413, "body is larger than 65536 bytes"),
        iaca().raw(" ".repeat(BODY_MAX * 4)).refused(
            "7 much",
            413,
            "body is larger than 65536 bytes",
        ),
        iaca().raw(" ".repeat(BODY_MAX)).refused("7 not yet", 400, "body is not JSON"),
        iaca().without_header("content-type").refused("8 none", 415, "send application/json"),
        with_type("8 text", "text/plain"),
        with_type("8 form", "application/x-www-form-urlencoded"),
        with_type("8 longer", "application/json2"),
        with_type("8 shorter", "application/jso"),
        with_type("8 suffix", "application/problem+json"),
        with_type("8 two", "text/plain, application/json"),
        with_type("8 parameter only", "; application/json"),
    ];
    rows.push(csr().header("content-type", "text/json").refused("8 csr", 415, "send application"));
    bench.judge(rows);
    bench.verdict();
}

#[test]
fn what_is_not_json_is_refused() {
    let mut bench = Bench::new();
    let raw = |name: &str, body: &[u8]| {
        iaca().raw(body).refused(&format!("10 {name}"), 400, "body is not JSON: line ")
    };
    let deep = "[".repeat(20_000);
    bench.judge([
        raw("empty", b""),
        raw("text", b"hello"),
        raw("open", b"{\"certificateData\": {"),
        raw("two", b"{} {}"),
        raw("comma", b"{\"a\": 1,}"),
        raw("comment", b"{} // x"),
        raw("single quotes", b"{'a': 1}"),
        raw("not UTF-8", b"{\"a\": \"\xff\"}"),
        raw("half a surrogate", br#"{"a": "\ud800"}"#),
        raw("raw control", b"{\"a\": \"\x01\"}"),
        raw("byte order mark", b"\xef\xbb\xbf{}"),
        raw("NaN", b"{\"a\": NaN}"),
        raw("a number without end", b"{\"a\": 1e999}"),
        raw("leading zero", b"{\"a\": 01}"),
        raw("deep", deep.as_bytes()),
        raw("deep and closed", format!("{deep}{}", "]".repeat(20_000)).as_bytes()),
        iaca().raw("{\n\n\n x").refused("10 place", 400, "body is not JSON: line 4, column 2"),
    ]);
    for (name, body) in
        [("array", "[]"), ("string", "\"{}\""), ("null", "null"), ("number", "7"), ("true", "true")]
    {
        let row = iaca().raw(body).refused(&format!("14 {name}"), 400, "must be an object");
        bench.judge([row]);
    }
    bench.verdict();
}

#[test]
fn duplicate_unknown_missing_and_mistyped_members_are_named() {
    let mut bench = Bench::new();
    let text = |ask: &Ask| String::from_utf8(ask.body()).unwrap();
    let twice = text(&iaca()).replacen("\"country\":", "\"country\":\"US\",\"country\":", 1);
    let escaped = text(&iaca()).replacen("\"country\":", r#""c\u006funtry":"US","country":"#, 1);
    bench.judge([
        iaca().raw(twice).blames(
            "11",
            400,
            "/certificateData/country",
            "certificateData: member 'country' occurs twice",
        ),
        iaca().raw(escaped).blames("11 escaped", 400, "/certificateData/country", "occurs twice"),
        iaca().raw(r#"{"a": 1, "a": 1}"#).blames("11 top", 400, "/a", "body: member 'a' occurs"),
        iaca().set("/certificateData/localityName", "Utrecht").blames(
            "12",
            400,
            "/certificateData/localityName",
            "certificateData: unknown member 'localityName'",
        ),
        iaca().set("/a~1b~0c", 1).blames("12 pointer", 400, "/a~1b~0c", "unknown member 'a/b~c'"),
        iaca().set("/already exists", 1).blames(
            "12 the duplicate's words",
            400,
            "/already exists",
            "unknown member",
        ),
        iaca().set("/certificateData/CommonName", "x").blames(
            "12 case",
            400,
            "/certificateData/CommonName",
            "unknown member 'CommonName'",
        ),
        iaca().set("/certificateData/notAftr", json!(null)).blames(
            "12 even null",
            400,
            "/certificateData/notAftr",
            "unknown member 'notAftr'",
        ),
        iaca().without("/certificateData/commonName").blames(
            "13",
            400,
            "/certificateData/commonName",
            "certificateData.commonName is required",
        ),
        iaca().set("/certificateData/commonName", json!(null)).blames(
            "13 null",
            400,
            "/certificateData/commonName",
            "certificateData.commonName is required",
        ),
        leaf().set("/certificateData/keyUsage", "DigitalSignature").blames(
            "14",
            400,
            "/certificateData/keyUsage",
            "certificateData.keyUsage must be an array of strings",
        ),
        leaf().set("/certificateData/keyUsage", json!([null])).blames(
            "14 item",
            400,
            "/certificateData/keyUsage/0",
            "must be a string",
        ),
        intermediate().set("/certificateData/pathLengthConstraint", 1.5).blames(
            "14 fraction",
            400,
            "/certificateData/pathLengthConstraint",
            "a whole number from 0 to 255",
        ),
        intermediate().set("/certificateData/pathLengthConstraint", 256).blames(
            "14 256",
            400,
            "/certificateData/pathLengthConstraint",
            "a whole number from 0 to 255",
        ),
        intermediate().set("/certificateData/pathLengthConstraint", -1).blames(
            "14 negative",
            400,
            "/certificateData/pathLengthConstraint",
            "a whole number from 0 to 255",
        ),
        leaf().set("/certificateData/isCertificateAuthority", "false").blames(
            "14 boolean",
            400,
            "/certificateData/isCertificateAuthority",
            "must be true or false",
        ),
        leaf().set("/issuer/type", "cross-signed").blames(
            "15",
            400,
            "/issuer/type",
            "issuer.type: 'cross-signed' is not one of self-signed, ca-signed",
        ),
        iaca().set("/iacaKeyDesc/type", "KMS-hosted-key-descriptor").blames(
            "15 descriptor",
            400,
            "/iacaKeyDesc/type",
            "is not one of kms-hosted-key-descriptor, jwk-encoded-key-descriptor",
        ),
        leaf().set("/subjectPublicKeySource/type", "csr ").blames(
            "15 source",
            400,
            "/subjectPublicKeySource/type",
            "is not one of key-descriptor, csr",
        ),
        document_signer().set("/iacaSigner/type", "already exists").blames(
            "15 signer",
            400,
            "/iacaSigner/type",
            "is not one of iaca-pem-cert-descriptor, iaca-cert-data-descriptor",
        ),
        csr().set("/type", "iso").blames("15 csr", 400, "/type", "is not one of generic"),
        leaf().set("/issuer/issuerKeyDescriptor", json!({})).blames(
            "12 of another tag",
            400,
            "/issuer/issuerKeyDescriptor",
            "unknown member 'issuerKeyDescriptor'",
        ),
    ]);
    bench.verdict();
}

#[test]
fn an_id_in_a_store_is_one_element_and_not_taken() {
    let mut bench = Bench::new();
    let field = "/storedCertificateId";
    let id = |id: &str| iaca().set(field, id);
    bench.accepted(&id("taken"));
    bench.accepted(
        &id("in-a")
            .at(super::bench::ONLY_A)
            .set("/iacaKeyDesc", crate::appliance::key("iaca-secp384r1")),
    );
    let before = bench.counts();
    bench.judge([
        id("a.b").blames("19", 400, field, "storedCertificateId: '.' is not allowed"),
        id("").blames("19 empty", 400, field, "storedCertificateId: "),
        id("a/b").blames("19 slash", 400, field, "storedCertificateId: '/' is not allowed"),
        id("ä").blames("19 umlaut", 400, field, "storedCertificateId: 'ä' is not allowed"),
        id("a b").blames("19 space", 400, field, "storedCertificateId: ' ' is not allowed"),
        id("a\u{0}").blames("19 control", 400, field, "storedCertificateId"),
        id(&"a".repeat(129)).blames("19 long", 400, field, "at most 128"),
        iaca().set(field, 7).blames("14 number", 400, field, "must be a string"),
        id("taken").blames(
            "20",
            409,
            field,
            "target already exists: test.tenant1.x509-store-1.taken",
        ),
        id("in-a").at(TWO_STORES).blames(
            "20 second store only",
            409,
            field,
            "target already exists: test.tenant1.store-a.in-a",
        ),
        leaf().set(field, "taken").blames("20 generic", 409, field, "target already exists: "),
        document_signer().set(field, "taken").blames("20 ds", 409, field, "already exists: "),
    ]);
    assert_eq!(bench.counts(), before);
    bench.verdict();
}
