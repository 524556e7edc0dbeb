//! Encodes a plan, and joins the octets with a signature.

use super::{
    EncodedName, X509Error, algorithm, certificate::LABEL, encoding, lint, pem, plan::TbsPlan,
};
use crate::domain::{
    client::KeyPurpose,
    key::{Digest, PublicKey, Signature, sha256},
    serial::SerialNumber,
    validity::Validity,
};

/// A `TBSCertificate`, encoded and linted. Not `Clone`, so that one plan leads to one signature.
#[derive(Debug)]
pub struct UnsignedCertificate {
    tbs: Vec<u8>,
    facts: Facts,
}

/// A certificate whose signature has been verified over exactly the octets that were linted.
#[derive(Debug)]
pub struct SignedCertificate {
    der: Vec<u8>,
    facts: Facts,
}

/// The data that plan and certificate share.
#[derive(Debug)]
struct Facts {
    serial: SerialNumber,
    validity: Validity,
    issuer: EncodedName,
    issuer_key: PublicKey,
    issuer_key_id: Vec<u8>,
    subject: EncodedName,
    subject_key: PublicKey,
    profile: KeyPurpose,
    is_ca: bool,
    path_length: Option<u8>,
}

impl UnsignedCertificate {
    /// Encodes the plan once. Runs every lint of the profile on the octets, and compares them with
    /// the plan.
    ///
    /// # Errors
    /// [`X509Error::Lint`] names the broken rule; [`X509Error::Encoding`] is for values that cannot
    /// be encoded. Both are bugs, because a profile should not make such a plan.
    pub fn encode(plan: TbsPlan) -> Result<Self, X509Error> {
        let subject = EncodedName::encode(&plan.subject)?;
        // Copied, never encoded again (ISO/IEC 18013-5 B.1.1: octet-equal).
        let issuer = plan.issuer().map_or(&subject, |issuer| &issuer.name).clone();
        let tbs = encode_tbs(&plan, &issuer, &subject)?;
        lint::planned(&tbs, &plan, &subject)?;
        let facts = Facts {
            serial: plan.serial,
            validity: plan.validity,
            issuer,
            issuer_key: plan.issuer_key().clone(),
            issuer_key_id: match plan.issuer() {
                Some(issuer) => issuer.key_id.clone(),
                None => plan.subject_key.subject_key_id().to_vec(),
            },
            subject,
            profile: plan.profile(),
            is_ca: plan.is_ca(),
            path_length: plan.path_length(),
            subject_key: plan.subject_key,
        };
        Ok(Self { tbs, facts })
    }

    /// The octets to be signed.
    pub fn tbs_der(&self) -> &[u8] {
        &self.tbs
    }

    /// SHA-256 over the octets to be signed, as the intent records it.
    pub fn tbs_sha256(&self) -> [u8; 32] {
        sha256(&self.tbs)
    }

    /// The digest for the issuer's key: the octets under the hash of its algorithm.
    pub fn digest(&self) -> Digest {
        Digest::of(self.facts.issuer_key.key_type().signature_algorithm().hash(), &self.tbs)
    }

    /// Joins the octets and the signature, after checking that they belong together.
    ///
    /// # Errors
    /// [`X509Error::SignatureMismatch`] when the issuer's key did not make `signature` over exactly
    /// these octets.
    pub fn assemble(self, signature: Signature) -> Result<SignedCertificate, X509Error> {
        let key = &self.facts.issuer_key;
        if !key.verifies(&self.tbs, &signature) {
            return Err(X509Error::SignatureMismatch);
        }
        let der = encoding::signed(&self.tbs, key.key_type().signature_algorithm(), &signature)?;
        Ok(SignedCertificate { der, facts: self.facts })
    }
}

impl SignedCertificate {
    /// All octets.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// One PEM block: LF, lines of 64 characters, LF at the end.
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// SHA-256 over all octets.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.der)
    }
}

macro_rules! accessors {
    ($($name:ty),*) => {$(
        impl $name {
            /// Serial number.
            pub fn serial(&self) -> SerialNumber {
                self.facts.serial
            }

            /// Validity.
            pub fn validity(&self) -> Validity {
                self.facts.validity
            }

            /// Issuer; the same octets as the issuer's subject.
            pub fn issuer(&self) -> &EncodedName {
                &self.facts.issuer
            }

            /// The key that signs.
            pub fn issuer_key(&self) -> &PublicKey {
                &self.facts.issuer_key
            }

            /// The subject key identifier of the key that signs.
            pub fn issuer_key_id(&self) -> &[u8] {
                &self.facts.issuer_key_id
            }

            /// The profile, by the name of the purpose that the key's policy must allow.
            pub fn profile(&self) -> KeyPurpose {
                self.facts.profile
            }

            /// Whether basicConstraints says that the certificate is a CA's.
            pub fn is_ca(&self) -> bool {
                self.facts.is_ca
            }

            /// The effective pathLenConstraint.
            pub fn path_length(&self) -> Option<u8> {
                self.facts.path_length
            }

            /// Subject.
            pub fn subject(&self) -> &EncodedName {
                &self.facts.subject
            }

            /// The certified key.
            pub fn subject_key(&self) -> &PublicKey {
                &self.facts.subject_key
            }
        }
    )*};
}
accessors!(UnsignedCertificate, SignedCertificate);

