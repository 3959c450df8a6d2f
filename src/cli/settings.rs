//! What a gateway can be set to: the options of `serve`, which are also the names of its TOML file.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::in_range::in_range;
use super::policies::policy;
use super::{Failure, Size, Time, TimeOrOff, secret};
use crate::core::limits::WORKERS_MAX;
use crate::core::units::TimeOrSize;
use crate::gateway::{BadDigestPolicy, Config, Overflow, Pressure, SlowPolicy};
use crate::sinks::store::{Keep, Policy, SyncPolicy};

/// Where publishers and subscribers connect unless it is set.
pub const LISTEN: &str = "127.0.0.1:7450";

/// Where the page, metrics and controls are unless it is set.
pub const ADMIN: &str = "127.0.0.1:7451";

/// Every setting, each only if it was given. The help of each ends with the default that
/// [`Config::default`] holds; a test compares them.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where publishers and subscribers connect; port 0 takes a free one [default: 127.0.0.1:7450]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// HTTP: the page, /metrics, /status and the controls of ctl; off for none [default: 127.0.0.1:7451]
    #[arg(long, value_name = "ADDR|off")]
    pub admin: Option<String>,
    /// What changes something there must carry the token in this file [default: none; then only a loopback --admin takes changes]
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// A name, beside its addresses, by which browsers may ask for the page; may be given again [default: none]
    #[arg(long, value_name = "NAME")]
    pub admin_host: Option<Vec<String>>,
    /// Threads that verify [default: cores - 1, at least 1]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub workers: Option<usize>,
    /// The largest payload; a larger one is TOO_LARGE [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
    pub max_payload: Option<Size>,
    /// All buffered bytes together; at the limit publishers are paused, never dropped [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
    pub memory: Option<Size>,
    /// Connections at once; further ones are closed and counted [default: what the file limit allows]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub max_connections: Option<usize>,
    /// Closes a connection that neither sends nor is sent anything for so long, and one whose peer has vanished [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub idle_timeout: Option<Time>,
    /// Closes a peer that takes longer for 64KiB of a frame that it began [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub frame_timeout: Option<Time>,
    /// How far one subscriber may fall behind [default: 32MiB]
    #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
    pub outbox: Option<Size>,
    /// What happens to a subscriber at that point [default: disconnect]
    #[arg(long, value_name = "POLICY")]
    #[serde(deserialize_with = "policy")]
    pub slow: Option<SlowPolicy>,
    /// With pause, closes a subscriber that takes nothing for so long; whoever is closed has as long for the rest of a frame and its last word [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub slow_timeout: Option<Time>,
    /// What a wrong digest does to its connection [default: drop]
    #[arg(long, value_name = "POLICY")]
    #[serde(deserialize_with = "policy")]
    pub on_bad_digest: Option<BadDigestPolicy>,
    /// Digests are HMAC-SHA-256 under the secret in this file [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Remembers accepted digests so long; the same bytes again are DUPLICATE [default: off]
    #[arg(long, value_name = "TIME|off", value_parser = in_range::<TimeOrOff>())]
    pub dedup: Option<TimeOrOff>,
    /// Says in the log, each TIME, how full every queue is: connections, jobs, memory, handlers, open keys and sinks [default: off]
    #[arg(long, value_name = "TIME|off", value_parser = in_range::<TimeOrOff>())]
    pub patrol: Option<TimeOrOff>,
    /// How long INT or TERM waits for what was accepted [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub drain: Option<Time>,
    /// A program that answers every frame before it is distributed: it reads DATA frames on its standard input and
    /// writes, in any order, a REPLY with the same id for each on its standard output. OK lets the frame pass and
    /// takes the payload to the publisher, REJECTED refuses it, a DATA frame takes its place. The command is split
    /// into words as a shell does it, and no shell is between, so that the program itself is started and ended;
    /// for pipes and variables give sh -c '...'. Parts are REJECTED where there is a handler [default: none]
    #[arg(long, value_name = "COMMAND")]
    pub handler: Option<String>,
    /// How many handlers are started [default: as many as workers]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub handlers: Option<usize>,
    /// How long a handler may take for the oldest of its frames; then it is replaced [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub handler_timeout: Option<Time>,
    /// Frames with the handlers at once; as many as --handlers if each does one at a time [default: 100]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub max_in_flight: Option<usize>,
    /// Frames that wait for them [default: 10000]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub max_queued: Option<usize>,
    /// What happens to a frame beyond that [default: pause]
    #[arg(long, value_name = "POLICY")]
    #[serde(deserialize_with = "policy")]
    pub overflow: Option<Overflow>,
    /// How long a key may wait for its next part; then its parts are told EXPIRED [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub lease: Option<Time>,
    /// Keys that wait for parts at once [default: 1000000]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub max_keys: Option<usize>,
    /// What their parts may take of --memory, at most half of it, and never the room in which the largest frame
    /// comes; each key costs some 350 bytes beside them [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
    pub parts_memory: Option<Size>,
    /// Parts of one key [default: 1024]
    #[arg(long, value_name = "N", value_parser = in_range::<u16>())]
    pub max_parts: Option<u16>,
    /// What happens to a part for which there is no room [default: pause]
    #[arg(long, value_name = "POLICY")]
    #[serde(deserialize_with = "policy")]
    pub lease_pressure: Option<Pressure>,
    /// Every distributed frame is also appended here, a folder a topic, before its OK; framegate verify checks
    /// the files, tail --store prints them and send --whole --frames publishes them again [default: none]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// A segment of the store gets its final name this often, and at 64MiB [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    pub store_rotate: Option<Time>,
    /// When a frame counts as stored [default: batch]
    #[arg(long, value_name = "POLICY")]
    #[serde(deserialize_with = "policy")]
    pub store_sync: Option<SyncPolicy>,
    /// Removes finished segments that are older (7d), or the oldest beyond so much (10GiB) [default: none, all is kept]
    #[arg(long, value_name = "TIME|SIZE", value_parser = in_range::<TimeOrSize>())]
    pub store_keep: Option<TimeOrSize>,
    /// Topics that the store may have, a folder each; a frame of a further one is REJECTED [default: 100000]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
    pub store_topics: Option<usize>,
    /// The secret of an earlier run, where a crash left segments open that were made under it; may be given again
    /// [default: none, such a store is refused]
    #[arg(long, value_name = "FILE")]
    pub store_secret_file: Option<Vec<PathBuf>>,
    /// Every distributed frame is POSTed to this URL: the payload as the body; Framegate-Topic, -Key, -Id and, with
    /// the digest in hex, Idempotency-Key as headers. OK waits for a 2xx; of anything else the publisher is told
    /// REJECTED with the reason [default: none]
    #[arg(long, value_name = "URL", help_heading = "HTTP sink")]
    pub http_sink: Option<String>,
    /// Requests under way at once, over as many connections; fewer where the store refuses so many [default: 100]
    #[arg(long, value_name = "N", help_heading = "HTTP sink", value_parser = in_range::<usize>())]
    pub http_max_in_flight: Option<usize>,
    /// One frame of a key is under way at a time, so that those of a key are stored in order; frames without a key
    /// are of one. Otherwise frames begin in order and end in any [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "HTTP sink")]
    pub http_ordered: Option<bool>,
    /// How long an answer may take to be whole [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "HTTP sink", value_parser = in_range::<Time>())]
    pub http_timeout: Option<Time>,
    /// Further tries after a lost connection, a timeout, or 408, 425, 429 or 5xx [default: 3]
    #[arg(long, value_name = "N", help_heading = "HTTP sink", value_parser = in_range::<u32>())]
    pub http_retries: Option<u32>,
    /// How long a store that cannot be reached is waited for; then frames are REJECTED until it is back [default: 1m]
    #[arg(long, value_name = "TIME", help_heading = "HTTP sink", value_parser = in_range::<Time>())]
    pub http_patience: Option<Time>,
    /// A header of every request; may be given again [default: none]
    #[arg(long, value_name = "'K: V'", help_heading = "HTTP sink")]
    pub http_header: Option<Vec<String>>,
    /// The Content-Type of every payload [default: application/octet-stream]
    #[arg(long, value_name = "T", help_heading = "HTTP sink")]
    pub http_content_type: Option<String>,
    /// Beside a 2xx, the JSON of the answer must hold this, such as code=0 [default: none]
    #[arg(long, value_name = "FIELD=VALUE", help_heading = "HTTP sink")]
    pub http_ok_when: Option<String>,
    /// Takes any certificate, not only those that the system trusts [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "HTTP sink")]
    pub http_insecure: Option<bool>,
}

