//! What callers are told about keys, tokens and the ledger. What an operator needs is logged here.

use super::error::{Error, Invalid};
use crate::{
    domain::request::{KeyDescriptor, KeySource},
    hsm::HsmError,
    keys::KeyRefusal,
    ledger::LedgerError,
};

/// A refused key, blamed on the member that names it.
pub(super) fn refused(descriptor: &KeyDescriptor, refusal: KeyRefusal) -> Error {
    let field = descriptor.field.clone();
    let place = field.trim_start_matches('/').replace('/', ".");
    let key_field = key_field(descriptor);
    match refusal {
        KeyRefusal::PrivateJwk => Error::Forbidden {
            message: "private JWKs are accepted only in dev mode; use a \
                      kms-hosted-key-descriptor"
                .to_owned(),
            field: Some(field),
        },
        KeyRefusal::Jwk(error) => {
            let field = match &descriptor.source {
                KeySource::PrivateJwk { field, .. } => field.clone(),
                KeySource::PublicJwk(_) | KeySource::Kms(_) => field,
            };
            Error::Invalid(Invalid::at(
                field,
                match error.member() {
                    Some(_) => format!("{place}.jwk: {error}"),
                    None => format!("{place}: jwk: {error}"),
                },
            ))
        }
        KeyRefusal::PublicCannotSign => {
            Error::Invalid(Invalid::at(field, format!("{place}: a public JWK cannot sign")))
        }
        KeyRefusal::NotAttached { kms, service } => Error::Invalid(Invalid::at(
            key_field,
            format!("KMS {kms} is not attached to {service}"),
        )),
        KeyRefusal::Policy(key, purpose) => Error::Forbidden {
            message: format!("key {key} may not sign profile {purpose}"),
            field: Some(key_field),
        },
        KeyRefusal::Missing(key) => {
            Error::NotFound { message: format!("key {key} not found"), field: Some(key_field) }
        }
        KeyRefusal::Ambiguous(key) => {
            tracing::error!(%key, "several private keys answer to one key path; remove all but one");
            Error::AmbiguousKey(format!(
                "key {key} is ambiguous on its token; an operator must resolve it"
            ))
        }
        KeyRefusal::Changed(key) => {
            tracing::error!(
                %key,
                alarm = "key-changed",
                "the token holds another public key than the one pinned for this path"
            );
            Error::Unavailable {
                message: format!("key {key} is not the one it was; an operator must resolve it"),
                retry_after_seconds: OPERATOR_RETRY_SECONDS,
            }
        }
        KeyRefusal::Hsm(key, error) => {
            tracing::warn!(%key, %error, "key not available");
            signing(error)
        }
    }
}

/// The member that says which key it is.
pub(super) fn key_field(descriptor: &KeyDescriptor) -> String {
    let field = &descriptor.field;
    match &descriptor.source {
        KeySource::Kms(_) => format!("{field}/keyIdPath"),
        KeySource::PublicJwk(_) | KeySource::PrivateJwk { .. } => field.clone(),
    }
}

/// A signature that could not be made.
pub(super) fn signing(error: HsmError) -> Error {
    match error {
        HsmError::Busy { retry_after_seconds }
        | HsmError::DeadlineMissed { retry_after_seconds } => Error::Unavailable {
            message: format!("busy; try again in {retry_after_seconds} s"),
            retry_after_seconds,
        },
        HsmError::Unavailable { retry_after_seconds } => signing_unavailable(retry_after_seconds),
        HsmError::Missing | HsmError::Ambiguous { .. } | HsmError::Unusable { .. } => {
            signing_unavailable(OPERATOR_RETRY_SECONDS)
        }
    }
}

/// The ledger does not take or give what it should.
pub(super) fn ledger(error: LedgerError) -> Error {
    tracing::error!(%error, "ledger not available");
    Error::Unavailable {
        message: "the ledger is not available; try again in 5 s".to_owned(),
        retry_after_seconds: LEDGER_RETRY_SECONDS,
    }
}

/// A fault that only an operator can mend.
const OPERATOR_RETRY_SECONDS: u64 = 60;
const LEDGER_RETRY_SECONDS: u64 = 5;

fn signing_unavailable(retry_after_seconds: u64) -> Error {
    Error::Unavailable {
        message: format!("signing is unavailable; try again in {retry_after_seconds} s"),
        retry_after_seconds,
    }
}
