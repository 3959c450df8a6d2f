//! `framegate bench frames`: loads a gateway with frames.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;

use super::output::Output;
use super::own::OwnGateway;
use super::watch::Watch;
use super::{Source, end_at_signal};
use crate::cli::in_range::in_range;
use crate::cli::tls::ClientTls;
use crate::cli::{Exit, Failure, Size, Time, layouts, secret};
use crate::client;
use crate::core::units::{grouped, many, plain};
use crate::tools::bench::frames::{Failed, LayoutLoad, Load, Options, Report};
use crate::tools::bench::{Panel, Plot};
use crate::wire::layout::Layout;

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
    /// Bytes of each payload, 0 for empty ones; with --layout, of each frame as a whole [default: 256, or as near as the
    /// layout has]
    #[arg(long, value_name = "SIZE", value_parser = in_range::<Size>())]
    payload: Option<Size>,
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
    /// The layout that publishers and idle connections speak: frames are made from its declaration, and the first ones log
    /// in where it has logins [default: none, the native protocol]
    #[arg(long, value_name = "NAME")]
    layout: Option<String>,
    /// A file that declares it; can be repeated [default: those that come with the program]
    #[arg(long, value_name = "FILE", requires = "layout")]
    layouts: Vec<PathBuf>,
    /// Where the gateway at ADDR listens for that layout [default: a port of the gateway that this starts]
    #[arg(long, value_name = "LISTENER", requires = "layout")]
    to: Option<String>,
    /// The topic of the frames; large ones get it with .large behind [default: bench. and a random number]
    #[arg(long, value_name = "T")]
    topic: Option<String>,
    /// Digests are HMAC-SHA-256 under the secret in this file [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    who: secret::Who,
    #[command(flatten)]
    tls: ClientTls,
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
  framegate bench frames --layout gt06 --publishers 1000 --rate 50000
  framegate bench frames gateway:7450 --layouts house.toml --layout house --to gateway:5027
  framegate bench frames -- --workers 2 --slow pause";

/// 256 bytes, where nothing else is asked for.
const PAYLOAD: usize = 256;

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
        let layout = self.layout()?;
        if self.publishers == 0 && self.big == 0 && self.idle == 0 {
            return Err(Failure::usage("nothing publishes: give --publishers, --big or --idle"));
        }
        if self.tls.tls && self.gateway.is_none() && self.to.is_none() {
            let mend = "give the ADDR of a gateway that was started with --listen-tls";
            return Err(Failure::usage(format!(
                "--tls: the gateway that this starts has no certificate: {mend}"
            )));
        }
        let own = match (&self.gateway, &self.to) {
            (None, None) => Some(OwnGateway::start(&self.serve_options(), usize::from(layout.is_some()))?),
            _ => None,
        };
        let load = Load::new(self.options(layout, own.as_ref())?)?;
        end_at_signal(load.stop())?;
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

    /// The layout that is spoken, if what is asked for can be done with it.
    fn layout(&self) -> Result<Option<Arc<Layout>>, Failure> {
        let Some(name) = &self.layout else { return Ok(None) };
        let layout = layouts::load(&self.layouts, None)?.named(name)?;
        let wrong = |what: String| Err(Failure::usage(what));
        let shown = plain(name);
        if self.topic.is_some() {
            let topics = layout.topics().join(", ");
            return wrong(format!(
                "--topic: layout {shown} says itself what its topics are ({topics}): leave it out"
            ));
        }
        if layout.needs_secret() && self.secret_file.is_none() {
            return wrong(format!(
                "layout {shown} is checked with the listener's secret: give it with --secret-file FILE"
            ));
        }
        if self.publishers == 0 && self.idle == 0 {
            return wrong(format!("nothing speaks layout {shown}: give --publishers or --idle"));
        }
        match (&self.gateway, &self.to) {
            (Some(gateway), None) => wrong(format!(
                "{} is where subscribers connect: give the listener of layout {shown} with --to",
                plain(gateway)
            )),
            (None, Some(_)) if !self.serve.is_empty() => {
                wrong("what is behind -- is for a gateway that this starts: leave it out, or --to".into())
            }
            (None, Some(_)) if self.subscribers > 0 || self.big > 0 => wrong(
                "--to is the layout's listener: give the ADDR of the same gateway too, where subscribers and large \
                 frames go, or --subscribers 0"
                    .into(),
            ),
            _ => Ok(Some(layout)),
        }
    }

    /// A secret and a layout are the gateway's too.
    fn serve_options(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        for path in &self.layouts {
            options.extend(["--layouts".into(), path.clone().into_os_string()]);
        }
        if let Some(name) = &self.layout {
            options.extend(["--listen-layout".into(), format!("{name}=127.0.0.1:0").into()]);
        }
        if let Some(path) = &self.secret_file {
            options.extend(["--secret-file".into(), path.clone().into_os_string()]);
        }
        options.extend(self.serve.iter().cloned());
        options
    }

    fn options(&self, layout: Option<Arc<Layout>>, own: Option<&OwnGateway>) -> Result<Options, Failure> {
        let found = |name: &Option<String>, own: Option<SocketAddr>| match name {
            Some(name) => {
                let found = name.to_socket_addrs().map_err(|why| client::Error::unreachable(name, &why));
                Ok::<Vec<SocketAddr>, Failure>(found?.collect())
            }
            None => Ok(own.into_iter().collect()),
        };
        let gateway = found(&self.gateway, own.map(|own| own.address))?;
        let listener = found(&self.to, own.and_then(|own| own.listeners.first().copied()))?;
        let frame_len = self.payload.map(|size| size.0);
        let nonce = RandomState::new().build_hasher().finish() as u32;
        Ok(Options {
            gateway,
            process: own.map(OwnGateway::id),
            publishers: self.publishers as usize,
            subscribers: self.subscribers as usize,
            payload: self.payload.map_or(PAYLOAD, |size| size.0),
            layout: layout.map(|layout| LayoutLoad { layout, listener, frame_len }),
            rate: self.rate.0,
            duration: self.duration.0,
            large: self.big as usize,
            large_payload: self.big_payload.0,
            idle: self.idle as usize,
            topic: self.topic.clone().unwrap_or_else(|| format!("bench.{nonce:08x}")),
            scheme: secret::scheme(self.secret_file.as_deref())?,
            identity: self.who.identity()?,
            host: self.gateway.clone().unwrap_or_default(),
            tls: self.tls.load_for_many()?,
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
            "framegate bench frames: {} {pace}, {}",
            report.publishers(),
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
