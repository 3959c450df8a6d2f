//! Why figures may not be what they seem.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Figures;
use crate::core::units::{grouped, latency};

/// A reason to doubt the figures. Its text says what to do about it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "a variant says what its fields are")]
pub enum Doubt {
    /// The generator used nearly all of a core.
    Saturated { cores: f64 },
    /// The generator always had something to do and did not get a core of its own.
    Starved { cores: f64 },
    /// It was late with what was due.
    Slipped { p99_us: f64 },
    /// It did not run for long.
    Short { seconds: f64 },
    /// Percentiles of few things.
    Few { done: u64 },
    /// Something went wrong.
    Errors { count: u64 },
    /// Not as many connections as were wanted.
    Connections { target: usize, most: usize },
    /// The system allowed no more open files.
    Files { limit: u64 },
    /// A signal ended it.
    Interrupted,
    /// What only one load can say.
    Other(String),
}

/// From 0.9 of a core on, the generator itself may be what limits.
const SATURATED: f64 = 0.9;

/// At 0.95 of the time with something to do, it hardly ever waited for the other side.
const BUSY: f64 = 0.95;

/// 1 ms late: more than a healthy system needs to wake a sleeper.
const LATE_US: f64 = 1e3;

/// 5 s: shorter runs measure buffers that fill.
const SHORT_S: f64 = 5.0;

/// 1,000 things: then one of them is beyond p99.9.
const FEW: u64 = 1000;

impl Doubt {
    /// What is doubtful about any load's figures.
    pub fn find(figures: &Figures) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let own = &figures.generator;
        if own.cores >= SATURATED {
            doubts.push(Doubt::Saturated { cores: own.cores });
        } else if own.busy >= BUSY {
            doubts.push(Doubt::Starved { cores: own.cores });
        }
        if let Some(slip) = own.slip_us.filter(|slip| slip.p99 >= LATE_US) {
            doubts.push(Doubt::Slipped { p99_us: slip.p99 });
        }
        let connections = figures.connections;
        if connections.reached_s.is_none() {
            doubts.push(Doubt::Connections { target: connections.target, most: connections.min });
        }
        let errors = figures.errors.total();
        if errors > 0 {
            doubts.push(Doubt::Errors { count: errors });
        }
        if figures.interrupted {
            doubts.push(Doubt::Interrupted);
        }
        if figures.seconds < SHORT_S {
            doubts.push(Doubt::Short { seconds: figures.seconds });
        }
        // Where nothing at all was done there are no percentiles to doubt.
        if (1..FEW).contains(&figures.done) {
            doubts.push(Doubt::Few { done: figures.done });
        }
        doubts
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Saturated { cores } => write!(
                f,
                "the generator was saturated ({cores:.2} of a core): it may be what was measured; share the load among several of it"
            ),
            Doubt::Starved { cores } => write!(
                f,
                "the generator always had something to do, but got only {cores:.2} of a core: others took it; run it on a machine of its own"
            ),
            Doubt::Slipped { p99_us } => write!(
                f,
                "the schedule slipped: one in a hundred was sent {} late or later; latencies, which count from when it was due, hold that",
                latency(*p99_us)
            ),
            Doubt::Short { seconds } => {
                write!(f, "the run was short ({seconds:.1} s): give it 10s or more with --duration")
            }
            Doubt::Few { done } => {
                write!(
                    f,
                    "only {} were measured: the higher percentiles stand on a few of them",
                    grouped(*done)
                )
            }
            Doubt::Errors { count } => write!(
                f,
                "errors are present ({}): latencies and rates are of what went right",
                grouped(*count)
            ),
            Doubt::Connections { target, most } => write!(
                f,
                "there were never more than {} of {} connections",
                grouped(*most as u64),
                grouped(*target as u64)
            ),
            Doubt::Files { limit } => write!(
                f,
                "the limit of open files, {}, capped the connections: raise it with ulimit -n",
                grouped(*limit)
            ),
            Doubt::Interrupted => write!(f, "a signal ended it early"),
            Doubt::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for Doubt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::bench::{Connections, Errors, Own, Percentiles};

    fn figures() -> Figures {
        Figures {
            seconds: 10.0,
            interrupted: false,
            done: 1_000_000,
            done_per_s: 1e5,
            bytes_received: 1,
            latency_us: None,
            connections: Connections { target: 8, reached_s: Some(0.1), min: 8, end: 8 },
            errors: Errors::default(),
            generator: Own { cores: 0.5, busy: 0.6, ..Own::default() },
            doubts: Vec::new(),
            series: Vec::new(),
        }
    }

    #[test]
    fn a_good_run_is_not_doubted() {
        assert_eq!(Doubt::find(&figures()), []);
    }

    #[test]
    fn each_reason_is_found_alone_and_says_so() {
        let change = |change: fn(&mut Figures)| {
            let mut figures = figures();
            change(&mut figures);
            let doubts = Doubt::find(&figures);
            assert_eq!(doubts.len(), 1, "{doubts:?}");
            doubts[0].to_string()
        };
        for (said, part) in [
            (change(|f| f.generator.cores = 0.97), "saturated (0.97 of a core)"),
            (change(|f| f.generator.busy = 0.99), "got only 0.50 of a core"),
            (
                change(|f| f.generator.slip_us = Some(Percentiles { p99: 2e3, ..Percentiles::default() })),
                "2.00 ms late",
            ),
            (change(|f| f.seconds = 2.0), "short (2.0 s)"),
            (change(|f| f.done = 12), "only 12 were measured"),
            (change(|f| f.errors.add("lost", 1_234, String::new)), "errors are present (1,234)"),
            (
                change(|f| f.connections = Connections { target: 9, reached_s: None, min: 7, end: 6 }),
                "never more than 7 of 9",
            ),
            (change(|f| f.interrupted = true), "a signal ended it early"),
            (Doubt::Files { limit: 1024 }.to_string(), "1,024, capped"),
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(serde_json::to_string(&Doubt::Interrupted).unwrap(), "\"a signal ended it early\"");
    }
}
