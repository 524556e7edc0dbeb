//! Parsers of the values of extensions that the profiles know.

use crate::{
    domain::{oid::OidRef, request::KeyUsage},
    x509::{
        X509Error,
        element::{
            BIT_STRING, BOOLEAN, Element, Fields, INTEGER, OCTET_STRING, SEQUENCE,
            context_constructed, context_primitive,
        },
    },
};

/// RFC 5280, 4.2.1.9: `None` for an end entity, the path length inside for a CA. A length above 255
/// is read as 255.
pub(in crate::x509) fn basic_constraints(value: &[u8]) -> Result<Option<Option<u8>>, X509Error> {
    let mut fields = Fields::of("basicConstraints", strict("basicConstraints", value)?)?;
    let ca = fields.take_if(BOOLEAN).map(|ca| ca.content);
    let length = fields.take_if(INTEGER).map(|length| length.content);
    fields.end()?;
    match (ca, length) {
        (None, None) => Ok(None),
        (Some([0xFF]), None) => Ok(Some(None)),
        (Some([0xFF]), Some([first, ..])) if first & 0x80 != 0 => malformed("basicConstraints"),
        (Some([0xFF]), Some([length] | [0, length])) => Ok(Some(Some(*length))),
        (Some([0xFF]), Some(_)) => Ok(Some(Some(u8::MAX))),
        // DER leaves DEFAULT FALSE out, and a length needs a CA.
        _ => malformed("basicConstraints"),
    }
}

/// The lenient form for foreign certificates: TRUE is anything but 0, FALSE may be encoded, and a
/// length without a CA is ignored.
pub(in crate::x509) fn foreign_basic_constraints(
    value: &[u8],
) -> Result<Option<Option<u8>>, X509Error> {
    const OF: &str = "basicConstraints";
    let element = Element::structured(value).ok_or(X509Error::Malformed(OF))?;
    let mut fields = Fields::of(OF, element)?;
    let is_ca = match fields.take_if(BOOLEAN).map(|ca| ca.content) {
        None | Some([0]) => false,
        Some([_]) => true,
        Some(_) => return malformed(OF),
    };
    let length = match fields.take_if(INTEGER).map(|length| length.content) {
        None => None,
        Some([] | [0x80..=0xFF, ..]) => return malformed(OF),
        Some([length] | [0, length]) => Some(*length),
        Some(_) => Some(u8::MAX),
    };
    fields.end()?;
    Ok(is_ca.then_some(length))
}

/// RFC 5280, 4.2.1.3, in the lenient form for foreign certificates: trailing zeros and unnamed bits
/// are ignored.
pub(in crate::x509) fn foreign_key_usage(value: &[u8]) -> Result<Vec<KeyUsage>, X509Error> {
    const OF: &str = "keyUsage";
    let element = Element::structured(value).filter(|element| element.tag == BIT_STRING);
    match element.map(|element| element.content) {
        Some([0..=7, bits @ ..]) => Ok(usages(bits)),
        Some(_) | None => malformed(OF),
    }
}

/// The bits that are set.
fn usages(bits: &[u8]) -> Vec<KeyUsage> {
    let is_set = |position: usize| {
        bits.get(position / 8).is_some_and(|octet| octet & (0x80 >> (position % 8)) != 0)
    };
    let all = KeyUsage::ALL.into_iter().enumerate();
    all.filter_map(|(position, usage)| is_set(position).then_some(usage)).collect()
}

/// RFC 5280, 4.2.1.3: a named bit list, at least one bit, no trailing zero bits (X.690, 11.2.2).
pub(in crate::x509) fn key_usage(value: &[u8]) -> Result<Vec<KeyUsage>, X509Error> {
    let element = strict("keyUsage", value)?;
    let (unused, bits) = match element.content {
        [unused, bits @ ..] if element.tag == BIT_STRING && (1..=2).contains(&bits.len()) => {
            (*unused, bits)
        }
        _ => return malformed("keyUsage"),
    };
    let is_set = |position: usize| {
        bits.get(position / 8).is_some_and(|octet| octet & (0x80 >> (position % 8)) != 0)
    };
    // The last encoded bit must be set, and must be a named one.
    let last = bits.len() * 8 - 1 - usize::from(unused);
    if last >= KeyUsage::ALL.len() || !is_set(last) {
        return malformed("keyUsage");
    }
    Ok(usages(bits))
}

/// RFC 5280, 4.2.1.2.
pub(in crate::x509) fn subject_key_id(value: &[u8]) -> Result<&[u8], X509Error> {
    let element = strict("subjectKeyIdentifier", value)?;
    if element.tag == OCTET_STRING && !element.content.is_empty() {
        Ok(element.content)
    } else {
        malformed("subjectKeyIdentifier")
    }
}

/// RFC 5280, 4.2.1.1.
pub(in crate::x509) struct AuthorityKeyId<'a> {
    pub(in crate::x509) key_id: Option<&'a [u8]>,
    /// authorityCertIssuer.
    pub(in crate::x509) issuer: Option<Element<'a>>,
    /// authorityCertSerialNumber.
    pub(in crate::x509) serial: Option<Element<'a>>,
}

