//! The certificate that a VICAL is verified with, and those above it.

use crate::{
    domain::{path::ResourcePath, time::Timestamp, tree::Vical},
    keys::Key,
    service::{
        Call, Services,
        error::{Error, Invalid},
        key_errors,
    },
    x509::{Certificate, Restrictions, lint},
};

/// The certificate of the signing key, and those above it, its issuer first.
pub(super) struct Signer {
    pub(super) certificate: Certificate,
    pub(super) chain: Vec<Certificate>,
}

impl Signer {
    /// Reads the certificates that the service is declared with, wherever they are stored, and
    /// checks that they lead from the key to the top.
    ///
    /// # Errors
    /// [`Error`]: one is not there (404); it is another key's, it is not valid now, the chain is
    /// missing or does not verify, the key is RSA (400).
    pub(super) async fn load(
        services: &Services,
        call: &Call,
        vical: &Vical,
        key: &Key,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let certificate = stored(services, call, &vical.signer_certificate).await?;
        let mut chain = Vec::new();
        for path in &vical.signer_certificate_chain {
            chain.push(stored(services, call, path).await?);
        }
        let signer = Self { certificate, chain };
        signer.check(key, now).map_err(|what| Error::Invalid(Invalid::body(what)))?;
        Ok(signer)
    }

    /// Holds the certificate against the profile of VICAL signers. Those of existing deployments do
    /// not have it: they are reported, and refused only when `strict`.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first rule that is broken.
    pub(super) fn hold_against_profile(
        &self,
        strict: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let findings = lint::vical_signer(&self.certificate)
            .into_iter()
            .map(|finding| format!("{} ({})", finding.detail, finding.clause))
            .chain(self.wrong_authority_key_ids());
        for finding in findings {
            let warning = format!(
                "signer certificate {} does not have the VICAL signer profile: {finding}",
                self.certificate.subject(),
            );
            if strict {
                return Err(Invalid::body(warning).into());
            }
            warnings.push(warning);
        }
        Ok(())
    }

    /// RFC 5280, 4.2.1.1: an authorityKeyIdentifier is the subjectKeyIdentifier of the certificate
    /// above; readers that go by it find no way up otherwise.
    fn wrong_authority_key_ids(&self) -> impl Iterator<Item = String> {
        let top = self.certificates().last().filter(|top| top.is_self_signed());
        let links = self.certificates().zip(self.chain.iter().chain(top));
        links.filter_map(|(below, above)| {
            let named = below.authority_key_id()?;
            let is_right = match (above.subject_key_id(), above.public_key()) {
                (Some(id), _) => named == id,
                (None, Ok(key)) => named == key.subject_key_id(),
                (None, Err(_)) => false,
            };
            (!is_right).then(|| {
                format!(
                    "the authorityKeyIdentifier of {} is not the key of {} (RFC 5280, 4.2.1.1)",
                    below.subject(),
                    above.subject()
                )
            })
        })
    }

    /// All of them, signer first.
    pub(super) fn der(&self) -> Vec<Vec<u8>> {
        self.certificates().map(|certificate| certificate.der().to_vec()).collect()
    }

    /// SHA-256 of all of them, signer first.
    pub(super) fn sha256s(&self) -> Vec<[u8; 32]> {
        self.certificates().map(Certificate::sha256).collect()
    }

    /// Signer first.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.certificate).chain(&self.chain)
    }

    fn check(&self, key: &Key, now: Timestamp) -> Result<(), String> {
        if !key.public_key().key_type().is_ec() {
            return Err("RSA is not allowed for a VICAL; use P-256, P-384 or P-521".to_owned());
        }
        if self.certificate.public_key().as_ref() != Ok(key.public_key()) {
            return Err("signer certificate does not belong to the signing key".to_owned());
        }
        for certificate in self.certificates() {
            let validity = certificate.validity();
            if !validity.contains(now) {
                return Err(format!(
                    "certificate {} of the signer's chain is valid from {} to {}, not now",
                    certificate.subject(),
                    validity.not_before(),
                    validity.not_after()
                ));
            }
        }
        if self.chain.is_empty() && !self.certificate.is_self_signed() {
            return Err("signer certificate is not self-signed: its chain is missing".to_owned());
        }
        for (index, (below, above)) in self.certificates().zip(&self.chain).enumerate() {
            if let Err(what) = check_link(below, above, index) {
                return Err(format!(
                    "the signer's chain does not verify: {} {what}",
                    above.subject()
                ));
            }
        }
        self.check_restrictions()
    }

    /// What the certificates above forbid, and critical extensions that nobody here processes: who
    /// verifies the VICAL refuses them, whether this service is strict or not.
    fn check_restrictions(&self) -> Result<(), String> {
        for (index, certificate) in self.certificates().enumerate() {
            let wrong = |what: String| {
                format!("the signer's chain does not verify: {}: {what}", certificate.subject())
            };
            let restrictions = Restrictions::of(certificate).map_err(wrong)?;
            for below in self.certificates().take(index) {
                restrictions
                    .allow_certificate(below)
                    .map_err(|forbidden| wrong(format!("{}: {forbidden}", below.subject())))?;
            }
        }
        Ok(())
    }
}

/// RFC 5280, 6.1.3 and 6.1.4, as far as they speak of names, signatures and CAs. `cas_below` counts
/// the CAs between `above` and the signer.
fn check_link(below: &Certificate, above: &Certificate, cas_below: usize) -> Result<(), String> {
    if below.issuer() != above.subject() {
        return Err(format!("is not the issuer of {}", below.subject()));
    }
    if !above.may_sign_certificates() {
        return Err("may not sign certificates".to_owned());
    }
    if above.path_length().is_some_and(|length| usize::from(length) < cas_below) {
        return Err("allows no CA below it".to_owned());
    }
    let is_signed = above.public_key().is_ok_and(|key| below.is_signed_by(&key));
    if is_signed { Ok(()) } else { Err(format!("has not signed {}", below.subject())) }
}

async fn stored(
    services: &Services,
    call: &Call,
    path: &ResourcePath,
) -> Result<Certificate, Error> {
    let missing = || Error::NotFound { message: format!("{path} does not exist"), field: None };
    // A declaration speaks of its own organisation only, as that of the key does.
    let store = path
        .parent()
        .filter(|store| store.organisation() == call.target.organisation())
        .ok_or_else(missing)?;
    let entry =
        services.ledger.store_entry(store, path.last()).await.map_err(key_errors::ledger)?;
    // A base entry may be anything that has the structure of a certificate.
    Certificate::from_der(&entry.ok_or_else(missing)?.der)
        .map_err(|error| Invalid::body(format!("{path} cannot be read: {error}")).into())
}
