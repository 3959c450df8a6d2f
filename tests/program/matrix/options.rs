//! What a gateway of a world is set to.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use framegate::gateway::Config;

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// Whether, and how long, digests are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dedup {
    Off,
    /// A window that ends while the world runs.
    Short,
    /// One that does not.
    Long,
}

#[derive(Clone, Debug)]
pub struct Handler {
    pub handlers: usize,
    pub max_in_flight: usize,
    pub max_queued: usize,
    pub rejects: bool,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub max_in_flight: usize,
    pub ordered: bool,
    pub retries: u32,
    /// Connections that the store takes at once.
    pub doors: usize,
}

#[derive(Clone, Debug)]
pub struct Store {
    pub rotate: &'static str,
    pub sync: &'static str,
    pub keep: bool,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Given in a file instead of the command line.
    pub is_in_file: bool,
    pub workers: usize,
    pub max_payload: usize,
    pub memory: usize,
    pub outbox: usize,
    pub slow: &'static str,
    /// Subscribers that never read.
    pub frozen: usize,
    pub closes_on_bad_digest: bool,
    pub dedup: Dedup,
    pub handler: Option<Handler>,
    pub lease: &'static str,
    pub max_keys: usize,
    pub parts_memory: usize,
    pub expires_under_pressure: bool,
    pub store: Option<Store>,
    pub http: Option<Http>,
}

/// What all gateways of a world have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    pub max_payload: usize,
    pub has_python: bool,
}

pub fn one_of<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

pub fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

impl Options {
    pub fn draw(rng: &mut Rng, common: Common, stores: bool, posts: bool) -> Options {
        let handler = (common.has_python && chance(rng, 40)).then(|| Handler {
            handlers: rng.usize(1..=3),
            max_in_flight: one_of(rng, &[1, 3, 10, 100]),
            max_queued: one_of(rng, &[1, 20, 10_000]),
            rejects: chance(rng, 40),
        });
        let mut options = Options {
            is_in_file: chance(rng, 25),
            workers: rng.usize(1..=3),
            max_payload: common.max_payload,
            memory: 0,
            outbox: one_of(rng, &[512 * KIB, 4 * MIB, 32 * MIB, 32 * MIB]),
            slow: one_of(rng, &["disconnect", "pause", "pause", "drop"]),
            frozen: if chance(rng, 15) { rng.usize(1..=2) } else { 0 },
            closes_on_bad_digest: chance(rng, 30),
            dedup: one_of(rng, &[Dedup::Off, Dedup::Off, Dedup::Short, Dedup::Long, Dedup::Long]),
            handler,
            lease: one_of(rng, &["300ms", "30s", "30s", "30s"]),
            max_keys: one_of(rng, &[2, 1_000_000, 1_000_000]),
            parts_memory: one_of(rng, &[100 * KIB, 64 * MIB, 64 * MIB]),
            expires_under_pressure: chance(rng, 40),
            store: stores.then(|| Store {
                rotate: one_of(rng, &["20ms", "200ms", "10s"]),
                sync: one_of(rng, &["batch", "batch", "off"]),
                keep: chance(rng, 30),
            }),
            http: posts.then(|| Http {
                max_in_flight: one_of(rng, &[1, 4, 30, 100]),
                ordered: chance(rng, 60),
                retries: rng.u32(0..=2),
                doors: one_of(rng, &[2, usize::MAX, usize::MAX, usize::MAX]),
            }),
        };
        options.memory = match rng.u32(..4) {
            0 => options.least(),
            1 => options.least() + rng.usize(..8) * MIB,
            2 => 64 * MIB,
            _ => 256 * MIB,
        }
        .max(options.least());
        if !options.leases_are_long() {
            // A connection that waits for room goes on when a lease ends, so those must be short.
            options.lease = "300ms";
        }
        options
    }

    /// Whether no message loses a fragment for want of room or time.
    pub fn leases_are_long(&self) -> bool {
        self.lease == "30s" && self.max_keys > 100 && self.config().parts_max() >= 16 * MIB
    }

