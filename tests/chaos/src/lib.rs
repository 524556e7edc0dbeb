//! A PKCS#11 module that wraps another one and fails on order; `README.md` describes the orders.

#![allow(non_snake_case, reason = "the functions of PKCS#11 bear their own names")]
#![allow(clippy::wildcard_imports, reason = "the types of PKCS#11, of which there are many")]

mod call;
mod count;
mod faults;
mod functions;
mod mechanisms;
mod names;
mod orders;
mod state;
mod trace;
mod turn;

pub use functions::C_GetFunctionList;
