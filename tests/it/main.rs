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
mod crash;
mod evidence;
mod judges;
mod keys;
mod layers;
mod load;
mod raw;
mod refusals;
mod secrets;
mod spy;
mod tls;
