//! `framegate send --layout`: sends a capture as the device did, and compares what it is answered with what its layout
//! declares.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::layout::capture::{Capture, Form};
use super::layout::frames::{Found, Frames};
use super::{Exit, Failure, layouts, print, signals, spawn};
use crate::client::{Security, Stream, connect_within};
use crate::core::limits::{PAYLOAD_MAX, START_PATIENCE};
use crate::core::units::{about, bytes, grouped, hex, many, plain, seconds};
use crate::wire::Scheme;
use crate::wire::layout::{Explained, Kept, Layout, explain};

/// What is sent, and how.
pub struct LayoutSend<'a> {
    pub to: &'a str,
    pub layout: &'a str,
    pub layouts: &'a [PathBuf],
    /// One, or standard input.
    pub capture: Option<&'a Path>,
    /// How its bytes are written down; none where that is to be recognised.
    pub form: Option<Form>,
    pub scheme: Scheme,
    /// Whether it is under TLS.
    pub security: Security,
    /// How long an answer that is declared is waited for; none for ever.
    pub timeout: Option<Duration>,
    /// Whether answers are waited for.
    pub waits: bool,
    /// Whether a line is printed for each frame.
    pub prints: bool,
    pub json: bool,
}

/// What became of the frames.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Totals {
    frames: u64,
    bytes: u64,
    /// Answered with the reply that is declared.
    replied: u64,
    /// Answered with the refusal that is declared.
    refused: u64,
    /// Answered with other bytes than are declared, as a handler may do: whether the frame was accepted is not known.
    otherwise: u64,
    /// Answers to frames for which nothing is declared: a handler's, which the layout leaves them to.
    undeclared: u64,
    /// Nothing is declared that would be written back.
    silent: u64,
    /// The answer that is declared did not come.
    unanswered: u64,
    /// Answers were not waited for.
    unasked: u64,
    /// Nothing is declared that would be written back, and the gateway drops it: its check is wrong, or it is refused.
    dropped: u64,
    /// Bytes between frames, sent as they are.
    dirt: u64,
    /// Bytes at the end that are no frame, and were not sent.
    unsent: u64,
}

/// What a frame was answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Reply(Vec<u8>),
    Refusal(Vec<u8>),
    Other(Vec<u8>),
    Silence,
    Unasked,
}

/// Why no further frame is sent.
enum Stop {
    /// All of them are.
    End,
    /// The declared answer did not come in time.
    Unanswered,
    /// The connection is gone.
    Gone(String),
    /// The capture is none, from here on.
    Capture(Failure),
}

impl LayoutSend<'_> {
    /// Sends it.
    pub fn run(self) -> Result<Exit, Failure> {
        let layout = layouts::load(self.layouts, None)?.named(self.layout)?;
        if layout.needs_secret() && matches!(self.scheme, Scheme::Sha256) {
            let what = "is checked with the listener's secret: give it with --secret-file FILE";
            return Err(Failure::usage(format!("layout {} {what}", layout.name())));
        }
        let input: Box<dyn Read> = match self.capture.filter(|path| path.as_os_str() != "-") {
            None => Box::new(io::stdin().lock()),
            Some(path) => Box::new(File::open(path).map_err(|why| {
                Failure::usage(format!("{}: {why}: give a file that holds a capture", path.display()))
            })?),
        };
        let gone = |why: &io::Error| Failure {
            exit: Exit::Gone,
            message: format!("cannot connect to {}: {why}: give the address of a layout's listener", self.to),
        };
        let connected = connect_within(self.to, &self.security, START_PATIENCE);
        let stream = Arc::new(connected.map_err(|why| gone(&why))?);
        let interrupted = Arc::new(AtomicBool::new(false));
        let (flag, socket) = (interrupted.clone(), stream.clone());
        signals::on_signal(move || {
            flag.store(true, Relaxed);
            let _ = socket.shutdown(Shutdown::Both);
        })?;
        let began = Instant::now();
        let frames =
            Frames::new(layout.clone(), PAYLOAD_MAX, Capture::new(input, self.form).warning(), Vec::new());
        let mut session = Session::begin(&self, &layout, stream)?;
        let stop = session.send(frames);
        let stop = match stop {
            Stop::End | Stop::Capture(_) if session.end().is_err() => {
                Stop::Gone(format!("it did not close the connection within {}", self.patience()))
            }
            stop => stop,
        };
        let totals = session.totals;
        if totals.frames > 0 || totals.dirt > 0 {
            let took = began.elapsed().as_secs_f64();
            let text = if self.json { totals.json(took) } else { totals.text(took) };
            print(&text)?;
        }
        match stop {
            _ if interrupted.load(Relaxed) => Ok(Exit::Signalled),
            Stop::End if totals.are_right() => Ok(Exit::Done),
            Stop::End => Ok(Exit::Partly),
            Stop::Capture(failure) => Err(failure),
            Stop::Unanswered => Err(Failure {
                exit: Exit::Partly,
                message: format!(
                    "frame {} was not answered within {}: nothing more is sent, as a device would do; \
                     --timeout sets how long is waited, --no-reply waits for nothing",
                    totals.frames,
                    self.patience()
                ),
            }),
            Stop::Gone(why) => Err(Failure {
                exit: Exit::Gone,
                message: format!(
                    "{} behind {}: {why}: its log says why",
                    plain(self.to),
                    many(totals.frames, "frame")
                ),
            }),
        }
    }

    fn patience(&self) -> String {
        self.timeout.map_or("any time".into(), about)
    }
}

