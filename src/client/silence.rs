//! When a gateway that is connected and says nothing is taken for gone.
//!
//! A process that is stopped or hangs, or a server that is not a gateway: its system takes connections and bytes for it
//! all the same, so nothing but an answer shows that a gateway is there. A PING asks for one.

use std::time::{Duration, Instant};

use crate::core::units::about;

/// 30 s without a word before a gateway is taken for gone, unless it is set.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// 20 s without a word, then a PING, so that a gateway that closes idle connections (after minutes, as a rule) sees that
/// this one is meant to stay.
const PING_EVERY: Duration = Duration::from_secs(20);

/// 100 ms: a write that took so long waited for the other side, and going on it showed that bytes are read there.
const WAITED: Duration = Duration::from_millis(100);

/// 1 s after which one that has said nothing at all is asked: what is not a gateway need not be waited for as long.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// The payload of a PING to one that has said nothing yet. To a gateway it says nothing; to a server of HTTP, or of any protocol
/// of lines, it is the end of a request that makes no sense, which it refuses at once instead of waiting for more of it.
pub const ANSWER_ME: &[u8] = b"\r\n\r\n";

/// 500 ms before what looks like silence counts: a client that was stopped itself has answers to read first.
const DOUBT: Duration = Duration::from_millis(500);

/// What is known of the silence on one connection. Since when there is one, its owner knows: `heard`.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    timeout: Option<Duration>,
    /// Since when an answer is asked for, if one is.
    asked: Option<Instant>,
    /// When the last PING was sent.
    pinged: Option<Instant>,
    /// When the other side last made room for a write that waited.
    moved: Option<Instant>,
    /// Since when it looks like the end.
    doubted: Option<Instant>,
}

impl Silence {
    /// On a new connection; without a timeout a gateway may be silent for ever.
    pub fn new(timeout: Option<Duration>) -> Silence {
        Silence { timeout, asked: None, pinged: None, moved: None, doubted: None }
    }

    /// How long there is silence before a PING.
    pub fn ping_every(&self) -> Duration {
        self.timeout.map_or(PING_EVERY, |timeout| PING_EVERY.min(timeout / 2).max(Duration::from_millis(1)))
    }

    /// How long to wait for a read or a write before looking here again.
    pub fn look_every(&self) -> Duration {
        (self.ping_every() / 4).min(ASK_AFTER / 4).max(Duration::from_millis(1))
    }

    /// When the next PING is due; `has_spoken` if anything came on this connection.
    pub fn ping_at(&self, heard: Instant, has_spoken: bool) -> Instant {
        match self.pinged {
            None if !has_spoken => heard + ASK_AFTER.min(self.ping_every()),
            pinged => pinged.map_or(heard, |pinged| pinged.max(heard)) + self.ping_every(),
        }
    }

    /// Whether a PING was sent on this connection.
    pub fn is_asked(&self) -> bool {
        self.pinged.is_some()
    }

    /// A PING is sent: an answer is asked for, if none is yet.
    pub fn ask(&mut self, heard: Instant, now: Instant) {
        self.pinged = Some(now);
        self.ask_since(heard, now);
    }

    fn ask_since(&mut self, heard: Instant, since: Instant) {
        if self.asked.is_none_or(|asked| asked < heard) {
            self.asked = Some(since);
        }
    }

    /// A write that began at `began` has come to an end, having written something or not.
    pub fn wrote(&mut self, began: Instant, now: Instant, heard: Instant, bytes: usize) {
        if bytes == 0 {
            // Nothing can be asked meanwhile, but what is to be written stands for that.
            self.ask_since(heard, began.max(heard));
        } else if now.saturating_duration_since(began) >= WAITED.min(self.look_every()) {
            self.moved = Some(now);
        }
    }

    /// Whether the gateway is gone, as far as anybody can tell: it was asked, and has done nothing.
    pub fn is_over(&mut self, heard: Instant, now: Instant) -> bool {
        let Some(timeout) = self.timeout else { return false };
        let long = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let is_silent = long(heard, timeout)
            && self.moved.is_none_or(|moved| long(moved, timeout))
            && self.asked.is_some_and(|asked| asked >= heard && long(asked, timeout / 2));
        if !is_silent {
            self.doubted = None;
            return false;
        }
        long(*self.doubted.get_or_insert(now), DOUBT.min(timeout / 4))
    }

    /// Why a gateway is gone of which [`is_over`](Self::is_over) said so.
    pub fn reason(&self) -> String {
        let time = about(self.timeout.unwrap_or_default());
        format!(
            "it has said nothing for {time}, not even to a PING: it hangs, or is stopped or paused (--timeout)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_ping_without_an_answer_is_the_end() {
        let start = Instant::now();
        let mut silence = Silence::new(Some(30 * S));
        assert_eq!(silence.ping_at(start, true), start + 15 * S);
        assert_eq!(silence.ping_at(start, false), start + ASK_AFTER);
        assert!(!silence.is_asked());
        assert!(!silence.is_over(start, start + 100 * S), "nobody has asked");
        silence.ask(start, start + 15 * S);
        assert_eq!(silence.ping_at(start, false), start + 30 * S);
        assert!(!silence.is_over(start, start + 29 * S));
        // Asking again is no answer.
        silence.ask(start, start + 29 * S);
        // First it is doubted.
        assert!(!silence.is_over(start, start + 30 * S));
        assert!(silence.is_over(start, start + 31 * S));
        // An answer after all.
        let heard = start + 31 * S;
        assert!(!silence.is_over(heard, start + 32 * S) && !silence.is_over(heard, start + 90 * S));
        assert!(
            silence.reason().contains("said nothing for 30s, not even to a PING"),
            "{}",
            silence.reason()
        );
    }

    #[test]
    fn who_takes_bytes_is_there() {
        let start = Instant::now();
        let mut silence = Silence::new(Some(10 * S));
        silence.wrote(start, start + 5 * S, start, 0);
        assert!(!silence.is_over(start, start + 11 * S) && silence.is_over(start, start + 12 * S));
        let mut silence = Silence::new(Some(10 * S));
        silence.wrote(start, start + 5 * S, start, 0);
        silence.wrote(start + 5 * S, start + 9 * S, start, 100);
        assert!(!silence.is_over(start, start + 12 * S) && !silence.is_over(start, start + 18 * S));
        assert!(!silence.is_over(start, start + 19 * S) && silence.is_over(start, start + 20 * S));
        // What is written at once went into a buffer of this side.
        let mut silence = Silence::new(Some(10 * S));
        silence.ask(start, start + S);
        silence.wrote(start + 5 * S, start + 5 * S, start, 100);
        assert!(!silence.is_over(start, start + 11 * S) && silence.is_over(start, start + 12 * S));
    }

    #[test]
    fn without_a_timeout_there_is_no_end() {
        let start = Instant::now();
        let mut silence = Silence::new(None);
        silence.ask(start, start + S);
        let far = start + 1_000_000 * S;
        assert!(!silence.is_over(start, far) && !silence.is_over(start, far + S));
        assert_eq!(silence.ping_every(), PING_EVERY);
    }
}
