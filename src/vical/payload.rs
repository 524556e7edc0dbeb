//! The payload (ISO/IEC 18013-5 C.1.7): definite lengths, preferred serialization (RFC 8949, 4.1),
//! members in the order of the standard, absent ones left out.

use coset::cbor::{Value, ser::into_writer};

use super::VicalError;
use crate::domain::time::Timestamp;

/// The version of the structure.
pub const VERSION: &str = "1.0";

/// Standard date/time string (RFC 8949, 3.4.1).
const TAG_DATE_TIME: u64 = 0;
/// Unsigned bignum (RFC 8949, 3.4.3).
const TAG_BIGNUM: u64 = 2;

/// The content of a VICAL.
#[derive(Debug, Clone)]
pub struct List {
    /// Who publishes it.
    pub provider: String,
    /// When it was issued.
    pub date: Timestamp,
    /// The issue id: unique and increasing.
    pub issue_id: u64,
    /// When the next one is to be expected.
    pub next_update: Option<Timestamp>,
    /// What it lists.
    pub certificate_infos: Vec<CertificateInfo>,
}

/// One listed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The serial number, big-endian; leading zeros do not matter.
    pub serial_number: Vec<u8>,
    /// The octets of the subject key identifier, without a wrapper.
    pub subject_key_id: Vec<u8>,
    /// The document types that it is trusted for; at least one.
    pub doc_types: Vec<String>,
    /// Left out when empty.
    pub certificate_profiles: Vec<String>,
    /// The issuer's name as text.
    pub issuing_authority: String,
    /// The issuer's country.
    pub issuing_country: Option<String>,
    /// The subject's state or province.
    pub state_or_province: Option<String>,
    /// Name, DER.
    pub issuer: Vec<u8>,
    /// Name, DER.
    pub subject: Vec<u8>,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
}

impl List {
    /// The octets to be signed, as a byte string within the envelope.
    pub(super) fn encode(&self) -> Result<Vec<u8>, VicalError> {
        let infos = self.certificate_infos.iter().map(CertificateInfo::value).collect();
        let members = [
            ("version", Some(text(VERSION))),
            ("vicalProvider", Some(text(&self.provider))),
            ("date", Some(date_time(self.date))),
            // Spelled so in the standard; the JSON of the API has vicalIssueId.
            ("vicalIssueID", Some(Value::from(self.issue_id))),
            ("nextUpdate", self.next_update.map(date_time)),
            ("certificateInfos", Some(Value::Array(infos))),
        ];
        let mut octets = Vec::new();
        into_writer(&map(members), &mut octets)
            .map_err(|error| VicalError::Encoding(error.to_string()))?;
        Ok(octets)
    }
}

impl CertificateInfo {
    fn value(&self) -> Value {
        map([
            ("certificate", Some(octets(&self.certificate))),
            ("serialNumber", Some(bignum(&self.serial_number))),
            ("ski", Some(octets(&self.subject_key_id))),
            ("docType", Some(texts(&self.doc_types))),
            (
                "certificateProfile",
                (!self.certificate_profiles.is_empty()).then(|| texts(&self.certificate_profiles)),
            ),
            ("issuingAuthority", Some(text(&self.issuing_authority))),
            ("issuingCountry", self.issuing_country.as_deref().map(text)),
            ("stateOrProvinceName", self.state_or_province.as_deref().map(text)),
            ("issuer", Some(octets(&self.issuer))),
            ("subject", Some(octets(&self.subject))),
            ("notBefore", Some(date_time(self.not_before))),
            ("notAfter", Some(date_time(self.not_after))),
        ])
    }
}

fn map<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let present = members.into_iter().filter_map(|(name, value)| Some((text(name), value?)));
    Value::Map(present.collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(list: &[String]) -> Value {
    Value::Array(list.iter().map(|item| text(item)).collect())
}

fn octets(octets: &[u8]) -> Value {
    Value::Bytes(octets.to_vec())
}

/// tdate: whole seconds, `Z`.
fn date_time(moment: Timestamp) -> Value {
    Value::Tag(TAG_DATE_TIME, Box::new(Value::Text(moment.to_string())))
}

/// biguint: tag 2 even for small numbers, as the standard's type requires.
fn bignum(big_endian: &[u8]) -> Value {
    let zeros = big_endian.iter().take_while(|octet| **octet == 0).count();
    Value::Tag(TAG_BIGNUM, Box::new(octets(&big_endian[zeros..])))
}
