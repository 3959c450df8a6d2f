//! Subscribing: frames in order, every digest checked again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::connect::{Security, connect_within};
use super::error::explain;
use super::replies::check_reply;
use super::silence::{ANSWER_ME, Silence, TIMEOUT};
use super::stream::Stream;
use super::{Error, Identity};
use crate::core::limits::PAYLOAD_MAX;
use crate::core::units::about;
use crate::wire::durable::Options;
use crate::wire::{Fault, Frame, Header, Kind, Rest, Rules, Scheme, Status, check_pattern, cut, encode};

/// 256 KiB: a read's worth. The buffer doubles while a frame needs more, as its bytes come.
const READ: usize = 256 * 1024;

const RULES: Rules = Rules { payload_max: PAYLOAD_MAX as u32, replies: true };

/// 1 ms: the system takes no wait of nothing.
const TICK: Duration = Duration::from_millis(1);

/// What comes from a gateway.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A frame, and its digest is right.
    Frame(Frame<'a>),
    /// A frame whose digest is wrong: nothing in it can be believed.
    Bad(Frame<'a>),
    /// The gateway has taken a pattern back that may not be subscribed to any more, and says which.
    Taken(&'a str),
    /// So many frames were lost to this subscriber here.
    Gap(u64),
    /// The sequence of the next frame; each further one counts on by one.
    Position(u64),
    /// Frames were removed from the store before they came here: how many, if that is known, from which sequence to which.
    Removed {
        /// How many.
        frames: Option<u64>,
        /// Which, as the gateway says it.
        which: &'a str,
    },
    /// The gateway closes the connection, and says why.
    Closed(Status, &'a str),
    /// The connection is at its end.
    End,
}

/// Where a durable subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The first sequence that may come.
    pub position: u64,
    /// The oldest that the gateway keeps.
    pub oldest: u64,
}

/// Holds patterns at a gateway and takes what they match.
///
/// ```no_run
/// use framegate::client::{Event, Subscriber};
/// use framegate::wire::Scheme;
///
/// let mut subscriber = Subscriber::connect("127.0.0.1:7450", &["sensors.>"], Scheme::Sha256)?;
/// while let Event::Frame(frame) = subscriber.next_event()? {
///     println!("{} bytes", frame.payload().len());
/// }
/// # Ok::<(), framegate::client::Error>(())
/// ```
///
/// `0 ≤ taken ≤ whole ≤ filled ≤ bytes.len()`: events were given up to `taken`, whole frames are there up
/// to `whole`, bytes came up to `filled`.
pub struct Subscriber {
    stream: Stream,
    to: String,
    scheme: Scheme,
    bytes: Vec<u8>,
    taken: usize,
    whole: usize,
    filled: usize,
    /// After the whole frames: no frame.
    fault: Option<Fault>,
    ended: bool,
    /// Whether the gateway has said anything.
    heard: bool,
    /// When it said something last.
    heard_at: Instant,
    silence: Silence,
    /// Of the next SUBSCRIBE or ACK; a PING has 0.
    next_id: u64,
    /// What the last OK said.
    said: String,
}

impl Subscriber {
    /// Connects and subscribes. When it returns, the gateway has confirmed every pattern.
    pub fn connect(to: &str, patterns: &[impl AsRef<str>], scheme: Scheme) -> Result<Subscriber, Error> {
        let mut subscriber = Subscriber::open(to, scheme, Duration::ZERO)?;
        subscriber.subscribe(patterns)?;
        Ok(subscriber)
    }

    /// Connects and holds no pattern yet. Where nobody listens, it tries again until `patience` is over: a gateway that
    /// was started a moment ago may not listen yet.
    pub fn open(to: &str, scheme: Scheme, patience: Duration) -> Result<Subscriber, Error> {
        Subscriber::begin(to, scheme, &Security::default(), patience)
    }

    /// The same through TLS.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Error::Tls`] where one side does not take the other's certificate.
    #[cfg(feature = "tls")]
    pub fn open_tls(
        to: &str,
        scheme: Scheme,
        tls: &super::Tls,
        patience: Duration,
    ) -> Result<Subscriber, Error> {
        Subscriber::begin(to, scheme, &Security { tls: Some(tls.clone()) }, patience)
    }

    fn begin(to: &str, scheme: Scheme, security: &Security, patience: Duration) -> Result<Subscriber, Error> {
        let stream = connect_within(to, security, patience).map_err(|why| Error::unreachable(to, &why))?;
        let mut subscriber = Subscriber {
            stream,
            to: to.to_string(),
            scheme,
            bytes: Vec::new(),
            taken: 0,
            whole: 0,
            filled: 0,
            fault: None,
            ended: false,
            heard: false,
            heard_at: Instant::now(),
            silence: Silence::new(None),
            next_id: 1,
            said: String::new(),
        };
        subscriber.set_timeout(Some(TIMEOUT))?;
        Ok(subscriber)
    }

    /// How long the gateway may say nothing, not even to a PING, until it is taken for gone, which is an
    /// [`Error::Gone`]; for ever if none. Unless it is set, 30 s. A gateway that is paused says nothing either.
    ///
    /// # Errors
    /// Where the system cannot wait for so long, or the connection is gone.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.silence = Silence::new(timeout);
        let set = self.stream.set_read_timeout(Some(self.silence.look_every()));
        let set = set.and_then(|()| self.stream.set_write_timeout(timeout.map(|time| time.max(TICK))));
        set.map_err(|why| self.gone(&explain(&why)))
    }

    /// Says whose connection it is: the name of an identity in the gateway's access file, and one of its tokens. It is the
    /// first thing that is said on a connection.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] where the gateway does not know them, and as for [`subscribe`](Self::subscribe).
    pub fn identity(&mut self, name: &str, token: &[u8]) -> Result<(), Error> {
        self.identify(&Identity::new(name, token)?)
    }

    /// The same of an identity that was made before.
    ///
    /// # Errors
    /// As for [`identity`](Self::identity).
    pub fn identify(&mut self, identity: &Identity) -> Result<(), Error> {
        let first = self.next_id;
        self.next_id += 1;
        let frame = identity.frame(first, &self.scheme);
        self.confirm(&frame, first, 1, |_, reason| Error::Identity(reason))
    }

    /// Holds further patterns; the gateway has confirmed them when it returns.
    pub fn subscribe(&mut self, patterns: &[impl AsRef<str>]) -> Result<(), Error> {
        self.subscribe_as(patterns, b"")
    }

    /// Asks for a durable subscription, or a replay of what is stored, with these patterns. It has begun when it returns:
    /// with which sequence.
    ///
    /// # Errors
    /// As for [`subscribe`](Self::subscribe).
    pub fn subscribe_durable(
        &mut self,
        patterns: &[impl AsRef<str>],
        options: &Options,
    ) -> Result<Begun, Error> {
        self.subscribe_as(patterns, options.lines().as_bytes())?;
        let number = |key| {
            let line = self.said.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse().ok()
        };
        match (number("position:"), number("oldest:")) {
            (Some(position), Some(oldest)) => Ok(Begun { position, oldest }),
            _ => Err(Error::Malformed(format!("an OK that does not say where it begins: '{}'", self.said))),
        }
    }

    /// Everything up to this sequence is done, and does not come again. Where it is `confirmed`, this waits until the
    /// gateway has that on its disk.
    ///
    /// # Errors
    /// Where the connection is gone, or the gateway refuses it.
    pub fn ack(&mut self, seq: u64, confirmed: bool) -> Result<(), Error> {
        let first = self.next_id;
        self.next_id += 1;
        let mut frame = Vec::new();
        let header = Header { key: seq, id: first, want_reply: confirmed, ..Header::new(Kind::Ack) };
        encode(header, b"", b"", &self.scheme, &mut frame);
        if confirmed {
            return self.confirm(&frame, first, 1, |_, reason| Error::Malformed(reason));
        }
        // If the connection is gone, the next read says why.
        match (&self.stream).write_all(&frame) {
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(self.gone(&self.silence.reason()))
            }
            _ => Ok(()),
        }
    }

    fn subscribe_as(&mut self, patterns: &[impl AsRef<str>], lines: &[u8]) -> Result<(), Error> {
        let first = self.next_id;
        let mut frames = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref().as_bytes();
            check_pattern(pattern).map_err(Error::Topic)?;
            if pattern.len() > usize::from(u8::MAX) {
                return Err(Error::TopicTooLong);
            }
            let header = Header { want_reply: true, id: self.next_id, ..Header::new(Kind::Subscribe) };
            encode(header, pattern, lines, &self.scheme, &mut frames);
            self.next_id += 1;
        }
        self.confirm(&frames, first, patterns.len(), |index, reason| {
            let pattern = patterns[index].as_ref().to_string();
            Error::Rejected { pattern, reason }
        })
    }

    /// Sends frames with ids from `first` on, and waits until the gateway has confirmed all of them.
    fn confirm(
        &mut self,
        frames: &[u8],
        first: u64,
        count: usize,
        refused: impl Fn(usize, String) -> Error,
    ) -> Result<(), Error> {
        // A failure is not the last word: that is what the gateway said before it closed.
        if let Err(why) = (&self.stream).write_all(frames)
            && matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        {
            return Err(self.gone(&self.silence.reason()));
        }
        let mut confirmed = 0;
        // How far from `taken`; what comes for the patterns that are confirmed first stays for later.
        let mut ahead = 0;
        let mut said = None;
        while confirmed < count {
            if self.taken + ahead == self.whole {
                if let Some(fault) = &self.fault {
                    return Err(Error::no_gateway(&self.to, fault));
                }
                if !self.read_more()? {
                    return Err(self.gone("it closed the connection without an answer: is it a gateway?"));
                }
                continue;
            }
            let frame = self.frame_at(self.taken + ahead);
            ahead += frame.bytes.len();
            if !matches!(frame.header.kind, Kind::Data | Kind::Reply) {
                return Err(Error::echo(&self.to, frame.header.kind));
            }
            if frame.header.kind == Kind::Reply && frame.header.status != Status::Gap as u16 {
                let status = check_reply(&frame, &self.scheme)?;
                let reason = || String::from_utf8_lossy(frame.payload()).into_owned();
                let index = frame.header.id.checked_sub(first).map(|index| index as usize);
                match (status, index.filter(|index| *index < count)) {
                    (Status::Malformed, _) => return Err(Error::Malformed(reason())),
                    (status, _) if status.closes() => {
                        return Err(self.gone(&format!("{status}: {}", reason())));
                    }
                    (Status::Ok, Some(_)) => {
                        confirmed += 1;
                        said = Some(reason());
                    }
                    (_, Some(index)) => return Err(refused(index, reason())),
                    (_, None) => {}
                }
            }
        }
        self.said = said.unwrap_or_default();
        Ok(())
    }

    /// The next event that is at hand, without waiting for more bytes.
    pub fn try_next(&mut self) -> Result<Option<Event<'_>>, Error> {
        Ok(self.step()?.map(|step| self.event(step)))
    }

    /// The next event, after waiting for it.
    pub fn next_event(&mut self) -> Result<Event<'_>, Error> {
        loop {
            if let Some(step) = self.step()? {
                return Ok(self.event(step));
            }
            self.wait()?;
        }
    }

    /// Waits for more bytes, which need not be a whole event.
    pub fn wait(&mut self) -> Result<(), Error> {
        self.read_more().map(|_| ())
    }

    /// A handle of the connection, to end it from another thread.
    pub fn stream(&self) -> io::Result<TcpStream> {
        self.stream.socket().try_clone()
    }

    pub(super) fn step(&mut self) -> Result<Option<Step>, Error> {
        while self.taken < self.whole {
            let at = self.taken;
            let frame = self.frame_at(at);
            let header = frame.header;
            let status = match header.kind {
                Kind::Data => None,
                Kind::Reply => Status::from_u16(header.status),
                // Not what a gateway sends.
                _ => Some(Status::Ok),
            };
            let step = match status {
                _ if !frame.is_intact(&self.scheme) => Some(Step::Bad(at)),
                None => Some(Step::Frame(at)),
                Some(Status::Gap) if header.payload_len > 0 => Some(Step::Removed(header.key, at)),
                Some(Status::Gap) => Some(Step::Gap(header.key)),
                Some(Status::Position) => Some(Step::Position(header.key)),
                // Not the answer to anything: what was asked here has an id.
                Some(Status::Rejected) if header.id == 0 => Some(Step::Taken(at)),
                Some(status) if status.closes() => Some(Step::Closed(status, at)),
                // The answer to a PING or to a pattern.
                Some(_) => None,
            };
            self.taken += header.frame_len();
            self.invariants();
            if step.is_some() {
                return Ok(step);
            }
        }
        match self.fault {
            Some(fault) => Err(Error::no_gateway(&self.to, &fault)),
            None => Ok(self.ended.then_some(Step::End)),
        }
    }

    pub(super) fn event(&self, step: Step) -> Event<'_> {
        match step {
            Step::Frame(at) => Event::Frame(self.frame_at(at)),
            Step::Bad(at) => Event::Bad(self.frame_at(at)),
            Step::Gap(frames) => Event::Gap(frames),
            Step::Position(seq) => Event::Position(seq),
            Step::Removed(frames, at) => Event::Removed {
                frames: Some(frames).filter(|frames| *frames < u64::MAX),
                which: std::str::from_utf8(self.frame_at(at).payload()).unwrap_or_default(),
            },
            Step::Taken(at) => {
                Event::Taken(std::str::from_utf8(self.frame_at(at).payload()).unwrap_or_default())
            }
            Step::Closed(status, at) => {
                Event::Closed(status, std::str::from_utf8(self.frame_at(at).payload()).unwrap_or_default())
            }
            Step::End => Event::End,
        }
    }

    fn frame_at(&self, at: usize) -> Frame<'_> {
        Frame::first_of(&self.bytes[at..])
    }

    /// Reads once, and cuts what came. Whether anything did, or the connection is at its end.
    fn read_more(&mut self) -> Result<bool, Error> {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.whole -= self.taken;
        self.taken = 0;
        let len = (2 * self.filled).max(READ);
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        loop {
            match (&self.stream).read(&mut self.bytes[self.filled..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(n) => {
                    self.heard = true;
                    self.heard_at = Instant::now();
                    self.filled += n;
                    break;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => self.look_after_silence()?,
                    _ => {
                        return Err(match Error::unreachable(&self.to, &error) {
                            error @ Error::Tls { .. } => error,
                            _ => self.gone(&explain(&error)),
                        });
                    }
                },
            }
        }
        if self.fault.is_none() {
            let cut = cut(&self.bytes[self.whole..self.filled], &RULES);
            self.whole += cut.whole;
            if let Rest::Fault(fault) = cut.rest {
                self.fault = Some(fault);
            }
        }
        self.invariants();
        Ok(true)
    }

    /// Nothing has come for a while.
    fn look_after_silence(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.silence.is_over(self.heard_at, now) {
            return Err(self.gone(&self.silence.reason()));
        }
        if now >= self.silence.ping_at(self.heard_at, self.heard) {
            self.ping();
            self.silence.ask(self.heard_at, now);
        }
        Ok(())
    }

    fn ping(&mut self) {
        // One that is paused says nothing either, so this is no error yet.
        if !self.heard && self.silence.is_asked() {
            log::warn!(
                "{} has said nothing for {}: is it a gateway, and is it paused?",
                self.to,
                about(self.silence.ping_every())
            );
        }
        let mut ping = Vec::new();
        let payload = if self.heard { b"" } else { ANSWER_ME };
        encode(Header::new(Kind::Ping), b"", payload, &self.scheme, &mut ping);
        // If the connection is gone, the next read says why.
        let _ = (&self.stream).write_all(&ping);
    }

    fn gone(&self, why: &str) -> Error {
        Error::Gone { to: self.to.clone(), why: why.to_string() }
    }

    fn invariants(&self) {
        debug_assert!(
            self.taken <= self.whole && self.whole <= self.filled && self.filled <= self.bytes.len()
        );
    }
}

/// An [`Event`], with the places of its bytes.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Frame(usize),
    Bad(usize),
    Gap(u64),
    Position(u64),
    Removed(u64, usize),
    Taken(usize),
    Closed(Status, usize),
    End,
}
