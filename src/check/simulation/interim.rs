//! What the gateway does not do yet, and what it takes meanwhile. Each mend deletes its line, and then what no longer
//! compiles; the last deletes this file.

/// Bytes that each token of a pattern takes, and nobody is charged for: subscriptions are not charged to the memory.
pub const TOKEN: usize = 640;

/// Bytes that a frame leaves behind an earlier one of its connection that a handler has: the order is not charged.
pub const OVERTAKEN: usize = 512;

/// Bytes that a connection leaves when it ends, until its idle timeout: timer entries are not charged.
pub const ENDED: usize = 128;

/// Connections that were reset in a pause stay until the end of it.
pub const RESETS_WAIT: bool = true;
