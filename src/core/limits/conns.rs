//! Bounds of what connections cost that are idle, gone or new.

use super::{KIB, bound};

/// 256 connections that get their room at once, 100 KB; it is let go of when they have ended.
pub const CONNS_CHUNK: usize = bound(256, 3);

/// 64 names of connections that are no more, in a list of a few.
pub const LISTED: usize = bound(64, 2);

/// 1 KiB charged for each connection whose socket is gone while frames of it wait: its slot, and their order.
pub const GONE: usize = KIB;

/// 1/8 of the memory beside that may be in use and a connection that has published nothing yet is still read, to find
/// out whether it subscribes: what it publishes is a first batch at most.
pub const FIRST_SHARE: usize = 8;

/// 1/4 of what small frames may have is free when no more is taken back from peers that stall: with less it would be
/// full again within a moment, and everyone would wait for [`RECLAIM_AFTER`](super::RECLAIM_AFTER) once more. Where less
/// is free, and peers that stall hold as much as that, it begins before someone waits.
pub const RECLAIM_SHARE: usize = 4;

/// 64 peers given up a turn for that.
pub const RECLAIM_TURN: usize = bound(64, 2);

/// 65,536 entries of their outboxes, some 5 ms; the peer with which that is reached is given up as a whole.
pub const RECLAIM_ENTRIES: usize = bound(65_536, 64);
