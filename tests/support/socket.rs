//! A client's socket that a gateway under test can have closed when it ends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What says that the other side will send nothing more, whatever is still to be read.
#[cfg(target_os = "linux")]
const ENDED: PollFlags = PollFlags::RDHUP;
#[cfg(not(target_os = "linux"))]
const ENDED: PollFlags = PollFlags::HUP;

/// 10 ms: how often it is looked whether the gateway has ended.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The socket is closed when this is dropped, as a plain one is.
#[derive(Debug)]
pub struct Socket(Arc<TcpStream>);

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Socket {
        Socket(Arc::new(socket))
    }
}

impl Deref for Socket {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The clients of a gateway, as far as they are still connected.
#[derive(Default)]
pub struct Peers(Vec<Weak<TcpStream>>);

impl Peers {
    pub fn add(&mut self, socket: &Socket) {
        self.0.push(Arc::downgrade(&socket.0));
    }

    /// Until it `is_over`, each client to which the gateway sends nothing more ends its own direction, too. Without that
    /// the gateway would give each of them the two seconds that a peer may take to close.
    pub fn close_when_told(&mut self, is_over: impl Fn() -> bool) {
        while !is_over() {
            let mut open: Vec<Arc<TcpStream>> = self.0.iter().filter_map(Weak::upgrade).collect();
            if open.is_empty() {
                return;
            }
            let mut polled: Vec<PollFd<'_>> = open.iter().map(|socket| PollFd::new(socket, ENDED)).collect();
            poll(&mut polled, Some(&LOOK_EVERY)).expect("sockets can be waited for");
            let mut told =
                polled.iter().map(|polled| !polled.revents().is_empty()).collect::<Vec<_>>().into_iter();
            open.retain(|socket| {
                let is_told = told.next().expect("one for each");
                if is_told {
                    // Where the client has ended it itself, or the connection broke, there is nothing to end.
                    let _ = socket.shutdown(Shutdown::Write);
                }
                !is_told
            });
            self.0 = open.iter().map(Arc::downgrade).collect();
        }
    }
}
