//! What peers and users are told.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::frame::{Fault, Status};
use crate::units::plain;

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
}

impl CloseReason {
    /// The status of the last reply, where the peer gets one.
    pub fn status(&self) -> Option<Status> {
        match self {
            CloseReason::Fault(fault) => Some(fault.status()),
            CloseReason::Unauthorized => Some(Status::Unauthorized),
            CloseReason::Slow => Some(Status::Slow),
            CloseReason::Draining => Some(Status::Closing),
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
            CloseReason::BadDigest => f.write_str("a digest does not match"),
            CloseReason::Slow => f.write_str("fell further behind than its outbox allows"),
            CloseReason::Idle => f.write_str("idle"),
            CloseReason::FrameTimeout => f.write_str("began a frame and did not go on"),
            CloseReason::Reclaimed => f.write_str("stalled while others waited for memory"),
            CloseReason::Draining => f.write_str("the gateway is draining"),
        }
    }
}

/// The kind of an error of a socket, in a word or two.
pub fn kind_of(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => "reset",
        ErrorKind::TimedOut => "timed out",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::AddrNotAvailable => "no local port",
        _ if is_out_of_files(error) => "no open file",
        _ => "system",
    }
}

/// Whether the system refused a file descriptor: the limit of the process or of all.
pub fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

/// A text of somebody else in one line, as [`plain`] has it.
pub fn one_line(text: &str) -> String {
    plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_errors_have_kinds() {
        for (error, kind) in [
            (ErrorKind::ConnectionRefused.into(), "refused"),
            (ErrorKind::BrokenPipe.into(), "reset"),
            (io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()), "no open file"),
            (ErrorKind::InvalidData.into(), "system"),
        ] {
            assert_eq!(kind_of(&error), kind);
        }
    }
}
