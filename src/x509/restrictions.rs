//! Restrictions that a CA certificate puts on the certificates below it: name constraints, extended
//! key usage, and critical extensions that are not processed here.
//!
//! A CA certificate with a name constraint that cannot be evaluated is refused as an issuer, and so
//! is one that other implementations refuse or evaluate differently.

mod base;
mod general_name;
mod names;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc};

use der::asn1::ObjectIdentifier;

use super::{
    Certificate, EncodedName, X509Error,
    element::{Element, SEQUENCE, context_primitive},
    name::DirectoryName,
    oid,
    view::{Signed, TbsView, value},
};
use crate::domain::{oid::Oid, request::GenericData};
use general_name::Name;
use names::NameConstraints;

/// The restrictions of one or several CA certificates. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Restrictions(Option<Arc<Inner>>);

#[derive(Debug, Clone, Default)]
struct Inner {
    /// A name must satisfy each of them.
    names: Vec<Arc<NameConstraints>>,
    /// The purposes of each CA with extended key usage; a purpose must be in all of them.
    purposes: Vec<Arc<HashSet<Oid>>>,
}

/// A violation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Forbidden {
    /// The restricted part.
    pub part: RestrictedPart,
    /// Which value violates which restriction.
    pub message: String,
}

/// A part of a certificate that an issuer restricts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestrictedPart {
    /// The subject.
    Subject,
    /// The subject alternative names.
    SubjectAlternativeNames,
    /// The extended key usage.
    ExtendedKeyUsage,
}

impl Restrictions {
    /// Reads the restrictions of one CA certificate.
    ///
    /// # Errors
    /// A message when the certificate has a critical extension that is not processed here, or a
    /// restriction that cannot be evaluated.
    pub fn of(certificate: &Certificate) -> Result<Self, String> {
        let signed = Signed::read("certificate", certificate.der()).map_err(text)?;
        let view = TbsView::read(signed.tbs).map_err(text)?;
        for extension in &view.extensions {
            if extension.critical && !PROCESSED.iter().any(|known| extension.oid == *known) {
                return Err(format!("critical extension {} is not processed here", extension.oid));
            }
        }
        if let Some(policies) = view.extension(oid::POLICY_CONSTRAINTS)
            && requires_explicit_policy(policies.value)
        {
            return Err(
                "policyConstraints require a certificate policy, which is not written here"
                    .to_owned(),
            );
        }
        let mut inner = Inner::default();
        if let Some(constraints) = view.extension(oid::NAME_CONSTRAINTS) {
            inner.names.push(Arc::new(NameConstraints::read(constraints.value)?));
        }
        if let Some(usage) = view.extension(oid::EXTENDED_KEY_USAGE) {
            let purposes = value::extended_key_usage(usage.value).map_err(text)?;
            if purposes.iter().all(|purpose| *purpose != oid::ANY_EXTENDED_KEY_USAGE) {
                let purposes = purposes.into_iter().map(Oid::from);
                inner.purposes.push(Arc::new(purposes.collect()));
            }
        }
        let is_none = inner.names.is_empty() && inner.purposes.is_empty();
        Ok(Self((!is_none).then(|| Arc::new(inner))))
    }

