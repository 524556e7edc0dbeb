//! Distinguished names as exact octets.
//!
//! An issuer name is copied from the issuer's certificate and compared octet by octet (ISO/IEC
//! 18013-5 B.1.1), because decoding and encoding it again could change its string types.

mod directory;

use std::fmt;

use der::{Tag, asn1::ObjectIdentifier};
pub(super) use directory::DirectoryName;

use super::{
    X509Error,
    element::{Element, IA5_STRING, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING},
    encoding, oid,
};
use crate::domain::{
    client_name::ComparableName,
    name::{AttributeText, DistinguishedName},
    oid::OidRef,
    text::is_readable,
};

/// A DER `Name` (RFC 5280, 4.1.2.4) kept as exact octets.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedName(Vec<u8>);

/// Initial capacity, enough for most names.
const OCTETS_EXPECTED: usize = 256;

impl EncodedName {
    /// C, CN, ST, O, L, OU in this order, one attribute per RDN; C as PrintableString, the others
    /// as UTF8String.
    ///
    /// # Errors
    /// [`X509Error::Encoding`], only for values that their types should have refused.
    pub fn encode(name: &DistinguishedName) -> Result<Self, X509Error> {
        let country = name.country.as_ref();
        let values = [
            (oid::COUNTRY, country.map(|country| (Tag::PrintableString, country.as_str()))),
            (oid::COMMON_NAME, Some(utf8(&name.common_name))),
            (oid::STATE_OR_PROVINCE, name.state_or_province.as_ref().map(utf8)),
            (oid::ORGANIZATION, name.organization.as_ref().map(utf8)),
            (oid::LOCALITY, name.locality.as_ref().map(utf8)),
            (oid::ORGANIZATIONAL_UNIT, name.organizational_unit.as_ref().map(utf8)),
        ];
        let mut rdns = Vec::with_capacity(OCTETS_EXPECTED);
        let (mut content, mut attribute) = (Vec::with_capacity(64), Vec::with_capacity(64));
        for (kind, value) in values {
            let Some((tag, text)) = value else { continue };
            content.clear();
            encoding::push(&mut content, Tag::ObjectIdentifier, &[kind.as_bytes()])?;
            encoding::push(&mut content, tag, &[text.as_bytes()])?;
            attribute.clear();
            encoding::push(&mut attribute, Tag::Sequence, &[&content])?;
            encoding::push(&mut rdns, Tag::Set, &[&attribute])?;
        }
        Ok(Self(encoding::sequence(&[&rdns])?))
    }

    /// Takes the octets of a foreign name.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] unless it has the structure of a `Name` with nothing after it. The
    /// strings are not checked.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        NameView::read(der)?;
        Ok(Self(der.to_vec()))
    }

    /// The octets.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// The name in the form that configured names are compared in.
    pub fn comparable(&self) -> ComparableName {
        let view = self.view();
        ComparableName::of(view.0.iter().map(|Attribute { kind, value, starts_rdn }| {
            (*starts_rdn, kind.to_string(), (value.tag, value.content, value.der))
        }))
    }

    /// The decoded values; of an attribute that occurs twice, the first.
    pub fn attributes(&self) -> NameAttributes {
        let view = self.view();
        let value = |kind| view.text(kind).map(str::to_owned);
        NameAttributes {
            country: value(oid::COUNTRY),
            common_name: value(oid::COMMON_NAME),
            state_or_province: value(oid::STATE_OR_PROVINCE),
            organization: value(oid::ORGANIZATION),
            locality: value(oid::LOCALITY),
            organizational_unit: value(oid::ORGANIZATIONAL_UNIT),
        }
    }

    /// The text of RFC 4514, 2.1: the last RDN first, `CN=Acme Licence Root 2026,C=NL`. For people
    /// there is `Display`, which keeps the order.
    pub fn rfc4514(&self) -> String {
        let view = self.view();
        let rdns = view.0.chunk_by(|_, next| !next.starts_rdn).rev().map(|rdn| {
            let attributes: Vec<_> = rdn.iter().map(ToString::to_string).collect();
            attributes.join("+")
        });
        rdns.collect::<Vec<_>>().join(",")
    }

    /// The common name, the first if there are several.
    pub fn common_name(&self) -> Option<String> {
        self.view().text(oid::COMMON_NAME).map(str::to_owned)
    }

    /// Whether some reader may consider both names equal (RFC 5280, 7.1): compares without case,
    /// blanks and string types.
    pub fn may_equal(&self, other: &Self) -> bool {
        self == other
            || DirectoryName::of(&self.view()).may_equal(&DirectoryName::of(&other.view()))
    }

    /// Splits the name into attributes.
    pub(super) fn view(&self) -> NameView<'_> {
        // Both constructors have checked the structure.
        NameView::known(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for EncodedName {
    /// RFC 4514, but in the order of the encoding: `C=NL,CN=Acme Licence Root 2026`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.view().0.iter().enumerate() {
            match (index, attribute.starts_rdn) {
                (0, _) => {}
                (_, true) => f.write_str(",")?,
                (_, false) => f.write_str("+")?,
            }
            attribute.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for EncodedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedName({self})")
    }
}

