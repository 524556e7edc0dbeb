//! What a service uses, and the grants that its maker needs for it.
//!
//! A service signs with the keys and changes the stores that it uses on behalf of everybody who may
//! call it. So whoever makes it use something must have a grant on that: otherwise a service of one
//! tenant would sign with the keys of another.

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

/// The store of a stored certificate. A path of one element stands for itself: no store is there.
pub(in crate::service) fn store_of(certificate: &ResourcePath) -> ResourcePath {
    certificate.parent().unwrap_or_else(|| certificate.clone())
}
