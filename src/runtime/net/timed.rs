//! A blocking socket with an instant until which it has time, for threads that do one thing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A socket that is read and written until its deadline. What a peer sends or takes a few bytes at a time does not buy
/// it more, but for a [stream](Timed::stream).
#[derive(Debug)]
pub struct Timed<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
    /// How long a stream may stall.
    stall: Option<Duration>,
}

impl<'a> Timed<'a> {
    /// A socket with so much time from now.
    pub fn new(socket: &'a TcpStream, time: Duration) -> Timed<'a> {
        Timed { socket, deadline: later(time), stall: None }
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
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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
