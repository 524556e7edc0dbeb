//! The rules of profile and issuer: which certificate stands behind a signing key, and whether it
//! allows what is asked for.

mod generic_ca;
mod iaca_of_key;
mod roles;

pub(super) use generic_ca::prove_given;
pub(super) use roles::{refuse_iaca_use, refuse_role};

use super::{
    Call, IssuanceSettings, Services,
    error::{Error, Invalid},
    issue::{invalid_validity, validity_rule},
    known::{Known, Origin},
    proof::Proven,
    signing::{SigningKeys, Supplied, noted, signer_descriptor, subject_member},
};
use crate::{
    domain::{
        client::KeyPurpose,
        key::{PublicKey, sha256},
        member::Message,
        path::{KeyPath, ResourcePath},
        request::{GenericSigning, IacaCertificate, Issuance},
        serial::SerialNumber,
        time::Timestamp,
        validity::{Validity, ValidityError},
    },
    keys::Key,
    ledger::{CaRole, IacaPin, KeyClaim, UsedIssuer},
    x509::{
        Certificate, Issuer,
        plan::TbsPlan,
        profile::{Blame, ProfileError, document_signer, generic, iaca},
    },
};

/// Everything that the plan needs beside the request and the keys.
pub(super) enum Ruling {
    /// The key certifies itself.
    SelfSigned(Validity),
    /// Another key certifies it.
    Signed { validity: Validity, issuer: Box<Issuer> },
}

/// What an issuance puts on record beside its certificate.
#[derive(Default)]
pub(super) struct OnRecord {
    /// The description that this call makes the IACA of its key.
    pub(super) pin: Option<Box<IacaPin>>,
    /// CA certificates from elsewhere that are relied on for the first time.
    pub(super) used: Vec<UsedIssuer>,
    /// The roles that keys take.
    pub(super) claims: Vec<KeyClaim>,
    /// The key that signs, when this use of it is new.
    pub(super) noted_key: Option<[u8; 32]>,
}

/// What is known of the keys of an issuance.
pub(super) struct KnownOfBoth<'a> {
    /// Of the key that signs.
    pub(super) signer: &'a Known,
    /// Of the key that is certified as CA; where it signs itself, the same.
    pub(super) subject: Option<&'a Known>,
    /// The issuer certificate that the caller has given, proven.
    pub(super) given: Option<&'a Proven>,
}

impl Ruling {
    /// Plans the certificate with a serial number. Pure.
    pub(super) fn plan(
        &self,
        serial: SerialNumber,
        issuance: &Issuance,
        keys: &SigningKeys,
        settings: IssuanceSettings,
    ) -> Result<TbsPlan, Error> {
        let subject = keys.subject();
        let generic_options = generic::Options {
            ca_without_key_cert_sign: settings.allow_ca_without_key_cert_sign,
            reserved_purposes: settings.generic_reserved_ekus,
        };
        let planned = match (issuance, self) {
            (Issuance::Iaca(request), Self::SelfSigned(validity)) => {
                let options = iaca::Options { authority_key_id: settings.iaca_aki };
                iaca::plan(serial, &request.data, *validity, subject, options)
            }
            (Issuance::DocumentSigner(request), Self::Signed { validity, issuer, .. }) => {
                document_signer::plan(serial, &request.data, *validity, issuer, subject)
            }
            (Issuance::Generic(request), Self::SelfSigned(validity)) => {
                generic::self_signed(serial, &request.data, *validity, subject, generic_options)
            }
            (Issuance::Generic(request), Self::Signed { validity, issuer, .. }) => {
                generic::ca_signed(
                    serial,
                    &request.data,
                    *validity,
                    issuer,
                    subject,
                    generic_options,
                )
            }
            (Issuance::Iaca(_), Self::Signed { .. })
            | (Issuance::DocumentSigner(_), Self::SelfSigned(_)) => {
                return Err(Error::Internal("a ruling of another profile".to_owned()));
            }
        };
        planned.map_err(|error| refused(issuance, error))
    }

