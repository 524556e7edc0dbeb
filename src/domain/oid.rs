//! Object identifiers with arcs of any size: `2.999.1`, `2.25.<uuid>` (ITU-T X.660; X.690, 8.19).

use std::fmt;

use der::asn1::ObjectIdentifier;
use num_bigint::BigUint;

/// Longest identifier that is read from text or shown in full, in octets of content.
const OCTETS_MAX: usize = 128;

/// An object identifier: the content octets of its DER.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(Vec<u8>);

impl Oid {
    /// Reads dotted decimal: no leading zeros, at least two arcs. `None` for any other text, and for
    /// more than 128 octets of content.
    pub fn parse(text: &str) -> Option<Self> {
        let mut arcs = text.split('.').map(arc);
        let (root, second) = (arcs.next()??, arcs.next()??);
        let forty = BigUint::from(40_u8);
        let root = u8::try_from(root).ok().filter(|root| *root <= 2)?;
        if root < 2 && second >= forty {
            return None;
        }
        let mut octets = Vec::new();
        push_arc(&mut octets, &(forty * root + second));
        for arc in arcs {
            push_arc(&mut octets, &arc?);
            if octets.len() > OCTETS_MAX {
                return None;
            }
        }
        (octets.len() <= OCTETS_MAX).then_some(Self(octets))
    }

    /// The content octets of the DER.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }

    /// Borrowed.
    pub fn as_ref(&self) -> OidRef<'_> {
        OidRef(&self.0)
    }
}

/// A decimal number without leading zeros.
fn arc(text: &str) -> Option<BigUint> {
    let is_written_so = text == "0" || !text.starts_with('0');
    let is_short = !text.is_empty() && text.len() <= 3 * OCTETS_MAX;
    (is_written_so && is_short && text.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| BigUint::parse_bytes(text.as_bytes(), 10))
        .flatten()
}

/// Base 128, big-endian; all octets but the last have the top bit set.
fn push_arc(octets: &mut Vec<u8>, arc: &BigUint) {
    let mut digits = arc.to_radix_be(128);
    let last = digits.pop().unwrap_or_default();
    octets.extend(digits.into_iter().map(|digit| digit | 0x80));
    octets.push(last);
}

impl From<ObjectIdentifier> for Oid {
    fn from(oid: ObjectIdentifier) -> Self {
        Self(oid.as_bytes().to_vec())
    }
}

impl From<OidRef<'_>> for Oid {
    fn from(oid: OidRef<'_>) -> Self {
        Self(oid.0.to_vec())
    }
}

impl PartialEq<ObjectIdentifier> for Oid {
    fn eq(&self, other: &ObjectIdentifier) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// An object identifier, borrowed from DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OidRef<'a>(&'a [u8]);

impl<'a> OidRef<'a> {
    /// From content octets: at least one arc, each complete and in as few octets as it needs.
    pub fn from_content(content: &'a [u8]) -> Option<Self> {
        let mut starts_arc = true;
        for octet in content {
            if starts_arc && *octet == 0x80 {
                return None;
            }
            starts_arc = octet & 0x80 == 0;
        }
        (!content.is_empty() && starts_arc).then_some(Self(content))
    }

    /// The content octets.
    pub fn as_octets(self) -> &'a [u8] {
        self.0
    }
}

impl PartialEq<ObjectIdentifier> for OidRef<'_> {
    fn eq(&self, other: &ObjectIdentifier) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for OidRef<'_> {
    /// Dotted decimal; the first octets in hexadecimal when there are more than 128.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > OCTETS_MAX {
            f.write_str("#06")?;
            self.0.iter().take(16).try_for_each(|octet| write!(f, "{octet:02x}"))?;
            return f.write_str("...");
        }
        let arcs = self.0.split_inclusive(|octet| octet & 0x80 == 0);
        for (index, octets) in arcs.enumerate() {
            let digits: Vec<u8> = octets.iter().map(|octet| octet & 0x7F).collect();
            let arc = BigUint::from_radix_be(&digits, 128).unwrap_or_default();
            if index > 0 {
                write!(f, ".{arc}")?;
                continue;
            }
            // X.690, 8.19.4: the first two arcs share one number.
            let root = u8::try_from(&arc / 40_u8).map_or(2, |root: u8| root.min(2));
            write!(f, "{root}.{}", arc - 40_u8 * root)?;
        }
        Ok(())
    }
}

impl fmt::Debug for OidRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_of_any_arcs_survives_the_way_through_der() {
        for text in [
            "0.0",
            "0.39",
            "1.0.18013.5.1.2",
            "1.3.6.1.4.1.4294967295",
            "1.3.6.1.4.1.4294967296",
            "1.3.6.1.4.1.18446744073709551616.7",
            "2.5.29.15",
            "2.39",
            "2.40",
            "2.47.1",
            "2.48",
            "2.999.1",
            "2.4294967296",
            "2.25.329800735698586629295641978511506172918",
        ] {
            let oid = Oid::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(oid.to_string(), text);
            let again = OidRef::from_content(oid.as_octets()).unwrap();
            assert_eq!(Oid::from(again), oid);
            if let Ok(theirs) = text.parse::<ObjectIdentifier>() {
                assert_eq!(oid, theirs, "{text}");
            }
        }
        // X.690, 8.19.5.
        assert_eq!(Oid::parse("2.999.3").unwrap().as_octets(), [0x88, 0x37, 0x03]);
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        let long = format!("1.3{}", ".4294967295".repeat(40));
        let huge = format!("2.{}", "9".repeat(2_000));
        for text in [
            "", ".", "1", "2", "1.", ".1", "1..2", "3.1", "0.40", "1.40", "1.03", "01.3", "1.3.-1",
            "1.3.+1", "1.3. 1", "1.3.a", "1.3.٣", "1.3.1.", &long, &huge,
        ] {
            assert_eq!(Oid::parse(text), None, "{text}");
        }
        for octets in [&[][..], &[0x80], &[0x2A, 0x80, 0x01], &[0x2A, 0x81], &[0x80, 0x01]] {
            assert_eq!(OidRef::from_content(octets), None, "{octets:02x?}");
        }
        assert!(OidRef::from_content(&[0x2A; 60_000]).unwrap().to_string().len() < 64);
    }
}
