//! What the program does beside the gateway: records in, loads out.

pub mod bench;
pub mod post;
pub mod records;
