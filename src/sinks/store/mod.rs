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
//! Files are called by the [stamp](Stamp) of their first frame. Stamps are unique and ascend in the order
//! in which frames were stored, whatever their topics.
//!
//! Everything that blocks is done by a thread of the store's own. What could not be written or synced is
//! not confirmed and tried again, until it works.

mod by_topic;
mod files;
pub mod index;
mod keep;
mod layout;
mod lock;
pub mod names;
mod reader;
mod recover;
mod scan;
mod segment;
mod stamp;
mod thread;
mod warehouse;

use crate::frame::{Body, Header};

pub use files::{Disk, Files, Listed};
pub use keep::Keep;
pub use reader::{Reader, Run};
pub use recover::{Cut, Recovered, recover};
pub use scan::{Flaw, Scan, Stop, Why};
pub use segment::Trouble;
pub use stamp::{Clock, Stamp};
pub use thread::{Options, StoreThread};
pub use warehouse::{Done, Now, Policy, Warehouse};

impl SyncPolicy {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            SyncPolicy::Batch => "batch",
            SyncPolicy::Off => "off",
        }
    }
}

/// Frames of one topic, to be stored.
#[derive(Debug)]
pub struct Append {
    /// Their bytes.
    pub body: Body,
    /// How many they are.
    pub frames: u32,
    /// Whose they are. The store only carries it.
    pub ticket: u64,
}

/// When frames count as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Once they are on the disk; one sync covers all that wait.
    Batch,
    /// Once the system has them.
    Off,
}

impl Append {
    /// The topic of its frames.
    fn topic(&self) -> &[u8] {
        let mut slices = self.body.slices();
        let first = slices.next().expect("frames have bytes");
        let (head, rest) = first.split_first_chunk().expect("a frame's header lies together");
        let header = Header::decode(head).expect("only what was cut is stored");
        // Behind the header, or first in the slice behind that.
        let topic = if rest.is_empty() { slices.next().unwrap_or_default() } else { rest };
        &topic[..header.topic_len as usize]
    }
}
