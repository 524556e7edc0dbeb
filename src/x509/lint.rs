//! The lint: checks that encoded certificates keep the rules of their profile.
//!
//! It reads everything again from the encoded octets, with code that the encoder does not use. A
//! finding on our own octets is a bug, and nothing is signed.
//!
//! A rule is a name, a clause and a function; a profile is a list of rules and a table of extensions.

mod common;
mod document_signer;
mod extensions;
mod generic;
mod iaca;
mod supplied;
mod vical_signer;

use super::{
    Certificate, EncodedName, Issuer, X509Error, algorithm,
    element::Element,
    name::NameView,
    plan::{Signer, TbsPlan},
    profile::Profile,
    view::{Signed, TbsParts, TbsView},
};
use crate::domain::key::PublicKey;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule} ({clause}): {detail}")]
pub struct Finding {
    /// The name of the rule.
    pub rule: &'static str,
    /// The clause of the standard.
    pub clause: &'static str,
    /// The problem, in words for the caller who supplied the certificate.
    pub detail: String,
}

/// Who will sign the linted octets.
#[derive(Debug, Clone, Copy)]
pub enum SignedBy<'a> {
    /// The certified key.
    Itself,
    /// An issuer.
    Issuer(&'a Issuer),
}

/// Checks a `TBSCertificate` against every rule of `profile`. `ca_without_key_cert_sign` lifts the one
/// rule of the generic profile that an operator can lift.
///
/// # Errors
/// The first [`Finding`].
pub fn tbs(
    profile: Profile,
    tbs_der: &[u8],
    signed_by: SignedBy<'_>,
    ca_without_key_cert_sign: bool,
) -> Result<(), Finding> {
    judge(profile, &Specimen::read(tbs_der, signed_by, ca_without_key_cert_sign, None)?)
}

/// Checks octets against every rule of their profile, and compares them with the plan that they
/// were made from.
///
/// # Errors
/// The first [`Finding`].
pub(super) fn planned(
    tbs_der: &[u8],
    plan: &TbsPlan,
    subject: &EncodedName,
) -> Result<(), Finding> {
    let signed_by = match &plan.signer {
        Signer::Itself => SignedBy::Itself,
        Signer::Issuer(issuer) => SignedBy::Issuer(issuer),
    };
    let (lifted, key) = (plan.ca_without_key_cert_sign, &plan.subject_key);
    let specimen = Specimen::read(tbs_der, signed_by, lifted, Some(key))?;
    judge(plan.profile, &specimen)?;
    as_planned(&specimen.view, plan, subject)
}

fn judge(profile: Profile, specimen: &Specimen<'_>) -> Result<(), Finding> {
    let (table, rules) = match profile {
        Profile::Iaca => (iaca::TABLE, iaca::OWN_RULES),
        Profile::DocumentSigner => (document_signer::TABLE, document_signer::RULES),
        Profile::Generic => (generic::TABLE, generic::RULES),
    };
    run(common::RULES, specimen)?;
    extensions::check(table, specimen)?;
    run(extensions::RULES, specimen)?;
    if profile == Profile::Iaca {
        run(iaca::RULES, specimen)?;
    }
    run(rules, specimen)
}

/// Checks a foreign certificate against the IACA profile (ISO/IEC 18013-5 Table B.1), with these
/// differences from our own: its subjectKeyIdentifier may be computed in any way, it may have an
/// authorityKeyIdentifier, be valid for 20 calendar years, and have further attributes, CRL
/// distribution points and private extensions. The self-signature is not checked here: see
/// [`Certificate::is_self_signed`].
///
/// # Errors
/// The first [`Finding`]; it names the part.
pub fn supplied_iaca(certificate: &Certificate) -> Result<(), Finding> {
    let outer = Signed::read("certificate", certificate.der()).map_err(unreadable)?;
    let parts = TbsParts::read(outer.tbs).map_err(unreadable)?;
    if let Some(part) = parts.first_not_der() {
        return Err(not_der(format!("{part}: it is not DER")));
    }
    if Element::strict(certificate.der()).is_none() {
        return Err(not_der("signature algorithm or signature: it is not DER".to_owned()));
    }
    let specimen = Specimen::read(certificate.tbs_der(), SignedBy::Itself, false, None)?;
    if outer.algorithm != specimen.view.algorithm {
        return Err(Finding {
            rule: "algorithms-agree",
            clause: "RFC 5280, 4.1.1.2",
            detail: "the signature algorithms inside and outside differ".to_owned(),
        });
    }
    run(supplied::RULES, &specimen)?;
    run(iaca::RULES, &specimen)
}

/// Warnings: unusual properties of such a certificate that are no reason to refuse it.
pub fn supplied_iaca_warnings(certificate: &Certificate) -> Vec<Finding> {
    match Specimen::read(certificate.tbs_der(), SignedBy::Itself, false, None) {
        Ok(specimen) => all(supplied::WARNINGS, &specimen),
        Err(_) => Vec::new(),
    }
}

