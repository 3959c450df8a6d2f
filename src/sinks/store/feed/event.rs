//! What the loop is told of subscriptions, and the frames that it is handed.

use std::sync::Arc;

use super::extents::Extent;
use super::subscription::Hold;
use crate::sinks::store::order::Place;

/// What a subscription is told.
#[derive(Debug)]
pub enum Event {
    /// It begins with this sequence; the oldest that is kept is that one.
    Opened {
        /// Which subscription.
        id: u64,
        /// The place of the first frame that may come.
        first: Place,
        /// The oldest sequence that is kept.
        oldest: u64,
    },
    /// It cannot begin, and why, with the mend.
    Refused {
        /// Which subscription.
        id: u64,
        /// Why.
        why: String,
    },
    /// Frames.
    Run {
        /// Which subscription.
        id: u64,
        /// They, from this place on.
        first: Place,
        /// The frames.
        run: FeedRun,
    },
    /// Frames are gone.
    Gap {
        /// Which subscription.
        id: u64,
        /// How many, if that is known.
        frames: Option<u64>,
        /// The first that is gone.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Everything before this place was handed over.
    Idle {
        /// Which subscription.
        id: u64,
        /// The place behind everything.
        next: Place,
    },
    /// Positions up to this version are on the disk.
    Written(u64),
}

/// Frames of one topic, back to back, as they are stored.
#[derive(Debug)]
pub struct FeedRun {
    pub(super) extent: Arc<Extent>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) frames: u32,
    pub(super) _hold: Hold,
}

impl FeedRun {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.extent.bytes()[self.start..self.end]
    }

    /// How many frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }
}
