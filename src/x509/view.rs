//! Zero-copy views of certificates and requests. They check structure, not content.

pub(super) mod value;

use std::collections::BTreeSet;

use der::asn1::ObjectIdentifier;

use super::{
    X509Error,
    element::{
        BIT_STRING, BOOLEAN, Element, Fields, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER,
        OCTET_STRING, SEQUENCE, UTC_TIME, context_constructed, context_primitive,
    },
};
use crate::domain::{oid::OidRef, time::Timestamp};

/// Something signed: a certificate (RFC 5280, 4.1.1) or a certification request (RFC 2986, 4.2).
pub(super) struct Signed<'a> {
    /// The octets that are signed.
    pub(super) tbs: Element<'a>,
    /// `AlgorithmIdentifier`, all its octets.
    pub(super) algorithm: &'a [u8],
    /// Without the count of unused bits, which is 0.
    pub(super) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Splits it into its three parts, without reading them.
    pub(super) fn read(of: &'static str, der: &'a [u8]) -> Result<Self, X509Error> {
        let element = Element::known(der).ok_or(X509Error::Malformed(of))?;
        let mut fields = Fields::of(of, element)?;
        let tbs = fields.take(SEQUENCE)?;
        let algorithm = fields.take(SEQUENCE)?.der;
        let signature = match fields.take(BIT_STRING)?.content {
            [0, signature @ ..] => signature,
            _ => return Err(X509Error::Malformed("signature")),
        };
        fields.end()?;
        Ok(Self { tbs, algorithm, signature })
    }
}

/// The parts of a `TBSCertificate` (RFC 5280, 4.1.2). The nesting of each is checked, the values
/// are not interpreted.
pub(super) struct TbsParts<'a> {
    version: Option<Element<'a>>,
    serial: Element<'a>,
    algorithm: Element<'a>,
    issuer: Element<'a>,
    validity: Element<'a>,
    subject: Element<'a>,
    /// `SubjectPublicKeyInfo`.
    pub(super) spki: Element<'a>,
    has_unique_ids: bool,
    extensions: Option<Element<'a>>,
}

impl<'a> TbsParts<'a> {
    /// Splits a `TBSCertificate` into its parts.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] names the part with a broken structure.
    pub(super) fn read(tbs: Element<'a>) -> Result<Self, X509Error> {
        let mut fields = Fields::of("certificate", tbs)?;
        let version = fields.take_if(context_constructed(0));
        let serial = fields.take(INTEGER)?;
        let algorithm = fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let validity = fields.take(SEQUENCE)?;
        let subject = fields.take(SEQUENCE)?;
        let spki = fields.take(SEQUENCE)?;
        let issuer_unique_id = fields.take_if(context_primitive(1));
        let subject_unique_id = fields.take_if(context_primitive(2));
        let extensions = fields.take_if(context_constructed(3));
        fields.end()?;
        let has_unique_ids = issuer_unique_id.is_some() || subject_unique_id.is_some();
        let parts = Self {
            version,
            serial,
            algorithm,
            issuer,
            validity,
            subject,
            spki,
            has_unique_ids,
            extensions,
        };
        let broken = parts.named().find(|(_, part)| Element::structured(part.der).is_none());
        if let Some((name, _)) = broken {
            return Err(X509Error::Malformed(name));
        }
        Ok(parts)
    }

    /// The first part that is not DER (X.690, clause 10).
    pub(super) fn first_not_der(&self) -> Option<&'static str> {
        let mut parts = self.named();
        parts.find(|(_, part)| Element::strict(part.der).is_none()).map(|(name, _)| name)
    }

    /// Whether all parts except the issuer's name are DER.
    pub(super) fn is_der_but_for_issuer(&self) -> bool {
        !self.has_unique_ids
            && self
                .named()
                .all(|(name, part)| name == "issuer" || Element::strict(part.der).is_some())
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, Element<'a>)> + use<'a> {
        [
            self.version.map(|version| ("version", version)),
            Some(("serial number", self.serial)),
            Some(("signature algorithm", self.algorithm)),
            Some(("subject", self.subject)),
            Some(("issuer", self.issuer)),
            Some(("validity", self.validity)),
            Some(("public key", self.spki)),
            self.extensions.map(|extensions| ("extensions", extensions)),
        ]
        .into_iter()
        .flatten()
    }
}

/// `TBSCertificate` (RFC 5280, 4.1.2).
pub(super) struct TbsView<'a> {
    /// 0 for v1, 2 for v3.
    pub(super) version: u8,
    /// The content octets of the INTEGER.
    pub(super) serial: &'a [u8],
    /// `AlgorithmIdentifier`, all its octets.
    pub(super) algorithm: &'a [u8],
    /// `Name`, all its octets.
    pub(super) issuer: &'a [u8],
    pub(super) not_before: TimeView,
    pub(super) not_after: TimeView,
    /// `Name`, all its octets.
    pub(super) subject: &'a [u8],
    /// `SubjectPublicKeyInfo`, all its octets.
    pub(super) spki: &'a [u8],
    /// Whether issuerUniqueID or subjectUniqueID is there.
    pub(super) has_unique_ids: bool,
    /// In the order of the encoding.
    pub(super) extensions: Vec<ExtensionView<'a>>,
    /// The part that encodes a DEFAULT value, if any; DER leaves those out (X.690, 11.5).
    pub(super) default_written: Option<&'static str>,
}

