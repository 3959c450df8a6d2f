//! Bounds of the tools: what `send`, `post` and `bench` read ahead, keep and wait for.

use std::time::Duration;

use super::{KIB, MIB};

/// 64 MiB that `send` keeps to send again, whatever its window in frames.
pub const SEND_WINDOW: usize = 64 * MIB;

/// 1 hour: what takes longer counts as that.
pub const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// 120 intervals of a load's series (at least 60 once they have doubled): a plot shows no more, and
/// with a histogram each they take half a MiB.
pub const SERIES_POINTS: usize = 120;

/// 100 ms: the first intervals, so that a run of 10 s has a hundred.
pub const SERIES_FIRST: Duration = Duration::from_millis(100);

/// 200 bytes of an error's example.
pub const EXAMPLE_MAX: usize = 200;

/// 250 ms between two looks at how far a load is.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// 256 KiB of small frames a publisher of a load sends before they come again: they stay in the cache.
pub const RING_BYTES: usize = 256 * KIB;

/// 64 MiB for the small frames of all of a load's publishers, as long as each has 16.
pub const RINGS_BYTES: usize = 64 * MIB;

/// From 8 KiB on, a load's frames share one payload in memory.
pub const RING_PACKED: usize = 8 * KIB;

/// 64 frames before those of a large payload come again, at least 4: enough to tell what is missing.
pub const RING_SLOTS: usize = 64;

/// 512 MiB, a third of a second, of large frames that a load hashes before it starts.
pub const RING_HASHED: usize = 512 * MIB;

/// 512 frames before those of a layout come again, at least 4: to make one from its declaration takes some 20 µs.
pub const LAYOUT_SLOTS: usize = 512;

/// 64 gaps a publisher in which a load waits for frames that may come late.
pub const MISSING_RANGES: usize = 64;

/// 16,384 writes a publisher of which a load remembers when they were: at 64 KiB each, more than a gateway
/// and the sockets buffer.
pub const WRITES_REMEMBERED: usize = 16_384;

/// 50 µs between two looks at what a load is to send: what a system needs to wake a sleeper anyway.
pub const LOAD_NAP: Duration = Duration::from_micros(50);

/// 64 KiB that a load writes to one connection before the others get their turn.
pub const LOAD_WRITE: usize = 64 * KIB;

/// 256 KiB that a load reads at once, and 4 MiB from one connection before the others get their turn: it
/// reads before it writes, so that a subscriber is not slow because its publishers are fast.
pub const LOAD_READ: usize = 256 * KIB;
/// See [`LOAD_READ`].
pub const LOAD_READ_TURN: usize = 4 * MIB;

/// 100 ms until a connection that failed is opened again, in line with the others: a server that refuses
/// ten connections is asked a hundred times a second.
pub const LOAD_REOPEN: Duration = Duration::from_millis(100);

/// 20 ms: think times of whole seconds end on a grid of so much, at most so much later, so that one wake-up
/// serves all connections that are due: at 10,000 connections half of the processor time, or less.
pub const LOAD_GRID: Duration = Duration::from_millis(20);

/// 256 connections that a load begins at once: fewer than any system lets wait to be accepted.
pub const LOAD_CONNECTING: usize = 256;

/// 3 s in which a gateway that was started on the line before is waited for, where nobody listens yet.
pub const START_PATIENCE: Duration = Duration::from_secs(3);

/// 50 ms between two attempts to connect meanwhile.
pub const START_PAUSE: Duration = Duration::from_millis(50);

/// 10 s to connect, subscribe and be answered before a load starts.
pub const LOAD_PATIENCE: Duration = Duration::from_secs(10);

/// 2 s in which nothing comes: then what is missing at the end of a load is lost.
pub const LOAD_QUIET: Duration = Duration::from_secs(2);

/// 30 s for what is in flight at the end of a load, however it trickles.
pub const LOAD_DRAIN: Duration = Duration::from_secs(30);

/// 16 MiB: the largest record that `post` reads unless told otherwise; what a bomb unpacks to is cut off there.
pub const POST_RECORD_MAX: usize = 16 * MIB;

/// 1 MiB of headers before one file of a tar, which are read into memory whole: a path has 4 KiB, and what
/// systems keep beside a file 64 KiB each.
pub const POST_TAR_HEADERS_MAX: u64 = MIB as u64;

/// 128 MiB that unpacking may take: what `xz -9` and `zstd --ultra -22` want, where most want 8.
pub const POST_UNPACK_MEMORY: usize = 128 * MIB + MIB;

/// The same as the power of two that zstd counts in: 2^27 bytes.
pub const POST_UNPACK_WINDOW_LOG: u32 = 27;

/// 1,024 records read ahead of the sending.
pub const POST_AHEAD: usize = 1024;

/// 4 MiB of records read ahead: a tenth of a second of unpacking, whatever the store's pace.
pub const POST_AHEAD_BYTES: usize = 4 * MIB;

/// 256 bytes charged for each record beside its name and its bytes.
pub const POST_RECORD_OVERHEAD: usize = 256;

/// 64 MiB of records taken and not ended; beyond that, only what is taken goes on. One is always taken.
pub const POST_HELD_BYTES: usize = 64 * MIB;

/// 1,024 items taken a turn, then the sockets get theirs.
pub const POST_TAKE_TURN: usize = 1024;

/// 64 KiB: more than any line of a journal.
pub const POST_JOURNAL_LINE_MAX: u64 = 64 * 1024;

/// 64 KiB of the beginning of a file, by which it is known again: a read.
pub const POST_FILE_HEAD: u64 = 64 * 1024;

/// 200 ms between two syncs of the journals: what a crash of the machine makes `post` send again.
pub const POST_SYNC_EVERY: Duration = Duration::from_millis(200);

/// 64 kinds of failure that a report tells apart; further ones are one.
pub const POST_KINDS: usize = 64;

/// 20 failed records that a report names; a file of its own names all.
pub const POST_NAMED: usize = 20;

/// 2 s in which a file in a watched folder does not change, of which the system told nothing, and which nobody writes.
pub const POST_SETTLE: Duration = Duration::from_secs(2);

/// 500 ms between two looks at a watched folder, whatever the system tells of it.
pub const POST_LOOK_EVERY: Duration = Duration::from_millis(500);
