//! The dispatcher's round: what is due is done, requests begin as there is room, then what the sockets say.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use slab::Slab;

use super::conn::Conn;
use super::connecting::Connecting;
use super::connection_limit::ConnectionLimit;
use super::connections::is_connecting;
use super::judge::Reason;
use super::pace::Pace;
use super::refusing::Refusal;
use super::unaccepted::Unaccepted;
use super::{Counts, Ended, Options, Outcome, Request};
use crate::core::limits::{DISPATCH_WAITING, DISPATCH_WAITING_MIN, LOAD_READ};
use crate::core::random::Rng;
use crate::http::connect::{Endpoints, Failed, find, prepare};
use crate::http::driver::Turn;
use crate::http::wire::{Method, Request as Template};
use crate::runtime::net::{Deadlines, Event, Net, Reactor, Tls, Waker};

/// A request that was given and has not ended.
pub(super) struct Flight<L> {
    pub request: L,
    /// Tries that count.
    pub tries: u32,
    /// Tries that do not, because the server refused the connection.
    pub free: u32,
}

/// Sends requests to one server. Whoever drives it gives requests as it has room, and in turn
/// [begins](Dispatcher::begin), [waits](Dispatcher::wait) and looks at what [ended](Dispatcher::ended).
pub struct Dispatcher<L> {
    pub(super) options: Options,
    pub(super) template: Template,
    pub(super) net: Reactor,
    pub(super) tls: Option<Tls>,
    pub(super) endpoints: Endpoints,
    /// As they were found, before any of them failed.
    pub(super) all_endpoints: Endpoints,
    pub(super) flights: Slab<Flight<L>>,
    /// Requests that go next.
    pub(super) ready: VecDeque<usize>,
    /// Requests that are tried again, and when.
    pub(super) waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    ended: Vec<Ended<L>>,
    pub(super) conns: Slab<Conn>,
    /// Connections to be used again; the last one first, so that others may end.
    pub(super) idle: Vec<usize>,
    pub(super) opening: usize,
    pub(super) opened: usize,
    pub(super) busy: usize,
    pub(super) pace: Pace,
    pub(super) connection_limit: ConnectionLimit,
    pub(super) connecting: Connecting,
    pub(super) unaccepted: Unaccepted,
    pub(super) deadlines: Deadlines,
    /// Connections that had more to read when their turn was over.
    pub(super) runnable: Vec<usize>,
    /// Lent to every read, and to every write.
    pub(super) buffer: Box<[u8]>,
    pub(super) scratch: Vec<u8>,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    events: Vec<Event>,
    pub(super) counts: Counts,
    /// Whether a connection ever stood.
    pub(super) is_reached: bool,
    /// Why the server cannot be reached now, or does not answer.
    pub(super) trouble: Option<Reason>,
    /// Since when the server has answered nothing of what it was sent, and how many requests it let time out.
    pub(super) silence: Option<(Instant, u32)>,
    /// It was waited for long enough: what comes now fails at once.
    pub(super) refusal: Option<Refusal>,
    /// Whether a connection carries one request after another: not where the server sends bytes that no answer
    /// announced, which would be taken for the next answer.
    pub(super) reuses: bool,
    /// Why it is given up.
    pub(super) gone: Option<String>,
    /// Whether nothing more begins.
    is_ending: bool,
}

