//! `framegate tail` of a gateway: prints what comes, and connects again when the gateway goes away.

use std::io::{self, BufWriter, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::frame_line::FramePrinter;
use super::ready_file::ReadyFile;
use super::stdout_reader::when_reader_gone;
use super::tail::{OUTPUT, Tail, cannot_print};
use super::{Exit, Failure, complain, signals};
use crate::client::{Backoff, Error, Event, Identity, RETRY, Subscriber, Tls};
use crate::core::limits::START_PATIENCE;
use crate::core::units::{about, many, plain};
use crate::wire::durable::{Options, Start};
use crate::wire::{Scheme, Status};

/// 100 ms to 5 s between attempts to connect again.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
/// See [`AGAIN_FIRST`].
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Why printing ends, where it is not a failure.
pub enum Stop {
    /// As many as were asked for.
    Counted,
    /// Standard output has no reader any more.
    Unread,
    /// The gateway has gone; what is known of why.
    Gone(String),
}

/// What ends a tail from another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Signal,
    Unread,
}

/// Why it is to end, if it is, and the connection that it may be waiting for.
#[derive(Default)]
struct Ending {
    state: Mutex<(Option<Cause>, Option<TcpStream>)>,
    changed: Condvar,
}

impl Ending {
    /// Ends it, unless something else has.
    fn end(&self, cause: Cause) {
        let (why, stream) = &mut *self.state.lock();
        why.get_or_insert(cause);
        if let Some(stream) = stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    fn cause(&self) -> Option<Cause> {
        self.state.lock().0
    }

    /// This connection is what it waits for from now on.
    fn hold(&self, subscriber: &Subscriber) {
        let (why, stream) = &mut *self.state.lock();
        *stream = subscriber.stream().ok();
        // It may have been told to end just before.
        if let (Some(_), Some(stream)) = (why, stream) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends the connection that it waited for: a gateway that drains waits for that.
    fn let_go(&self) {
        if let Some(stream) = self.state.lock().1.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits so long, or until it is to end.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while state.0.is_none() && !self.changed.wait_until(&mut state, until).timed_out() {}
    }
}

/// Where a durable subscription or a replay is.
#[derive(Default)]
struct Place {
    /// The sequence of the next frame; 0 where it has not begun.
    next: u64,
    /// The last that was printed and not acknowledged, and how many.
    printed: u64,
    unacked: u32,
}

/// What a tail holds over all its connections.
struct Live<'a, W> {
    from: &'a str,
    patterns: &'a [String],
    scheme: Scheme,
    timeout: Option<Duration>,
    identity: Option<Identity>,
    tls: Option<Tls>,
    ready: Option<ReadyFile>,
    durable: Option<Options>,
    place: Place,
    printer: FramePrinter,
    out: W,
    left: u64,
    bad: u64,
}

impl Tail {
    /// Prints what a gateway delivers, until told otherwise.
    pub(super) fn print_live(&self, scheme: Scheme) -> Result<Exit, Failure> {
        let everything = [">".to_string()];
        let patterns = if self.patterns.is_empty() { &everything[..] } else { &self.patterns };
        let mut live = Live {
            from: &self.from,
            patterns,
            scheme,
            timeout: self.timeout.0,
            identity: self.who.identity()?,
            tls: self.tls.load()?,
            ready: self.ready_file.as_deref().map(ReadyFile::new).transpose()?,
            durable: self.durable(),
            place: Place::default(),
            printer: self.printer(),
            out: BufWriter::with_capacity(OUTPUT, io::stdout().lock()),
            left: self.count.unwrap_or(u64::MAX),
            bad: 0,
        };
        let mut subscriber = live.open(START_PATIENCE)?;
        let ending = Arc::new(Ending::default());
        ending.hold(&subscriber);
        let (by_signal, by_reader) = (ending.clone(), ending.clone());
        signals::on_signal(move || by_signal.end(Cause::Signal))?;
        when_reader_gone(move || by_reader.end(Cause::Unread))?;

        let mut subscribed = live.subscribe(&mut subscriber).map_err(Failure::from);
        let stop = loop {
            let stop = subscribed.and_then(|()| live.print_all(&mut subscriber));
            if let Some(ready) = &mut live.ready {
                ready.remove();
            }
            let gone = match stop {
                Ok(Stop::Gone(why)) if ending.cause().is_none() => why,
                stop => break stop,
            };
            if self.no_retry {
                break Err(Failure { exit: Exit::Gone, message: gone });
            }
            ending.let_go();
            match live.connect_again(&gone, &ending) {
                Ok(Some(again)) => (subscriber, subscribed) = (again, Ok(())),
                Ok(None) => break Ok(Stop::Gone(gone)),
                Err(error) => break Err(error.into()),
            }
        };
        if live.bad > 0 {
            let were = if live.bad == 1 { "had a wrong digest and is" } else { "had a wrong digest and are" };
            complain(&format_args!("{} {were} not printed", many(live.bad, "frame")));
        }
        let exit = if live.bad > 0 { Exit::Partly } else { Exit::Done };
        match (ending.cause(), stop) {
            // It was ended from outside, whatever that has broken.
            (Some(Cause::Signal), _) => Ok(Exit::Signalled),
            (Some(Cause::Unread), _) | (None, Ok(_)) => Ok(exit),
            (None, Err(failure)) => Err(failure),
        }
    }
}

impl<W: Write> Live<'_, W> {
    /// Connects, and holds no pattern yet.
    fn open(&self, patience: Duration) -> Result<Subscriber, Error> {
        let mut subscriber = match &self.tls {
            None => Subscriber::open(self.from, self.scheme.clone(), patience)?,
            Some(tls) => Subscriber::open_tls(self.from, self.scheme.clone(), tls, patience)?,
        };
        subscriber.set_timeout(self.timeout)?;
        Ok(subscriber)
    }

