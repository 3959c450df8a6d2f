//! Framegate: verified frames in, in order out.
pub mod frame;
pub mod gate;
pub mod limits;
pub mod memory;
pub mod order;
