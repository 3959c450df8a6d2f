//! Connecting to a web server: its endpoints, one blocking request for who asks once, and why a connection ended that
//! should have lived on. What is said on it is [`wire`](crate::http::wire)'s.

mod ask;
mod endpoints;
mod failure;
mod prepare;

pub use ask::{Answer, ask};
pub use endpoints::{Endpoints, Verdict, resolve};
pub use failure::{Failure, without_number};
pub use prepare::{Failed, find, prepare};
