//! The real network: mio, edge-triggered.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Type};

use super::process::ChildProcess;
use super::timer::Timer;
use super::{Event, Liveness, Net, Pipe};
use crate::core::limits::{BACKLOG, EVENTS};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);
/// The tokens of programs' pipes have this bit, which no connection's key has.
const PIPES: usize = 1 << 63;

/// With a timer, a wait of more than 4 ms ends without events 1 to 2 ms before its time, and its rest is waited
/// for to the microsecond.
const FAR: Duration = Duration::from_millis(4);
/// See [`FAR`].
const NEAR: Duration = Duration::from_millis(2);

/// A socket of a [`Reactor`].
pub type Socket = TcpStream;

// A key must fit into a token.
const _: () = assert!(size_of::<usize>() >= size_of::<u64>(), "framegate needs a 64-bit system");

/// The sockets' readiness, a listener where one is wanted, and a waker.
pub struct Reactor {
    poll: Poll,
    events: Events,
    listeners: Vec<TcpListener>,
    /// Where to look first for a connection that waits.
    next: usize,
    /// What is to be a listener, and does not listen yet.
    reserved: Vec<socket2::Socket>,
    timer: Option<Timer>,
    waker: Waker,
}

/// Ends the reactor's wait from any thread.
#[derive(Clone, Debug)]
pub struct Waker(pub(super) Arc<mio::Waker>);

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
    /// Listens on `address`, for peers that are given up when they vanish.
    pub fn bind(address: SocketAddr, liveness: Liveness) -> io::Result<Reactor> {
        let mut reactor = Reactor::reserve(address, liveness)?;
        reactor.listen()?;
        Ok(reactor)
    }

    /// Takes `address`, and refuses who connects there until it is told to [listen](Net::listen).
    pub fn reserve(address: SocketAddr, liveness: Liveness) -> io::Result<Reactor> {
        let mut reactor = Reactor::without_timer()?;
        reactor.reserve_another(address, liveness)?;
        Ok(reactor)
    }

    /// The same for one more address. Where it is; tells the port where 0 was asked for.
    pub fn reserve_another(&mut self, address: SocketAddr, liveness: Liveness) -> io::Result<SocketAddr> {
        let socket = stream_socket(address)?;
        // What is accepted is set as the listener is: there it would cost calls for each connection.
        liveness.set((&socket).into())?;
        // A restart must not wait for connections of the run before to be forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        self.reserved.push(socket);
        Ok(bound)
    }

    /// Listens nowhere: for connections that this side begins. Its waits end to the microsecond, where a
    /// gateway's are rounded up to whole milliseconds: a load is sent when it is due. Long ones may end
    /// earlier, without events.
    pub fn new() -> io::Result<Reactor> {
        let mut reactor = Reactor::without_timer()?;
        reactor.timer = Some(Timer::new(reactor.poll.registry(), TIMER)?);
        Ok(reactor)
    }

    fn without_timer() -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Reactor {
            poll,
            events: Events::with_capacity(EVENTS),
            listeners: Vec::new(),
            next: 0,
            reserved: Vec::new(),
            timer: None,
            waker,
        })
    }

    /// Begins a connection to `to`, from the local address `from` where one is given. Once the registered
    /// socket is writable, [`is_connected`](Self::is_connected) says what became of it.
    ///
    /// # Errors
    /// What the system says at once: no file descriptor, no free local port, no such local address.
    pub fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<Socket> {
        let socket = stream_socket(to)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// Whether a connection that was begun stands; not yet, where the event was about something else.
    ///
    /// # Errors
    /// Why it failed: refused, timed out, no way there.
    pub fn is_connected(&self, socket: &Socket) -> io::Result<bool> {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            // To a free port of this machine, the system may have chosen that very port to connect from.
            Ok(peer) if socket.local_addr()? == peer => Err(io::ErrorKind::ConnectionRefused.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for no more of the socket's events. Dropping the socket does so too.
    pub fn deregister(&self, socket: &mut Socket) -> io::Result<()> {
        self.poll.registry().deregister(socket)
    }

    /// Where it listens first.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match (self.listeners.first(), self.reserved.first()) {
            (Some(listener), _) => listener.local_addr(),
            (None, Some(socket)) => socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported.into()),
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// A handle that ends a wait.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Net for Reactor {
    type Socket = TcpStream;
    type Process = ChildProcess;

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = match (&self.timer, timeout) {
            // Most long waits end early, by an event: setting the timer for those was 4 % of a load's time.
            (Some(_), Some(timeout)) if timeout > FAR => Some(timeout - NEAR),
            (Some(timer), Some(timeout)) => {
                timer.set(timeout)?;
                Some(timeout)
            }
            (None, _) | (_, None) => timeout,
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        events.extend(self.events.iter().filter_map(|event| match event.token() {
            LISTENER => Some(Event::Accept),
            WAKER => Some(Event::Woken),
            TIMER => None,
            Token(token) if token & PIPES != 0 => Some(pipe_event(token)),
            Token(key) => Some(Event::Socket {
                key: key as u64,
                readable: event.is_readable() || event.is_error(),
                writable: event.is_writable() || event.is_error(),
                read_closed: event.is_read_closed() || event.is_error(),
                reset: event.is_error() || event.is_read_closed() && event.is_write_closed(),
            }),
        }));
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr, usize)> {
        for _ in 0..self.listeners.len() {
            // Each in turn, so that none keeps the others waiting.
            let at = self.next;
            self.next = (at + 1) % self.listeners.len();
            let (stream, peer) = match self.listeners[at].accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                accepted => accepted?,
            };
            // Replies and frames go out as they are due; batching is the outbox's work, not the system's.
            if let Err(error) = stream.set_nodelay(true) {
                // The peer is gone already; reading says so.
                log::trace!("nodelay: {error}");
            }
            return Ok((stream, peer, at));
        }
        Err(io::ErrorKind::WouldBlock.into())
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

    fn is_at_end(&mut self, socket: &mut TcpStream) -> bool {
        uninterrupted(|| socket.peek(&mut [0])).is_ok_and(|n| n == 0)
    }

    fn failure(&mut self, socket: &mut TcpStream) -> Option<io::ErrorKind> {
        socket.take_error().ok().flatten().map(|error| error.kind())
    }

    fn shutdown_write(&mut self, socket: &mut TcpStream) {
        if let Err(error) = socket.shutdown(std::net::Shutdown::Write) {
            // The peer was faster; the next read says so.
            log::trace!("shutdown: {error}");
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        for socket in std::mem::take(&mut self.reserved) {
            socket.listen(BACKLOG).map_err(|why| {
                let address = socket.local_addr().ok().and_then(|address| address.as_socket());
                let named = |address| io::Error::new(why.kind(), format!("{address} is already in use"));
                match address.filter(|_| why.kind() == io::ErrorKind::AddrInUse) {
                    Some(address) => named(address),
                    None => why,
                }
            })?;
            let mut listener = TcpListener::from_std(socket.into());
            self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    fn stop_listening(&mut self) {
        (self.listeners, self.reserved, self.next) = (Vec::new(), Vec::new(), 0);
    }

    fn start(&mut self, command: &[String], key: u64) -> io::Result<ChildProcess> {
        ChildProcess::start(command, self.poll.registry(), |pipe| pipe_token(key, pipe))
    }
}

/// A socket to listen or to connect with; it never waits.
fn stream_socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn pipe_token(key: u64, pipe: Pipe) -> Token {
    Token(PIPES | (key as usize) << 2 | pipe as usize)
}

fn pipe_event(token: usize) -> Event {
    let pipe = [Pipe::Input, Pipe::Output, Pipe::Log][(token & 3).min(2)];
    Event::Pipe { key: ((token & !PIPES) >> 2) as u64, pipe }
}

pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Polls until the socket under `key` has an event.
    fn wait_for(reactor: &mut Reactor, wanted: u64) {
        let mut events = Vec::new();
        while !events.iter().any(|event| matches!(event, Event::Socket { key, .. } if *key == wanted)) {
            reactor.poll(Some(PATIENCE), &mut events).unwrap();
            assert!(!events.is_empty(), "nothing happened");
        }
    }

    #[test]
    fn a_connection_from_an_address_of_choice_carries_bytes() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reactor = Reactor::new().unwrap();
        let from = IpAddr::from([127, 0, 0, 2]);
        let mut socket = reactor.connect(listener.local_addr().unwrap(), Some(from)).unwrap();
        reactor.register(&mut socket, 7).unwrap();
        wait_for(&mut reactor, 7);
        assert!(reactor.is_connected(&socket).unwrap());
        let (mut peer, address) = listener.accept().unwrap();
        assert_eq!(address.ip(), from);
        assert_eq!(reactor.write(&mut socket, &[io::IoSlice::new(b"hello")]).unwrap(), 5);
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        reactor.deregister(&mut socket).unwrap();
    }

    #[test]
    fn a_connection_that_is_refused_says_so() {
        // A port that was free a moment ago, and that nobody listens on.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut reactor = Reactor::new().unwrap();
        let refused = reactor.connect(gone, None).and_then(|mut socket| {
            reactor.register(&mut socket, 1)?;
            wait_for(&mut reactor, 1);
            reactor.is_connected(&socket)
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let nowhere = reactor.connect(gone, Some([192, 0, 2, 1].into())).unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn what_is_accepted_notices_a_peer_that_vanishes() {
        for (within, idle, between) in [(20, 10, 3), (300, 150, 50)] {
            let liveness = Liveness::within(Duration::from_secs(within));
            let mut reactor = Reactor::bind("127.0.0.1:0".parse().unwrap(), liveness).unwrap();
            let peer = std::net::TcpStream::connect(reactor.local_addr().unwrap()).unwrap();
            let mut events = Vec::new();
            while !events.contains(&Event::Accept) {
                reactor.poll(Some(PATIENCE), &mut events).unwrap();
            }
            let (accepted, address, _) = reactor.accept().unwrap();
            assert_eq!(address, peer.local_addr().unwrap());
            let socket = socket2::SockRef::from(&accepted);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(between));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(within)));
        }
    }

    #[test]
    fn a_reset_is_an_event_of_its_own_and_an_end_is_not() {
        let liveness = Liveness::within(PATIENCE);
        let mut reactor = Reactor::bind("127.0.0.1:0".parse().unwrap(), liveness).unwrap();
        for is_reset in [false, true] {
            let peer = std::net::TcpStream::connect(reactor.local_addr().unwrap()).unwrap();
            let mut events = Vec::new();
            while !events.contains(&Event::Accept) {
                reactor.poll(Some(PATIENCE), &mut events).unwrap();
            }
            let (mut accepted, ..) = reactor.accept().unwrap();
            reactor.register(&mut accepted, 5).unwrap();
            (&peer).write_all(b"unread").unwrap();
            assert!(!reactor.is_at_end(&mut accepted));
            if is_reset {
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
            } else {
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                // It stays half open for as long as the other direction does.
                std::mem::forget(peer);
            }
            let mut ended = None;
            while ended.is_none() {
                let mut events = Vec::new();
                reactor.poll(Some(PATIENCE), &mut events).unwrap();
                assert!(!events.is_empty(), "nothing happened");
                ended = events.iter().find_map(|event| match event {
                    Event::Socket { key: 5, read_closed: true, reset, .. } => Some(*reset),
                    _ => None,
                });
            }
            assert_eq!(ended, Some(is_reset));
            assert!(!reactor.is_at_end(&mut accepted), "something is unread");
            if is_reset {
                assert_eq!(reactor.failure(&mut accepted), Some(io::ErrorKind::ConnectionReset));
            } else {
                assert_eq!(reactor.failure(&mut accepted), None);
                assert_eq!(reactor.read(&mut accepted, &mut [0; 100]).unwrap(), 6);
                assert!(reactor.is_at_end(&mut accepted));
            }
        }
    }

    #[test]
    fn a_short_wait_is_not_cut_short() {
        let mut reactor = Reactor::new().unwrap();
        let (began, nap) = (Instant::now(), Duration::from_micros(300));
        let mut events = Vec::new();
        reactor.poll(Some(nap), &mut events).unwrap();
        assert!(began.elapsed() >= nap && events.is_empty());
        // A longer one is approached.
        let (began, nap) = (Instant::now(), Duration::from_millis(20));
        reactor.poll(Some(nap), &mut events).unwrap();
        assert!(began.elapsed() >= nap - NEAR && events.is_empty());
        // A waker ends any wait, and an old timer does not stop it.
        reactor.waker().wake();
        reactor.poll(None, &mut events).unwrap();
        assert_eq!(events, [Event::Woken]);
    }
}
