//! Keys of a KMS service.

use serde::Serialize;

use super::key::jwk_members;
use crate::{
    domain::{
        jwk::{PrivateJwk, PublicJwk},
        key::KeyType,
        time::Timestamp,
    },
    http::{invalid::Invalid, json::Node},
    service::{iaca_pins::ShownPin, keys::ShownKey},
    x509::pem,
};

/// Reads `keys/generate`. The `backend` of the compatible API is taken, whatever it is.
pub fn generation(body: Node<'_>) -> Result<KeyType, Invalid> {
    let mut object = body.object()?;
    let _ = object.get("backend");
    let key_type = object.required("keyType", |node| {
        let text = node.text()?;
        let shown: String = text.chars().take(64).collect();
        KeyType::ALL.into_iter().find(|key_type| key_type.name() == text).ok_or_else(|| {
            Invalid::at(node.pointer(), format!("key type {shown} is not supported"))
        })
    })?;
    object.finish()?;
    Ok(key_type)
}

/// Reads `keys/import/jwk`: the private JWK and its `kid`. The body is a JWK, whose unknown members
/// are ignored (RFC 7517, section 4).
pub fn private_jwk(body: Node<'_>) -> Result<(PrivateJwk, Option<String>), Invalid> {
    let members = jwk_members(&body, body.as_members()?)?;
    if !members.is_private {
        return Err(Invalid::body("jwk has no private part"));
    }
    let kid = body.object()?.optional("kid", |node| node.text().map(str::to_owned))?;
    Ok((PrivateJwk::new(members), kid))
}

/// A key in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    key: PublicHalf,
    key_id_path: String,
    key_type: &'static str,
    backend: &'static str,
    extractable: bool,
}

#[derive(Serialize)]
struct PublicHalf {
    r#type: &'static str,
    jwk: NamedJwk,
}

#[derive(Serialize)]
struct NamedJwk {
    #[serde(flatten)]
    jwk: PublicJwk,
    kid: String,
}

impl Key {
    /// With a `kid` of the caller's choice, or else the thumbprint (RFC 7638).
    pub fn of(key: &ShownKey, kid: Option<String>) -> Self {
        let jwk = PublicJwk::of(&key.public_key);
        let kid = kid.unwrap_or_else(|| jwk.thumbprint());
        Self {
            key: PublicHalf { r#type: "jwk", jwk: NamedJwk { jwk, kid } },
            key_id_path: key.path.to_string(),
            key_type: key.public_key.key_type().name(),
            backend: "pkcs11",
            extractable: key.extractable,
        }
    }
}

/// A key's public half as PEM.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPem {
    key_id_path: String,
    public_key_pem: String,
}

impl From<&ShownKey> for KeyPem {
    fn from(key: &ShownKey) -> Self {
        Self {
            key_id_path: key.path.to_string(),
            public_key_pem: pem::encode("PUBLIC KEY", key.public_key.spki_der()),
        }
    }
}

/// What makes a key an IACA's, in an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin<'a> {
    key_id_path: &'a str,
    source: &'static str,
    subject: &'a str,
    issuer_alternative_name_conf: Contact<'a>,
    not_before: Timestamp,
    not_after: Timestamp,
    pinned_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_pem: Option<&'a str>,
}

#[derive(Serialize)]
struct Contact<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

/// Where a pin is from: data in a request, or a certificate.
pub const PIN_SOURCES: [&str; 2] = ["described", "supplied"];

impl<'a> Pin<'a> {
    /// As the ledger has it.
    pub fn of(pin: &'a ShownPin) -> Self {
        let [described, supplied] = PIN_SOURCES;
        Self {
            key_id_path: pin.key_path.as_str(),
            source: if pin.certificate_pem.is_some() { supplied } else { described },
            subject: &pin.subject,
            issuer_alternative_name_conf: Contact {
                uri: pin.contact.uri.as_deref(),
                email: pin.contact.email.as_deref(),
            },
            not_before: pin.not_before,
            not_after: pin.not_after,
            pinned_at: pin.since,
            certificate_pem: pin.certificate_pem.as_deref(),
        }
    }
}
