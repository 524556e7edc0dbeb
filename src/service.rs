//! The use cases. Each is a function with numbered steps; none knows JSON, HTTP, SQL or PKCS#11.

pub mod csr;
pub mod error;
pub mod issue;
mod issuers;
pub mod journal;
mod key_errors;
mod recording;
mod signing;
pub mod stores;

use std::sync::Arc;

use crate::{
    domain::{path::ResourcePath, tree::ResourceTree},
    keys::Keyring,
    ledger::Ledger,
};

/// What the use cases work with.
pub struct Services {
    /// The declared tree.
    pub tree: Arc<ResourceTree>,
    /// The keys.
    pub keyring: Keyring,
    /// The ledger.
    pub ledger: Ledger,
    /// Rules that can be switched.
    pub settings: IssuanceSettings,
}

/// Rules of issuance that can be switched.
#[derive(Debug, Clone, Copy)]
pub struct IssuanceSettings {
    /// Whether the first description of an unregistered IACA is pinned, or refused.
    pub pin_described_iaca: bool,
    /// Whether a generic CA may lack KeyCertSign.
    pub allow_ca_without_key_cert_sign: bool,
    /// Whether an IACA carries an authority key identifier.
    pub iaca_aki: bool,
}

/// Who calls which service, in which request.
#[derive(Debug, Clone)]
pub struct Call {
    /// The configured client's name.
    pub client: String,
    /// Of the request, for log and audit.
    pub request_id: String,
    /// The x509 service of the call.
    pub service: ResourcePath,
}

impl Services {
    /// The KMS services and stores attached to the service of the call, in order of attachment.
    fn dependencies(&self, call: &Call) -> &[ResourcePath] {
        match self.tree.service(&call.service) {
            Some(crate::domain::tree::Service::X509 { dependencies }) => dependencies,
            _ => &[],
        }
    }

    /// The stores among them.
    fn stores(&self, call: &Call) -> Vec<ResourcePath> {
        self.dependencies(call)
            .iter()
            .filter(|path| {
                matches!(self.tree.service(path), Some(crate::domain::tree::Service::X509Store))
            })
            .cloned()
            .collect()
    }
}
