//! What a gateway is set to do.

use std::path::PathBuf;
use std::time::Duration;

use super::acks::dedup::Dedup;
use crate::core::call_queue::Overflow;
use crate::core::limits::{
    ANSWER_WAITS, BUFFER_OVERHEAD, CALL, DEDUP_ENTRY, DEDUP_SHARE, FRAME_TIMEOUT, KEYS_DEFAULT, READ_MAX,
    STORE_TOPICS_DEFAULT,
};
use crate::core::memory::{AnswerRoom, Memory};
use crate::core::ranges::{check_count, check_size, check_time};
use crate::core::units::{Size, Time, TimeOrOff, TimeOrSize, rounded};
use crate::runtime::handler::Function;
use crate::sinks::store::{Keep, Policy, SyncPolicy};
use crate::wire::{DIGEST, HEADER, Scheme};

/// The settings of a gateway; the command line's names and defaults. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest payload.
    pub payload_max: usize,
    /// All buffered bytes together; at the limit publishers are paused, never dropped.
    pub memory: usize,
    /// Connections at once; further ones are closed at accept and counted.
    pub connections_max: usize,
    /// A connection that neither sends nor is sent anything for so long is closed.
    pub idle_timeout: Duration,
    /// A peer that began a frame has so long for each 64 KiB of it.
    pub frame_timeout: Duration,
    /// How far one subscriber may fall behind.
    pub outbox: usize,
    /// What happens at that point.
    pub slow: SlowPolicy,
    /// Under [`SlowPolicy::Pause`], a subscriber that takes nothing for so long is closed.
    pub slow_timeout: Duration,
    /// What a wrong digest does to its connection.
    pub on_bad_digest: BadDigestPolicy,
    /// How digests are made.
    pub scheme: Scheme,
    /// How long accepted digests are remembered; not at all if none.
    pub dedup: Option<Duration>,
    /// How long draining waits for what was accepted.
    pub drain: Duration,
    /// The program that answers frames before they are distributed, and its arguments. If it is empty,
    /// frames are distributed as they come.
    pub handler: Vec<String>,
    /// A handler in Rust, in the place of a program.
    pub function: Option<Function>,
    /// How many programs are started.
    pub handlers: usize,
    /// How long a handler may take for a frame; then it is replaced or, where it is in Rust, the frame is refused.
    pub handler_timeout: Duration,
    /// Frames with the handlers at once.
    pub max_in_flight: usize,
    /// Frames that wait for them.
    pub max_queued: usize,
    /// What happens beyond that.
    pub overflow: Overflow,
    /// How long a product may wait for its next part.
    pub lease: Duration,
    /// Products that are not whole at once.
    pub max_keys: usize,
    /// What their parts may take of the memory.
    pub parts_memory: usize,
    /// Parts of one product.
    pub max_parts: u16,
    /// What happens to a part for which there is no room.
    pub lease_pressure: Pressure,
    /// The folder in which every distributed frame is stored before its OK, if one is.
    /// A limit of file sizes is a full disk to it, in a program that catches or ignores SIGXFSZ as `framegate` does.
    pub store: Option<PathBuf>,
    /// How it is stored there.
    pub stored: Policy,
    /// Schemes under which earlier runs stored there, as far as what these left open is to be judged by them.
    pub store_earlier: Vec<Scheme>,
    /// Requests of an HTTP sink under way at once, where there is one.
    pub http_max_in_flight: usize,
}

/// What happens to a subscriber that fell as far behind as its outbox allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It is told SLOW and closed.
    Disconnect,
    /// The publishers that feed it are paused.
    Pause,
    /// Its oldest frames are dropped, counted and told as a GAP.
    Drop,
}

/// What happens to a part for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Its publisher is paused until there is.
    Pause,
    /// The lease of the product that has waited longest ends early.
    Expire,
}

impl Pressure {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Pressure::Pause => "pause",
            Pressure::Expire => "expire",
        }
    }
}

/// What a wrong digest does to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDigestPolicy {
    /// The frame is dropped and counted; the connection stays.
    Drop,
    /// The connection closes too.
    Close,
}

impl SlowPolicy {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            SlowPolicy::Disconnect => "disconnect",
            SlowPolicy::Pause => "pause",
            SlowPolicy::Drop => "drop",
        }
    }
}