/// A connection as the device has it.
struct Session<'a> {
    of: &'a LayoutSend<'a>,
    layout: &'a Layout,
    stream: Arc<Stream>,
    answers: Receiver<Vec<u8>>,
    /// What came and is no answer yet.
    came: Vec<u8>,
    kept: Kept,
    totals: Totals,
    /// Whether an answer to the frame before is declared.
    was_declared: bool,
}

impl<'a> Session<'a> {
    fn begin(
        of: &'a LayoutSend<'_>,
        layout: &'a Layout,
        stream: Arc<Stream>,
    ) -> Result<Session<'a>, Failure> {
        let reading = stream.clone();
        let (to, answers) = mpsc::channel();
        let waits = of.waits;
        // It reads on while something is written: a gateway whose answers are not read reads no more.
        spawn("answers", move || {
            let mut block = vec![0; 64 << 10];
            loop {
                match (&*reading).read(&mut block) {
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => return,
                    // Of what nobody waits for, nothing is kept.
                    Ok(_) if !waits => {}
                    Ok(len) => {
                        if to.send(block[..len].to_vec()).is_err() {
                            return;
                        }
                    }
                }
            }
        })?;
        let (came, kept, totals) = (Vec::new(), Kept::default(), Totals::default());
        Ok(Session { of, layout, stream, answers, came, kept, totals, was_declared: false })
    }

    fn send<R: Read>(&mut self, mut frames: Frames<R>) -> Stop {
        loop {
            match frames.next() {
                Found::Frame { at, shape, bytes, .. } => {
                    let at = usize::try_from(at).unwrap_or(usize::MAX - bytes.len());
                    let shown = explain(self.layout, shape, bytes, at, &self.kept, &self.of.scheme);
                    if let Err(stop) = self.frame(&shown, bytes) {
                        return stop;
                    }
                }
                // A device's dirt is sent, too: the gateway is to find its way through it.
                Found::Skipped { bytes, .. } => {
                    self.totals.dirt += bytes.len() as u64;
                    if let Err(why) = (&*self.stream).write_all(bytes) {
                        return Stop::Gone(why.to_string());
                    }
                }
                Found::Malformed { at, why, bytes } => {
                    if !self.layout.scans() {
                        self.totals.unsent += bytes.len() as u64;
                        return Stop::Capture(Failure {
                            exit: Exit::Partly,
                            message: format!(
                                "byte {at} of the capture: {}: nothing is sent from here on; framegate layout \
                                 check shows more",
                                why.say(self.layout)
                            ),
                        });
                    }
                }
                Found::Within { bytes, .. } => self.totals.unsent += bytes.len() as u64,
                Found::Waits => {}
                Found::End => return Stop::End,
                Found::Broken(failure) => return Stop::Capture(failure),
            }
        }
    }

    /// Sends a frame, and waits for its answer where one is declared.
    fn frame(&mut self, shown: &Explained, bytes: &[u8]) -> Result<(), Stop> {
        self.came.extend(self.answers.try_iter().flatten());
        self.take_more()?;
        (&*self.stream).write_all(bytes).map_err(|why| Stop::Gone(why.to_string()))?;
        self.totals.frames += 1;
        self.totals.bytes += bytes.len() as u64;
        if shown.is_taken() {
            self.kept = shown.kept.clone();
        }
        let answer = self.answer(shown)?;
        let count = match &answer {
            Answer::Reply(_) => &mut self.totals.replied,
            Answer::Refusal(_) => &mut self.totals.refused,
            Answer::Other(_) => &mut self.totals.otherwise,
            Answer::Silence | Answer::Unasked if !shown.is_taken() => &mut self.totals.dropped,
            Answer::Silence => &mut self.totals.silent,
            Answer::Unasked => &mut self.totals.unasked,
        };
        *count += 1;
        self.say(Some(shown), &answer)
    }

    /// What came and is not declared belongs to the frame before.
    fn take_more(&mut self) -> Result<(), Stop> {
        if self.came.is_empty() {
            return Ok(());
        }
        let other = std::mem::take(&mut self.came);
        match self.was_declared {
            true => self.totals.otherwise += 1,
            false => self.totals.undeclared += 1,
        }
        self.say(None, &Answer::Other(other))
    }

    fn answer(&mut self, shown: &Explained) -> Result<Answer, Stop> {
        let declared = |answer: &Option<Result<Vec<u8>, String>>| answer.clone().and_then(Result::ok);
        let (reply, refusal) = (declared(&shown.reply), declared(&shown.refuse));
        let is_declared = if shown.is_taken() { reply.is_some() } else { refusal.is_some() };
        self.was_declared = is_declared;
        if !self.of.waits {
            return Ok(Answer::Unasked);
        }
        if !is_declared {
            return Ok(Answer::Silence);
        }
        let until = self.of.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let mut may_be = false;
            let replies = reply.iter().map(|bytes| (bytes, true));
            // What is expected first, where they are the same.
            let refusals = refusal.iter().map(|bytes| (bytes, false));
            let (first, second): (Vec<_>, Vec<_>) =
                replies.chain(refusals).partition(|of| of.1 == shown.is_taken());
            for (bytes, is_reply) in first.into_iter().chain(second) {
                if self.came.starts_with(bytes) {
                    let answer: Vec<u8> = self.came.drain(..bytes.len()).collect();
                    return Ok(if is_reply { Answer::Reply(answer) } else { Answer::Refusal(answer) });
                }
                may_be |= bytes.starts_with(&self.came);
            }
            if !may_be {
                return Ok(Answer::Other(std::mem::take(&mut self.came)));
            }
            match receive(&self.answers, until) {
                Ok(bytes) => self.came.extend(bytes),
                Err(RecvTimeoutError::Timeout) => {
                    self.totals.unanswered += 1;
                    return Err(Stop::Unanswered);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.totals.unanswered += 1;
                    return Err(Stop::Gone("the gateway closed the connection".into()));
                }
            }
        }
    }

    /// Prints a line of a frame and its answer, where that was asked for.
    fn say(&self, shown: Option<&Explained>, answer: &Answer) -> Result<(), Stop> {
        if !self.of.prints {
            return Ok(());
        }
        let (what, bytes) = match answer {
            Answer::Reply(bytes) => ("reply", &bytes[..]),
            Answer::Refusal(bytes) => ("refusal", &bytes[..]),
            Answer::Other(bytes) => ("other", &bytes[..]),
            Answer::Silence => ("none", &[][..]),
            Answer::Unasked => ("unasked", &[][..]),
        };
        let frame = shown.map(|shown| [shown.at.start, shown.at.end]);
        let line = if self.of.json {
            serde_json::json!({ "frame": frame, "answer": what, "bytes": hex(bytes) }).to_string()
        } else {
            let frame = frame.map_or("-".into(), |[from, to]| format!("{from}..{to}"));
            format!("{frame}  {what} {}", hex(bytes)).trim_end().to_string()
        };
        print(&line).map_err(Stop::Capture)
    }

    /// Sends no more, and waits until the gateway has done all of it.
    fn end(&mut self) -> Result<(), ()> {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return Err(());
        }
        let until = self.of.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            match receive(&self.answers, until) {
                Ok(bytes) => self.came.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(()),
            }
        }
        let _ = self.take_more();
        Ok(())
    }
}

