//! Where the process meets the system: sockets and pipes, worker threads, and how threads wake each other.

pub mod handler;
pub mod net;
pub mod pool;
pub mod tls;
pub mod wake;

use std::hash::{BuildHasher, RandomState};

/// A number that nobody chose, to begin a [source of chance](crate::core::random::Rng) with.
pub fn chance() -> u64 {
    RandomState::new().hash_one(0)
}