impl AuthorityKeyId<'_> {
    /// Whether authorityCertIssuer or authorityCertSerialNumber is there.
    pub(in crate::x509) fn has_issuer_and_serial(&self) -> bool {
        self.issuer.is_some() || self.serial.is_some()
    }
}

/// RFC 5280, 4.2.1.1.
pub(in crate::x509) fn authority_key_id(value: &[u8]) -> Result<AuthorityKeyId<'_>, X509Error> {
    let mut fields =
        Fields::of("authorityKeyIdentifier", strict("authorityKeyIdentifier", value)?)?;
    let key_id = fields.take_if(context_primitive(0)).map(|key_id| key_id.content);
    let issuer = fields.take_if(context_constructed(1));
    let serial = fields.take_if(context_primitive(2));
    fields.end()?;
    Ok(AuthorityKeyId { key_id, issuer, serial })
}

/// RFC 5280, 4.2.1.12: at least one.
pub(in crate::x509) fn extended_key_usage(value: &[u8]) -> Result<Vec<OidRef<'_>>, X509Error> {
    let children = sequence("extKeyUsage", value)?;
    children.iter().map(|child| child.as_oid().ok_or(X509Error::Malformed("extKeyUsage"))).collect()
}

/// `GeneralName` (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::x509) enum GeneralNameView<'a> {
    Email(&'a str),
    Dns(&'a str),
    Uri(&'a str),
    Ip(&'a [u8]),
    /// The content of directoryName, which should be a `Name`.
    Directory(Element<'a>),
    /// `None` when it is no object identifier.
    RegisteredId(Option<OidRef<'a>>),
    /// `OtherName`, which should be a type and a value.
    OtherName(Element<'a>),
    /// x400Address or ediPartyName.
    Other,
}

impl<'a> GeneralNameView<'a> {
    /// The rfc822Name that this is.
    pub(in crate::x509) fn email(&self) -> Option<&'a str> {
        if let Self::Email(text) = self { Some(text) } else { None }
    }

    /// The uniformResourceIdentifier that this is.
    pub(in crate::x509) fn uri(&self) -> Option<&'a str> {
        if let Self::Uri(text) = self { Some(text) } else { None }
    }
}

/// `GeneralNames`: at least one.
pub(in crate::x509) fn general_names<'a>(
    of: &'static str,
    value: &'a [u8],
) -> Result<Vec<GeneralNameView<'a>>, X509Error> {
    sequence(of, value)?.iter().map(|name| general_name(of, name)).collect()
}

/// A `DistributionPoint` (RFC 5280, 4.2.1.13).
pub(in crate::x509) struct DistributionPointView<'a> {
    pub(in crate::x509) full_name: Vec<GeneralNameView<'a>>,
    /// Whether reasons or cRLIssuer is there.
    pub(in crate::x509) is_partial: bool,
    /// Whether the name is relative to the issuer's.
    pub(in crate::x509) is_relative: bool,
}

/// RFC 5280, 4.2.1.13: at least one.
pub(in crate::x509) fn crl_distribution_points(
    value: &[u8],
) -> Result<Vec<DistributionPointView<'_>>, X509Error> {
    const OF: &str = "cRLDistributionPoints";
    sequence(OF, value)?.into_iter().map(|point| distribution_point(OF, point)).collect()
}

fn distribution_point<'a>(
    of: &'static str,
    point: Element<'a>,
) -> Result<DistributionPointView<'a>, X509Error> {
    let mut fields = Fields::of(of, point)?;
    let name = fields.take_if(context_constructed(0));
    let reasons = fields.take_if(context_primitive(1));
    let crl_issuer = fields.take_if(context_constructed(2));
    fields.end()?;
    let (mut full_name, mut is_relative) = (Vec::new(), false);
    match name {
        Some(name) => {
            let [choice] = name.children_exactly().ok_or(X509Error::Malformed(of))?;
            is_relative = choice.tag == context_constructed(1);
            let names = choice.children().filter(|names| !names.is_empty());
            match choice.tag {
                0xA0 => {
                    for name in names.ok_or(X509Error::Malformed(of))? {
                        full_name.push(general_name(of, &name)?);
                    }
                }
                0xA1 => {}
                _ => return malformed(of),
            }
        }
        // RFC 5280, 4.2.1.13: neither empty nor reasons alone.
        None if crl_issuer.is_none() => return malformed(of),
        None => {}
    }
    let is_partial = reasons.is_some() || crl_issuer.is_some();
    Ok(DistributionPointView { full_name, is_partial, is_relative })
}

fn general_name<'a>(
    of: &'static str,
    name: &Element<'a>,
) -> Result<GeneralNameView<'a>, X509Error> {
    let content = name.content;
    // IA5String.
    let text = || match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() && !text.is_empty() => Ok(text),
        _ => malformed(of),
    };
    match name.tag {
        0x81 => text().map(GeneralNameView::Email),
        0x82 => text().map(GeneralNameView::Dns),
        0x86 => text().map(GeneralNameView::Uri),
        0x87 => Ok(GeneralNameView::Ip(content)),
        0xA4 => match name.children_exactly() {
            Some([name]) => Ok(GeneralNameView::Directory(name)),
            None => malformed(of),
        },
        0x88 => Ok(GeneralNameView::RegisteredId(OidRef::from_content(content))),
        0xA0 => Ok(GeneralNameView::OtherName(*name)),
        0xA3 | 0xA5 => Ok(GeneralNameView::Other),
        _ => malformed(of),
    }
}

