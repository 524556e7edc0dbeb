//! Chancery: an on-prem signing appliance whose private keys never leave an HSM.
pub mod cli;
pub mod domain;
pub mod hsm;