/// Checks a certificate against the profile of a VICAL signer (ISO/IEC 18013-5 Table C.1), whoever
/// issued it, and collects every broken rule. Signatures are not checked here.
pub fn vical_signer(certificate: &Certificate) -> Vec<Finding> {
    let specimen = match Specimen::read(certificate.tbs_der(), SignedBy::Itself, false, None) {
        Ok(specimen) => specimen,
        Err(finding) => return vec![finding],
    };
    all(vical_signer::RULES, &specimen)
}

/// Every rule that is broken.
fn all(rules: &[Rule], specimen: &Specimen<'_>) -> Vec<Finding> {
    rules.iter().filter_map(|rule| run(std::slice::from_ref(rule), specimen).err()).collect()
}

/// Compares the octets with the plan they were made from.
fn as_planned(view: &TbsView<'_>, plan: &TbsPlan, subject: &EncodedName) -> Result<(), Finding> {
    let same = view.serial == plan.serial().as_octets()
        && view.not_before.moment == plan.validity().not_before()
        && view.not_after.moment == plan.validity().not_after()
        && view.subject == subject.as_der()
        && view.spki == plan.subject_key().spki_der()
        && view.extensions.len() == plan.extensions.len();
    if same {
        return Ok(());
    }
    Err(Finding {
        rule: "as-planned",
        clause: "ours",
        detail: "the octets say something else than the plan".to_owned(),
    })
}

/// The parsed octets that the rules look at.
struct Specimen<'a> {
    view: TbsView<'a>,
    issuer: NameView<'a>,
    subject: NameView<'a>,
    /// The certified key, when its type is supported and its encoding canonical.
    subject_key: Option<PublicKey>,
    signed_by: SignedBy<'a>,
    ca_without_key_cert_sign: bool,
}

impl<'a> Specimen<'a> {
    fn read(
        tbs_der: &'a [u8],
        signed_by: SignedBy<'a>,
        ca_without_key_cert_sign: bool,
        known_key: Option<&PublicKey>,
    ) -> Result<Self, Finding> {
        let element = match signed_by {
            SignedBy::Itself => Element::strict(tbs_der),
            SignedBy::Issuer(_) => strict_but_for_issuer(tbs_der),
        }
        .ok_or_else(|| not_der("the octets are not DER".to_owned()))?;
        let view = TbsView::read(element).map_err(unreadable)?;
        if let Some(part) = view.default_written {
            return Err(not_der(format!("{part}: a DEFAULT value is written out")));
        }
        Ok(Self {
            issuer: NameView::known(view.issuer).map_err(unreadable)?,
            subject: NameView::known(view.subject).map_err(unreadable)?,
            subject_key: subject_key(view.spki, known_key),
            view,
            signed_by,
            ca_without_key_cert_sign,
        })
    }

    /// The key that signs: the issuer's, or the certified one.
    fn signing_key(&self) -> Option<&PublicKey> {
        match self.signed_by {
            SignedBy::Itself => self.subject_key.as_ref(),
            SignedBy::Issuer(issuer) => Some(&issuer.key),
        }
    }

    /// The issuer, when the certificate is not self-signed.
    fn signer(&self) -> Option<&'a Issuer> {
        match self.signed_by {
            SignedBy::Itself => None,
            SignedBy::Issuer(issuer) => Some(issuer),
        }
    }

    /// `notAfter - notBefore`, in seconds.
    fn span_seconds(&self) -> i64 {
        self.view.not_after.moment.unix() - self.view.not_before.moment.unix()
    }
}

/// Strict DER except for the issuer's name, which is copied from a certificate that others may have
/// issued. A separate rule compares it with that certificate.
fn strict_but_for_issuer(tbs_der: &[u8]) -> Option<Element<'_>> {
    let element = Element::known(tbs_der)?;
    let is_der = Element::strict(tbs_der).is_some()
        || TbsParts::read(element).is_ok_and(|parts| parts.is_der_but_for_issuer());
    is_der.then_some(element)
}

/// The key in a `SubjectPublicKeyInfo`, if its encoding is canonical. Octets of a known key are not
/// parsed again, because that costs time and cannot fail.
fn subject_key(spki: &[u8], known: Option<&PublicKey>) -> Option<PublicKey> {
    match known.filter(|key| algorithm::is_of_key(spki, key)) {
        Some(known) => Some(known.clone()),
        None => PublicKey::from_spki_der(spki).ok().filter(|key| key.spki_der() == spki),
    }
}

/// The result of a rule: nothing, or the problem.
type Verdict = Result<(), String>;

/// A rule with its name and the clause it comes from.
struct Rule {
    name: &'static str,
    clause: &'static str,
    check: fn(&Specimen<'_>) -> Verdict,
}

fn run(rules: &[Rule], specimen: &Specimen<'_>) -> Result<(), Finding> {
    rules.iter().try_for_each(|rule| {
        (rule.check)(specimen).map_err(|detail| Finding {
            rule: rule.name,
            clause: rule.clause,
            detail,
        })
    })
}

fn require(holds: bool, otherwise: &str) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn not_der(detail: String) -> Finding {
    Finding { rule: "strict-der", clause: "X.690, 10", detail }
}

fn unreadable(error: X509Error) -> Finding {
    Finding { rule: "readable", clause: "RFC 5280, 4.1", detail: error.to_string() }
}

#[cfg(test)]
mod tests;
