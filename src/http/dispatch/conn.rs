//! One connection to the server, and the request on it.

use std::time::{Instant, SystemTime};

use super::judge::{Answer, retry_after};
use crate::core::limits::DISPATCH_QUOTE_MAX;
use crate::http::driver::Connection;
use crate::http::wire::{Head, Receive};
use crate::runtime::net::Moment;

/// One connection.
pub struct Conn {
    /// Drives it.
    pub http: Connection<Sent>,
    /// Which of all connections it is.
    pub serial: usize,
    /// Which of the addresses it goes to.
    pub endpoint: usize,
    /// When it is given up, whatever it does.
    pub due: Option<Instant>,
    /// The earliest entry among the deadlines that will look at it.
    pub armed: Option<Moment>,
    /// Whether an answer ever came on it.
    pub is_proven: bool,
}

impl Conn {
    /// Whether its first request is under way, and nothing of the answer has come.
    pub fn awaits_first_answer(&self) -> bool {
        !self.is_proven && self.http.in_flight().is_some_and(|flight| !flight.has_begun())
    }
}

/// A request under way, and what is kept of the answer.
pub struct Sent {
    /// The number of the request among those that were given.
    pub flight: usize,
    /// When it was begun.
    pub began: Instant,
    status: u16,
    retry_after: Option<Box<[u8]>>,
    location: Option<Box<str>>,
    body: Vec<u8>,
    /// Bytes of the body, kept or not.
    len: u64,
    max: usize,
}

impl Sent {
    /// Nothing came. At most `answer_max` bytes of the answer are kept.
    pub fn new(flight: usize, began: Instant, answer_max: usize) -> Sent {
        let (status, retry_after, location, body) = (0, None, None, Vec::new());
        Sent { flight, began, status, retry_after, location, body, len: 0, max: answer_max }
    }

    /// What the server said.
    pub fn answer(&self, now: SystemTime) -> Answer<'_> {
        Answer {
            status: self.status,
            retry_after: self.retry_after.as_deref().and_then(|value| retry_after(value, now)),
            location: self.location.as_deref(),
            body: &self.body,
            is_whole: self.len == self.body.len() as u64,
        }
    }
}

impl Receive for Sent {
    fn head(&mut self, head: &Head<'_>) {
        // A date has fewer, and of an address no more is quoted.
        let short =
            |name| head.field(name).map(|value: &[u8]| &value[..value.len().min(4 * DISPATCH_QUOTE_MAX)]);
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
    use crate::http::wire::Exchange;

    #[test]
    fn the_beginning_of_an_answer_is_kept() {
        let mut sent = Sent::new(0, Instant::now(), 4);
        let mut exchange = Exchange::new(false);
        exchange
            .feed(b"HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 6\r\n\r\nabc", &mut sent)
            .unwrap();
        exchange.feed(b"def", &mut sent).unwrap();
        let answer = sent.answer(SystemTime::now());
        assert_eq!((answer.status, answer.body, answer.is_whole), (503, &b"abcd"[..], false));
        assert_eq!(answer.retry_after.unwrap().as_secs(), 7);
    }
}
