//! Framegate: verified frames in, in order out.
#[cfg(any(test, feature = "check"))]
pub mod check;
pub mod cli;
pub mod error;
pub mod frame;
pub mod gate;
pub mod gateway;
pub mod ledger;
pub mod limits;
pub mod memory;
pub mod net;
pub mod order;
pub mod pool;
