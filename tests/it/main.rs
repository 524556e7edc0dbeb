//! The real binary, a real SoftHSM2 token, real mutual TLS. Each test has a daemon, a token directory
//! and a ledger of its own.

#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]
#![allow(
    clippy::type_complexity,
    clippy::wildcard_enum_match_arm,
    reason = "the rows of a table are tuples, and JSON gets no new kinds"
)]

mod accepted;
mod access;
mod backup;
mod cage;
mod check;
mod cli;
mod contract;
mod corpus;
mod crash;
mod crl;
mod documents;
mod edwards;
mod foreign_keys;
mod fuzz;
mod hostile;
mod http2;
mod idempotency;
mod inventory;
mod issuers;
mod judges;
mod key_faults;
mod keys;
mod layers;
mod ledger_faults;
mod ledger_growth;
mod ledger_place;
mod ledger_slow;
mod limits;
mod metrics;
mod modules;
mod monitoring;
mod openapi;
mod openapi_examples;
mod outages;
mod pinned;
mod pins;
mod plug;
mod races;
mod raw;
mod refusals;
mod reload;
mod resources;
mod secrets;
mod service_manager;
mod stopping;
mod stores;
mod tls;
mod twins;
mod upgrade;
mod vical;

use chancery_test_support::{self as support, appliance, chaos, evidence, load, outage, spy};