    /// Combines both, so that both must be satisfied.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (_, None) => self.clone(),
            (None, _) => other.clone(),
            (Some(own), Some(others)) => {
                let mut inner = Inner::clone(own);
                inner.names.extend(others.names.iter().cloned());
                inner.purposes.extend(others.purposes.iter().cloned());
                Self(Some(Arc::new(inner)))
            }
        }
    }

    /// Checks a certificate that is to be issued.
    ///
    /// A certificate without extended key usage is allowed below a CA that has it. OpenSSL, Go and
    /// Windows then treat it as valid for the CA's purposes only.
    ///
    /// # Errors
    /// The first violation.
    pub fn allow(&self, subject: &EncodedName, data: &GenericData) -> Result<(), Forbidden> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let given = &data.subject_alternative_names;
        let addresses: Vec<Vec<u8>> = given
            .ip_addresses
            .iter()
            .map(|address| match address.address() {
                std::net::IpAddr::V4(address) => address.octets().to_vec(),
                std::net::IpAddr::V6(address) => address.octets().to_vec(),
            })
            .collect();
        let names = (given.dns_names.iter().map(|name| Name::Dns(name.as_str())))
            .chain(given.uris.iter().map(|uri| Name::Uri(uri.as_str())))
            .chain(given.emails.iter().map(|email| Name::Email(email.as_str())))
            .chain(addresses.iter().map(|address| Name::Ip(address)));
        let names = names.map(|name| (RestrictedPart::SubjectAlternativeNames, name));
        let is_ca = data.certificate_authority.is_some();
        inner.judge(subject, is_ca, names.collect(), &data.extended_key_usage)
    }

    /// Checks an existing certificate.
    ///
    /// # Errors
    /// The first violation, or a part that cannot be read.
    pub fn allow_certificate(&self, certificate: &Certificate) -> Result<(), Forbidden> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let part = RestrictedPart::SubjectAlternativeNames;
        let unreadable = |error: X509Error| Forbidden { part, message: error.to_string() };
        let signed = Signed::read("certificate", certificate.der()).map_err(unreadable)?;
        let view = TbsView::read(signed.tbs).map_err(unreadable)?;
        let mut names = Vec::new();
        if let Some(extension) = view.extension(oid::SUBJECT_ALT_NAME) {
            let all = Element::strict(extension.value)
                .filter(|list| list.tag == SEQUENCE)
                .and_then(|list| list.children())
                .ok_or_else(|| unreadable(X509Error::Malformed("subjectAltName")))?;
            for name in all {
                let name = Name::read(&name)
                    .ok_or_else(|| unreadable(X509Error::Malformed("subjectAltName")))?;
                names.push((part, name));
            }
        }
        let purposes = match view.extension(oid::EXTENDED_KEY_USAGE) {
            Some(usage) => {
                let purposes = value::extended_key_usage(usage.value).map_err(unreadable)?;
                purposes.into_iter().map(Oid::from).collect()
            }
            None => Vec::new(),
        };
        // Purposes in a CA certificate are not checked here, because they only restrict
        // certificates below it.
        let purposes = if certificate.is_ca() { Vec::new() } else { purposes };
        inner.judge(certificate.subject(), certificate.is_ca(), names, &purposes)
    }
}

impl Inner {
    fn judge<'a>(
        &self,
        subject: &'a EncodedName,
        is_ca: bool,
        mut names: Vec<(RestrictedPart, Name<'a>)>,
        purposes: &[Oid],
    ) -> Result<(), Forbidden> {
        if !self.names.is_empty() {
            let view = subject.view();
            for attribute in view.attributes() {
                let Some(value) = attribute.text() else { continue };
                // RFC 5280, 4.2.1.10: e-mail addresses in the subject are checked too.
                if attribute.kind == oid::EMAIL_ADDRESS {
                    names.push((RestrictedPart::Subject, Name::Email(value)));
                }
                // OpenSSL checks a common name that looks like a host name too, because TLS clients
                // used to read host names from it.
                if attribute.kind == oid::COMMON_NAME
                    && !is_ca
                    && general_name::looks_like_dns(value)
                {
                    names.push((RestrictedPart::Subject, Name::Dns(value)));
                }
            }
            if !view.attributes().is_empty() {
                let directory = DirectoryName::of(&view);
                names.push((RestrictedPart::Subject, Name::Directory(directory)));
            }
            for (part, name) in &names {
                for constraints in &self.names {
                    constraints.check(name).map_err(|what| Forbidden {
                        part: *part,
                        message: format!("the issuer's name constraints forbid {what}"),
                    })?;
                }
            }
        }
        for held in &self.purposes {
            if let Some(purpose) = purposes.iter().find(|purpose| !held.contains(*purpose)) {
                return Err(Forbidden {
                    part: RestrictedPart::ExtendedKeyUsage,
                    message: format!("the issuer's extended key usage does not hold {purpose}"),
                });
            }
        }
        Ok(())
    }
}

/// The critical extensions of a CA certificate that are processed. Some validators refuse
/// certificates with others, policies among them.
const PROCESSED: [ObjectIdentifier; 6] = [
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::NAME_CONSTRAINTS,
    oid::EXTENDED_KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::CRL_DISTRIBUTION_POINTS,
];

/// Whether policyConstraints have `requireExplicitPolicy [0]` (RFC 5280, 4.2.1.11). Malformed ones
/// count as having it.
fn requires_explicit_policy(value: &[u8]) -> bool {
    let fields = Element::strict(value).and_then(|constraints| constraints.children());
    fields.is_none_or(|fields| fields.iter().any(|field| field.tag == context_primitive(0)))
}

fn text(error: X509Error) -> String {
    error.to_string()
}
