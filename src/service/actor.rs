//! Who acts: a client in one of its requests, or the daemon by itself.

use std::sync::Arc;

use serde::Serialize;

use super::{error::Error, idempotency::Keyed};
use crate::{
    audit::{AuditRecord, EntryKind},
    domain::{
        client::{Grants, Permission},
        member::Member,
        path::ResourcePath,
        time::Timestamp,
        tree::{ResourceTree, Service},
    },
};

/// Who calls which target, in which request, and the tree as it was when the request came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The configured client's name.
    pub client: Arc<str>,
    /// What that client may do. The route was opened by a grant on the target; what the request
    /// names beside the target may need another grant.
    pub grants: Grants,
    /// Of the request, for log and audit.
    pub request_id: String,
    /// The service of the call; for the resource tree's own routes, the target as given.
    pub target: ResourcePath,
    /// One view for the whole request.
    pub tree: Arc<ResourceTree>,
    /// The Idempotency-Key, when there is one and the route honours it.
    pub keyed: Option<Keyed>,
}

impl Call {
    /// Refuses a caller who has no grant of `permission` on `path`, which `member` names. Asked before
    /// anything is said about what stands at `path`.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(super) fn needs(
        &self,
        permission: Permission,
        path: &ResourcePath,
        member: Option<Member>,
    ) -> Result<(), Error> {
        if self.grants.may(permission, path) {
            return Ok(());
        }
        Err(Error::Forbidden {
            message: format!("client '{}' has no {permission} on {path}", self.client).into(),
            field: member,
        })
    }

    /// What is attached to the service of the call, in order of attachment.
    pub(super) fn dependencies(&self) -> &[ResourcePath] {
        self.tree.service(&self.target).and_then(Service::dependencies).unwrap_or_default()
    }

    /// The stores among it.
    pub(super) fn stores(&self) -> Vec<ResourcePath> {
        self.dependencies()
            .iter()
            .filter(|path| matches!(self.tree.service(path), Some(Service::X509Store)))
            .cloned()
            .collect()
    }

    /// An audit entry of this call.
    pub(super) fn entry(
        &self,
        kind: EntryKind,
        detail: impl Serialize,
        now: Timestamp,
    ) -> AuditRecord {
        let (request_id, client) = (Some(&*self.request_id), Some(&*self.client));
        AuditRecord::new(kind, now, request_id, client, Some(self.target.as_str()), detail)
    }
}

/// For whom something is signed.
#[derive(Debug, Clone)]
pub enum Actor {
    /// A client, in one of its requests.
    Client(Call),
    /// The daemon by itself, in its job of this name.
    Daemon(&'static str),
}

impl Actor {
    /// The name in the audit log, and in the queue of the HSM, where each name has its turn. No client
    /// has the daemon's, because a client is named by the subject or the hash of its certificate.
    pub(super) fn name(&self) -> Arc<str> {
        match self {
            Self::Client(call) => Arc::clone(&call.client),
            Self::Daemon(job) => format!("daemon:{job}").into(),
        }
    }

    /// The id of the request, if there is one.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Client(call) => Some(&call.request_id),
            Self::Daemon(_) => None,
        }
    }

    /// The Idempotency-Key, if there is one.
    pub(super) fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::Client(call) => call.keyed.as_ref(),
            Self::Daemon(_) => None,
        }
    }

    /// An audit entry about a service.
    pub(super) fn entry(
        &self,
        kind: EntryKind,
        service: &ResourcePath,
        detail: impl Serialize,
        now: Timestamp,
    ) -> AuditRecord {
        let name = self.name();
        AuditRecord::new(kind, now, self.request_id(), Some(&name), Some(service.as_str()), detail)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_daemon_acts_under_a_name_of_its_own() {
        let now = Timestamp::from_unix(1_780_000_000).unwrap();
        let service = ResourcePath::parse("acme.dmv.x509").unwrap();
        let client = Actor::Client(Call {
            client: "CN=registrar".into(),
            grants: Grants::default(),
            request_id: "0b7f".to_owned(),
            target: service.clone(),
            tree: Arc::default(),
            keyed: None,
        });
        let entry = |actor: &Actor| -> Value {
            let record = actor.entry(EntryKind::Intent, &service, json!({}), now);
            serde_json::from_slice(record.entry()).unwrap()
        };
        assert_eq!(entry(&client)["client"], "CN=registrar");
        assert_eq!(entry(&client)["requestId"], "0b7f");
        // The name is also that of its turn in the queue of the HSM: `act::sign` hands it over.
        let daemon = Actor::Daemon("crl");
        assert_eq!(&*daemon.name(), "daemon:crl");
        assert_eq!(entry(&daemon)["client"], "daemon:crl");
        assert_eq!(entry(&daemon)["target"], service.as_str());
        assert_eq!(entry(&daemon).get("requestId"), None);
        assert!(daemon.keyed().is_none());
    }
}
