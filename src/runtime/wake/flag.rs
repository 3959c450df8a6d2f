//! Waking the reactor once for many things that others bring it.

use super::sync::{AtomicBool, Ordering};

/// A flag between those who push to a queue and the one who drains it.
///
/// Pushers push, then [`raise`](Self::raise), and wake the drainer if they were the one that raised
/// it. The drainer calls [`lower`](Self::lower) *before* its last look at the queue ahead of a sleep:
/// a push that this look misses finds the flag lowered and wakes. While the drainer is awake the flag
/// stays raised, and nobody pays for a wake-up that it does not need.
///
/// Both sides use a read-modify-write of one atomic, so one of them sees the other: either `raise`
/// comes after `lower` and returns true, or `lower` reads what `raise` wrote and with it the push.
#[derive(Debug)]
pub struct WakeFlag(AtomicBool);

impl WakeFlag {
    /// A raised flag: its drainer is awake.
    pub fn new() -> WakeFlag {
        WakeFlag(AtomicBool::new(true))
    }

    /// After a push: whether the drainer must be woken, and by this caller.
    pub fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Before the last look ahead of a sleep.
    pub fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// After a sleep, however it ended.
    pub fn keep_raised(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }
}

impl Default for WakeFlag {
    fn default() -> Self {
        Self::new()
    }
}
