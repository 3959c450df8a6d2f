//! What the gateway and its tools are computed with: order, queues, reassembly, memory and its bounds. Pure: no sockets,
//! threads, clocks or files; the caller brings the time.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod backoff;
pub mod call_queue;
pub mod histogram;
pub mod limits;
pub mod memory;
pub mod random;
pub mod ranges;
pub mod reassembly;
pub mod reorder;
pub mod units;
