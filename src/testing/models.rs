//! Parts against models: each `check_*` turns bytes into a run of one part, and panics where the part and its model
//! disagree.
//!
//! A model does what its part does in the slowest and plainest way. The same function is driven by
//! proptest, by the fuzz targets and by the files that those left behind.

#[cfg(feature = "cli")]
mod archive;
mod clocks;
mod dedup;
pub(crate) mod disk;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "cli")]
mod journal;
mod outbox;
mod pure;
#[cfg(feature = "cli")]
mod scratch;
mod store;

// With all the models there are.
#[cfg(all(test, feature = "cli"))]
mod tests;

#[cfg(feature = "cli")]
pub use archive::check_archive;
pub use clocks::check_clocks;
pub use dedup::check_dedup;
#[cfg(feature = "http")]
pub use http::{check_every_http_split, check_http};
#[cfg(feature = "cli")]
pub use journal::{check_any_journal, check_journal, check_journals};
pub use outbox::check_outbox;
pub use pure::*;
pub use store::{check_any_store, check_recovery, check_repair, check_store};
