//! Everything that can be written, as values.
//!
//! A new operation is a line here, a function below each backend, and a method of the handle; the
//! compiler names the places.

use super::{
    error::{BeginError, CreateError, LedgerError},
    operation::operations,
    record::{
        BegunVical, Intent, IntentId, IssuerIndex, KeyChange, NewEntry, Outcome, PinChange,
        Product, RecordedToken, StoredResource, VicalReservation,
    },
};
use crate::{
    audit::AuditRecord,
    domain::{
        path::{KeyPath, PathElement, ResourcePath},
        time::Timestamp,
    },
};

operations! {
    /// A write in its slot. Each is all or nothing.
    enum Write {
        // From an intent to its end.
        Begin(Intent) -> IntentId, BeginError;
        TakeVicalNumber(ResourcePath) -> u64, LedgerError;
        BeginVical(Intent, VicalReservation) -> BegunVical, BeginError;
        Complete(IntentId, Outcome) -> u64, LedgerError, Wait;
        Abort(IntentId, AuditRecord) -> (), LedgerError, Wait;

        // The audit log, and kept answers.
        Append(AuditRecord) -> u64, LedgerError;
        ForgetAnswers(Timestamp, usize) -> usize, LedgerError;

        // Tenants, services, store entries.
        CreateResource(StoredResource, AuditRecord) -> (), CreateError;
        ChangeResource(StoredResource, AuditRecord) -> (), LedgerError;
        AddEntry(NewEntry, AuditRecord) -> (), CreateError;
        ReplaceEntry(NewEntry, AuditRecord) -> bool, LedgerError;
        DeleteEntry(ResourcePath, PathElement, AuditRecord) -> bool, LedgerError;

        // Keys and tokens.
        BeginKeyChange(KeyChange, AuditRecord) -> (), LedgerError;
        EndKeyChange(KeyChange, PinChange, AuditRecord) -> (), LedgerError, Wait;
        RecordToken(RecordedToken, Vec<(KeyPath, [u8; 32])>, AuditRecord) -> (), LedgerError;
        DropIacaPins([u8; 32], AuditRecord) -> bool, LedgerError;
        IndexCas(Vec<(i64, IssuerIndex)>) -> (), LedgerError, Wait;

        // Whether the ledger can be written at all.
        Probe() -> (), LedgerError;

        // SQL for the backend, then a call that may block or panic.
        #[cfg(test)]
        Test(String, Box<dyn Fn() + Send>) -> (), LedgerError;
    }
}

impl Write {
    /// Whether an answer of `known_key` or `cas_named` may be another after it.
    pub(super) fn changes_known_keys(&self) -> bool {
        match self {
            Self::Begin(slot) => {
                let Begin(intent) = slot.operation();
                intent.iaca_pin.is_some()
                    || intent.noted_key.is_some()
                    || !intent.used_issuers.is_empty()
            }
            Self::Complete(slot) => {
                let Complete(_, outcome) = slot.operation();
                match &outcome.product {
                    Product::Certificate(certificate) => certificate.is_ca,
                    Product::Request | Product::Vical(_) => false,
                }
            }
            Self::BeginVical(_)
            | Self::AddEntry(_)
            | Self::ReplaceEntry(_)
            | Self::DeleteEntry(_)
            | Self::DropIacaPins(_)
            | Self::IndexCas(_) => true,
            Self::TakeVicalNumber(_)
            | Self::Abort(_)
            | Self::Append(_)
            | Self::ForgetAnswers(_)
            | Self::CreateResource(_)
            | Self::ChangeResource(_)
            | Self::BeginKeyChange(_)
            | Self::EndKeyChange(_)
            | Self::RecordToken(_)
            | Self::Probe(_) => false,
            #[cfg(test)]
            Self::Test(_) => false,
        }
    }
}
