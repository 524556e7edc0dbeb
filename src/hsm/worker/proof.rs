//! Proof that a new key is what was requested: its attributes are read back, and it makes a signature that is
//! verified in software. That the token has reported success is not enough.

use cryptoki::{
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};

use super::{
    attributes::{Attributes, PUBLIC, read_public},
    classify::fault,
    module::OpenToken,
    quirks::Quirks,
    scheme::Scheme,
    signing::x509_form,
    templates::Pair,
};
use crate::{
    domain::key::{Digest, PublicKey},
    hsm::{
        fault::{Class, Fault},
        key_change::{KeyName, Wanted},
        protocol::ListedKey,
    },
};

/// The result of the examination.
pub(super) enum Proof {
    /// The key is what was requested.
    Good(ListedKey),
    /// It is not; the reason is for the operator.
    Bad(String),
    /// The token has changed the label.
    Label,
}

const READ_BACK: [AttributeType; 6] = [
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::NeverExtractable,
    AttributeType::Sign,
];

/// The attribute that tells a generated key from an imported one, for which it is false (PKCS#11 v2.40,
/// `C_CreateObject`), in addition to `CKA_NEVER_EXTRACTABLE`.
fn made_inside(quirks: &Quirks) -> (Attribute, &'static str) {
    match quirks.local_says_nothing {
        false => (Attribute::Local(true), "CKA_LOCAL is not true"),
        true => (Attribute::AlwaysSensitive(true), "CKA_ALWAYS_SENSITIVE is not true"),
    }
}

/// Examines a key.
///
/// # Errors
/// [`Fault`] when the token does not answer.
pub(super) fn of(
    token: &OpenToken,
    session: &Session,
    name: &KeyName,
    pair: &Pair,
    wanted: &Wanted,
) -> Result<Proof, Fault> {
    let read = |handle, types: &[AttributeType]| token.attributes(session, handle, types);
    let made_inside = made_inside(&token.quirks);
    let asked = [&READ_BACK[..], &[made_inside.0.attribute_type()]].concat();
    let private = read(pair.private, &asked)?;
    let public = read(pair.public, &[AttributeType::Id])?;
    if private.label() != name.label.as_bytes() {
        return Ok(Proof::Label);
    }
    if private.id() != name.id || public.id() != name.id {
        return Ok(Proof::Bad("CKA_ID is not the one that was given".to_owned()));
    }
    if let Some(reason) = unfit(&private, wanted, made_inside) {
        return Ok(Proof::Bad(reason));
    }
    let key = match public_half(token, session, pair.public)? {
        Ok(key) => key,
        Err(reason) => return Ok(Proof::Bad(reason)),
    };
    let fits = match wanted {
        Wanted::Generated(key_type) => key.key_type() == *key_type,
        Wanted::Imported(spki) => key.spki_der() == spki,
    };
    if !fits {
        return Ok(Proof::Bad(format!(
            "the public key is another one, of type {}",
            key.key_type()
        )));
    }
    if !signs(token, session, pair.private, &key)? {
        return Ok(Proof::Bad("its signature does not verify".to_owned()));
    }
    Ok(Proof::Good(ListedKey {
        label: name.label.clone(),
        id: name.id.clone(),
        public_key: Ok(key.spki_der().to_vec()),
        extractable: false,
    }))
}

/// The key in a public object, or why it cannot be used.
///
/// # Errors
/// [`Fault`] when the token does not answer.
pub(super) fn public_half(
    token: &OpenToken,
    session: &Session,
    public: ObjectHandle,
) -> Result<Result<PublicKey, String>, Fault> {
    let attributes = token.attributes(session, public, &PUBLIC)?;
    Ok(read_public(&attributes))
}

