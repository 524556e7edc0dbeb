//! For every rule octets that break it and nothing that comes before it.

mod supplied_iaca;

use std::collections::BTreeSet;

use der::{
    Encode, Tag,
    asn1::{ObjectIdentifier, OctetString},
};

use super::*;
use crate::{
    domain::{
        key::{KeyType, Signature},
        validity::Validity,
    },
    x509::{
        algorithm, encoding, fixtures, oid,
        profile::{document_signer, generic, iaca},
        unsigned::UnsignedCertificate,
    },
};

/// A TBS in parts that can be exchanged one by one.
struct Specimen {
    profile: Profile,
    issuer_side: Option<Issuer>,
    version: Vec<u8>,
    serial: Vec<u8>,
    algorithm: Vec<u8>,
    issuer: Vec<u8>,
    validity: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    unique_ids: Vec<u8>,
    extensions: Vec<(ObjectIdentifier, bool, Vec<u8>)>,
    trailing: Vec<u8>,
}

impl Specimen {
    fn of(plan: TbsPlan) -> Self {
        let (profile, issuer_side) = (plan.profile, plan.issuer().cloned());
        let unsigned = UnsignedCertificate::encode(plan).unwrap();
        let element = Element::strict(unsigned.tbs_der()).unwrap();
        let parts: Vec<Vec<u8>> =
            element.children().unwrap().iter().map(|part| part.der.to_vec()).collect();
        let view = TbsView::read(element).unwrap();
        let extensions = view.extensions.iter().map(|e| {
            let oid = ObjectIdentifier::from_bytes(e.oid.as_octets()).unwrap();
            (oid, e.critical, e.value.to_vec())
        });
        let [version, serial, algorithm, issuer, validity, subject, spki, _] =
            <[Vec<u8>; 8]>::try_from(parts).unwrap();
        Self {
            profile,
            issuer_side,
            version,
            serial,
            algorithm,
            issuer,
            validity,
            subject,
            spki,
            unique_ids: Vec::new(),
            extensions: extensions.collect(),
            trailing: Vec::new(),
        }
    }

    fn tbs(&self) -> Vec<u8> {
        let mut tbs = self.tbs_with(b"");
        tbs.extend(&self.trailing);
        tbs
    }

    /// With one more extension, already encoded.
    fn tbs_with(&self, extension: &[u8]) -> Vec<u8> {
        let mut extensions = extension.to_vec();
        for (extn_id, critical, value) in &self.extensions {
            let extn_value = OctetString::new(value.as_slice()).unwrap();
            let extension =
                x509_cert::ext::Extension { extn_id: *extn_id, critical: *critical, extn_value };
            extensions.extend(extension.to_der().unwrap());
        }
        let extensions = encoding::sequence(&[&extensions]).unwrap();
        encoding::sequence(&[
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.spki,
            &self.unique_ids,
            &encoding::context(3, &[&extensions]).unwrap(),
        ])
        .unwrap()
    }

    fn lint(&self) -> Result<(), Finding> {
        let signed_by = match &self.issuer_side {
            None => SignedBy::Itself,
            Some(issuer) => SignedBy::Issuer(issuer),
        };
        tbs(self.profile, &self.tbs(), signed_by, false)
    }

    fn lint_as_supplied(&self) -> Result<(), Finding> {
        let nobody = Signature::from_x509_octets(b"nobody".to_vec());
        let signed =
            encoding::signed(&self.tbs(), KeyType::P256.signature_algorithm(), &nobody).unwrap();
        supplied_iaca(&Certificate::from_der(&signed).unwrap())
    }

    fn value(&mut self, oid: ObjectIdentifier) -> &mut Vec<u8> {
        &mut self.extensions.iter_mut().find(|(id, _, _)| *id == oid).unwrap().2
    }

    fn set(&mut self, oid: ObjectIdentifier, value: &[u8]) {
        *self.value(oid) = value.to_vec();
    }