impl<L: Request> Dispatcher<L> {
    /// Looks the server up, and prepares everything that needs no connection.
    ///
    /// # Errors
    /// Where the server has no address, or this machine cannot do it.
    pub fn new(options: Options) -> Result<Dispatcher<L>, Failed> {
        let target = &options.target;
        let endpoints = find(target, &[])?;
        let (net, tls) = prepare(target, options.insecure)?;
        Ok(Dispatcher {
            template: Template::new(&Method::POST, target, &options.fields),
            tls,
            all_endpoints: endpoints.clone(),
            endpoints,
            flights: Slab::new(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            ended: Vec::new(),
            conns: Slab::new(),
            idle: Vec::new(),
            opening: 0,
            opened: 0,
            busy: 0,
            pace: Pace::new(options.max_in_flight, options.adaptive),
            connection_limit: ConnectionLimit::new(options.max_connections),
            connecting: Connecting::default(),
            unaccepted: Unaccepted::default(),
            deadlines: Deadlines::default(),
            runnable: Vec::new(),
            buffer: vec![0; LOAD_READ].into(),
            scratch: Vec::new(),
            rng: Rng::from_seed(options.seed),
            now: Instant::now(),
            events: Vec::new(),
            counts: Counts::default(),
            is_reached: false,
            trouble: None,
            silence: None,
            refusal: None,
            reuses: true,
            gone: None,
            is_ending: false,
            net,
            options,
        })
    }

    /// Ends its wait, from any thread.
    pub fn waker(&self) -> Waker {
        self.net.waker()
    }

    /// The time, as of the last wait.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// From now on at most so many requests at once, over as many connections.
    pub fn set_max_in_flight(&mut self, most: usize) {
        self.options.max_in_flight = most;
        self.options.max_connections = most;
        self.pace.set_most(most);
        self.connection_limit.set_most(most);
    }

    /// Whether another request may be given.
    pub fn has_room(&self) -> bool {
        let waiting_max = (DISPATCH_WAITING * self.options.max_in_flight).max(DISPATCH_WAITING_MIN);
        if self.refusal.is_some() {
            // It does not stay.
            return true;
        }
        // As many as may be under way, and those that a refusal put back stay in line before others come.
        self.busy + self.ready.len() < self.pace.limit() && self.waiting.len() < waiting_max
    }

    /// Takes a request, behind those that it has.
    pub fn give(&mut self, request: L) {
        let flight = self.flights.insert(Flight { request, tries: 0, free: 0 });
        self.ready.push_back(flight);
    }

    /// What has ended since it was asked before. What follows on its connections begins only with
    /// [`begin`](Dispatcher::begin), so an outcome can be noted before.
    pub fn ended(&mut self) -> Vec<Ended<L>> {
        mem::take(&mut self.ended)
    }

    /// Requests that were given and have not ended.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Of those, how many are under way or wait for another try.
    pub fn in_flight(&self) -> usize {
        self.flights.len() - self.ready.len()
    }

    /// Requests under way.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Connections that stand.
    pub fn connections(&self) -> usize {
        self.conns.len() - self.opening
    }

    /// How many connections it opens at once, from what it learned of the server.
    pub fn connections_allowed(&self) -> usize {
        self.connection_limit.allowed()
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Why the server cannot be reached, while it cannot.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|why| why.text.as_str())
    }

    /// Whether it is waited for no longer: what waits fails, and so does what comes, until it is back.
    pub fn is_refusing(&self) -> bool {
        self.refusal.is_some()
    }

