//! Members that several bodies share: names, URIs, times, alternative names.

use std::{
    collections::{BTreeSet, HashSet},
    hash::Hash,
};

use serde::Serialize;

use crate::{
    domain::{
        alternative_name::{
            AbsoluteUri, DnsName, EmailAddress, HttpUrl, IpAddress, IssuerAlternativeName,
            NAMES_MAX, SubjectAlternativeNames,
        },
        name::{AttributeKind, AttributeText, Country, DistinguishedName},
        request::VicalMetadata,
        time::Timestamp,
        validity::{RequestedValidity, Validity},
    },
    http::{
        invalid::Invalid,
        json::{Node, Object},
    },
};

/// Reads `country`.
pub fn country(node: Node<'_>) -> Result<Country, Invalid> {
    Country::parse(node.text()?).map_err(|error| node.invalid(error))
}

/// Reads a text attribute of a name.
pub fn attribute(kind: AttributeKind) -> impl Fn(Node<'_>) -> Result<AttributeText, Invalid> {
    move |node| AttributeText::parse(kind, node.text()?).map_err(|error| node.invalid(error))
}

/// Reads a distinguished name object.
pub fn distinguished_name(node: Node<'_>) -> Result<DistinguishedName, Invalid> {
    let mut object = node.object()?;
    let name = DistinguishedName {
        common_name: object.required("commonName", attribute(AttributeKind::CommonName))?,
        country: object.optional("country", country)?,
        state_or_province: object
            .optional("stateOrProvinceName", attribute(AttributeKind::StateOrProvince))?,
        organization: object
            .optional("organizationName", attribute(AttributeKind::Organization))?,
        locality: object.optional("localityName", attribute(AttributeKind::Locality))?,
        organizational_unit: object
            .optional("organizationalUnitName", attribute(AttributeKind::OrganizationalUnit))?,
    };
    object.finish()?;
    Ok(name)
}

/// Reads `notBefore` and `notAfter`.
pub fn validity(object: &mut Object<'_>) -> Result<RequestedValidity, Invalid> {
    Ok(RequestedValidity {
        not_before: object.optional("notBefore", timestamp)?,
        not_after: object.optional("notAfter", timestamp)?,
    })
}

/// Reads an RFC 3339 timestamp.
pub fn timestamp(node: Node<'_>) -> Result<Timestamp, Invalid> {
    Timestamp::parse(node.text()?).map_err(|error| node.invalid(error))
}

/// Reads `crlDistributionPointUri`.
pub fn http_url(node: Node<'_>) -> Result<HttpUrl, Invalid> {
    HttpUrl::parse(node.text()?).map_err(|error| node.invalid(error))
}

/// Reads `issuerAlternativeNameConf`.
pub fn issuer_alternative_name(node: Node<'_>) -> Result<IssuerAlternativeName, Invalid> {
    let mut object = node.object()?;
    let email = object.optional("email", email_address)?;
    let uri = object.optional("uri", absolute_uri)?;
    let name = IssuerAlternativeName::new(email, uri)
        .ok_or_else(|| object.invalid("issuerAlternativeNameConf needs uri or email"));
    object.finish()?;
    name
}

/// Reads `subjectAlternativeNames`.
pub fn subject_alternative_names(node: Node<'_>) -> Result<SubjectAlternativeNames, Invalid> {
    let mut object = node.object()?;
    let dns_name =
        |node: Node<'_>| DnsName::parse(node.text()?).map_err(|error| node.invalid(error));
    let ip_address =
        |node: Node<'_>| IpAddress::parse(node.text()?).map_err(|error| node.invalid(error));
    // Names are compared as those who look for them do.
    let lower = |text: &str| text.to_ascii_lowercase();
    let names = SubjectAlternativeNames {
        dns_names: names_of(&mut object, "dnsNames", dns_name, |name| lower(name.as_str()))?,
        uris: names_of(&mut object, "uris", absolute_uri, |uri| uri.as_str().to_owned())?,
        emails: names_of(&mut object, "emails", email_address, |email| {
            // RFC 5280, 7.5: the local part by its octets, the host in either case.
            let (local, host) = email.as_str().rsplit_once('@').unwrap_or_default();
            format!("{local}@{}", lower(host))
        })?,
        ip_addresses: names_of(&mut object, "ipAddresses", ip_address, |ip| ip.address())?,
    };
    if names.count() > NAMES_MAX {
        return Err(object.invalid(format!("at most {NAMES_MAX} names")));
    }
    object.finish()?;
    Ok(names)
}

