//! A blocking socket with an instant until which it has time, for threads that do one thing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A socket that is read and written until its deadline. What a peer sends or takes a few bytes at a time does not buy
/// it more, but for a [stream](Timed::stream).
pub struct Timed<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
    /// How long a stream may stall.
    stall: Option<Duration>,
    /// Boxed: most have none.
    #[cfg(feature = "tls")]
    session: Option<Box<rustls::Connection>>,
}

impl<'a> Timed<'a> {
    /// A socket with so much time from now.
    pub fn new(socket: &'a TcpStream, time: Duration) -> Timed<'a> {
        Timed {
            socket,
            deadline: later(time),
            stall: None,
            #[cfg(feature = "tls")]
            session: None,
        }
    }

    /// Agrees on TLS, within its time; what is read and written from then on goes through it.
    ///
    /// # Errors
    /// What the system says, and [`ErrorKind::InvalidData`] with what TLS says.
    #[cfg(feature = "tls")]
    pub fn secure(&mut self, session: rustls::Connection) -> Result<(), super::LinkError> {
        let mut session = Box::new(session);
        while session.is_handshaking() {
            self.flush(&mut session)?;
            if session.is_handshaking() {
                self.take(&mut session)?;
            }
        }
        self.flush(&mut session)?;
        self.session = Some(session);
        Ok(())
    }

    /// Reads records once. Whether it was not the end.
    #[cfg(feature = "tls")]
    fn take(&mut self, session: &mut rustls::Connection) -> Result<bool, super::LinkError> {
        let mut buffer = [0; 4096];
        let n = self.read_socket(&mut buffer)?;
        let mut records = &buffer[..n];
        if n == 0 && session.is_handshaking() {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        loop {
            // An empty read tells it of the end.
            session.read_tls(&mut records)?;
            if let Err(why) = session.process_new_packets() {
                // The other side is told, if it still listens.
                let _ = self.flush(session);
                return Err(super::LinkError::Tls(why));
            }
            if records.is_empty() {
                return Ok(n > 0);
            }
        }
    }

    /// Writes what was sealed.
    #[cfg(feature = "tls")]
    fn flush(&mut self, session: &mut rustls::Connection) -> io::Result<()> {
        let mut records = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut records)?;
        }
        self.write_socket(&records)
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(mut session) = self.session.take() {
            session.send_close_notify();
            let flushed = self.flush(&mut session);
            self.session = Some(session);
            flushed?;
        }
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// So much time from now, whatever it was before.
    pub fn give(&mut self, time: Duration) {
        self.deadline = later(time);
    }

    /// As long as it goes on taking what is written to it, and never takes nothing for longer than `stall`.
    pub fn stream(&mut self, stall: Duration) {
        self.stall = Some(stall);
        self.give(stall);
    }

    /// Reads something; 0 at the end.
    ///
    /// # Errors
    /// What the system says, and [`ErrorKind::TimedOut`] at the deadline.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(mut session) = self.session.take() {
            let read = loop {
                match session.reader().read(buffer) {
                    // Without the word that nothing more comes, it is the end all the same.
                    Err(why) if why.kind() == ErrorKind::UnexpectedEof => break Ok(0),
                    Err(why) if why.kind() == ErrorKind::WouldBlock => match self.take(&mut session) {
                        Ok(_) => {}
                        Err(super::LinkError::Broken(why)) => break Err(why),
                        Err(super::LinkError::Tls(why)) => {
                            break Err(io::Error::new(ErrorKind::InvalidData, why));
                        }
                    },
                    read => break read,
                }
            };
            self.session = Some(session);
            return read;
        }
        self.read_socket(buffer)
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.set_read_timeout(Some(self.left()?))?;
            match (&mut &*self.socket).read(buffer) {
                Err(why) if is_only_late(&why) => {}
                read => return read,
            }
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Like [`read`](Timed::read).
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(mut session) = self.session.take() {
            let mut left = bytes;
            let written = loop {
                let sealed = session.writer().write(left).and_then(|n| {
                    left = &left[n..];
                    self.flush(&mut session)
                });
                if sealed.is_err() || left.is_empty() {
                    break sealed;
                }
            };
            self.session = Some(session);
            return written;
        }
        self.write_socket(bytes)
    }

    fn write_socket(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(self.left()?))?;
            match (&mut &*self.socket).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = &bytes[n..];
                    if let Some(stall) = self.stall {
                        self.give(stall);
                    }
                }
                Err(why) if is_only_late(&why) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// What is left of its time, which a system takes as a timeout: never nothing.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl std::fmt::Debug for Timed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timed").field("socket", self.socket).finish_non_exhaustive()
    }
}

/// Whether there is only nothing yet: whether that is too late, the deadline says.
fn is_only_late(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// An instant so far ahead; an hour where the clock does not reach so far.
fn later(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now + Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, peer)
    }

    #[test]
    fn what_comes_byte_by_byte_does_not_buy_time() {
        let (socket, mut peer) = pair();
        let start = Instant::now();
        let mut timed = Timed::new(&socket, Duration::from_millis(5));
        timed.give(Duration::from_millis(50));
        peer.write_all(b"xx").unwrap();
        for _ in 0..2 {
            assert_eq!(timed.read(&mut [0]).unwrap(), 1);
        }
        assert_eq!(timed.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(50));
        peer.write_all(b"x").unwrap();
        assert_eq!(timed.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut, "its time is over");
    }

    #[test]
    fn only_a_stream_gets_more_time_for_what_it_takes() {
        let (socket, _peer) = pair();
        let mut timed = Timed::new(&socket, Duration::from_secs(60));
        let before = timed.deadline;
        timed.write_all(b"a response").unwrap();
        assert_eq!(timed.deadline, before);
        timed.stream(Duration::from_secs(120));
        let before = timed.deadline;
        timed.write_all(b"an event").unwrap();
        assert!(timed.deadline > before);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up() {
        let (socket, _peer) = pair();
        let mut timed = Timed::new(&socket, Duration::from_millis(50));
        // More than both systems' buffers hold.
        let wrong = timed.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::TimedOut);
    }
}
