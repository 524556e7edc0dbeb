//! VICAL versions: each has an intent like a certificate, and octets that are kept for good.

use super::{
    BeginError, Intent, IntentId, KeptAnswer, Ledger, LedgerError, StoreEntry, job::WhenFull,
    sql::vical,
};
use crate::{
    audit::AuditRecord,
    domain::{
        path::{PathElement, ResourcePath},
        time::Timestamp,
    },
};

/// A signed and verified VICAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedVersion {
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub entry_count: usize,
    /// All its octets.
    pub artifact: Vec<u8>,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
    /// The name of the signature algorithm.
    pub algorithm: &'static str,
    /// The certificate of the key that signed.
    pub signer_certificate_pem: String,
    /// Those above it, its issuer first.
    pub signer_chain_pem: Vec<String>,
}

/// A published VICAL without its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalVersion {
    /// Its id below the service.
    pub version: PathElement,
    /// Unique and growing within the service.
    pub issue_id: u64,
    /// Who publishes.
    pub provider: String,
    /// The date within.
    pub date: Timestamp,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub entry_count: u64,
    /// The length of its octets.
    pub size_bytes: u64,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
    /// The name of the signature algorithm.
    pub algorithm: String,
    /// The certificate of the key that signed.
    pub signer_certificate_pem: String,
    /// Those above it, its issuer first.
    pub signer_chain_pem: Vec<String>,
}

/// The octets of a published VICAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VicalArtifact {
    /// All of them.
    pub octets: Vec<u8>,
    /// SHA-256 over them.
    pub sha256: [u8; 32],
}

impl Ledger {
    /// Takes the next issue id of `service`, reserves `version`, and records the intent that `make`
    /// makes for that id, all in one transaction. An issue id is spent even if the intent comes to
    /// nothing. `make` runs on the thread that writes: it computes and does nothing else.
    ///
    /// # Errors
    /// [`BeginError`] says what is taken or has changed; nothing is recorded then, and the issue id
    /// is not spent.
    pub async fn begin_publication<T: Send + 'static>(
        &self,
        service: ResourcePath,
        version: PathElement,
        make: impl FnOnce(u64) -> Result<(Intent, T), String> + Send + 'static,
    ) -> Result<(IntentId, T), BeginError> {
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |connection| {
                vical::begin(connection, &service, &version, make)
            })
            .await
    }

    /// Records the version that an intent came to, and keeps `answer` for its Idempotency-Key.
    /// The result is the index of the audit entry. Waits where other calls are
    /// [`LedgerError::Busy`].
    ///
    /// # Errors
    /// [`LedgerError`]; the intent is still open then, and wants to be aborted.
    pub async fn complete_publication(
        &self,
        id: IntentId,
        published: PublishedVersion,
        audit: AuditRecord,
        answer: Option<KeptAnswer>,
    ) -> Result<u64, LedgerError> {
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Wait, move |connection| {
                vical::complete(connection, id, &published, &audit, answer.as_ref())
            })
            .await
    }

    /// The VICAL entries of several stores as they are at one moment, in the order of the stores,
    /// then by id.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn vical_entries(
        &self,
        stores: Vec<ResourcePath>,
    ) -> Result<Vec<StoreEntry>, LedgerError> {
        self.read(move |connection| Ok(vical::entries(connection, &stores)?)).await
    }

    /// Whether the version exists or is reserved.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn is_version_taken(
        &self,
        service: ResourcePath,
        version: PathElement,
    ) -> Result<bool, LedgerError> {
        self.read(move |connection| Ok(vical::is_taken(connection, &service, &version)?)).await
    }

    /// The published versions of a service, newest first.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn vical_ids(&self, service: ResourcePath) -> Result<Vec<PathElement>, LedgerError> {
        self.read(move |connection| Ok(vical::ids(connection, &service)?)).await
    }

    /// A published version without its octets; without `version`, the newest.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn vical_version(
        &self,
        service: ResourcePath,
        version: Option<PathElement>,
    ) -> Result<Option<VicalVersion>, LedgerError> {
        self.read(move |connection| Ok(vical::version(connection, &service, version.as_ref())?))
            .await
    }

    /// The octets of a published version; without `version`, of the newest.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn vical_artifact(
        &self,
        service: ResourcePath,
        version: Option<PathElement>,
    ) -> Result<Option<VicalArtifact>, LedgerError> {
        self.read(move |connection| Ok(vical::artifact(connection, &service, version.as_ref())?))
            .await
    }
}
