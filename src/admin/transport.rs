//! A connection's bytes, and until when it has time.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncWrite};

use crate::core::limits::ADMIN_STALL;

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

/// A socket that says when something was taken.
#[derive(Debug)]
pub struct Timed {
    socket: Async<TcpStream>,
    patience: Arc<Patience>,
}

impl Timed {
    /// A socket and its patience.
    pub fn new(socket: Async<TcpStream>, patience: Arc<Patience>) -> Timed {
        Timed { socket, patience }
    }
}

impl AsyncRead for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
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
    use futures_lite::{AsyncWriteExt, future};

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
        let mut timed = Timed::new(Async::new(peer).unwrap(), patience.clone());
        let has_ended = || block_on(future::poll_once(patience.ends())).is_some();
        block_on(timed.write_all(b"a response")).unwrap();
        assert!(has_ended());
        patience.stream();
        patience.give(Duration::ZERO);
        block_on(timed.write_all(b"an event")).unwrap();
        assert!(!has_ended());
    }
}
