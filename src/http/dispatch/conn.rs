//! One connection to the store.

use std::time::{Instant, SystemTime};

use super::judge::{Answer, retry_after};
use crate::core::limits::COURIER_QUOTE_MAX;
use crate::http::connect::Failure;
use crate::http::wire::{Exchange, Fault, Head, Receive};
use crate::runtime::net::{Link, Moment};

/// One connection. While it is idle, it owns a socket and nothing else.
pub struct Conn {
    /// What it does now.
    pub life: Life,
    /// Its socket.
    pub link: Link,
    /// Which of all connections it is.
    pub serial: usize,
    /// Which of the addresses it goes to.
    pub place: usize,
    /// When it is given up, whatever it does.
    pub due: Option<Instant>,
    /// The earliest entry among the deadlines that will look at it.
    pub armed: Option<Moment>,
    /// Whether an answer ever came on it.
    pub is_proven: bool,
}

/// ```text
/// Connecting ── Handshaking ── Idle ⇄ Busy; from each to the end
/// ```
pub enum Life {
    /// The store's system has not agreed to it yet.
    Connecting {
        /// When it was begun.
        since: Instant,
    },
    /// TLS is being agreed on.
    Handshaking,
    /// To be used again.
    Idle,
    /// Sending a letter and receiving the answer.
    Busy(Box<Busy>),
}

/// A letter under way.
pub struct Busy {
    /// The letter's place among those that were given.
    pub flight: usize,
    /// When it was begun.
    pub began: Instant,
    /// Bytes of the request that were sent, and how many there are.
    pub written: usize,
    /// See `written`.
    pub len: usize,
    /// Whether the answer is whole.
    pub is_done: bool,
    exchange: Exchange,
    seen: Seen,
}

impl Conn {
    /// Whether its first request is under way, and nothing of the answer has come.
    pub fn awaits_first_answer(&self) -> bool {
        !self.is_proven && matches!(&self.life, Life::Busy(busy) if !busy.has_begun())
    }
}

impl Life {
    /// Bytes came. An error behind an answer leaves the answer [done](Busy::is_done).
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Life::Busy(busy) => busy.take(bytes),
            _ => Err(Fault::surplus(bytes).into()),
        }
    }

    /// The store ended the connection, in TLS `said` so or not. An error unless that ends an answer.
    pub fn end(&mut self, said: bool) -> Result<(), Failure> {
        match self {
            Life::Busy(busy) => {
                busy.exchange.end()?;
                if !said && !busy.is_done {
                    return Err(Failure::Unconfirmed);
                }
                busy.is_done = true;
                Ok(())
            }
            Life::Idle => Err(Fault::Closed(crate::http::wire::Missing::Everything).into()),
            Life::Connecting { .. } | Life::Handshaking => Err(Failure::ClosedHandshake),
        }
    }
}

impl Busy {
    /// Nothing was sent and nothing came. At most `answer_max` bytes of the answer are kept.
    pub fn new(flight: usize, began: Instant, exchange: Exchange, answer_max: usize) -> Busy {
        let seen =
            Seen { status: 0, retry_after: None, location: None, body: Vec::new(), len: 0, max: answer_max };
        Busy { flight, began, written: 0, len: 0, is_done: false, exchange, seen }
    }

    /// Whether anything of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.exchange.has_begun()
    }

    /// Whether another letter may follow on the connection.
    pub fn keeps_alive(&self) -> bool {
        // What is left of a request would be taken for the next one.
        self.exchange.keeps_alive() && self.written == self.len
    }

    /// What the store said.
    pub fn answer(&self, now: SystemTime) -> Answer<'_> {
        let seen = &self.seen;
        Answer {
            status: seen.status,
            retry_after: seen.retry_after.as_deref().and_then(|value| retry_after(value, now)),
            location: seen.location.as_deref(),
            body: &seen.body,
            is_whole: seen.len == seen.body.len() as u64,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let fed = self.exchange.feed_all(bytes, &mut self.seen);
        // What comes behind an answer does not undo it.
        self.is_done = self.exchange.is_done();
        fed.map(|_| ()).map_err(Failure::from)
    }
}

/// What is kept of an answer.
struct Seen {
    status: u16,
    retry_after: Option<Box<[u8]>>,
    location: Option<Box<str>>,
    body: Vec<u8>,
    /// Bytes of the body, kept or not.
    len: u64,
    max: usize,
}

impl Receive for Seen {
    fn head(&mut self, head: &Head<'_>) {
        // A date has fewer, and of an address no more is quoted.
        let short =
            |name| head.field(name).map(|value: &[u8]| &value[..value.len().min(4 * COURIER_QUOTE_MAX)]);
        self.status = head.status;
        self.retry_after = short("retry-after").map(Into::into);
        self.location = short("location").map(|value| String::from_utf8_lossy(value).into());
    }

    fn body(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let room = self.max - self.body.len();
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(max: usize) -> Life {
        Life::Busy(Box::new(Busy::new(0, Instant::now(), Exchange::new(false), max)))
    }

    #[test]
    fn the_beginning_of_an_answer_is_kept() {
        let mut life = busy(4);
        life.take(b"HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 6\r\n\r\nabc").unwrap();
        life.take(b"def").unwrap();
        let Life::Busy(busy) = &life else { panic!() };
        let answer = busy.answer(SystemTime::now());
        assert_eq!((answer.status, answer.body, answer.is_whole), (503, &b"abcd"[..], false));
        assert_eq!(answer.retry_after.unwrap().as_secs(), 7);
        assert!(busy.is_done && busy.keeps_alive());
        assert!(life.take(b"x").is_err());
    }

    #[test]
    fn an_end_is_an_error_unless_it_ends_an_answer() {
        assert!(Life::Idle.end(true).is_err() && Life::Handshaking.end(true).is_err());
        assert!(busy(9).end(true).is_err());
        let mut life = busy(9);
        life.take(b"HTTP/1.1 200 OK\r\n\r\nall").unwrap();
        assert!(life.end(false).is_err());
        assert!(life.end(true).is_ok());
        assert!(matches!(life, Life::Busy(busy) if busy.is_done && !busy.keeps_alive()));
    }
}