impl Settings {
    /// These settings, and where they say nothing, `others`.
    pub fn or(self, others: Settings) -> Settings {
        Settings {
            listen: self.listen.or(others.listen),
            admin: self.admin.or(others.admin),
            admin_token_file: self.admin_token_file.or(others.admin_token_file),
            admin_host: self.admin_host.or(others.admin_host),
            workers: self.workers.or(others.workers),
            max_payload: self.max_payload.or(others.max_payload),
            memory: self.memory.or(others.memory),
            max_connections: self.max_connections.or(others.max_connections),
            idle_timeout: self.idle_timeout.or(others.idle_timeout),
            frame_timeout: self.frame_timeout.or(others.frame_timeout),
            outbox: self.outbox.or(others.outbox),
            slow: self.slow.or(others.slow),
            slow_timeout: self.slow_timeout.or(others.slow_timeout),
            on_bad_digest: self.on_bad_digest.or(others.on_bad_digest),
            secret_file: self.secret_file.or(others.secret_file),
            dedup: self.dedup.or(others.dedup),
            patrol: self.patrol.or(others.patrol),
            drain: self.drain.or(others.drain),
            handler: self.handler.or(others.handler),
            handlers: self.handlers.or(others.handlers),
            handler_timeout: self.handler_timeout.or(others.handler_timeout),
            max_in_flight: self.max_in_flight.or(others.max_in_flight),
            max_queued: self.max_queued.or(others.max_queued),
            overflow: self.overflow.or(others.overflow),
            lease: self.lease.or(others.lease),
            max_keys: self.max_keys.or(others.max_keys),
            parts_memory: self.parts_memory.or(others.parts_memory),
            max_parts: self.max_parts.or(others.max_parts),
            lease_pressure: self.lease_pressure.or(others.lease_pressure),
            store: self.store.or(others.store),
            store_rotate: self.store_rotate.or(others.store_rotate),
            store_sync: self.store_sync.or(others.store_sync),
            store_keep: self.store_keep.or(others.store_keep),
            store_topics: self.store_topics.or(others.store_topics),
            store_secret_file: self.store_secret_file.or(others.store_secret_file),
            http_sink: self.http_sink.or(others.http_sink),
            http_max_in_flight: self.http_max_in_flight.or(others.http_max_in_flight),
            http_ordered: self.http_ordered.or(others.http_ordered),
            http_timeout: self.http_timeout.or(others.http_timeout),
            http_retries: self.http_retries.or(others.http_retries),
            http_patience: self.http_patience.or(others.http_patience),
            http_header: self.http_header.or(others.http_header),
            http_content_type: self.http_content_type.or(others.http_content_type),
            http_ok_when: self.http_ok_when.or(others.http_ok_when),
            http_insecure: self.http_insecure.or(others.http_insecure),
        }
    }