impl BadDigestPolicy {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BadDigestPolicy::Drop => "drop",
            BadDigestPolicy::Close => "close",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            payload_max: 16 << 20,
            memory: 256 << 20,
            connections_max: 10_000,
            idle_timeout: Duration::from_secs(300),
            frame_timeout: FRAME_TIMEOUT,
            outbox: 32 << 20,
            slow: SlowPolicy::Disconnect,
            slow_timeout: Duration::from_secs(10),
            on_bad_digest: BadDigestPolicy::Drop,
            scheme: Scheme::Sha256,
            dedup: None,
            drain: Duration::from_secs(10),
            handler: Vec::new(),
            function: None,
            handlers: 1,
            handler_timeout: Duration::from_secs(30),
            max_in_flight: 100,
            max_queued: 10_000,
            overflow: Overflow::Pause,
            lease: Duration::from_secs(30),
            max_keys: KEYS_DEFAULT,
            parts_memory: 64 << 20,
            max_parts: 1024,
            lease_pressure: Pressure::Pause,
            store: None,
            stored: Policy {
                rotate: Duration::from_secs(10),
                sync: SyncPolicy::Batch,
                keep: None,
                topics: STORE_TOPICS_DEFAULT,
            },
            store_earlier: Vec::new(),
            http_max_in_flight: 100,
        }
    }
}

impl Config {
    /// After how long a peer that has vanished without a word is given up: nothing is heard of it for the idle timeout,
    /// but it may take as long as a slow subscriber for what is sent to it.
    pub fn vanished_after(&self) -> Duration {
        self.idle_timeout.max(self.slow_timeout)
    }

    /// Whether frames are answered before they are distributed.
    pub fn calls(&self) -> bool {
        self.function.is_some() || !self.handler.is_empty()
    }

    /// How many digests are remembered at most, where they are.
    pub fn digests_max(&self) -> Option<usize> {
        self.dedup.map(|_| Dedup::max_in(self.memory))
    }

    /// What they take at most, which is no buffer's.
    pub fn digests_bytes(&self) -> usize {
        self.digests_max().map_or(0, |digests| digests * DEDUP_ENTRY)
    }

    /// What buffers have of the memory.
    fn buffers(&self) -> usize {
        self.memory.saturating_sub(self.digests_bytes())
    }

    /// The largest frame, in bytes.
    pub fn frame_max(&self) -> usize {
        HEADER + u8::MAX as usize + self.payload_max + DIGEST
    }

    /// What is kept for handlers beside the answer that is read: for the beginning of another of each, for the
    /// calls, and for answers that wait for those to earlier frames.
    pub fn answer_room(&self) -> AnswerRoom {
        let begun = self.handlers.saturating_mul(READ_MAX + BUFFER_OVERHEAD);
        // More than any memory is enough to be refused.
        let enough = usize::MAX / 64;
        AnswerRoom {
            beside: begun.saturating_add(self.max_in_flight.saturating_mul(CALL)).min(enough),
            waiting: self.max_in_flight.saturating_mul(ANSWER_WAITS).min(enough),
        }
    }

    /// What one outbox may really hold: at most half of the memory, so that one subscriber that
    /// fell behind leaves room for the others.
    pub fn outbox_max(&self) -> usize {
        self.outbox.min(self.memory / 2)
    }

    /// Bytes in an outbox from which on its publishers are held.
    pub fn high_watermark(&self) -> usize {
        self.outbox_max() / 2
    }

    /// What parts may really take: at most half of the memory, and beside it there is room for the largest frame
    /// and for small ones, so that what makes them whole can be read.
    pub fn parts_max(&self) -> usize {
        let beside = Memory::beside_one_of_each(self.buffers(), self.frame_max());
        self.parts_memory.min(self.memory / 2).min(beside)
    }

    /// What patterns, their subscribers and remembered topics may take: a share of the memory, beside which all else
    /// can go on.
    pub fn subscriptions_max(&self) -> usize {
        let answers = self.calls().then(|| self.answer_room());
        Memory::for_subscriptions(self.buffers(), self.frame_max(), answers)
    }

    /// What is kept of the store, as it is written.
    fn keep(&self) -> Option<TimeOrSize> {
        self.stored.keep.map(|keep| match keep {
            Keep::Time(time) => TimeOrSize::Time(time),
            Keep::Size(bytes) => TimeOrSize::Size(bytes as usize),
        })
    }

    /// What is different since `before` of the bounds that depend on the memory, in words.
    pub fn also_since(&self, before: &Config) -> Option<String> {
        let bounds = [
            ("outbox", before.outbox_max(), self.outbox_max()),
            ("parts-memory", before.parts_max(), self.parts_max()),
        ];
        let changed = bounds.into_iter().filter(|(_, old, new)| old != new);
        let also: Vec<String> = changed
            .map(|(name, old, new)| {
                format!("{name}, which depends on it, is {} instead of {}", rounded(new), rounded(old))
            })
            .collect();
        (!also.is_empty()).then(|| also.join(", and "))
    }

