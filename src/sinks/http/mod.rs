//! The HTTP sink: every distributed frame is POSTed to a store, a bounded number at once.
//!
//! ```text
//! gate ─ put ─ queue ─┬─ dispatcher ─ outcome ─ queue ─ gate
//!                     └─ behind its key (ordered) ─┘
//! ```
//!
//! The body is the frame's payload; its topic, key and id are header fields, and its digest in hex is the
//! Idempotency-Key: a store that knows the key need not store it again. Frames begin in the order in which they were
//! put. In order, one frame of a key is under way at a time, so that those of a key also end in order.
//!
//! Everything happens on a thread of the sink's own, with a reactor of its own: the dispatcher's. A store that is away
//! is waited for, for a time; then what waits is refused, and what comes later too until it is back.

mod keys;
mod request;
mod thread;

pub use thread::{HttpSink, Options};
