//! A key is an IACA's or another CA's, never both: ISO/IEC 18013-5 B.1.1 has an IACA issue document
//! signers and CRLs, and nothing else. The rules go by the public key.

use super::{KnownOfBoth, name_of};
use crate::{
    domain::{
        client::KeyPurpose,
        request::{IacaCertificate, Issuance},
        time::Timestamp,
    },
    keys::Key,
    ledger::CaRole,
    service::{
        error::Error,
        known::Known,
        signing::{SigningKeys, signer_descriptor, subject_member},
    },
};

/// Refuses an issuance that does not fit the role that one of its keys has.
///
/// # Errors
/// [`Error::Forbidden`] at the member that names the key.
pub(in crate::service) fn refuse_role(
    issuance: &Issuance,
    known: &KnownOfBoth<'_>,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<(), Error> {
    let field = || Some(signer_descriptor(issuance).key_member());
    match issuance {
        // Of one that is supplied it is first said whether it is an IACA.
        Issuance::DocumentSigner(request)
            if matches!(request.iaca.certificate, IacaCertificate::Supplied(_)) =>
        {
            Ok(())
        }
        Issuance::Iaca(_) | Issuance::DocumentSigner(_) => {
            refuse_other_ca(issuance, known.signer, keys, now)
        }
        Issuance::Generic(_) => {
            refuse_iaca_use(KeyPurpose::Generic, known.signer, &keys.signer, now)
                .map_err(|message| Error::Forbidden { message: message.into(), field: field() })?;
            match known.subject {
                Some(subject) if !keys.is_self_signed() && is_registered_iaca(subject, now) => {
                    Err(Error::Forbidden {
                        message:
                            "the key belongs to an IACA and may not be certified as another CA"
                                .into(),
                        field: Some(subject_member(issuance)),
                    })
                }
                Some(_) | None => Ok(()),
            }
        }
    }
}

/// Refuses the key of another CA as that of an IACA.
///
/// # Errors
/// [`Error::Forbidden`] at the member that names the key.
pub(super) fn refuse_other_ca(
    issuance: &Issuance,
    known: &Known,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<(), Error> {
    if known.role(now) != Some(CaRole::Generic) {
        return Ok(());
    }
    Err(Error::Forbidden {
        message: format!(
            "key {} has a CA certificate that is no IACA, and may not sign as an IACA",
            name_of(&keys.signer)
        )
        .into(),
        field: Some(signer_descriptor(issuance).key_member()),
    })
}

/// Whether a certificate says so; a description alone does not keep others from certifying the key.
fn is_registered_iaca(known: &Known, now: Timestamp) -> bool {
    known.role(now) == Some(CaRole::Iaca)
        && known.iacas().any(|iaca| iaca.validity().not_after() >= now)
}

/// Refuses another use of an IACA's key than the two that it is for, unless the key's policy lists it.
///
/// # Errors
/// Words for the caller.
pub(in crate::service) fn refuse_iaca_use(
    purpose: KeyPurpose,
    known: &Known,
    key: &Key,
    now: Timestamp,
) -> Result<(), String> {
    let is_listed = match key {
        Key::Hosted(hosted) => hosted.listed.contains(&purpose),
        // No policy speaks of a key that comes with the request.
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
