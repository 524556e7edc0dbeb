//! Authorisation: a client certificate identifies a client, and the client has grants. What no
//! grant covers is denied.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    client::{ClientIdentity, Grant, Grants, Permission},
    client_name::ComparableName,
    path::ResourcePath,
};

/// One client as the configuration declares it.
#[derive(Debug)]
pub struct ClientConfig {
    /// The name in logs and audit.
    pub name: String,
    /// How its certificate is recognised.
    pub certificate: ClientCertificate,
    /// What it may do.
    pub grants: Vec<Grant>,
}

/// How a client certificate is recognised, after TLS has accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClientCertificate {
    /// By its subject and, where an issuer is configured, by the client CA that signed it.
    Subject {
        /// The subject, RDNs in the order of the certificate.
        subject: ComparableName,
        /// The subject of the CA.
        issuer: Option<ComparableName>,
    },
    /// By SHA-256 over its DER.
    Sha256([u8; 32]),
}

/// The configured clients.
#[derive(Default)]
pub struct Access {
    by_subject: HashMap<ComparableName, Vec<Named>>,
    by_sha256: HashMap<[u8; 32], Arc<Client>>,
}

/// A client, and the issuer that its certificate must have, if one is configured.
type Named = (Option<ComparableName>, Arc<Client>);

/// A configured client.
#[derive(Debug)]
pub struct Client {
    name: Arc<str>,
    grants: Grants,
}

impl Access {
    /// Makes the lookup tables from the configured clients.
    pub fn new(clients: Vec<ClientConfig>) -> Self {
        let mut access = Self::default();
        for ClientConfig { name, certificate, grants } in clients {
            let client = Arc::new(Client { name: name.into(), grants: grants.into() });
            match certificate {
                ClientCertificate::Subject { subject, issuer } => {
                    access.by_subject.entry(subject).or_default().push((issuer, client));
                }
                ClientCertificate::Sha256(sha256) => {
                    access.by_sha256.insert(sha256, client);
                }
            }
        }
        access
    }

    /// Identifies the client of a certificate. A fingerprint takes precedence over a subject.
    pub fn identify(&self, identity: &ClientIdentity) -> Option<Arc<Client>> {
        if let Some(client) = self.by_sha256.get(&identity.certificate_sha256) {
            return Some(Arc::clone(client));
        }
        let named = self.by_subject.get(identity.name.as_ref()?)?;
        let is_issuer = |issuer: &ComparableName| identity.issuers.contains(issuer);
        let found = named.iter().find(|(issuer, _)| issuer.as_ref().is_none_or(is_issuer));
        found.map(|(_, client)| Arc::clone(client))
    }
}

impl Client {
    /// The name in logs and audit.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a grant covers `permission` on `path`.
    pub fn may(&self, permission: Permission, path: &ResourcePath) -> bool {
        self.grants.may(permission, path)
    }

    /// Whether `permission` is granted on any path. Routes without a target need no more.
    pub fn has(&self, permission: Permission) -> bool {
        self.grants.has(permission)
    }

    /// All its grants.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ResourcePath {
        ResourcePath::parse(text).unwrap()
    }

    fn by(subject: &str, issuer: Option<&str>) -> ClientCertificate {
        ClientCertificate::Subject { subject: name(subject), issuer: issuer.map(name) }
    }

    fn name(text: &str) -> ComparableName {
        ComparableName::parse(text).unwrap()
    }

    fn access() -> Access {
        let grant = |permission, at: &str| Grant { permission, path: path(at) };
        let bare = |name: &str, certificate| ClientConfig {
            name: name.into(),
            certificate,
            grants: vec![],
        };
        Access::new(vec![
            ClientConfig {
                name: "registrar".into(),
                certificate: by("CN = registrar", None),
                grants: vec![grant(Permission::IssueIaca, "acme.dmv")],
            },
            bare("nobody", ClientCertificate::Sha256([7; 32])),
            bare("one", by("CN=bound", Some("CN=CA 1"))),
            bare("two", by("CN=bound", Some("CN=CA 2"))),
        ])
    }

    fn identity(subject: &str, sha256: [u8; 32], issuers: &[&str]) -> ClientIdentity {
        ClientIdentity {
            subject: subject.into(),
            name: ComparableName::parse(subject).ok(),
            issuers: issuers.iter().copied().map(name).collect(),
            certificate_sha256: sha256,
        }
    }

    #[test]
    fn a_client_is_known_by_its_fingerprint_or_its_exact_subject() {
        let access = access();
        let name = |subject: &str, sha256| {
            let identity = identity(subject, sha256, &["CN=CA 1"]);
            access.identify(&identity).map(|client| client.name().to_string())
        };
        assert_eq!(name("CN=registrar", [0; 32]).as_deref(), Some("registrar"));
        assert_eq!(name("CN=registrar", [7; 32]).as_deref(), Some("nobody"));
        assert_eq!(name("CN=Registrar", [0; 32]), None);
        assert_eq!(name("CN=registrar,O=x", [0; 32]), None);
        assert_eq!(name("", [0; 32]), None);
    }

    #[test]
    fn a_client_that_is_bound_to_an_issuer_is_nobody_under_another() {
        let access = access();
        let name = |issuers: &[&str]| {
            let identity = identity("CN=bound", [0; 32], issuers);
            access.identify(&identity).map(|client| client.name().to_string())
        };
        assert_eq!(name(&["CN=CA 1"]).as_deref(), Some("one"));
        assert_eq!(name(&["CN=CA 2"]).as_deref(), Some("two"));
        assert_eq!(name(&["CN=CA 3"]), None);
        assert_eq!(name(&[]), None);
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let client = access().identify(&identity("CN=registrar", [0; 32], &[])).unwrap();
        for permission in Permission::ALL {
            for (at, covered) in
                [("acme.dmv", true), ("acme.dmv.x509", true), ("acme.dmvx", false), ("acme", false)]
            {
                let expected = covered && *permission == Permission::IssueIaca;
                assert_eq!(client.may(*permission, &path(at)), expected, "{permission} {at}");
            }
            assert_eq!(client.has(*permission), *permission == Permission::IssueIaca);
        }
    }
}
