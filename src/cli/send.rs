//! `framegate send`: publishes lines or files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::in_range::in_range;
use super::layout::capture::Form;
use super::screen::Screen;
use super::send_frames::FrameFiles;
use super::send_layout::LayoutSend;
use super::send_replies::Replies;
use super::settings::LISTEN;
use super::{Exit, Failure, Time, TimeOrOff, print, secret, send_report, signals, spawn};
use crate::client::{self, Publisher, PublisherOptions, Reply};
use crate::core::limits::{PAYLOAD_MAX, START_PATIENCE};
use crate::core::units::many;
use crate::tools::records::{Input, Reader, RecordError, Records, Shape, Stopper};
use crate::wire::check_topic;

/// 5 s after a signal for what is in flight.
const GRACE: Duration = Duration::from_secs(5);

/// The bar moves every 1,024 records: a million of them a second is a thousand looks at the clock.
pub(super) const PROGRESS_EVERY: u64 = 1024;

/// Publishes each line of standard input or of FILE as one frame, and tells what became of them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Send {
    /// What to read; - is standard input [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The gateway
    #[arg(long, value_name = "ADDR", default_value = LISTEN)]
    to: String,
    /// The topic of every frame [default: the empty topic]
    #[arg(long, value_name = "T", default_value = "", hide_default_value = true)]
    topic: String,
    /// The key of every frame; 0 is none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = in_range::<u64>())]
    key: u64,
    /// Digests are HMAC-SHA-256 under the secret in this file; with --frames it can be repeated, for frames that
    /// were made under earlier ones: they get a new digest under the first [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    #[command(flatten)]
    who: secret::Who,
    #[command(flatten)]
    tls: super::tls::ClientTls,
    /// Frames that may be unanswered at once; at most 64MiB of them
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = in_range::<u64>())]
    max_in_flight: u64,
    /// How long a connected gateway may say nothing, not even to a PING, until the connection counts as lost. One that is
    /// paused says nothing either: off, or 0, waits for ever
    #[arg(long, value_name = "TIME|off", default_value_t = TimeOrOff(Some(client::TIMEOUT)), value_parser = in_range::<TimeOrOff>())]
    timeout: TimeOrOff,
    /// Asks for no replies: faster, but what the gateway refuses is not known [default: asks]
    #[arg(long)]
    no_reply: bool,
    /// Sends nothing twice: a lost connection or BUSY is final [default: tries for 60s]
    #[arg(long)]
    no_retry: bool,
    /// Publishes each FILE as one frame [default: each line]
    #[arg(long)]
    whole: bool,
    /// With --whole: each FILE holds frames, as a gateway's --store does; they are published as they are, their
    /// topics, keys and ids too. The outcome of a frame that asks for no reply is not known, and the report
    /// says how many those are [default: each FILE is a payload]
    #[arg(long, requires = "whole", conflicts_with_all = ["topic", "key", "no_reply"])]
    frames: bool,
    /// With --frames: makes each a new frame that asks for a reply, its topic, key and payload as they are, its id and
    /// digest new, so that what became of each is known [default: as they are]
    #[arg(long, requires = "frames")]
    confirm: bool,
    /// Sends a capture, in binary or as hexadecimal digits, to a listener of this layout, as the device did: frame by
    /// frame, each when the one before has the answer that is declared for it. --replies prints the answers
    #[arg(long, value_name = "NAME", conflicts_with_all = ["topic", "key", "max_in_flight", "no_retry", "whole", "frames", "replies_to", "name"])]
    layout: Option<String>,
    /// With --layout: a file of layouts; can be repeated [default: those that come with the program]
    #[arg(long, value_name = "FILE", requires = "layout")]
    layouts: Vec<PathBuf>,
    /// With --layout: the capture is hexadecimal digits; white space, colons, commas and what follows a # are skipped
    /// [default: recognised, and said]
    #[arg(long, requires = "layout")]
    hex: bool,
    /// With --layout: the capture is bytes as they came [default: recognised, and said]
    #[arg(long, requires = "layout", conflicts_with = "hex")]
    binary: bool,
    /// Prints every reply as it comes, a line each: id, status, and what a handler answered or the reason
    #[arg(long, conflicts_with = "no_reply")]
    replies: bool,
    /// Writes what a handler answered to each frame into a file of this folder: its id, and with --whole the
    /// file's name behind it. Ids count from 1 in each run, so a folder that holds replies already is refused
    /// [default: none]
    #[arg(long, value_name = "DIR", conflicts_with = "no_reply")]
    replies_to: Option<PathBuf>,
    /// Prints the report, and each reply, as one JSON object a line
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Ids count from 1, so that the same input is the same bytes. What is not answered when the connection goes away is \
sent again. OK means that a frame is queued for every subscriber of that moment and confirmed by every sink; where there is \
neither, the report says how many frames reached nobody. Exits 0 if every frame is OK or DUPLICATE (accepted before), or asks \
for no reply and was read; 1 if not; 3 if the gateway is gone, or what answers is not one.

