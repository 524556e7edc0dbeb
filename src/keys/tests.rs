use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    fixtures,
    jwk::{JwkMembers, PrivateJwk},
    member::{Alias, Member, RequestKey},
    tree::{Node, Origin, Vical},
};

fn path(text: &str) -> ResourcePath {
    ResourcePath::parse(text).unwrap()
}

fn key(text: &str) -> KeyPath {
    KeyPath::parse(text).unwrap()
}

/// An x509 service with a KMS of its own, one of its organisation, and one that is not attached. The
/// policy of one key allows IACAs alone.
fn tree() -> ResourceTree {
    let policies = BTreeMap::from([(key("acme.kms.roots").id(), vec![KeyPurpose::Iaca])]);
    let kms = |policies| Node::Service(Service::Kms(Kms { policies, ..Kms::default() }));
    let x509 = Service::X509 { dependencies: vec![path("acme.kms"), path("acme.dmv.kms")] };
    let vical = Service::Vical(Vical {
        signing_key: key("acme.other.k"),
        signer_certificate: path("acme.certs.k"),
        signer_certificate_chain: Vec::new(),
        dependencies: Vec::new(),
    });
    let mut tree = ResourceTree::default();
    for (at, node) in [
        ("acme", Node::Organisation),
        ("acme.dmv", Node::Tenant("dmv".to_owned())),
        ("acme.kms", kms(policies)),
        ("acme.dmv.kms", kms(BTreeMap::new())),
        ("acme.other", kms(BTreeMap::new())),
        ("acme.x509", Node::Service(x509)),
        ("acme.vical", Node::Service(vical)),
        ("rival", Node::Organisation),
        ("rival.kms", kms(BTreeMap::new())),
    ] {
        tree.insert(path(at), Origin::Config, node).unwrap();
    }
    tree
}

fn keyring(dev: bool) -> Keyring {
    Keyring::new(Vec::new(), DevKeysAllowed::from_flag(dev), [])
}

fn descriptor(source: KeySource) -> KeyDescriptor {
    KeyDescriptor { key: RequestKey::Subject, source }
}

fn private_jwk() -> KeyDescriptor {
    let jwk = PrivateJwk::new(JwkMembers { is_private: true, ..JwkMembers::default() });
    descriptor(KeySource::PrivateJwk { jwk, member: Member::Jwk(RequestKey::Subject, Alias(0)) })
}

fn refusal(keyring: &Keyring, descriptor: &KeyDescriptor, role: KeyRole) -> KeyRefusal {
    match keyring.admit(descriptor, &tree(), &path("acme.x509"), role) {
        Ok(_) => panic!("admitted"),
        Err(refusal) => refusal,
    }
}

const IACA: KeyRole = KeyRole::Signing(KeyPurpose::Iaca);
const GENERIC: KeyRole = KeyRole::Signing(KeyPurpose::Generic);

#[test]
fn the_attached_kms_with_the_longest_path_holds_the_key() {
    let (tree, service) = (tree(), path("acme.x509"));
    let found = |text: &str| {
        attached_kms(&key(text), &tree, &service).map(|(path, _)| path.as_str().to_owned())
    };
    assert_eq!(found("acme.kms.k").as_deref(), Some("acme.kms"));
    assert_eq!(found("acme.dmv.kms.k").as_deref(), Some("acme.dmv.kms"));
    assert_eq!(found("acme.kms.deeper.k").as_deref(), Some("acme.kms"));
    assert_eq!(found("acme.other.k"), None);
    assert_eq!(found("acme.dmv.k"), None);
}

#[test]
fn a_private_jwk_is_read_in_dev_mode_alone() {
    let in_production = refusal(&keyring(false), &private_jwk(), IACA);
    assert!(matches!(in_production, KeyRefusal::PrivateJwk), "{in_production:?}");
    let in_dev_mode = refusal(&keyring(true), &private_jwk(), IACA);
    assert!(matches!(in_dev_mode, KeyRefusal::Jwk(_)), "{in_dev_mode:?}");
}

#[test]
fn a_public_jwk_is_certified_and_signs_nothing() {
    let member = Member::Jwk(RequestKey::Subject, Alias(0));
    let public = descriptor(KeySource::PublicJwk { key: fixtures::first_key(), member });
    let keyring = keyring(true);
    let signs = refusal(&keyring, &public, GENERIC);
    assert!(matches!(signs, KeyRefusal::PublicCannotSign), "{signs:?}");
    let certified = keyring.admit(&public, &tree(), &path("acme.x509"), KeyRole::Subject);
    assert!(matches!(certified, Ok(Admitted::Public(_))));
}

#[test]
fn a_key_is_of_an_attached_kms_exactly_below_it_and_its_policy_allows_the_purpose() {
    let keyring = keyring(false);
    let of = |text: &str, role| refusal(&keyring, &descriptor(KeySource::Kms(key(text))), role);
    assert!(matches!(of("acme.other.k", IACA), KeyRefusal::NotAttached { .. }));
    assert!(matches!(of("acme.kms.deeper.k", IACA), KeyRefusal::Faulty(_, KeyFault::Missing)));
    assert!(matches!(of("acme.kms.roots", GENERIC), KeyRefusal::Policy(_, KeyPurpose::Generic)));
    // These are allowed, and fail at last for want of a configured token.
    for (text, role) in [
        ("acme.kms.roots", IACA),
        ("acme.kms.roots", KeyRole::Subject),
        ("acme.kms.leaves", GENERIC),
    ] {
        let found = of(text, role);
        assert!(matches!(found, KeyRefusal::Faulty(_, KeyFault::Hsm(_))), "{text}: {found:?}");
    }
}

#[test]
fn a_service_signs_with_a_declared_key_of_its_organisation_attached_or_not() {
    let (keyring, tree, service) = (keyring(false), tree(), path("acme.vical"));
    let own = |text: &str| match keyring.admit_own(&key(text), &tree, &service, KeyPurpose::Vical) {
        Ok(_) => panic!("admitted"),
        Err(refusal) => refusal,
    };
    assert!(matches!(own("acme.other.k"), KeyRefusal::Faulty(_, KeyFault::Hsm(_))));
    assert!(matches!(own("rival.kms.k"), KeyRefusal::NotAttached { .. }));
    assert!(matches!(own("acme.none.k"), KeyRefusal::Faulty(_, KeyFault::Missing)));
    assert!(matches!(own("acme.kms.roots"), KeyRefusal::Policy(..)));
}

#[test]
fn what_a_request_says_is_blamed_before_what_a_token_has() {
    let path = || key("acme.kms.k");
    let in_order = [
        KeyRefusal::PublicCannotSign,
        KeyRefusal::PrivateJwk,
        KeyRefusal::NotAttached { kms: path().kms(), service: path().kms() },
        KeyRefusal::Policy(path(), KeyPurpose::Iaca),
        KeyRefusal::Faulty(path(), KeyFault::Missing),
    ];
    assert!(in_order.windows(2).all(|pair| pair[0].precedence() < pair[1].precedence()));
}
