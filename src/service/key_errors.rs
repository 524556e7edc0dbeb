//! Turns errors of keys, tokens and the ledger into answers for callers, and logs what an operator
//! needs.

use super::error::{DuplicateKind, Error, Invalid};
use crate::{
    domain::{
        member::{Form, Member, Message, Part},
        path::KeyPath,
        request::{KeyDescriptor, KeySource},
    },
    hsm::{ChangeError, HsmError},
    keys::{KeyFault, KeyRefusal},
    ledger::LedgerError,
};

/// The error for a refused key, at the member that names it.
pub(super) fn refused(descriptor: &KeyDescriptor, refusal: KeyRefusal) -> Error {
    let (member, key_member) = (descriptor.member(), descriptor.key_member());
    match refusal {
        KeyRefusal::PrivateJwk => Error::Forbidden {
            message: Message::from("private JWKs are accepted only in dev mode; use a ")
                .and(Part::Form(Form::KeyInHsm)),
            field: Some(member),
        },
        KeyRefusal::Jwk(error) => {
            let jwk = match descriptor.source {
                KeySource::PrivateJwk { member, .. } => member,
                KeySource::PublicJwk { .. } | KeySource::Kms(_) => member,
            };
            let separator = match error.parameter() {
                Some(_) => ".",
                None => ": ",
            };
            let message = Message::path(member).text(format!("{separator}jwk: {error}"));
            Error::Invalid(Invalid::at(jwk, message))
        }
        KeyRefusal::PublicCannotSign => Error::Invalid(Invalid::at(
            member,
            Message::from("a public JWK cannot sign").at(member),
        )),
        KeyRefusal::NotAttached { kms, service } => Error::Invalid(Invalid::at(
            key_member,
            format!("KMS {kms} is not attached to {service}"),
        )),
        KeyRefusal::Policy(key, purpose) => Error::Forbidden {
            message: format!("key {key} may not sign profile {purpose}").into(),
            field: Some(key_member),
        },
        KeyRefusal::Faulty(key, fault) => faulty(&key, fault, Some(key_member)),
    }
}

