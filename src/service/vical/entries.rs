//! What a VICAL lists.

use std::collections::HashMap;

use super::VicalSettings;
use crate::{
    domain::{path::ResourcePath, request::VicalMetadata, time::Timestamp},
    ledger::StoreEntry,
    service::error::{Error, Invalid},
    vical::{CertificateInfo, is_urn},
    x509::Certificate,
};

/// An entry that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The full path of the entry.
    pub path: ResourcePath,
    /// Why, in a word or two.
    pub reason: &'static str,
}

/// The entries of all attached stores, one for each certificate.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) infos: Vec<CertificateInfo>,
    pub(super) skipped: Vec<Skipped>,
}

impl Collected {
    /// The same certificate in several entries becomes one; document types and profiles are
    /// united, in order of first appearance. It is the same when what is signed is the same: of an
    /// ECDSA signature everybody can make a second one that verifies too (n − s for s).
    pub(super) fn of(entries: Vec<StoreEntry>, now: Timestamp) -> Self {
        let mut collected = Self::default();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for entry in entries {
            let (info, certificate) = match info(&entry, now) {
                Ok(read) => read,
                Err(reason) => {
                    let path = entry.store.child(&entry.id);
                    collected.skipped.push(Skipped { path, reason });
                    continue;
                }
            };
            let known = places.get(certificate.tbs_der());
            match known.and_then(|place| collected.infos.get_mut(*place)) {
                Some(listed) => {
                    if listed.certificate != entry.der
                        && certificate.is_self_signed()
                        && !is_self_signed(&listed.certificate)
                    {
                        // A signature of nobody's stands before the one that is good.
                        listed.certificate = entry.der;
                    }
                    unite(&mut listed.doc_types, info.doc_types);
                    unite(&mut listed.certificate_profiles, info.certificate_profiles);
                }
                None => {
                    places.insert(certificate.tbs_der().to_vec(), collected.infos.len());
                    collected.infos.push(info);
                }
            }
        }
        collected
    }

    /// Whether this may be published.
    ///
    /// # Errors
    /// [`Error::Invalid`]: nothing is listed, or a profile is no URN and the rules are strict.
    pub(super) fn check(
        &self,
        settings: VicalSettings,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        if self.infos.is_empty() && !settings.allow_empty {
            let mut what = "no vical-entry in the attached stores".to_owned();
            if !self.skipped.is_empty() {
                what.push_str(" can be listed: each is expired or unfit");
            }
            return Err(Invalid::body(what).into());
        }
        for info in &self.infos {
            for profile in info.certificate_profiles.iter().filter(|profile| !is_urn(profile)) {
                let warning = format!(
                    "certificateProfile '{profile}' of the entry of {} is not a URN (ISO/IEC \
                     18013-5 C.1.7)",
                    info.issuing_authority
                );
                if settings.strict {
                    return Err(Invalid::body(warning).into());
                }
                warnings.push(warning);
            }
        }
        Ok(())
    }
}

fn is_self_signed(der: &[u8]) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| certificate.is_self_signed())
}

fn unite(all: &mut Vec<String>, more: Vec<String>) {
    for item in more {
        if !all.contains(&item) {
            all.push(item);
        }
    }
}

/// What is listed of an entry, or why it is left out.
fn info(
    entry: &StoreEntry,
    now: Timestamp,
) -> Result<(CertificateInfo, Certificate), &'static str> {
    let certificate = Certificate::from_der(&entry.der).map_err(|error| {
        tracing::error!(%error, "a certificate in the ledger does not parse");
        "unreadable"
    })?;
    let validity = certificate.validity();
    if validity.not_after() < now {
        return Err("expired");
    }
    let VicalMetadata { doc_type, certificate_profile } =
        entry.metadata.clone().ok_or("no docType")?;
    // biguint has no sign, and an IACA's serial number none either (ISO/IEC 18013-5 B.1.1).
    if certificate.serial().first().is_none_or(|first| first & 0x80 != 0) {
        return Err("negative serial number");
    }
    let subject_key_id = match (certificate.subject_key_id(), certificate.public_key()) {
        (Some(id), _) => id.to_vec(),
        (None, Ok(key)) => key.subject_key_id().to_vec(),
        (None, Err(_)) => return Err("no subject key identifier"),
    };
    let info = CertificateInfo {
        serial_number: certificate.serial().to_vec(),
        subject_key_id,
        doc_types: doc_type,
        certificate_profiles: certificate_profile.unwrap_or_default(),
        issuing_authority: certificate.issuer().rfc4514(),
        issuing_country: certificate.issuer().attributes().country,
        state_or_province: certificate.subject().attributes().state_or_province,
        issuer: certificate.issuer().as_der().to_vec(),
        subject: certificate.subject().as_der().to_vec(),
        not_before: validity.not_before(),
        not_after: validity.not_after(),
        certificate: entry.der.clone(),
    };
    Ok((info, certificate))
}
