//! What a gateway is set to do.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::acks::dedup::Dedup;
use crate::core::call_queue::Overflow;
use crate::core::limits::{
    ANSWER_WAITS, BUFFER_OVERHEAD, CALL, DEDUP_ENTRY, DEDUP_SHARE, FRAME_TIMEOUT, KEYS_DEFAULT, READ_MAX,
    STORE_TOPICS_DEFAULT,
};
use crate::core::memory::{AnswerRoom, Memory};
use crate::core::ranges::{self, Value};
use crate::core::units::{Time, held, rounded};
use crate::runtime::handler::Function;
use crate::runtime::tls::SharedSetup;
use crate::sinks::store::{Hold, Keep, Policy, SyncPolicy};
use crate::wire::access::Access;
#[cfg(feature = "layouts")]
use crate::wire::layout::builtin;
use crate::wire::layout::{Layout, Layouts};
use crate::wire::{DIGEST, HEADER, Scheme};

/// 64 bytes for the name of a layout: it stands in metrics and in lines of the log.
const LAYOUT_NAME_MAX: usize = 64;

/// Declares [`Config`]. Each line is a setting: what it is called on the command line, in the settings' file and by
/// `ctl` (a field may hold several settings, or one without a name), its type, and what it is unless it is set. What it
/// may be is in [`ranges`]; how it is given, in `cli/settings.rs`.
macro_rules! config {
    ($(#[$struct_doc:meta])* pub struct Config {
        $($(#[$doc:meta])* [$($name:literal $(.$part:ident)?),*] $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$struct_doc])*
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($field: $default,)* }
            }
        }

        impl Config {
            /// Every setting with a name.
            fn values(&self) -> Vec<(&'static str, Value)> {
                vec![$($(($name, self.$field$(.$part)?.value()),)*)*]
            }
        }
    };
}

