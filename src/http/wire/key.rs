//! Key descriptors and public key sources.

use zeroize::Zeroizing;

use super::member::{CSR, JWK};
use crate::{
    domain::{
        jwk::{self, JwkMembers, PrivateJwk},
        member::{self, Alias, RequestKey},
        path::{KeyPath, PathError},
        request::{KeyDescriptor, KeySource, Pem, SubjectKey},
    },
    http::{
        invalid::Invalid,
        json::{self, Member, Node, Object, Value},
    },
};

#[derive(Clone, Copy)]
enum DescriptorTag {
    Kms,
    Jwk,
}

/// Reads the descriptor of a key.
pub fn key_descriptor(key: RequestKey) -> impl Fn(Node<'_>) -> Result<KeyDescriptor, Invalid> {
    move |node| read_descriptor(key, node)
}

fn read_descriptor(key: RequestKey, node: Node<'_>) -> Result<KeyDescriptor, Invalid> {
    let mut object = node.object()?;
    let tag = object.tag(&[
        ("kms-hosted-key-descriptor", DescriptorTag::Kms),
        ("jwk-encoded-key-descriptor", DescriptorTag::Jwk),
    ])?;
    let source = match tag {
        DescriptorTag::Kms => KeySource::Kms(object.required("keyIdPath", |node| {
            KeyPath::parse(node.text()?).map_err(|error| match error {
                // Not what stands there: a key that is put in the wrong place stays unsaid.
                PathError::Character { wrong, .. } => {
                    node.invalid(format!("{wrong:?} is not allowed"))
                }
                PathError::EmptyElement | PathError::TooLong | PathError::TooShort => {
                    node.invalid(error)
                }
            })
        })?),
        DescriptorTag::Jwk => {
            let (node, alias) = one_of(&mut object, &JWK)?;
            jwk_source(node, member::Member::Jwk(key, alias))?
        }
    };
    object.finish()?;
    Ok(KeyDescriptor { key, source })
}

/// The one member of several names for the same thing, and which name it has.
fn one_of<'a>(
    object: &mut Object<'a>,
    names: &[&'static str],
) -> Result<(Node<'a>, Alias), Invalid> {
    let aliases = (0..).map(Alias);
    let given: Vec<_> = (names.iter().zip(aliases))
        .filter_map(|(name, alias)| Some((object.get(name)?, alias)))
        .collect();
    match <[_; 1]>::try_from(given) {
        Ok([named]) => Ok(named),
        Err(given) if given.is_empty() => Err(object.missing(names[0])),
        Err(_) => Err(object.invalid(format!("give exactly one of {}", names.join(", ")))),
    }
}

/// `jwk` is an object, or a string that holds the JSON of one.
fn jwk_source(node: Node<'_>, member: member::Member) -> Result<KeySource, Invalid> {
    if !node.is_string() {
        let members = jwk_members(&node, node.as_members()?)?;
        return source_of(members, &node, member);
    }
    let value = json::parse(node.long_text()?.as_bytes())
        .map_err(|_| node.invalid("the string does not hold one JSON object"))?;
    let Value::Object(members) = &value else {
        return Err(node.invalid("the string does not hold one JSON object"));
    };
    source_of(jwk_members(&node, members)?, &node, member)
}

fn source_of(
    members: JwkMembers,
    node: &Node<'_>,
    member: member::Member,
) -> Result<KeySource, Invalid> {
    if members.is_private {
        // Unread: whether it may be read at all is decided later, after the rules of the fields.
        return Ok(KeySource::PrivateJwk { jwk: PrivateJwk::new(members), member });
    }
    let key = jwk::parse_public(&members).map_err(|error| node.invalid(error))?;
    Ok(KeySource::PublicJwk { key, member })
}

/// Unknown members of a JWK are ignored (RFC 7517, section 4).
pub(super) fn jwk_members(node: &Node<'_>, members: &[Member<'_>]) -> Result<JwkMembers, Invalid> {
    let secret = |name: &str| {
        members
            .iter()
            .find(|(member, value)| **member == *name && !matches!(value, Value::Null))
            .map(|(_, value)| {
                let Value::String(text) = value else {
                    return Err(node.invalid(format!("{name} must be a string")));
                };
                Ok(Zeroizing::new((**text).to_owned()))
            })
            .transpose()
    };
    let text = |name: &str| secret(name).map(|value| value.map(|text| text.to_string()));
    let crt = match (secret("p")?, secret("q")?, secret("dp")?, secret("dq")?, secret("qi")?) {
        (Some(p), Some(q), Some(dp), Some(dq), Some(qi)) => Some([p, q, dp, dq, qi]),
        _ => None,
    };
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    Ok(JwkMembers {
        kty: text("kty")?,
        crv: text("crv")?,
        x: text("x")?,
        y: text("y")?,
        n: text("n")?,
        e: text("e")?,
        d: secret("d")?,
        crt,
        is_private: members
            .iter()
            .any(|(name, value)| PRIVATE.contains(&&**name) && !matches!(value, Value::Null)),
    })
}

#[derive(Clone, Copy)]
enum SourceTag {
    Descriptor,
    Csr,
}

/// Reads the source of a public key.
pub fn public_key_source(key: RequestKey) -> impl Fn(Node<'_>) -> Result<SubjectKey, Invalid> {
    move |node| read_source(key, node)
}

fn read_source(key: RequestKey, node: Node<'_>) -> Result<SubjectKey, Invalid> {
    let mut object = node.object()?;
    let tag = object.tag(&[("key-descriptor", SourceTag::Descriptor), ("csr", SourceTag::Csr)])?;
    let source = match tag {
        SourceTag::Descriptor => {
            SubjectKey::Descriptor(object.required("keyDescriptor", key_descriptor(key))?)
        }
        SourceTag::Csr => {
            let (node, alias) = one_of(&mut object, &CSR)?;
            SubjectKey::Csr(pem(member::Member::Csr(key, alias))(node)?)
        }
    };
    object.finish()?;
    Ok(source)
}

/// Takes PEM text as it is; what is in it is read where it is needed.
pub fn pem(member: member::Member) -> impl Fn(Node<'_>) -> Result<Pem, Invalid> {
    move |node| Ok(Pem { member, text: node.long_text()?.to_owned() })
}
