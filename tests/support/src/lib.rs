//! What the test programs and the benchmarks share: a token, an appliance on it, the daemon, and its
//! clients. Nothing here knows the types of `chancery`; see `Cargo.toml` for the reason.

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
