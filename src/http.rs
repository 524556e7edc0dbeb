//! The network side: mutual TLS, the route table, JSON, status codes. Nothing below knows of them.

mod api;
mod body;
mod connection;
mod current;
mod dispatch;
mod door;
mod exchange;
mod http2;
pub mod invalid;
pub mod json;
mod listen;
mod login;
mod metrics;
mod once;
mod openapi;
mod operations;
mod plain;
mod problem;
mod public;
mod pulse;
mod query;
mod rate;
mod refusals;
mod room;
mod route;
mod secret;
mod server;
mod shares;
mod swagger;
mod tally;
mod tls;
pub mod wire;

pub use current::Current;
pub use pulse::Pulse;
pub use server::{
    Api, ApiConfig, Limits, Listeners, NewTls, PlainListeners, Running, check_tls,
    client_ca_subjects,
};
pub use tally::BOUNDED_LINES;
pub use tls::{TlsWatch, check_client_files};
