//! The use cases. Each is a function with numbered steps; none knows JSON, HTTP, SQL or PKCS#11.

mod act;
mod actor;
mod bad_keys;
pub mod csr;
pub mod error;
mod fresh;
mod given;
pub mod iaca_pins;
pub mod idempotency;
pub mod inventory;
pub mod issue;
pub mod journal;
mod key_errors;
pub mod keys;
mod known;
mod proof;
pub mod resources;
mod roles;
pub mod status;
pub mod stores;
pub mod tokens;
pub mod upgrade;
pub mod vical;

use std::sync::Arc;

pub use crate::ledger::LedgerFigures;
use crate::{
    domain::{
        key::{KeyPolicy, ListedKeys},
        tree::{ResourceTree, ServiceKind},
    },
    keys::Keyring,
    ledger::Ledger,
};
pub use actor::{Actor, Call};
pub use bad_keys::BadKeys;
pub use idempotency::Idempotency;
pub use known::{KnownKeys, index_stores};
pub use resources::{Redeclared, Tree};
use status::Observations;
pub use vical::VicalSettings;

/// What the use cases work with.
#[derive(Clone)]
pub struct Services {
    /// The resource tree.
    tree: Arc<Tree>,
    /// The keys.
    keyring: Arc<Keyring>,
    /// The ledger.
    ledger: Ledger,
    /// Rules that can be switched.
    settings: IssuanceSettings,
    /// Rules of publication that can be switched.
    vical: VicalSettings,
    /// The service types that may be created over the API.
    features: Features,
    /// Whether private keys may be imported into the HSM.
    import_keys: bool,
    /// Keys that are not used.
    bad_keys: Arc<BadKeys>,
    /// What the ledger knows of keys.
    known: Arc<KnownKeys>,
    /// Requests with an Idempotency-Key.
    idempotency: Arc<Idempotency>,
    /// What the parts of the daemon report, for the status.
    observations: Arc<Observations>,
}

/// The settings of the use cases, which a reload can change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rules of issuance.
    pub issuance: IssuanceSettings,
    /// Rules of publication.
    pub vical: VicalSettings,
    /// The service types that may be created over the API.
    pub features: Features,
    /// Whether private keys may be imported into the HSM.
    pub import_keys: bool,
    /// Keys that are refused.
    pub bad_keys: ListedKeys,
}

impl Services {
    /// From what the start has opened.
    pub fn new(
        tree: Tree,
        keyring: Keyring,
        ledger: Ledger,
        idempotency: Idempotency,
        settings: Settings,
        observations: Arc<Observations>,
    ) -> Self {
        let Settings { issuance, vical, features, import_keys, bad_keys } = settings;
        Self {
            tree: Arc::new(tree),
            keyring: Arc::new(keyring),
            ledger,
            settings: issuance,
            vical,
            features,
            import_keys,
            bad_keys: Arc::new(BadKeys::new(bad_keys)),
            known: Arc::default(),
            idempotency: Arc::new(idempotency),
            observations,
        }
    }

    /// The resource tree as it is now.
    pub fn tree(&self) -> Arc<ResourceTree> {
        self.tree.snapshot()
    }

    /// Prepares a tree of other declared resources; see [`Tree::redeclare`].
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn redeclare(
        &self,
        declared: ResourceTree,
        tokens: &[&str],
    ) -> Result<Redeclared<'_>, String> {
        self.tree.redeclare(declared, &self.ledger, tokens).await
    }

    /// Whether a transaction of the ledger takes too long for callers to wait.
    pub fn ledger_is_stalled(&self) -> bool {
        self.ledger.is_stalled()
    }

    /// Returns when a transaction of the ledger takes too long for callers to wait.
    pub async fn ledger_stalls(&self) {
        self.ledger.stalls().await;
    }

    /// Whether answers to Idempotency-Keys are kept.
    pub fn keeps_answers(&self) -> bool {
        self.idempotency.keeps()
    }

    /// The same with other settings.
    pub fn with_settings(&self, settings: Settings) -> Self {
        let Settings { issuance, vical, features, import_keys, bad_keys } = settings;
        Self {
            settings: issuance,
            vical,
            features,
            import_keys,
            bad_keys: Arc::new(BadKeys::new(bad_keys)),
            ..self.clone()
        }
    }
}

/// Rules of issuance that can be switched.
#[derive(Debug, Clone, Copy)]
pub struct IssuanceSettings {
    /// Whether the first description of an unregistered IACA is pinned, or refused.
    pub pin_described_iaca: bool,
    /// Whether a generic CA may lack KeyCertSign.
    pub allow_ca_without_key_cert_sign: bool,
    /// Whether a generic certificate may have an extended key usage that another profile issues.
    pub generic_reserved_ekus: bool,
    /// Whether an IACA carries an authority key identifier.
    pub iaca_aki: bool,
    /// Which types of key are allowed.
    pub key_policy: KeyPolicy,
    /// Whether a VICAL entry that a client stores must be an IACA.
    pub check_vical_entries: bool,
}

/// The service types that may be created over the API.
#[derive(Debug, Clone)]
pub struct Features(pub Vec<ServiceKind>);
