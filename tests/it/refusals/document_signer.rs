//! Document signers, and the IACA that stands behind them.

use serde_json::json;

use super::{
    bench::Bench,
    openssl::flip_last_octet,
    request::{
        Ask, document_signer, document_signer_under, iaca, intermediate, leaf, leaf_under, root,
    },
};
use crate::appliance::{Appliance, SOON, key, until};

const DATA: &str = "/iacaSigner/certificateData";
const PEM: &str = "/iacaSigner/iacaPemEncodedCertificate";

/// The IACA that the documented document signer describes.
fn described_iaca() -> Ask {
    iaca()
        .set("/storedCertificateId", "described")
        .set("/iacaKeyDesc", key("iaca-secp256r1"))
        .set("/certificateData/notBefore", "2025-05-28T12:23:01Z")
        .set("/certificateData/notAfter", "2040-05-24T12:23:01Z")
}

#[test]
fn a_supplied_iaca_is_judged_by_the_full_profile() {
    let mut bench = Bench::new();
    let iaca_pem = bench.accepted(&described_iaca()).certificate().to_owned();
    let root_pem = bench.accepted(&root("root-secp256r1")).certificate().to_owned();
    let leaf_pem = bench.accepted(&leaf()).certificate().to_owned();
    let end = bench.shell("date -u -d '3 seconds' +%FT%TZ");
    let short = bench.accepted(
        &iaca()
            .set("/storedCertificateId", "short")
            .set("/iacaKeyDesc", key("iaca-secp384r1"))
            .set("/certificateData/notAfter", end.trim()),
    );
    let short_pem = short.certificate().to_owned();
    let future_pem = bench
        .accepted(
            &iaca()
                .set("/storedCertificateId", "future")
                .set("/iacaKeyDesc", key("iaca-secp521r1"))
                .set("/certificateData/notBefore", "2040-01-01T00:00:00Z"),
        )
        .certificate()
        .to_owned();
    until(SOON, || (bench.shell("date -u +%FT%TZ").trim() > end.trim()).then_some(())).unwrap();
    let not_now = "issuer certificate is valid from";
    bench.judge([
        document_signer_under(&root_pem, "root-secp256r1").blames(
            "59 generic CA",
            400,
            PEM,
            "iacaPemEncodedCertificate: not an IACA: ",
        ),
        document_signer_under(&leaf_pem, "leaf-secp256r1").blames(
            "59 leaf",
            400,
            PEM,
            "not an IACA",
        ),
        document_signer_under(&flip_last_octet("CERTIFICATE", &iaca_pem), "iaca-secp256r1").blames(
            "60",
            400,
            PEM,
            "iacaPemEncodedCertificate: self-signature does not verify",
        ),
        document_signer_under(&iaca_pem, "iaca-secp384r1").blames(
            "61",
            400,
            PEM,
            "iacaPemEncodedCertificate: public key differs from iacaKeyDesc",
        ),
        document_signer_under(&short_pem, "iaca-secp384r1").blames("62 expired", 400, PEM, not_now),
        document_signer_under(&future_pem, "iaca-secp521r1").blames(
            "62 not yet",
            400,
            PEM,
            not_now,
        ),
        document_signer_under("hello", "iaca-secp256r1").blames(
            "67",
            400,
            PEM,
            "iacaPemEncodedCertificate: expected exactly one CERTIFICATE block",
        ),
        document_signer_under(&format!("{iaca_pem}{iaca_pem}"), "iaca-secp256r1").blames(
            "67 two",
            400,
            PEM,
            "exactly one CERTIFICATE block",
        ),
        document_signer_under(
            &iaca_pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "iaca-secp256r1",
        )
        .blames("67 label", 400, PEM, "exactly one CERTIFICATE block"),
        document_signer_under(&iaca_pem, "iaca-secp256r1")
            .set("/iacaSigner/certificateData", json!({}))
            .blames("12 of another tag", 400, DATA, "unknown member 'certificateData'"),
    ]);
    bench.accepted(&document_signer_under(&iaca_pem, "iaca-secp256r1"));
    bench.verdict();
}

