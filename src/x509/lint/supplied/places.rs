//! Rules for general names in IACAs that others issued: contact, CRL distribution points, and
//! others.

use super::super::{Specimen, Verdict, require};
use super::names;
use crate::{
    domain::alternative_name::{AbsoluteUri, DnsName, EmailAddress, HttpUrl},
    x509::{
        element::Element,
        name::NameView,
        oid,
        view::value::{self, DistributionPointView, GeneralNameView},
    },
};

/// Each name has the form of its type (RFC 5280, 4.2.1.6).
pub(super) fn general_name(part: &str, name: &GeneralNameView<'_>) -> Verdict {
    let wrong = |what: &str| Err(format!("{part}: {what}"));
    match name {
        GeneralNameView::Uri(text) => AbsoluteUri::parse(text)
            .map(|_| ())
            .map_err(|error| format!("{part}: a URI is no address: {error}")),
        GeneralNameView::Email(text) => EmailAddress::parse(text)
            .map(|_| ())
            .map_err(|error| format!("{part}: an rfc822Name is no address: {error}")),
        GeneralNameView::Dns(text) => DnsName::parse(text)
            .map(|_| ())
            .map_err(|error| format!("{part}: a dNSName is no name: {error}")),
        GeneralNameView::Ip(octets) if matches!(octets.len(), 4 | 16) => Ok(()),
        GeneralNameView::Ip(_) => wrong("an iPAddress must have 4 or 16 octets"),
        GeneralNameView::Directory(name) => match NameView::of(*name) {
            Some(name) if !name.attributes().is_empty() => names::values(part, &name),
            Some(_) | None => wrong("a directoryName is no name"),
        },
        GeneralNameView::RegisteredId(oid) => match oid {
            Some(_) => Ok(()),
            None => wrong("a registeredID is no object identifier"),
        },
        GeneralNameView::OtherName(name) => match name.children_exactly() {
            Some([kind, value]) if kind.as_oid().is_some() && value.tag == 0xA0 => Ok(()),
            Some(_) | None => wrong("an otherName is no type with a value"),
        },
        GeneralNameView::Other => Ok(()),
    }
}

/// Table B.1: contact data; the value is copied into every document signer.
pub(super) fn contact(specimen: &Specimen<'_>) -> Verdict {
    all_names(specimen, oid::ISSUER_ALT_NAME, "issuerAltName")
}

/// The same for subjectAltName, which Annex B does not forbid.
pub(super) fn subject_alternative_names(specimen: &Specimen<'_>) -> Verdict {
    all_names(specimen, oid::SUBJECT_ALT_NAME, "subjectAltName")
}

fn all_names(
    specimen: &Specimen<'_>,
    oid: der::asn1::ObjectIdentifier,
    part: &'static str,
) -> Verdict {
    let Some(extension) = specimen.view.extension(oid) else { return Ok(()) };
    let names = value::general_names(part, extension.value).map_err(|error| error.to_string())?;
    names.iter().try_for_each(|name| general_name(part, name))
}

/// At least one point, each with a URI as in 5.5, without reasons and cRLIssuer.
pub(super) fn distribution_points(specimen: &Specimen<'_>) -> Verdict {
    const PART: &str = "cRLDistributionPoints";
    let Some(extension) = specimen.view.extension(oid::CRL_DISTRIBUTION_POINTS) else {
        return Ok(());
    };
    let points =
        value::crl_distribution_points(extension.value).map_err(|error| error.to_string())?;
    points.iter().try_for_each(|point: &DistributionPointView<'_>| {
        require(!point.is_partial, &format!("{PART}: reasons and cRLIssuer must be absent"))?;
        require(!point.is_relative, &format!("{PART}: nameRelativeToCRLIssuer must be absent"))?;
        point.full_name.iter().try_for_each(|name| general_name(PART, name))?;
        let is_http =
            |name: &GeneralNameView<'_>| matches!(name, GeneralNameView::Uri(uri) if HttpUrl::parse(uri).is_ok());
        require(
            point.full_name.iter().any(is_http),
            &format!("{PART}: every point must have an http or https URI"),
        )
    })
}

/// authorityKeyIdentifier: absent, or the certificate's own key identifier. Issuer and serial
/// number are allowed if they are its own.
pub(super) fn authority_key_identifier(specimen: &Specimen<'_>) -> Verdict {
    const PART: &str = "authorityKeyIdentifier";
    let Some(extension) = specimen.view.extension(oid::AUTHORITY_KEY_ID) else { return Ok(()) };
    let found = value::authority_key_id(extension.value).map_err(|error| error.to_string())?;
    let own = specimen
        .view
        .extension(oid::SUBJECT_KEY_ID)
        .and_then(|extension| value::subject_key_id(extension.value).ok());
    require(
        found.key_id.is_some() && found.key_id == own,
        &format!("{PART}: it must have the certificate's own subjectKeyIdentifier"),
    )?;
    match (found.issuer, found.serial) {
        (None, None) => Ok(()),
        (Some(issuer), Some(serial)) => {
            let names = issuer.children().unwrap_or_default();
            let is_own =
                |name: &Element<'_>| name.tag == 0xA4 && name.content == specimen.view.issuer;
            require(
                matches!(names.as_slice(), [name] if is_own(name))
                    && serial.content == specimen.view.serial,
                &format!("{PART}: issuer and serial number must be the certificate's own"),
            )
        }
        (Some(_), None) | (None, Some(_)) => {
            Err(format!("{PART}: issuer and serial number go together"))
        }
    }
}

/// A warning for issuer and serial number in it.
pub(super) fn authority_by_serial(specimen: &Specimen<'_>) -> Verdict {
    let extension = specimen.view.extension(oid::AUTHORITY_KEY_ID);
    let found = extension.and_then(|extension| value::authority_key_id(extension.value).ok());
    require(
        found.is_none_or(|found| !found.has_issuer_and_serial()),
        "authorityKeyIdentifier: it should have a keyIdentifier only",
    )
}
