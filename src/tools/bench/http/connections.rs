//! What happens to one connection of a load.

use std::mem;
use std::time::{Duration, Instant};

use super::conn::{Life, Sent};
use super::pace::Pace;
use super::run::Load;
use crate::core::limits::LOAD_REOPEN;
use crate::core::units::later;
use crate::http::connect::{Failure, Verdict};
use crate::http::driver::{Connection, Happened, InFlight, Turn};
use crate::http::wire::status_text;
use crate::tools::bench::BAD_STATUS;

impl Load {
    pub(super) fn open(&mut self, index: usize) {
        // An address was left out meanwhile, and no other stays.
        let Some((endpoint, to, from)) = self.endpoints.of(index) else { return };
        self.conns[index].endpoint = endpoint;
        match Connection::open(&mut self.net, index as u64, to, from, self.tls.as_ref(), self.now) {
            Ok(http) => {
                self.conns[index].life = Life::Open(http);
                self.arm(index, later(self.now, self.options.timeout));
            }
            Err(failure) => self.not_opened(index, failure),
        }
    }

    /// Does what a turn allows on a connection; it may be open no more, which an event does not know.
    pub(super) fn drive(&mut self, index: usize, mut turn: Turn) {
        while let Some(http) = self.conns[index].http()
            && let Some(happened) = http.next(&mut turn, &mut self.net, &mut self.buffer)
        {
            self.now = Instant::now();
            match happened {
                Happened::Connected { .. } => {}
                Happened::Opened { since } => self.opened(index, since),
                Happened::Writable => self.write(index),
                Happened::Answered { answered, is_closed } => self.finish(index, &answered, is_closed),
                Happened::Failed { failure, answered } => {
                    if let Some(answered) = answered {
                        self.count(&answered);
                    }
                    self.fail(index, failure);
                }
                Happened::Paused => self.runnable.push(index as u32),
            }
        }
    }

    /// A connection stands, and TLS is agreed on.
    fn opened(&mut self, index: usize, since: Instant) {
        self.endpoints.reached(self.conns[index].endpoint);
        self.connecting.record(self.now.saturating_duration_since(since), 1);
        self.alive += 1;
        self.measure.alive(self.now, self.alive);
        if self.alive == self.conns.len() && self.all_stood.is_none() {
            self.all_stood = Some((self.now, self.measure.count()));
        }
        if let Pace::Rate(schedule) = &mut self.options.pace {
            schedule.begin(self.now);
            self.stand_in_line(index);
        } else if self.may_begin() {
            self.begin(index, self.now);
        } else {
            self.conns[index].due = None;
        }
    }

    fn stand_in_line(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        conn.due = None;
        if !mem::replace(&mut conn.in_line, true) {
            self.line.push_back(index as u32);
        }
        self.begin_due();
    }

    /// Sends a request on an idle connection.
    pub(super) fn begin(&mut self, index: usize, intended: Instant) {
        let Some(http) = self.conns[index].http() else { return };
        http.begin(Sent { intended, status: 0 }, self.request.exchange(), self.bytes.len());
        if let Some(requests) = &mut self.requests {
            *requests -= 1;
        }
        self.busy += 1;
        self.arm(index, later(self.now, self.options.timeout));
        self.write(index);
    }

    /// Writes what of the request the system takes.
    fn write(&mut self, index: usize) {
        let Some(http) = self.conns[index].http() else { return };
        let bytes = &self.bytes;
        if let Err(why) = http.write(&mut self.net, |at| &bytes[at..]) {
            self.fail(index, why.into());
        }
    }

    /// Counts a response that is whole.
    fn count(&mut self, answered: &InFlight<Sent>) {
        let Sent { intended, status } = answered.request;
        self.busy -= 1;
        self.measure.done(self.now, self.now.saturating_duration_since(intended), 1, answered.received());
        if !self.measure.is_closed() {
            self.statuses.add(status);
            if !self.options.ok_status.holds(status) {
                self.measure.errors(self.now, BAD_STATUS, 1, || status_text(status));
            }
        }
    }

    /// A response is whole; `closed` if the server has closed the connection behind it.
    fn finish(&mut self, index: usize, answered: &InFlight<Sent>, closed: bool) {
        self.count(answered);
        // An answer to half a request ends the connection as well as one that says so.
        match (answered.keeps_alive(), closed) {
            (true, true) => self.fail(index, Failure::ClosedIdle(Duration::ZERO)),
            (true, false) => self.go_on(index),
            (false, _) => self.close_as_announced(index),
        }
    }

    /// A connection is idle again.
    fn go_on(&mut self, index: usize) {
        match &self.options.pace {
            Pace::Rate(_) => self.stand_in_line(index),
            _ if !self.may_begin() => self.conns[index].due = None,
            Pace::BackToBack => self.begin(index, self.now),
            Pace::Think(think) => {
                let end = think.end(self.now, self.begun, &mut self.rng);
                self.arm(index, end);
            }
        }
    }

    fn close_as_announced(&mut self, index: usize) {
        self.drop_link(index);
        self.closes.announced += 1;
        if self.options.reconnect && !self.measure.is_closed() {
            // The server wants it so: this is no time to hold back.
            self.closes.reopened += 1;
            self.open(index);
        } else {
            self.end(index);
        }
    }

    /// A connection ended that should have lived on, or never stood.
    pub(super) fn fail(&mut self, index: usize, failure: Failure) {
        if self.conns[index].http().is_some_and(|http| http.is_opening()) {
            return self.not_opened(index, failure);
        }
        self.drop_link(index);
        self.measure.errors(self.now, failure.kind(), 1, || failure.to_string());
        self.open_later(index);
    }

    /// A connection could not be made.
    fn not_opened(&mut self, index: usize, failure: Failure) {
        self.drop_link(index);
        match self.endpoints.failed(self.conns[index].endpoint, || failure.to_string()) {
            Verdict::Counts => self.measure.errors(self.now, failure.kind(), 1, || failure.to_string()),
            Verdict::LeftOut => return self.ramp.push(index),
            Verdict::Unreachable => self.unreachable = Some(failure.to_string()),
        }
        self.open_later(index);
    }

    /// A connection that ended is opened again after a moment, or never.
    fn open_later(&mut self, index: usize) {
        if self.options.reconnect {
            self.closes.reopened += 1;
            self.arm(index, self.now + LOAD_REOPEN);
        } else {
            self.end(index);
        }
    }

    /// A connection is none any more, and neither is the request on it.
    fn drop_link(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        conn.due = None;
        let Life::Open(http) = mem::replace(&mut conn.life, Life::Waiting) else { return };
        if http.is_opening() {
            return;
        }
        self.busy -= usize::from(http.close().is_some());
        self.alive -= 1;
        self.measure.alive(self.now, self.alive);
    }

    fn end(&mut self, index: usize) {
        self.conns[index].life = Life::Ended;
        self.ended += 1;
    }
}
