//! Name constraints (RFC 5280, 4.2.1.10), and the names that they apply to.

use super::{
    base::{Base, host_of},
    general_name::{Name, is_host},
};
use crate::x509::element::{Element, SEQUENCE, context_constructed};

/// Maximum number of subtrees in one certificate.
const SUBTREES_MAX: usize = 512;

/// The nameConstraints of one CA certificate.
#[derive(Debug)]
pub(super) struct NameConstraints {
    permitted: Vec<Base>,
    excluded: Vec<Base>,
}

impl NameConstraints {
    /// # Errors
    /// A message when it is malformed, or has a subtree that cannot be evaluated.
    pub(super) fn read(value: &[u8]) -> Result<Self, String> {
        let malformed = || "nameConstraints are malformed".to_owned();
        let lists = Element::strict(value)
            .filter(|constraints| constraints.tag == SEQUENCE && !constraints.content.is_empty())
            .and_then(|constraints| constraints.children())
            .ok_or_else(malformed)?;
        let (permitted, excluded) = match lists.as_slice() {
            [one] if one.tag == context_constructed(0) => (Some(one), None),
            [one] if one.tag == context_constructed(1) => (None, Some(one)),
            [first, second]
                if first.tag == context_constructed(0) && second.tag == context_constructed(1) =>
            {
                (Some(first), Some(second))
            }
            _ => return Err(malformed()),
        };
        let read = |list: Option<&Element<'_>>| list.map_or_else(|| Ok(Vec::new()), subtrees);
        let (permitted, excluded) = (read(permitted)?, read(excluded)?);
        if permitted.len() + excluded.len() > SUBTREES_MAX {
            return Err(format!("nameConstraints have more than {SUBTREES_MAX} subtrees"));
        }
        Ok(Self { permitted, excluded })
    }

    /// # Errors
    /// A description of the name when it is excluded, not permitted, or cannot be evaluated.
    pub(super) fn check(&self, name: &Name<'_>) -> Result<(), String> {
        let speaks_of = |base: &&Base| base.is_of(name);
        let mut permitted = self.permitted.iter().filter(speaks_of).peekable();
        let mut excluded = self.excluded.iter().filter(speaks_of).peekable();
        if permitted.peek().is_none() && excluded.peek().is_none() {
            return Ok(());
        }
        let is_judged = match name {
            Name::Uri(uri) => host_of(uri).is_some(),
            Name::Email(email) => email.split_once('@').is_some_and(|(_, host)| is_host(host)),
            Name::Dns(dns) => is_host(dns.strip_prefix("*.").unwrap_or(dns)),
            Name::Ip(octets) => matches!(octets.len(), 4 | 16),
            Name::Directory(_) => true,
            Name::Other(_) => false,
        };
        if !is_judged || excluded.any(|base| base.excludes(name)) {
            return Err(name.to_string());
        }
        if permitted.peek().is_some() && !permitted.any(|base| base.permits(name)) {
            return Err(name.to_string());
        }
        Ok(())
    }
}

/// `GeneralSubtrees`: at least one, each without minimum and maximum.
fn subtrees(list: &Element<'_>) -> Result<Vec<Base>, String> {
    let mut bases = Vec::new();
    for subtree in list.each() {
        let base = subtree
            .filter(|subtree| subtree.tag == SEQUENCE)
            .and_then(|subtree| subtree.children_exactly())
            .ok_or("nameConstraints are malformed, or have a minimum or maximum")?;
        let [base] = base;
        bases.push(Base::read(&base)?);
        if bases.len() > SUBTREES_MAX {
            return Err(format!("nameConstraints have more than {SUBTREES_MAX} subtrees"));
        }
    }
    match bases.is_empty() {
        true => Err("nameConstraints are malformed".to_owned()),
        false => Ok(bases),
    }
}
