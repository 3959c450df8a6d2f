//! The loop: what is due is done, then what the sockets say.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use super::Options;
use super::conn::{Conn, Life};
use super::pace::{Pace, Ramp};
use super::report::{Closes, Report, Statuses, Window};
use crate::core::limits::LOAD_READ;
use crate::core::random::Rng;
use crate::http::connect::{Endpoints, Failed, find, prepare, without_number};
use crate::http::driver::Turn;
use crate::http::wire::Request;
use crate::runtime::net::{Deadlines, Event, Net, Reactor, Tls};
use crate::tools::bench::{Latency, Measure, Progress, Stop, Ticker, Usage};

/// A load that is ready to run.
pub struct Load {
    pub(super) options: Options,
    pub(super) endpoints: Endpoints,
    pub(super) tls: Option<Tls>,
    /// Makes the responses' readers.
    pub(super) request: Request,
    /// What is sent, encoded once for all.
    pub(super) bytes: Vec<u8>,
    pub(super) net: Reactor,
    pub(super) conns: Vec<Conn>,
    pub(super) ramp: Ramp,
    pub(super) deadlines: Deadlines,
    /// Idle connections that a request may go to, in an open loop.
    pub(super) line: VecDeque<u32>,
    /// Connections that had more to read when their turn was over.
    pub(super) runnable: Vec<u32>,
    /// Lent to every read.
    pub(super) buffer: Box<[u8]>,
    pub(super) rng: Rng,
    pub(super) begun: Instant,
    pub(super) now: Instant,
    pub(super) measure: Measure,
    pub(super) usage: Usage,
    /// How long connections took to stand.
    pub(super) connecting: Latency,
    pub(super) statuses: Statuses,
    pub(super) closes: Closes,
    /// When all connections stood for the first time, and how many responses there were by then.
    pub(super) all_stood: Option<(Instant, u64)>,
    /// Requests that may still be sent; none: any number.
    pub(super) requests: Option<u64>,
    pub(super) alive: usize,
    pub(super) busy: usize,
    pub(super) ended: usize,
    /// No address ever took a connection, and why.
    pub(super) unreachable: Option<String>,
    stop: Stop,
}

impl Load {
    /// Looks the server up, and prepares everything that needs no connection.
    ///
    /// # Errors
    /// Where the server has no address, or this process or this machine cannot do it.
    pub fn new(options: Options) -> Result<Load, Failed> {
        let target = &options.target;
        let endpoints = find(target, &options.sources)?;
        options.check(endpoints.addresses().count())?;
        let request = Request::new(&options.method, target, &options.fields);
        let mut bytes = Vec::new();
        request.encode(&[], &options.body, &mut bytes);
        let (net, tls) = prepare(target, options.insecure)?;
        let now = Instant::now();
        Ok(Load {
            endpoints,
            tls,
            request,
            bytes,
            stop: Stop::new(net.waker()),
            net,
            conns: (0..options.connections).map(|_| Conn::new()).collect(),
            ramp: Ramp::new(now, options.ramp, options.ramp_every),
            deadlines: Deadlines::default(),
            line: VecDeque::new(),
            runnable: Vec::new(),
            buffer: vec![0; LOAD_READ].into(),
            rng: Rng::from_seed(options.seed),
            begun: now,
            now,
            measure: Measure::new(now, options.connections),
            usage: Usage::start(now),
            connecting: Latency::default(),
            statuses: Statuses::default(),
            closes: Closes::default(),
            all_stood: None,
            requests: options.requests,
            alive: 0,
            busy: 0,
            ended: 0,
            unreachable: None,
            options,
        })
    }

    /// Ends it early, from any thread.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs to the end: of the duration, of the requests, of the last connection that is not opened again, or
    /// until it is stopped. What was begun by then may still end, within the timeout.
    ///
    /// # Errors
    /// Where no connection could ever be made.
    pub fn run(mut self, show: &mut dyn FnMut(&Progress)) -> Result<Report, Failed> {
        self.now = Instant::now();
        self.measure = Measure::new(self.now, self.options.connections);
        self.usage = Usage::start(self.now);
        self.ramp = Ramp::new(self.now, self.options.ramp, self.options.ramp_every);
        (0..self.conns.len()).for_each(|index| self.ramp.push(index));
        let mut ticker = Ticker::new(self.now, show);
        let end = self.options.duration.and_then(|duration| self.now.checked_add(duration));
        let mut window = None;
        let mut events = Vec::new();
        loop {
            if window.is_none() && (end.is_some_and(|end| self.now >= end) || self.is_finished()) {
                window = Some(self.close());
            }
            if let Some(window) = window.take_if(|_| self.busy == 0) {
                return Ok(Report::new(self, window));
            }
            self.do_what_is_due();
            if let Some(why) = self.unreachable.take() {
                return Err(Failed::Gone(format!("cannot reach {}: {why}", self.options.target)));
            }
            ticker.tick(self.now, || self.measure.progress(self.now, self.options.duration));

            let end = end.filter(|_| !self.measure.is_closed());
            let until = [end, Some(ticker.next()), self.next_due()].into_iter().flatten().min();
            self.wait(until, &mut events)
                .map_err(|why| Failed::Gone(format!("cannot wait for sockets: {}", without_number(&why))))?;
            for index in mem::take(&mut self.runnable) {
                self.drive(index as usize, Turn::again());
            }
            for event in events.drain(..) {
                if let Event::Socket { key, readable, writable, read_closed, .. } = event {
                    self.drive(key as usize, Turn::new(readable, writable, read_closed));
                }
            }
        }
    }

