//! Certification requests, PKCS#10 (RFC 2986): reads callers' requests, and makes our own.
//!
//! Only the public key of a caller's request is used, after its signature has proved possession of
//! the private key. Its subject and requested extensions are ignored; only their structure is
//! checked.

use der::{Encode, Tag};

use super::{
    EncodedName, X509Error,
    algorithm::{self, ForeignAlgorithm},
    element::{Element, Fields, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, context_constructed},
    encoding,
    extension::Extension,
    oid, pem,
    view::Signed,
};
use crate::domain::{
    alternative_name::SubjectAlternativeNames,
    key::{Digest, KeyError, PublicKey, Signature, sha256},
    name::DistinguishedName,
};

/// The PEM label.
const LABEL: &str = "CERTIFICATE REQUEST";
/// Accepted PEM labels. keytool, certtool and certreq write the second one (RFC 7468, 7).
const LABELS: [&str; 2] = [LABEL, "NEW CERTIFICATE REQUEST"];

/// A caller's request whose signature (proof of possession) verifies.
#[derive(Debug, Clone)]
pub struct CertificationRequest {
    public_key: PublicKey,
}

impl CertificationRequest {
    /// Reads a request and verifies its signature with the algorithm of its key.
    ///
    /// # Errors
    /// [`CsrError`] says what is wrong; SHA-1 is refused.
    pub fn from_pem(text: &str) -> Result<Self, CsrError> {
        let der = pem::decode(&LABELS, text)?;
        let request = Signed::read("request", &der).map_err(malformed)?;
        let mut fields = Fields::of("request", request.tbs).map_err(malformed)?;
        // RFC 2986, 4.1: v1(0).
        if fields.take(INTEGER).map_err(malformed)?.content != [0] {
            return Err(CsrError::Malformed("version"));
        }
        let subject = fields.take(SEQUENCE).map_err(malformed)?;
        let spki = fields.take(SEQUENCE).map_err(malformed)?;
        // Some writers leave empty attributes out.
        let attributes = fields.take_if(context_constructed(0));
        fields.end().map_err(|_| CsrError::Malformed("attributes"))?;
        if !is_name(subject) {
            return Err(CsrError::Malformed("subject"));
        }
        if !attributes.is_none_or(are_attributes) {
            return Err(CsrError::Malformed("attributes"));
        }
        if Element::strict(spki.der).is_none() {
            return Err(CsrError::Malformed("public key"));
        }
        let public_key = PublicKey::from_spki_der(spki.der)?;
        let algorithm = algorithm::read(request.algorithm).map_err(|foreign| match foreign {
            ForeignAlgorithm::Malformed => CsrError::Malformed("signature algorithm"),
            ForeignAlgorithm::Sha1 => CsrError::Sha1,
            ForeignAlgorithm::Unsupported(oid) => CsrError::Algorithm(oid.to_string()),
        })?;
        if algorithm::verifies(&public_key, algorithm, request.tbs.der, request.signature) {
            Ok(Self { public_key })
        } else {
            Err(CsrError::Signature)
        }
    }

    /// The key whose holder made the request.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// Checks `Name`: a SEQUENCE of SETs of types with one value each.
fn is_name(element: Element<'_>) -> bool {
    Element::structured(element.der).is_some()
        && each(&element, |rdn| rdn.tag == SET && each(rdn, |pair| is_pair(pair, None)))
}

/// Checks `[0] Attributes` (RFC 2986, 4.1): types with a SET of values each.
fn are_attributes(element: Element<'_>) -> bool {
    Element::structured(element.der).is_some() && each(&element, |pair| is_pair(pair, Some(SET)))
}

fn each(element: &Element<'_>, holds: impl Fn(&Element<'_>) -> bool) -> bool {
    element.each().all(|child| child.is_some_and(|child| holds(&child)))
}

