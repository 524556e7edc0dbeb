//! `POST csrs`.

use serde::Serialize;

use super::{
    key::key_descriptor,
    name::{Name, attribute, country, distinguished_name, subject_alternative_names},
};
use crate::{
    domain::{
        jwk::PublicJwk,
        key::PublicKey,
        member::RequestKey,
        name::{AttributeKind, DistinguishedName},
        request::{CsrKind, CsrRequest},
    },
    http::{
        invalid::Invalid,
        json::{Node, Object},
    },
};

/// Reads the body.
pub fn request(body: Node<'_>) -> Result<CsrRequest, Invalid> {
    let mut object = body.object()?;
    let kind = object.tag(&[
        ("generic", CsrKind::Generic),
        ("iso-document-signer", CsrKind::DocumentSigner),
        ("document-signer", CsrKind::DocumentSigner),
        ("iso-ds", CsrKind::DocumentSigner),
    ])?;
    let key = object.required("subjectKeyDescriptor", key_descriptor(RequestKey::CsrSubject))?;
    let (subject, names) = match kind {
        CsrKind::Generic => (
            object.required("subjectName", distinguished_name)?,
            object.optional("subjectAlternativeNames", subject_alternative_names)?,
        ),
        CsrKind::DocumentSigner => (document_signer_subject(&mut object)?, None),
    };
    object.finish()?;
    Ok(CsrRequest { kind, key, subject, subject_alternative_names: names.unwrap_or_default() })
}

/// `subjectName` or `certificateData`, exactly one.
fn document_signer_subject(object: &mut Object<'_>) -> Result<DistinguishedName, Invalid> {
    match (object.get("subjectName"), object.get("certificateData")) {
        (Some(node), None) | (None, Some(node)) => document_signer_name(node),
        (Some(_), Some(_)) => Err(Invalid::at(
            object.pointer_of("certificateData"),
            "give exactly one of subjectName and certificateData",
        )),
        (None, None) => Err(object.missing("subjectName")),
    }
}

fn document_signer_name(node: Node<'_>) -> Result<DistinguishedName, Invalid> {
    let mut object = node.object()?;
    let name = DistinguishedName {
        country: Some(object.required("country", country)?),
        common_name: object.required("commonName", attribute(AttributeKind::CommonName))?,
        state_or_province: object
            .optional("stateOrProvinceName", attribute(AttributeKind::StateOrProvince))?,
        organization: object
            .optional("organizationName", attribute(AttributeKind::Organization))?,
        locality: object.optional("localityName", attribute(AttributeKind::Locality))?,
        organizational_unit: None,
    };
    object.finish()?;
    Ok(name)
}

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer<'a> {
    csr_pem: String,
    subject_name: Name<'a>,
    public_key_jwk: PublicJwk,
}

impl<'a> Answer<'a> {
    /// Of a finished request.
    pub fn new(csr_pem: String, subject: &'a DistinguishedName, key: &PublicKey) -> Self {
        Self { csr_pem, subject_name: subject.into(), public_key_jwk: PublicJwk::of(key) }
    }
}
