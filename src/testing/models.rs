//! Rooms against models: each `check_*` turns bytes into a run of one room, and panics where the room
//! and its model disagree.
//!
//! A model does what its room does in the slowest and plainest way. The same function is driven by
//! proptest, by the fuzz targets and by the files that those left behind.

#[cfg(feature = "cli")]
mod archive;
mod batch;
mod calls;
mod choices;
mod clocks;
mod decoder;
mod dedup;
pub(crate) mod disk;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "cli")]
mod journal;
mod memory;
mod outbox;
mod pairs;
mod parts;
mod pieces;
mod reference;
mod reorder;
#[cfg(feature = "cli")]
mod scratch;
mod store;
mod topics;

// With all the models there are.
#[cfg(all(test, feature = "cli"))]
mod tests;

#[cfg(feature = "cli")]
pub use archive::check_archive;
pub use batch::check_batch;
pub use calls::check_calls;
pub use choices::Choices;
pub use clocks::check_clocks;
pub use decoder::check_decoder;
pub use dedup::check_dedup;
#[cfg(feature = "http")]
pub use http::check_http;
#[cfg(feature = "cli")]
pub use journal::{check_any_journal, check_journal};
pub use memory::check_memory;
pub use outbox::check_outbox;
pub use pairs::check_pairs;
pub use parts::check_parts;
pub use pieces::check_pieces;
pub use reorder::check_reorder;
pub use store::{check_recovery, check_repair, check_store};
pub use topics::check_topics;
