//! Why a connection ended that should have lived on.

use std::fmt;
use std::io;
use std::time::Duration;

use humantime::format_duration;

use crate::http::wire::Fault;
use crate::runtime::net::LinkError;
use crate::runtime::net::kind_of;

/// Why a connection ended that should have lived on, or never stood.
#[derive(Debug)]
pub enum Failure {
    /// It could not be made.
    Connect(io::Error),
    /// It, or its TLS, did not stand in time.
    ConnectTimeout(Duration),
    /// It broke, or its TLS failed.
    Link(LinkError),
    /// No whole response came in time.
    Timeout(Duration),
    /// The server closed it, without a word of that before, after it was idle for so long.
    ClosedIdle(Duration),
    /// The server closed it while TLS was agreed on.
    ClosedHandshake,
    /// The server closed it at what may be the end of a body, which TLS must confirm and did not.
    Unconfirmed,
    /// What came is no response, or only a part of one.
    Response(Fault),
}

impl Failure {
    /// The kind that it is counted under.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Connect(why) | Failure::Link(LinkError::Broken(why)) => kind_of(why),
            Failure::ConnectTimeout(_) | Failure::Timeout(_) => "timed out",
            Failure::ClosedIdle(_) | Failure::ClosedHandshake | Failure::Response(Fault::Closed(_)) => {
                "closed"
            }
            Failure::Response(_) => "bad response",
            Failure::Unconfirmed | Failure::Link(LinkError::Tls(_)) => "TLS",
        }
    }
}

impl From<LinkError> for Failure {
    fn from(why: LinkError) -> Failure {
        Failure::Link(why)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Response(fault)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(why) => write!(f, "cannot connect: {}", without_number(why)),
            Failure::ConnectTimeout(after) => write!(f, "no connection within {}", format_duration(*after)),
            Failure::Link(LinkError::Broken(why)) => {
                write!(f, "the connection broke: {}", without_number(why))
            }
            Failure::Link(why) => why.fmt(f),
            Failure::Timeout(after) => write!(f, "no whole response within {}", format_duration(*after)),
            Failure::ClosedIdle(after) => {
                write!(f, "closed by the server after {after:.2?} without a request")
            }
            Failure::ClosedHandshake => f.write_str("closed by the server during the TLS handshake"),
            Failure::Unconfirmed => {
                f.write_str("closed by the server without the close_notify that a body until the end needs")
            }
            Failure::Response(fault) => fault.fmt(f),
        }
    }
}

/// The system's words, without its number.
pub fn without_number(why: &io::Error) -> String {
    let text = why.to_string();
    text.find(" (os error").map_or(text.clone(), |at| text[..at].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::Missing;

    #[test]
    fn each_is_of_a_kind_and_says_what_happened() {
        let refused = || io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        for (failure, kind, text) in [
            (Failure::Connect(refused()), "refused", "cannot connect: Connection refused"),
            (Failure::ConnectTimeout(Duration::from_secs(3)), "timed out", "no connection within 3s"),
            (
                Failure::Link(LinkError::Broken(io::ErrorKind::ConnectionReset.into())),
                "reset",
                "the connection broke: connection reset",
            ),
            (Failure::Timeout(Duration::from_millis(1500)), "timed out", "no whole response within 1s 500ms"),
            (Failure::ClosedHandshake, "closed", "closed by the server during the TLS handshake"),
            (
                Failure::Response(Fault::Closed(Missing::Everything)),
                "closed",
                "closed by the server before it answered",
            ),
            (
                Failure::Response(Fault::LengthsDiffer),
                "bad response",
                "more than one Content-Length, and they differ",
            ),
            (
                Failure::Unconfirmed,
                "TLS",
                "closed by the server without the close_notify that a body until the end needs",
            ),
        ] {
            assert_eq!((failure.kind(), failure.to_string().as_str()), (kind, text));
        }
    }
}
