//! The network side: mutual TLS, the route table, JSON, status codes. Nothing below knows of them.

mod api;
mod body;
mod current;
mod dispatch;
pub mod json;
mod login;
mod metrics;
mod once;
mod openapi;
mod operations;
mod plain;
mod problem;
mod public;
mod query;
mod rate;
mod room;
mod route;
mod server;
mod swagger;
mod tls;
pub mod wire;

pub use server::{Api, ApiConfig, Limits, Listeners, NewTls, PlainListeners, Running, check_tls};