/// An attribute other than countryName.
fn utf8(text: &AttributeText) -> (Tag, &str) {
    (Tag::Utf8String, text.as_str())
}

/// The attributes that the profiles use; others are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameAttributes {
    /// countryName.
    pub country: Option<String>,
    /// commonName.
    pub common_name: Option<String>,
    /// stateOrProvinceName.
    pub state_or_province: Option<String>,
    /// organizationName.
    pub organization: Option<String>,
    /// localityName.
    pub locality: Option<String>,
    /// organizationalUnitName.
    pub organizational_unit: Option<String>,
}

impl From<&DistinguishedName> for NameAttributes {
    fn from(name: &DistinguishedName) -> Self {
        let text = |value: &Option<AttributeText>| value.as_ref().map(|v| v.as_str().to_owned());
        Self {
            country: name.country.map(|country| country.as_str().to_owned()),
            common_name: Some(name.common_name.as_str().to_owned()),
            state_or_province: text(&name.state_or_province),
            organization: text(&name.organization),
            locality: text(&name.locality),
            organizational_unit: text(&name.organizational_unit),
        }
    }
}

/// The attributes of a `Name`, in the order of the encoding.
#[derive(Default)]
pub(super) struct NameView<'a>(Vec<Attribute<'a>>);

/// One `AttributeTypeAndValue`.
pub(super) struct Attribute<'a> {
    pub(super) kind: OidRef<'a>,
    pub(super) value: Element<'a>,
    /// Whether it is the first of its RDN.
    pub(super) starts_rdn: bool,
}

/// Initial capacity, enough for most names.
const ATTRIBUTES_EXPECTED: usize = 6;

impl<'a> NameView<'a> {
    /// Splits a `Name` with nothing after it, and checks its nesting.
    fn read(der: &'a [u8]) -> Result<Self, X509Error> {
        Element::structured(der).and_then(Self::of).ok_or(X509Error::Malformed("name"))
    }

    /// Splits octets whose nesting was checked before, such as those of a certificate.
    pub(super) fn known(der: &'a [u8]) -> Result<Self, X509Error> {
        Element::known(der).and_then(Self::of).ok_or(X509Error::Malformed("name"))
    }

    /// Splits an element whose nesting was checked before.
    pub(super) fn of(name: Element<'a>) -> Option<Self> {
        if name.tag != SEQUENCE {
            return None;
        }
        let mut attributes = Vec::with_capacity(ATTRIBUTES_EXPECTED);
        for set in name.each() {
            let set = set.filter(|set| set.tag == SET && !set.content.is_empty())?;
            let mut starts_rdn = true;
            for attribute in set.each() {
                let attribute = attribute.filter(|attribute| attribute.tag == SEQUENCE)?;
                let [kind, value] = attribute.children_exactly()?;
                attributes.push(Attribute { kind: kind.as_oid()?, value, starts_rdn });
                starts_rdn = false;
            }
        }
        Some(Self(attributes))
    }

