//! What a gateway looks like at one moment: plain data, filled by the gate when it is asked.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::core::histogram::Histogram;
use crate::core::units::serialize_seconds as seconds;
use crate::gateway::ledger::Ledger;
pub use crate::runtime::pool::WorkersUse;
use crate::wire::Status;

/// A gateway at one moment. Everything but the survey costs the same however many are connected.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it does at large.
    pub phase: Phase,
    /// Everything that was accepted is finished and written.
    pub quiet: bool,
    /// Since it began to run.
    pub uptime: Duration,
    /// What became of every frame.
    pub ledger: Ledger,
    /// How full the queues are, and how full they may be.
    pub queues: Queues,
    /// Bytes charged, and their bound.
    pub memory: MemoryUse,
    /// Patterns and those who hold them.
    pub subscriptions: SubscriptionsUse,
    /// The threads that verify.
    pub workers: WorkersUse,
    /// How long things take and how large they are.
    pub stages: Stages,
    /// The handlers and the frames for them, where there are handlers.
    pub calls: Option<CallsUse>,
    /// Who may do what, where there is an access file.
    pub access: Option<AccessUse>,
    /// Handshakes and certificates, where a listener speaks TLS.
    pub tls: Option<TlsUse>,
    /// Incomplete messages.
    pub parts: PartsUse,
    /// The sinks and what they have, where there are some.
    pub sinks: Option<SinksUse>,
    /// Durable subscriptions, where there is a store.
    pub durable: Option<DurableUse>,
    /// Who is not read though there may be something to read, by cause.
    pub paused: [PausedBy; PauseCause::ALL.len()],
    /// The settings in force, by their names on the command line.
    pub settings: Vec<(&'static str, String)>,
    /// A look at every connection, where it was asked for.
    pub survey: Option<Survey>,
}

/// Durable subscriptions and the names that are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DurableUse {
    /// Connections with a durable subscription or a replay.
    pub subscribers: u64,
    /// Names that are kept.
    pub names: Depth,
    /// Of the name that is furthest behind: frames and bytes of all topics that were stored since.
    pub lag_frames: u64,
    /// See `lag_frames`.
    pub lag_bytes: u64,
    /// How long ago the last that is done was stored, of the name where that is longest.
    #[serde(rename = "lag_seconds", serialize_with = "seconds")]
    pub lag_time: Duration,
    /// The names that are furthest behind.
    pub furthest: Vec<NameUse>,
}

/// One durable name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NameUse {
    /// The name.
    pub name: String,
    /// The last sequence that is done; everything before it is.
    pub position: u64,
    /// Whether a connection has it now.
    pub connected: bool,
    /// How far it is behind: frames and bytes of all topics that were stored since, and how long ago the last that is done
    /// was stored.
    pub lag_frames: u64,
    /// See `lag_frames`.
    pub lag_bytes: u64,
    /// See `lag_frames`.
    #[serde(rename = "lag_seconds", serialize_with = "seconds")]
    pub lag_time: Duration,
    /// What it subscribes to, or did.
    pub patterns: Vec<String>,
    /// When it was used last, in seconds since 1970, and after how many more without that it is forgotten.
    pub used: u64,
    /// See `used`.
    pub expire_seconds: u64,
}

/// What a gateway does at large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It takes in.
    Running,
    /// It takes nothing in until it is told to go on.
    Paused,
    /// It takes nothing in any more, and ends.
    Draining,
}

/// How full the queues are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Queues {
    /// Connections that are open.
    pub connections: Depth,
    /// Jobs with the workers.
    pub jobs: Depth,
    /// Batches and large frames between their reading and their distribution.
    pub in_flight: u64,
    /// Items in all outboxes.
    pub outbox_items: u64,
    /// Connections in line for memory for small frames, and for a large one.
    pub lines: [u64; 2],
    /// Remembered digests, where they are remembered.
    pub dedup: Depth,
    /// How far back they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_window: Option<DedupWindow>,
}

/// How far back digests are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DedupWindow {
    /// For how long they are to be.
    #[serde(rename = "window_seconds", serialize_with = "seconds")]
    pub window: Duration,
    /// For how long all of them are: less than the window where there was no room for more.
    #[serde(rename = "reach_seconds", serialize_with = "seconds")]
    pub reach: Duration,
    /// Digests forgotten before their time, since the start.
    pub forgotten_early: u64,
}

/// The handlers, and the frames that they have or that wait for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallsUse {
    /// Frames with the handlers.
    pub in_flight: Depth,
    /// Frames that wait for them.
    pub queued: Depth,
    /// Frames that wait beyond those: for room among them, or until their connection may go on.
    pub set_aside: u64,
    /// Of the frames with the handlers, those that wait to be given to one again.
    pub retried: u64,
    /// Each handler.
    pub handlers: Vec<HandlerUse>,
}