/// Reads names of one kind, each once.
fn names_of<'a, T, K: Ord>(
    object: &mut Object<'a>,
    member: &'static str,
    read: impl Fn(Node<'a>) -> Result<T, Invalid>,
    same: impl Fn(&T) -> K,
) -> Result<Vec<T>, Invalid> {
    let pointer = object.pointer_of(member);
    let names = object.optional(member, |node| node.array("strings", read))?.unwrap_or_default();
    let mut seen = BTreeSet::new();
    match names.iter().position(|name| !seen.insert(same(name))) {
        None => Ok(names),
        Some(index) => {
            let field = format!("{pointer}/{index}");
            let place = field.trim_start_matches('/').replace('/', ".");
            Err(Invalid::at(field, format!("{place}: a name occurs twice")))
        }
    }
}

/// Reads `vicalEntryComplementaryMetadata`.
pub fn vical_metadata(node: Node<'_>) -> Result<VicalMetadata, Invalid> {
    let mut object = node.object()?;
    let metadata = VicalMetadata {
        doc_type: object.required("docType", distinct_texts)?,
        certificate_profile: object.optional("certificateProfile", distinct_texts)?,
    };
    if metadata.doc_type.is_empty() {
        return Err(Invalid::at(
            object.pointer_of("docType"),
            "complementaryMetadata.docType needs at least one value",
        ));
    }
    object.finish()?;
    Ok(metadata)
}

fn distinct_texts(node: Node<'_>) -> Result<Vec<String>, Invalid> {
    let texts = node.array("strings", |node| match node.text()? {
        text if text.trim().is_empty() => Err(node.invalid("must not be blank")),
        text => Ok(text.to_owned()),
    })?;
    no_repeats(&node, &texts)?;
    Ok(texts)
}

/// Refuses an array in which a value occurs twice.
pub fn no_repeats<T: Eq + Hash>(node: &Node<'_>, values: &[T]) -> Result<(), Invalid> {
    let mut seen = HashSet::with_capacity(values.len());
    match values.iter().enumerate().find(|(_, value)| !seen.insert(*value)) {
        None => Ok(()),
        Some((index, _)) => Err(Invalid::at(
            format!("{}/{index}", node.pointer()),
            node.invalid("a value occurs twice").message,
        )),
    }
}

fn email_address(node: Node<'_>) -> Result<EmailAddress, Invalid> {
    EmailAddress::parse(node.text()?).map_err(|error| node.invalid(error))
}

fn absolute_uri(node: Node<'_>) -> Result<AbsoluteUri, Invalid> {
    AbsoluteUri::parse(node.text()?).map_err(|error| node.invalid(error))
}

/// A distinguished name in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Name<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    common_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_or_province_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organizational_unit_name: Option<&'a str>,
}

impl<'a> From<&'a crate::x509::NameAttributes> for Name<'a> {
    fn from(name: &'a crate::x509::NameAttributes) -> Self {
        Self {
            common_name: name.common_name.as_deref(),
            country: name.country.as_deref(),
            state_or_province_name: name.state_or_province.as_deref(),
            organization_name: name.organization.as_deref(),
            locality_name: name.locality.as_deref(),
            organizational_unit_name: name.organizational_unit.as_deref(),
        }
    }
}

impl<'a> From<&'a DistinguishedName> for Name<'a> {
    fn from(name: &'a DistinguishedName) -> Self {
        let text = |text: &'a Option<AttributeText>| text.as_ref().map(AttributeText::as_str);
        Self {
            common_name: Some(name.common_name.as_str()),
            country: name.country.as_ref().map(Country::as_str),
            state_or_province_name: text(&name.state_or_province),
            organization_name: text(&name.organization),
            locality_name: text(&name.locality),
            organizational_unit_name: text(&name.organizational_unit),
        }
    }
}

/// `notBefore` and `notAfter` in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Period {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl From<Validity> for Period {
    fn from(validity: Validity) -> Self {
        Self { not_before: validity.not_before(), not_after: validity.not_after() }
    }
}

/// `issuerAlternativeNameConf` in an answer.
#[derive(Serialize)]
pub struct Contact<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

impl<'a> From<&'a IssuerAlternativeName> for Contact<'a> {
    fn from(name: &'a IssuerAlternativeName) -> Self {
        Self {
            uri: name.uri().map(AbsoluteUri::as_str),
            email: name.email().map(EmailAddress::as_str),
        }
    }
}

/// `subjectAlternativeNames` in an answer; lists only when not empty.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlternativeNames {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uris: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    emails: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip_addresses: Vec<String>,
}

impl AlternativeNames {
    /// `None` when there is no name at all.
    pub fn of(names: &SubjectAlternativeNames) -> Option<Self> {
        (!names.is_empty()).then(|| Self {
            dns_names: names.dns_names.iter().map(|name| name.as_str().to_owned()).collect(),
            uris: names.uris.iter().map(|uri| uri.as_str().to_owned()).collect(),
            emails: names.emails.iter().map(|email| email.as_str().to_owned()).collect(),
            ip_addresses: names.ip_addresses.iter().map(|ip| ip.as_str().to_owned()).collect(),
        })
    }
}
