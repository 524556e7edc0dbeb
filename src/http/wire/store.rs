//! Entries of certificate stores.

use serde::Serialize;

use super::{key::pem, name::vical_metadata};
use crate::{
    domain::{member::Member, request::VicalMetadata},
    http::{invalid::Invalid, json::Node},
    service::stores,
};

/// Reads the body of add and replace.
pub fn content(body: Node<'_>) -> Result<stores::Content, Invalid> {
    let mut object = body.object()?;
    let is_vical = object.tag(&[("base", false), ("vical-entry", true)])?;
    let certificate = object.required("certificatePem", pem(Member::StoredCertificate))?;
    let given = ["complementaryMetadata", "vicalEntryComplementaryMetadata"]
        .into_iter()
        .filter_map(|name| object.get(name))
        .collect::<Vec<_>>();
    let metadata = match (is_vical, <[Node<'_>; 1]>::try_from(given)) {
        (true, Ok([node])) => Some(vical_metadata(node)?),
        (true, Err(given)) if given.is_empty() => {
            return Err(object.missing("complementaryMetadata"));
        }
        (false, Err(given)) if given.is_empty() => None,
        (false, Ok([node])) => return Err(node.invalid("metadata is for a vical-entry")),
        (_, Err(_)) => {
            return Err(Invalid::at(
                object.pointer_of("vicalEntryComplementaryMetadata"),
                "give exactly one of complementaryMetadata, vicalEntryComplementaryMetadata",
            ));
        }
    };
    object.finish()?;
    Ok(stores::Content { certificate, metadata })
}

/// The answer to a deletion.
#[derive(Serialize)]
pub struct Deleted {
    deleted: String,
}

impl Deleted {
    /// Of what is gone.
    pub fn new(path: &str) -> Self {
        Self { deleted: path.to_owned() }
    }
}

/// One entry.
#[derive(Serialize)]
pub struct Entry {
    #[serde(rename = "_id")]
    id: String,
    data: EntryData,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryData {
    r#type: &'static str,
    pem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    complementary_metadata: Option<VicalMetadata>,
}

impl From<stores::Entry> for Entry {
    fn from(entry: stores::Entry) -> Self {
        Self {
            id: entry.path.to_string(),
            data: EntryData {
                r#type: entry.kind,
                pem: entry.certificate_pem,
                complementary_metadata: entry.metadata,
            },
        }
    }
}
