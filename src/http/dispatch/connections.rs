//! What happens to one connection and to the request on it.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use slab::Slab;

use super::conn::{Conn, Sent};
use super::connecting::Connecting;
use super::dispatcher::Flight;
use super::judge::{Reason, Verdict, is_overload, judge};
use super::overtaken::Begun;
use super::refusing::Refusal;
use super::retry::pause;
use super::{Dispatcher, Outcome, Request, Unreachable};
use crate::core::limits::{DISPATCH_ANSWER_MAX, DISPATCH_FREE_TRIES, DISPATCH_QUOTE_MAX};
use crate::core::units::later;
use crate::http::connect::{Endpoints, Failure, Verdict as Reached, resolve, without_number};
use crate::http::driver::{Connection, Happened, InFlight, Turn};
use crate::http::wire::{Fault, Request as Template};
use crate::runtime::net::LinkError;

/// Bodies up to here are copied behind their head, so that both leave in one packet.
const SMALL: usize = 16 * 1024;

impl<L: Request> Dispatcher<L> {
    /// Begins a connection, to another address where the system refuses one at once that may be left out; false if
    /// all that failed.
    pub(super) fn open(&mut self) -> bool {
        if self.connection_limit.tried().is_some() && self.conns.is_empty() {
            self.look_up();
        }
        loop {
            let Some((endpoint, to, from)) = self.next_endpoint() else { return false };
            match self.open_to(endpoint, to, from) {
                Ok(()) => return true,
                // Nothing else would look at the others: there is no event of a connection that never began.
                Err(failure) if self.not_opened(endpoint, &failure) == Reached::LeftOut => {}
                Err(_) => return false,
            }
        }
    }

    /// Where the next connection goes to: to the addresses in turn, but for those where too many are on their way.
    fn next_endpoint(&mut self) -> Option<(usize, SocketAddr, Option<IpAddr>)> {
        for _ in self.endpoints.addresses() {
            let next = self.endpoints.of(self.opened);
            if next.is_some_and(|(endpoint, ..)| self.connecting.has_room(endpoint, self.now)) {
                return next;
            }
            self.opened += 1;
        }
        None
    }

    fn open_to(&mut self, endpoint: usize, to: SocketAddr, from: Option<IpAddr>) -> Result<(), Failure> {
        let serial = self.opened;
        self.opened += 1;
        self.connection_limit.opened(self.now);
        let entry = self.conns.vacant_entry();
        let index = entry.key();
        let http = Connection::open(&mut self.net, index as u64, to, from, self.tls.as_ref(), self.now)?;
        entry.insert(Conn { http, serial, endpoint, due: None, armed: None, is_proven: false });
        self.opening += 1;
        self.connecting.began(endpoint, Begun { at: self.now, index, serial });
        self.arm(index, later(self.now, self.options.connect_timeout()));
        Ok(())
    }

    /// Does what a turn allows on a connection; there may be none any more, which an event does not know.
    pub(super) fn drive(&mut self, index: usize, mut turn: Turn) {
        while let Some(conn) = self.conns.get_mut(index)
            && let Some(happened) = conn.http.next(&mut turn, &mut self.net, &mut self.buffer)
        {
            match happened {
                Happened::Connected { since } => self.connecting.stood(conn.endpoint, since, self.now),
                Happened::Opened { .. } => self.opened(index),
                Happened::Writable => self.write(index),
                Happened::Answered { answered, is_closed } => self.finish(index, *answered, is_closed),
                Happened::Failed { failure, answered } => {
                    let is_proven = conn.is_proven;
                    self.look_for_surplus(is_proven, &failure);
                    match answered {
                        Some(answered) => self.finish(index, *answered, true),
                        None if self.conns.contains(index) => self.fail(index, failure),
                        // It was idle, and went with the other idle ones.
                        None => {}
                    }
                }
                Happened::Paused => self.runnable.push(index),
            }
        }
    }

    /// A connection stands, and TLS is agreed on.
    fn opened(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        self.endpoints.reached(conn.endpoint);
        conn.due = None;
        // It was opened to see whether the server is back, and no request is there for it: that it ends says nothing.
        conn.is_proven = self.refusal.as_ref().is_some_and(Refusal::looks);
        self.opening -= 1;
        self.is_reached = true;
        self.reached();
        self.connection_limit.stood();
        self.counts.connections_max = self.counts.connections_max.max(self.conns.len() - self.opening);
        self.idle.push(index);
    }

