//! Sockets: the only room that knows mio, and TLS.

mod deadlines;
mod link;
mod outbox;
mod reactor;
mod timer;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use deadlines::Deadlines;
pub use link::{Got, Link, LinkError};
pub use outbox::{Outbox, Segments, Unsent};
pub use reactor::{Reactor, Socket, Waker};
pub use tls::{Tls, Trust};

/// The network as a gateway sees it. [`Reactor`] is the real one; the simulator has another.
///
/// Every call but `poll` returns at once. Readiness is edge-triggered: after an event, a socket is
/// worth reading (writing) until it says [`io::ErrorKind::WouldBlock`], or takes fewer bytes than
/// were offered, which says the same (epoll(7), question 9). When a peer's end is known before such a
/// short read, `read_closed` has said so.
pub trait Net {
    /// One connection's socket; dropping it closes it.
    type Socket;

    /// Waits for events, at most as long as `timeout` (for ever if none), and appends them.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Takes the next waiting connection.
    fn accept(&mut self) -> io::Result<(Self::Socket, SocketAddr)>;

    /// Asks for the socket's events under `key`.
    fn register(&mut self, socket: &mut Self::Socket, key: u64) -> io::Result<()>;

    /// Reads into `bytes`; 0 is the end of the stream.
    fn read(&mut self, socket: &mut Self::Socket, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes the slices in order, as many bytes as the socket takes.
    fn write(&mut self, socket: &mut Self::Socket, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the sending side.
    fn shutdown_write(&mut self, socket: &mut Self::Socket);

    /// Accepts nothing more; further connections are refused.
    fn stop_listening(&mut self);
}

/// What became possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connections wait to be accepted.
    Accept,
    /// Someone called [`Waker::wake`].
    Woken,
    /// Of the socket registered under `key`.
    Socket {
        /// As given to [`Net::register`].
        key: u64,
        /// There is something to read, or the end.
        readable: bool,
        /// There is room to write.
        writable: bool,
        /// The peer has ended its sending side: after what is readable comes the end.
        read_closed: bool,
    },
}
