//! The network side: mutual TLS, the route table, JSON, status codes. Nothing below knows of them.

mod api;
mod body;
mod caching;
mod connection;
mod context;
mod current;
mod dispatch;
mod door;
mod exchange;
mod headers;
mod http2;
pub mod invalid;
pub mod json;
mod limits;
mod listen;
mod metrics;
mod once;
mod openapi;
mod parse;
mod problem;
mod pulse;
mod query;
mod rate;
mod refusals;
mod request_counter;
mod room;
mod route;
mod router;
mod secret;
mod server;
mod shares;
mod tally;
mod tls;
pub mod wire;

pub use current::Current;
pub use limits::Limits;
pub use pulse::Pulse;
pub use server::{
    Api, ApiConfig, Listeners, NewTls, PlainListeners, Running, check_tls, client_ca_subjects,
};
pub use tally::BOUNDED_LINES;
pub use tls::{TlsWatch, check_client_files};
