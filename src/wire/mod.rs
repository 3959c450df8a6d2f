//! The wire: layout, cutting, digests, topics. Pure: no sockets, threads, clock or files.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod access;
mod batch;
mod body;
mod choice;
mod decoder;
mod digest;
mod draft;
pub mod durable;
mod fault;
mod hashing;
mod header;
mod lanes;
pub mod layout;
mod machine;
mod pattern_limits;
mod patterns;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rounds;
mod sha256;
#[cfg(target_arch = "aarch64")]
mod sha_aarch64;
#[cfg(target_arch = "x86_64")]
mod sha_avx2;
#[cfg(target_arch = "x86_64")]
mod sha_avx512;
#[cfg(target_arch = "x86_64")]
mod sha_avx512vl;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
mod shapes;
mod stream;
#[cfg(any(feature = "access", feature = "layouts"))]
mod toml_file;
mod topic;

pub use batch::{Batch, Checked, Piecewise, Verified, verify, verify_together, verify_with};
pub use body::Body;
pub use decoder::{Cut, Decoder, Frame, Rest, Rules, cut, encode};
pub use digest::Scheme;
pub use draft::Draft;
pub use fault::Fault;
pub use hashing::{Width, choose, choose_fastest, implementation};
pub use header::{DIGEST, HEADER, Header, Kind, MAGIC, NO_SUBSCRIBER, Status, VERSION};
pub use pattern_limits::{Full, Limits};
pub use patterns::{Holder, Patterns};
pub use topic::{TopicError, check_pattern, check_topic, covers, is_exact, matches, partial_wildcard};