/// A time, and its ASN.1 type.
#[derive(Clone, Copy)]
pub(super) struct TimeView {
    pub(super) is_utc_time: bool,
    pub(super) moment: Timestamp,
}

/// `Extension` (RFC 5280, 4.1.2.9).
#[derive(Clone, Copy)]
pub(super) struct ExtensionView<'a> {
    pub(super) oid: OidRef<'a>,
    pub(super) critical: bool,
    /// Whether `critical FALSE` is written out.
    pub(super) default_written: bool,
    /// Content of extnValue.
    pub(super) value: &'a [u8],
}

impl<'a> TbsView<'a> {
    pub(super) fn read(tbs: Element<'a>) -> Result<Self, X509Error> {
        let parts = TbsParts::read(tbs)?;
        let version = match parts.version.map(|version| version.content) {
            None => 0,
            Some(&[INTEGER, 1, version @ 0..=2]) => version,
            Some(_) => return Err(X509Error::Malformed("version")),
        };
        let (not_before, not_after) = validity(parts.validity)?;
        let extensions = parts.extensions.map(extensions).transpose()?.unwrap_or_default();
        let default_written = match version {
            0 if parts.version.is_some() => Some("version"),
            _ => extensions.iter().any(|found| found.default_written).then_some("extensions"),
        };
        Ok(Self {
            version,
            serial: parts.serial.content,
            algorithm: parts.algorithm.der,
            issuer: parts.issuer.der,
            not_before,
            not_after,
            subject: parts.subject.der,
            spki: parts.spki.der,
            has_unique_ids: parts.has_unique_ids,
            extensions,
            default_written,
        })
    }

    /// The first repeated extension, if any (RFC 5280, 4.2 forbids them).
    pub(super) fn repeated_extension(&self) -> Option<&ExtensionView<'a>> {
        let mut seen = BTreeSet::new();
        self.extensions.iter().find(|extension| !seen.insert(&extension.oid))
    }

    /// The extension, when it is there.
    pub(super) fn extension(&self, oid: ObjectIdentifier) -> Option<ExtensionView<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid).copied()
    }
}

fn validity(element: Element<'_>) -> Result<(TimeView, TimeView), X509Error> {
    match element.children_exactly() {
        Some([not_before, not_after]) => Ok((time(&not_before)?, time(&not_after)?)),
        None => Err(X509Error::Malformed("validity")),
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`: seconds always, no fraction, no offset (RFC 5280, 4.1.2.5).
fn time(element: &Element<'_>) -> Result<TimeView, X509Error> {
    let malformed = || X509Error::Malformed("validity");
    let digits = element
        .content
        .strip_suffix(b"Z")
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))
        .ok_or_else(malformed)?;
    let (century, digits): (&[u8], _) = match (element.tag, digits.len()) {
        (UTC_TIME, 12) if digits < b"50".as_slice() => (b"20", digits),
        (UTC_TIME, 12) => (b"19", digits),
        (GENERALIZED_TIME, 14) => digits.split_at(2),
        _ => return Err(malformed()),
    };
    let mut all = [0; 14];
    all[..2].copy_from_slice(century);
    all[2..].copy_from_slice(digits);
    // RFC 5280 has no leap seconds, and Timestamp would read one as the second before.
    if all.ends_with(b"60") {
        return Err(malformed());
    }
    let moment = Timestamp::from_digits(all).map_err(|_| malformed())?;
    Ok(TimeView { is_utc_time: element.tag == UTC_TIME, moment })
}

/// The content of `[3]`: one SEQUENCE, which is not empty.
fn extensions(wrapper: Element<'_>) -> Result<Vec<ExtensionView<'_>>, X509Error> {
    match wrapper.children_exactly() {
        Some([list]) if list.tag == SEQUENCE => extension_list(list),
        _ => Err(X509Error::Malformed("extensions")),
    }
}

/// Initial capacity, enough for most certificates.
const EXTENSIONS_EXPECTED: usize = 8;

/// `Extensions`, SIZE (1..MAX).
pub(super) fn extension_list(list: Element<'_>) -> Result<Vec<ExtensionView<'_>>, X509Error> {
    const MALFORMED: X509Error = X509Error::Malformed("extensions");
    if list.content.is_empty() {
        return Err(MALFORMED);
    }
    let mut extensions = Vec::with_capacity(EXTENSIONS_EXPECTED);
    for child in list.each() {
        extensions.push(extension(child.ok_or(MALFORMED)?)?);
    }
    Ok(extensions)
}

fn extension(element: Element<'_>) -> Result<ExtensionView<'_>, X509Error> {
    let mut fields = Fields::of("extensions", element)?;
    let oid = fields.take(OBJECT_IDENTIFIER)?.as_oid().ok_or(X509Error::Malformed("extensions"))?;
    // TRUE is FF in DER, anything but 0 in BER (X.690, 8.2.2 and 11.1).
    let (critical, default_written) = match fields.take_if(BOOLEAN).map(|found| found.content) {
        None => (false, false),
        Some([0]) => (false, true),
        Some([_]) => (true, false),
        Some(_) => return Err(X509Error::Malformed("extensions")),
    };
    let value = fields.take(OCTET_STRING)?.content;
    fields.end()?;
    Ok(ExtensionView { oid, critical, default_written, value })
}
