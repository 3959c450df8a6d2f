//! Bounds of the client side of HTTP: what a response may be, and how a server is tried.

use std::time::Duration;

use super::{KIB, bound};

/// 64 KiB for the head of a response, and as much for trailers: four times what the common servers send at
/// most. It is what a connection owns while a head comes in pieces.
pub const HTTP_HEAD_MAX: usize = bound(64 * KIB, 512);

/// 128 fields in a head; the common servers send fewer than twenty.
pub const HTTP_FIELDS_MAX: usize = bound(128, 8);

/// 32 interim responses (1xx) before the one that counts.
pub const HTTP_INTERIM_MAX: usize = bound(32, 3);

/// 4 KiB for the line of a chunk's size: 16 digits, and extensions that nobody uses.
pub const HTTP_CHUNK_LINE_MAX: usize = bound(4 * KIB, 48);

/// 4 times as many records as may be in flight wait for another try before no more are taken, at least 1,000: a
/// store that sends some of them away for a minute does not hold up the others.
pub const DISPATCH_WAITING: usize = 4;
/// See [`DISPATCH_WAITING`].
pub const DISPATCH_WAITING_MIN: usize = 1000;

/// 500 ms before a second try, doubled before each further one, up to 30 s.
pub const DISPATCH_RETRY_FIRST: Duration = Duration::from_millis(500);
/// See [`DISPATCH_RETRY_FIRST`].
pub const DISPATCH_RETRY_MAX: Duration = Duration::from_secs(30);

/// 5 min: a Retry-After that asks for more is taken for that.
pub const DISPATCH_RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// 8 tries of a record that do not count, because a store that answers others refused the connection.
pub const DISPATCH_FREE_TRIES: u32 = 8;

/// 5 s until one connection more is tried than the store took, doubled while it is refused, up to 1 min.
pub const DISPATCH_PROBE_FIRST: Duration = Duration::from_secs(5);
/// See [`DISPATCH_PROBE_FIRST`].
pub const DISPATCH_PROBE_MAX: Duration = Duration::from_secs(60);

/// 10 s at most between two looks for a store that is away.
pub const DISPATCH_UNREACHABLE_MAX: Duration = Duration::from_secs(10);

/// 60 s that a store may be away, unless it is set.
pub const DISPATCH_UNREACHABLE_PATIENCE: Duration = Duration::from_secs(60);

/// 10 s for a connection to stand, unless the timeout is less.
pub const DISPATCH_CONNECT: Duration = Duration::from_secs(10);

/// 64 KiB of an answer that is kept to be judged.
pub const DISPATCH_ANSWER_MAX: usize = 64 * KIB;

/// 200 characters of an answer that a reason quotes.
pub const DISPATCH_QUOTE_MAX: usize = 200;

/// 16 MiB of the answer to a program that asks once; the longest is a gateway's status, of a few KiB a topic.
pub const ASK_ANSWER_MAX: usize = 16 * 1024 * KIB;
