//! The pure layers of Framegate and their models, compiled without everything else of it: what most targets fuzz needs
//! no sockets and no programs, so neither do they need the crates for those. What is not here is a target's with the
//! feature `gateway` or `tools`, which build the library itself.

#![allow(dead_code, reason = "what only the other layers use")]

#[path = "../../src/core/mod.rs"]
pub mod core;

#[path = "../../src/wire/mod.rs"]
pub mod wire;

#[path = "../../src/testing/models/pure/mod.rs"]
pub mod models;