    /// Sends a request on an idle connection.
    pub(super) fn begin_on(&mut self, index: usize, flight: usize) {
        let kept = if self.options.ok_when.is_some() { DISPATCH_ANSWER_MAX } else { 4 * DISPATCH_QUOTE_MAX };
        self.busy += 1;
        self.counts.requests += 1;
        self.silence.get_or_insert((self.now, 0));
        let Flight { tries, free, .. } = &mut self.flights[flight];
        self.counts.retries += u64::from(*tries + *free > 0);
        *tries += 1;
        let conn = &mut self.conns[index];
        let request = &self.flights[flight].request;
        let head_len = encode(&self.template, request, &mut self.scratch);
        let len = head_len + request.body_len();
        conn.http.begin(Sent::new(flight, self.now, kept), self.template.exchange(), len);
        if !conn.is_proven {
            self.unaccepted.began(Begun { at: self.now, index, serial: conn.serial });
        }
        self.arm(index, later(self.now, self.options.timeout));
        self.send(index, head_len);
    }

    /// Writes more of a request. Its head is made anew where it did not leave at once, rather than kept by each of them.
    fn write(&mut self, index: usize) {
        let Some(flight) = self.conns.get(index).and_then(|conn| conn.http.in_flight()) else { return };
        let request = &self.flights[flight.request.flight].request;
        let head_len = encode(&self.template, request, &mut self.scratch);
        self.send(index, head_len);
    }