    /// The issuer's name for people, when it is another's.
    pub(super) fn issuer_text(&self) -> Option<String> {
        match self {
            Self::SelfSigned(_) => None,
            Self::Signed { issuer, .. } => Some(issuer.name.to_string()),
        }
    }

    /// The issuer's subject key identifier.
    pub(super) fn issuer_key_id(&self, keys: &SigningKeys) -> Vec<u8> {
        match self {
            Self::SelfSigned(_) => keys.subject().subject_key_id().to_vec(),
            Self::Signed { issuer, .. } => issuer.key_id.clone(),
        }
    }
}

/// Applies the rules.
pub(super) fn rule(
    services: &Services,
    call: &Call,
    issuance: &Issuance,
    supplied: &Supplied,
    keys: &SigningKeys,
    known: &KnownOfBoth<'_>,
    now: Timestamp,
) -> Result<(Ruling, OnRecord), Error> {
    check_keys(services, issuance, keys)?;
    let mut on_record = OnRecord::default();
    let issuer = match issuance {
        Issuance::Iaca(_) => {
            on_record.claim(keys.signer.public_key(), CaRole::Iaca, known.signer);
            None
        }
        Issuance::DocumentSigner(request) => {
            Some(match (&request.iaca.certificate, &supplied.issuer) {
                (IacaCertificate::Supplied(pem), Some(certificate)) => {
                    let issuer = iaca_of_key::supplied(certificate, keys, now)?;
                    roles::refuse_other_ca(issuance, known.signer, keys, now)?;
                    let is_new = on_record.rely_on(certificate, true, known.signer, call, now);
                    if is_new.map_err(|what| Invalid::at(pem.member, what))? {
                        on_record.claim(keys.signer.public_key(), CaRole::Iaca, known.signer);
                    }
                    issuer
                }
                (IacaCertificate::Described(data), _) => {
                    let (issuer, pin) =
                        iaca_of_key::described(services, call, known.signer, data, keys, now)?;
                    if let Some(pin) = pin {
                        on_record.pin = Some(Box::new(pin));
                        on_record.claim(keys.signer.public_key(), CaRole::Iaca, known.signer);
                    }
                    issuer
                }
                (IacaCertificate::Supplied(_), None) => {
                    return Err(Error::Internal("a supplied IACA was not read".to_owned()));
                }
            })
        }
        Issuance::Generic(request) => {
            on_record.noted_key = noted(&keys.signer, KeyPurpose::Generic, known.signer);
            let issuer =
                generic_ca::issuer(call, request, supplied, known, keys, now, &mut on_record)?;
            if let (true, Some(subject)) =
                (request.data.certificate_authority.is_some(), known.subject)
            {
                refuse_too_many(subject, issuance)?;
                on_record.claim(keys.subject(), CaRole::Generic, subject);
            }
            issuer
        }
    };
    let (requested, rule) = validity_rule(issuance);
    let within = issuer.as_ref().map(|issuer| issuer.validity);
    let validity = requested
        .resolve(now, rule, within)
        .map_err(|error: ValidityError| Error::Invalid(invalid_validity(&error)))?;
    let ruling = match issuer {
        None => Ruling::SelfSigned(validity),
        Some(issuer) => Ruling::Signed { validity, issuer: Box::new(issuer) },
    };
    Ok((ruling, on_record))
}

/// CA certificates over one key that have not ended, at most: of more, not all would be looked at.
const CA_CERTIFICATES_MAX: usize = 256;
/// CA certificates from elsewhere over one key that are put on record, at most.
const USED_MAX: usize = 64;

fn refuse_too_many(subject: &Known, issuance: &Issuance) -> Result<(), Error> {
    let is_issued = |origin| matches!(origin, Origin::Issued(_) | Origin::IssuedToOthers(_));
    let many = subject.certificates.iter().filter(|ca| is_issued(ca.origin)).count();
    if many < CA_CERTIFICATES_MAX {
        return Ok(());
    }
    let what = format!("the key has {CA_CERTIFICATES_MAX} CA certificates that have not ended");
    Err(Error::Invalid(Invalid::at(subject_member(issuance), what)))
}