/// What is wrong with the attributes. A required attribute that the token does not show is wrong.
fn unfit(
    private: &Attributes,
    wanted: &Wanted,
    made_inside: (Attribute, &'static str),
) -> Option<String> {
    let always = [
        (Attribute::Sensitive(true), "CKA_SENSITIVE is not true"),
        (Attribute::Extractable(false), "CKA_EXTRACTABLE is not false"),
        (Attribute::Sign(true), "CKA_SIGN is not true"),
    ];
    // Not for an imported key, because it was outside the token (PKCS#11 v2.40, 4.9).
    let generated =
        [(Attribute::NeverExtractable(true), "CKA_NEVER_EXTRACTABLE is not true"), made_inside];
    let also = match wanted {
        Wanted::Generated(_) => &generated[..],
        Wanted::Imported(_) => &[],
    };
    always
        .iter()
        .chain(also)
        .find(|(attribute, _)| !private.says(attribute))
        .map(|(_, words)| (*words).to_owned())
}

/// Whether a private key makes signatures that this public key verifies.
///
/// # Errors
/// [`Fault`] when the token does not answer, or returns something else than a signature.
pub(super) fn signs(
    token: &OpenToken,
    session: &Session,
    private: ObjectHandle,
    key: &PublicKey,
) -> Result<bool, Fault> {
    let mut message = [0; 32];
    // Without randomness the proof is weaker and still correct.
    let _ = aws_lc_rs::rand::fill(&mut message);
    let key_type = key.key_type();
    let algorithm = key_type.signature_algorithm();
    let Some(scheme) = Scheme::of(algorithm, &token.mechanisms) else { return Ok(false) };
    let digest = Digest::of(algorithm.hash(), &message);
    let Some(input) = scheme.input(&digest, Some(&message)) else { return Ok(false) };
    let output =
        token.sign(session, &scheme.mechanism, private, &input).map_err(|error| fault(&error))?;
    let signature =
        x509_form(key_type, output).map_err(|words| Fault::ours(Class::Device, "C_Sign", words))?;
    Ok(key.verifies(&message, &signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::KeyType;

    fn good() -> Vec<Attribute> {
        vec![
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::NeverExtractable(true),
            Attribute::Local(true),
            Attribute::Sign(true),
        ]
    }

    fn is_fit(attributes: Vec<Attribute>, wanted: &Wanted) -> bool {
        unfit(&Attributes(attributes), wanted, made_inside(&Quirks::default())).is_none()
    }

    #[test]
    fn a_key_that_lies_or_hides_in_one_attribute_is_unfit() {
        let generated = Wanted::Generated(KeyType::P256);
        assert!(is_fit(good(), &generated));
        let lies = [
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::NeverExtractable(false),
            Attribute::Local(false),
            Attribute::Sign(false),
        ];
        for (index, lie) in lies.into_iter().enumerate() {
            let (mut lying, mut hiding) = (good(), good());
            lying[index] = lie.clone();
            hiding.remove(index);
            assert!(!is_fit(lying, &generated), "{lie:?}");
            assert!(!is_fit(hiding, &generated), "{lie:?} hidden");
        }
    }

    #[test]
    fn where_local_says_nothing_a_brought_key_is_unfit_all_the_same() {
        let quirks = Quirks::of("Mozilla Foundation", "NSS 3").unwrap();
        let generated = Wanted::Generated(KeyType::P256);
        let made = |never_extractable, always_sensitive, local| {
            let mut made = good();
            made[2] = Attribute::NeverExtractable(never_extractable);
            made[3] = Attribute::Local(local);
            made.push(Attribute::AlwaysSensitive(always_sensitive));
            unfit(&Attributes(made), &generated, made_inside(&quirks))
        };
        assert_eq!(made(true, true, false), None);
        for (never_extractable, always_sensitive) in [(true, false), (false, true)] {
            assert!(made(never_extractable, always_sensitive, true).is_some());
        }
        assert!(unfit(&Attributes(good()), &generated, made_inside(&quirks)).is_some(), "hidden");
    }

    #[test]
    fn an_imported_key_was_outside_and_is_sensitive_all_the_same() {
        let imported = Wanted::Imported(Vec::new());
        let mut outside = good();
        outside[2] = Attribute::NeverExtractable(false);
        outside[3] = Attribute::Local(false);
        assert!(is_fit(outside.clone(), &imported));
        outside[1] = Attribute::Extractable(true);
        assert!(!is_fit(outside, &imported));
    }
}
