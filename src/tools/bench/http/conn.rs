//! One connection of the load.

use std::time::Instant;

use crate::http::connect::Failure;
use crate::http::wire::{Exchange, Fault, Head, Receive};
use crate::runtime::net::{Link, Moment};

/// One connection. While nobody speaks, it owns a socket and nothing else.
pub struct Conn {
    /// What it does now.
    pub life: Life,
    /// Its socket; none while it waits or has ended.
    pub link: Option<Link>,
    /// Which of the places it goes to.
    pub place: usize,
    /// When something is due: it is opened, gives up, or sends.
    pub due: Option<Instant>,
    /// The earliest entry among the deadlines that will look at it.
    pub armed: Option<Moment>,
    /// Whether it stands in the line of those that a request may go to.
    pub in_line: bool,
}

/// ```text
/// Waiting ── Opening ── Idle ⇄ Busy
///    └──────────┴─────────┴──────┴── Waiting again, or Ended
/// ```
#[derive(Debug)]
pub enum Life {
    /// To be opened.
    Waiting,
    /// Connecting, then agreeing on TLS.
    Opening {
        /// When it began to.
        since: Instant,
    },
    /// Thinking, or in line for a request.
    Idle {
        /// Since when.
        since: Instant,
    },
    /// Sending a request and receiving the response.
    Busy(Busy),
    /// Never to be opened again.
    Ended,
}

/// A request and its response, under way.
#[derive(Debug)]
pub struct Busy {
    exchange: Exchange,
    /// When it should have been sent, which its latency counts from.
    pub intended: Instant,
    /// Bytes of the request that were sent.
    pub written: usize,
    /// Bytes of the response that came.
    pub bytes: u64,
    /// The response's status, once that is known.
    pub status: u16,
    /// Whether the response is whole.
    pub done: bool,
}

impl Conn {
    /// To be opened.
    pub fn new() -> Conn {
        Conn { life: Life::Waiting, link: None, place: 0, due: None, armed: None, in_line: false }
    }
}

impl Life {
    /// Whether it stands.
    pub fn is_alive(&self) -> bool {
        matches!(self, Life::Idle { .. } | Life::Busy(_))
    }

    /// Bytes came. An error behind a response leaves the response [done](Busy::done).
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Life::Busy(busy) => busy.take(bytes),
            _ => Err(Fault::surplus(bytes).into()),
        }
    }

    /// The server ended the connection, in TLS `said` so or not. An error unless that ends a body.
    pub fn end(&mut self, said: bool, now: Instant) -> Result<(), Failure> {
        match self {
            Life::Busy(busy) => {
                busy.exchange.end()?;
                if !said && !busy.done {
                    return Err(Failure::Unconfirmed);
                }
                busy.done = true;
                Ok(())
            }
            Life::Idle { since } => Err(Failure::ClosedIdle(now.saturating_duration_since(*since))),
            _ => Err(Failure::ClosedHandshake),
        }
    }
}

impl Busy {
    /// Nothing was sent and nothing came.
    pub fn new(exchange: Exchange, intended: Instant) -> Busy {
        Busy { exchange, intended, written: 0, bytes: 0, status: 0, done: false }
    }

    /// Whether another request may follow.
    pub fn keeps_alive(&self) -> bool {
        self.exchange.keeps_alive()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        let fed = self.exchange.feed_all(bytes, &mut Status(&mut self.status));
        // What comes behind a response does not undo it.
        self.done = self.exchange.is_done();
        fed.map(|_| ()).map_err(Failure::from)
    }
}

/// Of a response, only the status is of interest.
struct Status<'a>(&'a mut u16);

impl Receive for Status<'_> {
    fn head(&mut self, head: &Head<'_>) {
        *self.0 = head.status;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::Missing;
    use std::time::Duration;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n";

    fn busy(head_only: bool) -> Life {
        Life::Busy(Busy::new(Exchange::new(head_only), Instant::now()))
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_a_fault() {
        let now = Instant::now();
        for mut life in [Life::Idle { since: now }, Life::Opening { since: now }] {
            assert!(matches!(life.take(b"x"), Err(Failure::Response(Fault::Surplus(_)))));
        }
        let mut life = busy(true);
        assert!(life.take(b"HTTP/1.1 204\r\n\r\n").is_ok());
        assert!(matches!(&life, Life::Busy(busy) if busy.done && busy.status == 204 && busy.bytes == 16));
        assert!(matches!(life.take(b"x"), Err(Failure::Response(Fault::Surplus(_)))));
        let mut life = busy(true);
        let surplus = life.take(b"HTTP/1.1 204\r\n\r\nx");
        assert!(matches!(surplus, Err(Failure::Response(Fault::Surplus(_)))));
        assert!(matches!(&life, Life::Busy(busy) if busy.done && busy.status == 204));
    }

    #[test]
    fn an_end_is_an_error_unless_it_ends_a_body() {
        let now = Instant::now();
        let mut idle = Life::Idle { since: now };
        let later = now + Duration::from_secs(2);
        assert!(matches!(idle.end(true, later), Err(Failure::ClosedIdle(after)) if after.as_secs() == 2));
        assert!(matches!(Life::Opening { since: now }.end(true, now), Err(Failure::ClosedHandshake)));
        let missing = Fault::Closed(Missing::Everything);
        assert!(matches!(busy(false).end(true, now), Err(Failure::Response(fault)) if fault == missing));
        for (said, is_ok) in [(true, true), (false, false)] {
            let mut life = busy(false);
            life.take(&[HEAD, b"\r\nbody"].concat()).unwrap();
            assert!(matches!(&life, Life::Busy(busy) if !busy.done));
            assert_eq!(life.end(said, now).is_ok(), is_ok);
            assert!(matches!(&life, Life::Busy(busy) if busy.done == is_ok && !busy.keeps_alive()));
        }
    }

    #[test]
    fn ten_thousand_are_small() {
        assert!(size_of::<Conn>() <= 216, "{} bytes each", size_of::<Conn>());
    }
}
