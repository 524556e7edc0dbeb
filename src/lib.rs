//! Chancery: an on-prem signing appliance whose private keys never leave an HSM.

pub mod domain;
pub mod audit;
pub mod ledger;
pub mod x509;
pub mod hsm;
pub mod cli;
