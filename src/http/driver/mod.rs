//! One HTTP connection of a client: it is opened, agrees on TLS, carries one request after another, and ends.
//!
//! Whoever has many of them owns the reactor, the deadlines and every decision; a [`Connection`] does the work and says
//! what [happened](Happened). Neither calls the other back:
//!
//! ```text
//! event ─ Turn ─▶ next ─▶ Connected, Opened, Writable, Answered, Failed, Paused ─▶ the owner decides ─▶ next …
//! ```

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::connect::Failure;
use super::wire::{Exchange, Fault, Receive};
use crate::core::limits::LOAD_READ_TURN;
use crate::runtime::net::{Got, Link, LinkError, Net, Reactor, Tls};

/// A connection. While it is idle, it owns a socket and nothing else.
pub struct Connection<R> {
    link: Link,
    state: State<R>,
}

/// ```text
/// Connecting ── Handshaking ── Idle ⇄ InFlight; from each to the end
/// ```
enum State<R> {
    /// The server's system has not agreed to it yet.
    Connecting {
        /// When it was begun.
        since: Instant,
    },
    /// TLS is being agreed on, if there is any.
    Handshaking {
        /// When it was begun.
        since: Instant,
    },
    /// To be used again.
    Idle {
        /// Since when.
        since: Instant,
    },
    /// Sending a request and receiving the answer.
    InFlight(Box<InFlight<R>>),
}

/// A request and its answer, under way.
pub struct InFlight<R> {
    /// The owner's part, which receives the answer.
    pub request: R,
    exchange: Exchange,
    /// Bytes of the request that were sent, of so many. 0 ≤ written ≤ len.
    written: usize,
    len: usize,
    /// Bytes of the answer that came.
    received: u64,
    /// Whether the answer is whole.
    is_whole: bool,
}

/// What an event allows to do on a connection, and how much of that is left.
#[derive(Debug)]
pub struct Turn {
    writable: bool,
    readable: bool,
    /// The end has been announced: it is read on until it comes.
    until_end: bool,
    /// Bytes that may still be read; then the others get their turn.
    budget: usize,
    is_over: bool,
}

/// What happened to a connection.
pub enum Happened<R> {
    /// The server's system agreed to it.
    Connected {
        /// When it was begun.
        since: Instant,
    },
    /// It stands, and TLS is agreed on: it is idle.
    Opened {
        /// When it was begun.
        since: Instant,
    },
    /// More of the request can be [written](Connection::write).
    Writable,
    /// An answer is whole, and the connection is idle.
    Answered {
        /// What was under way.
        answered: Box<InFlight<R>>,
        /// Whether the server has closed the connection behind it.
        is_closed: bool,
    },
    /// It ended, and should have lived on.
    Failed {
        /// Why.
        failure: Failure,
        /// The request whose answer is whole all the same: what comes behind an answer does not undo it.
        answered: Option<Box<InFlight<R>>>,
    },
    /// There may be more to read, in [another turn](Turn::again).
    Paused,
}

impl Turn {
    /// What an event of the socket says.
    pub fn new(readable: bool, writable: bool, read_closed: bool) -> Turn {
        Turn { writable, readable, until_end: read_closed, budget: LOAD_READ_TURN, is_over: false }
    }

    /// Reads on where a turn was over, until nothing is there: no event tells of that again.
    pub fn again() -> Turn {
        Turn::new(true, false, true)
    }
}

impl<R: Receive> Connection<R> {
    /// Begins to connect, from an address where one is given; events of it come with `key`.
    ///
    /// # Errors
    /// What the system says at once.
    pub fn open(
        net: &mut Reactor,
        key: u64,
        to: SocketAddr,
        from: Option<IpAddr>,
        tls: Option<&Tls>,
        now: Instant,
    ) -> Result<Connection<R>, Failure> {
        let begun = net.connect(to, from).and_then(|mut socket| {
            net.register(&mut socket, key)?;
            Ok(socket)
        });
        let link = Link::new(begun.map_err(Failure::Connect)?, tls)?;
        Ok(Connection { link, state: State::Connecting { since: now } })
    }

