//! Certification requests, PKCS#10 (RFC 2986): those of others and our own.
//!
//! Of a foreign request only the public key counts, once its owner has proved to hold the private
//! one. Its subject and the extensions that it asks for go nowhere.

use der::{Encode, Tag};

use super::{
    EncodedName, X509Error,
    algorithm::{self, ForeignAlgorithm},
    element::{Fields, INTEGER, SEQUENCE, context_constructed},
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

/// The PEM label; not the old `NEW CERTIFICATE REQUEST`.
const LABEL: &str = "CERTIFICATE REQUEST";

/// A foreign request whose proof of possession holds.
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
        let der = pem::decode(LABEL, text)?;
        let malformed = |_| CsrError::Malformed;
        let request = Signed::read("request", &der).map_err(malformed)?;
        let mut fields = Fields::of("request", request.tbs).map_err(malformed)?;
        // RFC 2986, 4.1: v1(0).
        if fields.take(INTEGER).map_err(malformed)?.content != [0] {
            return Err(CsrError::Malformed);
        }
        let subject = fields.take(SEQUENCE).map_err(malformed)?;
        EncodedName::from_der(subject.der).map_err(malformed)?;
        let spki = fields.take(SEQUENCE).map_err(malformed)?;
        // Attributes: some writers leave the empty set out.
        let _ = fields.take_if(context_constructed(0));
        fields.end().map_err(malformed)?;
        let public_key = PublicKey::from_spki_der(spki.der)?;
        let algorithm = algorithm::read(request.algorithm).map_err(|foreign| match foreign {
            ForeignAlgorithm::Malformed => CsrError::Malformed,
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

/// Why a text is no request that proves possession of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not one PEM block of the right label.
    #[error(transparent)]
    Pem(#[from] pem::PemError),
    /// Not a `CertificationRequest` of version 0 in strict DER.
    #[error("not a PKCS#10 request in DER")]
    Malformed,
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Signed with SHA-1.
    #[error("signed with SHA-1; use SHA-256, SHA-384 or SHA-512")]
    Sha1,
    /// Signed with an algorithm that is not offered.
    #[error("signature algorithm {0} is not supported")]
    Algorithm(String),
    /// The signature is not the key's.
    #[error("signature does not verify")]
    Signature,
}

/// Our own request, encoded and not signed. Not `Clone`: one request, one signature.
#[derive(Debug)]
pub struct UnsignedRequest {
    tbs: Vec<u8>,
    key: PublicKey,
}

impl UnsignedRequest {
    /// `CertificationRequestInfo` (RFC 2986, 4.1): version 0; the attributes are there even when there
    /// are none; extensionRequest (RFC 2985, 5.4.2) only with at least one alternative name.
    ///
    /// # Errors
    /// [`X509Error::Encoding`]; with values that satisfy their types it does not happen.
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

    /// What the key signs: the octets under the hash of its algorithm.
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

/// Our own request, signed by the key that it names.
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
        assert_eq!(found, CsrError::Malformed);
    }

    #[test]
    fn the_algorithm_is_one_of_the_keys_own() {
        let ec = SoftwareKey::generate(KeyType::P256);
        let rsa = fixtures::rsa_2048();
        // An RSA key, an ECDSA signature.
        let found = CertificationRequest::from_pem(&request(&ec, &info(V1, &rsa, EMPTY)));
        assert_eq!(found.unwrap_err(), CsrError::Signature);
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
