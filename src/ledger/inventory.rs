//! What was issued: a list with filters and pages, and one certificate.

use super::{
    Ledger,
    error::LedgerError,
    read::{Certificates, OneCertificate},
    record::{Certificate, CertificateFilter},
};
use crate::domain::path::ResourcePath;

impl Ledger {
    /// The certificates that a service issued and that pass the filter, newest first.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn certificates(
        &self,
        service: ResourcePath,
        filter: CertificateFilter,
        limit: usize,
    ) -> Result<Vec<Certificate>, LedgerError> {
        self.read(Certificates(service, filter, limit)).await
    }

    /// The certificate that a service issued under a serial number, and its DER.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] or [`LedgerError::Unavailable`].
    pub async fn certificate(
        &self,
        service: ResourcePath,
        serial: Vec<u8>,
    ) -> Result<Option<(Certificate, Vec<u8>)>, LedgerError> {
        self.read(OneCertificate(service, serial)).await
    }
}