#[test]
fn a_document_signer_fits_its_iaca() {
    let mut bench = Bench::new();
    let placed = described_iaca().set("/certificateData/stateOrProvinceName", "Utrecht");
    let pem = bench.accepted(&placed).certificate().to_owned();
    let ask = || {
        document_signer_under(&pem, "iaca-secp256r1")
            .set("/certificateData/stateOrProvinceName", "Utrecht")
    };
    let key_field = "/dsPublicKeySource/keyDescriptor";
    let state = "/certificateData/stateOrProvinceName";
    let (start, end) = ("/certificateData/notBefore", "/certificateData/notAfter");
    bench.judge([
        ask().set("/certificateData/country", "DE").blames(
            "55",
            400,
            "/certificateData/country",
            "country DE differs from the IACA's US",
        ),
        ask().set(state, "Drenthe").blames(
            "55 state",
            400,
            state,
            "differs from the IACA's Utrecht",
        ),
        ask().set(state, "utrecht").blames(
            "55 case",
            400,
            state,
            "differs from the IACA's Utrecht",
        ),
        ask().without(state).blames("55 no state", 400, state, "is required"),
        ask().without("/certificateData/crlDistributionPointUri").blames(
            "56",
            400,
            "/certificateData/crlDistributionPointUri",
            "certificateData.crlDistributionPointUri is required",
        ),
        ask().set("/dsKeyDescriptor", key("ds-secp256r1")).blames(
            "57 both",
            400,
            "/dsKeyDescriptor",
            "give exactly one of dsPublicKeySource and dsKeyDescriptor",
        ),
        ask().without("/dsPublicKeySource").blames(
            "57 neither",
            400,
            "/dsPublicKeySource",
            "give exactly one of dsPublicKeySource and dsKeyDescriptor",
        ),
        ask().set(key_field, key("iaca-secp256r1")).blames(
            "58",
            400,
            key_field,
            "the document signer key must differ from the IACA key",
        ),
        ask().without("/dsPublicKeySource").set("/dsKeyDescriptor", key("iaca-secp256r1")).blames(
            "58 legacy",
            400,
            "/dsKeyDescriptor",
            "must differ from the IACA key",
        ),
        ask().set(start, "2025-05-28T12:23:00Z").set(end, "2026-12-24T12:00:00Z").blames(
            "53 before 54",
            400,
            end,
            "at most 457 days",
        ),
        ask().set(start, "2040-05-01T00:00:00Z").set(end, "2040-05-24T12:23:02Z").blames(
            "54",
            400,
            end,
            "notAfter 2040-05-24T12:23:02Z is beyond the issuer's 2040-05-24T12:23:01Z",
        ),
        ask().set(start, "2041-01-01T00:00:00Z").blames("54 start", 400, start, "notBefore 2041"),
        ask().set("/certificateData/organizationalUnitName", "x").blames(
            "12",
            400,
            "/certificateData/organizationalUnitName",
            "unknown member",
        ),
    ]);
    bench.accepted(&ask());
    let bare = document_signer().set(state, "Utrecht");
    let twin = described_iaca().set("/storedCertificateId", "twin");
    let twin = twin.set("/iacaKeyDesc", key("iaca-secp384r1"));
    bench.accepted(&twin);
    bench.judge([bare.set("/iacaSigner/iacaKeyDesc", key("iaca-secp384r1")).blames(
        "55 a state too many",
        400,
        state,
        "must be left out",
    )]);
    bench.verdict();
}

#[test]
fn a_description_must_be_that_of_the_registered_iaca() {
    for pinned in [false, true] {
        let mut bench = Bench::new();
        if pinned {
            bench.accepted(&document_signer());
        } else {
            bench.accepted(&described_iaca());
        }
        let set =
            |member: &str, value: &str| document_signer().set(&format!("{DATA}/{member}"), value);
        let mut rows = Vec::new();
        for (member, value, word) in [
            ("commonName", "Example IACA 2", "subject"),
            ("country", "NL", "subject"),
            ("stateOrProvinceName", "Utrecht", "subject"),
            ("organizationName", "Acme", "subject"),
            (
                "issuerAlternativeNameConf/uri",
                "https://iaca.example.org",
                "issuerAlternativeNameConf",
            ),
            ("issuerAlternativeNameConf/email", "a@b.example", "issuerAlternativeNameConf"),
            ("notBefore", "2025-05-28T12:23:00Z", "notBefore"),
            ("notAfter", "2040-05-24T12:23:02Z", "notAfter"),
        ] {
            rows.push(set(member, value).blames(
                &format!("63 {member}, pinned: {pinned}"),
                400,
                DATA,
                &format!("iacaSigner.certificateData differs from the registered IACA: {word}"),
            ));
        }
        for member in
            ["notBefore", "notAfter", "country", "commonName", "issuerAlternativeNameConf"]
        {
            let place = format!("{DATA}/{member}");
            rows.push(document_signer().without(&place).blames("13", 400, &place, "is required"));
        }
        bench.judge(rows);
        // Fractions are cut off before anything is compared, offsets are converted.
        bench.accepted(
            &set("notAfter", "2040-05-24T14:23:01.999+02:00").set("/storedCertificateId", "same"),
        );
        bench.verdict();
    }
}

#[test]
fn where_nothing_is_pinned_an_unregistered_description_is_refused() {
    let appliance = Appliance::new();
    appliance.declare("[issuance]\ndescribed_iaca = \"registered-only\"");
    let mut bench = Bench::with(appliance, &[]);
    bench.judge([document_signer().blames(
        "64",
        400,
        DATA,
        "no IACA is registered for this key; store it or use iaca-pem-cert-descriptor",
    )]);
    bench.accepted(&described_iaca());
    bench.accepted(&document_signer());
    bench.verdict();
}

#[test]
fn a_pinned_iaca_key_signs_no_generic_certificate() {
    let mut bench = Bench::new();
    bench.accepted(&document_signer());
    bench.judge([leaf_under("iaca-secp256r1").blames(
        "36 pinned",
        403,
        "/issuer/issuerKeyDescriptor/keyIdPath",
        "belongs to an IACA and may not sign generic certificates",
    )]);
    bench.accepted(&root("root-secp256r1"));
    // To be certified by somebody else is not to sign.
    let ask = intermediate().set("/subjectPublicKeySource/keyDescriptor", key("iaca-secp256r1"));
    bench.accepted(&ask);
    bench.verdict();
}
