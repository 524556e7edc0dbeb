//! A DER writer that joins parts. Parts that are DER already (a name, a public key, a whole TBS)
//! are copied and never encoded again. x509-cert's builder is not used, because it encodes the TBS
//! a second time when it adds the signature, and has no years before 1970.

use der::{Encode, Header, Length, Tag, TagNumber, asn1::UintRef};

use super::algorithm;
use crate::domain::{
    key::{Signature, SignatureAlgorithm},
    serial::SerialNumber,
    time::Timestamp,
    validity::Validity,
};

/// Longest header: the tag and the octets of the length.
const HEADER_OCTETS_MAX: usize = 5;

/// Encodes an element of `tag` around `parts`.
pub(super) fn element(tag: Tag, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    let octets: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = Vec::with_capacity(HEADER_OCTETS_MAX + octets);
    push(&mut der, tag, parts)?;
    Ok(der)
}

/// Appends an element to octets.
pub(super) fn push(der: &mut Vec<u8>, tag: Tag, parts: &[&[u8]]) -> der::Result<()> {
    let octets: usize = parts.iter().map(|part| part.len()).sum();
    Header::new(tag, Length::try_from(octets)?).encode(der)?;
    parts.iter().for_each(|part| der.extend_from_slice(part));
    Ok(())
}

/// A SEQUENCE of `parts`.
pub(super) fn sequence(parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    element(Tag::Sequence, parts)
}

/// `[number]` around `parts`, constructed.
pub(super) fn context(number: u8, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    element(Tag::ContextSpecific { constructed: true, number: TagNumber(number.into()) }, parts)
}

/// Joins the signed octets, the algorithm and the signature (RFC 5280, 4.1.1; RFC 2986, 4.2). `tbs`
/// is copied.
pub(super) fn signed(
    tbs: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &Signature,
) -> der::Result<Vec<u8>> {
    let signature = element(Tag::BitString, &[&[0], signature.as_octets()])?;
    sequence(&[tbs, algorithm::identifier(algorithm), &signature])
}

/// The serial number as INTEGER.
pub(super) fn serial(serial: SerialNumber) -> der::Result<Vec<u8>> {
    UintRef::new(serial.as_octets())?.to_der()
}

/// Both ends of the validity (RFC 5280, 4.1.2.5).
pub(super) fn validity(validity: Validity) -> der::Result<Vec<u8>> {
    sequence(&[&time(validity.not_before())?, &time(validity.not_after())?])
}

/// UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280, 4.1.2.5).
fn time(moment: Timestamp) -> der::Result<Vec<u8>> {
    let digits = moment.digits();
    if digits[..4] < b"2050"[..] {
        element(Tag::UtcTime, &[&digits[2..], b"Z"])
    } else {
        element(Tag::GeneralizedTime, &[&digits, b"Z"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_changes_its_type_with_the_year_2050() {
        let encoded = |text| time(Timestamp::parse(text).unwrap()).unwrap();
        assert_eq!(encoded("1950-01-01T00:00:00Z"), b"\x17\x0d500101000000Z");
        assert_eq!(encoded("2049-12-31T23:59:59Z"), b"\x17\x0d491231235959Z");
        assert_eq!(encoded("2050-01-01T00:00:00Z"), b"\x18\x0f20500101000000Z");
        assert_eq!(encoded("9999-12-31T23:59:59Z"), b"\x18\x0f99991231235959Z");
    }

    #[test]
    fn lengths_are_minimal() {
        assert_eq!(sequence(&[&[0; 127]]).unwrap()[..2], [0x30, 0x7F]);
        assert_eq!(sequence(&[&[0; 128]]).unwrap()[..3], [0x30, 0x81, 0x80]);
        assert_eq!(context(3, &[&[0; 256]]).unwrap()[..4], [0xA3, 0x82, 0x01, 0x00]);
    }
}
