//! `POST iso/iacas`.

use serde::Serialize;

use super::{
    key::key_descriptor,
    name::{
        Contact, Period, attribute, country, http_url, issuer_alternative_name, timestamp,
        validity, vical_metadata,
    },
};
use crate::{
    domain::{
        alternative_name::HttpUrl,
        member::RequestKey,
        name::{AttributeKind, DistinguishedName},
        request::{IacaData, IacaIssuance, Issuance, IssuanceRequest},
        validity::{RequestedValidity, Validity},
    },
    http::{
        invalid::Invalid,
        json::{Node, Object},
    },
};

/// Reads the body.
pub fn request(body: Node<'_>) -> Result<IssuanceRequest, Invalid> {
    let mut object = body.object()?;
    let request = IssuanceRequest {
        stored_certificate_id: object
            .optional("storedCertificateId", |node| node.long_text().map(str::to_owned))?,
        issuance: Issuance::Iaca(Box::new(IacaIssuance {
            data: object.required("certificateData", data)?,
            key: object.required("iacaKeyDesc", key_descriptor(RequestKey::Iaca))?,
            metadata: object.optional("vicalEntryComplementaryMetadata", vical_metadata)?,
        })),
    };
    object.finish()?;
    Ok(request)
}

/// Reads an IACA's `certificateData`.
fn data(node: Node<'_>) -> Result<IacaData, Invalid> {
    let mut object = node.object()?;
    let validity = validity(&mut object)?;
    data_with(object, validity)
}

/// Reads the `certificateData` that describes an existing IACA: both ends are required.
pub(super) fn described(node: Node<'_>) -> Result<IacaData, Invalid> {
    let mut object = node.object()?;
    let validity = RequestedValidity {
        not_before: Some(object.required("notBefore", timestamp)?),
        not_after: Some(object.required("notAfter", timestamp)?),
    };
    data_with(object, validity)
}

fn data_with(mut object: Object<'_>, validity: RequestedValidity) -> Result<IacaData, Invalid> {
    let data = IacaData {
        subject: DistinguishedName {
            country: Some(object.required("country", country)?),
            common_name: object.required("commonName", attribute(AttributeKind::CommonName))?,
            state_or_province: object
                .optional("stateOrProvinceName", attribute(AttributeKind::StateOrProvince))?,
            organization: object
                .optional("organizationName", attribute(AttributeKind::Organization))?,
            locality: None,
            organizational_unit: None,
        },
        issuer_alternative_name: object
            .required("issuerAlternativeNameConf", issuer_alternative_name)?,
        validity,
        crl_distribution_point: object.optional("crlDistributionPointUri", http_url)?,
    };
    object.finish()?;
    Ok(data)
}

/// `certificateData` of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    #[serde(flatten)]
    subject: super::name::Name<'a>,
    #[serde(flatten)]
    period: Period,
    issuer_alternative_name_conf: Contact<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_distribution_point_uri: Option<&'a str>,
}

impl<'a> Data<'a> {
    /// The effective values: what was given and what was filled in.
    pub fn effective(data: &'a IacaData, validity: Validity) -> Self {
        Self {
            subject: (&data.subject).into(),
            period: validity.into(),
            issuer_alternative_name_conf: (&data.issuer_alternative_name).into(),
            crl_distribution_point_uri: data.crl_distribution_point.as_ref().map(HttpUrl::as_str),
        }
    }
}