    /// The gateway's configuration, checked. `connections_max` is what the file limit allows.
    pub fn config(&self, connections_max: usize) -> Result<Config, Failure> {
        let default = Config::default();
        let size = |given: Option<Size>, default| given.map_or(default, |Size(bytes)| bytes);
        let time = |given: Option<Time>, default: Duration| given.map_or(default, |Time(time)| time);
        let config = Config {
            payload_max: size(self.max_payload, default.payload_max),
            memory: size(self.memory, default.memory),
            connections_max: self.max_connections.unwrap_or(connections_max),
            idle_timeout: time(self.idle_timeout, default.idle_timeout),
            frame_timeout: time(self.frame_timeout, default.frame_timeout),
            outbox: size(self.outbox, default.outbox),
            slow: self.slow.unwrap_or(default.slow),
            slow_timeout: time(self.slow_timeout, default.slow_timeout),
            on_bad_digest: self.on_bad_digest.unwrap_or(default.on_bad_digest),
            scheme: secret::scheme_to_serve(self.secret_file.as_deref())?,
            dedup: self.dedup.map_or(default.dedup, |TimeOrOff(time)| time),
            drain: time(self.drain, default.drain),
            handler: self.handler.as_deref().map_or(Ok(Vec::new()), words)?,
            function: None,
            handlers: self.handlers.unwrap_or_else(|| self.workers()),
            handler_timeout: time(self.handler_timeout, default.handler_timeout),
            max_in_flight: self.max_in_flight.unwrap_or(default.max_in_flight),
            max_queued: self.max_queued.unwrap_or(default.max_queued),
            overflow: self.overflow.unwrap_or(default.overflow),
            lease: time(self.lease, default.lease),
            max_keys: self.max_keys.unwrap_or(default.max_keys),
            parts_memory: size(self.parts_memory, default.parts_memory),
            max_parts: self.max_parts.unwrap_or(default.max_parts),
            lease_pressure: self.lease_pressure.unwrap_or(default.lease_pressure),
            store: self.store.clone(),
            stored: Policy {
                rotate: time(self.store_rotate, default.stored.rotate),
                sync: self.store_sync.unwrap_or(default.stored.sync),
                keep: self.store_keep.map(|keep| match keep {
                    TimeOrSize::Time(time) => Keep::Time(time),
                    TimeOrSize::Size(bytes) => Keep::Size(bytes as u64),
                }),
                topics: self.store_topics.unwrap_or(default.stored.topics),
            },
            store_earlier: secret::schemes(
                "--store-secret-file",
                self.store_secret_file.as_deref().unwrap_or_default(),
            )?,
            http_max_in_flight: self.http_max_in_flight.unwrap_or(default.http_max_in_flight),
        };
        config.check().map_err(Failure::usage)?;
        Ok(config)
    }