/// The children of a SEQUENCE that is not empty.
fn sequence<'a>(of: &'static str, value: &'a [u8]) -> Result<Vec<Element<'a>>, X509Error> {
    strict(of, value)?
        .children()
        .filter(|children| !children.is_empty() && value.first() == Some(&SEQUENCE))
        .ok_or(X509Error::Malformed(of))
}

fn strict<'a>(of: &'static str, value: &'a [u8]) -> Result<Element<'a>, X509Error> {
    Element::strict(value).ok_or(X509Error::Malformed(of))
}

fn malformed<T>(of: &'static str) -> Result<T, X509Error> {
    Err(X509Error::Malformed(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_usage_has_no_trailing_zero_bits_and_no_unnamed_bits() {
        assert_eq!(key_usage(b"\x03\x02\x07\x80").unwrap(), [KeyUsage::DigitalSignature]);
        assert_eq!(
            key_usage(b"\x03\x02\x01\x06").unwrap(),
            [KeyUsage::KeyCertSign, KeyUsage::CrlSign]
        );
        assert_eq!(
            key_usage(b"\x03\x03\x07\x08\x80").unwrap(),
            [KeyUsage::KeyAgreement, KeyUsage::DecipherOnly]
        );
        for bad in [
            &b"\x03\x02\x00\x80"[..],
            b"\x03\x02\x06\x80",
            b"\x03\x01\x00",
            b"\x03\x02\x00\x00",
            b"\x03\x03\x06\x00\x40",
            b"\x03\x03\x07\x80\x00",
            b"\x04\x02\x07\x80",
        ] {
            assert!(key_usage(bad).is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn basic_constraints_leave_defaults_out() {
        assert_eq!(basic_constraints(b"\x30\x00"), Ok(None));
        assert_eq!(basic_constraints(b"\x30\x03\x01\x01\xff"), Ok(Some(None)));
        assert_eq!(basic_constraints(b"\x30\x06\x01\x01\xff\x02\x01\x00"), Ok(Some(Some(0))));
        assert_eq!(basic_constraints(b"\x30\x07\x01\x01\xff\x02\x02\x00\xc8"), Ok(Some(Some(200))));
        assert_eq!(basic_constraints(b"\x30\x07\x01\x01\xff\x02\x02\x01\x00"), Ok(Some(Some(255))));
        for bad in [
            &b"\x30\x03\x01\x01\x00"[..],
            b"\x30\x03\x02\x01\x00",
            b"\x30\x06\x01\x01\xff\x02\x01\xff",
            b"\x30\x06\x01\x01\xff\x01\x01\xff",
        ] {
            assert!(basic_constraints(bad).is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn what_others_made_is_read_as_everybody_reads_it() {
        use KeyUsage::{CrlSign, DigitalSignature, KeyCertSign};
        for (value, usages) in [
            (&b"\x03\x03\x07\x06\x00"[..], &[KeyCertSign, CrlSign][..]),
            (b"\x03\x02\x00\x80", &[DigitalSignature]),
            (b"\x03\x02\x01\x06", &[KeyCertSign, CrlSign]),
            (b"\x03\x05\x00\x04\x00\x00\x01", &[KeyCertSign]),
            (b"\x03\x01\x00", &[]),
        ] {
            assert_eq!(foreign_key_usage(value).unwrap(), usages, "{value:02x?}");
        }
        for bad in
            [&b"\x03\x00"[..], b"\x03\x02\x08\x06", b"\x04\x02\x00\x06", b"\x03\x03\x00\x06", b""]
        {
            assert!(foreign_key_usage(bad).is_err(), "{bad:02x?}");
        }
        for (value, ca) in [
            (&b"\x30\x03\x01\x01\x01"[..], Some(None)),
            (b"\x30\x06\x01\x01\x01\x02\x01\x03", Some(Some(3))),
            (b"\x30\x03\x01\x01\x00", None),
            (b"\x30\x06\x01\x01\x00\x02\x01\x00", None),
            (b"\x30\x00", None),
        ] {
            assert_eq!(foreign_basic_constraints(value), Ok(ca), "{value:02x?}");
        }
        for bad in [
            &b"\x30\x06\x01\x01\xff\x02\x01\xff"[..],
            b"\x30\x02\x01\x00",
            b"\x30",
            b"\x01\x01\xff",
        ] {
            assert!(foreign_basic_constraints(bad).is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn lists_are_not_empty() {
        assert!(extended_key_usage(b"\x30\x00").is_err());
        assert!(general_names("x", b"\x30\x00").is_err());
        assert!(crl_distribution_points(b"\x30\x00").is_err());
    }
}