    /// Writes what of the request the system takes, whose head stands in `scratch`.
    fn send(&mut self, index: usize, head_len: usize) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let Some(flight) = conn.http.in_flight() else { return };
        let request = &self.flights[flight.request.flight].request;
        let begin = &mut self.scratch;
        if request.body_len() <= SMALL {
            while begin.len() < head_len + request.body_len() {
                begin.extend_from_slice(request.body_at(begin.len() - head_len));
            }
        }
        let rest = |at: usize| match at.checked_sub(head_len) {
            Some(at) if begin.len() == head_len => request.body_at(at),
            _ => &begin[at..],
        };
        if let Err(why) = conn.http.write(&mut self.net, rest) {
            // A server may have said why before it closed.
            self.drive(index, Turn::again());
            if self.conns.get(index).is_some_and(|conn| conn.http.in_flight().is_some()) {
                self.fail(index, why.into());
            }
        }
    }

    /// An answer is whole; `is_closed` if the server has closed the connection behind it.
    fn finish(&mut self, index: usize, answered: InFlight<Sent>, is_closed: bool) {
        let conn = &mut self.conns[index];
        let sent = &answered.request;
        self.busy -= 1;
        conn.due = None;
        self.silence = None;
        let is_first = !std::mem::replace(&mut conn.is_proven, true);
        if is_first {
            self.connection_limit.took(self.now, self.conns.len() - self.opening);
        }
        self.answered();
        let took = self.now.saturating_duration_since(sent.began);
        self.unaccepted.answered(sent.began, took);
        let answer = sent.answer(SystemTime::now());
        if is_overload(answer.status) {
            self.pace.overloaded(self.busy);
        } else {
            self.pace.answered(took, self.busy);
        }
        match judge(&answer, self.options.ok_when.as_ref()) {
            Verdict::Stored => self.end_flight(sent.flight, Outcome::Stored),
            Verdict::Failed(reason) => self.end_flight(sent.flight, Outcome::Failed(reason)),
            Verdict::Again(reason, asked) => self.try_again(sent.flight, reason, asked),
        }
        if answered.keeps_alive() && !is_closed && self.reuses {
            // What follows on it begins when this outcome is written.
            self.idle.push(index);
        } else {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) -> Conn {
        let mut conn = self.conns.remove(index);
        self.deadlines.cancel(index as u64, &mut conn.armed);
        conn
    }

    /// A server that sends more than its answers announce does so behind each: from now on a connection carries one
    /// request.
    fn look_for_surplus(&mut self, is_proven: bool, failure: &Failure) {
        let is_surplus = matches!(failure, Failure::Response(Fault::Surplus(_)));
        // The rest of the answer before may have been taken for the beginning of this one.
        if !(is_surplus || is_proven && is_no_answer(failure)) {
            return;
        }
        if std::mem::replace(&mut self.reuses, false) {
            log::warn!(
                "{} sends more than its answers announce ({failure}): each request gets a connection of its own",
                self.options.target
            );
            for index in std::mem::take(&mut self.idle) {
                self.remove(index);
            }
        }
    }

    /// A request may be tried again, if it was not tried too often.
    fn try_again(&mut self, flight: usize, reason: Reason, asked: Option<Duration>) {
        let tries = self.flights[flight].tries;
        // While the server is known to be unreachable, nothing waits for it.
        if tries > self.options.retries || self.refusal.is_some() {
            self.end_flight(flight, Outcome::Failed(reason));
        } else if self.is_ending() {
            self.end_flight(flight, Outcome::Unsent);
        } else {
            let at = self.now + pause(tries, asked, &mut self.rng);
            self.waiting.push(Reverse((at, flight)));
        }
    }

    /// A connection ended without an answer that was due, or when none was.
    pub(super) fn fail(&mut self, index: usize, failure: Failure) {
        let conn = self.remove(index);
        if conn.http.is_opening() {
            self.opening -= 1;
            self.not_opened(conn.endpoint, &failure);
        } else if let Some(flight) = conn.http.close() {
            self.busy -= 1;
            self.lost(conn.is_proven, &flight, &failure);
        } else {
            self.idle.retain(|&idle| idle != index);
            if !conn.is_proven {
                self.refused();
            }
        }
    }

    /// A connection could not be made.
    fn not_opened(&mut self, endpoint: usize, failure: &Failure) -> Reached {
        let verdict = self.endpoints.failed(endpoint, || failure.to_string());
        match verdict {
            Reached::LeftOut => return verdict,
            Reached::Counts => {}
            // All may be back later.
            Reached::Unreachable => self.endpoints = self.all_endpoints.clone(),
        }
        if self.conns.len() > self.opening {
            self.refused();
        } else {
            self.not_reached(failure);
        }
        verdict
    }

    /// A connection could not be made, and none stands.
    fn not_reached(&mut self, failure: &Failure) {
        let tried = self.connection_limit.tried().map_or(0, |(tried, _)| tried);
        self.connection_limit.unreachable(self.now, pause(tried + 1, None, &mut self.rng));
        let Some((tried, since)) = self.connection_limit.tried() else { return };
        let trouble = Reason::of(failure.kind(), format!("cannot reach {}: {failure}", self.options.target));
        let is_hopeless = matches!(failure, Failure::Link(LinkError::Tls(_))) && !self.is_reached;
        let is_long = self.now.duration_since(since) >= self.options.patience;
        let is_over = if self.is_reached { is_long } else { tried > self.options.retries };
        match self.options.when_unreachable {
            Unreachable::Ends | Unreachable::Waits if is_hopeless => {
                self.gone = Some(format!("{trouble}: mend that and run it again"));
            }
            Unreachable::Ends if is_over => {
                self.gone = Some(format!("{trouble}: run it again to go on"));
            }
            Unreachable::Fails if is_hopeless || is_long || self.refusal.is_some() => {
                self.refuse(trouble.clone(), tried, since, None);
            }
            _ => log::debug!("{trouble}"),
        }
        self.trouble = Some(trouble);
    }

    /// A server that is unreachable may come back elsewhere. No connection may know of the endpoints of before.
    fn look_up(&mut self) {
        let target = &self.options.target;
        let found = resolve(target.host(), target.port()).map_err(|why| without_number(&why));
        match found.and_then(|addresses| Endpoints::new(&addresses, &[])) {
            Ok(endpoints) => {
                (self.endpoints, self.all_endpoints) = (endpoints.clone(), endpoints);
                self.connecting = Connecting::default();
            }
            Err(why) => log::debug!("cannot find {}: {why}", target.host()),
        }
    }

    /// Others were begun later and stand, so these were dropped: what waits for them is faster with new ones.
    pub(super) fn give_up_dropped(&mut self) {
        while let Some(Begun { index, .. }) =
            self.connecting.next_by(self.now, |begun| is_connecting(&self.conns, begun))
        {
            self.remove(index);
            self.opening -= 1;
        }
    }

    /// Requests on connections that the server has not taken go elsewhere, and it is tried with fewer.
    pub(super) fn give_up_unaccepted(&mut self) {
        let mut any = false;
        while let Some(Begun { index, .. }) = self.unaccepted.next_by(self.now, |begun| {
            let conn = self.conns.get(begun.index);
            conn.is_some_and(|conn| conn.serial == begun.serial && conn.awaits_first_answer())
        }) {
            // What waits to be accepted shall not be worked on.
            let Some(sent) = self.remove(index).http.abort() else { continue };
            let given = sent.request.flight;
            self.busy -= 1;
            self.counts.not_taken += 1;
            let flight = &mut self.flights[given];
            (flight.tries, flight.free) = (flight.tries - 1, flight.free.saturating_add(1));
            if self.is_ending() {
                self.end_flight(given, Outcome::Unsent);
            } else {
                self.ready.push_front(given);
            }
            any = true;
        }
        if any {
            self.open_fewer();
        }
    }

    /// The server does not take as many connections.
    fn refused(&mut self) {
        self.counts.refused += 1;
        self.open_fewer();
    }

    fn open_fewer(&mut self) {
        self.connection_limit.refused(self.now, self.conns.len() - self.opening);
        if self.options.adaptive {
            self.pace.overloaded(self.busy);
        }
    }

    /// A connection ended, and the answer on it was not whole.
    fn lost(&mut self, is_proven: bool, sent: &InFlight<Sent>, failure: &Failure) {
        let is_loss =
            matches!(failure.kind(), "reset" | "closed" | "TLS" | "timed out" | "unreachable" | "system");
        let is_timeout = matches!(failure, Failure::Timeout(_));
        let mut free = 0;
        if is_proven && is_no_answer(failure) {
            // See `look_for_surplus`.
            free = 1;
        } else if !sent.has_begun() && is_loss && !is_timeout {
            if is_proven {
                // It may have closed an idle connection in the same moment.
                free = 1;
            } else {
                self.refused();
                // Where others stand, it is not the request that the server does not want.
                free = if self.conns.len() > self.opening { DISPATCH_FREE_TRIES } else { 0 };
            }
        } else if is_timeout && self.options.adaptive {
            self.pace.overloaded(self.busy);
        }
        if sent.has_begun() {
            self.silence = None;
        } else if is_timeout {
            self.not_answered(sent.request.began, failure);
        }
        let reason = Reason::of(failure.kind(), failure.to_string());
        let is_ending = self.is_ending();
        let flight = &mut self.flights[sent.request.flight];
        if flight.free < free && !is_ending {
            flight.free += 1;
            flight.tries -= 1;
            self.ready.push_front(sent.request.flight);
        } else if is_loss {
            self.try_again(sent.request.flight, reason, None);
        } else {
            self.end_flight(sent.request.flight, Outcome::Failed(reason));
        }
    }
}

