//! One connection's bytes, in the clear or through TLS.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Write};
use std::time::Duration;

use rustls::{CertificateError, ClientConnection, InvalidMessage};

use super::{Net, Reactor, Socket, SocketWriter, Tls};

/// A socket, and TLS on it where that is wanted.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    /// Boxed: most have none, and one is a thousand bytes.
    session: Option<Box<ClientConnection>>,
}

/// Why a link is no more.
#[derive(Debug)]
pub enum LinkError {
    /// The connection broke.
    Broken(io::Error),
    /// TLS failed.
    Tls(rustls::Error),
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// Nothing; the next event tells of more.
    Nothing,
    /// All that was there, and perhaps the end behind it, of which an event has told then.
    All,
    /// As much as the buffer holds; there may be more.
    Some,
    /// The end of the stream.
    End {
        /// Whether the peer said so where that can be told from an accident: in TLS.
        said: bool,
    },
}

impl Link {
    /// A connection that stands, or is on its way, with TLS where `tls` is given.
    pub fn new(socket: Socket, tls: Option<&Tls>) -> Result<Link, LinkError> {
        let session = tls.map(Tls::session).transpose().map_err(LinkError::Tls)?;
        Ok(Link { socket, session: session.map(Box::new) })
    }

    /// Ends the connection at once: the peer is told to forget all of it, what it has not read included.
    pub fn abort(self) {
        // Without that it ends as others do, which the peer notices later.
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// Whether the connection stands; not yet, where the event was about something else.
    pub fn is_connected(&self, net: &Reactor) -> io::Result<bool> {
        net.is_connected(&self.socket)
    }

    /// Whether TLS is still being agreed on.
    pub fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_handshaking())
    }

    /// Whether TLS has something to send that the system did not take yet.
    pub fn holds_back(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    /// Writes what of `bytes` the system takes now, and says how many. What TLS holds back goes first; with
    /// no bytes, only that.
    pub fn write(&mut self, net: &mut Reactor, bytes: &[u8]) -> Result<usize, LinkError> {
        let Some(session) = &mut self.session else {
            return match net.write(&mut self.socket, &[IoSlice::new(bytes)]) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(0),
                written => Ok(written?),
            };
        };
        let mut taken = 0;
        loop {
            // It keeps at most 64 KiB that the system did not take, then it takes nothing more.
            let n = session.writer().write(&bytes[taken..])?;
            taken += n;
            if !flush(session, net, &mut self.socket)? || (n == 0 || taken == bytes.len()) {
                return Ok(taken);
            }
        }
    }

    /// The same of slices, in order.
    pub fn write_vectored(
        &mut self,
        net: &mut Reactor,
        mut slices: &mut [IoSlice<'_>],
    ) -> Result<usize, LinkError> {
        let Some(session) = &mut self.session else {
            return match net.write(&mut self.socket, slices) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(0),
                written => Ok(written?),
            };
        };
        let mut taken = 0;
        while flush(session, net, &mut self.socket)? {
            let n = session.writer().write_vectored(slices)?;
            taken += n;
            IoSlice::advance_slices(&mut slices, n);
            if n == 0 {
                break;
            }
        }
        Ok(taken)
    }

    /// Ends the sending side.
    pub fn end(&mut self, net: &mut Reactor) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            // Where the system does not take it, the end of the stream says the same.
            let _ = flush(session, net, &mut self.socket);
        }
        net.shutdown_write(&mut self.socket);
    }

    /// Reads once into `buffer` and gives what it means to `take`.
    pub fn read<E: From<LinkError>>(
        &mut self,
        net: &mut Reactor,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Got, E> {
        let n = match net.read(&mut self.socket, buffer) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(Got::Nothing),
            n => n.map_err(LinkError::Broken)?,
        };
        let got = if n < buffer.len() { Got::All } else { Got::Some };
        let Some(session) = &mut self.session else {
            return match n {
                0 => Ok(Got::End { said: true }),
                n => take(&buffer[..n]).map(|()| got),
            };
        };
        let mut wire = &buffer[..n];
        loop {
            // An empty read tells it of the end.
            session.read_tls(&mut wire).map_err(LinkError::Broken)?;
            let state = session.process_new_packets();
            if let Err(why) = state {
                // The peer is told what is wrong, if it still listens.
                let _ = flush(session, net, &mut self.socket);
                return Err(LinkError::Tls(why).into());
            }
            let ended = hand_over(session, &mut take)?;
            if session.wants_write() {
                flush(session, net, &mut self.socket).map_err(LinkError::Broken)?;
            }
            match ended {
                Some(said) => return Ok(Got::End { said }),
                None if wire.is_empty() => return Ok(got),
                None => {}
            }
        }
    }
}

/// Gives on all that was deciphered. At the end of the stream, it says whether the peer announced it.
fn hand_over<E: From<LinkError>>(
    session: &mut ClientConnection,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<bool>, E> {
    let mut reader = session.reader();
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(Some(true)),
            Ok(plain) => {
                let n = plain.len();
                take(plain)?;
                reader.consume(n);
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(false)),
            Err(why) => return Err(LinkError::Broken(why).into()),
        }
    }
}

/// Writes what TLS wants to send; whether the system took all of it.
fn flush(session: &mut ClientConnection, net: &mut Reactor, socket: &mut Socket) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(&mut SocketWriter(net, socket)) {
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(why) => return Err(why),
        }
    }
    Ok(true)
}

impl From<io::Error> for LinkError {
    fn from(why: io::Error) -> LinkError {
        LinkError::Broken(why)
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Broken(why) => why.fmt(f),
            LinkError::Tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => f.write_str(
                "who issued the certificate is not trusted here: name their file in SSL_CERT_FILE, or give --insecure",
            ),
            LinkError::Tls(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                f.write_str("the server does not speak TLS: use http://")
            }
            LinkError::Tls(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for LinkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_faults_of_tls_say_the_mend() {
        for (why, part) in [
            (InvalidMessage::InvalidContentType.into(), "use http://"),
            (CertificateError::UnknownIssuer.into(), "--insecure"),
            (CertificateError::Expired.into(), "expired"),
        ] {
            let text = LinkError::Tls(why).to_string();
            assert!(text.to_lowercase().contains(part) && !text.contains('\n'), "{text}");
        }
    }
}
