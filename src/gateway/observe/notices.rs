//! Log lines that do not flood: events of one kind, at one listener, are counted between lines. So what goes on at one
//! listener does not hide what goes wrong at another.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Instant;

use log::Level;

use crate::core::limits::NOTICE_EVERY;

/// Kinds of events that peers can cause as often as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A peer sent what is no frame.
    Fault,
    /// The same at a listener with a layout.
    Layout,
    /// A foreign frame is refused.
    Refusal,
    /// A first frame without the secret's HMAC.
    Unauthorized,
    /// A frame, or a pattern, that its connection may not have.
    NotPermitted,
    /// A frame with a wrong digest.
    BadDigest,
    /// A subscriber was closed for being slow.
    Slow,
    /// Frames were dropped for a slow subscriber.
    Dropped,
    /// A peer was closed since it stalled.
    Stalled,
    /// A connection was refused at the limit.
    Refused,
    /// The same at the limit of one address.
    AddressFull,
    /// TLS could not be agreed on with a connection.
    Tls,
    /// What came at a listener with TLS is something else.
    NotTls,
    /// The system could not give a connection.
    AcceptFailed,
    /// The deduplication window is full.
    DedupFull,
    /// A handler failed, or could not be started.
    HandlerFailed,
    /// What a handler answered before its turn found no room to wait in.
    AnswersWait,
}

/// Where an event happened: the place of a listener among all; none where it is of no listener.
type At = Option<u16>;

/// When each kind was last logged at each listener, and how often it occurred since: as many entries as there are kinds
/// and listeners.
#[derive(Debug, Default)]
pub struct Notices {
    last: HashMap<(Notice, At), (Instant, u64)>,
}

impl Notices {
    /// Whether a message of a kind would be logged now: where making it costs something.
    pub fn is_due(&self, kind: Notice, listener: u16, now: Instant) -> bool {
        let last = self.last.get(&(kind, Some(listener)));
        last.is_none_or(|(at, _)| now.saturating_duration_since(*at) >= NOTICE_EVERY)
    }

    /// Logs `message`, unless one of its kind was logged a moment ago: then it is counted, and the
    /// next line says how many there were.
    pub fn say(&mut self, kind: Notice, level: Level, now: Instant, message: impl Display) {
        self.log((kind, None), level, now, message);
    }

    /// The same of a connection that came at a listener.
    pub fn say_at(&mut self, listener: u16, kind: Notice, level: Level, now: Instant, message: impl Display) {
        self.log((kind, Some(listener)), level, now, message);
    }

    fn log(&mut self, of: (Notice, At), level: Level, now: Instant, message: impl Display) {
        match self.last.get_mut(&of) {
            Some((at, more)) if now.saturating_duration_since(*at) < NOTICE_EVERY => *more += 1,
            Some((at, more)) => {
                match *more {
                    0 => log::log!(level, "{message}"),
                    more => log::log!(level, "{message} (and {more} more like it before)"),
                }
                (*at, *more) = (now, 0);
            }
            None => {
                log::log!(level, "{message}");
                self.last.insert(of, (now, 0));
            }
        }
    }

    /// Events that were counted and not logged.
    #[cfg(test)]
    fn unsaid(&self) -> u64 {
        self.last.values().map(|(_, more)| more).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_repeats_is_counted() {
        let (start, mut notices) = (Instant::now(), Notices::default());
        for ms in [0, 1, 2] {
            notices.say(Notice::Fault, Level::Trace, start + Duration::from_millis(ms), "no frame");
        }
        notices.say(Notice::Slow, Level::Trace, start, "slow");
        assert_eq!(notices.unsaid(), 2);
        notices.say(Notice::Fault, Level::Trace, start + NOTICE_EVERY, "no frame");
        assert_eq!(notices.unsaid(), 0);
    }

    #[test]
    fn what_repeats_at_one_listener_hides_nothing_at_another() {
        let (now, mut notices) = (Instant::now(), Notices::default());
        for _ in 0..10 {
            notices.say_at(1, Notice::Layout, Level::Trace, now, "no frame");
        }
        assert!(!notices.is_due(Notice::Layout, 1, now) && notices.is_due(Notice::Layout, 2, now));
        assert!(notices.is_due(Notice::Refusal, 1, now));
        notices.say_at(2, Notice::Layout, Level::Trace, now, "no frame");
        assert_eq!((notices.unsaid(), notices.last.len()), (9, 2));
    }
}
