//! The bodies of the API, exactly as they travel. One file per resource; each reads its requests
//! into the values of `domain` and writes its answers from them.

#![expect(
    clippy::missing_errors_doc,
    reason = "every reader here refuses in the same way: Invalid"
)]

pub mod csr;
pub mod document_signer;
pub mod generic;
pub mod iaca;
pub mod inventory;
pub mod key;
pub mod kms;
pub mod member;
pub mod name;
pub mod resource;
pub mod status;
pub mod store;
pub mod vical;
