//! Domain values. Their constructors check them, so a value that exists is valid. This layer
//! depends on no other.

pub mod alternative_name;
pub mod client;
pub mod client_name;
pub mod excerpt;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod jwk;
pub mod key;
mod label;
pub mod member;
pub mod name;
pub mod oid;
pub mod path;
pub mod request;
pub mod serial;
pub mod text;
pub mod time;
pub mod tree;
pub mod validity;
