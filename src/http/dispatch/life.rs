//! What happens to one connection and to the letter on it.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use slab::Slab;

use super::conn::{Busy, Conn, Life};
use super::connecting::Connecting;
use super::judge::{Reason, Verdict, is_overload, judge};
use super::overtaken::Begun;
use super::refusing::Refusal;
use super::retry::pause;
use super::round::Flight;
use super::{Away, Courier, Letter, Outcome};
use crate::core::limits::{COURIER_ANSWER_MAX, COURIER_FREE_TRIES, COURIER_QUOTE_MAX, LOAD_READ_TURN};
use crate::core::units::later;
use crate::http::connect::{Failure, Places, Verdict as Place, resolve, without_number};
use crate::http::wire::Fault;
use crate::runtime::net::{Got, Link, LinkError, Net};

/// Bodies up to here are copied behind their head, so that both leave in one packet.
const SMALL: usize = 16 * 1024;

impl<L: Letter> Courier<L> {
    /// Begins a connection, to another address where the system refuses one at once that may be left out; false if
    /// all that failed.
    pub(super) fn open(&mut self) -> bool {
        if self.doors.tried().is_some() && self.conns.is_empty() {
            self.look_up();
        }
        loop {
            let Some((place, to, from)) = self.next_place() else { return false };
            match self.open_to(place, to, from) {
                Ok(()) => return true,
                // Nothing else would look at the others: there is no event of a connection that never began.
                Err(failure) if self.not_opened(place, &failure) == Place::LeftOut => {}
                Err(_) => return false,
            }
        }
    }

    /// Where the next connection goes to: to the addresses in turn, but for those where too many are on their way.
    fn next_place(&mut self) -> Option<(usize, SocketAddr, Option<IpAddr>)> {
        for _ in self.places.addresses() {
            let next = self.places.of(self.opened);
            if next.is_some_and(|(place, ..)| self.connecting.has_room(place, self.now)) {
                return next;
            }
            self.opened += 1;
        }
        None
    }

    fn open_to(&mut self, place: usize, to: SocketAddr, from: Option<IpAddr>) -> Result<(), Failure> {
        let serial = self.opened;
        self.opened += 1;
        self.doors.opened(self.now);
        let entry = self.conns.vacant_entry();
        let index = entry.key();
        let begun = self.net.connect(to, from).and_then(|mut socket| {
            self.net.register(&mut socket, index as u64)?;
            Ok(socket)
        });
        let link = begun
            .map_err(Failure::Connect)
            .and_then(|socket| Link::new(socket, self.tls.as_ref()).map_err(Failure::Link))?;
        entry.insert(Conn {
            life: Life::Connecting { since: self.now },
            link,
            serial,
            place,
            due: None,
            armed: None,
            is_proven: false,
        });
        self.opening += 1;
        self.connecting.began(place, Begun { at: self.now, index, serial });
        self.arm(index, later(self.now, self.options.connect_timeout()));
        Ok(())
    }

