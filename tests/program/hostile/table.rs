//! What came of each kind, as a table and as faults.

use std::fmt;
use std::time::Duration;

use framegate::tools::bench::Percentiles;
use serde_json::Value;

use super::clients::Sent;
use super::kinds::{Kind, Port};
use super::serving::{Looks, MEMORY, number};
use super::{BESIDE, LATENCY_FLOOR, MIB, Run};

pub struct Row {
    pub kind: Kind,
    pub is_full: bool,
    /// The other publisher's latencies, alone and beside the clients.
    pub before: Percentiles,
    pub during: Percentiles,
    /// The most memory that was resident, in bytes.
    pub peak: u64,
    pub looks: Looks,
    pub sent: Sent,
    pub status_before: Value,
    pub status_during: Value,
    /// Until everything was as before.
    pub returned: Duration,
    pub published: u64,
    pub end: Result<(), String>,
}

impl Row {
    /// What is not as promised.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |what: String| faults.push(format!("{}: {what}", self.kind.name()));
        if self.peak > MEMORY + BESIDE {
            fault(format!("{} MiB of memory under --memory {} MiB", self.peak / MIB, MEMORY / MIB));
        }
        let most = (2.0 * self.before.p99).max(LATENCY_FLOOR.as_micros() as f64);
        if self.is_full && self.during.p99 > most {
            let (before, during) = (self.before.p99 / 1e3, self.during.p99 / 1e3);
            fault(format!("another publisher's p99 is {during:.1} ms, and was {before:.1} ms"));
        }
        // Where others take all the slots of the admin server, one that has just come may have to go, and asks again.
        let may_fail = if self.kind.plan().port == Port::Admin { self.looks.count / 10 + 1 } else { 0 };
        if self.looks.failed > may_fail {
            let (why, count) = (self.looks.last_failure.as_deref().unwrap_or_default(), self.looks.count);
            fault(format!("{} of {count} looks at /status fail: {why}", self.looks.failed));
        }
        if let Err(end) = &self.end {
            fault(end.clone());
        }
        // It did what it is to do.
        let trace = self.kind.plan().trace;
        if self.sent.bytes == 0 || self.sent.connections == 0 {
            fault("nothing was sent".into());
        }
        if !trace.is_empty() && self.more(trace) == 0 {
            fault(format!("no trace of it: {trace} did not grow: {}", self.status_during));
        }
        faults
    }

    fn more(&self, pointer: &str) -> u64 {
        number(&self.status_during, pointer).saturating_sub(number(&self.status_before, pointer))
    }

    /// What the gateway did, in short.
    fn did(&self) -> String {
        let mut did = Vec::new();
        let mut say = |name: &str, count: u64| {
            if count > 0 {
                did.push(format!("{name} {count}"));
            }
        };
        say("read", self.more("/ledger/read"));
        say("accepted", self.more("/ledger/connections/accepted"));
        say("closed", self.more("/ledger/connections/closed"));
        say("refused", self.more("/ledger/connections/refused"));
        say("dropped", self.more("/ledger/copies/dropped"));
        let rejected = self.status_during.pointer("/ledger/rejected").and_then(Value::as_object);
        for status in rejected.into_iter().flatten().map(|(status, _)| status) {
            say(status, self.more(&format!("/ledger/rejected/{status}")));
        }
        say("patterns", self.more("/subscriptions/patterns/now"));
        say("parts held", self.more("/parts/held"));
        let paused = self.status_during.pointer("/paused_by").and_then(Value::as_object);
        for (cause, by) in paused.into_iter().flatten() {
            let seconds = by["seconds"].as_f64().unwrap_or(0.0);
            if seconds >= 1.0 {
                did.push(format!("paused ({cause}) {seconds:.0} s"));
            }
        }
        did.push(format!(
            "longest turn {:.1} ms",
            number(&self.status_during, "/turn_longest_us") as f64 / 1e3
        ));
        if let Some(reason) = self.status_during.pointer("/closed/0/reason").and_then(Value::as_str) {
            did.push(format!("last end: {reason:.60}"));
        }
        did.join(", ")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: f64| us / 1e3;
        write!(
            f,
            "{:<34} {:>5.1} {:>7.1} {:>7.2} {:>7.2} {:>7.1} {:>7.1} {:>6.1} {:>5.1} {:>4.2}  {}",
            self.kind.name(),
            self.peak as f64 / MIB as f64,
            self.looks.charged as f64 / MIB as f64,
            ms(self.before.p99),
            ms(self.during.p99),
            ms(self.during.max),
            self.looks.longest.as_secs_f64() * 1e3,
            self.sent.bytes as f64 / MIB as f64,
            self.returned.as_secs_f64(),
            self.sent.cores,
            self.did(),
        )
    }
}

/// Prints what came of every kind.
pub fn print(against: &str, run: &Run, rows: &[Row]) {
    println!(
        "\n{against}: {} clients of each kind, {:?} each; --memory {} MiB, at most {} MiB resident",
        run.clients,
        run.attack,
        MEMORY / MIB,
        (MEMORY + BESIDE) / MIB
    );
    println!(
        "peak and charged in MiB; p99 before and during, the slowest, and the slowest look at /status in ms;"
    );
    println!("sent in MiB, until all was as before in s, cores that the clients took");
    println!(
        "{:<34} {:>5} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>5} {:>4}  the gateway",
        "kind", "peak", "charged", "before", "during", "slowest", "status", "sent", "back", "CPU"
    );
    rows.iter().for_each(|row| println!("{row}"));
    let frames: u64 = rows.iter().map(|row| row.published).sum();
    println!("the other publisher's {frames} frames were all told OK and distributed in order");
}
