//! `bench http` against servers that behave, and servers that do not. A binary of its own, for it counts the sockets of
//! its process.
#![cfg(unix)]

mod faults;
mod nginx;
mod program;
mod server;
#[path = "../support/nginx.rs"]
mod support;