/// The error for a faulty key. `member` names the key, if a member does.
pub(super) fn faulty(key: &KeyPath, fault: KeyFault, member: Option<Member>) -> Error {
    match fault {
        KeyFault::Missing => {
            Error::NotFound { message: format!("key {key} not found"), field: member }
        }
        KeyFault::Gone => {
            tracing::error!(
                %key,
                alarm = "key-missing",
                "the token does not list the key that is pinned for this path"
            );
            Error::Unavailable {
                message: format!("key {key} is not on its token; an operator must resolve it"),
                retry_after_seconds: OPERATOR_RETRY_SECONDS,
            }
        }
        KeyFault::Ambiguous => {
            tracing::error!(%key, "several private keys answer to one key path; remove all but one");
            Error::AmbiguousKey(format!(
                "key {key} is ambiguous on its token; an operator must resolve it"
            ))
        }
        KeyFault::Unbound(reason) => {
            tracing::error!(%key, reason, "the token does not say which public key belongs to a key");
            Error::AmbiguousKey(format!(
                "key {key} is ambiguous on its token; an operator must resolve it"
            ))
        }
        KeyFault::Different(tokens) => {
            tracing::error!(
                %key,
                tokens,
                alarm = "twins-disagree",
                "tokens that are to hold the same key show different public keys"
            );
            Error::AmbiguousKey(format!(
                "key {key} is not the same on all of its tokens; an operator must resolve it"
            ))
        }
        KeyFault::Changed => {
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
        KeyFault::Hsm(HsmError::Unusable { reason }) => {
            tracing::error!(%key, reason, alarm = "key-unusable", "the key cannot be used as it is");
            Error::AmbiguousKey(format!("key {key} cannot be used; an operator must resolve it"))
        }
        KeyFault::Hsm(error) => {
            tracing::warn!(%key, %error, "key not available");
            signing(error)
        }
    }
}

/// The error for a signature that could not be made.
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

/// The error for a change of a key that failed, or whose outcome is unknown. `type_member` is the
/// member that gives the type of the key, if one does.
pub(super) fn change(key: &KeyPath, type_member: Option<Member>, error: ChangeError) -> Error {
    match error {
        ChangeError::Taken => {
            Error::Duplicate { target: key.to_resource(), kind: DuplicateKind::Key, field: None }
        }
        ChangeError::Missing => {
            Error::NotFound { message: format!("key {key} not found"), field: None }
        }
        ChangeError::Unsupported(what) => {
            let message = format!("the token does not support {what}").into();
            Invalid { member: type_member, message }.into()
        }
        ChangeError::LabelTooLong(octets) => {
            Invalid::body(format!("the token does not support a label of {octets} octets")).into()
        }
        ChangeError::Rejected(reason) => {
            tracing::error!(%key, reason, "the HSM did not do as it was asked");
            Error::Unavailable {
                message: "the HSM did not make the key that was asked for; an operator must \
                          resolve it"
                    .to_owned(),
                retry_after_seconds: OPERATOR_RETRY_SECONDS,
            }
        }
        ChangeError::Failed(error) => {
            tracing::warn!(%key, %error, "a key was not changed");
            let retry_after_seconds = retry_after_seconds(&error);
            Error::Unavailable {
                message: format!(
                    "the HSM is unavailable and the key was not changed; try again in \
                     {retry_after_seconds} s"
                ),
                retry_after_seconds,
            }
        }
        ChangeError::Unknown(error) => {
            tracing::error!(%key, %error, alarm = "key-unresolved", "what became of a key is unknown");
            let retry_after_seconds = retry_after_seconds(&error);
            Error::Unavailable {
                message: format!(
                    "the HSM did not answer, and whether the key was changed is not known; look for \
                     it in {retry_after_seconds} s"
                ),
                retry_after_seconds,
            }
        }
    }
}

fn retry_after_seconds(error: &HsmError) -> u64 {
    match error {
        HsmError::Busy { retry_after_seconds }
        | HsmError::DeadlineMissed { retry_after_seconds }
        | HsmError::Unavailable { retry_after_seconds } => *retry_after_seconds,
        HsmError::Missing | HsmError::Ambiguous { .. } | HsmError::Unusable { .. } => {
            OPERATOR_RETRY_SECONDS
        }
    }
}

/// The error for a ledger that does not answer.
pub(super) fn ledger(error: LedgerError) -> Error {
    tracing::error!(%error, "ledger not available");
    Error::Unavailable {
        message: "the ledger is not available; try again in 5 s".to_owned(),
        retry_after_seconds: LEDGER_RETRY_SECONDS,
    }
}

/// Retry-After of faults that only an operator can mend.
const OPERATOR_RETRY_SECONDS: u64 = 60;
const LEDGER_RETRY_SECONDS: u64 = 5;

fn signing_unavailable(retry_after_seconds: u64) -> Error {
    Error::Unavailable {
        message: format!("signing is unavailable; try again in {retry_after_seconds} s"),
        retry_after_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_hsm_does_is_never_the_callers_fault() {
        let retry_after_seconds = 7;
        for (error, retry_after) in [
            (HsmError::Busy { retry_after_seconds }, 7),
            (HsmError::DeadlineMissed { retry_after_seconds }, 7),
            (HsmError::Unavailable { retry_after_seconds }, 7),
            (HsmError::Missing, OPERATOR_RETRY_SECONDS),
            (HsmError::Ambiguous { count: 2 }, OPERATOR_RETRY_SECONDS),
            (HsmError::Unusable { reason: "C_Sign".to_owned() }, OPERATOR_RETRY_SECONDS),
        ] {
            let Error::Unavailable { message, retry_after_seconds } = signing(error.clone()) else {
                panic!("{error:?} is no 503");
            };
            assert_eq!(retry_after_seconds, retry_after, "{error:?}");
            assert!(!message.contains("C_Sign"), "{message}");
        }
    }
}
