//! A planned certificate: everything is decided, nothing encoded.

use super::{extension::Extension, issuer::Issuer};
use crate::domain::{
    client::KeyPurpose, key::PublicKey, name::DistinguishedName, request::PathLength,
    serial::SerialNumber, validity::Validity,
};

/// The profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// ISO/IEC 18013-5 Table B.1.
    Iaca,
    /// ISO/IEC 18013-5 Table B.3.
    DocumentSigner,
    /// RFC 5280.
    Generic,
}

impl Profile {
    /// The purpose that a signing key needs for the profile.
    pub fn purpose(self) -> KeyPurpose {
        match self {
            Self::Iaca => KeyPurpose::Iaca,
            Self::DocumentSigner => KeyPurpose::DocumentSigner,
            Self::Generic => KeyPurpose::Generic,
        }
    }
}

/// The content of a certificate. Only a profile makes it; [`super::UnsignedCertificate::encode`]
/// consumes it.
#[derive(Debug)]
pub struct TbsPlan {
    pub(super) profile: Profile,
    pub(super) serial: SerialNumber,
    pub(super) signer: Signer,
    pub(super) validity: Validity,
    pub(super) subject: DistinguishedName,
    pub(super) subject_key: PublicKey,
    /// In the order of the encoding.
    pub(super) extensions: Vec<Extension>,
    /// Whether the operator allows a CA without keyCertSign.
    pub(super) ca_without_key_cert_sign: bool,
}

/// Who signs.
#[derive(Debug)]
pub(super) enum Signer {
    /// The certified key: issuer and subject are the same.
    Itself,
    /// An issuer with another key.
    Issuer(Box<Issuer>),
}

impl TbsPlan {
    /// The purpose that the signing key's policy must allow.
    pub fn profile(&self) -> KeyPurpose {
        self.profile.purpose()
    }

    /// Serial number.
    pub fn serial(&self) -> SerialNumber {
        self.serial
    }

    /// Validity.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The issuer; `None` when the certified key signs.
    pub fn issuer(&self) -> Option<&Issuer> {
        match &self.signer {
            Signer::Itself => None,
            Signer::Issuer(issuer) => Some(issuer),
        }
    }

    /// The certified key.
    pub fn subject_key(&self) -> &PublicKey {
        &self.subject_key
    }

    /// The key that must sign.
    pub fn issuer_key(&self) -> &PublicKey {
        self.issuer().map_or(&self.subject_key, |issuer| &issuer.key)
    }

    /// Whether the certificate will be a CA's.
    pub fn is_ca(&self) -> bool {
        self.path_length_of_ca().is_some()
    }

    /// The effective pathLenConstraint: the requested one, or the longest that the issuer's allows.
    pub fn path_length(&self) -> Option<u8> {
        match self.path_length_of_ca() {
            Some(PathLength::AtMost(length)) => Some(length),
            Some(PathLength::Unlimited) | None => None,
        }
    }

    fn path_length_of_ca(&self) -> Option<PathLength> {
        self.extensions.iter().find_map(|extension| {
            if let Extension::BasicConstraints(path_length) = extension {
                *path_length
            } else {
                None
            }
        })
    }
}