    /// Every setting by its name on the command line, as it is written there: what is in force.
    pub fn listed(&self) -> Vec<(&'static str, String)> {
        vec![
            ("max-payload", Size(self.payload_max).to_string()),
            ("memory", Size(self.memory).to_string()),
            ("max-connections", self.connections_max.to_string()),
            ("idle-timeout", Time(self.idle_timeout).to_string()),
            ("frame-timeout", Time(self.frame_timeout).to_string()),
            ("outbox", rounded(self.outbox_max())),
            ("slow", self.slow.name().into()),
            ("slow-timeout", Time(self.slow_timeout).to_string()),
            ("on-bad-digest", self.on_bad_digest.name().into()),
            ("digest", format!("{:?}", self.scheme)),
            ("dedup", TimeOrOff(self.dedup).to_string()),
            ("drain", Time(self.drain).to_string()),
            ("handler", if self.handler.is_empty() { "none".into() } else { self.handler.join(" ") }),
            ("handlers", self.handlers.to_string()),
            ("handler-timeout", Time(self.handler_timeout).to_string()),
            ("max-in-flight", self.max_in_flight.to_string()),
            ("max-queued", self.max_queued.to_string()),
            ("overflow", self.overflow.name().into()),
            ("lease", Time(self.lease).to_string()),
            ("max-keys", self.max_keys.to_string()),
            ("parts-memory", rounded(self.parts_max())),
            ("max-parts", self.max_parts.to_string()),
            ("lease-pressure", self.lease_pressure.name().into()),
            ("store", self.store.as_ref().map_or("none".into(), |folder| folder.display().to_string())),
            ("store-rotate", Time(self.stored.rotate).to_string()),
            ("store-sync", self.stored.sync.name().into()),
            ("store-keep", self.keep().map_or("all".into(), |keep| keep.to_string())),
            ("store-topics", self.stored.topics.to_string()),
            ("http-max-in-flight", self.http_max_in_flight.to_string()),
        ]
    }

