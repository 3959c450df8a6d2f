//! Bounds of the admin server.

use std::time::Duration;

use super::KIB;

/// 64 connections to the admin server; when more come, the one that has waited longest without a request
/// goes. A browser opens six, Prometheus one.
pub const ADMIN_CONNECTIONS: usize = 64;

/// 500 ms for a new connection to send the head of its request before it may have to go for another: it comes right
/// behind the handshake, or a retransmission later. So of many that ask for nothing, 128 a second are seen off.
pub const ADMIN_HEAD_GRACE: Duration = Duration::from_millis(500);

/// 256 KiB of stack for the thread of each connection, of which an answer touches 24 to 44 KiB, and a panic that is told
/// with its callers more.
pub const ADMIN_STACK: usize = 256 * KIB;

/// 1 s for the answers of the moment when the admin server ends.
pub const ADMIN_LAST: Duration = Duration::from_secs(1);

/// 16 open pages, each of which gets a few KiB a second.
pub const ADMIN_PAGES: usize = 16;

/// 4 events that a page has not taken; then it misses some.
pub const ADMIN_PAGE_BEHIND: usize = 4;

/// 8 KiB for the head of a request to the admin server, as other servers have it.
pub const ADMIN_HEAD: usize = 8 * KIB;

/// 128 fields in it; a browser sends fewer than twenty.
pub const ADMIN_FIELDS: usize = 128;

/// 4 KiB for its body: the longest is a setting.
pub const ADMIN_BODY: u64 = 4 * KIB as u64;

/// 15 s for a request to the admin server to arrive, the time between two on one connection included:
/// Prometheus asks every 15 s or connects anew.
pub const ADMIN_REQUEST: Duration = Duration::from_secs(15);

/// 15 s to answer it and for the answer to be taken.
pub const ADMIN_RESPONSE: Duration = Duration::from_secs(15);

/// 15 s without taking anything of a stream of events.
pub const ADMIN_STALL: Duration = Duration::from_secs(15);

/// 1 s, and 256 KiB, for what a client still sends that is refused already, so that it gets the answer.
pub const ADMIN_LINGER: Duration = Duration::from_secs(1);
/// See [`ADMIN_LINGER`].
pub const ADMIN_LINGER_BYTES: usize = 256 * KIB;

/// 250 ms before a wrong token is answered.
pub const ADMIN_WRONG_TOKEN: Duration = Duration::from_millis(250);

/// 100 ms between two looks at the gateway, however many ask.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// 900 samples, one a second: 15 minutes, 130 KB.
pub const HISTORY_SAMPLES: usize = 900;

/// 1 min that one `POST /ctl/pause` may wait for quiet; `framegate ctl` asks again.
pub const CTL_WAIT_MAX: Duration = Duration::from_secs(60);