fn receive(answers: &Receiver<Vec<u8>>, until: Option<Instant>) -> Result<Vec<u8>, RecvTimeoutError> {
    match until {
        Some(until) => answers.recv_timeout(until.saturating_duration_since(Instant::now())),
        None => answers.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

impl Totals {
    /// Whether nothing was refused, lost or left out. What is answered otherwise than an acceptance is was not accepted, as
    /// far as the declaration tells.
    fn are_right(&self) -> bool {
        self.refused + self.otherwise + self.dropped + self.unanswered + self.unsent == 0
    }

    fn text(&self, took: f64) -> String {
        let mut line =
            format!("sent {}, {} in {}", many(self.frames, "frame"), bytes(self.bytes), seconds(took));
        let parts: Vec<String> = [
            (self.replied, "answered as declared"),
            (self.refused, "refused"),
            (self.otherwise, "answered otherwise"),
            (self.silent, "without a declared answer"),
            (self.undeclared, "answered all the same"),
            (self.unasked, "of which no answer was waited for"),
            (self.dropped, "that a gateway drops (layout check says why)"),
            (self.unanswered, "unanswered"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count)))
        .collect();
        if !parts.is_empty() {
            line += &format!(": {}", parts.join(", "));
        }
        if self.dirt > 0 {
            line += &format!("; {} between frames, sent as they are", many(self.dirt, "byte"));
        }
        if self.unsent > 0 {
            line += &format!("; {} at the end are no frame and were not sent", many(self.unsent, "byte"));
        }
        line
    }

    fn json(&self, took: f64) -> String {
        let mut value = serde_json::to_value(self).expect("numbers are JSON");
        value["seconds"] = took.into();
        value.to_string()
    }
}
