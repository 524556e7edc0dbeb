//! Reading what a service issued.

use super::{Services, error::Error, key_errors};
pub use crate::ledger::{Certificate, CertificateFilter, CertificateStatus};
use crate::{domain::path::ResourcePath, x509::pem};

/// One page, and whether there is another.
pub struct Page {
    /// Newest first.
    pub certificates: Vec<Certificate>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<u64>,
}

/// The certificates that a service issued and that pass the filter. A page starts below an audit
/// index, so that what is issued meanwhile moves nothing.
///
/// # Errors
/// [`Error::Unavailable`] when the ledger does not answer.
pub async fn list(
    services: &Services,
    service: &ResourcePath,
    filter: CertificateFilter,
    limit: usize,
) -> Result<Page, Error> {
    let mut certificates = services
        .ledger
        .certificates(service.clone(), filter, limit + 1)
        .await
        .map_err(key_errors::ledger)?;
    let more = certificates.len() > limit;
    certificates.truncate(limit);
    let next = certificates.last().filter(|_| more).map(|last| last.audit_index);
    Ok(Page { certificates, next })
}

/// One certificate of a service, and its PEM.
///
/// # Errors
/// [`Error::NotFound`] when the service issued none with this serial number.
pub async fn get(
    services: &Services,
    service: &ResourcePath,
    serial: Vec<u8>,
) -> Result<(Certificate, String), Error> {
    let found =
        services.ledger.certificate(service.clone(), serial).await.map_err(key_errors::ledger)?;
    match found {
        Some((certificate, der)) => Ok((certificate, pem::encode("CERTIFICATE", &der))),
        None => Err(Error::NotFound {
            message: "no certificate with this serial".to_owned(),
            field: None,
        }),
    }
}