    /// Says in one line what cannot work, and how to mend it.
    pub fn check(&self) -> Result<(), String> {
        self.check_ranges()?;
        let least = match self.calls() {
            false => Memory::least(self.frame_max()),
            true => Memory::least_with_answers(self.frame_max(), self.answer_room()),
        };
        if self.buffers() < least {
            // One of so many parts of the memory is the digests'.
            let least =
                if self.dedup.is_some() { least.div_ceil(DEDUP_SHARE - 1) * DEDUP_SHARE } else { least };
            let mib = least.div_ceil(1 << 20);
            let (memory, payload) = (size(self.memory), size(self.payload_max));
            return Err(match self.calls() {
                false => format!(
                    "memory {memory} is too little for max-payload {payload}: give --memory {mib}MiB or more, \
                     or a smaller --max-payload"
                ),
                true => format!(
                    "memory {memory} is too little for max-payload {payload}, {} handlers and {} frames with \
                     them: give --memory {mib}MiB or more, or a smaller --max-payload, --handlers or \
                     --max-in-flight",
                    self.handlers, self.max_in_flight
                ),
            });
        }
        match self.stored.keep {
            Some(_) if self.store.is_none() => {
                Err("store-keep without a store: give --store DIR, or leave it out".into())
            }
            Some(Keep::Time(time)) if time < self.stored.rotate => Err(format!(
                "store-keep {} is less than store-rotate {}: set it higher",
                Time(time),
                Time(self.stored.rotate)
            )),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// Whether every number and time is within its [range](crate::core::ranges).
    fn check_ranges(&self) -> Result<(), String> {
        // All are named, so that a new one is not forgotten here.
        let Config {
            payload_max,
            memory,
            connections_max,
            idle_timeout,
            frame_timeout,
            outbox,
            slow: _,
            slow_timeout,
            on_bad_digest: _,
            scheme: _,
            dedup,
            drain,
            handler: _,
            function: _,
            handlers,
            handler_timeout,
            max_in_flight,
            max_queued,
            overflow: _,
            lease,
            max_keys,
            parts_memory,
            max_parts,
            lease_pressure: _,
            store: _,
            stored: Policy { rotate, sync: _, keep, topics },
            store_earlier: _,
            http_max_in_flight,
        } = self;
        for (name, size) in [
            ("max-payload", payload_max),
            ("memory", memory),
            ("outbox", outbox),
            ("parts-memory", parts_memory),
        ] {
            check_size(name, *size)?;
        }
        for (name, count) in [
            ("max-connections", *connections_max),
            ("handlers", *handlers),
            ("max-in-flight", *max_in_flight),
            ("max-queued", *max_queued),
            ("max-keys", *max_keys),
            ("max-parts", usize::from(*max_parts)),
            ("store-topics", *topics),
            ("http-max-in-flight", *http_max_in_flight),
        ] {
            check_count(name, count)?;
        }
        for (name, time) in [
            ("idle-timeout", Some(*idle_timeout)),
            ("frame-timeout", Some(*frame_timeout)),
            ("slow-timeout", Some(*slow_timeout)),
            ("dedup", *dedup),
            ("drain", Some(*drain)),
            ("handler-timeout", Some(*handler_timeout)),
            ("lease", Some(*lease)),
            ("store-rotate", Some(*rotate)),
        ] {
            time.map_or(Ok(()), |time| check_time(name, time))?;
        }
        match *keep {
            Some(Keep::Time(time)) => check_time("store-keep", time),
            Some(Keep::Size(bytes)) => check_size("store-keep", usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => Ok(()),
        }
    }
}

fn size(bytes: usize) -> bytesize::Display {
    bytesize::ByteSize(bytes as u64).display()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_faults_say_the_mend() {
        assert_eq!(Config::default().check(), Ok(()));
        let small = Config { memory: 8 << 20, ..Config::default() };
        let message = small.check().unwrap_err();
        assert!(message.contains("--memory 22MiB"), "{message}");
        let mended = Config { memory: 22 << 20, ..Config::default() };
        assert_eq!(mended.check(), Ok(()));
        // The digests that are remembered have an eighth of it.
        let dedup = Config { dedup: Some(Duration::from_secs(1)), ..mended };
        let message = dedup.check().unwrap_err();
        assert!(message.contains("--memory 25MiB"), "{message}");
        assert_eq!(Config { memory: 25 << 20, ..dedup }.check(), Ok(()));
        assert!(Config { outbox: 0, ..Config::default() }.check().is_err());
    }

    #[test]
    fn what_no_clock_and_no_counter_holds_is_refused() {
        let (never, zero) = (Duration::MAX, Duration::ZERO);
        let stored = |rotate, keep, topics| Policy { rotate, keep, topics, ..Config::default().stored };
        let (second, default) = (Duration::from_secs(1), Config::default);
        for (config, name) in [
            (Config { payload_max: usize::MAX, ..default() }, "max-payload"),
            (Config { memory: usize::MAX, ..default() }, "memory"),
            (Config { connections_max: usize::MAX, ..default() }, "max-connections"),
            (Config { idle_timeout: never, ..default() }, "idle-timeout"),
            (Config { idle_timeout: zero, ..default() }, "idle-timeout"),
            (Config { frame_timeout: never, ..default() }, "frame-timeout"),
            (Config { outbox: usize::MAX, ..default() }, "outbox"),
            (Config { slow_timeout: never, ..default() }, "slow-timeout"),
            (Config { dedup: Some(never), ..default() }, "dedup"),
            (Config { dedup: Some(zero), ..default() }, "dedup"),
            (Config { drain: never, ..default() }, "drain"),
            (Config { handlers: usize::MAX, ..default() }, "handlers"),
            (Config { handler_timeout: never, ..default() }, "handler-timeout"),
            (Config { max_in_flight: usize::MAX, ..default() }, "max-in-flight"),
            (Config { max_queued: usize::MAX, ..default() }, "max-queued"),
            (Config { lease: never, ..default() }, "lease"),
            (Config { max_keys: usize::MAX, ..default() }, "max-keys"),
            (Config { parts_memory: 0, ..default() }, "parts-memory"),
            (Config { max_parts: 1, ..default() }, "max-parts"),
            (Config { http_max_in_flight: usize::MAX, ..default() }, "http-max-in-flight"),
            (Config { stored: stored(never, None, 1), ..default() }, "store-rotate"),
            (Config { stored: stored(second, None, 0), ..default() }, "store-topics"),
            (Config { stored: stored(second, Some(Keep::Time(never)), 1), ..default() }, "store-keep"),
            (Config { stored: stored(second, Some(Keep::Size(0)), 1), ..default() }, "store-keep"),
        ] {
            let said = config.check().unwrap_err();
            assert!(said.starts_with(&format!("{name} ")) && said.contains(": allowed is "), "{said}");
        }
    }
}
