//! What the fuzz targets do with their input. `tests/it/fuzz.rs` does the same with a few thousand inputs,
//! on a stable compiler.

use chancery::{
    domain::{
        jwk::{JwkMembers, parse_public},
        key::PublicKey,
        member::RequestKey,
        path::{KeyPath, ResourcePath},
    },
    http::{
        json::{self, Node},
        wire,
    },
    x509::{Certificate, Outline, csr::CertificationRequest, lint, pem},
};

/// The body of a request: JSON, then each reader of it.
pub fn body(octets: &[u8]) {
    let Ok(value) = json::parse(octets) else { return };
    let _ = wire::iaca::request(Node::body(&value));
    let _ = wire::document_signer::request(Node::body(&value));
    let _ = wire::generic::request(Node::body(&value));
    let _ = wire::csr::request(Node::body(&value));
    let _ = wire::store::content(Node::body(&value));
    let _ = wire::vical::request(Node::body(&value));
    let _ = wire::key::key_descriptor(RequestKey::Subject)(Node::body(&value));
    let _ = wire::key::public_key_source(RequestKey::Subject)(Node::body(&value));
}

/// The members of a public JWK.
pub fn jwk(members: [Option<String>; 6]) {
    let [kty, crv, x, y, n, e] = members;
    let _ = parse_public(&JwkMembers { kty, crv, x, y, n, e, ..JwkMembers::default() });
}

/// Paths of resources and of keys: what is accepted reads the same again.
pub fn path(text: &str) {
    if let Ok(path) = ResourcePath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert!(path.is_at_or_under(&path));
    }
    if let Ok(path) = KeyPath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert_eq!(KeyPath::of(&path.kms(), &path.id()), path);
    }
}

/// PEM, and what comes in it from clients: certification requests, certificates, public keys. DER goes
/// in as it is, too, since libFuzzer is no friend of base64.
pub fn pem(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = pem::decode(&["CERTIFICATE"], text);
        let _ = CertificationRequest::from_pem(text);
    }
    let _ = CertificationRequest::from_pem(&pem::encode("CERTIFICATE REQUEST", octets));
    if let Ok(certificate) = Certificate::from_der(octets) {
        let _ = (lint::supplied_iaca(&certificate), lint::supplied_iaca_warnings(&certificate));
        let _ = (certificate.subject().to_string(), lint::vical_signer(&certificate));
    }
    let _ = Outline::from_pem(&pem::encode("CERTIFICATE", octets));
    let _ = PublicKey::from_spki_der(octets);
}
