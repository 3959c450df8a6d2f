//! A subscriber that goes on where it was, whatever happened to it or the gateway meanwhile.

use std::time::{Duration, Instant};

use super::subscriber::{Begun, Step, Subscriber};
use super::{Backoff, Error, Event, Identity, RETRY, TIMEOUT};
use crate::core::units::about;
use crate::wire::durable::{Options, Start};
use crate::wire::{Frame, Scheme, Status};

/// 50 ms to 5 s between attempts to connect again.
const AGAIN_FIRST: Duration = Duration::from_millis(50);
/// See [`AGAIN_FIRST`].
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// What a durable subscriber asks for.
#[derive(Clone, Debug)]
pub struct DurableOptions {
    /// The name under which the gateway keeps the position; without one it is a replay, whose position is kept here.
    pub name: Option<String>,
    /// What it subscribes to.
    pub patterns: Vec<String>,
    /// Where to begin, where the name has no position yet.
    pub from: Start,
    /// Begins there though it has one; the first time, not when it connects again.
    pub reset: bool,
    /// Frames that may be under way and not acknowledged.
    pub window: Option<u32>,
    /// After how long without use the gateway forgets the name.
    pub expire: Option<Duration>,
    /// How digests are made.
    pub scheme: Scheme,
    /// Who it is, where the gateway asks for that.
    pub identity: Option<Identity>,
    /// How long the gateway may say nothing until it is taken for gone.
    pub timeout: Option<Duration>,
    /// How long it tries to connect again; not at all if none.
    pub retry: Option<Duration>,
}

impl DurableOptions {
    /// Keeps its position under a name, and begins with what is stored next.
    pub fn new(name: &str, patterns: &[impl AsRef<str>]) -> DurableOptions {
        DurableOptions {
            name: Some(name.into()),
            patterns: patterns.iter().map(|pattern| pattern.as_ref().to_string()).collect(),
            from: Start::New,
            reset: false,
            window: None,
            expire: None,
            scheme: Scheme::Sha256,
            identity: None,
            timeout: Some(TIMEOUT),
            retry: Some(RETRY),
        }
    }

    /// Replays what is stored from a place on, and goes on live.
    pub fn replay(from: Start, patterns: &[impl AsRef<str>]) -> DurableOptions {
        DurableOptions { name: None, from, ..DurableOptions::new("", patterns) }
    }

    fn lines(&self, from: Start, reset: bool) -> Options {
        let of_name = self.name.is_some();
        Options {
            name: self.name.as_deref().map(Into::into),
            from: Some(from),
            reset: reset && of_name,
            window: self.window.filter(|_| of_name),
            expire: self.expire.filter(|_| of_name),
        }
    }
}

/// What comes to a durable subscriber.
#[derive(Clone, Copy, Debug)]
pub enum Delivery<'a> {
    /// A frame and its sequence; its digest is right.
    Frame(u64, Frame<'a>),
    /// A frame whose digest is wrong, and its sequence: nothing in it can be believed.
    Bad(u64, Frame<'a>),
    /// Frames were removed from the store before they came here.
    Removed {
        /// How many, if that is known.
        frames: Option<u64>,
        /// Which, as the gateway says it.
        which: &'a str,
    },
    /// The connection was lost and is there again: what was not acknowledged comes once more.
    Again,
}

/// A subscription that survives its own end and the gateway's.
///
/// ```no_run
/// use framegate::client::{Delivery, DurableOptions, DurableSubscriber};
///
/// let options = DurableOptions::new("billing", &["orders.>"]);
/// let mut subscriber = DurableSubscriber::connect("127.0.0.1:7450", options)?;
/// loop {
///     if let Delivery::Frame(seq, frame) = subscriber.next_delivery()? {
///         println!("{seq}: {} bytes", frame.payload().len());
///         subscriber.ack(seq);
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), framegate::client::Error>(())
/// ```
///
/// Acknowledgements are sent together, before it waits for more or when half of the window is used up.
pub struct DurableSubscriber {
    to: String,
    options: DurableOptions,
    subscriber: Subscriber,
    begun: Begun,
    /// The sequence of the next frame.
    next: u64,
    /// What was acknowledged, and what of that the gateway was told.
    acked: u64,
    told: u64,
    /// Frames that came since it was told.
    untold: u32,
}

impl DurableSubscriber {
    /// Connects and begins.
    ///
    /// # Errors
    /// Where there is no gateway, or it refuses what is asked for.
    pub fn connect(to: &str, options: DurableOptions) -> Result<DurableSubscriber, Error> {
        let (subscriber, begun) = open(to, &options, options.from, options.reset)?;
        let (to, next) = (to.to_string(), begun.position);
        Ok(DurableSubscriber { to, options, subscriber, begun, next, acked: 0, told: 0, untold: 0 })
    }

    /// Where it has begun, on the connection that it has now.
    pub fn begun(&self) -> Begun {
        self.begun
    }

