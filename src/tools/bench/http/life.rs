//! What happens to one connection of a load.

use std::mem;
use std::time::{Duration, Instant};

use super::conn::{Busy, Conn, Life};
use super::pace::Pace;
use super::run::Load;
use crate::core::limits::{LOAD_READ_TURN, LOAD_REOPEN};
use crate::core::units::later;
use crate::http::connect::{Failure, Verdict};
use crate::http::wire::status_text;
use crate::runtime::net::{Got, Link, Net};
use crate::tools::bench::BAD_STATUS;

impl Load {
    pub(super) fn open(&mut self, index: usize) {
        // An address was left out meanwhile, and no other stays.
        let Some((place, to, from)) = self.places.of(index) else { return };
        self.conns[index].place = place;
        self.conns[index].life = Life::Opening { since: self.now };
        let begun = self.net.connect(to, from).and_then(|mut socket| {
            self.net.register(&mut socket, index as u64)?;
            Ok(socket)
        });
        let link = match begun {
            Ok(socket) => Link::new(socket, self.tls.as_ref()).map_err(Failure::Link),
            Err(why) => Err(Failure::Connect(why)),
        };
        match link {
            Ok(link) => {
                self.conns[index].link = Some(link);
                self.arm(index, later(self.now, self.options.timeout));
            }
            Err(failure) => self.fail(index, failure),
        }
    }

    pub(super) fn on_event(&mut self, index: usize, readable: bool, writable: bool, read_closed: bool) {
        let conn = &mut self.conns[index];
        // What happened to a socket that was closed a moment ago is of no interest.
        let Some(link) = &conn.link else { return };
        let mut connected = true;
        if let Life::Opening { .. } = conn.life {
            match link.is_connected(&self.net) {
                Ok(stands) => connected = stands,
                Err(why) => return self.fail(index, Failure::Connect(why)),
            }
            if connected && !link.is_handshaking() {
                return self.opened(index);
            }
        }
        if connected && writable {
            self.write(index);
        }
        if connected && readable {
            self.read(index, read_closed);
        }
    }

    /// A connection stands, and TLS is agreed on.
    fn opened(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        self.places.reached(conn.place);
        if let Life::Opening { since } = conn.life {
            self.connecting.record(self.now.saturating_duration_since(since), 1);
        }
        conn.life = Life::Idle { since: self.now };
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
        if let Some(requests) = &mut self.requests {
            *requests -= 1;
        }
        self.busy += 1;
        self.conns[index].life = Life::Busy(Busy::new(self.request.exchange(), intended));
        self.arm(index, later(self.now, self.options.timeout));
        self.write(index);
    }

    /// Writes what of the request the system takes, and what TLS holds back.
    fn write(&mut self, index: usize) {
        let Conn { life, link: Some(link), .. } = &mut self.conns[index] else { return };
        let mut none = 0;
        let (written, bytes) = match life {
            Life::Busy(busy) => (&mut busy.written, &self.bytes[..]),
            _ => (&mut none, &[][..]),
        };
        if *written == bytes.len() && !link.holds_back() {
            return;
        }
        match link.write(&mut self.net, &bytes[*written..]) {
            Ok(n) => *written += n,
            Err(why) => self.fail(index, why.into()),
        }
    }

    /// Reads what is there, within a turn's budget; with `until_end`, until nothing is.
    pub(super) fn read(&mut self, index: usize, until_end: bool) {
        let mut turn = LOAD_READ_TURN;
        loop {
            let Conn { life, link: Some(link), .. } = &mut self.conns[index] else { return };
            let got = link.read(&mut self.net, &mut self.buffer, |bytes| life.take(bytes));
            self.now = Instant::now();
            let got = match got {
                Ok(got) => got,
                Err(failure) => {
                    if matches!(life, Life::Busy(busy) if busy.done) {
                        self.count(index);
                    }
                    return self.fail(index, failure);
                }
            };
            let agreed = matches!(life, Life::Opening { .. }) && !link.is_handshaking();
            if let Got::End { said } = got {
                return match life.end(said, self.now) {
                    Ok(()) => self.finish(index, true),
                    Err(failure) => self.fail(index, failure),
                };
            }
            if agreed {
                self.opened(index);
            } else if matches!(life, Life::Busy(busy) if busy.done) {
                self.finish(index, false);
            }
            match got {
                Got::Nothing => return,
                Got::All if !until_end => return,
                // What is being opened anew has other events.
                _ if matches!(self.conns[index].life, Life::Opening { .. }) => return,
                _ => turn = turn.saturating_sub(self.buffer.len()),
            }
            if turn == 0 {
                return self.runnable.push(index as u32);
            }
        }
    }

    /// Counts a response that is whole; its connection is idle.
    fn count(&mut self, index: usize) -> Option<Busy> {
        let life = mem::replace(&mut self.conns[index].life, Life::Idle { since: self.now });
        let Life::Busy(busy) = life else { return None };
        self.busy -= 1;
        self.measure.done(self.now, self.now.saturating_duration_since(busy.intended), 1, busy.bytes);
        if !self.measure.is_closed() {
            self.statuses.add(busy.status);
            if !self.options.ok_status.holds(busy.status) {
                self.measure.errors(self.now, BAD_STATUS, 1, || status_text(busy.status));
            }
        }
        Some(busy)
    }

    /// A response is whole; `closed` if the server has closed the connection behind it.
    fn finish(&mut self, index: usize, closed: bool) {
        let Some(busy) = self.count(index) else { return };
        // An answer to half a request ends the connection as well as one that says so.
        let goes_on = busy.keeps_alive() && busy.written == self.bytes.len();
        match (goes_on, closed) {
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
                let end = think.end(self.now, self.begun, &mut self.dice);
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
        let was_opening = matches!(self.conns[index].life, Life::Opening { .. });
        if let Life::Busy(_) = self.conns[index].life {
            self.busy -= 1;
        }
        self.drop_link(index);
        let verdict = if was_opening {
            self.places.failed(self.conns[index].place, || failure.to_string())
        } else {
            Verdict::Counts
        };
        match verdict {
            Verdict::Counts => self.measure.errors(self.now, failure.kind(), 1, || failure.to_string()),
            Verdict::LeftOut => {
                self.conns[index].life = Life::Waiting;
                return self.ramp.push(index);
            }
            Verdict::Unreachable => self.unreachable = Some(failure.to_string()),
        }
        if self.options.reconnect {
            self.closes.reopened += 1;
            self.conns[index].life = Life::Waiting;
            self.arm(index, self.now + LOAD_REOPEN);
        } else {
            self.end(index);
        }
    }

    fn drop_link(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        (conn.link, conn.due) = (None, None);
        if conn.life.is_alive() {
            self.alive -= 1;
            self.measure.alive(self.now, self.alive);
        }
        conn.life = Life::Waiting;
    }

    fn end(&mut self, index: usize) {
        self.conns[index].life = Life::Ended;
        self.ended += 1;
    }
}