/// One handler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HandlerUse {
    /// Its number in the log.
    pub number: usize,
    /// The system's number for its process, while one runs.
    pub pid: Option<u32>,
    /// Frames that it has.
    pub busy: u64,
    /// How long it has been at the oldest of them.
    #[serde(rename = "oldest_seconds", serialize_with = "seconds")]
    pub oldest: Duration,
    /// Frames that it answered.
    pub done: u64,
    /// How many times its process failed.
    pub failed: u64,
    /// How many times one was started again.
    pub restarts: u64,
    /// Why it does not start: it cannot be, or its processes end before any of them has answered a frame.
    pub trouble: Option<String>,
}

/// Identities, and what was refused to connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccessUse {
    /// Where it was read from.
    pub file: String,
    /// Identities of the file.
    pub identities: u64,
    /// Those that are revoked.
    pub revoked: u64,
    /// Whether connections without an identity are taken.
    pub has_default: bool,
    /// How often the file was read again.
    pub reloads: u64,
    /// Connections that were refused, by why.
    #[serde(serialize_with = "named")]
    pub refused: Vec<(&'static str, u64)>,
    /// Frames whose connections may not publish them.
    pub not_published: u64,
    /// Patterns that connections may not subscribe to.
    pub not_subscribed: u64,
    /// Patterns that were taken from their subscribers when the file changed.
    pub patterns_taken: u64,
    /// Connections that wait to hear that their token is wrong.
    pub delayed: Depth,
    /// What is remembered of topics.
    pub topics_bytes: Depth,
}

/// Handshakes of TLS, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsUse {
    /// Under way.
    pub handshakes: Depth,
    /// Those that succeeded.
    pub full: u64,
    /// Those by which an earlier session was resumed.
    pub resumed: u64,
    /// Connections that ended for a reason of TLS, by which.
    #[serde(serialize_with = "named")]
    pub refused: Vec<(&'static str, u64)>,
    /// Live connections that were closed since their certificate is not taken any more.
    pub closed: u64,
    /// The listeners' own certificates.
    pub certificates: Vec<CertificateUse>,
}

/// A listener's own certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateUse {
    /// The listener.
    pub listener: String,
    /// When it ends.
    #[serde(rename = "ends_at", serialize_with = "at")]
    pub until: SystemTime,
}

/// Incomplete messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartsUse {
    /// Messages.
    pub keys: Depth,
    /// What they take, in bytes.
    pub bytes: Depth,
    /// Their parts.
    pub held: u64,
    /// How long ago the last part came of the one that has waited longest.
    #[serde(rename = "oldest_seconds", serialize_with = "seconds")]
    pub oldest: Duration,
    /// Connections that wait for room for a part.
    pub parked: u64,
}

/// The sinks, and what they have not confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinksUse {
    /// How long the oldest of what is not confirmed has been so.
    #[serde(rename = "oldest_seconds", serialize_with = "seconds")]
    pub oldest: Duration,
    /// Each sink.
    pub each: Vec<SinkUse>,
}

/// One sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkUse {
    /// Its name.
    pub name: &'static str,
    /// Runs of frames, or frames, that it has not answered.
    pub lag: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// What it has done since the start.
    #[serde(serialize_with = "named")]
    pub done: Vec<(&'static str, u64)>,
    /// What is so now.
    #[serde(serialize_with = "named", skip_serializing_if = "Vec::is_empty")]
    pub now: Vec<(&'static str, u64)>,
    /// Of what it has done, the busiest topics, the busiest first; nothing where it does not tell topics apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicUse>,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// What is in its way now.
    pub trouble: Option<String>,
}

/// What a sink has done of one topic since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopicUse {
    /// Which.
    pub topic: String,
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How full something is, and how full it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Now.
    pub now: u64,
    /// At most.
    pub max: u64,
}

/// Buffered bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryUse {
    /// Charged for batches, unfinished small frames and replies.
    pub small_bytes: u64,
    /// Charged for large frames.
    pub large_bytes: u64,
    /// Charged for answers of handlers, and for calls.
    pub answers_bytes: u64,
    /// Charged for the entries of outboxes.
    pub entries_bytes: u64,
    /// Charged for patterns, those who hold them, and remembered topics.
    pub subscriptions_bytes: u64,
    /// All of them.
    pub used_bytes: u64,
    /// The bound.
    pub limit_bytes: u64,
}

/// Patterns and those who hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubscriptionsUse {
    /// Patterns, each counted for every connection that holds it.
    pub patterns: Depth,
    /// Their shapes.
    pub shapes: Depth,
    /// What they take, in bytes.
    pub bytes: Depth,
}

