//! Why a client cannot go on, in one line with the mend.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::core::limits::PAYLOAD_MAX;
use crate::core::units::about;
use crate::wire::{Fault, Kind, TopicError};

/// Why a client cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// What was given for an address is none.
    Address(String),
    /// No connection could be made, or none again within the time that retrying may take.
    Unreachable {
        /// The address.
        to: String,
        /// What the system or the gateway said last.
        why: String,
        /// How long it was tried; nothing if only once.
        tried: Duration,
    },
    /// TLS could not be agreed on, or one side does not take the other's certificate.
    Tls {
        /// The address.
        to: String,
        /// What is wrong, with the mend.
        why: String,
    },
    /// What was given for TLS cannot be used.
    Options(String),
    /// The gateway closed the connection or it was lost, and nothing may be sent again.
    Gone {
        /// The address.
        to: String,
        /// What the system or the gateway said.
        why: String,
    },
    /// The gateway wants a secret or an identity, or others.
    Unauthorized {
        /// Whether a secret was given.
        keyed: bool,
        /// What the gateway says; with a secret it may be somebody else's word.
        reason: String,
    },
    /// What was given for an identity cannot be one.
    Identity(String),
    /// The digest of what the gateway sent is wrong.
    BadDigest {
        /// Whether a secret was given.
        keyed: bool,
        /// Whether it is the digest of a gateway without a secret.
        plain: bool,
    },
    /// The gateway could not make sense of what was sent.
    Malformed(String),
    /// What answers is not a gateway.
    NoGateway {
        /// The address.
        to: String,
        /// What it did that no gateway does.
        why: String,
    },
    /// The topic of a frame or the pattern of a subscription is not allowed.
    Topic(TopicError),
    /// The topic is longer than the protocol can say.
    TopicTooLong,
    /// The gateway refused the pattern of a subscription.
    Rejected {
        /// The pattern.
        pattern: String,
        /// The gateway's reason.
        reason: String,
    },
    /// Another connection took the durable name.
    Taken(String),
    /// A payload larger than any gateway takes, in bytes.
    TooLarge(usize),
    /// [`Interrupter::interrupt`](super::Interrupter::interrupt) was called.
    Interrupted,
}

impl Error {
    /// No connection to `to` could be made, for the system's reason.
    pub fn unreachable(to: &str, why: &io::Error) -> Error {
        if why.kind() == io::ErrorKind::InvalidInput {
            return Error::Address(to.to_string());
        }
        #[cfg(feature = "tls")]
        if let Some(why) = super::tls::said(why) {
            return Error::Tls { to: to.to_string(), why };
        }
        Error::Unreachable { to: to.to_string(), why: explain(why), tried: Duration::ZERO }
    }

    /// What answers at `to` is not a gateway, since this is no frame.
    pub(super) fn no_gateway(to: &str, fault: &Fault) -> Error {
        Error::NoGateway { to: to.to_string(), why: fault.to_string() }
    }

    /// What answers at `to` is not a gateway, since it sends such a frame where a REPLY is due: an echo does that.
    pub(super) fn echo(to: &str, kind: Kind) -> Error {
        let why = format!("it sent a {} frame where only a REPLY can come", kind.name());
        Error::NoGateway { to: to.to_string(), why }
    }

    /// Whether it is about the other side and not about what was asked of it.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. }
                | Error::Gone { .. }
                | Error::NoGateway { .. }
                | Error::Malformed(_)
                | Error::Tls { .. }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(to) => {
                write!(f, "invalid address '{to}': write it as HOST:PORT, such as 127.0.0.1:7450")
            }
            Error::Unreachable { to, why, tried } if tried.is_zero() => {
                write!(f, "cannot reach a gateway at {to}: {why}: is the gateway running? framegate serve")
            }
            Error::Unreachable { to, why, tried } => {
                write!(f, "gave up on the gateway at {to} after {}: {why}", about(*tried))
            }
            Error::Tls { to, why } => write!(f, "no TLS with the gateway at {to}: {why}"),
            Error::Options(wrong) => f.write_str(wrong),
            Error::Gone { to, why } => write!(f, "the gateway at {to} went away: {why}"),
            Error::Unauthorized { reason, .. } if !reason.contains("HMAC") && !reason.is_empty() => {
                write!(f, "the gateway refuses this connection: {reason}")
            }
            Error::Unauthorized { keyed: false, .. } => {
                f.write_str("the gateway wants a secret: give --secret-file")
            }
            Error::Unauthorized { keyed: true, .. } => {
                f.write_str("the gateway has another secret: give its --secret-file")
            }
            Error::Identity(wrong) => f.write_str(wrong),
            Error::BadDigest { plain: true, .. } => {
                f.write_str("the gateway has no secret: leave --secret-file out")
            }
            Error::BadDigest { keyed: true, .. } => f.write_str(
                "the gateway's digest is wrong: it has another secret, or its bytes were damaged on the way",
            ),
            Error::BadDigest { keyed: false, .. } => f.write_str(
                "the gateway's digest is wrong: it has a secret (give --secret-file), or its bytes were damaged on the way",
            ),
            Error::Malformed(reason) => write!(f, "the gateway cannot read what was sent: {reason}"),
            Error::NoGateway { to, why } => {
                write!(f, "what answers at {to} is not a gateway: {why}: check the address")
            }
            Error::Topic(error) => error.fmt(f),
            Error::TopicTooLong => f.write_str("the topic is longer than 255 bytes"),
            Error::Rejected { pattern, reason } => {
                write!(f, "the gateway refuses the pattern '{pattern}': {reason}")
            }
            Error::Taken(name) => write!(
                f,
                "another connection took the durable name {name}: only one can have it, so give this one another name or \
                 stop the other"
            ),
            Error::TooLarge(bytes) => {
                write!(f, "a payload of {bytes} bytes is larger than any gateway takes ({PAYLOAD_MAX})")
            }
            Error::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

/// The system's words, without its number.
pub(super) fn explain(why: &io::Error) -> String {
    let text = why.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}