/// Checks a SEQUENCE of an OID and one value, whose tag may be given.
fn is_pair(pair: &Element<'_>, tag: Option<u8>) -> bool {
    pair.tag == SEQUENCE
        && pair.children_exactly().is_some_and(|[kind, value]| {
            kind.tag == OBJECT_IDENTIFIER && tag.is_none_or(|tag| value.tag == tag)
        })
}

fn malformed(error: X509Error) -> CsrError {
    match error {
        X509Error::Malformed(part) => CsrError::Malformed(part),
        X509Error::Pem(_)
        | X509Error::Key(_)
        | X509Error::MayNotSignCertificates
        | X509Error::Encoding(_)
        | X509Error::Lint(_)
        | X509Error::SignatureMismatch => CsrError::Malformed("request"),
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not one PEM block of the right label.
    #[error(transparent)]
    Pem(#[from] pem::PemError),
    /// Not a `CertificationRequest` of version 0 in DER: the part that is broken.
    #[error("not a PKCS#10 request in DER: {0} is malformed")]
    Malformed(&'static str),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Signed with SHA-1.
    #[error("signed with SHA-1; use SHA-256, SHA-384 or SHA-512")]
    Sha1,
    /// Signed with an unsupported algorithm.
    #[error("signature algorithm {0} is not supported")]
    Algorithm(String),
    /// The signature is not the key's.
    #[error("signature does not verify")]
    Signature,
}

/// Our own request, encoded and not signed. Not `Clone`, so that it is signed once.
#[derive(Debug)]
pub struct UnsignedRequest {
    tbs: Vec<u8>,
    key: PublicKey,
}

impl UnsignedRequest {
    /// Encodes `CertificationRequestInfo` (RFC 2986, 4.1), version 0. The attributes are encoded
    /// even when empty; extensionRequest (RFC 2985, 5.4.2) only with at least one alternative name.
    ///
    /// # Errors
    /// [`X509Error::Encoding`], only for values that their types should have refused.
    pub fn encode(
        subject: &DistinguishedName,
        names: &SubjectAlternativeNames,
        key: &PublicKey,
    ) -> Result<Self, X509Error> {
        let mut attributes = Vec::new();
        if !names.is_empty() {
            let mut extension = Vec::new();
            Extension::SubjectAlternativeNames(names.clone()).push_der(&mut extension)?;
            let values = encoding::element(Tag::Set, &[&encoding::sequence(&[&extension])?])?;
            attributes = encoding::sequence(&[&oid::EXTENSION_REQUEST.to_der()?, &values])?;
        }
        let tbs = encoding::sequence(&[
            b"\x02\x01\x00",
            EncodedName::encode(subject)?.as_der(),
            key.spki_der(),
            &encoding::context(0, &[&attributes])?,
        ])?;
        Ok(Self { tbs, key: key.clone() })
    }

    /// The octets to be signed.
    pub fn tbs_der(&self) -> &[u8] {
        &self.tbs
    }

    /// SHA-256 over the octets to be signed.
    pub fn tbs_sha256(&self) -> [u8; 32] {
        sha256(&self.tbs)
    }

    /// The digest for the key: the octets under the hash of its algorithm.
    pub fn digest(&self) -> Digest {
        Digest::of(self.key.key_type().signature_algorithm().hash(), &self.tbs)
    }

    /// Joins the octets and the signature, after checking that they belong together.
    ///
    /// # Errors
    /// [`X509Error::SignatureMismatch`] when the key did not make `signature` over these octets.
    pub fn assemble(self, signature: Signature) -> Result<SignedRequest, X509Error> {
        if !self.key.verifies(&self.tbs, &signature) {
            return Err(X509Error::SignatureMismatch);
        }
        let algorithm = self.key.key_type().signature_algorithm();
        Ok(SignedRequest(encoding::signed(&self.tbs, algorithm, &signature)?))
    }
}

/// Our own request, signed.
#[derive(Debug, Clone)]
pub struct SignedRequest(Vec<u8>);

impl SignedRequest {
    /// All octets.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// One PEM block with the label `CERTIFICATE REQUEST`.
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::key::KeyType,
        x509::fixtures::{self, SoftwareKey},
    };

    /// A request over `tbs` by `key`, whatever `tbs` says.
    fn request(key: &SoftwareKey, tbs: &[u8]) -> String {
        let algorithm = key.public.key_type().signature_algorithm();
        let der = encoding::signed(tbs, algorithm, &key.sign(tbs)).unwrap();
        pem::encode(LABEL, &der)
    }

    fn info(version: &[u8], key: &PublicKey, attributes: &[u8]) -> Vec<u8> {
        let subject = EncodedName::encode(&fixtures::generic_leaf().subject).unwrap();
        encoding::sequence(&[version, subject.as_der(), key.spki_der(), attributes]).unwrap()
    }

    const V1: &[u8] = b"\x02\x01\x00";
    const EMPTY: &[u8] = b"\xa0\x00";

    #[test]
    fn only_the_key_of_a_request_counts_once_its_holder_signed() {
        let key = SoftwareKey::generate(KeyType::P256);
        for attributes in [EMPTY, b""] {
            let text = request(&key, &info(V1, &key.public, attributes));
            assert_eq!(*CertificationRequest::from_pem(&text).unwrap().public_key(), key.public);
        }
        let stolen = info(V1, &fixtures::first_key(), EMPTY);
        let found = CertificationRequest::from_pem(&request(&key, &stolen)).unwrap_err();
        assert_eq!(found, CsrError::Signature);
        let version_2 = info(b"\x02\x01\x01", &key.public, EMPTY);
        let found = CertificationRequest::from_pem(&request(&key, &version_2)).unwrap_err();
        assert_eq!(found, CsrError::Malformed("version"));
    }

    #[test]
    fn the_algorithm_is_one_of_the_keys_own() {
        let ec = SoftwareKey::generate(KeyType::P256);
        let rsa = fixtures::rsa_2048();
        // An RSA key, an ECDSA signature.
        let found = CertificationRequest::from_pem(&request(&ec, &info(V1, &rsa, EMPTY)));
        assert_eq!(found.unwrap_err(), CsrError::Signature);
    }

    /// `name` and `attributes` as they are given, signed.
    fn by_parts(key: &SoftwareKey, name: &[u8], attributes: &[u8]) -> Result<(), CsrError> {
        let tbs = encoding::sequence(&[V1, name, key.public.spki_der(), attributes]).unwrap();
        CertificationRequest::from_pem(&request(key, &tbs)).map(|_| ())
    }

    #[test]
    fn what_a_request_says_beside_its_key_has_no_say_as_long_as_its_structure_holds() {
        let key = SoftwareKey::generate(KeyType::P256);
        let attribute = |value: &[u8]| {
            let pair = [b"\x06\x03\x55\x04\x03", value].concat();
            let pair = encoding::sequence(&[&pair]).unwrap();
            let rdn = encoding::element(Tag::Set, &[&pair]).unwrap();
            encoding::sequence(&[&rdn]).unwrap()
        };
        let set = |kind: &[u8], values: &[u8]| {
            let values = encoding::element(Tag::Set, &[values]).unwrap();
            let pair = encoding::sequence(&[kind, &values]).unwrap();
            encoding::context(0, &[&pair]).unwrap()
        };
        let extensions = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";
        for (what, name, attributes) in [
            ("'@' in a PrintableString", attribute(b"\x13\x03a@b"), EMPTY.to_vec()),
            ("no UTF-8", attribute(b"\x0c\x02\xff\xfe"), EMPTY.to_vec()),
            ("Latin-1 in an IA5String", attribute(b"\x16\x01\xe9"), EMPTY.to_vec()),
            ("BMPString of three octets", attribute(b"\x1e\x03\x00\x61\x00"), EMPTY.to_vec()),
            ("an empty value", attribute(b"\x0c\x00"), EMPTY.to_vec()),
            ("an empty subject", b"\x30\x00".to_vec(), EMPTY.to_vec()),
            (
                "an unsorted RDN",
                b"\x30\x16\x31\x14\x30\x08\x06\x03\x55\x04\x0a\x0c\x01b\
                  \x30\x08\x06\x03\x55\x04\x03\x0c\x01a"
                    .to_vec(),
                EMPTY.to_vec(),
            ),
            (
                "a padded arc",
                b"\x30\x0d\x31\x0b\x30\x09\x06\x04\x55\x80\x04\x03\x0c\x01a".to_vec(),
                EMPTY.to_vec(),
            ),
            (
                "TRUE as 01 in basicConstraints, FALSE written out",
                attribute(b"\x0c\x01a"),
                set(
                    extensions,
                    b"\x30\x1e\x30\x0f\x06\x03\x55\x1d\x13\x01\x01\x01\x04\x05\x30\x03\x01\x01\x01\
                      \x30\x0b\x06\x03\x55\x1d\x0f\x01\x01\x00\x04\x01\x00",
                ),
            ),
            ("no values", attribute(b"\x0c\x01a"), set(extensions, b"")),
            (
                "a tag above 30",
                attribute(b"\x9f\x81\x20\x01\x00"),
                set(extensions, b"\x05\x01\x00"),
            ),
        ] {
            assert_eq!(by_parts(&key, &name, &attributes), Ok(()), "{what}");
        }
    }

    #[test]
    fn a_request_that_is_broken_says_where() {
        let key = SoftwareKey::generate(KeyType::P256);
        let good = EncodedName::encode(&fixtures::generic_leaf().subject).unwrap();
        for (what, name, attributes, part) in [
            (
                "a string beyond its RDN",
                &b"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x02a"[..],
                EMPTY,
                "subject",
            ),
            ("no SET", b"\x30\x0c\x30\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a", EMPTY, "subject"),
            (
                "three of a pair",
                b"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x01a\x05\x00",
                EMPTY,
                "subject",
            ),
            ("attributes that are none", good.as_der(), b"\xa0\x02\x30\x01", "attributes"),
            (
                "values that are no SET",
                good.as_der(),
                b"\xa0\x09\x30\x07\x06\x03\x55\x04\x03\x30\x00",
                "attributes",
            ),
            ("something after them", good.as_der(), b"\xa0\x00\x05\x00", "attributes"),
        ] {
            let found = by_parts(&key, name, attributes).unwrap_err();
            assert_eq!(found, CsrError::Malformed(part), "{what}");
            assert!(found.to_string().contains(part), "{found}");
        }
    }

    #[test]
    fn whatever_octet_is_changed_reading_a_request_says_yes_or_no() {
        let key = SoftwareKey::generate(KeyType::P256);
        let text = request(&key, &info(V1, &key.public, EMPTY));
        let der = pem::decode(&[LABEL], &text).unwrap();
        for place in 0..der.len() {
            for value in [0x00, 0x01, 0x1F, 0x30, 0x7F, 0x80, 0x81, 0x84, 0x9F, 0xA0, 0xFF] {
                let mut changed = der.clone();
                changed[place] = value;
                let read = CertificationRequest::from_pem(&pem::encode(LABEL, &changed));
                assert!(changed == der || read.is_err(), "{place} {value:02x}");
            }
            assert!(CertificationRequest::from_pem(&pem::encode(LABEL, &der[..place])).is_err());
        }
        let longer = pem::encode(LABEL, &[&der[..], &[0]].concat());
        assert!(CertificationRequest::from_pem(&longer).is_err());
    }

    #[test]
    fn our_own_request_has_attributes_even_when_there_are_none() {
        let key = SoftwareKey::generate(KeyType::P256);
        let subject = fixtures::generic_leaf().subject;
        let none = SubjectAlternativeNames::default();
        let unsigned = UnsignedRequest::encode(&subject, &none, &key.public).unwrap();
        assert!(unsigned.tbs_der().ends_with(EMPTY));
        assert_eq!(unsigned.digest().as_octets(), unsigned.tbs_sha256());
        let signature = key.sign(b"something else");
        assert_eq!(unsigned.assemble(signature).unwrap_err(), X509Error::SignatureMismatch);
    }
}
