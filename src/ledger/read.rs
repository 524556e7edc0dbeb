//! Everything that can be read, as values. Each read sees one committed state.

use super::{
    error::LedgerError,
    operation::operations,
    record::{
        Certificate, CertificateFilter, IacaPin, Inherited, KeptAnswer, KeyChange, KeyPin,
        KeyQuestion, KnownCertificate, KnownKey, NamedQuestion, RecordedToken, RequestKey,
        StoreEntry, StoredResource, UsedIssuer, VicalArtifact, VicalVersion,
    },
};
use crate::domain::{
    path::{KeyPath, PathElement, ResourcePath},
    time::Timestamp,
};

operations! {
    /// A read in its slot.
    enum Read {
        // What was issued.
        Certificates(ResourcePath, CertificateFilter, usize) -> Vec<Certificate>, LedgerError;
        OneCertificate(ResourcePath, Vec<u8>) -> Option<(Certificate, Vec<u8>)>, LedgerError;
        FindAnswer(RequestKey, Timestamp) -> Option<(KeptAnswer, u64)>, LedgerError;

        // Tenants, services, store entries.
        Resources() -> Vec<StoredResource>, LedgerError;
        Taken(Vec<(ResourcePath, PathElement)>) -> Option<ResourcePath>, LedgerError;
        OneEntry(ResourcePath, PathElement) -> Option<StoreEntry>, LedgerError;
        Entries(ResourcePath) -> Vec<StoreEntry>, LedgerError;
        EntryIds(ResourcePath) -> Vec<ResourcePath>, LedgerError;

        // VICALs. Without a version, the newest.
        VicalEntries(Vec<ResourcePath>) -> Vec<StoreEntry>, LedgerError;
        IsVersionTaken(ResourcePath, PathElement) -> bool, LedgerError;
        VicalIds(ResourcePath) -> Vec<PathElement>, LedgerError;
        OneVical(ResourcePath, Option<PathElement>) -> Option<VicalVersion>, LedgerError;
        Artifact(ResourcePath, Option<PathElement>) -> Option<VicalArtifact>, LedgerError;

        // Keys and tokens.
        KeyPins() -> Vec<KeyPin>, LedgerError;
        OpenKeyChanges() -> Vec<KeyChange>, LedgerError;
        ValidCertificatesOfKey(KeyPath, Timestamp) -> u64, LedgerError;
        ValidCaCertificates([u8; 32], Timestamp) -> u64, LedgerError;
        Tokens() -> Vec<RecordedToken>, LedgerError;

        // Keys as issuers.
        OneKey(KeyQuestion) -> KnownKey, LedgerError;
        CasNamed(NamedQuestion) -> Vec<KnownCertificate>, LedgerError;
        HasIssuedCa([u8; 32], [u8; 32]) -> bool, LedgerError;
        IacaPins([u8; 32]) -> (Vec<IacaPin>, Vec<UsedIssuer>), LedgerError;
        UnindexedCas(u32) -> Vec<(i64, Vec<u8>)>, LedgerError;

        // What an earlier version has left.
        AllInherited(Timestamp) -> Inherited, LedgerError;

        // A call that may block or panic.
        #[cfg(test)]
        Test(Box<dyn Fn() + Send>) -> (), LedgerError;
    }
}