    fn config(&self) -> Config {
        let base = Config {
            payload_max: self.max_payload,
            memory: self.memory,
            outbox: self.outbox,
            parts_memory: self.parts_memory,
            // What is remembered has its share, however long.
            dedup: (self.dedup != Dedup::Off).then_some(Duration::from_secs(1)),
            ..Config::default()
        };
        match &self.handler {
            None => base,
            Some(handler) => Config {
                handler: vec!["python3".into()],
                handlers: handler.handlers,
                max_in_flight: handler.max_in_flight,
                max_queued: handler.max_queued,
                ..base
            },
        }
    }

    /// The least memory that these settings are taken with.
    pub fn least(&self) -> usize {
        let takes = |mib: &usize| Config { memory: mib * MIB, ..self.config() }.check().is_ok();
        (1..1000).find(takes).expect("some memory is enough") * MIB
    }

    /// The command line behind `framegate serve`.
    pub fn args(&self, folder: &Path, url: Option<&str>, is_secret: bool) -> Vec<String> {
        let mut args = Vec::new();
        let mut give = |name: &str, value: &dyn std::fmt::Display| {
            args.extend([format!("--{name}"), value.to_string()]);
        };
        give("listen", &"127.0.0.1:0");
        give("admin", &"127.0.0.1:0");
        give("drain", &"60s");
        give("workers", &self.workers);
        give("max-payload", &self.max_payload);
        give("memory", &self.memory);
        give("outbox", &self.outbox);
        give("slow", &self.slow);
        give("slow-timeout", &"300ms");
        give("on-bad-digest", &if self.closes_on_bad_digest { "close" } else { "drop" });
        if is_secret {
            give("secret-file", &folder.join("secret").display());
        }
        match self.dedup {
            Dedup::Off => {}
            Dedup::Short => give("dedup", &"300ms"),
            Dedup::Long => give("dedup", &"1h"),
        }
        if let Some(handler) = &self.handler {
            give("handler", &format!("python3 '{}'", folder.join("handler.py").display()));
            give("handlers", &handler.handlers);
            give("max-in-flight", &handler.max_in_flight);
            give("max-queued", &handler.max_queued);
            give("overflow", &if handler.rejects { "reject" } else { "pause" });
        }
        give("lease", &self.lease);
        give("max-keys", &self.max_keys);
        give("parts-memory", &self.parts_memory);
        give("lease-pressure", &if self.expires_under_pressure { "expire" } else { "pause" });
        if let Some(store) = &self.store {
            give("store", &folder.join("store").display());
            give("store-rotate", &store.rotate);
            give("store-sync", &store.sync);
            if store.keep {
                give("store-keep", &"7d");
            }
        }
        if let (Some(http), Some(url)) = (&self.http, url) {
            give("http-sink", &url);
            give("http-max-in-flight", &http.max_in_flight);
            give("http-retries", &http.retries);
            give("http-timeout", &"20s");
            if http.ordered {
                args.push("--http-ordered".into());
            }
        }
        args.push("--json".into());
        args
    }
}

/// Something that is done to a gateway while it runs.
#[derive(Clone, Debug)]
pub struct Steer {
    pub after: Duration,
    pub words: Vec<String>,
}

/// What a world does to its gateway: pauses that end, and settings that are taken.
pub fn steering(rng: &mut Rng, options: &Options) -> Vec<Steer> {
    let mut all = Vec::new();
    let mut give = |after: u64, words: String| {
        let words = words.split(' ').map(String::from).collect();
        all.push(Steer { after: Duration::from_millis(after), words });
    };
    for _ in 0..rng.usize(..3) {
        let after = rng.u64(..80);
        match rng.u32(..7) {
            0 | 1 => {
                give(after, "pause".into());
                give(rng.u64(..100), "resume".into());
            }
            2 => give(after, format!("set workers {}", rng.usize(1..=3))),
            3 => give(
                after,
                format!("set memory {}", options.memory.max(options.least()) + rng.usize(..16) * MIB),
            ),
            4 if options.handler.is_none() => {
                // More than half of the memory is refused.
                let outbox = (rng.usize(1..=8) * 256 * KIB).min(options.memory / 2);
                give(after, format!("set outbox {outbox}"));
            }
            4 if options.handler.is_some() => give(after, format!("set handlers {}", rng.usize(1..=2))),
            5 if options.handler.is_some() => give(after, format!("set max-queued {}", rng.usize(1..=50))),
            6 if options.http.is_some() => {
                give(after, format!("set http-max-in-flight {}", rng.usize(1..=50)))
            }
            _ => give(after, "status".into()),
        }
    }
    all
}
