//! Why a connection was closed, as its peer and its log line are told.

use std::fmt;
use std::io;

use crate::runtime::tls::{CertFault, TlsFault};
use crate::wire::access::Refusal;
use crate::wire::{Fault, Status};

/// Why a connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer ended it, and everything that it sent was finished.
    Finished,
    /// The system said that the connection is no more.
    Lost(io::ErrorKind),
    /// The peer sent what cannot be cut into frames, or a frame that is too large.
    Fault(Fault),
    /// The first frame did not carry the listener's HMAC.
    Unauthorized,
    /// The access file does not let it be here.
    Refused(Box<Refusal>),
    /// There is no TLS with it.
    Tls(Box<TlsFault>),
    /// Its certificate is not taken any more.
    Certificate(Box<CertFault>),
    /// A digest was wrong and the gateway is set to close then.
    BadDigest,
    /// The subscriber fell further behind than its outbox allows.
    Slow,
    /// Nothing came and nothing went for the idle timeout.
    Idle,
    /// A frame was begun and did not go on for the frame timeout.
    FrameTimeout,
    /// Memory was needed and this peer had stalled while holding some.
    Reclaimed,
    /// The gateway drains.
    Draining,
    /// A newer connection took its durable name.
    Taken,
    /// It acknowledged what it was not given.
    AckAhead {
        /// The sequence that it acknowledged.
        seq: u64,
        /// The last that it was given; 0 if none was.
        given: u64,
    },
    /// Its durable name was moved, forgotten or denied: it is to come again.
    Moved(String),
}

impl CloseReason {
    /// The status of the last reply, where the peer gets one.
    pub fn status(&self) -> Option<Status> {
        match self {
            CloseReason::Fault(fault) => Some(fault.status()),
            CloseReason::Unauthorized | CloseReason::Refused(_) | CloseReason::Certificate(_) => {
                Some(Status::Unauthorized)
            }
            // Who does not speak TLS may speak frames.
            CloseReason::Tls(fault) if matches!(**fault, TlsFault::NotTls(_)) => Some(Status::Malformed),
            CloseReason::Slow => Some(Status::Slow),
            CloseReason::Draining | CloseReason::Moved(_) => Some(Status::Closing),
            CloseReason::Taken => Some(Status::Taken),
            CloseReason::AckAhead { .. } => Some(Status::Malformed),
            _ => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Finished => f.write_str("finished"),
            CloseReason::Lost(kind) => write!(f, "lost: {kind}"),
            CloseReason::Fault(fault) => fault.fmt(f),
            CloseReason::Unauthorized => {
                f.write_str("the first frame does not carry the HMAC of the gateway's secret")
            }
            CloseReason::Refused(refusal) => refusal.fmt(f),
            CloseReason::Tls(fault) => fault.fmt(f),
            CloseReason::Certificate(fault) => write!(f, "{fault}, by what is in force now"),
            CloseReason::BadDigest => f.write_str("a digest does not match"),
            CloseReason::Slow => f.write_str("fell further behind than its outbox allows"),
            CloseReason::Idle => f.write_str("idle"),
            CloseReason::FrameTimeout => f.write_str("began a frame and did not go on"),
            CloseReason::Reclaimed => f.write_str("stalled while others waited for memory"),
            CloseReason::Draining => f.write_str("the gateway is draining"),
            CloseReason::Taken => f.write_str("a newer connection took this durable name"),
            CloseReason::AckAhead { seq, given: 0 } => {
                write!(f, "an ACK of {seq}, and nothing was delivered yet")
            }
            CloseReason::AckAhead { seq, given } => {
                write!(f, "an ACK of {seq}, and the last that was delivered is {given}")
            }
            CloseReason::Moved(why) => f.write_str(why),
        }
    }
}
