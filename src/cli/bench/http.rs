//! `framegate bench http`: loads a web server.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::output::Output;
use super::watch::Watch;
use super::{Source, end_at_signal};
use crate::cli::in_range::{in_range, parts_in_range};
use crate::cli::{Exit, Failure, Time};
use crate::http::wire::{Field, Method, Target, parse_method};
use crate::tools::bench::http::{Load, OkStatus, Options, Pace, Report, Schedule, StatusRange, Think};
use crate::tools::bench::{Panel, Plot};

/// Holds many keep-alive connections to a web server, sends requests on them as people would, and reports what
/// the server did.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Http {
    /// Where requests go
    #[arg(value_name = "URL")]
    url: Target,
    /// How many connections to hold
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = in_range::<u32>())]
    connections: u32,
    /// Each waits a random whole number of seconds, from 1 to half of this, before it sends again
    #[arg(short, long, value_name = "TIME", default_value = "60s", conflicts_with_all = ["think", "rate"], value_parser = in_range::<Time>())]
    keepalive: Time,
    /// Waits this long instead, such as 1s..30s; 0 sends back to back [default: as --keepalive says]
    #[arg(long, value_name = "A..B", conflicts_with = "rate", value_parser = parts_in_range::<Range>(ends))]
    think: Option<Range>,
    /// Sends this many requests a second over all connections, each when it is due [default: no rate]
    #[arg(long, value_name = "N", value_parser = in_range::<Rate>())]
    rate: Option<Rate>,
    /// Opens this many connections each --ramp-every
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = in_range::<u32>())]
    ramp: u32,
    /// See --ramp; 0 opens all at once
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = in_range::<Time>())]
    ramp_every: Time,
    /// The method [default: HEAD, or POST with a --body]
    #[arg(long, value_name = "METHOD", value_parser = parse_method)]
    method: Option<Method>,
    /// A header of every request; can be repeated [default: Host and User-Agent]
    #[arg(long = "header", value_name = "'K: V'")]
    headers: Vec<Field>,
    /// The body of every request [default: none]
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// How long connecting may take, and each complete response
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = in_range::<Time>())]
    timeout: Time,
    /// Ends after this long [default: when it is interrupted]
    #[arg(long, value_name = "TIME", value_parser = in_range::<Time>())]
    duration: Option<Time>,
    /// Ends after this many requests [default: when it is interrupted]
    #[arg(long, value_name = "N", value_parser = in_range::<u64>())]
    requests: Option<u64>,
    /// Statuses that are no errors, and no others: 404, 200-299 or 2xx [default: below 400]
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    ok_status: Vec<StatusRange>,
    /// Does not open a connection again that ended [default: opens it again]
    #[arg(long)]
    no_reconnect: bool,
    /// Does not verify the server's certificate [default: verifies it]
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Each connection sends a request, waits for all of the response, thinks, and sends again as long as it lives. Latency \
counts from the write; with --rate it counts from when the request was due, on whichever connection is idle. A \
connection that the server ends unannounced counts as an error (refused, timed out, reset, closed, bad response, \
TLS) and is opened again; a response with a status of 400 or more counts as one too (bad status), unless --ok-status \
says otherwise. Exits 0 without errors, 1 with some, 3 if the server never took a connection.

Examples:
  framegate bench http http://localhost:8080/ -c 10000 -k 60s --duration 2m
  framegate bench http https://localhost/ --think 0 -c 64 --method GET --duration 10s --insecure
  framegate bench http http://localhost/api --rate 500 -c 100 --duration 1m --plot api.svg --fail-above p99=50ms
  framegate bench http http://localhost/ -c 50000 --bind 127.0.0.1,127.0.0.2";

/// The two ends of a range as it is written.
fn ends(text: &str) -> Vec<&str> {
    text.splitn(2, "..").collect()
}

/// A time, or a range of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    least: Duration,
    most: Duration,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let wrong = |why: String| format!("{why}, or as a range of those: 1s..30s");
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let Time(least) = least.parse().map_err(wrong)?;
        let Time(most) = most.parse().map_err(wrong)?;
        if least > most {
            return Err(format!(
                "'{text}' begins above its end: write it as {}..{}",
                Time(most),
                Time(least)
            ));
        }
        Ok(Range { least, most })
    }
}

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        match text.trim().parse::<f64>() {
            Ok(rate) => Ok(Rate(rate)),
            Err(_) => {
                Err(format!("'{text}' is no rate: write it as a number of requests a second such as 500"))
            }
        }
    }
}