Examples:
  echo hello | framegate send --topic greetings
  framegate send --to gateway:7450 --topic logs.web access.log
  framegate send --topic pictures --whole *.jpg
  framegate send --to other:7450 --whole --frames --confirm /var/lib/framegate/orders.eu/*.frames
  framegate send --topic pictures --whole --replies-to thumbnails *.jpg
  framegate send --to gateway:5027 --layout teltonika --replies capture.bin
  framegate send --topic plant.pump-17.flow --name pump-17 --token-file pump-17.token flow.log
  tail -f app.log | framegate send --topic logs.app --json";

/// What is published.
enum Source {
    /// Records, and until it [begins](Source::begin) who reads them and how to stop that.
    Records(Box<Records>, Option<Reader>, Option<Stopper>),
    /// Frames as they are.
    Frames(FrameFiles),
}

impl Source {
    /// Begins to read. What is returned stops it when it is dropped, where there is something to stop.
    fn begin(&mut self) -> Result<Option<Stopper>, Failure> {
        let Source::Records(_, reader, stopper) = self else { return Ok(None) };
        if let Some(reader) = reader.take() {
            spawn("records", || reader.run())?;
        }
        Ok(stopper.take())
    }

    fn total(&self) -> Option<u64> {
        match self {
            Source::Records(records, ..) => records.total(),
            Source::Frames(files) => files.total(),
        }
    }
}

impl Send {
    /// Publishes everything.
    pub fn run(self) -> Result<Exit, Failure> {
        if let Some(layout) = &self.layout {
            return self.as_device(layout);
        }
        check_topic(self.topic.as_bytes())
            .map_err(|wrong| Failure::usage(format!("--topic '{}': {wrong}", self.topic)))?;
        self.replies_to.as_deref().map_or(Ok(()), Replies::check).map_err(Failure::usage)?;
        let keys = secret::keys(&self.secret_file)?;
        let scheme =
            if self.frames { keys.first().clone() } else { secret::one(&self.secret_file, "--frames")? };
        let options = PublisherOptions {
            scheme,
            // Frames as they are ask for themselves.
            replies: !self.no_reply && (!self.frames || self.confirm),
            max_in_flight: usize::try_from(self.max_in_flight).unwrap_or(usize::MAX),
            retry: if self.no_retry { None } else { PublisherOptions::default().retry },
            timeout: self.timeout.0,
            patience: START_PATIENCE,
            identity: self.who.identity()?,
            tls: self.tls.load()?,
        };
        let mut source = if self.frames {
            Source::Frames(FrameFiles::open(self.inputs(), keys, self.confirm)?)
        } else {
            let shape = if self.whole { Shape::Whole } else { Shape::Lines };
            let (records, reader, stopper) = Records::open(self.inputs(), shape, PAYLOAD_MAX)
                .map_err(|wrong| Failure::usage(wrong.to_string()))?;
            Source::Records(Box::new(records), Some(reader), Some(stopper))
        };
        let (mut publisher, replies) = match self.replies() {
            Some(replies) => {
                let replies = Arc::new(Mutex::new(replies));
                let taking = replies.clone();
                let take = move |reply: Reply<'_>| taking.lock().take(reply);
                (Publisher::connect_and_take(&self.to, options, take)?, Some(replies))
            }
            None => (Publisher::connect(&self.to, options)?, None),
        };
        let stopper = Arc::new(Mutex::new(source.begin()?));

        // Where nothing more can be sent, nothing more is waited for.
        let (over, stops) = (publisher.interrupter(), stopper.clone());
        spawn("over", move || {
            over.wait_until_over();
            drop(stops.lock().take());
        })?;

        let interrupted = Arc::new(AtomicBool::new(false));
        let (interrupter, flag) = (publisher.interrupter(), interrupted.clone());
        let asks = !self.no_reply && (!self.frames || self.confirm);
        signals::on_signal(move || {
            log::warn!("{}", waiting(interrupter.in_flight(), asks));
            flag.store(true, Relaxed);
            drop(stopper.lock().take());
            interrupter.interrupt(GRACE);
        })?;

        let began = Instant::now();
        let screen = Screen::open();
        let progress = progress(screen.as_ref(), source.total());
        let stopped = match &mut source {
            Source::Records(records, ..) => self.publish(records, &mut publisher, &progress),
            Source::Frames(files) => files.publish(&mut publisher, &progress),
        };
        let report = publisher.finish();
        let seconds = began.elapsed().as_secs_f64();
        drop(screen);

        let failure = match (&report.error, stopped) {
            (Some(error), _) => Some(Failure::from(error.clone())),
            (None, Err(failure)) => Some(failure),
            (None, Ok(())) => None,
        };
        // Where the configuration was wrong from the start, there is nothing to report.
        let is_usage = failure.as_ref().is_some_and(|failure| failure.exit == Exit::Usage);
        if !is_usage || report.answers.total() > 0 {
            let text = if self.json {
                send_report::json(&report, seconds)
            } else {
                send_report::text(&report, seconds)
            };
            print(&text)?;
        }
        if let Some(wrong) = replies.and_then(|replies| replies.lock().wrong.take()) {
            return Err(Failure { exit: Exit::Partly, message: wrong });
        }
        match failure {
            _ if interrupted.load(Relaxed) => Ok(Exit::Signalled),
            Some(failure) => Err(failure),
            None if report.is_complete() => Ok(Exit::Done),
            None => Ok(Exit::Partly),
        }
    }

    /// Sends a capture under a layout.
    fn as_device(&self, layout: &str) -> Result<Exit, Failure> {
        let capture = match &self.files[..] {
            [] => None,
            [file] => Some(file.as_path()),
            _ => return Err(Failure::usage("--layout sends one capture, as one connection: give one FILE")),
        };
        let sending = LayoutSend {
            to: &self.to,
            layout,
            layouts: &self.layouts,
            capture,
            form: Form::given(self.hex, self.binary),
            scheme: secret::one(&self.secret_file, "--frames")?,
            security: client::Security { tls: self.tls.load()? },
            timeout: self.timeout.0,
            waits: !self.no_reply,
            prints: self.replies,
            json: self.json,
        };
        sending.run()
    }

    /// What takes each reply, if they are asked for.
    fn replies(&self) -> Option<Replies> {
        let names = if self.whole { self.files.clone() } else { Vec::new() };
        let folder = self.replies_to.clone();
        (self.replies || folder.is_some()).then(|| Replies::new(self.replies, self.json, folder, names))
    }

    fn inputs(&self) -> Vec<Input> {
        if self.files.is_empty() {
            return vec![Input::Stdin];
        }
        let input =
            |path: &PathBuf| if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path.clone()) };
        self.files.iter().map(input).collect()
    }

    fn publish(
        &self,
        records: &mut Records,
        publisher: &mut Publisher,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut count = 0u64;
        loop {
            while let Some(record) = records.at_hand().map_err(broken)? {
                publisher.send(&self.topic, self.key, record)?;
                count += 1;
                if count.is_multiple_of(PROGRESS_EVERY) {
                    progress.set_position(records.consumed());
                }
            }
            // Nothing is at hand: what was gathered need not wait for what comes.
            publisher.flush()?;
            progress.set_position(records.consumed());
            if !records.wait() {
                return Ok(());
            }
        }
    }
}

/// What is said at a first signal: what it still waits for, how long, and how to end that.
fn waiting(frames: usize, asks: bool) -> String {
    if frames == 0 {
        return "interrupted: nothing more is read; a second signal ends it at once".into();
    }
    let frames = many(frames as u64, "frame");
    let what =
        if asks { format!("the replies to {frames}") } else { format!("the gateway to take {frames}") };
    format!(
        "interrupted: nothing more is read; waiting for {what}, for {} at most; a second signal ends it at once",
        Time(GRACE)
    )
}

/// The frames before it are sent; so part of the work is done.
fn broken(error: RecordError) -> Failure {
    Failure { exit: Exit::Partly, message: error.to_string() }
}

/// A bar on a terminal: with an end where that is known, else a counter.
fn progress(screen: Option<&Screen>, total: Option<u64>) -> ProgressBar {
    let Some(screen) = screen else { return ProgressBar::hidden() };
    let (bar, style) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{wide_bar} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {decimal_bytes} sent  {decimal_bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(style).expect("the templates are well-formed");
    screen.bars().add(bar.with_style(style))
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        use client::Error;
        let exit = match &error {
            Error::Interrupted => Exit::Signalled,
            Error::TooLarge(_) => Exit::Partly,
            error if error.is_gone() => Exit::Gone,
            _ => Exit::Usage,
        };
        Failure { exit, message: error.to_string() }
    }
}