config! {
    /// The settings of a gateway; the command line's names and defaults. Sizes are in bytes.
    pub struct Config {
        /// The largest payload.
        ["max-payload"] payload_max: usize = 16 << 20,
        /// All buffered bytes together; at the limit publishers are paused, never dropped.
        ["memory"] memory: usize = 256 << 20,
        /// Connections at once; further ones are closed at accept and counted.
        ["max-connections"] connections_max: usize = 10_000,
        /// Connections of one address at once; any number if 0. Of IPv6, as many of one network of 64 bits.
        ["max-per-address"] per_address_max: usize = 0,
        /// A connection that neither sends nor is sent anything for so long is closed.
        ["idle-timeout"] idle_timeout: Duration = Duration::from_secs(300),
        /// A peer that began a frame has so long for each 64 KiB of it.
        ["frame-timeout"] frame_timeout: Duration = FRAME_TIMEOUT,
        /// How far one subscriber may fall behind.
        ["outbox"] outbox: usize = 32 << 20,
        /// What happens at that point.
        ["slow"] slow: SlowPolicy = SlowPolicy::Disconnect,
        /// Under [`SlowPolicy::Pause`], a subscriber that takes nothing for so long is closed.
        ["slow-timeout"] slow_timeout: Duration = Duration::from_secs(10),
        /// What a wrong digest does to its connection.
        ["on-bad-digest"] on_bad_digest: BadDigestPolicy = BadDigestPolicy::Drop,
        /// How digests are made.
        ["scheme"] scheme: Scheme = Scheme::Sha256,
        /// How long accepted digests are remembered; not at all if none.
        ["dedup"] dedup: Option<Duration> = None,
        /// Who may connect, and what they may do; everybody may do everything if there is none.
        [] access: Option<AccessFile> = None,
        /// Takes tokens from other machines on listeners without TLS, where others may read them on their way.
        ["insecure-tokens"] insecure_tokens: bool = false,
        /// Has handlers that are programs told who sent the frames that they get.
        ["handler-identity"] handler_identity: bool = false,
        /// How long draining waits for what was accepted.
        ["drain"] drain: Duration = Duration::from_secs(10),
        /// The program that answers frames before they are distributed, and its arguments. If it is empty,
        /// frames are distributed as they come.
        ["handler"] handler: Vec<String> = Vec::new(),
        /// A handler in Rust, in the place of a program.
        [] function: Option<Function> = None,
        /// How many programs are started.
        ["handlers"] handlers: usize = 1,
        /// How long a handler may take for a frame; then it is replaced or, where it is in Rust, the frame is refused.
        ["handler-timeout"] handler_timeout: Duration = Duration::from_secs(30),
        /// Frames with the handlers at once.
        ["max-in-flight"] max_in_flight: usize = 100,
        /// Frames that wait for them.
        ["max-queued"] max_queued: usize = 10_000,
        /// What happens beyond that.
        ["overflow"] overflow: Overflow = Overflow::Pause,
        /// How long a message may wait for its next fragment.
        ["lease"] lease: Duration = Duration::from_secs(30),
        /// Messages that are not complete at once.
        ["max-keys"] max_keys: usize = KEYS_DEFAULT,
        /// What their fragments may take of the memory.
        ["parts-memory"] parts_memory: usize = 64 << 20,
        /// Fragments of one message.
        ["max-parts"] max_parts: u16 = 1024,
        /// What happens to a fragment for which there is no room.
        ["lease-pressure"] lease_pressure: Pressure = Pressure::Pause,
        /// The folder in which every distributed frame is stored before its OK, if one is.
        /// A limit of file sizes is a full disk to it, in a program that catches or ignores SIGXFSZ as `framegate` does.
        ["store"] store: Option<PathBuf> = None,
        /// How it is stored there.
        ["store-rotate".rotate, "store-sync".sync, "store-keep".keep, "store-topics".topics, "store-hold".hold]
        stored: Policy = Policy {
            rotate: Duration::from_secs(10),
            sync: SyncPolicy::Batch,
            keep: None,
            topics: STORE_TOPICS_DEFAULT,
            hold: None,
        },
        /// Schemes under which earlier runs stored there, as far as what these left open is to be judged by them.
        [] store_earlier: Vec<Scheme> = Vec::new(),
        /// Listeners beside the first one, as [`Gateway::listen_also`](super::Gateway::listen_also) adds them.
        ["listen-layout"] listeners: Vec<Listener> = Vec::new(),
        /// Requests of an HTTP sink under way at once, where there is one.
        ["http-max-in-flight"] http_max_in_flight: usize = 100,
    }
}

/// A listener beside the first.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is spoken there: native frames if nothing else.
    pub layout: Option<Arc<Layout>>,
    /// How TLS is agreed on there; it is in the clear if none.
    pub tls: Option<SharedSetup>,
}

impl Listener {
    /// The name of its layout, or `native`.
    pub fn name(&self) -> &str {
        self.layout.as_ref().map_or("native", |layout| layout.name())
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls.is_some() { "+tls" } else { "" };
        write!(f, "{}{tls}={}", self.name(), self.address)
    }
}

/// An access file that was read.
#[derive(Clone)]
pub struct AccessFile {
    /// Where it was read from, to be shown; empty where it comes from elsewhere.
    pub path: PathBuf,
    /// What it says.
    pub access: Arc<Access>,
}

impl fmt::Debug for AccessFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessFile").field(&self.path).finish()
    }
}

/// What a setting holds, for messages and ranges.
trait Holds {
    fn value(&self) -> Value;
}

macro_rules! holds {
    ($($type:ty: |$held:ident| $value:expr;)*) => {
        $(impl Holds for $type {
            fn value(&self) -> Value {
                let $held = self;
                $value
            }
        })*
    };
}