impl OnRecord {
    /// The key takes a role, once.
    fn claim(&mut self, key: &PublicKey, role: CaRole, known: &Known) {
        let spki_sha256 = key.spki_sha256();
        if self.claims.iter().all(|claim| claim.spki_sha256 != spki_sha256) {
            self.claims.push(KeyClaim { spki_sha256, role, state: known.state });
        }
    }

    /// Puts a certificate over the signing key on record, unless it is. Whether it was not.
    fn rely_on(
        &mut self,
        certificate: &Certificate,
        is_iaca: bool,
        known: &Known,
        call: &Call,
        now: Timestamp,
    ) -> Result<bool, String> {
        let is_on_record = |ca: &super::known::KnownCa| {
            !matches!(ca.origin, Origin::Stored(_))
                && ca.proven.certificate.der() == certificate.der()
        };
        if known.certificates.iter().any(is_on_record) {
            return Ok(false);
        }
        let is_used = |ca: &&super::known::KnownCa| matches!(ca.origin, Origin::Used(_));
        if known.certificates.iter().filter(is_used).count() >= USED_MAX {
            return Err(format!(
                "the key is on record with {USED_MAX} issuer certificates already"
            ));
        }
        self.used.push(used(certificate, is_iaca, &call.target, now));
        Ok(true)
    }
}

fn used(
    certificate: &Certificate,
    is_iaca: bool,
    service: &ResourcePath,
    now: Timestamp,
) -> UsedIssuer {
    UsedIssuer {
        spki_sha256: certificate.spki_sha256(),
        sha256: certificate.sha256(),
        subject_sha256: sha256(certificate.subject().as_der()),
        der: certificate.der().to_vec(),
        is_iaca,
        self_signed: certificate.is_self_signed(),
        not_after: certificate.validity().not_after(),
        service: service.clone(),
        used_at: now,
    }
}

/// A broken rule of the profile, at the member that names what broke it.
fn refused(issuance: &Issuance, error: ProfileError) -> Error {
    let key = match error.blame {
        Blame::Member(member) => return Error::Invalid(Invalid::at(member, error.message)),
        Blame::Issuer => return Error::Invalid(Invalid::body(error.message)),
        Blame::SigningKey => signer_descriptor(issuance).member(),
        Blame::SubjectKey => subject_member(issuance),
    };
    Error::Invalid(Invalid::at(key, error.message.at(key)))
}

/// The rules for keys, before those for names and issuers.
fn check_keys(services: &Services, issuance: &Issuance, keys: &SigningKeys) -> Result<(), Error> {
    let (signer, subject) = (keys.signer.public_key(), keys.subject());
    for (member, key) in
        [(signer_descriptor(issuance).member(), signer), (subject_member(issuance), subject)]
    {
        services
            .settings
            .key_policy
            .check(key.key_type())
            .map_err(|error| Invalid::at(member, Message::from(error.to_string()).at(member)))?;
    }
    match issuance {
        Issuance::Iaca(_) => iaca::check_key(signer),
        Issuance::DocumentSigner(_) => document_signer::check_keys(signer, subject),
        Issuance::Generic(request) => match &request.signing {
            GenericSigning::SelfSigned { .. } => generic::check_own_key(&request.data, subject),
            GenericSigning::CaSigned { .. } => generic::check_keys(&request.data, signer, subject),
        },
    }
    .map_err(|error| refused(issuance, error))
}

/// A key for people.
fn name_of(key: &Key) -> &str {
    key.path().map_or("of the JWK", KeyPath::as_str)
}

fn valid_now(validity: Validity, now: Timestamp) -> Result<(), String> {
    if validity.contains(now) {
        return Ok(());
    }
    Err(format!(
        "issuer certificate is valid from {} to {}, not now",
        validity.not_before(),
        validity.not_after()
    ))
}
