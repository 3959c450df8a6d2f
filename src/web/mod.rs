//! The way to a web server, for whoever sends many requests: its addresses, TLS, a connection's bytes, and why
//! a connection ended that should have lived on. What is said on it is [`http`](crate::http)'s.

mod failure;
mod link;
mod places;
mod tls;

pub use failure::{Failure, without_number};
pub use link::{Got, Link};
pub use places::{Places, Verdict, resolve};
pub use tls::{Tls, Trust};
