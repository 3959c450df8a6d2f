//! The store: every distributed frame on disk, a folder a topic.
//!
//! A stored file is the very bytes of its frames, back to back, so that whatever reads a stream of frames
//! reads it, and the digests prove it. Frames go to the open segment of their topic; a segment that is
//! old or large enough is synced and gets its final name, at once, and nothing is ever added to it again.
//!
//! ```text
//! DIR/.lock                                          held by the gateway that stores here
//! DIR/orders.eu/20260728T101530.123456789Z.frames    frames, finished
//! DIR/orders.eu/20260728T101530.123456789Z.index     where they stand in the order of all topics
//! DIR/orders.eu/20260728T101540.125001337Z.open      frames, more to come
//! DIR/orders.eu/20260728T101520.000000042Z.cut       what a crash left that is no frame
//! ```
//!
//! In DIR itself lie also `.schemes`, under what the frames were made, and, where clocks went wrong, `.clock` and `.jump`.
//!
//! Files are called by the [stamp](Stamp) of their first frame. Stamps are unique and ascend in the order
//! in which frames were stored, whatever their topics.
//!
//! Everything that blocks is done by a thread of the store's own. What could not be written or synced is
//! not confirmed and tried again, until it works.

mod ages;
mod append;
mod by_topic;
mod clock_jump;
mod failing_topics;
pub mod feed;
mod file_system;
mod files;
pub mod index;
mod keep;
mod layout;
mod lock;
pub mod names;
pub mod order;
mod reader;
mod recent;
mod recover;
pub mod repair;
mod scan;
mod schemes;
mod segment;
mod segment_log;
mod stamp;
mod syncers;
mod thread;
mod topics;
mod visible;

pub use append::{Append, Puts};
pub use files::{Disk, Files, Listed, Unsynced};
pub use keep::{Hold, Keep};
pub use layout::{Looks, Place, is_store, place};
pub use lock::Lock;
pub use reader::{Reader, Run};
pub use recent::{Recall, Recent, Short};
pub use recover::{Cut, Recovered, Start, finish_open, recover};
pub use scan::{Flaw, Scan, Stop, Why};
pub use schemes::{Keys, Mark, Missing, Schemes};
pub use segment::Trouble;
pub use segment_log::{Done, Now, Policy, SegmentLog};
pub use stamp::{Clock, Stamp, stamp_after};
pub use thread::{Options, StoreThread, held_max};
pub use visible::{Shown, StoredRun};

impl SyncPolicy {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            SyncPolicy::Batch => "batch",
            SyncPolicy::Off => "off",
        }
    }
}

/// When frames count as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Once they are on the disk; one sync covers all that wait.
    Batch,
    /// Once the system has them.
    Off,
}
