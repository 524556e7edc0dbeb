//! Requests, clocks and keys for the tests here and in `tests/`.
#![allow(dead_code, reason = "each test binary uses a part")]

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding,
    },
};

use crate::domain::{
    alternative_name::{
        AbsoluteUri, DnsName, EmailAddress, HttpUrl, IpAddress, IssuerAlternativeName,
        SubjectAlternativeNames,
    },
    key::{KeyType, PublicKey, Signature},
    name::{AttributeKind, AttributeText, Country, DistinguishedName},
    oid::Oid,
    request::{DocumentSignerData, GenericData, IacaData, KeyUsage, PathLength},
    serial::SerialNumber,
    time::Timestamp,
    validity::{RequestedValidity, Validity},
};

/// A key pair that lives as long as a test.
pub(crate) struct SoftwareKey {
    pub(crate) public: PublicKey,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(KeyPair, &'static dyn RsaEncoding),
    Edwards(Ed25519KeyPair),
}

impl SoftwareKey {
    pub(crate) fn generate(key_type: KeyType) -> Self {
        let ec = |algorithm| {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let public = PublicKey::from_ec_point(key_type, pair.public_key().as_ref()).unwrap();
            Self { public, pair: Pair::Ec(pair) }
        };
        let rsa = |size, padding: &'static dyn RsaEncoding| {
            let pair = KeyPair::generate(size).unwrap();
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            let public = PublicKey::from_spki_der(spki.as_ref()).unwrap();
            Self { public, pair: Pair::Rsa(pair, padding) }
        };
        match key_type {
            KeyType::P256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyType::P384 => ec(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyType::P521 => ec(&ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyType::Rsa2048 => rsa(KeySize::Rsa2048, &RSA_PKCS1_SHA256),
            KeyType::Rsa3072 => rsa(KeySize::Rsa3072, &RSA_PKCS1_SHA384),
            KeyType::Rsa4096 => rsa(KeySize::Rsa4096, &RSA_PKCS1_SHA512),
            KeyType::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let public = PublicKey::from_ed25519(pair.public_key().as_ref()).unwrap();
                Self { public, pair: Pair::Edwards(pair) }
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let random = SystemRandom::new();
        Signature::from_x509_octets(match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

/// RFC 7517, A.1: the public half of a published key.
pub(crate) fn first_key() -> PublicKey {
    point(
        "30a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e",
        "e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723",
    )
}

/// RFC 6979, A.2.5: the public half of another.
pub(crate) fn second_key() -> PublicKey {
    point(
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    )
}

/// RFC 8032, 7.1, test 1: the public half of a published key.
pub(crate) fn ed25519() -> PublicKey {
    PublicKey::from_ed25519(&octets(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ))
    .unwrap()
}

/// A modulus of 2048 bits that nobody knows the factors of, for it has small ones.
pub(crate) fn rsa_2048() -> PublicKey {
    PublicKey::from_rsa(&[0xB5; 256], &[1, 0, 1]).unwrap()
}

fn point(x: &str, y: &str) -> PublicKey {
    let mut point = vec![0x04];
    for coordinate in [x, y] {
        point.extend(octets(coordinate));
    }
    PublicKey::from_ec_point(KeyType::P256, &point).unwrap()
}

fn octets(hex: &str) -> Vec<u8> {
    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(octet).collect()
}

pub(crate) fn serial() -> SerialNumber {
    SerialNumber::from_random([
        0x41, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F,
        0x10,
    ])
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn validity(from: &str, to: &str) -> Validity {
    Validity::new(at(from), at(to)).unwrap()
}

/// Ten years from 2026.
pub(crate) fn iaca_validity() -> Validity {
    validity("2026-03-01T00:00:00Z", "2036-03-01T00:00:00Z")
}

/// 457 days less a second.
pub(crate) fn document_signer_validity() -> Validity {
    validity("2026-06-15T09:30:00Z", "2027-09-15T09:29:59Z")
}

pub(crate) fn name(country: &str, common_name: &str) -> DistinguishedName {
    DistinguishedName {
        country: Some(Country::parse(country).unwrap()),
        common_name: text(AttributeKind::CommonName, common_name).unwrap(),
        state_or_province: None,
        organization: None,
        locality: None,
        organizational_unit: None,
    }
}

pub(crate) fn text(kind: AttributeKind, text: &str) -> Option<AttributeText> {
    Some(AttributeText::parse(kind, text).unwrap())
}

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text).unwrap()
}

/// Only what an IACA must have.
pub(crate) fn iaca_data() -> IacaData {
    IacaData {
        subject: name("NL", "Acme Licence Root 2026"),
        issuer_alternative_name: IssuerAlternativeName::new(
            None,
            Some(AbsoluteUri::parse("https://licences.acme.example/iaca").unwrap()),
        )
        .unwrap(),
        validity: RequestedValidity::default(),
        crl_distribution_point: None,
    }
}

/// All that an IACA may have.
pub(crate) fn iaca_data_with_everything() -> IacaData {
    let mut subject = name("NL", "Acme Licence Root 2026");
    subject.state_or_province = text(AttributeKind::StateOrProvince, "Utrecht");
    subject.organization = text(AttributeKind::Organization, "Acme Vehicle Authority");
    IacaData {
        subject,
        issuer_alternative_name: IssuerAlternativeName::new(
            Some(EmailAddress::parse("pki@acme.example").unwrap()),
            Some(AbsoluteUri::parse("https://licences.acme.example/iaca").unwrap()),
        )
        .unwrap(),
        validity: RequestedValidity::default(),
        crl_distribution_point: Some(url("http://pki.acme.example/crl/root.crl")),
    }
}

/// Fits under [`iaca_data_with_everything`].
pub(crate) fn document_signer_data() -> DocumentSignerData {
    let mut subject = name("NL", "Acme Document Signer 07");
    subject.state_or_province = text(AttributeKind::StateOrProvince, "Utrecht");
    subject.locality = text(AttributeKind::Locality, "Amersfoort");
    DocumentSignerData {
        subject,
        validity: RequestedValidity::default(),
        crl_distribution_point: url("http://pki.acme.example/crl/root.crl"),
    }
}

/// Nothing but a subject.
pub(crate) fn generic_leaf() -> GenericData {
    GenericData {
        subject: name("NL", "gateway.acme.example"),
        issuer_name: None,
        validity: RequestedValidity::default(),
        certificate_authority: None,
        key_usage: Vec::new(),
        extended_key_usage: Vec::new(),
        subject_alternative_names: SubjectAlternativeNames::default(),
        crl_distribution_point: None,
    }
}

/// Every extension that a leaf may have.
pub(crate) fn generic_leaf_with_everything() -> GenericData {
    let mut subject = name("NL", "gateway.acme.example");
    subject.organization = text(AttributeKind::Organization, "Acme Vehicle Authority");
    subject.organizational_unit = text(AttributeKind::OrganizationalUnit, "Plattform für Straßen");
    GenericData {
        subject,
        key_usage: vec![KeyUsage::DigitalSignature, KeyUsage::KeyAgreement, KeyUsage::DecipherOnly],
        extended_key_usage: vec![
            Oid::parse("1.3.6.1.5.5.7.3.1").unwrap(),
            Oid::parse("1.3.6.1.5.5.7.3.2").unwrap(),
        ],
        subject_alternative_names: alternative_names(),
        crl_distribution_point: Some(url("http://pki.acme.example/crl/intermediate.crl")),
        ..generic_leaf()
    }
}

/// A root that allows one CA below it.
pub(crate) fn generic_ca() -> GenericData {
    GenericData {
        subject: name("NL", "Acme Root 1"),
        certificate_authority: Some(PathLength::AtMost(1)),
        key_usage: vec![KeyUsage::KeyCertSign, KeyUsage::CrlSign],
        ..generic_leaf()
    }
}

pub(crate) fn alternative_names() -> SubjectAlternativeNames {
    SubjectAlternativeNames {
        dns_names: vec![
            DnsName::parse("gateway.acme.example").unwrap(),
            DnsName::parse("*.acme.example").unwrap(),
        ],
        uris: vec![AbsoluteUri::parse("urn:acme:gateway").unwrap()],
        emails: vec![EmailAddress::parse("gateway@acme.example").unwrap()],
        ip_addresses: ["192.0.2.17", "2001:db8::17"]
            .map(|text| IpAddress::parse(text).unwrap())
            .to_vec(),
    }
}