    /// Goes on with what the turn allows, until something happens; none when nothing more does.
    pub fn next(&mut self, turn: &mut Turn, net: &mut Reactor, buffer: &mut [u8]) -> Option<Happened<R>> {
        if turn.is_over {
            return None;
        }
        match self.state {
            State::Connecting { since } => match self.link.is_connected(net) {
                Ok(true) => {
                    self.state = State::Handshaking { since };
                    return Some(Happened::Connected { since });
                }
                // The event was about something else.
                Ok(false) => return None,
                Err(why) => return Some(turn.fail(Failure::Connect(why))),
            },
            State::Handshaking { since } if !self.link.is_handshaking() => return Some(self.opened(since)),
            _ => {}
        }
        if mem::take(&mut turn.writable) {
            match &self.state {
                State::InFlight(flight) if flight.written < flight.len || self.link.holds_back() => {
                    return Some(Happened::Writable);
                }
                State::InFlight(_) => {}
                _ if self.link.holds_back() => {
                    if let Err(why) = self.link.write(net, &[]) {
                        return Some(turn.fail(why.into()));
                    }
                }
                _ => {}
            }
        }
        self.read(turn, net, buffer)
    }

    fn read(&mut self, turn: &mut Turn, net: &mut Reactor, buffer: &mut [u8]) -> Option<Happened<R>> {
        while turn.readable {
            let Connection { link, state } = self;
            let got = match link.read(net, buffer, |bytes| state.take(bytes)) {
                Ok(got) => got,
                Err(failure) => {
                    turn.is_over = true;
                    return Some(Happened::Failed { failure, answered: state.answered() });
                }
            };
            if let Got::End { said } = got {
                turn.is_over = true;
                return Some(match state.end(said) {
                    Ok(answered) => Happened::Answered { answered, is_closed: true },
                    Err(failure) => Happened::Failed { failure, answered: None },
                });
            }
            match got {
                Got::Nothing => turn.readable = false,
                Got::All if !turn.until_end => turn.readable = false,
                _ => turn.budget = turn.budget.saturating_sub(buffer.len()),
            }
            match self.state {
                State::Handshaking { since } if !self.link.is_handshaking() => {
                    return Some(self.opened(since));
                }
                _ => {}
            }
            if let Some(answered) = self.state.answered() {
                return Some(Happened::Answered { answered, is_closed: false });
            }
            if turn.readable && turn.budget == 0 {
                turn.is_over = true;
                return Some(Happened::Paused);
            }
        }
        None
    }

    fn opened(&mut self, since: Instant) -> Happened<R> {
        self.state = State::Idle { since: Instant::now() };
        Happened::Opened { since }
    }

    /// Puts a request of `len` bytes under way, whose answer `exchange` reads; the next is to [write](Self::write) it.
    pub fn begin(&mut self, request: R, exchange: Exchange, len: usize) {
        debug_assert!(matches!(self.state, State::Idle { .. }), "one request at a time");
        let flight = InFlight { request, exchange, written: 0, len, received: 0, is_whole: false };
        self.state = State::InFlight(Box::new(flight));
    }

    /// Writes what of the request the system takes, and what TLS holds back. `rest` gives bytes of it from a place on, as
    /// many as lie together, and none behind its end.
    ///
    /// # Errors
    /// Where the connection broke. An answer that came before may still be read.
    pub fn write<'b>(
        &mut self,
        net: &mut Reactor,
        rest: impl Fn(usize) -> &'b [u8],
    ) -> Result<(), LinkError> {
        let State::InFlight(flight) = &mut self.state else { return Ok(()) };
        loop {
            let bytes = rest(flight.written);
            let n = self.link.write(net, bytes)?;
            flight.written += n;
            if n < bytes.len() || flight.written == flight.len {
                return Ok(());
            }
        }
    }

    /// Whether the server's system has not agreed to it yet.
    pub fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting { .. })
    }

    /// Whether it does not stand yet.
    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::Connecting { .. } | State::Handshaking { .. })
    }

    /// Since when it is idle, if it is.
    pub fn idle_since(&self) -> Option<Instant> {
        if let State::Idle { since } = self.state { Some(since) } else { None }
    }

    /// The request under way.
    pub fn in_flight(&self) -> Option<&InFlight<R>> {
        if let State::InFlight(flight) = &self.state { Some(flight) } else { None }
    }

    /// Why it is given up when what it does has taken too long.
    pub fn timeout(&self, connect: Duration, answer: Duration) -> Failure {
        if self.is_opening() { Failure::ConnectTimeout(connect) } else { Failure::Timeout(answer) }
    }

    /// The request that ends with it, if one was under way.
    pub fn close(self) -> Option<Box<InFlight<R>>> {
        if let State::InFlight(flight) = self.state { Some(flight) } else { None }
    }

    /// Likewise, and the server is told to forget all of it, what it has not read included.
    pub fn abort(self) -> Option<Box<InFlight<R>>> {
        self.link.abort();
        if let State::InFlight(flight) = self.state { Some(flight) } else { None }
    }
}

impl Turn {
    fn fail<R>(&mut self, failure: Failure) -> Happened<R> {
        self.is_over = true;
        Happened::Failed { failure, answered: None }
    }
}

