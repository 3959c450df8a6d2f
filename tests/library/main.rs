//! The library as programs use it: gateways in this process, their clients and handlers.

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(feature = "access", feature = "layouts"))]
mod access;
mod bad_input;
mod client;
mod control;
mod copies;
mod formats;
mod gateway;
mod handlers;
mod handlers_memory;
mod hang_ups;
#[cfg(feature = "layouts")]
mod layouts;
mod parts;
mod rust_handler;
#[cfg(unix)]
mod store;
