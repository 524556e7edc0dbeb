//! The errors of the use cases, as callers are told of them.

use crate::domain::{
    member::{Member, Message},
    path::ResourcePath,
};

/// Why a use case did not succeed. `http::problem` maps each variant to a status.
#[derive(Debug)]
pub enum Error {
    /// The request breaks a rule.
    Invalid(Invalid),
    /// The caller, the key's policy or the mode of the daemon does not allow it.
    Forbidden {
        /// For the caller.
        message: Message,
        /// The member to blame, if one is.
        field: Option<Member>,
    },
    /// Something named does not exist.
    NotFound {
        /// For the caller.
        message: String,
        /// The member to blame, if one is.
        field: Option<Member>,
    },
    /// A target exists already.
    Duplicate {
        /// The path that is taken.
        target: ResourcePath,
        /// The kind of resource that has the path.
        kind: DuplicateKind,
        /// The member to blame, if one is.
        field: Option<Member>,
    },
    /// The state does not allow it; no target is taken.
    Conflict {
        /// For the caller.
        message: String,
        /// Seconds until another try makes sense, if one does.
        retry_after_seconds: Option<u64>,
    },
    /// A fault outside the request; it may succeed later.
    Unavailable {
        /// For the caller: no file path, no PKCS#11 code.
        message: String,
        /// Seconds until another try makes sense.
        retry_after_seconds: u64,
    },
    /// Two objects answer to one key path: only an operator can tell which is meant.
    AmbiguousKey(String),
    /// A bug or an internal fault. The message goes to the log, not to the caller.
    Internal(String),
}

impl Error {
    /// Drops the blamed member, when the fault is not in the request.
    pub(super) fn without_field(mut self) -> Self {
        match &mut self {
            Self::Invalid(Invalid { member: field, .. })
            | Self::Forbidden { field, .. }
            | Self::NotFound { field, .. }
            | Self::Duplicate { field, .. } => *field = None,
            Self::Conflict { .. }
            | Self::Unavailable { .. }
            | Self::AmbiguousKey(_)
            | Self::Internal(_) => {}
        }
        self
    }
}

/// A rule that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The member to blame, if one is.
    pub member: Option<Member>,
    /// For the caller.
    pub message: Message,
}

impl Invalid {
    /// A complaint about the body as a whole.
    pub fn body(message: impl Into<Message>) -> Self {
        Self { member: None, message: message.into() }
    }

    /// A complaint about one member.
    pub fn at(member: Member, message: impl Into<Message>) -> Self {
        Self { member: Some(member), message: message.into() }
    }
}

/// `target_entry_type` of a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateKind {
    /// A tenant, or an organisation.
    Tenant,
    /// A service.
    Service,
    /// A key.
    Key,
    /// An entry of a store.
    StoredCertificate,
    /// A published VICAL.
    VicalVersion,
}

impl DuplicateKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Tenant, Self::Service, Self::Key, Self::StoredCertificate, Self::VicalVersion];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Service => "service",
            Self::Key => "key",
            Self::StoredCertificate => "x509-certificate",
            Self::VicalVersion => "vical-version",
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}
