//! The rules of profile and issuer: which certificate stands behind a signing key, and whether it
//! allows what is asked for.

use super::{
    Call, IssuanceSettings, Services, edwards,
    error::{Error, Invalid},
    issue::{invalid_validity, validity_rule},
    key_errors,
    known::Known,
    signing::{SigningKeys, Supplied, signer_descriptor, subject_field, warn_of_iaca},
};
use crate::{
    domain::{
        key::KeyType,
        path::KeyPath,
        request::{
            GenericData, GenericIssuance, GenericSigning, IacaCertificate, IacaData, Issuance,
        },
        serial::SerialNumber,
        time::Timestamp,
        validity::{Validity, ValidityError},
    },
    keys::Key,
    ledger::IacaPin,
    x509::{
        Certificate, EncodedName, Issuer, NameAttributes, lint,
        plan::TbsPlan,
        profile::{ProfileError, document_signer, generic, iaca},
    },
};

/// Everything that the plan needs beside the request and the keys.
pub(super) enum Ruling {
    /// The key certifies itself.
    SelfSigned(Validity),
    /// Another key certifies it.
    Signed {
        validity: Validity,
        issuer: Box<Issuer>,
        /// The description that this call makes the IACA of its key.
        pin: Option<Box<IacaPin>>,
    },
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
        planned.map_err(refused)
    }

    /// The pin to be recorded with the intent.
    pub(super) fn pin(&self) -> Option<&IacaPin> {
        match self {
            Self::SelfSigned(_) => None,
            Self::Signed { pin, .. } => pin.as_deref(),
        }
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
    known: &Known,
    now: Timestamp,
) -> Result<Ruling, Error> {
    check_keys(services, issuance, keys)?;
    let (issuer, pin) = match issuance {
        Issuance::Iaca(_) => (None, None),
        Issuance::DocumentSigner(request) => match (&request.iaca.certificate, &supplied.issuer) {
            (IacaCertificate::Supplied(pem), Some(certificate)) => {
                (Some(supplied_iaca(certificate, &pem.field, keys, now)?), None)
            }
            (IacaCertificate::Described { field, data }, _) => {
                let (issuer, pin) = described_iaca(services, known, data, field, keys, now)?;
                (Some(issuer), pin)
            }
            (IacaCertificate::Supplied(_), None) => {
                return Err(Error::Internal("a supplied IACA was not read".to_owned()));
            }
        },
        Issuance::Generic(request) => {
            (generic_issuer(call, request, supplied, known, keys, now)?, None)
        }
    };
    let (requested, rule) = validity_rule(issuance);
    let within = issuer.as_ref().map(|issuer| issuer.validity);
    let validity = requested
        .resolve(now, rule, within)
        .map_err(|error: ValidityError| Error::Invalid(invalid_validity(&error)))?;
    Ok(match issuer {
        None => Ruling::SelfSigned(validity),
        Some(issuer) => {
            Ruling::Signed { validity, issuer: Box::new(issuer), pin: pin.map(Box::new) }
        }
    })
}

fn refused(error: ProfileError) -> Error {
    Error::Invalid(Invalid { field: error.field.map(str::to_owned), message: error.message })
}

/// Key types and equality, blamed on the descriptors.
fn check_keys(services: &Services, issuance: &Issuance, keys: &SigningKeys) -> Result<(), Error> {
    let signer = keys.signer.public_key();
    let invalid = |field: &str, what: &str| {
        let place = field.trim_start_matches('/').replace('/', ".");
        Err(Error::Invalid(Invalid::at(field, format!("{place}: {what}"))))
    };
    let iso = match issuance {
        Issuance::Iaca(_) | Issuance::DocumentSigner(_) => true,
        Issuance::Generic(_) => false,
    };
    for (field, key) in
        [(&*signer_descriptor(issuance).field, signer), (subject_field(issuance), keys.subject())]
    {
        if edwards::is_off(services, key.key_type()) {
            return invalid(field, &edwards::words().to_string());
        }
    }
    if signer.key_type() == KeyType::Ed25519 {
        let what = "Ed25519 may be certified, but signs no certificate";
        return invalid(&signer_descriptor(issuance).field, what);
    }
    if iso && !signer.key_type().is_ec() {
        let what = "RSA is not allowed for an IACA; use P-256, P-384 or P-521";
        return invalid(&signer_descriptor(issuance).field, what);
    }
    let subject_type = keys.subject().key_type();
    if iso && !subject_type.is_ec() && subject_type != KeyType::Ed25519 {
        let what = "RSA is not allowed for a document signer; use P-256, P-384 or P-521";
        return invalid(subject_field(issuance), what);
    }
    if !keys.is_self_signed() && signer == keys.subject() {
        return match issuance {
            Issuance::DocumentSigner(_) => invalid(
                subject_field(issuance),
                "the document signer key must differ from the IACA key",
            ),
            Issuance::Iaca(_) | Issuance::Generic(_) => {
                invalid(subject_field(issuance), "the key must differ from the issuer's")
            }
        };
    }
    if let Issuance::Generic(request) = issuance {
        let acts_as_ca = match &request.signing {
            GenericSigning::SelfSigned { .. } => request.data.certificate_authority.is_some(),
            GenericSigning::CaSigned { .. } => true,
        };
        if acts_as_ca && signer.key_type() == KeyType::Rsa2048 {
            let what = "RSA-2048 may not sign as CA; use 3072 or 4096";
            return invalid(&signer_descriptor(issuance).field, what);
        }
        if request.data.certificate_authority.is_some()
            && keys.subject().key_type() == KeyType::Rsa2048
        {
            let what = "RSA-2048 may not be certified as CA; use 3072 or 4096";
            return invalid(subject_field(issuance), what);
        }
    }
    Ok(())
}

