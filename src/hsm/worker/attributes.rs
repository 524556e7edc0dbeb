//! Objects and their attributes. Attributes are found by type and not by position, because modules leave some
//! out and some answer in another order.

use cryptoki::object::{Attribute, AttributeType, KeyType as CkKeyType};

use super::convert::{ec_public_key, edwards_public_key};
use crate::domain::key::PublicKey;

/// The attributes that the module has given of an object.
pub(super) struct Attributes(pub(super) Vec<Attribute>);

/// The value of the attribute of this name, if the module has given it.
macro_rules! value {
    ($variant:ident, $attributes:expr) => {
        $attributes.iter().find_map(|attribute| {
            if let Attribute::$variant(value) = attribute { Some(value) } else { None }
        })
    };
}
pub(super) use value;

impl Attributes {
    pub(super) fn label(&self) -> &[u8] {
        value!(Label, self.0).map_or(&[], Vec::as_slice)
    }

    pub(super) fn id(&self) -> &[u8] {
        value!(Id, self.0).map_or(&[], Vec::as_slice)
    }

    pub(super) fn key_type(&self) -> Option<CkKeyType> {
        value!(KeyType, self.0).copied()
    }

    pub(super) fn modulus(&self) -> Option<&[u8]> {
        value!(Modulus, self.0).map(Vec::as_slice)
    }

    /// Whether the attribute was given and has this value.
    pub(super) fn says(&self, wanted: &Attribute) -> bool {
        self.0.contains(wanted)
    }
}

/// The attributes of a public key object.
pub(super) const PUBLIC: [AttributeType; 7] = [
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::EcParams,
    AttributeType::EcPoint,
    AttributeType::Modulus,
    AttributeType::PublicExponent,
];

/// The attributes that a listing reads of a private key.
pub(super) const PRIVATE: [AttributeType; 8] = [
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Sign,
    AttributeType::AlwaysAuthenticate,
    AttributeType::Extractable,
    AttributeType::Modulus,
    AttributeType::PublicKeyInfo,
];

/// The attributes that bind the key of a certificate to a private key.
pub(super) const CERTIFICATE: [AttributeType; 2] = [AttributeType::Id, AttributeType::Value];

/// The key in a public key object.
///
/// # Errors
/// Why it cannot be used, for the operator.
pub(super) fn read_public(public: &Attributes) -> Result<PublicKey, String> {
    match public.key_type() {
        Some(kind @ (CkKeyType::EC | CkKeyType::EC_EDWARDS)) => {
            let params = value!(EcParams, public.0).ok_or("CKA_EC_PARAMS cannot be read")?;
            let point = value!(EcPoint, public.0).ok_or("CKA_EC_POINT cannot be read")?;
            match kind == CkKeyType::EC {
                true => ec_public_key(params, point),
                false => edwards_public_key(params, point),
            }
        }
        Some(CkKeyType::RSA) => {
            let modulus = public.modulus().ok_or("CKA_MODULUS cannot be read")?;
            let exponent =
                value!(PublicExponent, public.0).ok_or("CKA_PUBLIC_EXPONENT cannot be read")?;
            PublicKey::from_rsa(modulus, exponent).map_err(|error| error.to_string())
        }
        Some(other) => Err(format!("{other} is not supported")),
        None => Err("CKA_KEY_TYPE cannot be read".to_owned()),
    }
}
