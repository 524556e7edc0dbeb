//! JSON Web Keys (RFC 7517, 7518). The public half is an ordinary value; the private half stays in
//! [`PrivateJwk`].

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use zeroize::Zeroizing;

use super::key::{KeyError, KeyType, PublicKey, sha256};

/// RFC 8037, 2.
const ED25519: &str = "Ed25519";
const ED25519_OCTETS: usize = 32;

/// The public members of a JWK, as the API answers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PublicJwk {
    /// RFC 7518, 6.2.
    Ec {
        /// `EC`.
        kty: &'static str,
        /// Curve name.
        crv: &'static str,
        /// x coordinate, base64url, full length.
        x: String,
        /// y coordinate, base64url, full length.
        y: String,
    },
    /// RFC 8037, 2.
    Okp {
        /// `OKP`.
        kty: &'static str,
        /// Curve name.
        crv: &'static str,
        /// Public key, base64url.
        x: String,
    },
    /// RFC 7518, 6.3.
    Rsa {
        /// `RSA`.
        kty: &'static str,
        /// Modulus, base64url.
        n: String,
        /// Exponent, base64url.
        e: String,
    },
}

impl PublicJwk {
    /// The JWK of a key, without `kid`.
    pub fn of(key: &PublicKey) -> Self {
        match (key.coordinates(), curve_name(key.key_type())) {
            (Some((x, y)), Some(crv)) => Self::Ec {
                kty: "EC",
                crv,
                x: URL_SAFE_NO_PAD.encode(x),
                y: URL_SAFE_NO_PAD.encode(y),
            },
            _ if key.key_type() == KeyType::Ed25519 => {
                Self::Okp { kty: "OKP", crv: ED25519, x: URL_SAFE_NO_PAD.encode(key.content()) }
            }
            _ => Self::Rsa {
                kty: "RSA",
                n: URL_SAFE_NO_PAD.encode(key.modulus().unwrap_or_default()),
                e: "AQAB".to_owned(),
            },
        }
    }

    /// The RFC 7638 SHA-256 thumbprint, base64url.
    pub fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ec { kty, crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#)
            }
            Self::Okp { kty, crv, x } => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#),
            Self::Rsa { kty, n, e } => format!(r#"{{"e":"{e}","kty":"{kty}","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
    }
}

/// The parameters of a JWK as text, before [`parse_public`] and `keys` read them.
#[derive(Default)]
pub struct JwkMembers {
    /// Key type.
    pub kty: Option<String>,
    /// Curve.
    pub crv: Option<String>,
    /// x coordinate.
    pub x: Option<String>,
    /// y coordinate.
    pub y: Option<String>,
    /// RSA modulus.
    pub n: Option<String>,
    /// RSA exponent.
    pub e: Option<String>,
    /// Private exponent or scalar.
    pub d: Option<Zeroizing<String>>,
    /// Private RSA members `p`, `q`, `dp`, `dq`, `qi`, in this order, when all are there.
    pub crt: Option<[Zeroizing<String>; 5]>,
    /// Whether any private member was given.
    pub is_private: bool,
}

impl fmt::Debug for JwkMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwkMembers([redacted])")
    }
}

/// A private JWK, not parsed yet. Its `Debug` form shows nothing.
pub struct PrivateJwk(Box<JwkMembers>);

impl PrivateJwk {
    /// Wraps the parameters.
    pub fn new(members: JwkMembers) -> Self {
        Self(Box::new(members))
    }

    /// The parameters. Only dev mode and key import read them.
    pub fn members(&self) -> &JwkMembers {
        &self.0
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateJwk([redacted])")
    }
}

/// Reads the public half of a JWK.
///
/// # Errors
/// [`JwkError`] names the member that is wrong.
pub fn parse_public(members: &JwkMembers) -> Result<PublicKey, JwkError> {
    match required(members.kty.as_ref(), "kty")? {
        "EC" => {
            let crv = required(members.crv.as_ref(), "crv")?;
            let key_type = KeyType::ALL
                .into_iter()
                .find(|key_type| curve_name(*key_type) == Some(crv))
                .ok_or_else(|| JwkError::Key(KeyError::Unsupported(crv.to_owned())))?;
            let octets = key_type.coordinate_octets().unwrap_or_default();
            let mut point = vec![0x04];
            for (name, value) in [("x", &members.x), ("y", &members.y)] {
                let coordinate = decode(name, required(value.as_ref(), name)?)?;
                if coordinate.len() != octets {
                    return Err(JwkError::Length { member: name, octets });
                }
                point.extend_from_slice(&coordinate);
            }
            PublicKey::from_ec_point(key_type, &point).map_err(JwkError::Key)
        }
        "RSA" => {
            let modulus = decode("n", required(members.n.as_ref(), "n")?)?;
            let exponent = decode("e", required(members.e.as_ref(), "e")?)?;
            PublicKey::from_rsa(&modulus, &exponent).map_err(JwkError::Key)
        }
        // Ed25519 keys can only be certified here, so a private one is refused.
        "OKP" if members.crv.as_deref() == Some(ED25519) && !members.is_private => {
            let octets = decode("x", required(members.x.as_ref(), "x")?)?;
            if octets.len() != ED25519_OCTETS {
                return Err(JwkError::Length { member: "x", octets: ED25519_OCTETS });
            }
            PublicKey::from_ed25519(&octets).map_err(JwkError::Key)
        }
        "OKP" => Err(JwkError::Key(KeyError::Unsupported(
            members.crv.clone().unwrap_or_else(|| "OKP".to_owned()),
        ))),
        other => Err(JwkError::Key(KeyError::Unsupported(other.to_owned()))),
    }
}