    /// Waits for events until `until`, or not at all while something is runnable.
    fn wait(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        let before = Instant::now();
        let timeout = match until {
            _ if !self.runnable.is_empty() => Some(Duration::ZERO),
            until => until.map(|until| until.saturating_duration_since(before)),
        };
        self.net.poll(timeout, events)?;
        self.now = Instant::now();
        self.usage.waited(self.now - before);
        Ok(())
    }

    /// Whether nothing is left to do, or it was asked to stop.
    fn is_finished(&self) -> bool {
        self.stop.is_asked() || self.ended == self.conns.len() || (self.requests == Some(0) && self.busy == 0)
    }

    /// Ends measuring; what is busy may still end.
    fn close(&mut self) -> Window {
        self.measure.close(self.now);
        let behind = match &self.options.pace {
            Pace::Rate(schedule) if self.requests != Some(0) => schedule.behind(self.now),
            _ => 0,
        };
        Window { end: self.now, own: self.usage.own(self.now), behind, interrupted: self.stop.is_asked() }
    }

    /// Whether requests may still begin.
    pub(super) fn may_begin(&self) -> bool {
        !self.measure.is_closed() && self.requests != Some(0)
    }

    fn next_due(&self) -> Option<Instant> {
        let opening = self.ramp.next().filter(|_| !self.measure.is_closed());
        let request = match &self.options.pace {
            Pace::Rate(schedule) if !self.line.is_empty() && self.may_begin() => schedule.next(),
            _ => None,
        };
        [self.deadlines.next(), opening, request].into_iter().flatten().min()
    }

    fn do_what_is_due(&mut self) {
        while let Some(key) = self.deadlines.pop_due(self.now) {
            let index = key as usize;
            let conn = &mut self.conns[index];
            conn.armed = None;
            match conn.due {
                Some(due) if due <= self.now => self.fire(index, due),
                Some(due) => self.arm(index, due),
                None => {}
            }
        }
        while !self.measure.is_closed()
            && let Some(index) = self.ramp.take(self.now)
        {
            self.open(index);
        }
        self.begin_due();
    }

    /// Looks at a connection again at `due`, which replaces what was due before.
    pub(super) fn arm(&mut self, index: usize, due: Instant) {
        let conn = &mut self.conns[index];
        conn.due = Some(due);
        // What was due earlier finds nothing and goes on to this: a timeout that never comes costs an entry
        // each time that it would have, not each response.
        self.deadlines.arm(index as u64, &mut conn.armed, due);
    }

    /// What was due for a connection has come.
    fn fire(&mut self, index: usize, due: Instant) {
        self.conns[index].due = None;
        let timeout = self.options.timeout;
        match &self.conns[index].life {
            Life::Waiting => self.ramp.push(index),
            Life::Open(http) if http.idle_since().is_none() => {
                let failure = http.timeout(timeout, timeout);
                self.fail(index, failure);
            }
            Life::Open(_) if self.may_begin() => {
                self.usage.slipped(self.now.saturating_duration_since(due), 1);
                self.begin(index, self.now);
            }
            Life::Open(_) | Life::Ended => {}
        }
    }

    /// Sends the requests of an open loop that are due, as far as there are idle connections.
    pub(super) fn begin_due(&mut self) {
        while self.may_begin()
            && let Pace::Rate(schedule) = &mut self.options.pace
            && let Some(due) = schedule.next().filter(|due| *due <= self.now)
            && let Some(index) = self.line.pop_front()
        {
            let conn = &mut self.conns[index as usize];
            conn.in_line = false;
            // It may have ended while it stood in line.
            if let Some(since) = conn.http().and_then(|http| http.idle_since()) {
                schedule.advance();
                // Waiting for a connection is the server's doing, not the generator's.
                self.usage.slipped(self.now.saturating_duration_since(due.max(since)), 1);
                self.begin(index as usize, due);
            }
        }
    }
}