    /// Why the server is given up.
    pub fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Nothing more begins. What is under way goes on, unless the server is given up; everything else ends unsent.
    pub fn end(&mut self, at_once: bool) {
        self.is_ending = true;
        let waiting = mem::take(&mut self.waiting).into_iter().map(|Reverse((_, flight))| flight);
        for flight in waiting.chain(mem::take(&mut self.ready)).collect::<Vec<_>>() {
            self.end_flight(flight, Outcome::Unsent);
        }
        if at_once {
            self.conns.clear();
            (self.busy, self.opening) = (0, 0);
            self.idle.clear();
            self.runnable.clear();
            while let Some((flight, _)) = self.flights.iter().next() {
                self.end_flight(flight, Outcome::Unsent);
            }
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub(super) fn end_flight(&mut self, flight: usize, outcome: Outcome) {
        self.end_with(flight, outcome, false);
    }

    /// What waits for a server that is unreachable fails, however often it was tried.
    pub(super) fn end_unreachable(&mut self, flight: usize, reason: Reason) {
        self.end_with(flight, Outcome::Failed(reason), true);
    }

    fn end_with(&mut self, flight: usize, outcome: Outcome, is_unreachable: bool) {
        let Flight { request, tries, .. } = self.flights.remove(flight);
        self.ended.push(Ended { request, tries, outcome, is_unreachable });
    }

    /// Does what is due: what took too long is given up, what has waited is ready again.
    pub fn do_what_is_due(&mut self) {
        while let Some(key) = self.deadlines.pop_due(self.now) {
            let Some(conn) = self.conns.get_mut(key as usize) else { continue };
            conn.armed = None;
            match conn.due {
                Some(due) if due <= self.now => self.time_out(key as usize),
                Some(due) => self.arm(key as usize, due),
                None => {}
            }
        }
        self.give_up_dropped();
        self.give_up_unaccepted();
        while let Some(Reverse((at, flight))) = self.waiting.peek().copied()
            && at <= self.now
        {
            self.waiting.pop();
            self.ready.push_back(flight);
        }
        self.look_at_patience();
    }

    fn time_out(&mut self, index: usize) {
        let Options { timeout, .. } = self.options;
        let failure = self.conns[index].http.timeout(self.options.connect_timeout(), timeout);
        self.fail(index, failure);
    }

    /// Gives a connection up at `due`, which replaces what was due before.
    pub(super) fn arm(&mut self, index: usize, due: Instant) {
        let conn = &mut self.conns[index];
        conn.due = Some(due);
        self.deadlines.arm(index as u64, &mut conn.armed, due);
    }

    /// Begins what is ready, on connections that are idle, and opens others, as far as there is room.
    pub fn begin(&mut self) {
        if self.refusal.is_some() {
            return self.begin_refusing();
        }
        while !self.ready.is_empty() && self.busy < self.pace.limit() {
            if let Some(index) = self.idle.pop() {
                let flight = self.ready.pop_front().expect("it is not empty");
                self.begin_on(index, flight);
                continue;
            }
            self.connecting.retain(|begun| is_connecting(&self.conns, begun));
            let coming = self.opening - self.connecting.late(self.now);
            let wanted = self.ready.len().min(self.pace.limit() - self.busy).saturating_sub(coming);
            let room = self.connection_limit.room(self.now, self.conns.len());
            for _ in 0..wanted.min(room) {
                if !self.open() {
                    break;
                }
            }
            return;
        }
    }

    /// Waits for what happens, at most until `until`, and does it. It does not wait while something has
    /// [ended](Dispatcher::ended) that nobody has looked at.
    ///
    /// # Errors
    /// Where the system cannot wait.
    pub fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let until = [until, self.next_due()].into_iter().flatten().min();
        let is_at_rest = self.runnable.is_empty() && self.ended.is_empty();
        let timeout = match until {
            _ if !is_at_rest => Some(Duration::ZERO),
            until => until.map(|until| until.saturating_duration_since(Instant::now())),
        };
        let mut events = mem::take(&mut self.events);
        self.net.poll(timeout, &mut events)?;
        self.now = Instant::now();
        for index in mem::take(&mut self.runnable) {
            self.drive(index, Turn::again());
        }
        for event in events.drain(..) {
            if let Event::Socket { key, readable, writable, read_closed, .. } = event {
                self.drive(key as usize, Turn::new(readable, writable, read_closed));
            }
        }
        self.events = events;
        Ok(())
    }

    fn next_due(&self) -> Option<Instant> {
        let again = self.waiting.peek().map(|Reverse((at, _))| *at);
        let overtaken = self.connecting.due().into_iter().chain(self.unaccepted.due()).min();
        [self.deadlines.next(), again, self.next_connection(), self.patience_ends(), overtaken]
            .into_iter()
            .flatten()
            .min()
    }

    /// When another connection may be opened, if one is wanted.
    fn next_connection(&self) -> Option<Instant> {
        // One that is being opened to a server that was unreachable says by itself what comes of it.
        let is_open = self.connection_limit.tried().is_none() || self.conns.is_empty();
        let is_wanted = !self.ready.is_empty() || self.refusal.as_ref().is_some_and(Refusal::looks);
        // What is due by now was looked at.
        [self.connection_limit.next(), self.connecting.next(self.now)]
            .into_iter()
            .flatten()
            .filter(|at| is_open && is_wanted && *at > self.now)
            .min()
    }
}
