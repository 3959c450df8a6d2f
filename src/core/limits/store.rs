//! Bounds of the store.

use std::time::Duration;

use super::{DURABLE_SHARE, KIB, MIB, bound};

/// 64 MiB: a segment of the store gets its final name at this size, whatever its age.
pub const STORE_SEGMENT: u64 = bound(64 * MIB, 4 * KIB) as u64;

/// 256 KiB of a segment that are read at once. The buffer doubles while a frame needs more, as its bytes come.
pub const STORE_BLOCK: usize = bound(256 * KIB, KIB);

/// 16 MiB written and synced in one round of the store: some 50 ms of a disk that writes 350 MB/s, so
/// that nobody waits long for an OK behind a flood.
pub const STORE_ROUND: usize = bound(16 * MIB, 2 * KIB);

/// 128 segments with open files, two each; further ones are opened when they are written to.
pub const STORE_FILES: usize = bound(128, 3);

/// Files and folders that the store has open at most: those, and what ends and is synced at that moment.
pub const STORE_FILES_MOST: usize = 2 * (STORE_FILES + STORE_END_TURN) + STORE_SYNCS;

/// 32 files and folders synced at once, a thread each that is begun when it is first wanted; only where the file system
/// cannot be synced as a whole. It commits together what is asked of it at the same time, so a full round takes four or
/// five commits of some milliseconds.
pub const STORE_SYNCS: usize = 32;

/// 65,536 segments that are not finished, 300 bytes each; beyond that the oldest is finished early.
pub const STORE_OPEN: usize = bound(65_536, 5);

/// 32 topics that are new in a round: each takes a folder, two files and a second sync before anything of it is stored.
/// Connections with further ones wait for the next round, with all that is behind those, and the others go on.
pub const STORE_NEW_TOPICS: usize = bound(32, 2);

/// 32 segments that get their final names, two syncs each, before what waits is stored: as many as a round may begin for
/// new topics.
pub const STORE_END_TURN: usize = bound(32, 2);

/// 32 segments that are removed before what waits is stored.
pub const STORE_CLOSE_TURN: usize = bound(32, 2);

/// 4,096 old segments that are remembered to be removed, 100 bytes each; then the folders are looked through
/// again.
pub const STORE_OLDEST: usize = bound(4096, 3);

/// 4,096 topics whose stored frames are counted apart, 400 bytes each at most.
pub const STORE_TOPICS: usize = bound(4096, 3);
/// 20 of them are shown: those with the most bytes.
pub const STORE_BUSIEST: usize = 20;

/// 16,384 runs of frames on their way to the store: the capacity of both queues. Memory bounds the bytes.
pub const STORE_APPENDS: usize = bound(16_384, 8);

/// 8,192 of them may be of topics that cannot be stored now; so the others have places too.
pub const STORE_HELD_APPENDS: usize = STORE_APPENDS / 2;

/// 1/8 of the memory may be held by frames of such topics, a quarter of what all unconfirmed frames may hold.
pub const STORE_HELD_SHARE: usize = 4 * DURABLE_SHARE;

/// 100,000 topics of a store, unless it is set: each is a folder, and a start looks into all of them.
pub const STORE_TOPICS_DEFAULT: usize = 100_000;

/// 2 s of reading for the digests that a start gives to the deduplication window.
pub const STORE_RECALL: Duration = Duration::from_secs(2);

/// 1,048,576 misfiled frames, 64 bytes each, that one step of a repair puts where they belong.
pub const STORE_REPAIR_STEP: usize = bound(1 << 20, 5);

/// 100 ms to 5 s between two attempts of the store after a failure.
pub const STORE_RETRY_FIRST: Duration = Duration::from_millis(100);
/// See [`STORE_RETRY_FIRST`].
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(5);

/// 10 s: how long the end of the store waits for its thread, which a disk may hold up.
pub const STORE_END: Duration = Duration::from_secs(10);
