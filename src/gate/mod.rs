//! One thread, one turn: every connection and every decision about it.
mod config;
pub use config::{BadDigestPolicy, Config, SlowPolicy};
