//! Chancery: an on-prem signing appliance whose private keys never leave an HSM.
//!
//! ```text
//!  cli → app → http → service ─┬─► x509, vical      pure: bytes in, bytes out
//!               │              ├─► keys → hsm       who may use which key; the signer processes
//!               └─► config     ├─► ledger → audit   what must not be forgotten
//!                              └─► access           who may do what
//!                 everything ──► domain             values that cannot be wrong; depends on nothing of ours
//!                                metrics            what is measured, for those who measure
//! ```
//!
//! Arrows point one way. `tests/it/layers.rs` reads this tree and fails on any other.
//!
//! One request, top to bottom: [`http`] reads the client certificate, finds the route, checks the
//! grant and turns JSON into a [`domain::request`]; [`service::issue`] is the corridor that every
//! certificate goes through, step by step; [`keys`] finds the key, [`x509`] plans, encodes and lints,
//! [`ledger`] records the intent, [`hsm`] has a signer process sign, [`x509`] verifies, [`ledger`]
//! records the outcome; only then there is an answer.
//!
//! What holds everywhere:
//! * Nothing is signed that was not linted and recorded, byte for byte.
//! * Nothing leaves that does not verify under the pinned key, or that is not durable.
//! * The process that faces the network loads no PKCS#11 module and sees no PIN.
//! * Time, serials and keys are arguments below `service`.

pub mod domain;
pub mod metrics;

pub mod vical;
pub mod x509;

pub mod audit;
pub mod ledger;

pub mod hsm;
pub mod keys;

pub mod access;
pub mod service;

pub mod http;

pub mod app;
pub mod cli;
pub mod config;
pub mod systemd;