    /// What comes next, after waiting for it.
    ///
    /// # Errors
    /// [`Error::Taken`] where another connection took the name, and what makes it pointless to connect again.
    pub fn next_delivery(&mut self) -> Result<Delivery<'_>, Error> {
        loop {
            let step = match self.subscriber.step() {
                Ok(step) => step,
                Err(error) => return self.again(error),
            };
            let Some(step) = step else {
                let waited = self.flush().and_then(|()| self.subscriber.wait());
                match waited {
                    Ok(()) => continue,
                    Err(error) => return self.again(error),
                }
            };
            match step {
                Step::Position(seq) => self.next = seq,
                Step::Frame(_) | Step::Bad(_) => {
                    let seq = self.next;
                    self.next += 1;
                    self.untold += 1;
                    return Ok(match self.subscriber.event(step) {
                        Event::Frame(frame) => Delivery::Frame(seq, frame),
                        Event::Bad(frame) => Delivery::Bad(seq, frame),
                        _ => unreachable!("a step is of its event"),
                    });
                }
                Step::Removed(..) => {
                    let Event::Removed { frames, which } = self.subscriber.event(step) else {
                        unreachable!("a step is of its event")
                    };
                    return Ok(Delivery::Removed { frames, which });
                }
                Step::Closed(Status::Taken, _) => {
                    return Err(Error::Taken(self.options.name.clone().unwrap_or_default()));
                }
                Step::Closed(Status::Unauthorized, _) => {
                    let Event::Closed(_, reason) = self.subscriber.event(step) else {
                        unreachable!("a step is of its event")
                    };
                    let (keyed, reason) = (self.options.scheme.is_keyed(), reason.to_string());
                    return Err(Error::Unauthorized { keyed, reason });
                }
                Step::Closed(Status::Malformed, _) => {
                    let Event::Closed(_, reason) = self.subscriber.event(step) else {
                        unreachable!("a step is of its event")
                    };
                    return Err(Error::Malformed(reason.to_string()));
                }
                Step::Closed(status, _) => {
                    let why = format!("it closed the connection ({status})");
                    return self.again(Error::Gone { to: self.to.clone(), why });
                }
                Step::End => {
                    let why = "it closed the connection without a reason".to_string();
                    return self.again(Error::Gone { to: self.to.clone(), why });
                }
                Step::Gap(_) | Step::Taken(_) => {}
            }
        }
    }

    /// Everything up to this sequence is done. The gateway is told soon, and keeps it within a second from then on.
    pub fn ack(&mut self, seq: u64) {
        self.acked = self.acked.max(seq.min(self.next.saturating_sub(1)));
        let window = self.options.window.unwrap_or(crate::core::limits::DURABLE_WINDOW);
        if self.untold > window / 2 {
            // Where the connection is gone, the next read says so.
            let _ = self.flush();
        }
    }

    /// Tells the gateway what is done.
    ///
    /// # Errors
    /// Where it takes nothing any more.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.options.name.is_some() && self.acked > self.told {
            self.subscriber.ack(self.acked, false)?;
            (self.told, self.untold) = (self.acked, 0);
        }
        Ok(())
    }

    /// Tells the gateway what is done, and waits until it has that on its disk.
    ///
    /// # Errors
    /// Where the connection is gone: then what is not kept comes again.
    pub fn flush_confirmed(&mut self) -> Result<(), Error> {
        if self.options.name.is_some() && self.acked > 0 {
            self.subscriber.ack(self.acked, true)?;
            (self.told, self.untold) = (self.acked, 0);
        }
        Ok(())
    }

    /// Connects again, as long as that is worth trying.
    fn again(&mut self, why: Error) -> Result<Delivery<'_>, Error> {
        let Some(retry) = self.options.retry.filter(|_| why.is_gone()) else { return Err(why) };
        if matches!(why, Error::Malformed(_) | Error::NoGateway { .. }) {
            return Err(why);
        }
        log::warn!("{why}; connecting again, for {} at most", about(retry));
        let (since, mut pauses, mut last) = (Instant::now(), Backoff::new(AGAIN_FIRST, AGAIN_MAX), why);
        loop {
            let pause = pauses.pause();
            if since.elapsed() + pause > retry {
                let tried = since.elapsed().max(Duration::from_millis(1));
                return Err(Error::Unreachable { to: self.to.clone(), why: last.to_string(), tried });
            }
            std::thread::sleep(pause);
            // A replay has its position here.
            let from = if self.options.name.is_some() { self.options.from } else { Start::Seq(self.next) };
            match open(&self.to, &self.options, from, false) {
                Ok((subscriber, begun)) => {
                    (self.subscriber, self.begun, self.next) = (subscriber, begun, begun.position);
                    (self.acked, self.told, self.untold) = (0, 0, 0);
                    return Ok(Delivery::Again);
                }
                Err(error) if error.is_gone() && !matches!(error, Error::NoGateway { .. }) => last = error,
                Err(error) => return Err(error),
            }
        }
    }
}

fn open(to: &str, options: &DurableOptions, from: Start, reset: bool) -> Result<(Subscriber, Begun), Error> {
    let mut subscriber = Subscriber::open(to, options.scheme.clone(), Duration::ZERO)?;
    subscriber.set_timeout(options.timeout)?;
    if let Some(identity) = &options.identity {
        subscriber.identify(identity)?;
    }
    let begun = subscriber.subscribe_durable(&options.patterns, &options.lines(from, reset))?;
    Ok((subscriber, begun))
}
