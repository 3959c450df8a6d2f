//! When a frame counts as done: what sinks confirm, replies that wait for it, and digests that were accepted.

pub(crate) mod dedup;
pub(in crate::gateway) mod pending;
pub(crate) mod sink_set;
pub(in crate::gateway) mod tickets;
