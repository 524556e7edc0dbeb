//! What the ledger is given and gives back: values, by noun. No database is named here.

mod answer;
mod backup;
mod certificate;
mod figures;
mod inherited;
mod intent;
mod intent_id;
mod issuer;
mod pin;
mod resource;
mod storage;
mod store;
mod token;
mod vical;

pub use answer::{KeptAnswer, RequestKey};
pub use backup::{BackupLabel, CaKey, Counts};
pub use certificate::{Certificate, CertificateFilter, CertificateStatus, IssuedCertificate};
pub(super) use figures::News;
pub use figures::{CaEnd, LedgerFigures};
pub use inherited::{Inherited, InheritedResource, LedgerBeside};
pub use intent::{Intent, OpenIntent, Outcome, Product, Reservation};
pub use intent_id::IntentId;
pub use issuer::{
    CaRole, CertificateOrigin, IssuerIndex, KeyClaim, KeyQuestion, KeyState, KnownCertificate,
    KnownKey, NamedQuestion, UsedIssuer,
};
pub use pin::{IacaPin, KeyChange, KeyPin, PinChange, Pinning};
pub use resource::StoredResource;
pub use storage::NewLedger;
pub use store::{EntryKind, NewEntry, StoreEntry, StoredCopy};
pub use token::RecordedToken;
pub use vical::{
    BegunVical, PublishedVersion, VicalArtifact, VicalReservation, VicalSigner, VicalVersion,
};
