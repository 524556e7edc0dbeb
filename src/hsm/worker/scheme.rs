//! The choice of the mechanism for a signature, by what the token offers.

use std::borrow::Cow;

use cryptoki::mechanism::{
    Mechanism, MechanismType,
    eddsa::{EddsaParams, EddsaSignatureScheme},
};

use super::convert::digest_info;
use crate::domain::key::{Digest, KeyType, SignatureAlgorithm};

/// A mechanism and the form of its input.
pub(super) struct Scheme {
    pub(super) mechanism: Mechanism<'static>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The digest itself (PKCS#11 v2.40, 2.3.6).
    Digest,
    /// The digest in a `DigestInfo` (v2.40, 2.1.5).
    DigestInfo,
    /// The message, which the token hashes (v2.40, 2.1.11 and 2.3.7; v3.0, 2.3.14).
    Message,
}

impl Scheme {
    /// Prefers the mechanism that takes a digest, because then no message leaves the front. Some tokens,
    /// mostly in FIPS mode, have only the one that hashes. Both make the same signatures.
    pub(super) fn of(algorithm: SignatureAlgorithm, offered: &[MechanismType]) -> Option<Self> {
        let offers = |(mechanism, _): &(Mechanism<'static>, Form)| {
            offered.contains(&mechanism.mechanism_type())
        };
        let (mechanism, form) = candidates(algorithm).into_iter().find(offers)?;
        Some(Self { mechanism, form })
    }

    /// Whether the token hashes itself and has to be given the message.
    pub(super) fn hashes(&self) -> bool {
        self.form == Form::Message
    }

    /// The input of the mechanism; `None` when that is the message and it is missing or has another digest.
    /// Nothing else may be given to a mechanism, because `CKM_ECDSA` truncates longer input silently and
    /// `CKM_RSA_PKCS` signs anything.
    pub(super) fn input<'a>(
        &self,
        digest: &'a Digest,
        message: Option<&'a [u8]>,
    ) -> Option<Cow<'a, [u8]>> {
        match self.form {
            Form::Digest => Some(digest.as_octets().into()),
            Form::DigestInfo => Some(digest_info(digest).into()),
            Form::Message => message
                .filter(|message| Digest::of(digest.algorithm(), message) == *digest)
                .map(Cow::from),
        }
    }
}

/// The algorithms for which the token hashes itself and has to be given messages.
pub(super) fn hashing(offered: &[MechanismType]) -> Vec<SignatureAlgorithm> {
    let mut algorithms = Vec::new();
    for algorithm in KeyType::ALL.map(KeyType::signature_algorithm) {
        let hashes = Scheme::of(algorithm, offered).is_some_and(|scheme| scheme.hashes());
        if hashes && !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    algorithms
}

/// The mechanisms that the token lacks. The text follows "does not offer".
pub(super) fn wanted(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => "CKM_ECDSA or CKM_ECDSA_SHA256",
        SignatureAlgorithm::EcdsaSha384 => "CKM_ECDSA or CKM_ECDSA_SHA384",
        SignatureAlgorithm::EcdsaSha512 => "CKM_ECDSA or CKM_ECDSA_SHA512",
        SignatureAlgorithm::RsaSha256 => "CKM_RSA_PKCS or CKM_SHA256_RSA_PKCS",
        SignatureAlgorithm::RsaSha384 => "CKM_RSA_PKCS or CKM_SHA384_RSA_PKCS",
        SignatureAlgorithm::RsaSha512 => "CKM_RSA_PKCS or CKM_SHA512_RSA_PKCS",
        SignatureAlgorithm::Ed25519 => "CKM_EDDSA",
    }
}

/// The mechanisms for an algorithm, preferred first.
fn candidates(algorithm: SignatureAlgorithm) -> Vec<(Mechanism<'static>, Form)> {
    let ecdsa = |hashing| vec![(Mechanism::Ecdsa, Form::Digest), (hashing, Form::Message)];
    let rsa = |hashing| vec![(Mechanism::RsaPkcs, Form::DigestInfo), (hashing, Form::Message)];
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => ecdsa(Mechanism::EcdsaSha256),
        SignatureAlgorithm::EcdsaSha384 => ecdsa(Mechanism::EcdsaSha384),
        SignatureAlgorithm::EcdsaSha512 => ecdsa(Mechanism::EcdsaSha512),
        SignatureAlgorithm::RsaSha256 => rsa(Mechanism::Sha256RsaPkcs),
        SignatureAlgorithm::RsaSha384 => rsa(Mechanism::Sha384RsaPkcs),
        SignatureAlgorithm::RsaSha512 => rsa(Mechanism::Sha512RsaPkcs),
        SignatureAlgorithm::Ed25519 => {
            let pure = EddsaParams::new(EddsaSignatureScheme::Ed25519);
            vec![(Mechanism::Eddsa(pure), Form::Message)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::HashAlgorithm;

    #[test]
    fn a_digest_is_preferred_and_a_message_does() {
        let of = |offered: &[MechanismType]| Scheme::of(SignatureAlgorithm::EcdsaSha256, offered);
        let both = [MechanismType::ECDSA_SHA256, MechanismType::ECDSA];
        assert!(of(&both).is_some_and(|scheme| !scheme.hashes()));
        assert!(of(&both[..1]).is_some_and(|scheme| scheme.hashes()));
        assert!(of(&[MechanismType::ECDSA_SHA384, MechanismType::RSA_PKCS]).is_none());
    }

    #[test]
    fn a_token_that_hashes_gets_the_message_of_this_digest_and_no_other() {
        let offered = [MechanismType::ECDSA_SHA256];
        let scheme = Scheme::of(SignatureAlgorithm::EcdsaSha256, &offered).unwrap();
        let digest = Digest::of(HashAlgorithm::Sha256, b"meant");
        assert_eq!(scheme.input(&digest, Some(b"meant")).as_deref(), Some(&b"meant"[..]));
        assert_eq!(scheme.input(&digest, Some(b"other")), None);
        assert_eq!(scheme.input(&digest, None), None);
    }
}
