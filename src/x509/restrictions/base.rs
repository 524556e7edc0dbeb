//! One subtree of name constraints, and which names are within it.

use super::general_name::{Name, is_host};
use crate::x509::{
    element::Element,
    name::{DirectoryName, NameView},
};

/// The base of a subtree, parsed for comparison.
#[derive(Debug)]
pub(super) enum Base {
    /// A host in lower case, with or without a leading dot. Empty: all names.
    Dns(String),
    /// One mailbox: the local part as it is, the host in lower case.
    Mailbox(String, String),
    /// A host in lower case; with a leading dot: all hosts below it.
    EmailHost(String),
    /// A host for URIs, in the same form.
    UriHost(String),
    /// Address and mask, each of 4 or of 16 octets.
    Ip(Vec<u8>, Vec<u8>),
    /// A prefix of a subject's RDNs.
    Directory(DirectoryName),
    /// A form that none of our names has, by its tag.
    Other(u8),
}

impl Base {
    /// # Errors
    /// A message when it cannot be evaluated.
    pub(super) fn read(base: &Element<'_>) -> Result<Self, String> {
        let name = Name::read(base).ok_or("nameConstraints are malformed")?;
        let unjudged = || format!("a subtree of the nameConstraints cannot be judged: {name}");
        let with_dot = |text: &str| is_host(text.strip_prefix('.').unwrap_or(text));
        match &name {
            Name::Dns(text) => match text.is_empty() || with_dot(text) {
                true => Ok(Self::Dns(text.to_ascii_lowercase())),
                false => Err(unjudged()),
            },
            Name::Email(text) => match text.rsplit_once('@') {
                Some((local, host)) if !local.is_empty() && is_host(host) => {
                    Ok(Self::Mailbox(local.to_owned(), host.to_ascii_lowercase()))
                }
                None if with_dot(text) => Ok(Self::EmailHost(text.to_ascii_lowercase())),
                Some(_) | None => Err(unjudged()),
            },
            Name::Uri(text) => match with_dot(text) {
                true => Ok(Self::UriHost(text.to_ascii_lowercase())),
                false => Err(unjudged()),
            },
            Name::Ip(octets) if matches!(octets.len(), 8 | 32) => {
                let (address, mask) = octets.split_at(octets.len() / 2);
                match is_prefix(mask) {
                    true => Ok(Self::Ip(address.to_vec(), mask.to_vec())),
                    false => Err("an address mask of the nameConstraints is no prefix".to_owned()),
                }
            }
            Name::Ip(_) => Err("an address of the nameConstraints has no mask".to_owned()),
            Name::Directory(_) => {
                let [inner] = base.children_exactly().ok_or("nameConstraints are malformed")?;
                let view = NameView::known(inner.der).map_err(|error| error.to_string())?;
                Ok(Self::Directory(DirectoryName::of(&view)))
            }
            Name::Other(tag) => Ok(Self::Other(*tag)),
        }
    }

    /// Whether it applies to names of that form.
    pub(super) fn is_of(&self, name: &Name<'_>) -> bool {
        match (self, name) {
            (Self::Dns(_), Name::Dns(_))
            | (Self::Mailbox(..) | Self::EmailHost(_), Name::Email(_))
            | (Self::UriHost(_), Name::Uri(_))
            | (Self::Ip(..), Name::Ip(_))
            | (Self::Directory(_), Name::Directory(_)) => true,
            (Self::Other(tag), Name::Other(other)) => tag == other,
            _ => false,
        }
    }

    /// Whether every reader considers the name within the subtree (for permitted subtrees).
    pub(super) fn permits(&self, name: &Name<'_>) -> bool {
        match (self, name) {
            (Self::Dns(base), Name::Dns(dns)) => is_at_or_below(&dns.to_ascii_lowercase(), base),
            (Self::Mailbox(local, host), Name::Email(email)) => email
                .rsplit_once('@')
                .is_some_and(|(name, at)| name == local && at.eq_ignore_ascii_case(host)),
            (Self::EmailHost(base), Name::Email(email)) => email
                .rsplit_once('@')
                .is_some_and(|(_, host)| is_host_of(&host.to_ascii_lowercase(), base)),
            (Self::UriHost(base), Name::Uri(uri)) => {
                host_of(uri).is_some_and(|host| is_host_of(&host, base))
            }
            (Self::Ip(address, mask), Name::Ip(octets)) => {
                octets.len() == address.len()
                    && (octets.iter().zip(address).zip(mask))
                        .all(|((octet, base), mask)| octet & mask == base & mask)
            }
            (Self::Directory(base), Name::Directory(name)) => name.is_below(base),
            _ => false,
        }
    }

    /// Whether some reader considers the name, or a part of it, within the subtree (for excluded
    /// subtrees).
    pub(super) fn excludes(&self, name: &Name<'_>) -> bool {
        match (self, name) {
            (Self::Dns(base), Name::Dns(dns)) => {
                let dns = dns.to_ascii_lowercase();
                // A wildcard covers every host with one label in its place.
                let covers = dns.strip_prefix("*.").is_some_and(|below| {
                    base.split_once('.').is_some_and(|(_, parent)| parent == below)
                });
                covers || is_at_or_below(&dns, base)
            }
            (Self::Mailbox(local, host), Name::Email(email)) => {
                email.rsplit_once('@').is_some_and(|(name, at)| {
                    name.eq_ignore_ascii_case(local) && at.eq_ignore_ascii_case(host)
                })
            }
            (Self::EmailHost(base), Name::Email(email)) => email
                .rsplit_once('@')
                .is_some_and(|(_, host)| is_at_or_below(&host.to_ascii_lowercase(), base)),
            (Self::UriHost(base), Name::Uri(uri)) => {
                host_of(uri).is_some_and(|host| is_at_or_below(&host, base))
            }
            (Self::Directory(base), Name::Directory(name)) => name.may_be_below(base),
            _ => self.permits(name),
        }
    }
}

/// The host of a URI, in lower case; `None` when it has none, or an address.
pub(super) fn host_of(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once(':')?;
    let authority = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_address = host.rsplit('.').next()?.bytes().all(|b| b.is_ascii_digit());
    (is_host(host) && !is_address).then(|| host.to_ascii_lowercase())
}

/// Whether a host is the base or below it; with a leading dot only below it. Every host is below
/// the empty base.
fn is_at_or_below(host: &str, base: &str) -> bool {
    match base.strip_prefix('.') {
        _ if base.is_empty() => true,
        Some(_) => host.len() > base.len() && host.ends_with(base),
        None => host == base || host.strip_suffix(base).is_some_and(|before| before.ends_with('.')),
    }
}

/// RFC 5280, 4.2.1.10, for mailboxes and URIs: exactly the base; with a leading dot only hosts
/// below it.
fn is_host_of(host: &str, base: &str) -> bool {
    if base.starts_with('.') { is_at_or_below(host, base) } else { host == base }
}

fn is_prefix(mask: &[u8]) -> bool {
    let mut bits = mask.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1));
    bits.by_ref().find(|bit| *bit == 0);
    bits.all(|bit| bit == 0)
}
