//! `framegate tail`: subscribes and prints.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use clap::{Args, ValueEnum};

use super::settings::LISTEN;
use super::stored::Since;
use super::{Exit, Failure, complain, secret, shape, signals};
use crate::client::{Event, Subscriber};
use crate::frame::{Status, check_pattern};

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
    from: String,
    /// Prints what a gateway's --store DIR holds, in the order in which it was stored [default: none, subscribes]
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// Of what is stored, only what was stored since: so long ago (5m), or an instant (2026-07-28T10:15:30Z)
    /// [default: from the first frame on]
    #[arg(long, value_name = "TIME", requires = "store", conflicts_with = "from")]
    pub(super) since: Option<Since>,
    /// Goes on with what is stored from now on [default: ends with the last stored frame]
    #[arg(long, requires = "store", conflicts_with = "from")]
    pub(super) follow: bool,
    /// Ends after so many frames [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// How a frame is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Digests are HMAC-SHA-256 under the secret in this file; with --store it may be given again, for what is
    /// stored under earlier ones [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Exits 0 after --count frames or at the end of the store, 1 if a digest was wrong, 3 when the gateway is gone.

Examples:
  framegate tail
  framegate tail 'orders.*' 'logs.>' --count 10
  framegate tail logs.web --format payload > access.log
  framegate tail --format json | jq .payload
  framegate tail --store /var/lib/framegate 'orders.>' --since 1h --follow";

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

/// Why printing ends, where it is not a failure.
enum Stop {
    /// As many as were asked for.
    Counted,
    /// Whoever read what is printed does not any more.
    Unread,
    /// The gateway closed; what it said.
    Closed(String),
}

impl Tail {
    /// Prints until told otherwise.
    pub fn run(self) -> Result<Exit, Failure> {
        for pattern in &self.patterns {
            check_pattern(pattern.as_bytes())
                .map_err(|wrong| Failure::usage(format!("the pattern '{pattern}': {wrong}")))?;
        }
        if let Some(store) = &self.store {
            return self.print_stored(store, &secret::keys(&self.secret_file)?);
        }
        let scheme = secret::one(&self.secret_file, "--store")?;
        let everything = [">".to_string()];
        let patterns = if self.patterns.is_empty() { &everything[..] } else { &self.patterns };
        let mut subscriber = Subscriber::connect(&self.from, patterns, scheme)?;
        log::debug!("subscribed to {}", patterns.join(" "));

        let interrupted = Arc::new(AtomicBool::new(false));
        let (flag, stream) = (interrupted.clone(), subscriber.stream());
        signals::on_signal(move || {
            flag.store(true, Relaxed);
            if let Ok(stream) = stream {
                let _ = stream.shutdown(Shutdown::Both);
            }
        })?;

        let mut out = BufWriter::with_capacity(OUTPUT, io::stdout().lock());
        let mut bad = 0u64;
        let stop = self.print(&mut subscriber, &mut out, &mut bad);
        let stop = stop.and_then(|stop| match out.flush() {
            Ok(()) => Ok(stop),
            Err(error) => unread(error),
        });
        if bad > 0 {
            complain(&format_args!("{bad} frames had a wrong digest and are not printed"));
        }
        let exit = if bad > 0 { Exit::Partly } else { Exit::Done };
        match stop? {
            Stop::Counted | Stop::Unread => Ok(exit),
            Stop::Closed(_) if interrupted.load(Relaxed) => Ok(Exit::Signalled),
            Stop::Closed(said) => {
                Err(Failure { exit: Exit::Gone, message: format!("the gateway closed the connection{said}") })
            }
        }
    }

    /// How frames are printed.
    pub(super) fn shaper(&self) -> shape::Shaper {
        let format = if self.json { Format::Json } else { self.format };
        shape::Shaper::new(format, io::stdout().is_terminal())
    }

    fn print(
        &self,
        subscriber: &mut Subscriber,
        out: &mut impl Write,
        bad: &mut u64,
    ) -> Result<Stop, Failure> {
        let mut shaper = self.shaper();
        let mut left = self.count.unwrap_or(u64::MAX);
        loop {
            while let Some(event) = subscriber.try_next()? {
                let printed = match event {
                    Event::Frame(frame) => {
                        left -= 1;
                        shaper.frame(&frame, out)
                    }
                    Event::Gap(frames) => {
                        complain(&format_args!(
                            "{frames} frames were lost here (GAP): read faster, or raise the gateway's --outbox"
                        ));
                        shaper.gap(frames, out)
                    }
                    Event::Bad(frame) => {
                        *bad += 1;
                        // Not even its topic can be believed.
                        log::debug!("a frame of {} bytes has a wrong digest", frame.bytes.len());
                        Ok(())
                    }
                    Event::Closed(status, reason) => return Ok(Stop::Closed(last_word(status, reason))),
                    Event::End => return Ok(Stop::Closed(String::new())),
                };
                if let Err(error) = printed {
                    return unread(error);
                }
                if left == 0 {
                    return Ok(Stop::Counted);
                }
            }
            // Nothing is at hand: whoever watches sees what there is.
            if let Err(error) = out.flush() {
                return unread(error);
            }
            subscriber.wait()?;
        }
    }
}

/// `tail | head -1` is no failure.
fn unread(error: io::Error) -> Result<Stop, Failure> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(Stop::Unread),
        _ => Err(Failure { exit: Exit::Partly, message: format!("cannot print: {error}") }),
    }
}

fn last_word(status: Status, reason: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(" {}", reason.escape_debug()) };
    match status {
        Status::Slow => format!(
            ": {status}{reason}: read faster, raise the gateway's --outbox, or set its --slow to pause or drop"
        ),
        _ => format!(": {status}{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_subscriber_is_told_the_mend() {
        let said = last_word(Status::Slow, "33 MB behind");
        assert!(said.starts_with(": SLOW 33 MB behind: read faster"), "{said}");
        assert_eq!(last_word(Status::Closing, ""), ": CLOSING");
    }
}