    fn drop(&mut self, oid: ObjectIdentifier) {
        self.extensions.retain(|(id, _, _)| *id != oid);
    }

    fn names(&mut self, attributes: &[(ObjectIdentifier, Tag, &str)]) {
        self.subject = name(attributes);
        if self.issuer_side.is_none() {
            self.issuer = self.subject.clone();
        }
    }

    fn valid(&mut self, from: &str, to: &str) {
        self.validity = encoding::validity(fixtures::validity(from, to)).unwrap();
    }

    fn valid_raw(&mut self, from: &[u8], to: &[u8]) {
        self.validity = encoding::sequence(&[from, to]).unwrap();
    }

    /// Another certified key, with all that follows from it.
    fn rekey(&mut self, key: &PublicKey) {
        self.spki = key.spki_der().to_vec();
        let id = OctetString::new(key.subject_key_id()).unwrap().to_der().unwrap();
        self.set(oid::SUBJECT_KEY_ID, &id);
        if self.issuer_side.is_none() {
            self.algorithm = algorithm::identifier(key.key_type().signature_algorithm()).to_vec();
            if self.extensions.iter().any(|(id, _, _)| *id == oid::AUTHORITY_KEY_ID) {
                let id = encoding::element(
                    Tag::ContextSpecific { constructed: false, number: der::TagNumber(0) },
                    &[&key.subject_key_id()],
                )
                .unwrap();
                self.set(oid::AUTHORITY_KEY_ID, &encoding::sequence(&[&id]).unwrap());
            }
        }
    }

    /// Another signing key, with all that follows from it.
    fn signer_key(&mut self, key: &PublicKey) {
        self.algorithm = algorithm::identifier(key.key_type().signature_algorithm()).to_vec();
        self.issuer_side.as_mut().unwrap().key = key.clone();
    }
}

fn name(attributes: &[(ObjectIdentifier, Tag, &str)]) -> Vec<u8> {
    let mut rdns = Vec::new();
    for (kind, tag, text) in attributes {
        let value = encoding::element(*tag, &[text.as_bytes()]).unwrap();
        let ava = encoding::sequence(&[&kind.to_der().unwrap(), &value]).unwrap();
        rdns.extend(encoding::element(Tag::Set, &[&ava]).unwrap());
    }
    encoding::sequence(&[&rdns]).unwrap()
}

fn iaca() -> Specimen {
    let data = fixtures::iaca_data_with_everything();
    let options = iaca::Options { authority_key_id: true };
    let key = fixtures::first_key();
    Specimen::of(
        iaca::plan(fixtures::serial(), &data, fixtures::iaca_validity(), &key, options).unwrap(),
    )
}

fn iaca_issuer() -> Issuer {
    let data = fixtures::iaca_data_with_everything();
    Issuer::described_iaca(&data, fixtures::iaca_validity(), &fixtures::first_key()).unwrap()
}

fn document_signer() -> Specimen {
    let data = fixtures::document_signer_data();
    let validity = fixtures::document_signer_validity();
    let key = fixtures::second_key();
    Specimen::of(
        document_signer::plan(fixtures::serial(), &data, validity, &iaca_issuer(), &key).unwrap(),
    )
}

fn ca_issuer() -> Issuer {
    Issuer {
        name: EncodedName::encode(&fixtures::generic_ca().subject).unwrap(),
        issuer_alternative_name: None,
        path_length: Some(1),
        ..iaca_issuer()
    }
}

fn leaf() -> Specimen {
    let data = fixtures::generic_leaf_with_everything();
    generic_under(&data)
}

fn sub_ca() -> Specimen {
    let mut data = fixtures::generic_ca();
    data.certificate_authority = Some(crate::domain::request::PathLength::AtMost(0));
    generic_under(&data)
}

fn generic_under(data: &crate::domain::request::GenericData) -> Specimen {
    let validity = fixtures::document_signer_validity();
    let options = generic::Options::default();
    let key = fixtures::second_key();
    Specimen::of(
        generic::ca_signed(fixtures::serial(), data, validity, &ca_issuer(), &key, options)
            .unwrap(),
    )
}