/// Initial capacity, enough for most certificates.
const EXTENSIONS_OCTETS_EXPECTED: usize = 512;

/// `TBSCertificate` (RFC 5280, 4.1.2), v3.
fn encode_tbs(
    plan: &TbsPlan,
    issuer: &EncodedName,
    subject: &EncodedName,
) -> Result<Vec<u8>, X509Error> {
    let mut extensions = Vec::with_capacity(EXTENSIONS_OCTETS_EXPECTED);
    plan.extensions.iter().try_for_each(|extension| extension.push_der(&mut extensions))?;
    Ok(encoding::sequence(&[
        &encoding::context(0, &[b"\x02\x01\x02"])?,
        &encoding::serial(plan.serial)?,
        algorithm::identifier(plan.issuer_key().key_type().signature_algorithm()),
        issuer.as_der(),
        &encoding::validity(plan.validity)?,
        subject.as_der(),
        plan.subject_key.spki_der(),
        &encoding::context(3, &[&encoding::sequence(&[&extensions])?])?,
    ])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::key::KeyType,
        x509::{
            Certificate, Issuer,
            fixtures::{self, SoftwareKey},
            profile::{document_signer, iaca},
        },
    };

    fn unsigned_iaca(key: &PublicKey) -> UnsignedCertificate {
        let data = fixtures::iaca_data();
        let validity = fixtures::iaca_validity();
        let options = iaca::Options::default();
        UnsignedCertificate::encode(
            iaca::plan(fixtures::serial(), &data, validity, key, options).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn exactly_the_octets_that_were_linted_are_signed() {
        let key = SoftwareKey::generate(KeyType::P521);
        let unsigned = unsigned_iaca(&key.public);
        let tbs = unsigned.tbs_der().to_vec();
        assert_eq!(unsigned.tbs_sha256(), sha256(&tbs));
        assert_eq!(unsigned.digest().as_octets().len(), 64);
        let signature = key.sign(&tbs);
        let signed = unsigned.assemble(signature).unwrap();
        assert_eq!(signed.der()[4..4 + tbs.len()], tbs);
        assert_eq!(signed.serial(), fixtures::serial());
        assert_eq!(signed.issuer(), signed.subject());
    }

    #[test]
    fn a_signature_of_another_key_or_over_other_octets_is_refused() {
        let key = SoftwareKey::generate(KeyType::P256);
        let stranger = SoftwareKey::generate(KeyType::P256);
        let by_stranger = unsigned_iaca(&key.public);
        let signature = stranger.sign(by_stranger.tbs_der());
        assert_eq!(by_stranger.assemble(signature).unwrap_err(), X509Error::SignatureMismatch);
        let other_octets = unsigned_iaca(&key.public);
        let signature = key.sign(b"something else");
        assert_eq!(other_octets.assemble(signature).unwrap_err(), X509Error::SignatureMismatch);
        let nothing = unsigned_iaca(&key.public);
        let signature = Signature::from_x509_octets(Vec::new());
        assert_eq!(nothing.assemble(signature).unwrap_err(), X509Error::SignatureMismatch);
    }

    #[test]
    fn issuer_octets_and_contact_of_a_foreign_iaca_are_copied() {
        let key = SoftwareKey::generate(KeyType::P256);
        let data = fixtures::iaca_data_with_everything();
        let mut iaca =
            Issuer::described_iaca(&data, fixtures::iaca_validity(), &key.public).unwrap();
        // The same values in the other string type, and another key identifier.
        let foreign: Vec<u8> =
            iaca.name.as_der().iter().map(|o| if *o == 0x0C { 0x13 } else { *o }).collect();
        iaca.name = EncodedName::from_der(&foreign).unwrap();
        iaca.key_id = vec![1, 2, 3];
        let plan = document_signer::plan(
            fixtures::serial(),
            &fixtures::document_signer_data(),
            fixtures::document_signer_validity(),
            &iaca,
            &fixtures::second_key(),
        )
        .unwrap();
        let unsigned = UnsignedCertificate::encode(plan).unwrap();
        let signature = key.sign(unsigned.tbs_der());
        let signed = unsigned.assemble(signature).unwrap();
        let certificate = Certificate::from_der(signed.der()).unwrap();
        assert_eq!(certificate.issuer().as_der(), foreign);
        assert_eq!(certificate.authority_key_id(), Some(&[1, 2, 3][..]));
        assert_eq!(
            certificate.issuer_alternative_name_der(),
            iaca.issuer_alternative_name.as_deref()
        );
    }
}
