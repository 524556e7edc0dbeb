//! How long the CRLs of the clients' CAs count.

use std::time::Duration;

use der::Decode;
use rustls::pki_types::CertificateRevocationListDer;
use x509_cert::{certificate::Rfc5280, crl::CertificateList};

use crate::domain::time::Timestamp;

/// How often the log says that a CRL has expired.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(3_600);

/// When the first of these CRLs has to have a successor (RFC 5280 5.1.2.5); `None` where none says so.
pub(super) fn next_update(crls: &[CertificateRevocationListDer<'_>]) -> Option<Timestamp> {
    let of = |crl: &CertificateRevocationListDer<'_>| {
        let list = CertificateList::<Rfc5280>::from_der(crl).ok()?;
        let seconds = list.tbs_cert_list.next_update?.to_unix_duration().as_secs();
        Timestamp::from_unix(seconds).ok()
    };
    crls.iter().filter_map(of).min()
}