    pub(super) fn on_event(&mut self, index: usize, readable: bool, writable: bool, read_closed: bool) {
        // What happened to a socket that was closed a moment ago is of no interest.
        let Some(conn) = self.conns.get_mut(index) else { return };
        if let Life::Connecting { since } = conn.life {
            match conn.link.is_connected(&self.net) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => return self.fail(index, Failure::Connect(why)),
            }
            conn.life = Life::Handshaking;
            self.connecting.stood(conn.place, since, self.now);
        }
        if matches!(conn.life, Life::Handshaking) && !conn.link.is_handshaking() {
            self.opened(index);
        }
        if writable {
            self.write(index);
        }
        if readable {
            self.read(index, read_closed);
        }
    }

    /// A connection stands, and TLS is agreed on.
    fn opened(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        self.places.reached(conn.place);
        conn.life = Life::Idle;
        conn.due = None;
        // It was opened to see whether the store is back, and no letter is there for it: that it ends says nothing.
        conn.is_proven = self.refusal.as_ref().is_some_and(Refusal::looks);
        self.opening -= 1;
        self.is_reached = true;
        self.reached();
        self.doors.stood();
        self.counts.connections_max = self.counts.connections_max.max(self.conns.len() - self.opening);
        self.idle.push(index);
    }

    /// Sends a letter on an idle connection.
    pub(super) fn begin_on(&mut self, index: usize, flight: usize) {
        let kept = if self.options.ok_when.is_some() { COURIER_ANSWER_MAX } else { 4 * COURIER_QUOTE_MAX };
        self.busy += 1;
        self.counts.requests += 1;
        self.silence.get_or_insert((self.now, 0));
        let Flight { tries, free, .. } = &mut self.flights[flight];
        self.counts.retries += u64::from(*tries + *free > 0);
        *tries += 1;
        let busy = Busy::new(flight, self.now, self.request.exchange(), kept);
        let conn = &mut self.conns[index];
        conn.life = Life::Busy(Box::new(busy));
        if !conn.is_proven {
            self.untaken.began(Begun { at: self.now, index, serial: conn.serial });
        }
        self.arm(index, later(self.now, self.options.timeout));
        self.write(index);
    }

    /// Writes what of the request the system takes, and what TLS holds back.
    fn write(&mut self, index: usize) {
        let Some(Conn { life, link, .. }) = self.conns.get_mut(index) else { return };
        let Life::Busy(busy) = life else {
            if link.holds_back()
                && let Err(why) = link.write(&mut self.net, &[])
            {
                self.fail(index, why.into());
            }
            return;
        };
        if busy.len > 0 && busy.written == busy.len && !link.holds_back() {
            return;
        }
        // The head is made anew where it did not leave at once, rather than kept by each of them.
        let letter = &self.flights[busy.flight].letter;
        let head = &mut self.scratch;
        head.clear();
        let body_len = letter.body_len();
        self.request.encode_head(&letter.fields(), body_len as u64, head);
        busy.len = head.len() + body_len;
        let head_len = head.len();
        if body_len <= SMALL {
            while head.len() < busy.len {
                head.extend_from_slice(letter.body_at(head.len() - head_len));
            }
        }
        loop {
            let rest = match busy.written.checked_sub(head_len) {
                Some(at) if head.len() == head_len => letter.body_at(at),
                _ => &head[busy.written..],
            };
            match link.write(&mut self.net, rest) {
                Ok(n) => {
                    let is_all = n == rest.len();
                    busy.written += n;
                    if !is_all || busy.written == busy.len {
                        return;
                    }
                }
                Err(why) => {
                    // A store may have said why before it closed.
                    self.read(index, true);
                    if let Some(Conn { life: Life::Busy(_), .. }) = self.conns.get(index) {
                        self.fail(index, why.into());
                    }
                    return;
                }
            }
        }
    }

    /// Reads what is there, within a turn's budget; with `until_end`, until nothing is.
    pub(super) fn read(&mut self, index: usize, until_end: bool) {
        let mut turn = LOAD_READ_TURN;
        loop {
            let Some(Conn { life, link, is_proven, .. }) = self.conns.get_mut(index) else { return };
            let is_proven = *is_proven;
            let got = link.read(&mut self.net, &mut self.buffer, |bytes| life.take(bytes));
            let got = match got {
                Ok(got) => got,
                Err(failure) => {
                    let is_done = matches!(life, Life::Busy(busy) if busy.is_done);
                    self.look_for_surplus(is_proven, &failure);
                    return if is_done { self.finish(index, true) } else { self.fail(index, failure) };
                }
            };
            let has_agreed = matches!(life, Life::Handshaking) && !link.is_handshaking();
            if let Got::End { said } = got {
                return match life.end(said) {
                    Ok(()) => self.finish(index, true),
                    Err(failure) => self.fail(index, failure),
                };
            }
            if has_agreed {
                self.opened(index);
            } else if matches!(life, Life::Busy(busy) if busy.is_done) {
                self.finish(index, false);
            }
            match got {
                Got::Nothing => return,
                Got::All if !until_end => return,
                _ => turn = turn.saturating_sub(self.buffer.len()),
            }
            if turn == 0 {
                return self.runnable.push(index);
            }
        }
    }

    /// An answer is whole; `is_closed` if the store has closed the connection behind it.
    fn finish(&mut self, index: usize, is_closed: bool) {
        let conn = &mut self.conns[index];
        let life = std::mem::replace(&mut conn.life, Life::Idle);
        let Life::Busy(busy) = life else { return };
        self.busy -= 1;
        conn.due = None;
        self.silence = None;
        let is_first = !std::mem::replace(&mut conn.is_proven, true);
        if is_first {
            self.doors.took(self.now, self.conns.len() - self.opening);
        }
        self.answered();
        let took = self.now.saturating_duration_since(busy.began);
        self.untaken.answered(busy.began, took);
        let answer = busy.answer(SystemTime::now());
        if is_overload(answer.status) {
            self.pace.overloaded(self.busy);
        } else {
            self.pace.answered(took, self.busy);
        }
        match judge(&answer, self.options.ok_when.as_ref()) {
            Verdict::Stored => self.end_flight(busy.flight, Outcome::Stored),
            Verdict::Failed(reason) => self.end_flight(busy.flight, Outcome::Failed(reason)),
            Verdict::Again(reason, asked) => self.try_again(busy.flight, reason, asked),
        }
        if busy.keeps_alive() && !is_closed && self.reuses {
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

    /// A store that sends more than its answers announce does so behind each: from now on a connection carries one
    /// letter.
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

    /// A letter may be tried again, if it was not tried too often.
    fn try_again(&mut self, flight: usize, reason: Reason, asked: Option<Duration>) {
        let tries = self.flights[flight].tries;
        // While the store is known to be away, nothing waits for it.
        if tries > self.options.retries || self.refusal.is_some() {
            self.end_flight(flight, Outcome::Failed(reason));
        } else if self.is_ending() {
            self.end_flight(flight, Outcome::Unsent);
        } else {
            let at = self.now + pause(tries, asked, &mut self.dice);
            self.waiting.push(Reverse((at, flight)));
        }
    }

    /// A connection ended without an answer that was due, or when none was.
    pub(super) fn fail(&mut self, index: usize, failure: Failure) {
        let conn = self.remove(index);
        match conn.life {
            Life::Connecting { .. } | Life::Handshaking => {
                self.opening -= 1;
                self.not_opened(conn.place, &failure);
            }
            Life::Idle => {
                self.idle.retain(|&idle| idle != index);
                if !conn.is_proven {
                    self.refused();
                }
            }
            Life::Busy(busy) => {
                self.busy -= 1;
                self.lost(conn.is_proven, &busy, &failure);
            }
        }
    }

    /// A connection could not be made.
    fn not_opened(&mut self, place: usize, failure: &Failure) -> Place {
        let verdict = self.places.failed(place, || failure.to_string());
        match verdict {
            Place::LeftOut => return verdict,
            Place::Counts => {}
            // All may be back later.
            Place::Unreachable => self.places = self.all_places.clone(),
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
        let tried = self.doors.tried().map_or(0, |(tried, _)| tried);
        self.doors.away(self.now, pause(tried + 1, None, &mut self.dice));
        let Some((tried, since)) = self.doors.tried() else { return };
        let trouble = Reason::of(failure.kind(), format!("cannot reach {}: {failure}", self.options.target));
        let is_hopeless = matches!(failure, Failure::Link(LinkError::Tls(_))) && !self.is_reached;
        let is_long = self.now.duration_since(since) >= self.options.patience;
        let is_over = if self.is_reached { is_long } else { tried > self.options.retries };
        match self.options.away {
            Away::Ends | Away::Waits if is_hopeless => {
                self.gone = Some(format!("{trouble}: mend that and run it again"));
            }
            Away::Ends if is_over => {
                self.gone = Some(format!("{trouble}: run it again to go on"));
            }
            Away::Fails if is_hopeless || is_long || self.refusal.is_some() => {
                self.refuse(trouble.clone(), tried, since, None);
            }
            _ => log::debug!("{trouble}"),
        }
        self.trouble = Some(trouble);
    }

    /// A store that is away may come back elsewhere. No connection may know of the places of before.
    fn look_up(&mut self) {
        let target = &self.options.target;
        let found = resolve(target.host(), target.port()).map_err(|why| without_number(&why));
        match found.and_then(|addresses| Places::new(&addresses, &[])) {
            Ok(places) => {
                (self.places, self.all_places) = (places.clone(), places);
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

    /// Requests on connections that the store has not taken go elsewhere, and it is tried with fewer.
    pub(super) fn give_up_untaken(&mut self) {
        let mut any = false;
        while let Some(Begun { index, .. }) = self.untaken.next_by(self.now, |begun| {
            let conn = self.conns.get(begun.index);
            conn.is_some_and(|conn| conn.serial == begun.serial && conn.awaits_first_answer())
        }) {
            let Conn { life: Life::Busy(busy), link, .. } = self.remove(index) else { continue };
            // What waits to be accepted shall not be worked on.
            link.abort();
            self.busy -= 1;
            self.counts.not_taken += 1;
            let flight = &mut self.flights[busy.flight];
            (flight.tries, flight.free) = (flight.tries - 1, flight.free.saturating_add(1));
            if self.is_ending() {
                self.end_flight(busy.flight, Outcome::Unsent);
            } else {
                self.ready.push_front(busy.flight);
            }
            any = true;
        }
        if any {
            self.open_fewer();
        }
    }

    /// The store does not take as many connections.
    fn refused(&mut self) {
        self.counts.refused += 1;
        self.open_fewer();
    }

    fn open_fewer(&mut self) {
        self.doors.refused(self.now, self.conns.len() - self.opening);
        if self.options.adaptive {
            self.pace.overloaded(self.busy);
        }
    }

    /// A connection ended, and the answer on it was not whole.
    fn lost(&mut self, is_proven: bool, busy: &Busy, failure: &Failure) {
        let is_loss =
            matches!(failure.kind(), "reset" | "closed" | "TLS" | "timed out" | "unreachable" | "system");
        let is_timeout = matches!(failure, Failure::Timeout(_));
        let mut free = 0;
        if is_proven && is_no_answer(failure) {
            // See `look_for_surplus`.
            free = 1;
        } else if !busy.has_begun() && is_loss && !is_timeout {
            if is_proven {
                // It may have closed an idle connection in the same moment.
                free = 1;
            } else {
                self.refused();
                // Where others stand, it is not the letter that the store does not want.
                free = if self.conns.len() > self.opening { COURIER_FREE_TRIES } else { 0 };
            }
        } else if is_timeout && self.options.adaptive {
            self.pace.overloaded(self.busy);
        }
        if busy.has_begun() {
            self.silence = None;
        } else if is_timeout {
            self.not_answered(busy.began, failure);
        }
        let reason = Reason::of(failure.kind(), failure.to_string());
        let is_ending = self.is_ending();
        let flight = &mut self.flights[busy.flight];
        if flight.free < free && !is_ending {
            flight.free += 1;
            flight.tries -= 1;
            self.ready.push_front(busy.flight);
        } else if is_loss {
            self.try_again(busy.flight, reason, None);
        } else {
            self.end_flight(busy.flight, Outcome::Failed(reason));
        }
    }
}

/// Whether the store's system has not agreed to it yet.
pub(super) fn is_connecting(conns: &Slab<Conn>, begun: &Begun) -> bool {
    let conn = conns.get(begun.index).filter(|conn| conn.serial == begun.serial);
    conn.is_some_and(|conn| matches!(conn.life, Life::Connecting { .. }))
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

    impl Letter for Empty {
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
        let mut courier = Courier::new(Options::one_at_a_time(&format!("http://{address}/"))).unwrap();
        // As where a name has addresses of a family that this machine has not: there is no TCP to a group.
        courier.places = Places::new(&["224.0.0.1:80".parse().unwrap(), address], &[]).unwrap();
        courier.give(Empty);
        courier.begin();
        assert_eq!((courier.opening, courier.places.left_out().count()), (1, 1));
        assert_eq!(courier.trouble(), None);
    }
}
