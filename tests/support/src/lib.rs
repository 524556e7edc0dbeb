//! Shared code of the test programs and benchmarks: a token, an appliance with it, the daemon and its clients. It does
//! not use the types of `chancery`; `Cargo.toml` says why.

pub mod appliance;
pub mod chaos;
pub mod evidence;
pub mod load;
pub mod outage;
pub mod softhsm;
pub mod spy;
pub mod twins;

mod answers;
mod client;
mod daemon;
mod processes;
mod raw;
mod requests;

pub use answers::{duplicate, members, refused};
pub use processes::{binary, repository, scratch, signs};
pub use raw::{Raw, tls_of};
pub use requests::{iaca, leaf};
