//! `POST certificate`.

use serde::Serialize;

use super::{
    key::{key_descriptor, pem, public_key_source},
    name::{
        AlternativeNames, Name, Period, distinguished_name, http_url, no_repeats,
        subject_alternative_names, validity,
    },
};
use crate::{
    domain::{
        jwk::PublicJwk,
        key::PublicKey,
        member::{Member, RequestKey},
        oid::Oid,
        request::{
            GenericData, GenericIssuance, GenericSigning, Issuance, IssuanceRequest, KeyDescriptor,
            KeyUsage, PathLength, Pem, SubjectKey,
        },
        validity::Validity,
    },
    http::{invalid::Invalid, json::Node},
    x509::NameAttributes,
};

/// Reads the body.
pub fn request(body: Node<'_>) -> Result<IssuanceRequest, Invalid> {
    let mut object = body.object()?;
    let stored_certificate_id =
        object.optional("storedCertificateId", |node| node.long_text().map(str::to_owned))?;
    let data = object.required("certificateData", data)?;
    let subject_key =
        object.required("subjectPublicKeySource", public_key_source(RequestKey::Subject))?;
    let issuer = object.required("issuer", issuer)?;
    object.finish()?;
    let signing = match (issuer, subject_key) {
        (Issuer::SelfSigned, SubjectKey::Descriptor(key)) => GenericSigning::SelfSigned { key },
        (Issuer::SelfSigned, SubjectKey::Csr(_)) => {
            return Err(Invalid::at(
                "/subjectPublicKeySource/type",
                "a self-signed certificate needs a key-descriptor",
            ));
        }
        (Issuer::CaSigned(issuer_key, issuer_certificate), subject_key) => {
            GenericSigning::CaSigned { issuer_key, issuer_certificate, subject_key }
        }
    };
    Ok(IssuanceRequest {
        stored_certificate_id,
        issuance: Issuance::Generic(Box::new(GenericIssuance { data, signing })),
    })
}

enum Issuer {
    SelfSigned,
    CaSigned(KeyDescriptor, Option<Pem>),
}

fn issuer(node: Node<'_>) -> Result<Issuer, Invalid> {
    let mut object = node.object()?;
    let is_ca_signed = object.tag(&[("self-signed", false), ("ca-signed", true)])?;
    let issuer = if is_ca_signed {
        Issuer::CaSigned(
            object.required("issuerKeyDescriptor", key_descriptor(RequestKey::Issuer))?,
            object.optional("issuerCertificatePem", pem(Member::IssuerCertificate))?,
        )
    } else {
        Issuer::SelfSigned
    };
    object.finish()?;
    Ok(issuer)
}

fn data(node: Node<'_>) -> Result<GenericData, Invalid> {
    let mut object = node.object()?;
    let subject = object.required("subjectName", distinguished_name)?;
    let issuer_name = object.optional("issuerName", distinguished_name)?;
    let validity = validity(&mut object)?;
    let is_ca = object.optional("isCertificateAuthority", |node| node.boolean())?.unwrap_or(false);
    let path_length = object.optional("pathLengthConstraint", |node| node.octet())?;
    let certificate_authority = match (is_ca, path_length) {
        (true, Some(length)) => Some(PathLength::AtMost(length)),
        (true, None) => Some(PathLength::Unlimited),
        (false, None) => None,
        (false, Some(_)) => {
            return Err(Invalid::at(
                object.pointer_of("pathLengthConstraint"),
                "pathLengthConstraint needs isCertificateAuthority true",
            ));
        }
    };
    let data = GenericData {
        subject,
        issuer_name,
        validity,
        certificate_authority,
        key_usage: object.optional("keyUsage", key_usage)?.unwrap_or_default(),
        extended_key_usage: object
            .optional("extendedKeyUsageOids", extended_key_usage)?
            .unwrap_or_default(),
        subject_alternative_names: object
            .optional("subjectAlternativeNames", subject_alternative_names)?
            .unwrap_or_default(),
        crl_distribution_point: object.optional("crlDistributionPointUri", http_url)?,
    };
    object.finish()?;
    Ok(data)
}

fn key_usage(node: Node<'_>) -> Result<Vec<KeyUsage>, Invalid> {
    let usages = node.array("strings", |node| {
        let text = node.text()?;
        if let Some(usage) = KeyUsage::ALL.into_iter().find(|usage| usage.name() == text) {
            return Ok(usage);
        }
        let word: String = text.chars().take(64).collect();
        let similar =
            KeyUsage::ALL.into_iter().find(|usage| usage.name().eq_ignore_ascii_case(text));
        Err(node.invalid(match similar {
            Some(usage) => format!("'{word}' is unknown, did you mean '{}'?", usage.name()),
            None => format!("'{word}' is unknown"),
        }))
    })?;
    no_repeats(&node, &usages)?;
    Ok(usages)
}

/// Extended key usages of one certificate, at most.
pub(in crate::http) const PURPOSES_MAX: usize = 64;

fn extended_key_usage(node: Node<'_>) -> Result<Vec<Oid>, Invalid> {
    let oids = node.array("strings", |node| {
        Oid::parse(node.text()?)
            .ok_or_else(|| node.invalid("a dotted object identifier is required"))
    })?;
    if oids.len() > PURPOSES_MAX {
        return Err(node.invalid(format!("at most {PURPOSES_MAX} values")));
    }
    no_repeats(&node, &oids)?;
    Ok(oids)
}

/// `certificateData` of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    subject_name: Name<'a>,
    issuer_name: Name<'a>,
    #[serde(flatten)]
    period: Period,
    is_certificate_authority: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_length_constraint: Option<u8>,
    key_usage: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extended_key_usage_oids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_alternative_names: Option<AlternativeNames>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_distribution_point_uri: Option<String>,
    public_key_jwk: PublicJwk,
}

impl<'a> Data<'a> {
    /// The effective values: what was given and what was filled in.
    pub fn effective(
        data: &'a GenericData,
        validity: Validity,
        issuer: &'a NameAttributes,
        path_length: Option<u8>,
        subject_key: &PublicKey,
    ) -> Self {
        Self {
            subject_name: (&data.subject).into(),
            issuer_name: issuer.into(),
            period: validity.into(),
            is_certificate_authority: data.certificate_authority.is_some(),
            path_length_constraint: path_length,
            key_usage: data.key_usage.iter().map(|usage| usage.name()).collect(),
            extended_key_usage_oids: data
                .extended_key_usage
                .iter()
                .map(ToString::to_string)
                .collect(),
            subject_alternative_names: AlternativeNames::of(&data.subject_alternative_names),
            crl_distribution_point_uri: data
                .crl_distribution_point
                .as_ref()
                .map(|url| url.as_str().to_owned()),
            public_key_jwk: PublicJwk::of(subject_key),
        }
    }
}
