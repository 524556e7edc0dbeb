//! The envelope (ISO/IEC 18013-5 C.1.7; COSE_Sign1 of RFC 9052, 4.2).

use coset::{
    CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable,
    cbor::Value,
    iana::{Algorithm, EnumI64, HeaderParameter},
};

use super::{List, VicalError};
use crate::domain::key::{KeyType, PublicKey, Signature, sha256};

/// A VICAL that is encoded and not yet signed. Not `Clone`, so that it is signed once.
pub struct UnsignedVical {
    envelope: CoseSign1,
    key: PublicKey,
    algorithm: &'static str,
    to_be_signed: Vec<u8>,
}

impl UnsignedVical {
    /// Encodes a list for the key `key`, whose certificate is the first of `certificates`; those
    /// above it follow in order (RFC 9360, 2).
    ///
    /// # Errors
    /// [`VicalError::KeyType`] for a key that is not ECDSA.
    pub fn encode(
        list: &List,
        key: &PublicKey,
        certificates: &[Vec<u8>],
    ) -> Result<Self, VicalError> {
        let (algorithm, name) = match key.key_type() {
            KeyType::P256 => (Algorithm::ES256, "ES256"),
            KeyType::P384 => (Algorithm::ES384, "ES384"),
            KeyType::P521 => (Algorithm::ES512, "ES512"),
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::Ed25519 => {
                return Err(VicalError::KeyType);
            }
        };
        let envelope = CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(algorithm).build())
            .unprotected(x5chain(certificates))
            .payload(list.encode()?)
            .build();
        // RFC 9052, 4.4: Sig_structure with an empty external_aad.
        let to_be_signed = envelope.tbs_data(&[]);
        Ok(Self { envelope, key: key.clone(), algorithm: name, to_be_signed })
    }

    /// The octets that the key signs.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// SHA-256 over them.
    pub fn tbs_sha256(&self) -> [u8; 32] {
        sha256(&self.to_be_signed)
    }

    /// Checks the signature in its final form, and adds it. `tagged` writes tag 18 before the
    /// structure.
    ///
    /// # Errors
    /// [`VicalError::SignatureMismatch`] when the signature is not the key's.
    pub fn assemble(
        mut self,
        signature: &Signature,
        tagged: bool,
    ) -> Result<SignedVical, VicalError> {
        let raw = signature
            .to_raw(self.key.key_type())
            .filter(|raw| self.key.verifies_raw(&self.to_be_signed, raw))
            .ok_or(VicalError::SignatureMismatch)?;
        self.envelope.signature = raw.into_octets();
        let octets = if tagged { self.envelope.to_tagged_vec() } else { self.envelope.to_vec() };
        let octets = octets.map_err(|error| VicalError::Encoding(error.to_string()))?;
        Ok(SignedVical { octets, algorithm: self.algorithm })
    }
}

/// A VICAL whose signature verifies.
pub struct SignedVical {
    octets: Vec<u8>,
    algorithm: &'static str,
}

impl SignedVical {
    /// All octets, as they are published.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// SHA-256 over them.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.octets)
    }

    /// `ES256`, `ES384` or `ES512`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }
}

/// RFC 9360, 2: one certificate is a byte string, several are an array.
fn x5chain(certificates: &[Vec<u8>]) -> Header {
    let mut values: Vec<_> = certificates.iter().cloned().map(Value::Bytes).collect();
    let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
    HeaderBuilder::new().value(HeaderParameter::X5Chain.to_i64(), value).build()
}

#[cfg(test)]
mod tests;
