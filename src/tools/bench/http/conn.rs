//! One connection of the load.

use std::time::Instant;

use crate::http::driver::Connection;
use crate::http::wire::{Head, Receive};
use crate::runtime::net::Moment;

/// One connection. While nobody speaks, it owns a socket and nothing else.
pub struct Conn {
    /// What it does now.
    pub life: Life,
    /// Which of the endpoints it goes to.
    pub endpoint: usize,
    /// When something is due: it is opened, gives up, or sends.
    pub due: Option<Instant>,
    /// The earliest entry among the deadlines that will look at it.
    pub armed: Option<Moment>,
    /// Whether it stands in the line of those that a request may go to.
    pub in_line: bool,
}

/// ```text
/// Waiting ── Open ── Waiting again, or Ended
/// ```
pub enum Life {
    /// To be opened.
    Waiting,
    /// Being opened, thinking, or with a request under way.
    Open(Connection<Sent>),
    /// Never to be opened again.
    Ended,
}

/// A request under way. Of its response, only the status is of interest.
pub struct Sent {
    /// When it should have been sent, which its latency counts from.
    pub intended: Instant,
    /// The response's status, once that is known.
    pub status: u16,
}

impl Conn {
    /// To be opened.
    pub fn new() -> Conn {
        Conn { life: Life::Waiting, endpoint: 0, due: None, armed: None, in_line: false }
    }

    /// What drives it, while it is open.
    pub fn http(&mut self) -> Option<&mut Connection<Sent>> {
        if let Life::Open(http) = &mut self.life { Some(http) } else { None }
    }
}

impl Receive for Sent {
    fn head(&mut self, head: &Head<'_>) {
        self.status = head.status;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_are_small() {
        assert!(size_of::<Conn>() <= 136, "{} bytes each", size_of::<Conn>());
    }
}