holds! {
    usize: |number| Value::Number(*number);
    bool: |is_on| Value::word(if *is_on { "true" } else { "false" });
    u16: |number| Value::Number(usize::from(*number));
    Duration: |time| Value::Time(*time);
    Option<Duration>: |time| time.map_or(Value::word("off"), Value::Time);
    SlowPolicy: |policy| Value::word(policy.name());
    BadDigestPolicy: |policy| Value::word(policy.name());
    Overflow: |policy| Value::word(policy.name());
    Pressure: |policy| Value::word(policy.name());
    SyncPolicy: |policy| Value::word(policy.name());
    Scheme: |scheme| Value::Word(format!("{scheme:?}"));
    Vec<String>: |command| if command.is_empty() { Value::word("none") } else { Value::Word(command.join(" ")) };
    Vec<Listener>: |all| {
        let shown: Vec<_> = all.iter().map(Listener::to_string).collect();
        if shown.is_empty() { Value::word("none") } else { Value::Word(shown.join(" ")) }
    };
    Option<PathBuf>: |folder| folder.as_ref().map_or(Value::word("none"), |path| Value::Word(path.display().to_string()));
    Option<Keep>: |keep| match *keep {
        None => Value::word("all"),
        Some(Keep::Time(time)) => Value::Time(time),
        Some(Keep::Size(bytes)) => Value::Number(bytes as usize),
    };
    Option<Hold>: |hold| match *hold {
        None => Value::word("none"),
        Some(Hold(Keep::Time(time))) => Value::Time(time),
        Some(Hold(Keep::Size(bytes))) => Value::Number(bytes as usize),
    };
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
    /// The lease of the message that has waited longest ends early.
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

impl Config {
    /// After how long a peer that has vanished without a word is given up: nothing is heard of it for the idle timeout,
    /// but it may take as long as a slow subscriber for what is sent to it.
    pub fn vanished_after(&self) -> Duration {
        self.idle_timeout.max(self.slow_timeout)
    }

    /// The layouts that streams are compared with which another cannot cut: none where no listener has one.
    pub fn layouts(&self) -> Layouts {
        let own: Layouts = self.listeners.iter().filter_map(|listener| listener.layout.clone()).collect();
        #[cfg(feature = "layouts")]
        if !own.is_empty() {
            return own.or(builtin());
        }
        own
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
        let in_force = |(name, value): (&'static str, Value)| {
            let written = match name {
                "outbox" => rounded(self.outbox_max()),
                "parts-memory" => rounded(self.parts_max()),
                _ => ranges::written(name, &value),
            };
            (name, written)
        };
        self.values().into_iter().map(in_force).collect()
    }

    /// Says in one line what cannot work, and how to mend it.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in self.values() {
            ranges::check(name, &value)?;
        }
        let least = match self.calls() {
            false => Memory::least(self.frame_max()),
            true => Memory::least_with_answers(self.frame_max(), self.answer_room()),
        };
        if self.buffers() < least {
            // One of so many parts of the memory is the digests'.
            let least =
                if self.dedup.is_some() { least.div_ceil(DEDUP_SHARE - 1) * DEDUP_SHARE } else { least };
            let mib = least.div_ceil(1 << 20);
            let (memory, payload) = (held(self.memory as u64), held(self.payload_max as u64));
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
        let is_code = |listener: &&Listener| listener.layout.as_ref().is_some_and(|layout| layout.is_code());
        let is_name = |listener: &&Listener| {
            let name = listener.name();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            (1..=LAYOUT_NAME_MAX).contains(&name.len()) && name.chars().all(is_plain)
        };
        if let Some(listener) = self.listeners.iter().filter(is_code).find(|listener| !is_name(listener)) {
            return Err(format!(
                "{:?} cannot be the name of a format: give it 1 to {LAYOUT_NAME_MAX} letters, digits, _, - and .",
                listener.name()
            ));
        }
        let wants_secret = |listener: &&Listener| {
            !self.scheme.is_keyed() && listener.layout.as_ref().is_some_and(|layout| layout.needs_secret())
        };
        if let Some(listener) = self.listeners.iter().find(wants_secret) {
            return Err(format!(
                "layout {} checks frames with a secret and there is none: give --secret-file",
                listener.name()
            ));
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
            None if self.stored.hold.is_some() => {
                Err("store-hold without store-keep: nothing is removed, so leave it out".into())
            }
            _ => Ok(()),
        }
    }
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
