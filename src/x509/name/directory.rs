//! Distinguished names in the form that name constraints compare: RDN by RDN (RFC 5280, 7.1).

use super::{Attribute, NameView};
use crate::x509::element::{Element, IA5_STRING, PRINTABLE_STRING, UTF8_STRING};

/// A `Name`, each RDN normalised in two ways for comparison.
#[derive(Debug)]
pub(in crate::x509) struct DirectoryName(Vec<Rdn>);

#[derive(Debug)]
struct Rdn {
    /// ASCII letters in lower case, blanks folded. Names that are equal so are equal for every
    /// reader.
    narrow: Vec<Vec<u8>>,
    /// All letters in lower case. Names that differ so are different for every reader.
    wide: Vec<Vec<u8>>,
}

impl DirectoryName {
    pub(in crate::x509) fn of(name: &NameView<'_>) -> Self {
        let rdns = name.attributes().chunk_by(|_, next| !next.starts_rdn);
        let rdn = |attributes: &[Attribute<'_>]| {
            let folded = |fold: fn(&str) -> String| {
                let mut all: Vec<_> =
                    attributes.iter().map(|attribute| comparable(attribute, fold)).collect();
                all.sort_unstable();
                all
            };
            Rdn { narrow: folded(str::to_ascii_lowercase), wide: folded(str::to_lowercase) }
        };
        Self(rdns.map(rdn).collect())
    }

    /// Whether every reader considers `base` a prefix.
    pub(in crate::x509) fn is_below(&self, base: &Self) -> bool {
        self.begins_with(base, |rdn| &rdn.narrow)
    }

    /// Whether some reader may consider `base` a prefix.
    pub(in crate::x509) fn may_be_below(&self, base: &Self) -> bool {
        self.begins_with(base, |rdn| &rdn.wide)
    }

    /// Whether some reader may consider both equal.
    pub(in crate::x509) fn may_equal(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.may_be_below(other)
    }

    fn begins_with(&self, base: &Self, form: fn(&Rdn) -> &Vec<Vec<u8>>) -> bool {
        base.0.len() <= self.0.len()
            && base.0.iter().zip(&self.0).all(|(base, own)| form(base) == form(own))
    }
}

/// Type and value of an attribute; the octets of a value that is not text.
fn comparable(attribute: &Attribute<'_>, fold: fn(&str) -> String) -> Vec<u8> {
    let mut octets = attribute.kind.as_octets().to_vec();
    octets.push(0);
    match text(&attribute.value) {
        Some(text) => {
            let words: Vec<_> = text.split_ascii_whitespace().collect();
            octets.extend_from_slice(fold(&words.join(" ")).as_bytes());
        }
        None => octets.extend_from_slice(attribute.value.der),
    }
    octets
}

const TELETEX_STRING: u8 = 0x14;
const VISIBLE_STRING: u8 = 0x1A;
const UNIVERSAL_STRING: u8 = 0x1C;
const BMP_STRING: u8 = 0x1E;

/// The text of a string of any type.
fn text(value: &Element<'_>) -> Option<String> {
    let content = value.content;
    match value.tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => {
            std::str::from_utf8(content).ok().map(str::to_owned)
        }
        TELETEX_STRING => Some(content.iter().map(|octet| char::from(*octet)).collect()),
        BMP_STRING => {
            let units: Vec<u16> = content
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |sum, b| sum << 8 | u16::from(*b)))
                .collect();
            String::from_utf16(&units).ok()
        }
        UNIVERSAL_STRING => content
            .chunks(4)
            .map(|four| char::from_u32(four.iter().fold(0, |sum, b| sum << 8 | u32::from(*b))))
            .collect(),
        _ => None,
    }
}
