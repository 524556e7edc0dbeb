//! A key is an IACA's or another CA's, never both: ISO/IEC 18013-5 B.1.1 has an IACA issue document
//! signers and CRLs, and nothing else. The rules go by the public key.

use super::{error::Error, known::Known};
use crate::{
    domain::{
        client::KeyPurpose, member::Member, path::KeyPath, request::KeyDescriptor, time::Timestamp,
    },
    keys::Key,
    ledger::CaRole,
};

/// Refuses the key of another CA as that of an IACA.
///
/// # Errors
/// [`Error::Forbidden`] at the member that names the key.
pub(super) fn refuse_other_ca(
    descriptor: &KeyDescriptor,
    key: &Key,
    known: &Known,
    now: Timestamp,
) -> Result<(), Error> {
    if known.role(now) != Some(CaRole::Generic) {
        return Ok(());
    }
    Err(Error::Forbidden {
        message: format!(
            "key {} has a CA certificate that is no IACA, and may not sign as an IACA",
            name_of(key)
        )
        .into(),
        field: Some(descriptor.key_member()),
    })
}

/// Refuses the key of a registered IACA as the subject of another CA's certificate. A description alone
/// registers no IACA, because it would keep others from certifying the key.
///
/// # Errors
/// [`Error::Forbidden`] at the member that names the key.
pub(super) fn refuse_registered_iaca(
    member: Member,
    known: &Known,
    now: Timestamp,
) -> Result<(), Error> {
    let is_iaca = known.role(now) == Some(CaRole::Iaca);
    if !is_iaca || known.iacas().all(|iaca| iaca.validity().not_after() < now) {
        return Ok(());
    }
    Err(Error::Forbidden {
        message: "the key belongs to an IACA and may not be certified as another CA".into(),
        field: Some(member),
    })
}

/// Refuses another use of an IACA's key than the two that it is for, unless the key's policy lists it.
///
/// # Errors
/// Words for the caller.
pub(super) fn refuse_iaca_use(
    purpose: KeyPurpose,
    known: &Known,
    key: &Key,
    now: Timestamp,
) -> Result<(), String> {
    let is_listed = match key {
        Key::Hosted(hosted) => hosted.listed.contains(&purpose),
        // A policy is about keys on tokens.
        Key::Dev(_) | Key::Public(_) => false,
    };
    if is_listed || known.role(now) != Some(CaRole::Iaca) {
        return Ok(());
    }
    let what = match purpose {
        KeyPurpose::Csr => "certification requests",
        KeyPurpose::Vical => "VICALs",
        KeyPurpose::Iaca
        | KeyPurpose::IacaLink
        | KeyPurpose::DocumentSigner
        | KeyPurpose::Generic
        | KeyPurpose::Crl => "generic certificates",
    };
    Err(format!("key {} belongs to an IACA and may not sign {what}", name_of(key)))
}

/// The name of a key in messages.
pub(super) fn name_of(key: &Key) -> &str {
    key.path().map_or("of the JWK", KeyPath::as_str)
}
