//! The octets, compared with what was written by hand from the standards.

use super::*;
use crate::{
    domain::{
        fixtures::{self, SoftwareKey},
        time::Timestamp,
    },
    vical::CertificateInfo,
};

fn info() -> CertificateInfo {
    CertificateInfo {
        certificate: vec![0x30, 0x01, 0x02],
        serial_number: vec![0x00, 0x80, 0x01],
        subject_key_id: vec![0xA1; 20],
        doc_types: vec!["org.iso.18013.5.1.mDL".to_owned(), "b".to_owned()],
        certificate_profiles: vec!["urn:oid:1.0.18013.5.1.7".to_owned()],
        issuing_authority: "CN=R,C=NL".to_owned(),
        issuing_country: Some("NL".to_owned()),
        state_or_province: Some("Utrecht".to_owned()),
        issuer: vec![0x30, 0x00],
        subject: vec![0x30, 0x00],
        not_before: at("2026-01-01T00:00:00Z"),
        not_after: at("2046-01-01T00:00:00Z"),
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn list(certificate_infos: Vec<CertificateInfo>, next_update: Option<Timestamp>) -> List {
    List {
        provider: "Acme".to_owned(),
        date: at("2026-06-15T09:40:00Z"),
        issue_id: 24,
        next_update,
        certificate_infos,
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn text(text: &str) -> String {
    assert!(text.len() < 256);
    let head = match text.len() {
        short @ ..24 => format!("{:02x}", 0x60 + short),
        long => format!("78{long:02x}"),
    };
    head + &hex(text.as_bytes())
}

fn date(moment: &str) -> String {
    format!("c0{}", text(moment))
}

/// The payload of [`list`] with [`info`] and a next update.
fn payload_by_hand() -> String {
    [
        "a6".to_owned(),
        text("version") + &text("1.0"),
        text("vicalProvider") + &text("Acme"),
        text("date") + &date("2026-06-15T09:40:00Z"),
        text("vicalIssueID") + "1818",
        text("nextUpdate") + &date("2026-09-15T00:00:00Z"),
        text("certificateInfos") + "81",
        "ac".to_owned(),
        text("certificate") + "43300102",
        text("serialNumber") + "c2428001",
        text("ski") + "54" + &"a1".repeat(20),
        text("docType") + "82" + &text("org.iso.18013.5.1.mDL") + &text("b"),
        text("certificateProfile") + "81" + &text("urn:oid:1.0.18013.5.1.7"),
        text("issuingAuthority") + &text("CN=R,C=NL"),
        text("issuingCountry") + &text("NL"),
        text("stateOrProvinceName") + &text("Utrecht"),
        text("issuer") + "423000",
        text("subject") + "423000",
        text("notBefore") + &date("2026-01-01T00:00:00Z"),
        text("notAfter") + &date("2046-01-01T00:00:00Z"),
    ]
    .concat()
}

#[test]
fn the_payload_is_these_octets() {
    let full = list(vec![info()], Some(at("2026-09-15T00:00:00Z")));
    assert_eq!(hex(&full.encode().unwrap()), payload_by_hand());
}

#[test]
fn absent_members_leave_no_trace() {
    assert_eq!(
        hex(&list(Vec::new(), None).encode().unwrap()),
        [
            "a5".to_owned(),
            text("version") + &text("1.0"),
            text("vicalProvider") + &text("Acme"),
            text("date") + &date("2026-06-15T09:40:00Z"),
            text("vicalIssueID") + "1818",
            text("certificateInfos") + "80",
        ]
        .concat()
    );
    let bare = CertificateInfo {
        certificate_profiles: Vec::new(),
        issuing_country: None,
        state_or_province: None,
        ..info()
    };
    let octets = hex(&list(vec![bare], None).encode().unwrap());
    for name in ["certificateProfile", "issuingCountry", "stateOrProvinceName", "nextUpdate"] {
        assert!(!octets.contains(&text(name)), "{name}");
    }
}

#[test]
fn the_signed_octets_are_the_sig_structure_around_the_payload() {
    let full = list(vec![info()], Some(at("2026-09-15T00:00:00Z")));
    let unsigned = UnsignedVical::encode(&full, &fixtures::first_key(), &[vec![1]]).unwrap();
    let payload = payload_by_hand();
    let head = format!("59{:04x}", payload.len() / 2);
    // ["Signature1", h'a10126', h'', payload].
    let expected = format!("84{}43a1012640{head}{payload}", text("Signature1"));
    assert_eq!(hex(unsigned.to_be_signed()), expected);
}

#[test]
fn one_certificate_is_a_byte_string_and_several_are_an_array() {
    let key = SoftwareKey::generate(KeyType::P256);
    let signed = |certificates: &[Vec<u8>], tagged| {
        let unsigned =
            UnsignedVical::encode(&list(vec![], None), &key.public, certificates).unwrap();
        let signature = key.sign(unsigned.to_be_signed());
        hex(unsigned.assemble(&signature, tagged).unwrap().octets())
    };
    assert!(signed(&[vec![1, 2]], false).starts_with("8443a10126a11821420102"));
    assert!(signed(&[vec![1], vec![2]], false).starts_with("8443a10126a118218241014102"));
    assert!(signed(&[vec![1, 2]], true).starts_with("d28443a10126a11821420102"));
}

#[test]
fn each_curve_has_its_algorithm_and_rsa_has_none() {
    for (key_type, header, name, octets) in [
        (KeyType::P256, "43a10126", "ES256", 64),
        (KeyType::P384, "44a1013822", "ES384", 96),
        (KeyType::P521, "44a1013823", "ES512", 132),
    ] {
        let key = SoftwareKey::generate(key_type);
        let unsigned = UnsignedVical::encode(&list(vec![], None), &key.public, &[vec![1]]).unwrap();
        let signature = key.sign(unsigned.to_be_signed());
        let signed = unsigned.assemble(&signature, false).unwrap();
        assert!(hex(signed.octets()).starts_with(&format!("84{header}")), "{key_type}");
        assert_eq!(signed.algorithm(), name);
        let raw = signature.to_raw(key_type).unwrap();
        assert_eq!(raw.as_octets().len(), octets);
        assert!(signed.octets().ends_with(raw.as_octets()));
    }
    let rsa = UnsignedVical::encode(&list(vec![], None), &fixtures::rsa_2048(), &[vec![1]]);
    assert_eq!(rsa.err(), Some(VicalError::KeyType));
}

#[test]
fn a_signature_of_another_key_or_over_other_octets_is_not_taken() {
    let key = SoftwareKey::generate(KeyType::P256);
    let unsigned =
        || UnsignedVical::encode(&list(vec![info()], None), &key.public, &[vec![1]]).unwrap();
    for signature in [
        SoftwareKey::generate(KeyType::P256).sign(unsigned().to_be_signed()),
        key.sign(b"something else"),
        Signature::from_x509_octets(vec![0; 64]),
    ] {
        let refused = unsigned().assemble(&signature, false).err();
        assert_eq!(refused, Some(VicalError::SignatureMismatch));
    }
}