/// A key for people.
fn name_of(key: &Key) -> &str {
    key.path().map_or("of the JWK", KeyPath::as_str)
}

/// ISO/IEC 18013-5 B.1.1: an IACA issues document signers and CRLs, and nothing else.
pub(super) fn refuse_iaca_key(
    issuance: &Issuance,
    known: &Known,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<(), Error> {
    let may_sign_generic = match (issuance, &keys.signer) {
        (Issuance::Iaca(_) | Issuance::DocumentSigner(_), _) => return Ok(()),
        (Issuance::Generic(_), Key::Hosted(hosted)) => hosted.may_sign_generic,
        // No policy speaks of a key that comes with the request.
        (Issuance::Generic(_), Key::Dev(_) | Key::Public(_)) => false,
    };
    let registered = known.iacas().any(|iaca| iaca.validity().not_after() >= now)
        || known.pins.iter().any(|pin| pin.not_after >= now);
    if registered && !may_sign_generic {
        return Err(Error::Forbidden {
            message: format!(
                "key {} belongs to an IACA and may not sign generic certificates",
                name_of(&keys.signer)
            ),
            field: Some(key_errors::key_field(signer_descriptor(issuance))),
        });
    }
    Ok(())
}

fn supplied_iaca(
    certificate: &Certificate,
    field: &str,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Issuer, Error> {
    let invalid = |what: String| {
        Error::Invalid(Invalid::at(field, format!("iacaPemEncodedCertificate: {what}")))
    };
    lint::supplied_iaca(certificate)
        .map_err(|finding| invalid(format!("not an IACA: {}", finding.detail)))?;
    if !certificate.is_self_signed() {
        return Err(invalid("self-signature does not verify".to_owned()));
    }
    warn_of_iaca(certificate);
    if certificate.public_key().as_ref() != Ok(keys.signer.public_key()) {
        return Err(invalid("public key differs from iacaKeyDesc".to_owned()));
    }
    valid_now(certificate.validity(), now).map_err(invalid)?;
    Issuer::of_certificate(certificate).map_err(|error| invalid(error.to_string()))
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

/// A described IACA is one of those registered for its key; the first description of an
/// unregistered one is pinned.
fn described_iaca(
    services: &Services,
    known: &Known,
    data: &IacaData,
    field: &str,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<(Issuer, Option<IacaPin>), Error> {
    let invalid = |member: Option<&str>, what: String| {
        let field = member.map_or_else(|| field.to_owned(), |member| format!("{field}/{member}"));
        Error::Invalid(Invalid::at(field, what))
    };
    let key = keys.signer.public_key();
    let validity = data
        .validity
        .resolve(now, iaca::VALIDITY, None)
        .map_err(|error| invalid(Some(error.member()), error.to_string()))?;
    let described = Issuer::described_iaca(data, validity, key)
        .map_err(|error| invalid(None, error.to_string()))?;

    let mut difference = None;
    for certificate in known.iacas() {
        match difference_to_certificate(data, &described, certificate) {
            None => {
                valid_now(certificate.validity(), now).map_err(|what| invalid(None, what))?;
                let issuer = Issuer::of_certificate(certificate)
                    .map_err(|error| invalid(None, error.to_string()))?;
                return Ok((issuer, None));
            }
            Some(member) => difference = Some(member),
        }
    }
    let wanted = pin_of(data, &described, keys, now);
    for pin in &known.pins {
        if pin.describes_same_as(&wanted) {
            return Ok((described, None));
        }
        difference = difference.or(Some(difference_to_pin(&wanted, pin)));
    }
    if let Some(member) = difference {
        return Err(invalid(
            None,
            format!("iacaSigner.certificateData differs from the registered IACA: {member}"),
        ));
    }
    if !services.settings.pin_described_iaca {
        return Err(invalid(
            None,
            "no IACA is registered for this key; store it or use iaca-pem-cert-descriptor"
                .to_owned(),
        ));
    }
    Ok((described, Some(wanted)))
}

fn pin_of(data: &IacaData, described: &Issuer, keys: &SigningKeys, now: Timestamp) -> IacaPin {
    let contact = &data.issuer_alternative_name;
    IacaPin {
        spki_sha256: described.key.spki_sha256(),
        subject_der: described.name.as_der().to_vec(),
        email: contact.email().map(|email| email.as_str().to_owned()),
        uri: contact.uri().map(|uri| uri.as_str().to_owned()),
        not_before: described.validity.not_before(),
        not_after: described.validity.not_after(),
        key_path: keys.signer.path().cloned(),
        pinned_at: now,
    }
}

/// The first member in which a description differs from a certificate.
fn difference_to_certificate(
    data: &IacaData,
    described: &Issuer,
    certificate: &Certificate,
) -> Option<&'static str> {
    let contact = certificate.issuer_alternative_name().unwrap_or_default();
    let given = &data.issuer_alternative_name;
    if described.name.attributes() != certificate.subject().attributes() {
        Some("subject")
    } else if contact.email.as_deref() != given.email().map(|email| email.as_str())
        || contact.uri.as_deref() != given.uri().map(|uri| uri.as_str())
    {
        Some("issuerAlternativeNameConf")
    } else if described.validity.not_before() != certificate.validity().not_before() {
        Some("notBefore")
    } else if described.validity.not_after() != certificate.validity().not_after() {
        Some("notAfter")
    } else {
        None
    }
}

/// The first member in which two pins differ.
fn difference_to_pin(wanted: &IacaPin, pin: &IacaPin) -> &'static str {
    if wanted.subject_der != pin.subject_der {
        "subject"
    } else if wanted.email != pin.email || wanted.uri != pin.uri {
        "issuerAlternativeNameConf"
    } else if wanted.not_before != pin.not_before {
        "notBefore"
    } else {
        "notAfter"
    }
}

/// The CA certificate behind a generic certificate; `None` for a self-signed one.
fn generic_issuer(
    call: &Call,
    request: &GenericIssuance,
    supplied: &Supplied,
    known: &Known,
    keys: &SigningKeys,
    now: Timestamp,
) -> Result<Option<Issuer>, Error> {
    let GenericSigning::CaSigned { issuer_key, .. } = &request.signing else { return Ok(None) };
    let field = "/issuer/issuerCertificatePem";
    let invalid = |what: String| Error::Invalid(Invalid::at(field, what));
    let certificate = match &supplied.issuer {
        Some(certificate) => {
            if certificate.public_key().as_ref() != Ok(keys.signer.public_key()) {
                return Err(invalid(
                    "issuerCertificatePem: public key differs from issuerKeyDescriptor".to_owned(),
                ));
            }
            valid_now(certificate.validity(), now).map_err(invalid)?;
            certificate
        }
        None => newest_ca(known, &request.data, now).ok_or_else(|| {
            let place = key_errors::key_field(issuer_key);
            let wanted = name_of(&keys.signer);
            match known.certificates.iter().any(|known| known.certificate.is_ca()) {
                true if request.data.issuer_name.is_some() => Error::Invalid(Invalid::at(
                    "/certificateData/issuerName",
                    "issuerName differs from the issuer certificate's subject",
                )),
                _ => Error::Invalid(Invalid::at(
                    place,
                    format!(
                        "no CA certificate is known for key {wanted} at {}; give \
                         issuer.issuerCertificatePem",
                        call.target
                    ),
                )),
            }
        })?,
    };
    if !certificate.may_sign_certificates() {
        let place = match supplied.issuer {
            Some(_) => field.to_owned(),
            None => key_errors::key_field(issuer_key),
        };
        return Err(Error::Invalid(Invalid::at(
            place,
            "issuer certificate may not sign certificates",
        )));
    }
    Issuer::of_certificate(certificate).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Valid now, with the wanted subject, the latest notBefore.
fn newest_ca<'a>(known: &'a Known, data: &GenericData, now: Timestamp) -> Option<&'a Certificate> {
    let wanted = data.issuer_name.as_ref().map(NameAttributes::from);
    let named = |subject: &EncodedName| {
        wanted.as_ref().is_none_or(|wanted| *wanted == subject.attributes())
    };
    known
        .certificates
        .iter()
        .map(|known| &known.certificate)
        .filter(|certificate| certificate.is_ca() && certificate.validity().contains(now))
        .filter(|certificate| named(certificate.subject()))
        .max_by_key(|certificate| certificate.validity().not_before())
}
