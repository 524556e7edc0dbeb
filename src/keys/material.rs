//! Private JWKs for import into a token. The use case has checked that import is allowed.

use zeroize::Zeroizing;

use super::pair;
use crate::{
    domain::jwk::{self, JwkError, PrivateJwk},
    hsm::{KeyMaterial, PrivateParts},
};

/// Both halves of a key, as a token takes them.
///
/// # Errors
/// [`JwkError`] when the JWK contradicts itself; it repeats no value.
pub fn material(jwk: &PrivateJwk) -> Result<KeyMaterial, JwkError> {
    let (public_key, _) = pair::read(jwk)?;
    let members = jwk.members();
    let part = |name, value: Option<&Zeroizing<String>>| {
        jwk::decode(name, value.ok_or(JwkError::Missing(name))?)
    };
    let d = part("d", members.d.as_ref())?;
    let private = match (public_key.key_type().is_ec(), &members.crt) {
        (true, _) => PrivateParts::Ec(d),
        (false, None) => return Err(JwkError::Missing("p, q, dp, dq and qi")),
        (false, Some([p, q, dp, dq, qi])) => PrivateParts::Rsa([
            d,
            part("p", Some(p))?,
            part("q", Some(q))?,
            part("dp", Some(dp))?,
            part("dq", Some(dq))?,
            part("qi", Some(qi))?,
        ]),
    };
    Ok(KeyMaterial { public_key, private })
}
