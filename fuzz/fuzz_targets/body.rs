//! The body of a request: JSON, then each reader of it.
#![no_main]

use chancery::http::{
    json::{self, Node},
    wire,
};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Ok(value) = json::parse(octets) else { return };
    let _ = wire::iaca::request(Node::body(&value));
    let _ = wire::document_signer::request(Node::body(&value));
    let _ = wire::generic::request(Node::body(&value));
    let _ = wire::csr::request(Node::body(&value));
    let _ = wire::store::content(Node::body(&value));
    let _ = wire::vical::request(Node::body(&value));
    let _ = wire::key::key_descriptor(Node::body(&value));
    let _ = wire::key::public_key_source(Node::body(&value));
});