/// How long things take, in microseconds, and how large they are. Recorded a batch, not a frame; each
/// time is exact to a turn of the loop, and in a turn to when all that it read was verified.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// From a batch's read to its verdict.
    pub read_to_verified: Histogram,
    /// From the verdict's effect to the last byte written to one subscriber, of a run of frames.
    pub verified_to_written: Histogram,
    /// A turn of the loop, without its wait.
    pub turn: Histogram,
    /// The longest turn.
    pub turn_longest: Duration,
    /// Frames of a batch.
    pub batch_frames: Histogram,
    /// Bytes of a batch.
    pub batch_bytes: Histogram,
}

/// Why a connection is not read though there may be something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// It waits in line for memory.
    Memory,
    /// The queue to the workers is full.
    Workers,
    /// It has as much in flight as one connection may.
    InFlight,
    /// A subscriber of what it publishes is behind.
    Subscriber,
    /// It does not read its replies.
    Replies,
    /// As many frames wait for a handler as may.
    Handlers,
    /// There is no room for the part that it sent.
    Parts,
    /// A sink takes no more, or has not confirmed half of the memory.
    Sinks,
    /// The gateway is told to pause.
    Operator,
    /// The gateway drains.
    Draining,
    /// It is to end, and what is told to it first waits for what it sent before.
    Ending,
}

/// Connections paused for one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PausedBy {
    /// Now.
    pub now: u64,
    /// The time that connections spent so, those that still do not counted.
    pub total: Duration,
}

impl PauseCause {
    /// All causes.
    pub const ALL: [PauseCause; 11] = [
        PauseCause::Memory,
        PauseCause::Workers,
        PauseCause::InFlight,
        PauseCause::Subscriber,
        PauseCause::Replies,
        PauseCause::Handlers,
        PauseCause::Parts,
        PauseCause::Sinks,
        PauseCause::Operator,
        PauseCause::Draining,
        PauseCause::Ending,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            PauseCause::Memory => "memory",
            PauseCause::Workers => "workers",
            PauseCause::InFlight => "in_flight",
            PauseCause::Subscriber => "subscriber",
            PauseCause::Replies => "replies",
            PauseCause::Handlers => "handlers",
            PauseCause::Parts => "parts",
            PauseCause::Sinks => "sinks",
            PauseCause::Operator => "operator",
            PauseCause::Draining => "draining",
            PauseCause::Ending => "ending",
        }
    }
}

/// A look at every connection, and the ones that stand out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Survey {
    /// Connections that subscribe to something.
    pub subscribers: u64,
    /// Connections that have sent DATA.
    pub publishers: u64,
    /// How long the frame that has waited longest for a handler has.
    #[serde(rename = "oldest_queued_seconds", serialize_with = "seconds")]
    pub oldest_queued: Duration,
    /// Bytes that wait in all outboxes, each copy counted.
    pub pending_bytes: u64,
    /// Bytes that wait for the one with most.
    pub pending_bytes_max: u64,
    /// Those with most bytes waiting, the most first.
    pub slow: Vec<Slow>,
    /// Those not read, the longest first.
    pub paused: Vec<Paused>,
    /// Those of whose frames most were rejected.
    pub rejected: Vec<Rejecting>,
    /// The last connections that ended, the latest first.
    pub closed: Vec<Closed>,
}

/// One connection, wherever it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    /// Its other end.
    pub address: SocketAddr,
    /// The name of its identity, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<str>>,
    /// Since it was accepted; for one that ended, until then.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
    /// Frames read from it.
    pub frames_read: u64,
    /// Bytes read from it.
    pub bytes_read: u64,
    /// Frames written to it.
    pub frames_written: u64,
    /// Bytes written to it.
    pub bytes_written: u64,
}

/// A peer for which something waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slow {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Bytes in its outbox.
    pub pending_bytes: u64,
    /// How long the oldest frame there has waited.
    #[serde(rename = "oldest_unsent_seconds", serialize_with = "seconds")]
    pub oldest: Duration,
    /// Since it last took a byte.
    #[serde(rename = "taken_nothing_seconds", serialize_with = "seconds")]
    pub idle: Duration,
    /// Frames dropped for it.
    pub dropped: u64,
    /// Publishers that are not read for its sake.
    pub holding: u64,
}

/// A peer that is not read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paused {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Why.
    pub cause: PauseCause,
    /// Of a subscriber: which.
    pub by: Option<SocketAddr>,
    /// Since when.
    #[serde(rename = "paused_seconds", serialize_with = "seconds")]
    pub time: Duration,
}

/// A peer that sends what is refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rejecting {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Frames of it that were refused.
    pub rejected: u64,
    /// The last of them.
    #[serde(serialize_with = "status")]
    pub last: Status,
    /// Since then.
    #[serde(rename = "last_seconds", serialize_with = "seconds")]
    pub ago: Duration,
}

/// A connection that ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Closed {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Why.
    pub reason: String,
    /// Since then.
    #[serde(rename = "ago_seconds", serialize_with = "seconds")]
    pub ago: Duration,
}

fn named<S: Serializer>(counts: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().copied())
}

fn at<S: Serializer>(instant: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*instant))
}

fn status<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.name())
}