const C: (ObjectIdentifier, Tag, &str) = (oid::COUNTRY, Tag::PrintableString, "NL");
const CN: (ObjectIdentifier, Tag, &str) = (oid::COMMON_NAME, Tag::Utf8String, "Acme");
const ST: (ObjectIdentifier, Tag, &str) = (oid::STATE_OR_PROVINCE, Tag::Utf8String, "Utrecht");
/// id-pe-authorityInfoAccess.
const AIA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
const CRITICAL: bool = true;
const NON_CRITICAL: bool = false;

type Case = (&'static str, fn() -> Specimen, fn(&mut Specimen));

/// What breaks which rule of our own profiles.
const OURS: &[Case] = &[
    ("strict-der", iaca, |s| s.trailing = vec![0]),
    ("strict-der", iaca, |s| s.serial = b"\x02\x02\x00\x41".to_vec()),
    ("strict-der", iaca, |s| s.version = b"\xa0\x03\x02\x01\x00".to_vec()),
    ("readable", iaca, |s| s.issuer = Vec::new()),
    ("readable", iaca, |s| s.extensions.clear()),
    ("readable", iaca, |s| s.valid_raw(b"\x17\x0b2603010000Z", b"\x17\x0d360301000000Z")),
    ("version-3", iaca, |s| s.version = Vec::new()),
    ("serial-positive", iaca, |s| s.serial = b"\x02\x01\x00".to_vec()),
    ("serial-positive", iaca, |s| s.serial = [&b"\x02\x10\x81"[..], &[7; 15]].concat()),
    ("serial-positive", iaca, |s| s.serial = [&b"\x02\x15"[..], &[7; 21]].concat()),
    ("serial-entropy", iaca, |s| s.serial = [&b"\x02\x0f"[..], &[7; 15]].concat()),
    ("signature-algorithm", iaca, |s| *s.algorithm.last_mut().unwrap() = 3),
    ("signature-algorithm", leaf, |s| {
        // Parameters where RFC 5758 wants none.
        s.algorithm = b"\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00".to_vec();
    }),
    ("signature-algorithm", leaf, |s| {
        // No parameters where RFC 4055 wants NULL.
        s.issuer_side.as_mut().unwrap().key = fixtures::rsa_2048();
        s.algorithm = b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b".to_vec();
    }),
    ("issuer-octets", iaca, |s| s.issuer = name(&[C, CN])),
    ("issuer-octets", document_signer, |s| {
        // The same values in other string types.
        let printable = (oid::COMMON_NAME, Tag::PrintableString, "Acme Licence Root 2026");
        let o = (oid::ORGANIZATION, Tag::Utf8String, "Acme Vehicle Authority");
        s.issuer = name(&[C, printable, ST, o]);
    }),
    ("subject-layout", leaf, |s| s.names(&[CN, C])),
    ("subject-layout", leaf, |s| s.names(&[C, CN, CN])),
    ("subject-layout", leaf, |s| s.names(&[C])),
    ("subject-layout", leaf, |s| s.names(&[])),
    ("subject-layout", leaf, |s| {
        s.names(&[C, CN, (ObjectIdentifier::new_unwrap("2.5.4.5"), Tag::PrintableString, "7")]);
    }),
    ("subject-layout", leaf, |s| {
        let ava = b"\x30\x0a\x06\x03\x55\x04\x03\x0c\x03\x41\x42\x43";
        let set = encoding::element(Tag::Set, &[ava, ava]).unwrap();
        s.subject = encoding::sequence(&[&set]).unwrap();
    }),
    ("subject-strings", leaf, |s| s.names(&[(oid::COUNTRY, Tag::Utf8String, "NL"), CN])),
    ("subject-strings", leaf, |s| s.names(&[(oid::COUNTRY, Tag::PrintableString, "nl"), CN])),
    ("subject-strings", leaf, |s| s.names(&[(oid::COMMON_NAME, Tag::PrintableString, "A")])),
    ("subject-strings", leaf, |s| s.names(&[(oid::COMMON_NAME, Tag::Utf8String, "")])),
    ("subject-strings", leaf, |s| {
        s.names(&[(oid::COMMON_NAME, Tag::Utf8String, &"x".repeat(65))]);
    }),
    ("validity-order", iaca, |s| {
        s.valid_raw(b"\x17\x0d360301000000Z", b"\x17\x0d260301000000Z");
    }),
    ("time-types", iaca, |s| {
        s.valid_raw(b"\x18\x0f20260301000000Z", b"\x17\x0d360301000000Z");
    }),
    ("validity-nests", document_signer, |s| {
        s.valid("2036-01-01T00:00:00Z", "2036-03-01T00:00:01Z");
    }),
    ("signature-algorithm", leaf, |s| s.signer_key(&fixtures::ed25519())),
    ("validity-nests", leaf, |s| s.valid("2026-02-28T23:59:59Z", "2027-01-01T00:00:00Z")),
    ("no-unique-ids", iaca, |s| s.unique_ids = b"\x81\x02\x00\x01".to_vec()),
    ("no-unique-ids", leaf, |s| s.unique_ids = b"\x82\x02\x00\x01".to_vec()),
    ("subject-key", leaf, |s| {
        // Ed448.
        s.spki = [&b"\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00"[..], &[9; 57]].concat();
    }),
    ("extension-once", leaf, |s| s.extensions.push(s.extensions[0].clone())),
    ("extension-prohibited", leaf, |s| {
        s.extensions.push((oid::NAME_CONSTRAINTS, CRITICAL, b"\x30\x00".to_vec()));
    }),
    ("extension-unlisted", leaf, |s| {
        s.extensions.push((AIA, NON_CRITICAL, b"\x30\x00".to_vec()));
    }),
    ("extension-unlisted", iaca, |s| {
        let purposes = b"\x30\x09\x06\x07\x28\x81\x8c\x5d\x05\x01\x07".to_vec();
        s.extensions.push((oid::EXTENDED_KEY_USAGE, CRITICAL, purposes));
    }),
    ("extension-unlisted", document_signer, |s| {
        s.extensions.push((oid::BASIC_CONSTRAINTS, CRITICAL, b"\x30\x00".to_vec()));
    }),
    ("extension-criticality", leaf, |s| s.extensions[0].1 = NON_CRITICAL),
    ("extension-criticality", document_signer, |s| s.extensions[1].1 = NON_CRITICAL),
    ("extension-criticality", iaca, |s| s.extensions[2].1 = CRITICAL),
    ("extension-der", leaf, |s| s.value(oid::SUBJECT_KEY_ID).push(0)),
    ("extension-missing", leaf, |s| s.drop(oid::BASIC_CONSTRAINTS)),
    ("extension-missing", leaf, |s| s.drop(oid::AUTHORITY_KEY_ID)),
    ("extension-missing", iaca, |s| s.drop(oid::ISSUER_ALT_NAME)),
    ("extension-missing", document_signer, |s| s.drop(oid::CRL_DISTRIBUTION_POINTS)),
    ("subject-key-identifier", iaca, |s| s.value(oid::SUBJECT_KEY_ID)[5] ^= 1),
    ("authority-key-identifier", iaca, |s| s.value(oid::AUTHORITY_KEY_ID)[5] ^= 1),
    ("authority-key-identifier", document_signer, |s| {
        s.issuer_side.as_mut().unwrap().key_id = vec![1; 20];
    }),
    ("authority-key-identifier", leaf, |s| s.set(oid::AUTHORITY_KEY_ID, b"\x30\x00")),
    ("authority-key-identifier", leaf, |s| {
        let id = encoding::element(
            Tag::ContextSpecific { constructed: false, number: der::TagNumber(0) },
            &[&s.issuer_side.as_ref().unwrap().key_id],
        )
        .unwrap();
        let value = encoding::sequence(&[&id, b"\xa1\x02\x82\x00", b"\x82\x01\x07"]).unwrap();
        s.set(oid::AUTHORITY_KEY_ID, &value);
    }),
    ("crl-distribution-point", leaf, |s| {
        s.set(oid::CRL_DISTRIBUTION_POINTS, &points(&[&point(&[b"ldap://x/y"], b"")]));
    }),
    ("crl-distribution-point", leaf, |s| {
        let two = points(&[&point(&[b"http://x/1", b"http://x/2"], b"")]);
        s.set(oid::CRL_DISTRIBUTION_POINTS, &two);
    }),
    ("crl-distribution-point", document_signer, |s| {
        let one = point(&[b"http://x/1"], b"");
        s.set(oid::CRL_DISTRIBUTION_POINTS, &points(&[&one, &one]));
    }),
    ("crl-distribution-point", iaca, |s| {
        let partial = point(&[b"http://x/1"], b"\x81\x02\x07\x80");
        s.set(oid::CRL_DISTRIBUTION_POINTS, &points(&[&partial]));
    }),
    ("crl-distribution-point", iaca, |s| s.set(oid::CRL_DISTRIBUTION_POINTS, b"\x30\x00")),
    ("iaca-country", iaca, |s| s.names(&[CN])),
    ("iaca-key", iaca, |s| s.rekey(&fixtures::rsa_2048())),
    ("iaca-span", iaca, |s| {
        // 7300 days and one second.
        s.valid("2026-03-01T00:00:00Z", "2046-02-24T00:00:01Z");
    }),
    ("iaca-basic-constraints", iaca, |s| {
        s.set(oid::BASIC_CONSTRAINTS, b"\x30\x06\x01\x01\xff\x02\x01\x01");
    }),
    ("iaca-basic-constraints", iaca, |s| {
        s.set(oid::BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\xff");
    }),
    ("iaca-basic-constraints", iaca, |s| s.set(oid::BASIC_CONSTRAINTS, b"\x30\x00")),
    ("iaca-key-usage", iaca, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x01\x86")),
    ("iaca-key-usage", iaca, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x02\x04")),
    ("iaca-contact", iaca, |s| s.set(oid::ISSUER_ALT_NAME, b"\x30\x03\x82\x01x")),
    ("ds-issuer", document_signer, |s| s.signer_key(&fixtures::rsa_2048())),
    ("ds-country", document_signer, |s| {
        s.names(&[(oid::COUNTRY, Tag::PrintableString, "DE"), CN, ST]);
    }),
    ("ds-country", document_signer, |s| s.names(&[CN, ST])),
    ("ds-state", document_signer, |s| s.names(&[C, CN])),
    ("ds-key", document_signer, |s| s.rekey(&fixtures::rsa_2048())),
    ("ds-key-differs", document_signer, |s| s.signer_key(&fixtures::second_key())),
    ("ds-span", document_signer, |s| s.valid("2026-06-15T09:30:00Z", "2027-09-15T09:30:01Z")),
    ("ds-key-usage", document_signer, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x06\xc0")),
    ("ds-extended-key-usage", document_signer, |s| {
        s.set(oid::EXTENDED_KEY_USAGE, b"\x30\x09\x06\x07\x28\x81\x8c\x5d\x05\x01\x06");
    }),
    ("ds-contact", document_signer, |s| s.set(oid::ISSUER_ALT_NAME, b"\x30\x03\x86\x01x")),
    ("generic-basic-constraints", leaf, |s| {
        // DEFAULT FALSE written out.
        s.set(oid::BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\x00");
    }),
    ("generic-path-length", sub_ca, |s| {
        s.set(oid::BASIC_CONSTRAINTS, b"\x30\x06\x01\x01\xff\x02\x01\x01");
    }),
    ("generic-path-length", sub_ca, |s| s.set(oid::BASIC_CONSTRAINTS, b"\x30\x03\x01\x01\xff")),
    ("generic-path-length", sub_ca, |s| {
        s.issuer_side.as_mut().unwrap().path_length = Some(0);
    }),
    ("generic-key-usage", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x00\x01")),
    ("generic-key-usage", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x00\x80")),
    ("generic-key-usage", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x01\x00")),
    ("generic-key-usage", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x03\x07\x09\x80")),
    ("generic-key-usage-of-type", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x05\x20")),
    ("generic-key-usage-of-type", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x04\x90")),
    ("generic-key-cert-sign", leaf, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x02\x04")),
    ("generic-key-cert-sign", sub_ca, |s| s.set(oid::KEY_USAGE, b"\x03\x02\x01\x02")),
    ("generic-extended-key-usage", leaf, |s| {
        s.set(oid::EXTENDED_KEY_USAGE, b"\x30\x09\x06\x07\x28\x81\x8c\x5d\x05\x01\x02");
    }),
    ("generic-extended-key-usage", leaf, |s| s.set(oid::EXTENDED_KEY_USAGE, b"\x30\x00")),
    ("generic-alternative-names", leaf, |s| s.set(oid::SUBJECT_ALT_NAME, b"\x30\x00")),
    ("generic-alternative-names", leaf, |s| {
        s.set(oid::SUBJECT_ALT_NAME, b"\x30\x07\x87\x05\x01\x02\x03\x04\x05");
    }),
    ("generic-alternative-names", leaf, |s| {
        s.set(oid::SUBJECT_ALT_NAME, b"\x30\x06\x82\x04a.b.");
    }),
    ("generic-alternative-names", leaf, |s| {
        s.set(oid::SUBJECT_ALT_NAME, b"\x30\x04\x82\x02\xc3\xa4");
    }),
    ("generic-rsa-2048", sub_ca, |s| s.rekey(&fixtures::rsa_2048())),
    ("generic-rsa-2048", leaf, |s| s.signer_key(&fixtures::rsa_2048())),
    ("generic-ed25519", sub_ca, |s| s.rekey(&fixtures::ed25519())),
    ("generic-ed25519", leaf, |s| {
        s.rekey(&fixtures::ed25519());
        // keyAgreement
        s.set(oid::KEY_USAGE, b"\x03\x02\x03\x08");
    }),
];

/// What breaks which rule for an IACA that others made.
const SUPPLIED: &[Case] = &[
    ("algorithms-agree", iaca, |s| *s.algorithm.last_mut().unwrap() = 3),
    ("version-3", iaca, |s| s.version = b"\xa0\x03\x02\x01\x01".to_vec()),
    ("serial-positive", iaca, |s| s.serial = b"\x02\x01\xff".to_vec()),
    ("time-types", iaca, |s| {
        s.valid_raw(b"\x18\x0f20260301000000Z", b"\x17\x0d360301000000Z");
    }),
    ("no-unique-ids", iaca, |s| s.unique_ids = b"\x81\x02\x00\x01".to_vec()),
    ("name-strings", iaca, |s| {
        s.names(&[C, (oid::COMMON_NAME, Tag::TeletexString, "Acme")]);
    }),
    ("extension-prohibited", iaca, |s| {
        s.extensions.push((oid::POLICY_MAPPINGS, NON_CRITICAL, b"\x30\x00".to_vec()));
    }),
    ("critical-extensions", iaca, |s| s.extensions.push((AIA, CRITICAL, b"\x30\x00".to_vec()))),
    ("iaca-extended-key-usage", iaca, |s| {
        let purposes = b"\x30\x09\x06\x07\x28\x81\x8c\x5d\x05\x01\x07".to_vec();
        s.extensions.push((oid::EXTENDED_KEY_USAGE, NON_CRITICAL, purposes));
    }),
    ("subject-key-identifier", iaca, |s| s.drop(oid::SUBJECT_KEY_ID)),
    ("iaca-self-issued", iaca, |s| s.issuer = name(&[C, CN, ST])),
    ("iaca-country", iaca, |s| s.names(&[CN])),
    ("iaca-country", iaca, |s| s.names(&[(oid::COUNTRY, Tag::PrintableString, "nl"), CN])),
    ("iaca-country", iaca, |s| s.names(&[(oid::COUNTRY, Tag::Utf8String, "NL"), CN])),
    ("iaca-country", iaca, |s| s.names(&[C, C, CN])),
    ("iaca-common-name", iaca, |s| s.names(&[C])),
    ("iaca-span", iaca, |s| s.valid("2026-03-01T00:00:00Z", "2046-03-01T00:00:01Z")),
    ("iaca-basic-constraints", iaca, |s| s.drop(oid::BASIC_CONSTRAINTS)),
    ("iaca-basic-constraints", iaca, |s| s.extensions[0].1 = NON_CRITICAL),
    ("iaca-key-usage", iaca, |s| s.drop(oid::KEY_USAGE)),
    ("iaca-key-usage", iaca, |s| s.extensions[1].1 = NON_CRITICAL),
    ("iaca-contact", iaca, |s| s.drop(oid::ISSUER_ALT_NAME)),
    ("name-layout", iaca, |s| s.names(&[C, CN, CN])),
    ("contact-forms", iaca, |s| s.set(oid::ISSUER_ALT_NAME, b"\x30\x03\x86\x01/")),
    ("alternative-name-forms", iaca, |s| {
        s.extensions.push((oid::SUBJECT_ALT_NAME, NON_CRITICAL, b"\x30\x03\x87\x01\x00".to_vec()));
    }),
];

#[test]
fn every_rule_catches_the_octets_that_break_it() {
    for (rule, specimen, breaks) in OURS {
        let mut specimen = specimen();
        assert_eq!(specimen.lint(), Ok(()), "before breaking {rule}");
        breaks(&mut specimen);
        let found = specimen.lint().expect_err(rule);
        assert_eq!(found.rule, *rule, "{found}");
    }
}

#[test]
fn every_rule_for_supplied_iacas_catches_the_octets_that_break_it() {
    for (rule, specimen, breaks) in SUPPLIED {
        let mut specimen = specimen();
        assert_eq!(specimen.lint_as_supplied(), Ok(()), "before breaking {rule}");
        breaks(&mut specimen);
        let found = specimen.lint_as_supplied().expect_err(rule);
        assert_eq!(found.rule, *rule, "{found}");
    }
}

#[test]
fn no_rule_goes_without_octets_that_break_it() {
    let tried: BTreeSet<&str> = OURS.iter().chain(SUPPLIED).map(|(rule, _, _)| *rule).collect();
    let lists = [
        common::RULES,
        extensions::RULES,
        &[extensions::ONCE, extensions::PROHIBITED],
        super::iaca::RULES,
        super::iaca::OWN_RULES,
        super::document_signer::RULES,
        super::generic::RULES,
        supplied::RULES,
    ];
    let rules: BTreeSet<&str> = lists.iter().flat_map(|list| list.iter()).map(|r| r.name).collect();
    assert_eq!(rules.difference(&tried).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn a_supplied_iaca_may_have_another_key_identifier_and_extensions_of_its_own() {
    let mut specimen = iaca();
    specimen.set(oid::SUBJECT_KEY_ID, b"\x04\x04\x01\x02\x03\x04");
    specimen.set(oid::AUTHORITY_KEY_ID, b"\x30\x06\x80\x04\x01\x02\x03\x04");
    specimen.serial = b"\x02\x01\x05".to_vec();
    // A private extension whose value is not DER, as live roots have.
    let private = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.58017.1");
    specimen.extensions.push((private, NON_CRITICAL, b"not DER".to_vec()));
    let printable = (oid::COMMON_NAME, Tag::PrintableString, "Acme Root");
    let serial_number = (ObjectIdentifier::new_unwrap("2.5.4.5"), Tag::PrintableString, "7");
    specimen.names(&[(oid::ORGANIZATION, Tag::Utf8String, "Acme"), C, printable, serial_number]);
    assert_eq!(specimen.lint_as_supplied(), Ok(()));
}

#[test]
fn words_for_the_caller_say_what_must_be() {
    let mut specimen = iaca();
    specimen.set(oid::BASIC_CONSTRAINTS, b"\x30\x06\x01\x01\xff\x02\x01\x01");
    assert_eq!(specimen.lint_as_supplied().unwrap_err().detail, "pathLenConstraint must be 0");
}

#[test]
fn octets_that_say_something_else_than_the_plan_are_found() {
    let data = fixtures::iaca_data();
    let validity: Validity = fixtures::iaca_validity();
    let key = fixtures::first_key();
    let plan =
        |serial| iaca::plan(serial, &data, validity, &key, iaca::Options::default()).unwrap();
    let subject = EncodedName::encode(&data.subject).unwrap();
    let unsigned = UnsignedCertificate::encode(plan(fixtures::serial())).unwrap();
    assert_eq!(planned(unsigned.tbs_der(), &plan(fixtures::serial()), &subject), Ok(()));
    let other = crate::domain::serial::SerialNumber::from_random([9; 16]);
    assert_eq!(planned(unsigned.tbs_der(), &plan(other), &subject).unwrap_err().rule, "as-planned");
}

#[test]
fn an_issuers_name_is_copied_whatever_its_strings_hold() {
    // CN = PrintableString "a@b".
    let name = b"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x13\x03a@b";
    let issuer = Issuer { name: EncodedName::from_der(name).unwrap(), ..ca_issuer() };
    let data = fixtures::generic_leaf_with_everything();
    let validity = fixtures::document_signer_validity();
    let (key, options) = (fixtures::second_key(), generic::Options::default());
    let plan = generic::ca_signed(fixtures::serial(), &data, validity, &issuer, &key, options);
    let unsigned = UnsignedCertificate::encode(plan.unwrap()).unwrap();
    assert!(unsigned.tbs_der().windows(name.len()).any(|octets| octets == name));
    // Nothing else may be such a string.
    let mut tbs = unsigned.tbs_der().to_vec();
    let country = tbs.windows(2).position(|octets| octets == b"NL").unwrap();
    tbs[country] = b'@';
    let found = super::tbs(Profile::Generic, &tbs, SignedBy::Issuer(&issuer), false);
    assert_eq!(found.unwrap_err().rule, "strict-der");
}

#[test]
fn an_operator_may_lift_the_rule_that_a_ca_needs_key_cert_sign() {
    let mut data = fixtures::generic_ca();
    data.certificate_authority = Some(crate::domain::request::PathLength::Unlimited);
    data.key_usage.clear();
    let options =
        generic::Options { ca_without_key_cert_sign: true, ..generic::Options::default() };
    let validity = fixtures::iaca_validity();
    let key = fixtures::first_key();
    let plan = generic::self_signed(fixtures::serial(), &data, validity, &key, options).unwrap();
    let unsigned = UnsignedCertificate::encode(plan).unwrap();
    let strict = tbs(Profile::Generic, unsigned.tbs_der(), SignedBy::Itself, false);
    assert_eq!(strict.unwrap_err().rule, "generic-key-cert-sign");
}

fn points(points: &[&[u8]]) -> Vec<u8> {
    encoding::sequence(points).unwrap()
}

fn point(uris: &[&[u8]], rest: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    for uri in uris {
        names.extend([0x86, u8::try_from(uri.len()).unwrap()]);
        names.extend_from_slice(uri);
    }
    let full_name = encoding::context(0, &[&names]).unwrap();
    encoding::sequence(&[&encoding::context(0, &[&full_name]).unwrap(), rest]).unwrap()
}
