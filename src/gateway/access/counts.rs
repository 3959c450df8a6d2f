//! What was refused.

use crate::wire::access::REFUSALS;

/// Since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections, by the kind of the refusal.
    pub refused: [u64; REFUSALS.len()],
    /// Frames that may not be published, and patterns that may not be subscribed to.
    pub denied: [u64; 2],
    /// Patterns that were taken from their subscribers when the file changed.
    pub patterns_taken: u64,
}
