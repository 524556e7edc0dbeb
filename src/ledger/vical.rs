//! VICAL versions: each has an intent like a certificate, and octets that are kept for good.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Ledger,
    error::{BeginError, LedgerError},
    read::{Artifact, IsVersionTaken, OneVical, VicalEntries, VicalIds},
    record::{BegunVical, Intent, StoreEntry, VicalArtifact, VicalReservation, VicalVersion},
    write::{BeginVical, TakeVicalNumber},
};
use crate::domain::path::{PathElement, ResourcePath};

/// Versions that are about to be reserved.
pub(super) type ClaimedVersions = Arc<Mutex<HashSet<ResourcePath>>>;

/// An issue id, and the claim on its version while this lives.
pub struct TakenVersion {
    /// The issue id.
    pub issue_id: u64,
    _claim: Claim,
}

struct Claim {
    claimed: ClaimedVersions,
    version: ResourcePath,
}

impl Claim {
    /// `None` when somebody else has it.
    fn of(claimed: &ClaimedVersions, version: ResourcePath) -> Option<Self> {
        let is_new = claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(version.clone());
        is_new.then(|| Self { claimed: Arc::clone(claimed), version })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.version);
    }
}

impl Ledger {
    /// Takes the next issue id of a VICAL service: unique, and higher than every one before. One that
    /// is not used leaves a gap, which does no harm.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`]; an id may be spent all the same.
    pub async fn take_vical_number(&self, service: ResourcePath) -> Result<u64, LedgerError> {
        self.write(TakeVicalNumber(service)).await
    }

    /// Takes the next issue id for a version that is neither there nor reserved. Until the result is
    /// dropped, which is after [`Self::begin_vical`], nobody else in this process can take the version;
    /// so requests that race for one version spend one issue id.
    ///
    /// The answer is `None` when the version is taken; no issue id is spent then.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn take_vical_version(
        &self,
        service: ResourcePath,
        version: PathElement,
    ) -> Result<Option<TakenVersion>, LedgerError> {
        let claim = Claim::of(&self.inner.claimed_versions, service.child(&version));
        let Some(claim) = claim else { return Ok(None) };
        if self.is_version_taken(service.clone(), version).await? {
            return Ok(None);
        }
        let issue_id = self.take_vical_number(service).await?;
        Ok(Some(TakenVersion { issue_id, _claim: claim }))
    }

    /// As [`Self::begin`] for a publication: its version is reserved, and the signer must be the one
    /// on record for the service, unless none is or it may be changed. Of two first publications at a
    /// time, the later must have the signer of the earlier. Ended by [`Self::complete`] or
    /// [`Self::abort`].
    ///
    /// # Errors
    /// [`BeginError`] says what is taken or has changed; nothing is recorded then.
    pub async fn begin_vical(
        &self,
        intent: Intent,
        reservation: VicalReservation,
    ) -> Result<BegunVical, BeginError> {
        self.write(BeginVical(intent, reservation)).await
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
        self.read(VicalEntries(stores)).await
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
        self.read(IsVersionTaken(service, version)).await
    }

    /// The published versions of a service, newest first.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn vical_ids(&self, service: ResourcePath) -> Result<Vec<PathElement>, LedgerError> {
        self.read(VicalIds(service)).await
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
        self.read(OneVical(service, version)).await
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
        self.read(Artifact(service, version)).await
    }
}