/// Decodes one base64url parameter. The octets are wiped when dropped.
///
/// # Errors
/// [`JwkError::Base64`] names the member; the value is not repeated.
pub fn decode(member: &'static str, value: &str) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    URL_SAFE_NO_PAD.decode(value).map(Zeroizing::new).map_err(|_| JwkError::Base64(member))
}

/// Why a JWK is refused. Never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// A member that the key type needs.
    #[error("{0} is required")]
    Missing(&'static str),
    /// Not base64url without padding.
    #[error("{0} is not base64url")]
    Base64(&'static str),
    /// A coordinate or scalar of another length than the curve's.
    #[error("{member} must have {octets} octets")]
    Length {
        /// JWK member.
        member: &'static str,
        /// Octets wanted.
        octets: usize,
    },
    /// The public key itself.
    #[error("{0}")]
    Key(KeyError),
    /// The private half does not belong to the public half.
    #[error("the private members do not match the public ones")]
    Mismatch,
}

impl JwkError {
    /// The parameter to blame, when it is one.
    pub fn parameter(&self) -> Option<&'static str> {
        match self {
            Self::Missing(member) | Self::Base64(member) | Self::Length { member, .. } => {
                Some(member)
            }
            Self::Key(_) | Self::Mismatch => None,
        }
    }
}

fn curve_name(key_type: KeyType) -> Option<&'static str> {
    match key_type {
        KeyType::P256 => Some("P-256"),
        KeyType::P384 => Some("P-384"),
        KeyType::P521 => Some("P-521"),
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::Ed25519 => None,
    }
}

fn required<'a>(value: Option<&'a String>, member: &'static str) -> Result<&'a str, JwkError> {
    value.map(String::as_str).ok_or(JwkError::Missing(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The EC key of RFC 7517, A.1.
    fn rfc_key() -> JwkMembers {
        JwkMembers {
            kty: Some("EC".into()),
            crv: Some("P-256".into()),
            x: Some("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into()),
            y: Some("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into()),
            ..JwkMembers::default()
        }
    }

    #[test]
    fn a_public_jwk_survives_the_round_trip_through_spki() {
        let key = parse_public(&rfc_key()).unwrap();
        let again = PublicKey::from_spki_der(key.spki_der()).unwrap();
        assert_eq!(key, again);
        let PublicJwk::Ec { x, y, .. } = PublicJwk::of(&again) else { panic!("EC") };
        assert_eq!((Some(x), Some(y)), (rfc_key().x, rfc_key().y));
    }

    /// RFC 8037, A.2 and A.3.
    #[test]
    fn a_key_of_ed25519_is_read_and_has_the_published_thumbprint() {
        let members = |is_private| JwkMembers {
            kty: Some("OKP".into()),
            crv: Some("Ed25519".into()),
            x: Some("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into()),
            is_private,
            ..JwkMembers::default()
        };
        let key = parse_public(&members(false)).unwrap();
        assert_eq!(key, PublicKey::from_spki_der(key.spki_der()).unwrap());
        let thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(PublicJwk::of(&key).thumbprint(), thumbprint);
        let refused = parse_public(&members(true)).unwrap_err();
        assert_eq!(refused.to_string(), "key type Ed25519 is not supported");
        let short = JwkMembers { x: Some("AAAA".into()), ..members(false) };
        assert_eq!(parse_public(&short).unwrap_err().to_string(), "x must have 32 octets");
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let jwk = PublicJwk::Rsa {
            kty: "RSA",
            n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw".into(),
            e: "AQAB".into(),
        };
        assert_eq!(jwk.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_point_off_the_curve_a_short_coordinate_and_a_foreign_curve_are_refused() {
        let mut off = rfc_key();
        off.y = rfc_key().x;
        assert_eq!(parse_public(&off), Err(JwkError::Key(KeyError::NotOnCurve(KeyType::P256))));
        let mut short = rfc_key();
        short.x = Some("MKBC".into());
        assert!(matches!(parse_public(&short), Err(JwkError::Length { member: "x", octets: 32 })));
        let mut foreign = rfc_key();
        foreign.crv = Some("secp256k1".into());
        assert_eq!(
            parse_public(&foreign).unwrap_err().to_string(),
            "key type secp256k1 is not supported"
        );
    }

    #[test]
    fn debug_output_never_shows_a_private_member() {
        let mut members = rfc_key();
        members.d = Some(Zeroizing::new("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE".into()));
        assert!(!format!("{members:?}").contains("870MB6"));
        assert!(!format!("{:?}", PrivateJwk::new(members)).contains("870MB6"));
    }
}
