//! Bounds of TLS: what a session holds, and how many handshakes there are.

use std::time::Duration;

use super::{KIB, bound};

/// 10 s from accept until a handshake is over: as long as a device on a slow radio link takes for its four flights.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// 2 handshakes with each worker: one that it does, and one that waits for it. What waits beside them is begun with the
/// newest, whose client has not given up yet.
pub const HANDSHAKES_WORKER: usize = 2;

/// 10 connections of listeners with TLS accepted a turn, so that a thousand that come at once are not before those
/// that stand.
pub const TLS_ACCEPT_TURN: usize = bound(10, 1);

/// 4,096 handshakes under way at most: as many connections as wait in the kernel. Of more, the one that has waited
/// longest is closed.
pub const HANDSHAKES: usize = bound(4096, 6);

/// 1/16 of the memory for them, however few that are.
pub const HANDSHAKES_SHARE: usize = 16;

/// 8 KiB charged for a session that is not agreed on: its keys, the transcript, and the flight that it sends.
pub const HANDSHAKE_COST: usize = 8 * KIB;

/// 64 steps of a handshake, of which an ordinary one has two or three, and one that comes in small packets some ten.
pub const HANDSHAKE_STEPS: u8 = 64;

/// 16 KiB read at once of a connection in its handshake. A flight of a client has 1 to 6 KiB.
pub const HANDSHAKE_READ: usize = bound(16 * KIB, 64);

/// 18,437 bytes: the largest record that any version has, as much as a session keeps until it is whole.
pub const TLS_RECORD: usize = bound(16 * KIB + 2 * KIB + 5, 261);

/// 64 KiB that are sealed and not written: as much as a vectored write takes well. A connection whose peer does not read
/// keeps so much, and what it waits for beyond that is in its outbox, shared with others.
pub const TLS_SEALED: usize = 64 * KIB;

/// 68 KiB charged for that: four records with what surrounds them.
pub const TLS_SEALED_COST: usize = bound(TLS_SEALED + 4 * KIB, 600);

/// 64 names of a certificate: what is behind them nobody is known by.
pub const CERT_NAMES: usize = 64;

/// 16 connections whose certificates are verified again a turn, some 2 ms, where a listener's authorities or revocation
/// lists have changed.
pub const REVERIFY_TURN: usize = bound(16, 2);

/// 30 days before a certificate ends, and from then on each day, that is warned of.
pub const CERT_WARN: Duration = Duration::from_secs(30 * 86_400);

/// 1 MiB of a certificate's file, or a key's; the revocation list of a large authority has several.
pub const CERT_FILE: u64 = 1 << 20;

/// 64 MiB of revocation lists: a million revoked certificates.
pub const CRL_FILE: u64 = 64 << 20;

/// 128 bytes in a record of the toy that stands for TLS in the simulation.
#[cfg(any(test, feature = "check"))]
pub const TOY_RECORD: usize = 128;
