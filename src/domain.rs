//! Values that cannot be wrong once they exist. Depends on nothing else of ours.

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