impl Http {
    /// Loads the server, and reports.
    pub fn run(self) -> Result<Exit, Failure> {
        self.output.check()?;
        let load = Load::new(self.options()?)?;
        end_at_signal(load.stop())?;
        let mut watch = Watch::new();
        let report = load.run(&mut |progress| watch.show(progress));
        drop(watch);
        let report = report?;
        self.output.finish(&report, &report.figures, || plot(&report))
    }

    fn options(&self) -> Result<Options, Failure> {
        if self.insecure && !self.url.is_secure() {
            return Err(Failure::usage("--insecure is for https:// alone: leave it out"));
        }
        let body = match &self.body {
            Some(path) => fs::read(path).map_err(|why| {
                Failure::usage(format!("--body {}: {why}: give a file that can be read", path.display()))
            })?,
            None => Vec::new(),
        };
        let method = match (&self.method, &self.body) {
            (Some(method), _) => method.clone(),
            (None, Some(_)) => Method::POST,
            (None, None) => Method::HEAD,
        };
        Ok(Options {
            target: self.url.clone(),
            method,
            fields: self.headers.clone(),
            body,
            connections: self.connections as usize,
            ramp: self.ramp as usize,
            ramp_every: self.ramp_every.0,
            pace: self.pace()?,
            timeout: self.timeout.0,
            duration: self.duration.map(|Time(duration)| duration),
            requests: self.requests,
            reconnect: !self.no_reconnect,
            ok_status: OkStatus::new(self.ok_status.clone()),
            sources: self.source.bind.clone(),
            insecure: self.insecure,
            seed: crate::runtime::chance(),
        })
    }

    fn pace(&self) -> Result<Pace, Failure> {
        const SECOND: Duration = Duration::from_secs(1);
        Ok(match (self.rate, self.think) {
            (Some(Rate(rate)), _) => Pace::Rate(Schedule::new(rate)),
            (None, Some(Range { most: Duration::ZERO, .. })) => Pace::BackToBack,
            (None, Some(Range { least, most })) => Pace::Think(Think::new(least, most)),
            (None, None) => {
                let half = Duration::from_secs(self.keepalive.0.as_secs() / 2);
                if half < SECOND {
                    return Err(Failure::usage(format!(
                        "half of --keepalive {} is no second to think: give it 2s or more, or --think",
                        self.keepalive
                    )));
                }
                Pace::Think(Think::new(SECOND, half))
            }
        })
    }
}

fn plot(report: &Report) -> Plot {
    Plot {
        title: format!("framegate bench http: {} {}, {}", report.method, report.url, report.load),
        panels: vec![
            Panel::alive(&report.figures),
            Panel::rate(&report.figures, "responses/s"),
            Panel::latency(&report.figures),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn think_times() {
        let s = Duration::from_secs;
        for (text, range) in [
            ("0", Some((s(0), s(0)))),
            ("2", Some((s(2), s(2)))),
            ("1..30", Some((s(1), s(30)))),
            ("1s..1m", Some((s(1), s(60)))),
            ("100ms..0.5", Some((Duration::from_millis(100), Duration::from_millis(500)))),
            ("30..1", None),
            ("1..", None),
            ("..", None),
            ("-1..1", None),
            ("soon", None),
        ] {
            let parsed = text.parse::<Range>();
            let expected = range.map(|(least, most)| Range { least, most });
            assert_eq!(parsed.as_ref().ok(), expected.as_ref(), "{text}");
            if let Err(why) = parsed {
                assert!(why.contains("..") && !why.contains('\n'), "{why}");
            }
        }
    }

    #[test]
    fn rates() {
        for (text, rate) in [("500", Some(500.0)), ("0.5", Some(0.5)), ("max", None)] {
            assert_eq!(text.parse::<Rate>().ok(), rate.map(Rate), "{text}");
        }
    }
}