    /// All attributes.
    pub(super) fn attributes(&self) -> &[Attribute<'a>] {
        &self.0
    }

    /// The first of a kind.
    pub(super) fn attribute(&self, kind: ObjectIdentifier) -> Option<&Attribute<'a>> {
        self.0.iter().find(|attribute| attribute.kind == kind)
    }

    /// The text of the first of a kind.
    pub(super) fn text(&self, kind: ObjectIdentifier) -> Option<&'a str> {
        self.attribute(kind)?.text()
    }
}

impl<'a> Attribute<'a> {
    /// The value as text; `None` for obsolete string types.
    pub(super) fn text(&self) -> Option<&'a str> {
        matches!(self.value.tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING)
            .then(|| std::str::from_utf8(self.value.content).ok())
            .flatten()
    }
}

impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (short_name(self.kind), self.text()) {
            (Some(short), Some(text)) => {
                f.write_str(short)?;
                f.write_str("=")?;
                write_escaped(f, text)
            }
            // RFC 4514, 2.4: the octets of the value, when it has no text of its own.
            (short, _) => {
                match short {
                    Some(short) => f.write_str(short)?,
                    None => write!(f, "{}", self.kind)?,
                }
                f.write_str("=#")?;
                self.value.der.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

/// RFC 4514, 3.
fn short_name(kind: OidRef<'_>) -> Option<&'static str> {
    const NAMES: [(ObjectIdentifier, &str); 9] = [
        (oid::COUNTRY, "C"),
        (oid::COMMON_NAME, "CN"),
        (oid::STATE_OR_PROVINCE, "ST"),
        (oid::ORGANIZATION, "O"),
        (oid::LOCALITY, "L"),
        (oid::ORGANIZATIONAL_UNIT, "OU"),
        (ObjectIdentifier::new_unwrap("2.5.4.9"), "STREET"),
        (ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"), "DC"),
        (ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"), "UID"),
    ];
    NAMES.iter().find(|(known, _)| kind == *known).map(|(_, name)| *name)
}

/// Escapes as in RFC 4514, 2.4, and invisible characters too, because the text goes into logs.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    // Text without escapes is written in one piece.
    let mut written = 0;
    for (at, character) in text.char_indices() {
        let after = at + character.len_utf8();
        let is_at_an_end = at == 0 || after == text.len();
        let is_escaped = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            ' ' => is_at_an_end,
            '#' => at == 0,
            _ => false,
        };
        if !is_escaped && is_readable(character) {
            continue;
        }
        f.write_str(&text[written..at])?;
        written = after;
        match is_escaped {
            true => write!(f, "\\{character}")?,
            false => text[at..after].bytes().try_for_each(|octet| write!(f, "\\{octet:02x}"))?,
        }
    }
    f.write_str(&text[written..])
}

#[cfg(test)]
mod tests {
    use der::Encode;

    use super::*;
    use crate::domain::name::{AttributeKind, Country};

    fn named(common_name: &str) -> DistinguishedName {
        DistinguishedName {
            country: Some(Country::parse("NL").unwrap()),
            common_name: AttributeText::parse(AttributeKind::CommonName, common_name).unwrap(),
            state_or_province: AttributeText::parse(AttributeKind::StateOrProvince, "Utrecht").ok(),
            organization: AttributeText::parse(AttributeKind::Organization, "Acme, Inc.").ok(),
            locality: None,
            organizational_unit: None,
        }
    }

    #[test]
    fn a_name_is_written_in_our_order_and_read_back() {
        let encoded = EncodedName::encode(&named("Acme Licence Root 2026")).unwrap();
        assert_eq!(encoded.to_string(), "C=NL,CN=Acme Licence Root 2026,ST=Utrecht,O=Acme\\, Inc.");
        assert_eq!(encoded.rfc4514(), "O=Acme\\, Inc.,ST=Utrecht,CN=Acme Licence Root 2026,C=NL");
        assert_eq!(encoded.attributes(), NameAttributes::from(&named("Acme Licence Root 2026")));
        assert_eq!(EncodedName::from_der(encoded.as_der()).unwrap(), encoded);
        // C: PrintableString; CN: UTF8String.
        assert_eq!(encoded.as_der()[2..13], *b"\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02");
        assert_eq!(encoded.as_der()[15..25], *b"\x31\x1f\x30\x1d\x06\x03\x55\x04\x03\x0c");
    }

    #[test]
    fn what_is_shown_of_a_name_is_read_as_that_name() {
        let element = |tag: Tag, text: &[u8]| encoding::element(tag, &[text]).unwrap();
        for value in [
            element(Tag::Utf8String, b"a+b;c<d>\"\\, =#"),
            element(Tag::Utf8String, b"#x "),
            element(Tag::Utf8String, b" "),
            element(Tag::Utf8String, b""),
            element(Tag::Utf8String, "a\0\nÜ\u{202e}".as_bytes()),
            element(Tag::PrintableString, b"plain"),
            element(Tag::Ia5String, b"plain@example"),
            element(Tag::BmpString, b"\0a"),
            element(Tag::TeletexString, b"abc"),
        ] {
            for kind in ["2.5.4.3", "2.5.4.5", "1.2.840.113549.1.9.1", "2.5.4.97"] {
                let kind = ObjectIdentifier::new_unwrap(kind).to_der().unwrap();
                let ava = encoding::sequence(&[&kind, &value]).unwrap();
                let rdn = encoding::element(Tag::Set, &[&ava]).unwrap();
                let name = encoding::sequence(&[&rdn, &rdn]).unwrap();
                let name = EncodedName::from_der(&name).unwrap();
                let read = ComparableName::parse(&name.to_string());
                assert_eq!(read, Ok(name.comparable()), "{name}");
            }
        }
    }

    #[test]
    fn special_characters_are_escaped_in_text() {
        let shown = |text: &str| {
            let value = encoding::element(Tag::Utf8String, &[text.as_bytes()]).unwrap();
            let ava = encoding::sequence(&[&oid::COMMON_NAME.to_der().unwrap(), &value]).unwrap();
            let rdn = encoding::element(Tag::Set, &[&ava]).unwrap();
            EncodedName::from_der(&encoding::sequence(&[&rdn]).unwrap()).unwrap().to_string()
        };
        assert_eq!(shown("a+b;c<d>\"\\"), "CN=a\\+b\\;c\\<d\\>\\\"\\\\");
        assert_eq!(shown("#x "), "CN=\\#x\\ ");
        assert_eq!(shown("a\0\nb"), "CN=a\\00\\0ab");
        assert_eq!(shown("Ünïcode"), "CN=Ünïcode");
        assert_eq!(shown("a\u{202E}b"), "CN=a\\e2\\80\\aeb");
        assert_eq!(shown("e\u{301}"), "CN=e\u{301}");
    }

    #[test]
    fn unknown_attributes_and_old_string_types_are_shown_as_octets() {
        // serialNumber 2.5.4.5 = PrintableString "7"; CN = BMPString "a".
        let der = b"\x30\x1a\x31\x0a\x30\x08\x06\x03\x55\x04\x05\x13\x01\x37\
                    \x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x1e\x03\x00\x61\x00";
        let name = EncodedName::from_der(der).unwrap();
        assert_eq!(name.to_string(), "2.5.4.5=#130137,CN=#1e03006100");
        assert_eq!(name.attributes(), NameAttributes::default());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            &b""[..],
            b"\x31\x00",
            b"\x30\x02\x31\x00",
            b"\x30\x02\x30\x00",
            b"\x30\x04\x31\x02\x30\x00",
            b"\x30\x00\x00",
        ] {
            assert!(EncodedName::from_der(bad).is_err(), "{bad:02x?}");
        }
        assert!(EncodedName::from_der(b"\x30\x00").unwrap().to_string().is_empty());
    }
}
