//! The real binary, a real SoftHSM2 token, real mutual TLS. Each test has a daemon, a token directory
//! and a ledger of its own.

#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod appliance;
mod contract;
mod layers;
mod refusals;
mod resources;
mod stores;
mod support;
