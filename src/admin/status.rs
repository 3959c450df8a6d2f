//! Everything as one JSON object: what `/status` gives, what the page shows, and what `ctl` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::{History, Sample};
use crate::gateway::ledger::Ledger;
use crate::gateway::snapshot::TlsUse;
use crate::gateway::snapshot::{
    AccessUse, CallsUse, DurableUse, MemoryUse, PartsUse, PauseCause, Phase, Queues, SinksUse, Snapshot,
    SubscriptionsUse, Survey, WorkersUse,
};
use crate::wire;

/// A gateway's state, for programs.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    version: &'static str,
    /// Where the gateway listens.
    listen: String,
    phase: Phase,
    /// Everything accepted is finished and written.
    quiet: bool,
    uptime_seconds: f64,
    /// Whether something can be changed over HTTP: `open`, `token` or `closed`.
    access: &'static str,
    ledger: Equation<'a>,
    /// Of the last second that was sampled.
    rates: Option<&'a Sample>,
    queues: &'a Queues,
    memory: &'a MemoryUse,
    subscriptions: &'a SubscriptionsUse,
    workers: &'a WorkersUse,
    /// How digests are made: by which instructions, and of how many frames at a time.
    digest: String,
    /// The handlers, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<&'a CallsUse>,
    /// Who may do what, where there is an access file.
    #[serde(skip_serializing_if = "Option::is_none")]
    identities: Option<&'a AccessUse>,
    /// Handshakes and certificates, where a listener speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a TlsUse>,
    /// Incomplete messages.
    parts: &'a PartsUse,
    /// The sinks, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    sinks: Option<&'a SinksUse>,
    /// Durable subscriptions, where there is a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<&'a DurableUse>,
    turn_longest_us: u64,
    /// Who is not read, by cause.
    paused_by: BTreeMap<&'static str, PausedBy>,
    settings: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    survey: Option<&'a Survey>,
}

/// The ledger, and what makes it an equation.
#[derive(Debug, Serialize)]
struct Equation<'a> {
    #[serde(flatten)]
    ledger: &'a Ledger,
    rejected_total: u64,
    in_flight: u64,
}

#[derive(Debug, Serialize)]
struct PausedBy {
    now: u64,
    seconds: f64,
}

/// What is known beside a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// Where the gateway listens.
    pub listen: &'a str,
    /// Whether something can be changed over HTTP.
    pub access: &'static str,
    /// The log's level.
    pub log: &'a str,
}

/// Puts it together.
pub fn status<'a>(snapshot: &'a Snapshot, rates: Option<&'a Sample>, beside: Beside<'a>) -> Status<'a> {
    let by = |cause: PauseCause| {
        let by = snapshot.paused[cause as usize];
        (cause.name(), PausedBy { now: by.now, seconds: by.total.as_millis() as f64 / 1e3 })
    };
    let settings = snapshot.settings.iter().map(|(name, value)| (*name, value.as_str()));
    Status {
        version: env!("CARGO_PKG_VERSION"),
        listen: beside.listen.to_string(),
        phase: snapshot.phase,
        quiet: snapshot.quiet,
        uptime_seconds: snapshot.uptime.as_millis() as f64 / 1e3,
        access: beside.access,
        ledger: Equation {
            ledger: &snapshot.ledger,
            rejected_total: snapshot.ledger.rejected.total(),
            in_flight: snapshot.ledger.in_flight(),
        },
        rates,
        queues: &snapshot.queues,
        memory: &snapshot.memory,
        subscriptions: &snapshot.subscriptions,
        workers: &snapshot.workers,
        digest: wire::implementation(),
        calls: snapshot.calls.as_ref(),
        identities: snapshot.access.as_ref(),
        tls: snapshot.tls.as_ref(),
        parts: &snapshot.parts,
        sinks: snapshot.sinks.as_ref(),
        durable: snapshot.durable.as_ref(),
        turn_longest_us: snapshot.stages.turn_longest.as_micros() as u64,
        paused_by: PauseCause::ALL.into_iter().map(by).collect(),
        settings: settings.chain([("log", beside.log), ("listen", beside.listen)]).collect(),
        survey: snapshot.survey.as_ref(),
    }
}

/// The samples until now, as one line of JSON.
pub fn samples(history: &History) -> String {
    let samples: Vec<&Sample> = history.samples().collect();
    serde_json::to_string(&samples).expect("numbers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::tests::some_snapshot;

    #[test]
    fn it_says_who_is_slow_and_adds_up() {
        let snapshot = some_snapshot();
        let beside = Beside { listen: "127.0.0.1:7450", access: "open", log: "info" };
        let json = serde_json::to_value(status(&snapshot, None, beside)).unwrap();
        assert_eq!((&json["phase"], &json["settings"]["memory"]), (&"running".into(), &"256MiB".into()));
        assert_eq!(json["settings"]["log"], "info");
        let ledger = &json["ledger"];
        assert_eq!(
            (&ledger["read"], &ledger["rejected_total"], &ledger["in_flight"]),
            (&10.into(), &2.into(), &1.into())
        );
        assert_eq!(ledger["rejected"]["BAD_DIGEST"], 2);
        let slow = &json["slow"][0];
        assert_eq!((&slow["address"], &slow["pending_bytes"]), (&"127.0.0.1:4000".into(), &1000.into()));
        assert_eq!((&slow["oldest_unsent_seconds"], &slow["frames_written"]), (&1.25.into(), &4.into()));
        assert_eq!(json["closed"][0]["reason"], "idle");
        let window = &json["queues"]["dedup_window"];
        assert_eq!((&window["reach_seconds"], &window["forgotten_early"]), (&90.5.into(), &7.into()));
        assert_eq!(
            (&json["calls"]["queued"]["now"], &json["calls"]["set_aside"]),
            (&7.into(), &25_000.into())
        );
        assert_eq!(json["calls"]["handlers"][1]["restarts"], 4);
        assert_eq!(json["sinks"]["each"][0]["done"]["frames"], 6);
        assert_eq!(json["sinks"]["each"][0]["topics"][0]["topic"], "orders.eu");
        assert_eq!(json["sinks"]["oldest_seconds"], 1.5);
        assert_eq!(json["sinks"]["each"][1]["now"]["in_flight"], 4);
        assert_eq!(json["paused_by"]["subscriber"]["seconds"], 1.5);
    }
}
