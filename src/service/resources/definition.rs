//! The stored form of tenants and services.

use serde::{Deserialize, Serialize};

use crate::domain::{
    path::{KeyPath, PathError, ResourcePath},
    tree::{Kms, Node, Service, Vical},
};

/// A tenant or service as JSON in the ledger. Fields may be added but never renamed, because
/// earlier versions have stored them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(in crate::service) enum Definition {
    Tenant {
        name: String,
    },
    /// A KMS that is created over the API has one token.
    Kms {
        token: String,
    },
    X509Service {
        dependencies: Vec<String>,
    },
    X509Store,
    VicalService {
        signing_key: String,
        signer_certificate: String,
        signer_certificate_chain: Vec<String>,
        dependencies: Vec<String>,
    },
}

impl Definition {
    pub(super) fn of(node: &Node) -> Self {
        let texts = |paths: &[ResourcePath]| paths.iter().map(ToString::to_string).collect();
        match node {
            // Never stored: only the configuration declares organisations.
            Node::Organisation => Self::Tenant { name: String::new() },
            Node::Tenant(name) => Self::Tenant { name: name.clone() },
            Node::Service(Service::Kms(kms)) => Self::Kms { token: kms.first_token().to_owned() },
            Node::Service(Service::X509 { dependencies }) => {
                Self::X509Service { dependencies: texts(dependencies) }
            }
            Node::Service(Service::X509Store) => Self::X509Store,
            Node::Service(Service::Vical(vical)) => Self::VicalService {
                signing_key: vical.signing_key.to_string(),
                signer_certificate: vical.signer_certificate.to_string(),
                signer_certificate_chain: texts(&vical.signer_certificate_chain),
                dependencies: texts(&vical.dependencies),
            },
        }
    }

    pub(in crate::service) fn into_node(self) -> Result<Node, PathError> {
        let paths = |texts: Vec<String>| {
            texts.iter().map(|text| ResourcePath::parse(text)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match self {
            Self::Tenant { name } => Node::Tenant(name),
            Self::Kms { token } => {
                Node::Service(Service::Kms(Kms { tokens: vec![token], ..Kms::default() }))
            }
            Self::X509Service { dependencies } => {
                Node::Service(Service::X509 { dependencies: paths(dependencies)? })
            }
            Self::X509Store => Node::Service(Service::X509Store),
            Self::VicalService {
                signing_key,
                signer_certificate,
                signer_certificate_chain,
                dependencies,
            } => Node::Service(Service::Vical(Vical {
                signing_key: KeyPath::parse(&signing_key)?,
                signer_certificate: ResourcePath::parse(&signer_certificate)?,
                signer_certificate_chain: paths(signer_certificate_chain)?,
                dependencies: paths(dependencies)?,
            })),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As earlier versions have written them.
    const STORED: [&str; 5] = [
        r#"{"type":"tenant","name":"DMV"}"#,
        r#"{"type":"kms","token":"main"}"#,
        r#"{"type":"x509-service","dependencies":["a.kms","a.certs"]}"#,
        r#"{"type":"x509-store"}"#,
        r#"{"type":"vical-service","signingKey":"a.kms.k","signerCertificate":"a.certs.s","signerCertificateChain":["a.certs.root"],"dependencies":["a.certs"]}"#,
    ];

    #[test]
    fn what_is_stored_is_read_and_written_as_it_was() {
        for stored in STORED {
            let definition: Definition = serde_json::from_str(stored).unwrap();
            let node = definition.into_node().unwrap();
            assert_eq!(serde_json::to_string(&Definition::of(&node)).unwrap(), stored);
        }
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        let stored = r#"{"type":"x509-service","dependencies":["a..kms"]}"#;
        let definition: Definition = serde_json::from_str(stored).unwrap();
        assert!(definition.into_node().is_err());
    }
}
