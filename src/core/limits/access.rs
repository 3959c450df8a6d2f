//! Bounds of the access file. What is beyond them is refused with the whole file, so a gateway never takes a part of it.

use std::time::Duration;

use super::{MIB, bound};

/// 32 MiB of text: as many identities as there may be, with 300 bytes for each.
pub const ACCESS_BYTES: usize = 32 * MIB;

/// 100,000 identities: as many devices as a large gateway has connections, each with its own.
pub const ACCESS_IDENTITIES: usize = 100_000;

/// 64 bytes of an identity's name: log lines and reasons hold it beside what they say, and a durable name that is made of
/// it has no more.
pub const ACCESS_NAME: usize = 64;

/// 2 tokens of an identity: the old and the new one while devices change from one to the other. Each is compared
/// with what a connection brings.
pub const ACCESS_TOKENS: usize = 2;

/// 256 bytes of a token: what `framegate access new-token` makes has 47. What is longer is wrong before it is hashed.
pub const ACCESS_TOKEN: usize = 256;

/// 16 names of certificates an identity: two during a rotation, and some ways to name each.
pub const ACCESS_CERTS: usize = 16;

/// 64 networks an identity. Each length of a prefix costs one look-up a connection, however many networks have it.
pub const ACCESS_NETWORKS: usize = 64;

/// 64 patterns an identity may publish to, and as many that it may subscribe to: all are looked at, once a topic and
/// connection, in some 5 µs.
pub const ACCESS_PATTERNS: usize = 64;

/// 64 durable names an identity.
pub const ACCESS_DURABLES: usize = 64;

/// 256 bytes of a field's value, the longest that a name of a certificate has, too.
pub const ACCESS_VALUE: usize = 256;

/// 1/8 of what subscriptions may take for topics that were asked about; remembered topics have twice as much.
pub const PERMITS_SHARE: usize = 8;

/// 96 bytes for a topic that was asked about beside its text: its place in a table that may be less than half full, and the
/// rounding of the text's allocation.
pub const PERMIT_COST: usize = 96;

/// 1 minute at most until it is looked again whether an access has ended: the system's clock may be set meanwhile.
pub const UNTIL_LOOK: Duration = Duration::from_secs(60);

/// 1 s until a connection that brought a wrong token hears of it and is closed.
pub const AUTH_DELAY: Duration = Duration::from_secs(1);

/// 1,024 of them wait so at once. A token is not found by guessing, however fast; what this keeps slow is a device that
/// tries again at once for ever, and it must not take the connections of others.
pub const AUTH_DELAYED: usize = bound(1024, 3);

/// 1,024 connections are judged again a turn, where the access file has changed: some 1 ms.
pub const REVIEW_TURN: usize = bound(1024, 3);

/// 4,096 of their patterns are looked at a turn, and those of the last connection: some 2 ms where each is compared with ten.
pub const REVIEW_PATTERNS: usize = bound(4096, 4);

/// 64 bytes of a durable name, as the protocol has it.
pub const DURABLE_NAME: usize = 64;
