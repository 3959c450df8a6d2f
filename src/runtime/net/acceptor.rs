//! A listener for a thread that does nothing but accept: it waits for connections, and others can wake it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::Waker;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// Accepts connections, each a blocking socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    /// The same socket, as it is waited for.
    _watched: mio::net::TcpListener,
    poll: Poll,
    events: Events,
    waker: Waker,
}

impl Acceptor {
    /// Waits on `listener`.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(listener: TcpListener) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        let mut watched = mio::net::TcpListener::from_std(listener.try_clone()?);
        let poll = Poll::new()?;
        poll.registry().register(&mut watched, LISTENER, Interest::READABLE)?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Acceptor { listener, _watched: watched, poll, events: Events::with_capacity(2), waker })
    }

    /// Ends its wait from any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The next connection; none where no more wait.
    ///
    /// # Errors
    /// What the system says; more may wait.
    pub fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        match self.listener.accept() {
            Ok((socket, peer)) => {
                // On some systems it is as its listener is.
                socket.set_nonblocking(false)?;
                Ok(Some((socket, peer)))
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Waits until something comes behind the last [`accept`](Acceptor::accept) that gave none, it is woken, or so long.
    ///
    /// # Errors
    /// Where the system cannot wait.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(why) if why.kind() != io::ErrorKind::Interrupted => Err(why),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn it_waits_for_connections_and_can_be_woken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut acceptor = Acceptor::new(listener).unwrap();
        assert!(acceptor.accept().unwrap().is_none());
        let peer = TcpStream::connect(address).unwrap();
        acceptor.wait(None).unwrap();
        let (mut accepted, from) = acceptor.accept().unwrap().unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        assert!(acceptor.accept().unwrap().is_none());
        drop(peer);
        assert_eq!(accepted.read(&mut [0]).unwrap(), 0, "it blocks until there is something");
        let waker = acceptor.waker();
        let thread = std::thread::spawn(move || waker.wake());
        acceptor.wait(None).unwrap();
        thread.join().unwrap();
    }
}
