//! What was issued: a list with filters and pages, and one certificate.

use super::{Certificate, CertificateFilter, Ledger, error::LedgerError, sql::inventory};
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
        self.read(move |connection| Ok(inventory::list(connection, &service, &filter, limit)?))
            .await
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
        self.read(move |connection| Ok(inventory::one(connection, &service, &serial)?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{client::KeyPurpose, path::KeyPath, time::Timestamp},
        ledger::{CertificateStatus, sql::schema},
    };

    fn plan(filter: &CertificateFilter) -> String {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        schema::migrate(&connection, 0).unwrap();
        let service = ResourcePath::parse("acme.x509").unwrap();
        let (sql, values) = inventory::query(&service, filter, 50);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|v| v as _).collect();
        let rows = statement.query_map(values.as_slice(), |row| row.get::<_, String>("detail"));
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_filter_finds_its_rows_by_an_index() {
        let now = Timestamp::from_unix(1_800_000_000).unwrap();
        let filters = [
            CertificateFilter::default(),
            CertificateFilter { before_index: Some(9), ..CertificateFilter::default() },
            CertificateFilter { profile: Some(KeyPurpose::Iaca), ..CertificateFilter::default() },
            CertificateFilter { issuer_key_id: Some(vec![1; 20]), ..CertificateFilter::default() },
            CertificateFilter { subject_cn: Some("a".into()), ..CertificateFilter::default() },
            CertificateFilter {
                key_path: Some(KeyPath::parse("a.b.c").unwrap()),
                ..CertificateFilter::default()
            },
            CertificateFilter { issued_from: Some(now), ..CertificateFilter::default() },
            CertificateFilter { not_after_to: Some(now), ..CertificateFilter::default() },
            CertificateFilter {
                status: Some((CertificateStatus::Expired, now)),
                ..CertificateFilter::default()
            },
        ];
        for filter in filters {
            let plan = plan(&filter);
            assert!(!plan.contains("SCAN certificates"), "{filter:?}\n{plan}");
        }
    }

    #[test]
    fn the_plain_list_and_its_pages_need_no_sorting() {
        for before_index in [None, Some(9)] {
            let plan = plan(&CertificateFilter { before_index, ..CertificateFilter::default() });
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
