//! The real network: mio, edge-triggered.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Event, Net};
use crate::limits::{BACKLOG, EVENTS};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

// A key must fit into a token.
const _: () = assert!(size_of::<usize>() >= size_of::<u64>(), "framegate needs a 64-bit system");

/// The sockets' readiness, one listener, and a waker.
pub struct Reactor {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    waker: Waker,
}

/// Ends the reactor's wait from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// The reactor's current or next poll returns.
    pub fn wake(&self) {
        if let Err(error) = self.0.wake() {
            // The counter behind it is full: it is awake already.
            log::debug!("wake: {error}");
        }
    }
}

impl Reactor {
    /// Listens on `address`.
    pub fn bind(address: SocketAddr) -> io::Result<Reactor> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for connections of the run before to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());

        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Reactor { poll, events: Events::with_capacity(EVENTS), listener: Some(listener), waker })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// A handle that ends a wait.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Net for Reactor {
    type Socket = TcpStream;

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        events.extend(self.events.iter().map(|event| match event.token() {
            LISTENER => Event::Accept,
            WAKER => Event::Woken,
            Token(key) => Event::Socket {
                key: key as u64,
                readable: event.is_readable() || event.is_error(),
                writable: event.is_writable() || event.is_error(),
                read_closed: event.is_read_closed() || event.is_error(),
            },
        }));
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
        let (stream, peer) = listener.accept()?;
        // Replies and frames go out as they are due; batching is the outbox's work, not the system's.
        if let Err(error) = stream.set_nodelay(true) {
            // The peer is gone already; reading says so.
            log::trace!("nodelay: {error}");
        }
        Ok((stream, peer))
    }

    fn register(&mut self, socket: &mut TcpStream, key: u64) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket, Token(key as usize), both)
    }

    fn read(&mut self, socket: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| socket.read(bytes))
    }

    fn write(&mut self, socket: &mut TcpStream, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| socket.write_vectored(slices))
    }

    fn shutdown_write(&mut self, socket: &mut TcpStream) {
        if let Err(error) = socket.shutdown(std::net::Shutdown::Write) {
            // The peer was faster; the next read says so.
            log::trace!("shutdown: {error}");
        }
    }

    fn stop_listening(&mut self) {
        self.listener = None;
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