    /// Subscribes, and says so in the log.
    fn subscribe(&mut self, subscriber: &mut Subscriber) -> Result<(), Error> {
        if let Some(identity) = &self.identity {
            subscriber.identify(identity)?;
        }
        match &mut self.durable {
            None => subscriber.subscribe(self.patterns)?,
            Some(options) => {
                if options.name.is_none() && self.place.next > 0 {
                    // A replay keeps its place here.
                    options.from = Some(Start::Seq(self.place.next));
                }
                let begun = subscriber.subscribe_durable(self.patterns, options)?;
                log::debug!("begins with {}; the oldest that is kept is {}", begun.position, begun.oldest);
                self.place = Place { next: begun.position, ..Place::default() };
            }
        }
        log::debug!("subscribed to {}", self.patterns.join(" "));
        Ok(())
    }

    /// Connects and subscribes again; none if it is to end.
    fn connect_again(&mut self, gone: &str, ending: &Ending) -> Result<Option<Subscriber>, Error> {
        log::warn!("{gone}; connecting again, for {} at most", about(RETRY));
        let since = Instant::now();
        let mut pauses = Backoff::new(AGAIN_FIRST, AGAIN_MAX);
        let mut last = gone.to_string();
        loop {
            let pause = pauses.pause();
            if since.elapsed() + pause > RETRY {
                let (to, tried) = (self.from.to_string(), since.elapsed());
                return Err(Error::Unreachable { to, why: last, tried });
            }
            ending.pause(pause);
            if ending.cause().is_some() {
                return Ok(None);
            }
            let again = self.open(Duration::ZERO);
            let again = again.and_then(|mut subscriber| {
                ending.hold(&subscriber);
                self.subscribe(&mut subscriber).map(|()| subscriber)
            });
            match again {
                Ok(subscriber) => {
                    if self.durable.is_some() {
                        log::warn!("subscribed again after {}: nothing is missing", about(since.elapsed()));
                        return Ok(Some(subscriber));
                    }
                    log::warn!(
                        "subscribed again after {}: what was published meanwhile is missing here",
                        about(since.elapsed())
                    );
                    // Nobody reads it: that shows with the next frame.
                    let _ = self.printer.gap(None, &mut self.out);
                    return Ok(Some(subscriber));
                }
                Err(_) if ending.cause().is_some() => return Ok(None),
                // Who answers like that will not become a gateway.
                Err(error @ Error::NoGateway { .. }) => return Err(error),
                Err(error) if error.is_gone() => last = error.to_string(),
                Err(error) => return Err(error),
            }
            log::debug!("{last}");
        }
    }

    /// Prints what comes over one connection, and what is held back with it.
    fn print_all(&mut self, subscriber: &mut Subscriber) -> Result<Stop, Failure> {
        if let Some(ready) = &mut self.ready {
            ready.write()?;
        }
        let stop = self.print(subscriber)?;
        match self.out.flush() {
            Ok(()) => {
                self.acknowledge(subscriber, matches!(stop, Stop::Counted))?;
                Ok(stop)
            }
            Err(error) => cannot_print(error),
        }
    }

    /// What was printed is flushed: the gateway hears that it is done, and where it is the last, has it on its disk.
    fn acknowledge(&mut self, subscriber: &mut Subscriber, is_last: bool) -> Result<(), Failure> {
        let is_named = self.durable.as_ref().is_some_and(|options| options.name.is_some());
        if !is_named || self.place.unacked == 0 {
            return Ok(());
        }
        self.place.unacked = 0;
        match subscriber.ack(self.place.printed, is_last) {
            // It comes once more, which is what is promised.
            Err(Error::Gone { .. }) if !is_last => Ok(()),
            acked => acked.map_err(Failure::from),
        }
    }

    /// A frame of a durable subscription is printed.
    fn count_on(&mut self) {
        self.place.printed = self.place.next;
        self.place.next += 1;
        self.place.unacked += 1;
    }

