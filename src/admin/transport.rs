//! A connection's bytes, head by head, and until when it has time.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncWrite};

use super::heads::Heads;
use crate::core::limits::ADMIN_STALL;

/// 1 KiB of a head read at once: what most have.
const READ: usize = 1024;

/// Until when a connection has time. What it sends or takes a few bytes at a time does not buy it more,
/// but for a stream of events, which has as long as it goes on taking them.
#[derive(Debug)]
pub struct Patience {
    start: Instant,
    /// Milliseconds since the start.
    until: AtomicU64,
    streams: AtomicBool,
}

impl Patience {
    /// So long from now.
    pub fn new(time: Duration) -> Arc<Patience> {
        let patience =
            Patience { start: Instant::now(), until: AtomicU64::new(0), streams: AtomicBool::new(false) };
        patience.give(time);
        Arc::new(patience)
    }

    /// So long from now, whatever it was before.
    pub fn give(&self, time: Duration) {
        let until = self.start.elapsed().saturating_add(time).as_millis();
        self.until.store(u64::try_from(until).unwrap_or(u64::MAX), Relaxed);
    }

    /// As long as it goes on taking what is written to it.
    pub fn stream(&self) {
        self.streams.store(true, Relaxed);
        self.give(ADMIN_STALL);
    }

    /// Waits until its time is over.
    pub async fn ends(&self) {
        loop {
            let until = self.start + Duration::from_millis(self.until.load(Relaxed));
            if until <= Instant::now() {
                return;
            }
            Timer::at(until).await;
        }
    }
}

/// Whether what comes next on a connection is the body of a request, and no other head behind it.
#[derive(Debug, Default)]
pub struct BodyNext(AtomicBool);

impl BodyNext {
    /// It is.
    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

/// A socket whose heads are read whole, and that says when something was taken.
#[derive(Debug)]
pub struct Timed {
    socket: Async<TcpStream>,
    patience: Arc<Patience>,
    heads: Heads,
    body_next: Arc<BodyNext>,
}

impl Timed {
    /// A socket, its patience, and what comes on it.
    pub fn new(socket: Async<TcpStream>, patience: Arc<Patience>, body_next: Arc<BodyNext>) -> Timed {
        Timed { socket, patience, heads: Heads::default(), body_next }
    }
}

impl AsyncRead for Timed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Timed { socket, heads, body_next, .. } = self.get_mut();
        if body_next.0.load(Relaxed) {
            return match heads.take_any(buf) {
                0 => Pin::new(socket).poll_read(cx, buf),
                taken => Poll::Ready(Ok(taken)),
            };
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match heads.take(buf) {
                Ok(0) => {}
                Ok(taken) => return Poll::Ready(Ok(taken)),
                Err(too_long) => return Poll::Ready(Err(io::Error::other(too_long))),
            }
            let (mut read, room) = ([0; READ], heads.room().min(READ));
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut read[..room]))? {
                0 => {
                    heads.end();
                    return Poll::Ready(Ok(heads.take(buf).unwrap_or(0)));
                }
                n => heads.add(&read[..n]),
            }
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(_))) && self.patience.streams.load(Relaxed) {
            self.patience.give(ADMIN_STALL);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_io::block_on;
    use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
    use std::io::Write;

    #[test]
    fn patience_ends_when_it_was_given_last() {
        let start = Instant::now();
        let patience = Patience::new(Duration::from_millis(5));
        patience.give(Duration::from_millis(30));
        block_on(patience.ends());
        assert!(start.elapsed() >= Duration::from_millis(30));
        block_on(patience.ends());
    }

    #[test]
    fn only_a_stream_gets_more_time_for_what_it_takes() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let patience = Patience::new(Duration::ZERO);
        let mut timed = Timed::new(Async::new(peer).unwrap(), patience.clone(), Arc::default());
        let has_ended = || block_on(future::poll_once(patience.ends())).is_some();
        block_on(timed.write_all(b"a response")).unwrap();
        assert!(has_ended());
        patience.stream();
        patience.give(Duration::ZERO);
        block_on(timed.write_all(b"an event")).unwrap();
        assert!(!has_ended());
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_one_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let body_next = Arc::<BodyNext>::default();
        let patience = Patience::new(Duration::from_secs(60));
        let mut timed = Timed::new(Async::new(socket).unwrap(), patience, body_next.clone());
        let head = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut buffer = [0; 1024];
        for byte in head {
            let read = block_on(future::poll_once(timed.read(&mut buffer)));
            assert!(read.is_none(), "it waits for the rest: {read:?}");
            peer.write_all(&[*byte]).unwrap();
        }
        assert_eq!(block_on(timed.read(&mut buffer)).unwrap(), head.len());
        body_next.set();
        peer.write_all(b"{").unwrap();
        assert_eq!(block_on(timed.read(&mut buffer)).unwrap(), 1);
        drop(peer);
        assert_eq!(block_on(timed.read(&mut buffer)).unwrap(), 0);
    }
}
