//! `POST iso/document-signers`.

use serde::Serialize;

use super::{
    iaca,
    key::{key_descriptor, pem, public_key_source},
    member::{IN_SOURCE, LEGACY},
    name::{Name, Period, attribute, country, http_url, validity},
};
use crate::{
    domain::{
        member::{Member, RequestKey},
        name::{AttributeKind, DistinguishedName},
        request::{
            DocumentSignerData, DocumentSignerIssuance, IacaCertificate, IacaSigner, Issuance,
            IssuanceRequest, SubjectKey,
        },
        validity::Validity,
    },
    http::{invalid::Invalid, json::Node},
};

/// Reads the body.
pub fn request(body: Node<'_>) -> Result<IssuanceRequest, Invalid> {
    let mut object = body.object()?;
    let stored_certificate_id =
        object.optional("storedCertificateId", |node| node.long_text().map(str::to_owned))?;
    let iaca = object.required("iacaSigner", iaca_signer)?;
    let data = object.required("certificateData", data)?;
    let source = object
        .optional("dsPublicKeySource", public_key_source(RequestKey::DocumentSigner(IN_SOURCE)))?;
    // The legacy name, and the only one that existing clients send.
    let legacy =
        object.optional("dsKeyDescriptor", key_descriptor(RequestKey::DocumentSigner(LEGACY)))?;
    object.finish()?;
    let subject_key = match (source, legacy) {
        (Some(source), None) => source,
        (None, Some(descriptor)) => SubjectKey::Descriptor(descriptor),
        (Some(_), Some(_)) => return Err(one_key("/dsKeyDescriptor")),
        (None, None) => return Err(one_key("/dsPublicKeySource")),
    };
    Ok(IssuanceRequest {
        stored_certificate_id,
        issuance: Issuance::DocumentSigner(Box::new(DocumentSignerIssuance {
            data,
            iaca,
            subject_key,
        })),
    })
}

fn one_key(field: &str) -> Invalid {
    Invalid::at(field, "give exactly one of dsPublicKeySource and dsKeyDescriptor")
}

#[derive(Clone, Copy)]
enum SignerTag {
    Pem,
    Data,
}

fn iaca_signer(node: Node<'_>) -> Result<IacaSigner, Invalid> {
    let mut object = node.object()?;
    let tag = object.tag(&[
        ("iaca-pem-cert-descriptor", SignerTag::Pem),
        ("iaca-cert-data-descriptor", SignerTag::Data),
    ])?;
    let certificate = match tag {
        SignerTag::Pem => {
            let pem = pem(Member::IacaCertificate);
            IacaCertificate::Supplied(object.required("iacaPemEncodedCertificate", pem)?)
        }
        SignerTag::Data => IacaCertificate::Described(Box::new(
            object.required("certificateData", iaca::described)?,
        )),
    };
    let key = object.required("iacaKeyDesc", key_descriptor(RequestKey::IssuingIaca))?;
    object.finish()?;
    Ok(IacaSigner { key, certificate })
}

fn data(node: Node<'_>) -> Result<DocumentSignerData, Invalid> {
    let mut object = node.object()?;
    let data = DocumentSignerData {
        subject: DistinguishedName {
            country: Some(object.required("country", country)?),
            common_name: object.required("commonName", attribute(AttributeKind::CommonName))?,
            state_or_province: object
                .optional("stateOrProvinceName", attribute(AttributeKind::StateOrProvince))?,
            organization: object
                .optional("organizationName", attribute(AttributeKind::Organization))?,
            locality: object.optional("localityName", attribute(AttributeKind::Locality))?,
            organizational_unit: None,
        },
        validity: validity(&mut object)?,
        crl_distribution_point: object.required("crlDistributionPointUri", http_url)?,
    };
    object.finish()?;
    Ok(data)
}

/// `certificateData` of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data<'a> {
    #[serde(flatten)]
    subject: Name<'a>,
    #[serde(flatten)]
    period: Period,
    crl_distribution_point_uri: &'a str,
}

impl<'a> Data<'a> {
    /// The effective values: what was given and what was filled in.
    pub fn effective(data: &'a DocumentSignerData, validity: Validity) -> Self {
        Self {
            subject: (&data.subject).into(),
            period: validity.into(),
            crl_distribution_point_uri: data.crl_distribution_point.as_str(),
        }
    }
}
