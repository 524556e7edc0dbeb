//! Clients: permissions, grants, the identity that TLS proves, and the purposes of keys.

use std::{fmt, str::FromStr, sync::Arc};

use super::{client_name::ComparableName, path::ResourcePath};

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A permission, granted on a path.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Permission { $($(#[$doc])* $variant,)* }

        impl Permission {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in configuration and messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

permissions! {
    /// Create tenants, services, dependencies.
    ResourceWrite = "resource:write",
    /// Read the resource tree.
    ResourceRead = "resource:read",
    /// Generate keys.
    KmsGenerate = "kms:generate",
    /// Import keys.
    KmsImport = "kms:import",
    /// Read public keys.
    KmsRead = "kms:read",
    /// Delete keys.
    KmsDelete = "kms:delete",
    /// Issue IACAs.
    IssueIaca = "issue:iaca",
    /// Issue IACA link certificates.
    IssueIacaLink = "issue:iaca-link",
    /// Issue document signers.
    IssueDocumentSigner = "issue:document-signer",
    /// Issue generic certificates.
    IssueGeneric = "issue:generic",
    /// Make certification requests.
    IssueCsr = "issue:csr",
    /// Read issued certificates.
    InventoryRead = "inventory:read",
    /// Revoke certificates.
    Revoke = "revoke",
    /// Read stores.
    StoreRead = "store:read",
    /// Change stores.
    StoreWrite = "store:write",
    /// Publish VICALs.
    VicalPublish = "vical:publish",
    /// List VICAL versions.
    VicalRead = "vical:read",
    /// Read the audit log.
    AuditRead = "audit:read",
    /// Read metrics.
    OpsRead = "ops:read",
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.name() == text)
            .ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a permission")]
pub struct UnknownPermission(String);

/// A permission on a path and everything under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The permission.
    pub permission: Permission,
    /// The path.
    pub path: ResourcePath,
}

/// The grants of one client. Everything else is denied.
#[derive(Debug, Clone, Default)]
pub struct Grants(Arc<[Grant]>);

impl Grants {
    /// Whether a grant covers `permission` on `path`.
    pub fn may(&self, permission: Permission, path: &ResourcePath) -> bool {
        self.0
            .iter()
            .any(|grant| grant.permission == permission && path.is_at_or_under(&grant.path))
    }

    /// Whether `permission` is granted on any path. Routes without a target need no more.
    pub fn has(&self, permission: Permission) -> bool {
        self.0.iter().any(|grant| grant.permission == permission)
    }
}

impl From<Vec<Grant>> for Grants {
    fn from(grants: Vec<Grant>) -> Self {
        Self(grants.into())
    }
}

/// What the TLS handshake proved about the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate's subject, RFC 4514-like, in the order of the encoding; for people.
    pub subject: String,
    /// The same, for comparison; `None` when the certificate cannot be read.
    pub name: Option<ComparableName>,
    /// The subjects of the client CAs that the certificate's chain was verified to. Not the issuer
    /// name in the certificate, because another of the client CAs could issue certificates with
    /// that name.
    pub issuers: Vec<ComparableName>,
    /// SHA-256 over the certificate's DER.
    pub certificate_sha256: [u8; 32],
}

/// What a key signs: the purposes in policies and audit entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// IACA root.
    Iaca,
    /// IACA link certificate.
    IacaLink,
    /// Document signer (the IACA's key signs it).
    DocumentSigner,
    /// Ordinary certificate.
    Generic,
    /// PKCS#10 request.
    Csr,
    /// VICAL.
    Vical,
    /// CRL.
    Crl,
}

impl KeyPurpose {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Iaca,
        Self::IacaLink,
        Self::DocumentSigner,
        Self::Generic,
        Self::Csr,
        Self::Vical,
        Self::Crl,
    ];

    /// The name in configuration, inventory and audit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iaca => "iaca",
            Self::IacaLink => "iaca-link",
            Self::DocumentSigner => "document-signer",
            Self::Generic => "generic",
            Self::Csr => "csr",
            Self::Vical => "vical",
            Self::Crl => "crl",
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
