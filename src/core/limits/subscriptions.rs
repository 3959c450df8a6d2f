//! Bounds of what subscribers ask for: how much of it is kept, and how much work a topic may be.

use super::{KIB, bound};

/// 4,096 patterns a connection.
pub const CONN_PATTERNS: usize = bound(4096, 4);

/// 262,144 patterns in all, each counted for every connection that holds it, however much memory there is: a topic that
/// all of them match is looked up within a millisecond.
pub const PATTERNS: usize = 262_144;

/// 256 shapes of patterns: as many as there are of patterns with up to six tokens. A topic that is not remembered
/// costs a look into a hash table for each, some 4 µs in all, and 2 ns for each of the pairs that match.
pub const SHAPES: usize = 256;

/// 64 shapes a connection, as many as there are of patterns with up to four tokens: so at most 64 of its patterns match a
/// topic, and few connections make that much work of one.
pub const CONN_SHAPES: usize = 64;

/// 1/8 of the memory for patterns, for the connections that hold them, and for remembered topics.
pub const SUBSCRIPTIONS_SHARE: usize = bound(8, 2);

/// 64 KiB at least for them, some 100 subscribers: beside that the least memory has room for one frame of each kind.
pub const SUBSCRIPTIONS_MIN: usize = bound(64 * KIB, 8 * KIB);

/// 1/4 of that for remembered topics.
pub const TOPICS_SHARE: usize = 4;

/// 16,384 topics whose subscribers are remembered; beyond that the memory starts over.
pub const TOPICS_CACHED: usize = bound(16_384, 4);

/// 160 bytes for a remembered topic beside its name and its list: its place in a table that may be less than half full,
/// and two allocations' headers and rounding.
pub const TOPIC_COST: usize = 160;

/// 160 bytes for a pattern beside its text: 80 of its own, its place in a table that may be a quarter full, and
/// the rounding of the text's allocation.
pub const PATTERN_COST: usize = 160;

/// 80 bytes for each connection that holds a pattern: its place in the pattern's list and the pattern's in its own,
/// both of which may be a quarter full, and the pattern's shape among its shapes.
pub const PATTERN_HELD: usize = 80;

/// 80 bytes for each connection that holds patterns.
pub const SUBSCRIBER_COST: usize = 80;

/// 4,096 patterns of connections that ended are given up a turn, some 1 ms; the rest in the next.
pub const LEAVE_TURN: usize = bound(4096, 3);