impl<R: Receive> State<R> {
    /// Bytes came. An error behind an answer leaves the answer whole.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let State::InFlight(flight) = self else { return Err(Fault::surplus(bytes).into()) };
        flight.received += bytes.len() as u64;
        let fed = flight.exchange.feed_all(bytes, &mut flight.request);
        flight.is_whole = flight.exchange.is_done();
        fed.map(|_| ()).map_err(Failure::from)
    }

    /// What was under way, if its answer is whole; then nothing is.
    fn answered(&mut self) -> Option<Box<InFlight<R>>> {
        if !matches!(self, State::InFlight(flight) if flight.is_whole) {
            return None;
        }
        match mem::replace(self, State::Idle { since: Instant::now() }) {
            State::InFlight(flight) => Some(flight),
            _ => None,
        }
    }

    /// The server ended the connection, in TLS `said` so or not: an error unless that ends an answer.
    fn end(&mut self, said: bool) -> Result<Box<InFlight<R>>, Failure> {
        match self {
            State::InFlight(flight) => {
                flight.exchange.end()?;
                if !said && !flight.is_whole {
                    return Err(Failure::Unconfirmed);
                }
                flight.is_whole = true;
            }
            State::Idle { since } => return Err(Failure::ClosedIdle(since.elapsed())),
            State::Connecting { .. } | State::Handshaking { .. } => return Err(Failure::ClosedHandshake),
        }
        Ok(self.answered().expect("it is whole"))
    }
}

impl<R> InFlight<R> {
    /// Whether anything of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.exchange.has_begun()
    }

    /// Bytes of the answer that came.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether another request may follow on the connection.
    pub fn keeps_alive(&self) -> bool {
        // What is left of a request would be taken for the next one.
        self.exchange.keeps_alive() && self.written == self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::{Head, Missing};

    #[derive(Debug, Default, PartialEq)]
    struct Seen(u16, usize);

    impl Receive for Seen {
        fn head(&mut self, head: &Head<'_>) {
            self.0 = head.status;
        }

        fn body(&mut self, bytes: &[u8]) {
            self.1 += bytes.len();
        }
    }

    fn in_flight(head_only: bool) -> State<Seen> {
        State::InFlight(Box::new(InFlight {
            request: Seen::default(),
            exchange: Exchange::new(head_only),
            written: 0,
            len: 0,
            received: 0,
            is_whole: false,
        }))
    }

    fn idle() -> State<Seen> {
        State::Idle { since: Instant::now() }
    }

    #[test]
    fn an_answer_is_what_was_asked_for() {
        let mut state = in_flight(false);
        state.take(b"HTTP/1.1 503 x\r\nContent-Length: 6\r\n\r\nabc").unwrap();
        assert!(state.answered().is_none());
        state.take(b"def").unwrap();
        let answered = state.answered().unwrap();
        assert_eq!((&answered.request, answered.received), (&Seen(503, 6), 43));
        assert!(answered.keeps_alive() && matches!(state, State::Idle { .. }));
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_a_fault() {
        let since = Instant::now();
        for mut state in [idle(), State::Connecting { since }, State::Handshaking { since }] {
            assert!(matches!(state.take(b"x"), Err(Failure::Response(Fault::Surplus(_)))));
        }
        // Behind an answer they are one, and the answer stays.
        for pieces in [&[&b"HTTP/1.1 204\r\n\r\n"[..], b"x"][..], &[b"HTTP/1.1 204\r\n\r\nx"]] {
            let mut state = in_flight(true);
            let taken = pieces.iter().map(|piece| state.take(piece)).collect::<Result<Vec<_>, _>>();
            assert!(matches!(taken, Err(Failure::Response(Fault::Surplus(_)))));
            assert_eq!(state.answered().unwrap().request.0, 204);
        }
    }

    #[test]
    fn an_end_is_an_error_unless_it_ends_a_body() {
        let since = Instant::now();
        assert!(matches!(idle().end(true), Err(Failure::ClosedIdle(_))));
        assert!(matches!(State::<Seen>::Handshaking { since }.end(true), Err(Failure::ClosedHandshake)));
        let missing = Fault::Closed(Missing::Everything);
        assert!(matches!(in_flight(false).end(true), Err(Failure::Response(fault)) if fault == missing));
        for said in [true, false] {
            let mut state = in_flight(false);
            state.take(b"HTTP/1.1 200 OK\r\n\r\nbody").unwrap();
            assert!(state.answered().is_none());
            match state.end(said) {
                Ok(answered) => assert!(said && !answered.keeps_alive() && answered.request.1 == 4),
                Err(failure) => assert!(!said && matches!(failure, Failure::Unconfirmed)),
            }
        }
    }
}
