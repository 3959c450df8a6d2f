//! Making a connection.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::stream::Stream;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::core::limits::START_PAUSE;
use crate::core::units::about;
use crate::runtime::net::Liveness;

/// 5 s for each address of a name: longer than any gateway in reach takes to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// 30 s: a gateway that vanished without a word (a pulled plug, a forgetful firewall) is noticed within half a minute,
/// even where nothing is to be sent.
const VANISHED_AFTER: Duration = Duration::from_secs(30);

/// Whether a connection is under TLS.
#[derive(Clone, Default)]
pub struct Security {
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Security")
    }
}

/// The same as [`connect`], and where nobody listens tries again until `patience` is over: a gateway that was started a
/// moment ago may not listen yet.
pub fn connect_within(to: &str, security: &Security, patience: Duration) -> io::Result<Stream> {
    let began = Instant::now();
    let mut is_said = false;
    loop {
        match connect(to, security) {
            Err(why)
                if why.kind() == io::ErrorKind::ConnectionRefused
                    && began.elapsed() + START_PAUSE < patience =>
            {
                if !is_said {
                    log::debug!("{to}: {why}; trying again for {}", about(patience));
                    is_said = true;
                }
                thread::sleep(START_PAUSE);
            }
            result => return result,
        }
    }
}

/// Connects to the first address of `to` that answers.
pub fn connect(to: &str, security: &Security) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in to.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                // What is written is complete: waiting for more to fill a packet only adds delay.
                stream.set_nodelay(true)?;
                Liveness::within(VANISHED_AFTER).set((&stream).into())?;
                return secure(stream, to, security);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(feature = "tls")]
fn secure(stream: TcpStream, to: &str, security: &Security) -> io::Result<Stream> {
    match &security.tls {
        None => Ok(Stream::plain(stream)),
        Some(tls) => tls.agree(stream, to),
    }
}

#[cfg(not(feature = "tls"))]
fn secure(stream: TcpStream, _: &str, _: &Security) -> io::Result<Stream> {
    Ok(Stream::plain(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_vanishes_is_noticed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(&listener.local_addr().unwrap().to_string(), &Security::default()).unwrap();
        let socket = socket2::SockRef::from(stream.socket());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), VANISHED_AFTER / 2);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(VANISHED_AFTER));
    }
}
