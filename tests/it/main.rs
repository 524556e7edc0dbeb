//! The real binary, a real SoftHSM2 token, real mutual TLS. Each test has a daemon, a token directory
//! and a ledger of its own.

#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod accepted;
mod access;
mod appliance;
mod check;
mod contract;
mod corpus;
mod judges;
mod layers;
mod refusals;
mod secrets;
mod tls;
mod vical;
