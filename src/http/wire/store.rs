//! Entries of certificate stores.

use serde::Serialize;

use crate::{domain::request::VicalMetadata, service::stores};

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
