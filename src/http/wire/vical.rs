//! Publishing VICALs, and what is told about published ones.

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::name::timestamp;
use crate::{
    domain::{
        path::{PathElement, ResourcePath},
        request::PublishRequest,
    },
    http::{invalid::Invalid, json::Node},
    service::vical::{Published, Skipped, VERSION, VicalVersion},
};

/// Reads `publish`.
pub fn request(body: Node<'_>) -> Result<PublishRequest, Invalid> {
    let mut object = body.object()?;
    let request = PublishRequest {
        provider: object.required("vicalProvider", |node| match node.text()? {
            text if text.trim().is_empty() => Err(node.invalid("must not be blank")),
            text => Ok(text.to_owned()),
        })?,
        version: object.optional("versionId", |node| {
            PathElement::parse(node.text()?).map_err(|error| node.invalid(error))
        })?,
        issuance_date: object.optional("issuanceDate", timestamp)?,
        next_update: object.optional("nextUpdate", timestamp)?,
    };
    object.finish()?;
    Ok(request)
}

/// The answer of `publish`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication<'a> {
    version_id_path: &'a str,
    version: &'static str,
    entry_count: usize,
    vical_provider: &'a str,
    date: String,
    vical_issue_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<SkippedEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SkippedEntry<'a> {
    stored_certificate_id: &'a str,
    reason: &'static str,
}

impl<'a> From<&'a Published> for Publication<'a> {
    fn from(published: &'a Published) -> Self {
        let skipped = |skipped: &'a Skipped| SkippedEntry {
            stored_certificate_id: skipped.path.as_str(),
            reason: skipped.reason,
        };
        Self {
            version_id_path: published.version.as_str(),
            version: VERSION,
            entry_count: published.entry_count,
            vical_provider: &published.provider,
            date: published.date.to_string(),
            vical_issue_id: published.issue_id,
            next_update: published.next_update.map(|moment| moment.to_string()),
            skipped: published.skipped.iter().map(skipped).collect(),
        }
    }
}

/// The answer of `manifest`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    version_id_path: String,
    version: &'static str,
    vical_provider: String,
    vical_issue_id: u64,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<String>,
    entry_count: u64,
    size_bytes: u64,
    sha256: String,
    signature_algorithm: String,
    formats: [&'static str; 3],
}

impl Manifest {
    /// Of a version of `service`.
    pub fn of(service: &ResourcePath, version: VicalVersion) -> Self {
        Self {
            version_id_path: service.vical_version(&version.version).to_string(),
            version: VERSION,
            vical_provider: version.provider,
            vical_issue_id: version.issue_id,
            date: version.date.to_string(),
            next_update: version.next_update.map(|moment| moment.to_string()),
            entry_count: version.entry_count,
            size_bytes: version.size_bytes,
            sha256: HEXLOWER.encode(&version.sha256),
            signature_algorithm: version.algorithm,
            formats: Format::ALL.map(Format::name),
        }
    }
}

/// The answer of `trust-material`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustMaterial {
    version_id_path: String,
    signer_certificate_pem: String,
    signer_certificate_chain_pem: Vec<String>,
}

impl TrustMaterial {
    /// Of a version of `service`.
    pub fn of(service: &ResourcePath, version: VicalVersion) -> Self {
        Self {
            version_id_path: service.vical_version(&version.version).to_string(),
            signer_certificate_pem: version.signer_certificate_pem,
            signer_certificate_chain_pem: version.signer_chain_pem,
        }
    }
}

/// How the octets of a version travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lower-case hexadecimal, as text.
    Hex,
    /// Base64 with padding, as text.
    Base64,
    /// The octets themselves.
    Cbor,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hex, Self::Base64, Self::Cbor];

    /// The value of the parameter `format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Cbor => "cbor",
        }
    }
}
