//! From a verdict to sockets: what a frame does, who gets it, and what is written to whom.

pub(in crate::gateway) mod distribute;
pub(in crate::gateway) mod parcel;
pub(in crate::gateway) mod router;
pub(in crate::gateway) mod slow;
pub(in crate::gateway) mod write;
