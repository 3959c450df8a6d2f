//! What came from one connection and went to it, for people.

use std::time::Instant;

use crate::wire::Status;

/// Counts since it was opened.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Frames and bytes that came and went, for people.
    pub frames_read: u64,
    pub bytes_read: u64,
    pub frames_written: u64,
    pub bytes_written: u64,
    /// Frames dropped for it.
    pub dropped: u64,
    /// Its frames that were refused, if some were.
    pub rejects: Option<Box<Rejects>>,
    /// Whether it ever sent DATA.
    pub publishes: bool,
}

/// Frames of one peer that were refused.
#[derive(Clone, Copy, Debug)]
pub struct Rejects {
    pub count: u64,
    /// The last of them.
    pub last: Status,
    pub at: Instant,
}
