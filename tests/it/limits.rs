//! Sizes, media types, rates, room, methods, and the login that grants nothing.

mod bodies;
mod login;
mod noise;
mod public;
mod rates;
mod room;
mod routes;
