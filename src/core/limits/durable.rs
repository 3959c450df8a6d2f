//! Bounds of durable subscriptions.

use std::time::Duration;

use super::{KIB, MIB, bound};

/// 1 KiB of lines in a SUBSCRIBE: all that there are take 300 bytes.
pub const DURABLE_LINES: usize = KIB;

/// 1,000 frames delivered and not acknowledged, unless it is set: some 300 KiB of 256 B.
pub const DURABLE_WINDOW: u32 = 1000;
/// 1,000,000 of them at most: their runs are remembered, 40 bytes each.
pub const DURABLE_WINDOW_MAX: u32 = 1_000_000;

/// 7 days until a name that is not used is forgotten, unless it is set.
pub const DURABLE_EXPIRE: Duration = Duration::from_secs(7 * 24 * 3600);
/// 1 s to 10 years.
pub const DURABLE_EXPIRE_MIN: Duration = Duration::from_secs(1);
/// See [`DURABLE_EXPIRE_MIN`].
pub const DURABLE_EXPIRE_MAX: Duration = Duration::from_secs(315_576_000);

/// 16,384 names, 300 bytes each in memory and 150 in the file that is written a second after a change.
pub const DURABLE_NAMES: usize = bound(16_384, 4);

/// 16,384 connections with a durable subscription or a replay, 2 KiB each beside what is read for them.
pub const DURABLE_SUBSCRIBERS: usize = bound(16_384, 6);

/// 64 patterns of one: what the access file may allow an identity.
pub const DURABLE_PATTERNS: usize = 64;

/// 2 threads read for them: while one waits for a disk, the other serves those who are up to date.
pub const DURABLE_READERS: usize = 2;

/// 256 KiB read at once, or one frame if that is larger.
pub const DURABLE_READ: usize = bound(256 * KIB, KIB);

/// 16 MiB of what was read lately is kept, so that subscribers at the same place read a file once.
pub const DURABLE_CACHE: usize = 16 * MIB;

/// 512 KiB handed over for one and not written to its socket yet: what a socket and a turn take.
pub const DURABLE_AHEAD: usize = bound(512 * KIB, 2 * KIB);
/// 64 MiB for all of them: where they are many, each has less.
pub const DURABLE_AHEAD_ALL: usize = 64 * MIB;
/// 32 KiB of it for each at least.
pub const DURABLE_AHEAD_MIN: usize = bound(32 * KIB, KIB);

/// 128 bytes of a run beside its frames.
pub const DURABLE_RUN_COST: usize = 128;

/// 256 runs that were just stored wait for one; then it reads them from the indexes.
pub const DURABLE_LIVE: usize = bound(256, 3);

/// 1 MiB handed over for one before it is another's turn.
pub const DURABLE_STEP: usize = bound(MIB, KIB);

/// 64 segments whose files stay open for the readers.
pub const DURABLE_FILES: usize = bound(64, 2);

/// 1 s at most until a position is on the disk; half of it is waited for more of them.
pub const DURABLE_WRITE: Duration = Duration::from_millis(500);

/// 1 MiB: a file of the order of all frames, 32,768 records; then another is begun.
pub const ORDER_FILE: u64 = bound(MIB, 96) as u64;

/// 4,096 records that an upgrade holds before it writes them.
pub const ORDER_PENDING: usize = bound(4096, 3);

/// 20 names are shown in the status: those that are furthest behind.
pub const DURABLE_LISTED: usize = 20;
