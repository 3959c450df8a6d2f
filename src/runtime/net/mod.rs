//! Sockets and pipes: the only room that knows mio, and that starts programs.

mod acceptor;
mod deadlines;
mod error_kind;
#[cfg(feature = "tls")]
mod link;
mod liveness;
mod moment;
mod outbox;
mod process;
mod reactor;
mod socket_writer;
mod timed;
mod timer;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
pub use crate::runtime::tls::{Tls, Trust};
pub use acceptor::Acceptor;
pub use deadlines::Deadlines;
pub use error_kind::{is_out_of_files, kind_of};
#[cfg(feature = "tls")]
pub use link::{Got, Link, LinkError};
pub use liveness::Liveness;
pub use moment::Moment;
pub use outbox::{Outbox, Segments, Unsent};
pub use process::ChildProcess;
pub use reactor::{Reactor, Socket, Waker};
pub use socket_writer::SocketWriter;
pub use timed::Timed;

/// The network as a gateway sees it. [`Reactor`] is the real one; the simulator has another.
///
/// Every call but `poll` returns at once. Readiness is edge-triggered: after an event, a socket is
/// worth reading (writing) until it says [`io::ErrorKind::WouldBlock`], or takes fewer bytes than
/// were offered, which says the same (epoll(7), question 9). When a peer's end is known before such a
/// short read, `read_closed` has said so.
pub trait Net {
    /// One connection's socket; dropping it closes it.
    type Socket;
    /// One program that was started; dropping it ends it.
    type Process: Process;

    /// Waits for events, at most as long as `timeout` (for ever if none), and appends them.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// What the clock says in the middle of a turn, to measure by; nothing is decided by it.
    fn now(&self) -> Instant;

    /// Takes the next waiting connection, and says at which listener it came: 0 is the first.
    fn accept(&mut self) -> io::Result<(Self::Socket, SocketAddr, usize)>;

    /// Asks for the socket's events under `key`.
    fn register(&mut self, socket: &mut Self::Socket, key: u64) -> io::Result<()>;

    /// Reads into `bytes`; 0 is the end of the stream.
    fn read(&mut self, socket: &mut Self::Socket, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes the slices in order, as many bytes as the socket takes.
    fn write(&mut self, socket: &mut Self::Socket, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Whether the peer has ended its sending side and nothing is left to read before that end.
    fn is_at_end(&mut self, socket: &mut Self::Socket) -> bool;

    /// Why the system gave the connection up, where it did. It may tell only once.
    fn failure(&mut self, socket: &mut Self::Socket) -> Option<io::ErrorKind>;

    /// Ends the sending side.
    fn shutdown_write(&mut self, socket: &mut Self::Socket);

    /// Begins to listen where the address is only reserved yet.
    fn listen(&mut self) -> io::Result<()>;

    /// Accepts nothing more; further connections are refused.
    fn stop_listening(&mut self);

    /// Starts a program with its arguments, and asks for the events of its pipes under `key`, a number
    /// below 2⁶⁰ that no other program has had.
    fn start(&mut self, command: &[String], key: u64) -> io::Result<Self::Process>;
}

/// A program that was started, and its three pipes. No call waits, and all follow the rules of [`Net`].
pub trait Process {
    /// The system's number for it.
    fn id(&self) -> u32;

    /// Reads of its standard output; 0 is the end.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Reads of its standard error; 0 is the end.
    fn read_log(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes to its standard input, as many bytes as the pipe takes.
    fn write(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Ends its standard input.
    fn end_input(&mut self);

    /// Ends it at once, with whatever it started itself.
    fn kill(&mut self);

    /// How it ended, once it has. Nothing of it is left then.
    fn ended(&mut self) -> Option<String>;
}

/// A pipe of a program, by what it is to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// Its standard input.
    Input,
    /// Its standard output.
    Output,
    /// Its standard error.
    Log,
}

/// What became possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connections wait to be accepted.
    Accept,
    /// Someone called [`Waker::wake`].
    Woken,
    /// A program's pipe can be written to (its input) or read, or has come to its end.
    Pipe {
        /// As given to [`Net::start`].
        key: u64,
        /// Which of its pipes.
        pipe: Pipe,
    },
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
        /// The connection is no more, in either direction: it was reset, or its peer has vanished.
        reset: bool,
    },
}
