//! What a gateway can be set to: the options of `serve`, which are also the names of its TOML file.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Deserializer};

use super::file_listeners::FileListener;
use super::in_range::in_range;
use super::policies::{policy, shown};
use super::{Failure, Size, Time, TimeOrOff, reload, secret};
use crate::core::limits::WORKERS_MAX;
use crate::core::units::TimeOrSize;
use crate::gateway::{BadDigestPolicy, Config, Overflow, Pressure, SlowPolicy};
use crate::runtime::tls::ClientAuth;
use crate::sinks::store::SyncPolicy;
use crate::wire::{self, Width};

/// Where publishers and subscribers connect unless it is set.
pub const LISTEN: &str = "127.0.0.1:7450";

/// Where the page, metrics and controls are unless it is set.
pub const ADMIN: &str = "127.0.0.1:7451";

/// Declares [`Settings`]: each line is an option, a name in the file, and the setting of [`Config`] that it is for, where
/// it is for one as it is. Its range is in `core/ranges.rs`.
macro_rules! settings {
    ($(#[$struct_doc:meta])* pub struct Settings {
        $($(#[$attribute:meta])* $field:ident: $type:ty $(=> $config:ident $(.$part:ident)?)?,)*
    }) => {
        $(#[$struct_doc])*
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
        pub struct Settings {
            $($(#[$attribute])* pub $field: Option<$type>,)*
        }

        impl Settings {
            /// These settings, and where they say nothing, `others`.
            pub fn or(self, others: Settings) -> Settings {
                Settings { $($field: self.$field.or(others.$field),)* }
            }

            /// The names of those that differ from `others`.
            pub fn differing(&self, others: &Settings) -> Vec<String> {
                let all =
                    [$((stringify!($field), format!("{:?}", self.$field) != format!("{:?}", others.$field)),)*];
                all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.replace('_', "-")).collect()
            }

            /// The names of those that were given.
            pub fn given(&self) -> Vec<String> {
                let all = [$((stringify!($field), self.$field.is_some()),)*];
                all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.replace('_', "-")).collect()
            }

            /// Puts those that were given into a configuration, where they are of it as they are.
            fn put_into(&self, config: &mut Config) {
                $($(if let Some(given) = &self.$field {
                    config.$config$(.$part)? = given.clone().into();
                })?)*
            }
        }
    };
}

settings! {
    /// Every setting, each only if it was given. The help of each ends with the default that
    /// [`Config::default`] holds; a test compares them.
    pub struct Settings {
        /// Where publishers and subscribers connect; port 0 takes a free one [default: 127.0.0.1:7450]
        #[arg(long, value_name = "ADDR")]
        listen: String,
        /// Where they connect through TLS, beside --listen; port 0 takes a free one [default: none]
        #[arg(long, value_name = "ADDR")]
        listen_tls: String,
        /// The certificate of --listen-tls and --admin-tls, PEM, with those between it and its authority behind it. HUP and
        /// ctl reload read all files of TLS again, and so does a change of them [default: none]
        #[arg(long, value_name = "FILE")]
        tls_cert: PathBuf,
        /// Its key, PEM [default: none]
        #[arg(long, value_name = "FILE")]
        tls_key: PathBuf,
        /// Takes client certificates that these authorities have issued, PEM; the access file says whose they are
        /// [default: none, clients are not asked for one]
        #[arg(long, value_name = "FILE")]
        tls_client_ca: PathBuf,
        /// Certificates that these authorities have revoked: their lists, PEM [default: none]
        #[arg(long, value_name = "FILE")]
        tls_client_crl: PathBuf,
        /// Whether clients must bring a certificate, where --tls-client-ca is given [default: require]
        #[arg(long, value_name = "POLICY")]
        #[serde(deserialize_with = "policy")]
        tls_client: ClientAuth,
        /// Takes in frames that devices already speak, at this address as well: NAME is a layout (native for native
        /// frames), one of those that framegate layout list shows or of --layouts; can be repeated [default: none]
        #[arg(long, value_name = "NAME=ADDR")]
        listen_layout: Vec<String>,
        /// Layouts beside those that come with the program, one TOML table [layout.NAME] each; they may also stand in
        /// the file of --config; can be repeated [default: none]
        #[arg(long, value_name = "FILE")]
        #[serde(deserialize_with = "one_or_more")]
        layouts: Vec<PathBuf>,
        /// The listeners of the file.
        #[arg(skip)]
        #[serde(skip)]
        listener: Vec<FileListener>,
        /// HTTP: the page, /metrics, /status and the controls of ctl; off for none [default: 127.0.0.1:7451]
        #[arg(long, value_name = "ADDR|off")]
        admin: String,
        /// --admin speaks TLS, with --tls-cert and, where it is given, --tls-client-ca; ctl --tls reaches it [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        admin_tls: bool,
        /// Requires the token in this file for requests that change state [default: none; then only a loopback --admin takes them]
        #[arg(long, value_name = "FILE")]
        admin_token_file: PathBuf,
        /// A host name, beside its addresses, under which browsers may open the page; can be repeated [default: none]
        #[arg(long, value_name = "NAME")]
        admin_host: Vec<String>,
        /// Threads that verify [default: cores - 1, at least 1]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        workers: usize,
        /// The largest payload; a larger one is TOO_LARGE [default: 16MiB]
        #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
        max_payload: Size => payload_max,
        /// All buffered bytes together; at the limit publishers are paused, never dropped [default: 256MiB]
        #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
        memory: Size => memory,
        /// Connections at once; further ones are closed and counted [default: what the file limit allows]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        max_connections: usize => connections_max,
        /// Connections of one address at once, and of IPv6 of one network of 64 bits; further ones are closed and counted; 0
        /// is any number [default: 0]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        max_per_address: usize => per_address_max,
        /// Closes a connection on which nothing is sent in either direction for this long, and one whose peer has vanished [default: 5m]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        idle_timeout: Time => idle_timeout,
        /// Closes a connection that takes longer for 64KiB of a frame that it has begun [default: 30s]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        frame_timeout: Time => frame_timeout,
        /// How far one subscriber may fall behind [default: 32MiB]
        #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
        outbox: Size => outbox,
        /// What happens to a subscriber at that point [default: disconnect]
        #[arg(long, value_name = "POLICY")]
        #[serde(deserialize_with = "policy")]
        slow: SlowPolicy => slow,
        /// With pause, closes a subscriber that takes nothing for this long; a connection that is closed has as long to take the
        /// rest of a frame and the reason [default: 10s]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        slow_timeout: Time => slow_timeout,
        /// What a wrong digest does to its connection [default: drop]
        #[arg(long, value_name = "POLICY")]
        #[serde(deserialize_with = "policy")]
        on_bad_digest: BadDigestPolicy => on_bad_digest,
        /// Digests are HMAC-SHA-256 under the secret in this file [default: none, plain SHA-256]
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        /// Who may connect, and what each may publish and subscribe to: an access file, as framegate access check reads it.
        /// HUP and ctl reload read it again [default: none, everybody may do everything]
        #[arg(long, value_name = "FILE")]
        access: PathBuf,
        /// Takes tokens from other machines on listeners without TLS, where others may read them on their way
        /// [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        insecure_tokens: bool => insecure_tokens,
        /// How many frames are hashed side by side [default: what is fastest here, measured at the start]
        #[arg(long, value_name = "WIDTH")]
        #[serde(deserialize_with = "policy")]
        digest: Width,
        /// Remembers accepted digests for this long; the same bytes again are DUPLICATE; 0 is off [default: off]
        #[arg(long, value_name = "TIME|off", value_parser = in_range::<TimeOrOff>())]
        dedup: TimeOrOff => dedup,
        /// Logs, each TIME, how full every queue is: connections, jobs, memory, handlers, messages and sinks; 0 is off [default: off]
        #[arg(long, value_name = "TIME|off", value_parser = in_range::<TimeOrOff>())]
        patrol: TimeOrOff,
        /// How long INT or TERM waits for what was accepted; 0 waits for nothing [default: 10s]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        drain: Time => drain,
        /// A program that answers every frame before it is distributed: it reads DATA frames on its standard input and
        /// writes, in any order, a REPLY with the same id for each on its standard output. OK lets the frame pass and
        /// takes the payload to the publisher, REJECTED refuses it, a DATA frame takes its place. The command is split
        /// into words as a shell does it, and no shell is between, so that the program itself is started and ended;
        /// for pipes and variables give sh -c '...'. Fragments are REJECTED where there is a handler [default: none]
        #[arg(long, value_name = "COMMAND")]
        handler: String,
        /// Tells handlers who sent the frames that they get: before a frame of another sender than the last, an AUTH frame
        /// with the name of its identity as the topic and its address as the payload [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        handler_identity: bool => handler_identity,
        /// How many handlers are started [default: as many as workers]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        handlers: usize => handlers,
        /// How long a handler may take for the oldest of its frames; then it is replaced [default: 30s]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        handler_timeout: Time => handler_timeout,
        /// Frames with the handlers at once; as many as --handlers if each does one at a time [default: 100]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        max_in_flight: usize => max_in_flight,
        /// Frames that wait for them; with 0 none does, and --overflow is for all beyond --max-in-flight [default: 10000]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        max_queued: usize => max_queued,
        /// What happens to a frame beyond that [default: pause]
        #[arg(long, value_name = "POLICY")]
        #[serde(deserialize_with = "policy")]
        overflow: Overflow => overflow,
        /// How long a message may wait for its next fragment; then its fragments are answered EXPIRED [default: 30s]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        lease: Time => lease,
        /// Incomplete messages at once, each of a key [default: 1000000]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        max_keys: usize => max_keys,
        /// What their fragments may take of --memory: at most half of it, and never the room that the largest frame needs;
        /// each message costs some 350 bytes beside them [default: 64MiB]
        #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
        parts_memory: Size => parts_memory,
        /// Fragments of one message [default: 1024]
        #[arg(long, value_name = "N", value_parser = in_range::<u16>())]
        max_parts: u16 => max_parts,
        /// What happens to a fragment for which there is no room [default: pause]
        #[arg(long, value_name = "POLICY")]
        #[serde(deserialize_with = "policy")]
        lease_pressure: Pressure => lease_pressure,
        /// Every distributed frame is also appended here, a folder a topic, before its OK; framegate verify checks
        /// the files, tail --store prints them and send --whole --frames publishes them again [default: none]
        #[arg(long, value_name = "DIR")]
        store: PathBuf => store,
        /// A segment of the store gets its final name this often, and at 64MiB [default: 10s]
        #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
        store_rotate: Time => stored.rotate,
        /// When a frame counts as stored [default: batch]
        #[arg(long, value_name = "POLICY")]
        #[serde(deserialize_with = "policy")]
        store_sync: SyncPolicy => stored.sync,
        /// Removes finished segments that are older (7d), or the oldest beyond so much (10GiB) [default: none, all is kept]
        #[arg(long, value_name = "TIME|SIZE", value_parser = in_range::<TimeOrSize>())]
        store_keep: TimeOrSize => stored.keep,
        /// How much longer (1d), or how much more (10GiB), finished segments are kept for the durable name that is furthest
        /// behind [default: none, waits for nobody]
        #[arg(long, value_name = "TIME|SIZE", value_parser = in_range::<TimeOrSize>())]
        store_hold: TimeOrSize => stored.hold,
        /// Topics that the store may have, a folder each; a frame of a further one is REJECTED [default: 100000]
        #[arg(long, value_name = "N", value_parser = in_range::<usize>())]
        store_topics: usize => stored.topics,
        /// The secret of an earlier run, where a crash left segments open that were made under it; can be repeated
        /// [default: none, such a store is refused]
        #[arg(long, value_name = "FILE")]
        store_secret_file: Vec<PathBuf>,
        /// Every distributed frame is POSTed to this URL: the payload as the body; Framegate-Topic, -Key, -Id and, with
        /// the digest in hex, Idempotency-Key as headers. OK waits for a 2xx; for anything else the publisher gets
        /// REJECTED with the reason [default: none]
        #[arg(long, value_name = "URL", help_heading = "HTTP sink")]
        http_sink: String,
        /// Requests under way at once, over as many connections; fewer where the store refuses so many [default: 100]
        #[arg(long, value_name = "N", help_heading = "HTTP sink", value_parser = in_range::<usize>())]
        http_max_in_flight: usize => http_max_in_flight,
        /// One frame of a key is under way at a time, so that those of a key are stored in order; frames without a key
        /// are of one. Otherwise frames begin in order and end in any [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "HTTP sink")]
        http_ordered: bool,
        /// How long a complete response may take [default: 30s]
        #[arg(long, value_name = "TIME", help_heading = "HTTP sink", value_parser = in_range::<Time>())]
        http_timeout: Time,
        /// Further tries after a lost connection, a timeout, or 408, 425, 429 or 5xx; 0 for none [default: 3]
        #[arg(long, value_name = "N", help_heading = "HTTP sink", value_parser = in_range::<u32>())]
        http_retries: u32,
        /// How long a store that cannot be reached is waited for, 0 for not at all; then frames are REJECTED until it is back
        /// [default: 1m]
        #[arg(long, value_name = "TIME", help_heading = "HTTP sink", value_parser = in_range::<Time>())]
        http_patience: Time,
        /// A header of every request; can be repeated [default: none]
        #[arg(long, value_name = "'K: V'", help_heading = "HTTP sink")]
        http_header: Vec<String>,
        /// The Content-Type of every payload [default: application/octet-stream]
        #[arg(long, value_name = "T", help_heading = "HTTP sink")]
        http_content_type: String,
        /// Beside a 2xx, the JSON of the response must hold this, such as code=0 [default: none]
        #[arg(long, value_name = "FIELD=VALUE", help_heading = "HTTP sink")]
        http_ok_when: String,
        /// Does not verify the server's certificate [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "HTTP sink")]
        http_insecure: bool,
    }
}

impl Settings {
    /// The gateway's configuration, checked. `connections_max` is what the file limit allows.
    pub fn config(&self, connections_max: usize) -> Result<Config, Failure> {
        let mut config = Config {
            connections_max,
            handlers: self.workers(),
            scheme: secret::scheme_to_serve(self.secret_file.as_deref())?,
            access: self.access.as_deref().map(reload::read_access).transpose()?,
            handler: self.handler.as_deref().map_or(Ok(Vec::new()), words)?,
            store_earlier: secret::schemes(
                "--store-secret-file",
                self.store_secret_file.as_deref().unwrap_or_default(),
            )?,
            ..Config::default()
        };
        self.put_into(&mut config);
        config.check().map_err(Failure::usage)?;
        Ok(config)
    }

    /// How often the depths of the queues are logged, if at all.
    pub fn patrol(&self) -> Option<Duration> {
        self.patrol.and_then(|TimeOrOff(time)| time)
    }

    /// Decides how many frames are hashed side by side.
    pub fn choose_digest(&self) -> Result<(), Failure> {
        let Some(width) = self.digest else {
            let start = Instant::now();
            wire::choose_fastest(|| start.elapsed());
            return Ok(());
        };
        let refused =
            |why| format!("--digest {}: {why}; leave it out for what is fastest here", shown(&width));
        wire::choose(width).map_err(|why| Failure::usage(refused(why)))
    }

    /// Threads that verify.
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(default_workers)
    }
}

/// One of what may be a list.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<PathBuf>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(PathBuf),
        More(Vec<PathBuf>),
    }
    Ok(Some(match Given::deserialize(from)? {
        Given::One(one) => vec![one],
        Given::More(all) => all,
    }))
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
            ("listen-layout", "none"),
            ("listen-tls", "none"),
            ("tls-cert", "none"),
            ("tls-key", "none"),
            ("tls-client-ca", "none"),
            ("tls-client-crl", "none"),
            ("layouts", "none"),
            ("access", "none"),
            ("digest", "measured"),
            ("admin-token-file", "none"),
            ("admin-host", "none"),
            ("handler", "none"),
            ("handlers", "workers"),
            ("store", "none"),
            ("store-keep", "none"),
            ("store-hold", "none"),
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
    fn every_setting_counts_and_comes_out_under_its_name() {
        let defaults: BTreeMap<_, _> = Config::default().listed().into_iter().collect();
        let command = Settings::augment_args(clap::Command::new("serve"));
        let mut listed = 0;
        for arg in command.get_arguments() {
            let name = arg.get_long().unwrap();
            let range = ranges::of("serve", name);
            // The least that is allowed, or where that is the default the most; the last of the words; or any text.
            let value = match (
                range,
                arg.get_possible_values()
                    .iter()
                    .rfind(|word| defaults.get(name).is_none_or(|default| default != word.get_name())),
            ) {
                (Some(range), _) => {
                    let taken = ranges::tests::cases(range).0;
                    taken.into_iter().find(|text| defaults.get(name) != Some(text)).expect("two ends")
                }
                (None, Some(word)) => word.get_name().to_string(),
                (None, None) => "sh".to_string(),
            };
            let is_list = matches!(arg.get_action(), clap::ArgAction::Append);
            let text = match range.map(|range| range.bounds) {
                Some(ranges::Bounds::Count(..)) => value.clone(),
                _ if value == "true" || value == "false" => value.clone(),
                _ if is_list => format!("['{value}']"),
                _ => format!("'{value}'"),
            };
            let file: Settings = toml::from_str(&format!("{name} = {text}")).unwrap();
            let settings = Settings::default().or(file);
            assert_eq!(settings.given(), [name]);
            // A listener is there once its address is taken.
            let set = defaults.get(name).filter(|_| name != "listen-layout");
            let Some(default) = set else { continue };
            let mut config = Config::default();
            settings.put_into(&mut config);
            if name == "handler" {
                config.handler = words(&value).unwrap();
            }
            let (_, now) = config.listed().into_iter().find(|(listed, _)| *listed == name).unwrap();
            assert_ne!(now, *default, "{name}");
            listed += 1;
        }
        // All but the scheme, which has no option of its name, and the listeners.
        assert_eq!(listed, defaults.len() - 2);
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
