//! The octets to be signed of every profile, as text that a person can check against the tables of
//! ISO/IEC 18013-5 Annex B and RFC 5280. `CHANCERY_BLESS=1` writes the files anew.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{fmt::Write, fs, path::Path};

use chancery::{domain, x509};

#[path = "../src/domain/fixtures.rs"]
mod fixtures;

use domain::request::PathLength;
use x509::{
    Issuer, UnsignedCertificate,
    csr::UnsignedRequest,
    plan::TbsPlan,
    profile::{document_signer, generic, iaca},
};

#[test]
fn iaca_with_what_it_must_have() {
    let options = iaca::Options::default();
    let validity = fixtures::iaca_validity();
    let key = fixtures::first_key();
    let data = fixtures::iaca_data();
    certificate("iaca", iaca::plan(fixtures::serial(), &data, validity, &key, options).unwrap());
}

#[test]
fn iaca_with_everything_and_an_end_beyond_2049() {
    let options = iaca::Options { authority_key_id: true };
    let data = fixtures::iaca_data_with_everything();
    let now = fixtures::at("2031-03-01T00:00:00Z");
    let validity = data.validity.resolve(now, iaca::VALIDITY, None).unwrap();
    let key = fixtures::first_key();
    certificate(
        "iaca-with-everything",
        iaca::plan(fixtures::serial(), &data, validity, &key, options).unwrap(),
    );
}

#[test]
fn document_signer() {
    let data = fixtures::document_signer_data();
    let now = fixtures::at("2026-06-15T09:30:00Z");
    let iaca = described_iaca();
    let validity =
        data.validity.resolve(now, document_signer::VALIDITY, Some(iaca.validity)).unwrap();
    let key = fixtures::second_key();
    certificate(
        "document-signer",
        document_signer::plan(fixtures::serial(), &data, validity, &iaca, &key).unwrap(),
    );
}

#[test]
fn generic_self_signed_leaf() {
    let data = fixtures::generic_leaf();
    certificate("generic-self-signed-leaf", self_signed(&data));
}

#[test]
fn generic_ca() {
    certificate("generic-ca", self_signed(&fixtures::generic_ca()));
}

#[test]
fn generic_leaf_with_everything_under_a_ca() {
    let data = fixtures::generic_leaf_with_everything();
    certificate("generic-ca-signed-leaf", ca_signed(&data));
}

#[test]
fn generic_ca_under_a_ca_gets_the_path_length_that_is_left() {
    let mut data = fixtures::generic_ca();
    data.subject = fixtures::name("NL", "Acme Intermediate 1");
    data.certificate_authority = Some(PathLength::Unlimited);
    certificate("generic-ca-signed-ca", ca_signed(&data));
}

#[test]
fn generic_request() {
    let subject = fixtures::generic_leaf().subject;
    request("csr-generic", &subject, &fixtures::alternative_names());
}

#[test]
fn document_signer_request() {
    let subject = fixtures::document_signer_data().subject;
    request("csr-document-signer", &subject, &Default::default());
}

fn self_signed(data: &domain::request::GenericData) -> TbsPlan {
    let now = fixtures::at("2026-03-01T00:00:00Z");
    let validity = data.validity.resolve(now, generic::VALIDITY, None).unwrap();
    let key = fixtures::first_key();
    let options = generic::Options::default();
    generic::self_signed(fixtures::serial(), data, validity, &key, options).unwrap()
}

fn ca_signed(data: &domain::request::GenericData) -> TbsPlan {
    let issuer = Issuer {
        name: x509::EncodedName::encode(&fixtures::generic_ca().subject).unwrap(),
        issuer_alternative_name: None,
        path_length: Some(1),
        ..described_iaca()
    };
    let now = fixtures::at("2026-06-15T09:31:12Z");
    let validity = data.validity.resolve(now, generic::VALIDITY, Some(issuer.validity)).unwrap();
    let key = fixtures::second_key();
    let options = generic::Options::default();
    generic::ca_signed(fixtures::serial(), data, validity, &issuer, &key, options).unwrap()
}

fn described_iaca() -> Issuer {
    let data = fixtures::iaca_data_with_everything();
    Issuer::described_iaca(&data, fixtures::iaca_validity(), &fixtures::first_key()).unwrap()
}

fn certificate(name: &str, plan: TbsPlan) {
    compare(name, UnsignedCertificate::encode(plan).unwrap().tbs_der());
}

