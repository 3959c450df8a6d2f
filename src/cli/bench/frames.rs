//! `framegate bench frames`: loads a gateway with frames.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::Source;
use super::output::Output;
use super::own::OwnGateway;
use super::watch::Watch;
use crate::cli::in_range::in_range;
use crate::cli::{Exit, Failure, Size, Time, secret, signals};
use crate::client;
use crate::core::units::{grouped, held, many};
use crate::tools::bench::frames::{Failed, Load, Options, Report};
use crate::tools::bench::{Panel, Plot};

/// Loads a gateway with frames, checks the order, the digest and the arrival of each, and reports
/// throughput and latency.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Frames {
    /// The gateway [default: one that this starts, on a free port of loopback]
    #[arg(value_name = "ADDR")]
    gateway: Option<String>,
    /// Options of `serve` for the gateway that this starts, after -- [default: none]
    #[arg(last = true, value_name = "SERVE OPTION", conflicts_with = "gateway")]
    serve: Vec<OsString>,
    /// Connections that publish; 0 for none
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = in_range::<u32>())]
    publishers: u32,
    /// Connections that each get every frame; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = in_range::<u32>())]
    subscribers: u32,
    /// Bytes of each payload; 0 for empty ones
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = in_range::<Size>())]
    payload: Size,
    /// Frames a second of all publishers together, or max for as fast as the gateway reads
    #[arg(long, value_name = "N|max", default_value = "max", value_parser = in_range::<Rate>())]
    rate: Rate,
    /// How long frames are sent
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = in_range::<Time>())]
    duration: Time,
    /// Connections that publish large frames beside, as fast as the gateway reads; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = in_range::<u32>())]
    big: u32,
    /// Bytes of each payload of those; 0 for empty ones
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = in_range::<Size>())]
    big_payload: Size,
    /// Connections that say nothing; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = in_range::<u32>())]
    idle: u32,
    /// The topic of the frames; large ones get it with .large behind [default: bench. and a random number]
    #[arg(long, value_name = "T")]
    topic: Option<String>,
    /// Digests are HMAC-SHA-256 under the secret in this file [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
With a rate, a frame is sent when it is due whatever became of those before, and \
latency counts from then; with max, it counts from the write. Frames are encoded \
before the clock starts and sent again and again. At the end, what is in flight \
is waited for; what is still missing after 2s without a byte is lost. \
Exits 0 if every frame came once, in order and unchanged; 1 if not; 3 if the \
gateway is gone.

Examples:
  framegate bench frames
  framegate bench frames --rate 100000 --duration 30s --plot frames.svg
  framegate bench frames gateway:7450 --publishers 100 --payload 4KiB --fail-above p99=50ms
  framegate bench frames --rate 20000 --big 2 --big-payload 8MiB
  framegate bench frames -- --workers 2 --slow pause";

/// Frames a second, or as fast as they are read.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(Option<f64>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text.trim().eq_ignore_ascii_case("max") {
            return Ok(Rate(None));
        }
        match text.trim().parse::<f64>() {
            Ok(rate) => Ok(Rate(Some(rate))),
            Err(_) => Err(format!(
                "'{text}' is no rate: write it as a number of frames a second such as 100000, or as max"
            )),
        }
    }
}

impl Frames {
    /// Loads the gateway, and reports.
    pub fn run(self) -> Result<Exit, Failure> {
        self.output.check()?;
        if self.publishers == 0 && self.big == 0 && self.idle == 0 {
            return Err(Failure::usage("nothing publishes: give --publishers, --big or --idle"));
        }
        let own = match &self.gateway {
            Some(_) => None,
            None => Some(OwnGateway::start(&self.serve_options()?)?),
        };
        let load = Load::new(self.options(own.as_ref())?)?;
        let stop = load.stop();
        signals::on_signal(move || {
            log::info!("ending with what was measured; a second signal ends at once");
            stop.stop();
        })?;
        let mut watch = Watch::new();
        let mut report = load.run(&mut |progress| watch.show(progress))?;
        drop(watch);
        report.gateway_is_own = own.is_some();
        let exit = self.output.finish(&report, &report.figures, || plot(&report))?;
        match report.gone() {
            Some(why) => Err(Failure {
                exit: Exit::Gone,
                message: format!("the gateway closed every connection: {why}"),
            }),
            None => Ok(exit),
        }
    }

    /// A secret and a large payload are the gateway's too.
    fn serve_options(&self) -> Result<Vec<OsString>, Failure> {
        let mut options = Vec::new();
        if let Some(path) = &self.secret_file {
            options.extend(["--secret-file".into(), path.clone().into_os_string()]);
        }
        options.extend(self.serve.iter().cloned());
        Ok(options)
    }

    fn options(&self, own: Option<&OwnGateway>) -> Result<Options, Failure> {
        let gateway = match (&self.gateway, own) {
            (Some(name), _) => {
                let found = name.to_socket_addrs().map_err(|why| client::Error::unreachable(name, &why));
                found?.collect()
            }
            (None, own) => own.map(|own| own.address).into_iter().collect(),
        };
        let nonce = RandomState::new().build_hasher().finish() as u32;
        Ok(Options {
            gateway,
            process: own.map(OwnGateway::id),
            publishers: self.publishers as usize,
            subscribers: self.subscribers as usize,
            payload: self.payload.0,
            rate: self.rate.0,
            duration: self.duration.0,
            large: self.big as usize,
            large_payload: self.big_payload.0,
            idle: self.idle as usize,
            topic: self.topic.clone().unwrap_or_else(|| format!("bench.{nonce:08x}")),
            scheme: secret::scheme(self.secret_file.as_deref())?,
            sources: self.source.bind.clone(),
            nonce,
        })
    }
}

fn plot(report: &Report) -> Plot {
    let pace = report
        .rate
        .map_or("as fast as it reads".to_string(), |rate| format!("at {} frames/s", grouped(rate as u64)));
    Plot {
        title: format!(
            "framegate bench frames: {} of {} {pace}, {}",
            many(report.publishers as u64, "publisher"),
            held(report.frames.payload_bytes as u64),
            many(report.subscribers as u64, "subscriber")
        ),
        panels: vec![Panel::rate(&report.figures, "frames/s"), Panel::latency(&report.figures)],
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        let exit = match failed {
            Failed::Refused(_) => Exit::Usage,
            Failed::Gone(_) => Exit::Gone,
            Failed::Stopped => Exit::Signalled,
        };
        Failure { exit, message: failed.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, rate) in [
            ("max", Some(Rate(None))),
            (" MAX ", Some(Rate(None))),
            ("100000", Some(Rate(Some(100_000.0)))),
            ("0.5", Some(Rate(Some(0.5)))),
            ("1e6", Some(Rate(Some(1e6)))),
            ("fast", None),
        ] {
            assert_eq!(text.parse().ok(), rate, "{text}");
        }
        assert!("fast".parse::<Rate>().unwrap_err().contains("or as max"));
    }
}
