//! Hostile clients of every kind, against the program as it is shipped: whatever they send, its memory keeps to
//! `--memory`, and another publisher is answered as it was before.
//!
//! By default this is a smoke run: ten clients of each kind for a moment. The full one takes a hundred clients of each
//! kind for as long as it is told, and wants a machine that does nothing else (about 45 minutes for each gateway):
//!
//! ```text
//! FRAMEGATE_HOSTILE=60s cargo test --release --locked --test program hostile -- --nocapture --test-threads=1
//! ```
//!
//! `FRAMEGATE_HOSTILE_KINDS=subscribers,tiny` runs only the kinds whose names contain one of these, and the name of a
//! test behind `--` only that gateway. It ends with a table a gateway.
//!
//! # What is fair
//!
//! Clients and gateway share the machine, and who takes its processors away says nothing about the gateway. So all
//! clients of a kind are one thread of low priority that sends at a bounded rate (see [`kinds::Plan`]): each kind costs
//! the gateway at most a fraction of a core where it works as it should, and a p99 that grows is then its own doing. The
//! rate is a connection's, so the smoke run sends a tenth. The other publisher is open loop: a frame is due at its time
//! whether or not the last one was answered, and its latency is counted from then.

mod clients;
mod handler;
mod kinds;
mod publisher;
mod serving;
mod table;

use crate::support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use clients::Clients;
use kinds::Kind;
use parking_lot::Mutex;
use publisher::Publisher;
use serving::{Combination, Serving, Watch};
use table::Row;

const MIB: u64 = 1 << 20;

/// What the program may take beside `--memory`: its code and stacks, spare buffers, the admin server.
const BESIDE: u64 = 32 * MIB;

/// A p99 up to here is never a fault, whatever it was before: two or three turns of the loop, each of which may take a
/// millisecond of everybody's work, and the moment that the system takes to let the publisher run.
const LATENCY_FLOOR: Duration = Duration::from_millis(5);

/// One gateway at a time where latencies count.
static MACHINE: Mutex<()> = Mutex::new(());

/// How it is run.
#[derive(Clone, Debug)]
struct Run {
    clients: usize,
    /// The other publisher alone.
    quiet: Duration,
    /// And beside the clients.
    attack: Duration,
    is_full: bool,
    /// Parts of the names of the kinds that are wanted; none for all.
    only: Vec<String>,
}

impl Run {
    fn from_environment() -> Run {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let only = variable("FRAMEGATE_HOSTILE_KINDS").unwrap_or_default();
        let only = only.split(',').map(str::to_owned).filter(|part| !part.is_empty()).collect();
        match variable("FRAMEGATE_HOSTILE") {
            None => {
                let (quiet, attack) = (Duration::from_millis(100), Duration::from_millis(200));
                Run { clients: 10, quiet, attack, is_full: false, only }
            }
            Some(time) => {
                let attack = humantime::parse_duration(&time)
                    .unwrap_or_else(|why| panic!("FRAMEGATE_HOSTILE={time}: {why}"));
                let quiet = attack.clamp(Duration::from_secs(1), Duration::from_secs(10));
                Run { clients: 100, quiet, attack, is_full: true, only }
            }
        }
    }

    fn wants(&self, kind: Kind, against: Combination) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|part| kind.name().contains(part));
        // The smoke run tries each kind once, where it means most.
        named && (self.is_full || kind.plan().concerns == against)
    }
}

#[test]
fn plain_gateway() {
    run(Combination::Plain);
}

#[test]
fn gateway_with_dedup_store_and_lease() {
    run(Combination::Stored);
}

#[test]
fn gateway_with_slow_handlers_dedup_and_store() {
    run(Combination::Handled);
}

fn run(against: Combination) {
    let run = Run::from_environment();
    let alone = run.is_full.then(|| MACHINE.lock());
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for kind in Kind::ALL.into_iter().filter(|kind| run.wants(*kind, against)) {
        // One that fails must not keep the others from being tried.
        let Ok(row) = catch_unwind(AssertUnwindSafe(|| attack(kind, against, &run))) else {
            faults.push(format!("{}: it panicked, as is said above", kind.name()));
            continue;
        };
        if run.is_full {
            eprintln!("{row}");
        }
        faults.extend(row.faults());
        rows.push(row);
    }
    drop(alone);
    table::print(against.name(), &run, &rows);
    assert!(faults.is_empty(), "{}:\n{}", against.name(), faults.join("\n"));
}

/// One kind against a gateway of its own.
fn attack(kind: Kind, against: Combination, run: &Run) -> Row {
    let serving = Serving::start(against);
    let mut publisher = Publisher::start(serving.address, against.period());
    let before = publisher.publish(run.quiet);
    let status_before = serving.status();
    let target = clients::Target {
        native: serving.address,
        admin: serving.admin,
        payload_max: against.payload_max(),
        slower: against.slower(),
    };
    let clients = Clients::start(kind, run.clients, target);
    let watch = Watch::start(&serving);
    let during = publisher.publish(run.attack);
    let looks = watch.stop();
    let status_during = serving.status();
    let sent = clients.stop();
    // Whatever they held comes back once they are gone.
    let returned = serving.returns_to(2);
    let published = publisher.finish();
    let peak = serving.memory_peak();
    let end = serving.stop();
    Row {
        kind,
        is_full: run.is_full,
        before,
        during,
        peak,
        looks,
        sent,
        status_before,
        status_during,
        returned,
        published,
        end,
    }
}
