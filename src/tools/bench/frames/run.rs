//! The loop: what is ready is read and written, what is due is sent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use super::conn::{Conn, Endpoint, Role, Stage};
use super::devices::Devices;
use super::publish::{Publisher, Schedule};
use super::report::{Report, Window};
use super::ring::{self, Ring};
use super::sequence::Sequence;
use super::tally::Group;
use super::{Failed, Options};
use crate::core::limits::{
    LOAD_DRAIN, LOAD_NAP, LOAD_QUIET, LOAD_READ, LOAD_READ_TURN, LOAD_WRITE, WRITE_SLICES,
};
use crate::core::units::later;
use crate::runtime::net::{Event, Got, Link, LinkError, Net, Reactor};
use crate::runtime::tls::said_of;
use crate::tools::bench::{Measure, Process, Progress, Stop, Ticker, Usage, kind_of};
use crate::wire::{Fault, check_topic};

/// A load that is ready to run.
pub struct Load {
    pub(super) options: Options,
    pub(super) reactor: Reactor,
    pub(super) stop: Stop,
    /// Which of its addresses each endpoint of the gateway has.
    pub(super) address: [usize; 2],
    /// Until when one that refuses may only be starting.
    pub(super) starts_until: Instant,
    pub(super) conns: Vec<Conn>,
    /// The frames, and the large ones if there are any.
    pub(super) groups: Vec<Group>,
    pub(super) events: Vec<Event>,
    /// Connections that can go on.
    pub(super) ready: VecDeque<usize>,
    pub(super) alive: usize,
    /// Connections that the gateway closed.
    closed_by_gateway: usize,
    usage: Usage,
    pub(super) scratch: Vec<u8>,
    /// What the system said when the last poll failed.
    broken: Option<io::Error>,
}

/// Why a read is the last one.
enum Wrong {
    Link(LinkError),
    Fault(Fault),
}

impl From<LinkError> for Wrong {
    fn from(why: LinkError) -> Wrong {
        Wrong::Link(why)
    }
}

/// The kind of what went wrong, and an example of it.
fn said_of_link(wrong: &LinkError) -> (&'static str, String) {
    match wrong {
        LinkError::Broken(why) => (kind_of(why), why.to_string()),
        LinkError::Tls(why) => ("TLS", said_of(why)),
    }
}

impl Load {
    /// Prepares everything that needs no gateway.
    ///
    /// # Errors
    /// Where this process or this machine cannot do it.
    pub fn new(options: Options) -> Result<Load, Failed> {
        options.check()?;
        for topic in [&options.topic, &options.large_topic()] {
            check_topic(topic.as_bytes())
                .map_err(|why| Failed::Refused(format!("--topic '{topic}': {why}")))?;
            if topic.len() > usize::from(u8::MAX) {
                return Err(Failed::Refused(format!(
                    "--topic '{topic}' is longer than 255 bytes: give a shorter one"
                )));
            }
        }
        let system = |why: io::Error| Failed::Refused(format!("cannot wait for sockets: {why}"));
        let reactor = Reactor::new().map_err(system)?;
        let now = Instant::now();
        let mut load = Load {
            stop: Stop::new(reactor.waker()),
            reactor,
            address: [0; 2],
            starts_until: now,
            conns: Vec::with_capacity(options.connections()),
            groups: Vec::new(),
            events: Vec::new(),
            ready: VecDeque::new(),
            alive: 0,
            closed_by_gateway: 0,
            usage: Usage::start(now),
            scratch: vec![0; LOAD_READ],
            broken: None,
            options,
        };
        let Options { publishers, subscribers, large, idle, nonce, .. } = load.options;
        let scheme = &load.options.scheme;
        let devices = load.options.layout.as_ref();
        let devices = devices.map(|of| of.devices(publishers, idle, nonce, scheme)).transpose()?;
        load.add_group(publishers, subscribers, devices);
        if large > 0 {
            load.add_group(large, 1, None);
        }
        load.conns.extend((0..idle).map(|_| Conn::new(Role::Idle)));
        Ok(load)
    }

