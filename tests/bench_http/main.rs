//! `bench http` against servers that behave, and servers that do not.
#![cfg(unix)]

mod faults;
mod nginx;
mod program;
mod server;
#[path = "../support/nginx.rs"]
mod support;