/// Writes a request's head to `head`; how long that is.
fn encode<L: Request>(template: &Template, request: &L, head: &mut Vec<u8>) -> usize {
    head.clear();
    template.encode_head(&request.fields(), request.body_len() as u64, head);
    head.len()
}

/// Whether the server's system has not agreed to it yet.
pub(super) fn is_connecting(conns: &Slab<Conn>, begun: &Begun) -> bool {
    let conn = conns.get(begun.index).filter(|conn| conn.serial == begun.serial);
    conn.is_some_and(|conn| conn.http.is_connecting())
}

/// Whether what came is no answer, other than for want of its end.
fn is_no_answer(failure: &Failure) -> bool {
    matches!(failure, Failure::Response(fault) if !matches!(fault, Fault::Closed(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::dispatch::Options;
    use crate::http::wire::Field;
    use std::net::TcpListener;

    struct Empty;

    impl Request for Empty {
        fn fields(&self) -> Vec<Field> {
            Vec::new()
        }

        fn body_len(&self) -> usize {
            0
        }

        fn body_at(&self, _at: usize) -> &[u8] {
            &[]
        }
    }

    #[test]
    fn an_address_that_fails_at_once_holds_up_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut dispatcher = Dispatcher::new(Options::one_at_a_time(&format!("http://{address}/"))).unwrap();
        // As where a name has addresses of a family that this machine has not: there is no TCP to a group.
        dispatcher.endpoints = Endpoints::new(&["224.0.0.1:80".parse().unwrap(), address], &[]).unwrap();
        dispatcher.give(Empty);
        dispatcher.begin();
        assert_eq!((dispatcher.opening, dispatcher.endpoints.left_out().count()), (1, 1));
        assert_eq!(dispatcher.trouble(), None);
    }
}
