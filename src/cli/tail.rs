//! `framegate tail`: subscribes and prints.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::in_range::{in_range, parts_in_range};
use super::settings::LISTEN;
use super::tail_live::Stop;
use super::tail_store::Since;
use super::{Exit, Failure, TimeOrOff, frame_line, secret};
use crate::client::TIMEOUT;
use crate::core::units::plain;
use crate::wire::durable::{self, Options, Start};
use crate::wire::{check_pattern, partial_wildcard};

/// 256 KiB of lines a write while more are at hand.
pub(super) const OUTPUT: usize = 256 * 1024;

/// Subscribes and prints each frame, or with --store prints what is stored; every digest is checked again.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    /// What to subscribe to: * is one token, a last > is one or more [default: >, every topic]
    #[arg(value_name = "PATTERN")]
    pub(super) patterns: Vec<String>,
    /// The gateway
    #[arg(long, value_name = "ADDR", default_value = LISTEN, conflicts_with = "store")]
    pub(super) from: String,
    /// Prints what a gateway's --store DIR holds, in the order in which it was stored [default: none, subscribes]
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// Of what is stored, only what was stored since: so long ago (5m; 0 is now), or an instant (2026-07-28T10:15:30Z)
    /// [default: from the first frame on]
    #[arg(long, value_name = "TIME", requires = "store", conflicts_with = "from", value_parser = parts_in_range::<Since>(lengths))]
    pub(super) since: Option<Since>,
    /// Goes on with what is stored from now on [default: ends with the last stored frame]
    #[arg(long, requires = "store", conflicts_with = "from")]
    pub(super) follow: bool,
    /// How long a connected gateway may say nothing, not even to a PING, until the connection counts as lost. One that is
    /// paused says nothing either: off, or 0, waits for ever
    #[arg(long, value_name = "TIME|off", default_value_t = TimeOrOff(Some(TIMEOUT)), conflicts_with = "store", value_parser = in_range::<TimeOrOff>())]
    pub(super) timeout: TimeOrOff,
    /// Ends when the gateway goes away [default: connects again for 60s, and says what is missing]
    #[arg(long, conflicts_with = "store")]
    pub(super) no_retry: bool,
    /// A file that is there as long as the gateway has confirmed every pattern, for scripts that wait for that; it holds
    /// the number of the process [default: none]
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub(super) ready_file: Option<PathBuf>,
    /// Goes on where it was under this name: the gateway keeps what was printed, and what it stored meanwhile comes first.
    /// The gateway needs a --store [default: none]
    #[arg(long, value_name = "NAME", conflicts_with = "store", value_parser = durable_name)]
    pub(super) durable: Option<String>,
    /// Where to begin, where the name is not known yet: new, oldest, seq 17, 2h (that long ago) or 2026-11-29T22:00Z; without
    /// --durable it prints what is stored from there on, and goes on live [default: new]
    #[arg(long, value_name = "WHERE", conflicts_with = "store")]
    pub(super) start_at: Option<Start>,
    /// Frames that the gateway may send before it hears that they were printed [default: 1000]
    #[arg(long, value_name = "N", requires = "durable", value_parser = in_range::<u32>())]
    pub(super) window: Option<u32>,
    /// Ends after this many frames [default: never]
    #[arg(long, value_name = "N", value_parser = in_range::<u64>())]
    pub(super) count: Option<u64>,
    /// How a frame is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Digests are HMAC-SHA-256 under the secret in this file; with --store it can be repeated, for what is
    /// stored under earlier ones [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) who: secret::Who,
    #[command(flatten)]
    pub(super) tls: super::tls::ClientTls,
}

const EXAMPLES: &str = "\
Exits 0 after --count frames, at the end of the store or when standard output is closed, 1 if a digest was wrong, \
3 when the gateway is gone (with --no-retry at once, else when it has been gone for 60s). After a connection that was \
lost it subscribes again; what was published meanwhile is not printed, which --json shows as {\"gap\":null}. With --durable nothing is missing: \
what was not acknowledged is printed once more, and what was removed from the store before it came is shown as a gap. On a \
terminal, control characters are shown instead of obeyed.

Examples:
  framegate tail
  framegate tail 'orders.*' 'logs.>' --count 10
  framegate tail logs.web --format payload > access.log
  framegate tail --format json | jq .payload
  framegate tail logs.web --ready-file ready > copy.txt & until [ -e ready ]; do sleep 0.1; done
  framegate tail --store /var/lib/framegate 'orders.>' --since 1h --follow
  framegate tail 'orders.>' --durable billing --start-at oldest | ./bill
  framegate tail 'orders.>' --start-at 2h";

fn durable_name(text: &str) -> Result<String, String> {
    durable::name(text).map(str::to_string)
}

/// The length of time of a --since that is one, and no instant.
fn lengths(text: &str) -> Vec<&str> {
    let is_length = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && !text.contains(':');
    if is_length { vec![text] } else { Vec::new() }
}

/// How a frame is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line `topic key id payload`, line breaks in it as \n
    Text,
    /// A line {"topic","key","id","payload"}; payload_base64 where it is not UTF-8
    Json,
    /// The frames themselves, their bytes as they came
    Raw,
    /// The payload and a line break
    Payload,
}

impl Tail {
    /// Prints until told otherwise.
    pub fn run(self) -> Result<Exit, Failure> {
        self.check_patterns()?;
        if self.format == Format::Raw && io::stdout().is_terminal() {
            return Err(Failure::usage(
                "--format raw is bytes that a terminal would obey: send them into a file or a pipe, or choose another format",
            ));
        }
        if let Some(store) = &self.store {
            return self.print_stored(store, &secret::keys(&self.secret_file)?);
        }
        self.print_live(secret::one(&self.secret_file, "--store")?)
    }

    /// What it asks a gateway's store for; nothing where it takes what comes.
    pub(super) fn durable(&self) -> Option<Options> {
        if self.durable.is_none() && self.start_at.is_none() {
            return None;
        }
        let (name, from) = (self.durable.as_deref().map(Into::into), self.start_at);
        Some(Options { name, from, window: self.window, ..Options::default() })
    }

    /// How frames are printed.
    pub(super) fn printer(&self) -> frame_line::FramePrinter {
        let format = if self.json { Format::Json } else { self.format };
        frame_line::FramePrinter::new(format, io::stdout().is_terminal())
    }

    /// What can hardly be meant, in a word.
    fn check_patterns(&self) -> Result<(), Failure> {
        for pattern in &self.patterns {
            let checked = check_pattern(pattern.as_bytes())
                .map_err(|wrong| Failure::usage(format!("the pattern '{}': {wrong}", plain(pattern))))?;
            if let Some(token) = partial_wildcard(checked) {
                log::warn!(
                    "the pattern '{pattern}': * and > stand for whole tokens between dots, so '{token}' matches that very \
                     token alone: write * in its place, or a last > for all that begins with what is before it"
                );
            }
        }
        Ok(())
    }
}

/// `tail | head -1` is no failure.
pub(super) fn cannot_print(error: io::Error) -> Result<Stop, Failure> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(Stop::Unread),
        _ => Err(Failure { exit: Exit::Partly, message: format!("cannot print: {error}") }),
    }
}