    /// How often the depths of the queues are logged, if at all.
    pub fn patrol(&self) -> Option<Duration> {
        self.patrol.and_then(|TimeOrOff(time)| time)
    }

    /// Threads that verify.
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(default_workers)
    }
}

/// A command as a shell would split it.
fn words(command: &str) -> Result<Vec<String>, Failure> {
    match shlex::split(command) {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => Err(Failure::usage("--handler is empty: give a program, or leave it out")),
        None => Err(Failure::usage(format!("--handler {command}: a quote is not closed"))),
    }
}

/// One core is the reactor's.
fn default_workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, WORKERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ranges;
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    /// The defaults that the help names, by option.
    fn defaults_in_help() -> BTreeMap<String, String> {
        let command = Settings::augment_args(clap::Command::new("serve"));
        let default = |arg: &clap::Arg| {
            let help = arg.get_help().expect("a help").to_string();
            let (_, default) = help.split_once("[default: ").expect("a default");
            default.trim_end_matches(']').to_string()
        };
        command.get_arguments().map(|arg| (arg.get_long().unwrap().to_string(), default(arg))).collect()
    }

    fn toml_of(defaults: &BTreeMap<String, String>) -> String {
        let quoted = |value: &String| match value.parse::<u64>() {
            Ok(number) => number.to_string(),
            Err(_) if value == "false" => value.clone(),
            Err(_) => format!("'{value}'"),
        };
        defaults.iter().map(|(name, value)| format!("{name} = {}\n", quoted(value))).collect()
    }

    #[test]
    fn the_help_names_the_defaults_and_toml_takes_the_same_names() {
        let mut defaults = defaults_in_help();
        for (name, words) in [
            ("workers", "cores"),
            ("max-connections", "file limit"),
            ("secret-file", "none"),
            ("admin-token-file", "none"),
            ("admin-host", "none"),
            ("handler", "none"),
            ("handlers", "workers"),
            ("store", "none"),
            ("store-keep", "none"),
            ("store-secret-file", "none"),
            ("http-sink", "none"),
            ("http-header", "none"),
            ("http-ok-when", "none"),
        ] {
            assert!(defaults.remove(name).unwrap().contains(words), "{name}");
        }
        assert_eq!(defaults.remove("listen").as_deref(), Some(LISTEN));
        assert_eq!(defaults.remove("admin").as_deref(), Some(ADMIN));
        let given: Settings = toml::from_str(&toml_of(&defaults)).unwrap();
        let default = Config::default();
        let default = Config { handlers: default_workers(), ..default };
        let shown = |config: Config| format!("{config:?}");
        assert_eq!(shown(given.config(default.connections_max).unwrap()), shown(default.clone()));
        let nothing = Settings::default();
        assert_eq!(shown(nothing.config(default.connections_max).unwrap()), shown(default));
    }

    #[test]
    fn options_win_over_the_file() {
        let file: Settings = toml::from_str("memory = '64MiB'\noutbox = 1024\nworkers = 3").unwrap();
        let options = Settings { memory: Some(Size(128 << 20)), ..Settings::default() };
        let settings = options.or(file);
        let config = settings.config(5).unwrap();
        assert_eq!((config.memory, config.outbox, config.connections_max), (128 << 20, 1024, 5));
        assert_eq!(settings.workers(), 3);
    }

    #[test]
    fn every_setting_of_the_file_counts() {
        // Whatever `or` forgot would come out as a default here.
        let folder = tempfile::tempdir().unwrap();
        let (path, secret) = (folder.path().join("gateway.toml"), folder.path().join("secret"));
        fs::write(&secret, "sixteen bytes...").unwrap();
        let text = format!(
            "listen = '[::1]:1'\nadmin = 'off'\nadmin-token-file = 't'\nadmin-host = ['a', 'b']\nworkers = 2\nmax-payload = '1MiB'\nmemory = '64MiB'\nmax-connections = 7\n\
             idle-timeout = 1\nframe-timeout = 2\noutbox = '3KiB'\nslow = 'drop'\nslow-timeout = '4ms'\n\
             on-bad-digest = 'close'\nsecret-file = '{0}'\ndedup = '5s'\npatrol = '7s'\ndrain = '6s'\n\
             handler = \"sh -c 'cat -'\"\nhandlers = 7\nhandler-timeout = '8s'\nmax-in-flight = 9\n\
             max-queued = 10\noverflow = 'reject'\nlease = 13\nmax-keys = 14\nparts-memory = 15\nmax-parts = 16\nlease-pressure = 'expire'\nstore = 's'\nstore-rotate = 11\nstore-sync = 'off'\nstore-keep = '12GiB'\n\
             store-topics = 17\nstore-secret-file = ['{0}', '{0}']\n\
             http-sink = 'http://h/'\nhttp-max-in-flight = 11\n\
             http-ordered = true\nhttp-timeout = '12s'\nhttp-retries = 13\nhttp-patience = 14\nhttp-header = ['a: b']\n\
             http-content-type = 'text/plain'\nhttp-ok-when = 'code=0'\nhttp-insecure = true\n",
            secret.display()
        );
        assert_eq!(text.lines().count(), defaults_in_help().len());
        fs::write(&path, text).unwrap();
        let settings = Settings::default().or(Settings::from_file(&path).unwrap());
        assert_eq!(settings.listen.as_deref(), Some("[::1]:1"));
        assert_eq!(settings.admin.as_deref(), Some("off"));
        assert_eq!(settings.admin_token_file.as_deref(), Some(Path::new("t")));
        assert_eq!(settings.admin_host.as_ref().map(Vec::len), Some(2));
        assert_eq!(settings.workers(), 2);
        let config = settings.config(1).unwrap();
        assert_eq!((config.payload_max, config.memory, config.connections_max), (1 << 20, 64 << 20, 7));
        assert_eq!((config.outbox, config.slow), (3 << 10, SlowPolicy::Drop));
        assert_eq!(config.idle_timeout, Duration::from_secs(1));
        assert_eq!(config.frame_timeout, Duration::from_secs(2));
        assert_eq!(config.slow_timeout, Duration::from_millis(4));
        assert_eq!((config.on_bad_digest, config.scheme.is_keyed()), (BadDigestPolicy::Close, true));
        assert_eq!(config.dedup, Some(Duration::from_secs(5)));
        assert_eq!((config.drain, settings.patrol()), (Duration::from_secs(6), Some(Duration::from_secs(7))));
        assert_eq!((config.handler, config.handlers), (["sh", "-c", "cat -"].map(String::from).into(), 7));
        assert_eq!(config.handler_timeout, Duration::from_secs(8));
        assert_eq!((config.max_in_flight, config.max_queued, config.overflow), (9, 10, Overflow::Reject));
        assert_eq!((config.lease, config.max_keys), (Duration::from_secs(13), 14));
        assert_eq!((config.parts_memory, config.max_parts), (15, 16));
        assert_eq!(config.lease_pressure, Pressure::Expire);
        assert_eq!(config.store.as_deref(), Some(Path::new("s")));
        let (rotate, keep) = (Duration::from_secs(11), Some(Keep::Size(12 << 30)));
        assert_eq!(config.stored, Policy { rotate, sync: SyncPolicy::Off, keep, topics: 17 });
        assert_eq!(config.store_earlier.len(), 2);
        assert_eq!((config.http_max_in_flight, settings.http_sink.as_deref()), (11, Some("http://h/")));
        let http = (settings.http_ordered, settings.http_insecure, settings.http_retries);
        assert_eq!(http, (Some(true), Some(true), Some(13)));
        assert_eq!(settings.http_timeout.unwrap().0, Duration::from_secs(12));
        assert_eq!(settings.http_patience.unwrap().0, Duration::from_secs(14));
        assert_eq!(settings.http_header.as_ref().map(Vec::len), Some(1));
        assert_eq!(settings.http_content_type.as_deref(), Some("text/plain"));
        assert_eq!(settings.http_ok_when.as_deref(), Some("code=0"));
    }

    #[test]
    fn a_handler_is_a_command_in_words() {
        for (command, part) in [("", "is empty"), ("  ", "is empty"), ("sh -c 'cat", "a quote is not closed")]
        {
            let settings = Settings { handler: Some(command.to_string()), ..Settings::default() };
            let line = settings.config(1).unwrap_err().to_string();
            assert!(line.contains(part), "{line}");
        }
    }

    /// The file is told the same as the options, with the line.
    #[test]
    fn every_range_holds_in_the_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        for range in ranges::RANGES.iter().filter(|range| range.command == "serve") {
            let (taken, refused) = ranges::tests::cases(range);
            // Numbers stand there with quotes or without.
            let bare = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            let written = |text: &str, quote: &str| {
                format!("listen = 'x:1'\n{} = {quote}{text}{quote}\n", range.option)
            };
            for text in taken {
                let counts = matches!(range.bounds, ranges::Bounds::Count(..));
                fs::write(&path, written(&text, if counts { "" } else { "'" })).unwrap();
                assert!(Settings::from_file(&path).is_ok(), "{range:?} {text}");
            }
            for text in refused {
                // Of a number in quotes it is said that it is none.
                let counts = matches!(range.bounds, ranges::Bounds::Count(..));
                let quotes: Vec<&str> =
                    [(!counts).then_some("'"), bare(&text).then_some("")].into_iter().flatten().collect();
                for quote in quotes {
                    fs::write(&path, written(&text, quote)).unwrap();
                    let said = Settings::from_file(&path).unwrap_err().to_string();
                    let parts = [format!("line 2: {}", range.option), text.clone(), range.bounds.to_string()];
                    assert!(parts.iter().all(|part| said.contains(part)), "{range:?}: {said}");
                }
            }
        }
    }
}
