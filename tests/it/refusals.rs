//! Every refusal of the contract, one row each: status, member to blame, words, and that nothing
//! was signed or stored.
//!
//! All rows of a module go to one daemon, and all failures are reported together.

mod bad_keys;
pub mod bench;
mod csr;
mod dev;
mod document_signer;
mod fields;
mod generic;
mod iaca;
pub mod keys;
mod mutations;
pub mod openssl;
mod order;
mod protocol;
pub mod request;
