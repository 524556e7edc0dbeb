#![doc = include_str!("architecture.md")]

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
