//! From sockets to verdicts: who may be read, reading, cutting, and verdicts in order.

pub(in crate::gateway) mod admission;
pub(in crate::gateway) mod large;
pub(in crate::gateway) mod read;
pub(in crate::gateway) mod release;
