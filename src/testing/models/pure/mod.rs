//! The models of the pure layers, [`core`](crate::core) and [`wire`](crate::wire), which need nothing else. The fuzz
//! crate compiles them with those two alone, so that a fuzzer runs soon.

#[cfg(feature = "access")]
mod access;
mod batch;
mod calls;
mod choices;
mod decoder;
mod draft;
mod framer;
mod histogram;
#[cfg(feature = "layouts")]
mod layouts;
mod memory;
mod pairs;
mod parts;
mod pieces;
mod reference;
mod reorder;
mod settings;
mod topics;

#[cfg(feature = "access")]
pub use access::{check_access, check_covers};
pub use batch::check_batch;
pub use calls::check_calls;
pub use choices::Choices;
pub use decoder::{check_decoder, check_every_split};
pub use draft::check_draft;
pub use framer::check_framer;
pub use histogram::check_histogram;
#[cfg(feature = "layouts")]
pub use layouts::check_layouts;
pub use memory::check_memory;
pub use pairs::check_pairs;
pub use parts::check_parts;
pub use pieces::check_pieces;
pub use reorder::{check_reorder, check_steps};
pub use settings::check_settings;
pub use topics::check_topics;
