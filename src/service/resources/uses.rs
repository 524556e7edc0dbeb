//! The grants that a client needs on the keys and stores that its new service will use.
//!
//! A service signs with its keys and writes into its stores for every client that may call it. So a
//! client that creates a service needs a grant on each of them; otherwise it could have a service
//! of its own tenant sign with another tenant's keys (confused deputy).

use super::{NewService, NewServiceKind};
use crate::{
    domain::{client::Permission, member::Member, path::ResourcePath},
    service::{Call, error::Error},
};

/// Refuses a caller who lacks `resource:write` on anything that the new service will use.
///
/// # Errors
/// [`Error::Forbidden`] names the first such path, whether or not anything stands there.
pub(super) fn check_grants(call: &Call, new: &NewService) -> Result<(), Error> {
    if let NewServiceKind::Vical { signing_key, signer_certificate, signer_certificate_chain } =
        &new.kind
    {
        call.needs(Permission::ResourceWrite, &signing_key.kms(), Some(Member::VicalKey))?;
        let store = store_of(signer_certificate);
        call.needs(Permission::ResourceWrite, &store, Some(Member::VicalSigner))?;
        for (index, certificate) in signer_certificate_chain.iter().enumerate() {
            let member = Member::VicalChain(index);
            call.needs(Permission::ResourceWrite, &store_of(certificate), Some(member))?;
        }
    }
    for (index, dependency) in new.dependencies.iter().enumerate() {
        let member = Member::DependencyAt(index);
        call.needs(Permission::ResourceWrite, dependency, Some(member))?;
    }
    Ok(())
}

/// The store of a stored certificate. For a path of one element it is the path itself, where no
/// store can be.
pub(in crate::service) fn store_of(certificate: &ResourcePath) -> ResourcePath {
    certificate.parent().unwrap_or_else(|| certificate.clone())
}
