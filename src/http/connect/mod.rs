//! The way to a web server, for whoever sends many requests: its addresses, and why a
//! connection ended that should have lived on. What is said on it is [`http`](crate::http::wire)'s.

mod ask;
mod failure;
mod places;
mod way;

pub use ask::{Answer, ask};
pub use failure::{Failure, without_number};
pub use places::{Places, Verdict, resolve};
pub use way::{Failed, find, prepare};