    /// Ends it early, from any thread.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    fn add_group(&mut self, publishers: usize, subscribers: usize, mut devices: Option<Devices>) {
        let options = &self.options;
        let (group, (small_len, large_len)) = (self.groups.len(), options.frame_lens());
        let (topic, payload, frame_len) = match group {
            0 => (options.topic.clone(), options.payload, small_len),
            _ => (options.large_topic(), options.large_payload, large_len),
        };
        // The nonce tells this run's frames, one more bit the group, and 31 bits the publisher.
        let base = u64::from(options.nonce) << 32 | (group as u64) << 31;
        let rings: Vec<Ring> = match &mut devices {
            Some(devices) => devices.rings(),
            None => {
                let (payload, slots) = (ring::payload(payload), ring::slots(frame_len, publishers));
                let ring = |index| Ring::new(base + index as u64, &topic, &payload, slots, &options.scheme);
                (0..publishers).map(ring).collect()
            }
        };
        self.groups.push(Group {
            base,
            publishers: rings.into_iter().map(Publisher::new).collect(),
            is_subscribed: subscribers > 0,
            schedule: None,
            due: 0,
            measure: Measure::new(Instant::now(), options.connections()),
            foreign: 0,
            told_dropped: 0,
            sent_in_time: (0, 0),
            topic: devices.as_ref().map_or(topic, |devices| devices.topics.clone()),
            devices,
        });
        self.conns.extend((0..publishers).map(|index| Conn::new(Role::Publisher { group, index })));
        self.conns.extend((0..subscribers).map(|index| Conn {
            sequences: vec![Sequence::default(); publishers],
            ..Conn::new(Role::Subscriber { group, index })
        }));
    }

    /// Connects, loads the gateway, waits for what is in flight, and reports.
    ///
    /// # Errors
    /// Where the load could not begin.
    pub fn run(mut self, show: &mut dyn FnMut(&Progress)) -> Result<Report, Failed> {
        self.set_up()?;
        log::debug!("{} connections stand; sending begins", self.alive);
        let start = Instant::now();
        let process = self.options.process.and_then(|id| Process::watch(id, start));
        self.usage = Usage::start(start);
        for (at, group) in self.groups.iter_mut().enumerate() {
            group.measure = Measure::new(start, self.options.connections());
            group.measure.alive(start, self.alive);
            match self.options.rate {
                Some(rate) if at == 0 && !group.publishers.is_empty() => {
                    group.schedule = Some(Schedule::new(start, rate, group.publishers.len()));
                }
                _ => group.publishers.iter_mut().for_each(|one| one.allow(u64::MAX)),
            }
        }
        self.ready.clear();
        (0..self.conns.len()).for_each(|at| {
            self.conns[at].queued = false;
            self.enqueue(at);
        });
        self.send(later(start, self.options.duration), show);

        let end = Instant::now();
        let is_over = self.is_over();
        let mut window = Window {
            end,
            own: self.usage.own(end),
            gateway: process.and_then(|process| process.spent(end)),
            interrupted: self.stop.is_asked(),
            gone: false,
        };
        for group in &mut self.groups {
            group.measure.close(end);
            group.sent_in_time = group.sent();
        }
        self.finish(is_over);
        window.gone = is_over && !window.interrupted && self.closed_by_gateway == self.conns.len();
        let addresses = [Endpoint::Gateway, Endpoint::Listener].map(|endpoint| self.shown(endpoint));
        Ok(Report::new(&mut self.groups, &self.conns, &self.options, addresses, window))
    }

    /// Sends and receives until `end`, or until it is told to stop or nobody is left to send to.
    fn send(&mut self, end: Instant, show: &mut dyn FnMut(&Progress)) {
        let (start, duration) = (self.groups[0].measure.started(), self.options.duration);
        let mut ticker = Ticker::new(start, show);
        let mut looked = start;
        loop {
            let now = Instant::now();
            if now >= end || self.stop.is_asked() || self.is_over() {
                return;
            }
            if self.send_due(now) {
                looked = now;
            }
            self.serve_ready();
            let now = Instant::now();
            if now >= ticker.next() {
                self.forget_writes();
                ticker.tick(now, || self.groups[0].measure.progress(now, Some(duration)));
            }
            let group = &self.groups[0];
            let due = group.schedule.map(|schedule| schedule.due(group.due).max(looked + LOAD_NAP));
            self.wait(now, due.unwrap_or(end).min(ticker.next()).min(end));
        }
    }

    /// Allows what is due, and says whether anything was.
    fn send_due(&mut self, now: Instant) -> bool {
        let group = &mut self.groups[0];
        let Some(schedule) = group.schedule else { return false };
        let total = schedule.total(now);
        if total <= group.due {
            return false;
        }
        self.usage.slipped(now.saturating_duration_since(schedule.due(group.due)), 1);
        let publishers = group.publishers.len() as u64;
        let concerned = group.due..total.min(group.due + publishers);
        group.due = total;
        for k in concerned {
            let index = (k % publishers) as usize;
            self.groups[0].publishers[index].allow(schedule.of(index, total));
            // The publishers of the first group are the first connections.
            self.enqueue(index);
        }
        true
    }

    /// Finishes what was begun, and waits for everything that was sent, as long as something comes. Where it
    /// `is_over` already, the others may be about to be closed, too.
    fn finish(&mut self, is_over: bool) {
        for group in &mut self.groups {
            group.publishers.iter_mut().for_each(|one| one.allow(0));
        }
        (0..self.conns.len()).for_each(|at| self.end_if_written(at));
        let start = Instant::now();
        let mut quiet_since = start;
        loop {
            let came = self.serve_ready();
            let now = Instant::now();
            if came {
                quiet_since = now;
            }
            let until = (quiet_since + LOAD_QUIET).min(start + LOAD_DRAIN);
            let has_everything = self.has_everything() && !(is_over && self.alive > 0);
            if has_everything || now >= until || self.broken.is_some() {
                return;
            }
            self.wait(now, until);
        }
    }

    /// Whether every subscriber has all that was sent.
    fn has_everything(&self) -> bool {
        let all_ended = self.conns.iter().all(|conn| match conn.role {
            Role::Publisher { .. } => conn.stage == Stage::Closed,
            Role::Subscriber { group, .. } => {
                conn.stage == Stage::Closed || conn.arrived >= self.groups[group].sent().0
            }
            Role::Idle => true,
        });
        all_ended && self.ready.is_empty()
    }

    /// Whether nobody is left of those that send, or of those that should get it.
    fn is_over(&self) -> bool {
        if self.broken.is_some() || self.alive == 0 {
            return true;
        }
        if self.alive == self.conns.len() {
            return false;
        }
        let left = |wanted: fn(&Role) -> bool| {
            let mut all = self.conns.iter().filter(|conn| wanted(&conn.role)).peekable();
            all.peek().is_none() || all.any(|conn| conn.stage != Stage::Closed)
        };
        !left(|role| matches!(role, Role::Publisher { .. }))
            || !left(|role| matches!(role, Role::Subscriber { .. }))
    }

    fn wait(&mut self, now: Instant, until: Instant) {
        let timeout =
            if self.ready.is_empty() { until.saturating_duration_since(now) } else { Duration::ZERO };
        self.events.clear();
        if let Err(why) = self.reactor.poll(Some(timeout), &mut self.events) {
            self.broken = Some(why);
        }
        if !timeout.is_zero() {
            self.usage.waited(now.elapsed());
        }
        std::mem::take(&mut self.events).into_iter().for_each(|event| self.note(event));
    }

    /// Notes what became possible.
    pub(super) fn note(&mut self, event: Event) {
        let Event::Socket { key, readable, writable, read_closed, .. } = event else { return };
        let at = key as usize;
        let conn = &mut self.conns[at];
        conn.readable |= readable;
        conn.writable |= writable;
        conn.read_closed |= read_closed;
        self.enqueue(at);
    }

    /// Puts a connection that can go on in the line.
    pub(super) fn enqueue(&mut self, at: usize) {
        let goes_on = self.goes_on(at);
        let conn = &mut self.conns[at];
        if goes_on && !conn.queued {
            conn.queued = true;
            self.ready.push_back(at);
        }
    }

    fn goes_on(&self, at: usize) -> bool {
        let conn = &self.conns[at];
        let can = matches!(conn.stage, Stage::Open | Stage::Ended);
        can && (conn.readable || conn.writable && self.has_to_write(at))
    }

    fn has_to_write(&self, at: usize) -> bool {
        let conn = &self.conns[at];
        !conn.control.is_empty()
            || conn.link.as_ref().is_some_and(Link::holds_back)
            || self.publisher(at).is_some_and(|one| !one.unwritten().is_empty())
    }

    fn publisher(&self, at: usize) -> Option<&Publisher> {
        match self.conns[at].role {
            Role::Publisher { group, index } => Some(&self.groups[group].publishers[index]),
            _ => None,
        }
    }

    /// Reads and writes a bounded part on each connection that is ready. Whether anything came.
    pub(super) fn serve_ready(&mut self) -> bool {
        let mut came = false;
        for _ in 0..self.ready.len() {
            let Some(at) = self.ready.pop_front() else { break };
            self.conns[at].queued = false;
            came |= self.read(at);
            self.write(at);
            self.enqueue(at);
        }
        came
    }

    fn read(&mut self, at: usize) -> bool {
        let mut left = LOAD_READ_TURN;
        while left > 0 {
            let conn = &mut self.conns[at];
            let Some(mut link) = conn.link.take_if(|_| conn.readable) else { break };
            let group = &mut self.groups[conn.group()];
            let scheme = &self.options.scheme;
            let mut came = 0;
            let result = link.read(&mut self.reactor, &mut self.scratch, |bytes| {
                came += bytes.len();
                group.take(conn, bytes, scheme, Instant::now()).map_err(Wrong::Fault)
            });
            conn.link = Some(link);
            left = left.saturating_sub(came);
            match result {
                Ok(Got::End { .. }) => {
                    let ended = conn.stage == Stage::Ended;
                    self.close(
                        at,
                        if ended { None } else { Some(("closed", "the gateway closed it".to_string())) },
                    );
                    return left < LOAD_READ_TURN;
                }
                Ok(Got::Nothing) => conn.readable = false,
                // All there was is taken, and its end, if there is one, is known.
                Ok(Got::All) => conn.readable = conn.read_closed,
                // Records may hold nothing for a frame; others are to get their turn.
                Ok(Got::Some) if came == 0 => break,
                Ok(Got::Some) => {}
                Err(Wrong::Fault(fault)) => self.close(at, Some(("malformed", fault.to_string()))),
                Err(Wrong::Link(wrong)) => self.close(at, Some(said_of_link(&wrong))),
            }
        }
        left < LOAD_READ_TURN
    }

    fn write(&mut self, at: usize) {
        let conn = &mut self.conns[at];
        let Some(link) = conn.link.as_mut().filter(|_| conn.writable) else { return };
        let now = Instant::now();
        let (result, offered) = if !conn.control.is_empty() {
            let control = std::mem::take(&mut conn.control);
            let result = link.write(&mut self.reactor, &control);
            let written = *result.as_ref().unwrap_or(&0);
            conn.control = control[written..].to_vec();
            (result, control.len())
        } else if let Role::Publisher { group, index } = conn.role {
            let group = &mut self.groups[group];
            let publisher = &mut group.publishers[index];
            let unwritten = publisher.unwritten();
            let to = unwritten.end.min(unwritten.start + LOAD_WRITE as u64);
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let n = publisher.ring.gather(unwritten.start, to, &mut slices);
            let offered = slices[..n].iter().map(|slice| slice.len()).sum();
            if offered == 0 {
                return;
            }
            let result = link.write_vectored(&mut self.reactor, &mut slices[..n]);
            if let Ok(written) = result {
                publisher.advance(written as u64, now, group.schedule.is_none());
            }
            (result, offered)
        } else if link.holds_back() {
            (link.write(&mut self.reactor, &[]), 0)
        } else {
            return;
        };
        match result {
            Ok(written) => conn.writable = written == offered && !link.holds_back(),
            // What the gateway said before is read first, and then why it is no more.
            Err(error) => {
                conn.writable = false;
                if !self.read_last_word(at) {
                    self.close(at, Some(said_of_link(&error)));
                }
            }
        }
        self.end_if_written(at);
    }

    /// A gateway that closes a connection says why; that is still to be read. Whether the reading ended it.
    fn read_last_word(&mut self, at: usize) -> bool {
        self.conns[at].readable = true;
        self.read(at);
        self.conns[at].stage == Stage::Closed
    }

    /// When measuring is over and a publisher has finished its last frame, it says so.
    fn end_if_written(&mut self, at: usize) {
        let over = self.groups[0].measure.is_closed();
        let conn = &self.conns[at];
        if !over || conn.stage != Stage::Open || self.publisher(at).is_none() || self.has_to_write(at) {
            return;
        }
        let conn = &mut self.conns[at];
        conn.stage = Stage::Ended;
        if let Some(link) = &mut conn.link {
            link.end(&mut self.reactor);
        }
    }

    /// A connection is no more; `why`, if it should still be.
    fn close(&mut self, at: usize, why: Option<(&'static str, String)>) {
        let conn = &mut self.conns[at];
        if conn.stage == Stage::Closed {
            return;
        }
        conn.stage = Stage::Closed;
        conn.link = None;
        (conn.readable, conn.writable) = (false, false);
        self.alive -= 1;
        let now = Instant::now();
        self.groups[0].measure.alive(now, self.alive);
        if let Some((kind, example)) = why {
            self.closed_by_gateway += 1;
            conn.closed_by_gateway = true;
            let (kind, said) = match &conn.last_word {
                Some((status, reason)) => (status.name(), reason.clone()),
                None => (kind, example),
            };
            let name = conn.name();
            self.groups[0].measure.errors(now, kind, 1, || format!("{name}: {said}"));
        }
    }

    /// Forgets when frames were written that every subscriber has got.
    fn forget_writes(&mut self) {
        for (at, group) in self.groups.iter_mut().enumerate() {
            for (index, publisher) in group.publishers.iter_mut().enumerate() {
                let subscribers = self.conns.iter().filter(|conn| {
                    conn.stage != Stage::Closed
                        && matches!(conn.role, Role::Subscriber { group, .. } if group == at)
                });
                let least = subscribers.map(|conn| conn.sequences[index].next()).min();
                // Where nobody subscribes, a device may be answered; its connections are the first.
                let answered = || group.devices.as_ref().map(|_| self.conns[index].answers.next());
                let least = if group.is_subscribed { least } else { answered() };
                publisher.writes.forget_before(least.unwrap_or(u64::MAX));
            }
        }
    }
}