    /// Frames after which what was printed is flushed and acknowledged, though more are at hand.
    fn ack_every(&self) -> u32 {
        let window = self.durable.as_ref().and_then(Options::window).unwrap_or(u32::MAX);
        (window / 2).max(1)
    }

    fn print(&mut self, subscriber: &mut Subscriber) -> Result<Stop, Failure> {
        loop {
            loop {
                let event = match subscriber.try_next() {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(Error::Gone { to, why }) => return Ok(Stop::Gone(lost(&to, &why))),
                    Err(error) => return Err(error.into()),
                };
                let printed = match event {
                    Event::Frame(frame) => {
                        self.left -= 1;
                        let printed = self.printer.frame(&frame, &mut self.out);
                        self.count_on();
                        printed
                    }
                    Event::Gap(frames) => {
                        let were = if frames == 1 { "was" } else { "were" };
                        complain(&format_args!(
                            "{} {were} lost here (GAP): read faster, or raise the gateway's --outbox",
                            many(frames, "frame")
                        ));
                        self.printer.gap(Some(frames), &mut self.out)
                    }
                    Event::Taken(reason) => {
                        complain(&format_args!("{}: {}", self.from, plain(reason)));
                        Ok(())
                    }
                    Event::Position(seq) => {
                        self.place.next = seq;
                        Ok(())
                    }
                    Event::Removed { frames, which } => {
                        let how_many = frames.map_or("frames".to_string(), |frames| many(frames, "frame"));
                        complain(&format_args!(
                            "{how_many} {} (GAP): they were removed from the store before they were read: read sooner, or raise the gateway's --store-keep or --store-hold",
                            plain(which)
                        ));
                        self.printer.gap(frames, &mut self.out)
                    }
                    Event::Bad(frame) => {
                        self.bad += 1;
                        self.count_on();
                        // Not even its topic can be believed.
                        log::debug!("a frame of {} bytes has a wrong digest", frame.bytes.len());
                        Ok(())
                    }
                    Event::Closed(Status::Taken, _) => {
                        let name = self.durable.as_ref().and_then(|options| options.name.as_deref());
                        return Err(Error::Taken(name.unwrap_or_default().into()).into());
                    }
                    Event::Closed(status, reason) => {
                        return Ok(Stop::Gone(closed_with(self.from, status, reason)));
                    }
                    Event::End => {
                        return Ok(Stop::Gone(lost(self.from, "it closed the connection without a reason")));
                    }
                };
                if let Err(error) = printed {
                    return cannot_print(error);
                }
                if self.left == 0 {
                    return Ok(Stop::Counted);
                }
                if self.place.unacked >= self.ack_every() {
                    if let Err(error) = self.out.flush() {
                        return cannot_print(error);
                    }
                    self.acknowledge(subscriber, false)?;
                }
            }
            // Nothing is at hand: a reader sees what there is.
            if let Err(error) = self.out.flush() {
                return cannot_print(error);
            }
            self.acknowledge(subscriber, false)?;
            match subscriber.wait() {
                Err(Error::Gone { to, why }) => return Ok(Stop::Gone(lost(&to, &why))),
                waited => waited?,
            }
        }
    }
}

/// A gateway that went away without saying why, as one that is killed does, or a connection that broke.
fn lost(to: &str, why: &str) -> String {
    format!("the gateway at {to} went away: {why}")
}

/// What the gateway said before it closed the connection.
fn closed_with(to: &str, status: Status, reason: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(" {}", plain(reason)) };
    match status {
        Status::Closing => format!("the gateway at {to} drains and ends ({status})"),
        Status::Slow => format!(
            "the gateway at {to} closed the connection: {status}{reason}: read faster, raise its --outbox, or set its \
             --slow to pause or drop"
        ),
        _ => format!("the gateway at {to} closed the connection: {status}{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_a_slow_reader_and_a_crash_are_told_apart() {
        let said = closed_with("a:1", Status::Slow, "33 MB behind");
        assert!(said.contains("closed the connection: SLOW 33 MB behind: read faster"), "{said}");
        let said = closed_with("a:1", Status::Closing, "the gateway is draining");
        assert_eq!(said, "the gateway at a:1 drains and ends (CLOSING)");
        assert!(closed_with("a:1", Status::Malformed, "\x1b[2J").ends_with(": MALFORMED \\u{1b}[2J"));
        assert_eq!(lost("a:1", "Connection reset"), "the gateway at a:1 went away: Connection reset");
    }

    #[test]
    fn whatever_ends_it_first_is_the_cause_and_nobody_waits_any_more() {
        let ending = Ending::default();
        assert_eq!(ending.cause(), None);
        ending.end(Cause::Unread);
        ending.end(Cause::Signal);
        assert_eq!(ending.cause(), Some(Cause::Unread));
        // Would take an hour.
        ending.pause(Duration::from_secs(3_600));
    }
}