fn request(
    name: &str,
    subject: &domain::name::DistinguishedName,
    names: &domain::alternative_name::SubjectAlternativeNames,
) {
    let request = UnsignedRequest::encode(subject, names, &fixtures::first_key()).unwrap();
    compare(name, request.tbs_der());
}

fn compare(name: &str, der: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    let mut dump = String::new();
    write_elements(&mut dump, der, 0, 0);
    writeln!(dump, "\n{} octets", der.len()).unwrap();
    for line in hex(der).as_bytes().chunks(96) {
        writeln!(dump, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    if std::env::var_os("CHANCERY_BLESS").is_some() {
        fs::write(&path, &dump).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == dump, "{} differs; it would be:\n{dump}", path.display());
}

/// One line an element: offset, tag, length, value. Octets that hold DER are opened.
fn write_elements(dump: &mut String, der: &[u8], offset: usize, depth: usize) {
    let mut at = 0;
    while at < der.len() {
        let tag = der[at];
        let (header, length) = match der[at + 1] {
            short @ 0..=0x7F => (2, usize::from(short)),
            long => {
                let octets = usize::from(long & 0x7F);
                let length = der[at + 2..at + 2 + octets].iter();
                (2 + octets, length.fold(0, |sum, octet| sum << 8 | usize::from(*octet)))
            }
        };
        let content = &der[at + header..at + header + length];
        let inside = offset + at + header;
        let indent = "  ".repeat(depth);
        let (name, value) = describe(tag, content);
        let line = format!("{:>4}  {indent}{name} {length}  {value}", offset + at);
        writeln!(dump, "{}", line.trim_end()).unwrap();
        if tag & 0x20 != 0 {
            write_elements(dump, content, inside, depth + 1);
        } else if tag == 0x04 && matches!(content.first(), Some(0x03 | 0x04 | 0x30)) {
            // extnValue.
            write_elements(dump, content, inside, depth + 1);
        }
        at += header + length;
    }
}

fn describe(tag: u8, content: &[u8]) -> (String, String) {
    let text = || format!("\"{}\"", String::from_utf8_lossy(content));
    let (name, value) = match tag {
        0x01 => ("BOOLEAN", if content == [0xFF] { "TRUE".to_owned() } else { hex(content) }),
        0x02 => ("INTEGER", hex(content)),
        0x03 => ("BIT STRING", format!("unused {} bits {}", content[0], hex(&content[1..]))),
        0x04 if matches!(content.first(), Some(0x03 | 0x04 | 0x30)) => {
            ("OCTET STRING", String::new())
        }
        0x04 => ("OCTET STRING", hex(content)),
        0x05 => ("NULL", String::new()),
        0x06 => {
            let oid = der::asn1::ObjectIdentifier::from_bytes(content).unwrap().to_string();
            let name = known(&oid);
            ("OID", format!("{oid} {name}"))
        }
        0x0C => ("UTF8String", text()),
        0x13 => ("PrintableString", text()),
        0x17 => ("UTCTime", text()),
        0x18 => ("GeneralizedTime", text()),
        0x30 => ("SEQUENCE", String::new()),
        0x31 => ("SET", String::new()),
        0xA0..=0xBF => return (format!("[{}]", tag & 0x1F), String::new()),
        0x81 | 0x82 | 0x86 => return (format!("[{}]", tag & 0x1F), text()),
        _ => return (format!("[{}]", tag & 0x1F), hex(content)),
    };
    (name.to_owned(), value)
}

fn known(oid: &str) -> &'static str {
    match oid {
        "1.0.18013.5.1.2" => "mdlDS",
        "1.2.840.10045.2.1" => "id-ecPublicKey",
        "1.2.840.10045.3.1.7" => "secp256r1",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.113549.1.9.14" => "extensionRequest",
        "1.3.6.1.5.5.7.3.1" => "serverAuth",
        "1.3.6.1.5.5.7.3.2" => "clientAuth",
        "2.5.29.14" => "subjectKeyIdentifier",
        "2.5.29.15" => "keyUsage",
        "2.5.29.17" => "subjectAltName",
        "2.5.29.18" => "issuerAltName",
        "2.5.29.19" => "basicConstraints",
        "2.5.29.31" => "cRLDistributionPoints",
        "2.5.29.35" => "authorityKeyIdentifier",
        "2.5.29.37" => "extKeyUsage",
        "2.5.4.3" => "commonName",
        "2.5.4.6" => "countryName",
        "2.5.4.7" => "localityName",
        "2.5.4.8" => "stateOrProvinceName",
        "2.5.4.10" => "organizationName",
        "2.5.4.11" => "organizationalUnitName",
        _ => "",
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}
