//! Where the process meets the system: sockets and pipes, worker threads, and how threads wake each other.

pub mod handler;
pub mod net;
pub mod pool;
pub mod wake;
