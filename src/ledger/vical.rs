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
        make: impl Fn(u64) -> Result<(Intent, T), String> + Send + 'static,
    ) -> Result<(IntentId, T), BeginError> {
        let writes = &self.inner.writes;
        writes
            .run(WhenFull::Refuse, move |transaction| {
                vical::begin(transaction, &service, &version, &make)
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
            .run(WhenFull::Wait, move |transaction| {
                vical::complete(transaction, id, &published, &audit, answer.as_ref())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{audit::EntryKind, domain::client::KeyPurpose};

    fn path(text: &str) -> ResourcePath {
        ResourcePath::parse(text).unwrap()
    }

    fn element(text: &str) -> PathElement {
        PathElement::parse(text).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_unix(1_780_000_000).unwrap()
    }

    fn record(kind: EntryKind) -> AuditRecord {
        AuditRecord::new(kind, now(), Some("request"), Some("CN=a"), None, json!({}))
    }

    fn intent(service: &str) -> Intent {
        Intent {
            serial: None,
            purpose: KeyPurpose::Vical,
            service: path(service),
            tbs_sha256: [1; 32],
            issuer_key_path: None,
            subject_key_path: None,
            dev_key: false,
            client: "CN=a".to_owned(),
            request_id: "request".to_owned(),
            created_at: now(),
            reservations: Vec::new(),
            key_pins: Vec::new(),
            iaca_pin: None,
            audit: record(EntryKind::Intent),
        }
    }

    async fn begin(
        ledger: &Ledger,
        service: &'static str,
        version: &str,
    ) -> Result<(IntentId, u64), BeginError> {
        let make = move |issue_id| Ok((intent(service), issue_id));
        ledger.begin_publication(path(service), element(version), make).await
    }

    async fn complete(ledger: &Ledger, id: IntentId, octet: u8) -> Result<u64, LedgerError> {
        let published = PublishedVersion {
            provider: "Acme".to_owned(),
            date: now(),
            next_update: None,
            entry_count: 2,
            artifact: vec![octet; 9],
            sha256: [octet; 32],
            algorithm: "ES256",
            signer_certificate_pem: "signer".to_owned(),
            signer_chain_pem: vec!["above".to_owned()],
        };
        ledger.complete_publication(id, published, record(EntryKind::VicalPublished), None).await
    }

    #[tokio::test]
    async fn issue_ids_grow_by_one_in_each_service_and_none_is_given_out_twice() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ledger.db");
        let (ledger, _) = Ledger::open(&file).unwrap();
        let (first, id) = begin(&ledger, "a.vical", "x").await.unwrap();
        assert_eq!(id, 1);
        // A taken version spends nothing, nor does an intent that cannot be made.
        assert_eq!(begin(&ledger, "a.vical", "x").await, Err(BeginError::VersionTaken));
        let broken = |_| Err::<(Intent, ()), _>("broken".to_owned());
        let not_made = ledger.begin_publication(path("a.vical"), element("y"), broken).await;
        assert_eq!(not_made.err(), Some(BeginError::NotMade("broken".to_owned())));
        assert_eq!(begin(&ledger, "b.vical", "x").await.unwrap().1, 1);
        // What came to nothing frees its version and keeps its issue id.
        ledger.abort(first, record(EntryKind::Aborted)).await.unwrap();
        let (second, id) = begin(&ledger, "a.vical", "x").await.unwrap();
        assert_eq!(id, 2);
        assert_eq!(complete(&ledger, first, 1).await, Err(LedgerError::NotOpen));
        complete(&ledger, second, 2).await.unwrap();
        assert_eq!(complete(&ledger, second, 3).await, Err(LedgerError::NotOpen));
        begin(&ledger, "a.vical", "z").await.unwrap();
        ledger.close().await;

        // A crash leaves the intents open; their versions are taken until they are aborted.
        let (ledger, open) = Ledger::open(&file).unwrap();
        assert_eq!(open.len(), 2);
        assert!(ledger.is_version_taken(path("a.vical"), element("z")).await.unwrap());
        for intent in open {
            ledger.abort(intent.id, record(EntryKind::Aborted)).await.unwrap();
        }
        assert!(!ledger.is_version_taken(path("a.vical"), element("z")).await.unwrap());
        assert_eq!(begin(&ledger, "a.vical", "z").await.unwrap().1, 4);
    }

    #[tokio::test]
    async fn what_is_only_reserved_is_not_there_and_the_highest_issue_id_is_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(&directory.path().join("ledger.db")).unwrap();
        let service = || path("a.vical");
        let (older, _) = begin(&ledger, "a.vical", "older").await.unwrap();
        let (newer, _) = begin(&ledger, "a.vical", "newer").await.unwrap();
        assert_eq!(ledger.vical_artifact(service(), None).await.unwrap(), None);
        assert_eq!(ledger.vical_version(service(), Some(element("older"))).await.unwrap(), None);
        complete(&ledger, newer, 2).await.unwrap();
        complete(&ledger, older, 1).await.unwrap();
        assert_eq!(
            ledger.vical_ids(service()).await.unwrap(),
            [element("newer"), element("older")]
        );
        let octets = |found: Option<VicalArtifact>| found.unwrap().octets;
        assert_eq!(octets(ledger.vical_artifact(service(), None).await.unwrap()), [2; 9]);
        let older = Some(element("older"));
        assert_eq!(octets(ledger.vical_artifact(service(), older).await.unwrap()), [1; 9]);
        let newest = ledger.vical_version(service(), None).await.unwrap().unwrap();
        assert_eq!((newest.issue_id, newest.entry_count, newest.size_bytes), (2, 2, 9));
        assert_eq!(newest.signer_chain_pem, ["above"]);
        assert_eq!(ledger.vical_ids(path("b.vical")).await.unwrap(), []);
    }
}
