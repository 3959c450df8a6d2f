//! What came of a load on a server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::Options;
use super::pace::Pace;
use super::run::Load;
use crate::core::units::{bytes, grouped, latency, many};
use crate::tools::bench::page::Page;
use crate::tools::bench::{Doubt, Figures, Own, Percentiles};

/// What a server did under a load. The keys of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The URL, without its user.
    pub url: String,
    /// The method of every request.
    pub method: String,
    /// Where connections went to.
    pub addresses: Vec<String>,
    /// Addresses of the name that connections did not go to.
    pub left_out: Vec<LeftOut>,
    /// Requests a second that were to be sent; none where each connection paced itself.
    pub rate: Option<f64>,
    /// Requests that were due and could not be sent, for want of an idle connection.
    pub behind: u64,
    /// Responses a second since all connections stood; none if they never did, or only at the end.
    pub steady_per_s: Option<f64>,
    /// Responses by status.
    pub statuses: Statuses,
    /// How long connections took to stand, TLS included.
    pub connecting_us: Option<Percentiles>,
    /// Connections that ended and that were opened again.
    pub closes: Closes,
    /// When requests were sent, in words.
    #[serde(skip)]
    pub load: String,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// An address that failed before it ever took a connection, while another did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The address.
    pub address: String,
    /// Why it failed.
    pub why: String,
}

/// Connections that ended and that were opened again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Closes {
    /// Ended by a response that had announced it, which is no error.
    pub announced: u64,
    /// Opened again, whatever ended them.
    pub reopened: u64,
}

/// How many responses had each status.
#[derive(Clone, Debug)]
pub struct Statuses(Box<[u64; 1000]>);

/// How measuring ended.
pub(super) struct Window {
    pub end: Instant,
    pub own: Own,
    pub behind: u64,
    pub interrupted: bool,
}

/// At 1 in 100 of what was due not sent, the schedule was not kept.
const KEPT: f64 = 0.99;

/// 1 s: a rate of less is of too little.
const STEADY: Duration = Duration::from_secs(1);

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses(Box::new([0; 1000]))
    }
}

impl Statuses {
    pub(super) fn add(&mut self, status: u16) {
        if let Some(count) = self.0.get_mut(usize::from(status)) {
            *count += 1;
        }
    }

    /// Each status that came, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        (0..).zip(self.0.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// How many were in a range.
    fn count(&self, range: std::ops::Range<usize>) -> u64 {
        self.0[range].iter().sum()
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

impl Report {
    pub(super) fn new(load: Load, window: Window) -> Report {
        let figures = Figures::new(&load.measure, window.own, window.end, window.interrupted);
        let steady = load.all_stood.and_then(|(since, before)| {
            let time = window.end.saturating_duration_since(since);
            (time >= STEADY).then(|| (figures.done - before) as f64 / time.as_secs_f64())
        });
        let mut report = Report {
            url: load.options.target.to_string(),
            method: load.options.method.to_string(),
            addresses: load.endpoints.addresses().map(|address| address.to_string()).collect(),
            left_out: load
                .endpoints
                .left_out()
                .map(|(address, why)| LeftOut { address: address.to_string(), why: why.to_owned() })
                .collect(),
            rate: match &load.options.pace {
                Pace::Rate(schedule) => Some(schedule.per_s()),
                _ => None,
            },
            behind: window.behind,
            steady_per_s: steady,
            statuses: load.statuses,
            connecting_us: load.connecting.percentiles(),
            closes: load.closes,
            load: in_words(&load.options),
            figures,
        };
        let doubts = report.doubts();
        report.figures.doubts.extend(doubts);
        report
    }

    fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let all = self.figures.done;
        if self.behind as f64 > (all + self.behind) as f64 * (1.0 - KEPT) {
            doubts.push(format!(
                "the server did not keep up: {} requests were due and could not be sent, for want of an idle connection",
                grouped(self.behind)
            ));
        }
        if self.statuses.count(300..400) > all / 2 {
            doubts.push("most responses point elsewhere (3xx): load what they point to".to_owned());
        }
        for LeftOut { address, why } in &self.left_out {
            doubts.push(format!("{address} is an address of that name too, and was left out: {why}"));
        }
        doubts.into_iter().map(Doubt::Other).collect()
    }
}

fn in_words(options: &Options) -> String {
    format!("{}, {}", many(options.connections as u64, "connection"), options.pace)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        let Figures { connections, done, done_per_s, bytes_received, .. } = self.figures;
        page.row("server", format!("{} {} at {}", self.method, self.url, self.addresses.join(", ")));
        page.row("load", format!("{}, {:.1} s", self.load, self.figures.seconds));
        let count = |n: usize| grouped(n as u64);
        let held = match connections.reached_s {
            Some(after) => format!(
                "all after {}, at least {} since, {} at the end",
                latency(after * 1e6),
                count(connections.min),
                count(connections.end)
            ),
            None => format!("at most {}, {} at the end", count(connections.min), count(connections.end)),
        };
        page.row("connections", held);
        let Closes { announced, reopened } = self.closes;
        if announced + reopened > 0 {
            let (announced, reopened) = (grouped(announced), grouped(reopened));
            page.row("", format!("{announced} closed by the server as announced, {reopened} opened again"));
        }
        page.percentiles("connecting", self.connecting_us.as_ref());
        let steady = self.steady_per_s.map_or(String::new(), |steady| {
            format!(", {}/s once all connections stood", grouped(steady.round() as u64))
        });
        let rate = grouped(done_per_s.round() as u64);
        page.row("responses", format!("{}, {rate}/s{steady}, {}", grouped(done), bytes(bytes_received)));
        let statuses: Vec<String> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {}", grouped(count))).collect();
        if !statuses.is_empty() {
            page.row("statuses", statuses.join(", "));
        }
        page.percentiles("latency", self.figures.latency_us.as_ref());
        self.figures.show_errors(&mut page);
        page.row("spent", self.figures.generator.shown(&self.each()));
        self.figures.show_doubts(&mut page);
        page.fmt(f)
    }
}

impl Report {
    /// Processor time a response.
    fn each(&self) -> String {
        match self.figures.done {
            0 => String::new(),
            done => format!(", {:.1} µs a response", self.figures.generator.cpu_s * 1e6 / done as f64),
        }
    }
}
