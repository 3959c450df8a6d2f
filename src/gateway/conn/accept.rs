//! Taking connections in.

use std::io;
use std::time::Instant;

use crate::core::limits::{ACCEPT_BACKOFF, ACCEPT_TURN};
use crate::gateway::Gate;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

/// Whether connections wait.
#[derive(Debug, Default)]
pub struct Acceptor {
    waiting: bool,
    /// The system refused a file descriptor: not before then.
    retry_at: Option<Instant>,
}

impl Acceptor {
    /// Connections wait.
    pub fn ready(&mut self) {
        self.waiting = true;
    }

    /// Whether to accept at once.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.waiting && self.retry_at.is_none_or(|at| at <= now)
    }

    /// When to try again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.waiting)
    }

    /// Nothing waits any more.
    pub fn stop(&mut self) {
        *self = Acceptor::default();
    }
}

impl<N: Net, P: Pool> Gate<N, P> {
    pub(in crate::gateway) fn accept_waiting(&mut self) {
        if !self.ingress.acceptor.is_ready(self.ctx.now) {
            return;
        }
        self.ingress.acceptor.retry_at = None;
        for _ in 0..ACCEPT_TURN {
            match self.ctx.net.accept() {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ingress.acceptor.waiting = false;
                    return;
                }
                Err(error) if is_about_the_peer(&error) => log::debug!("accept: {error}"),
                Err(error) => {
                    // Out of descriptors or memory: whoever waits stays in the kernel's queue, and a
                    // loop that tried at once would only spin.
                    let message = format_args!("cannot accept connections for now: {error}");
                    self.ctx.notices.say(Notice::AcceptFailed, log::Level::Error, self.ctx.now, message);
                    self.ingress.acceptor.retry_at = Some(self.ctx.now + ACCEPT_BACKOFF);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut socket: N::Socket, peer: std::net::SocketAddr) {
        if self.conns.sockets() >= self.ctx.config.connections_max {
            self.ctx.ledger.connections.refused += 1;
            let max = self.ctx.config.connections_max;
            let message = format_args!(
                "{peer} is refused: {max} connections are open, as many as --max-connections and the file limit allow"
            );
            self.ctx.notices.say(Notice::Refused, log::Level::Warn, self.ctx.now, message);
            return;
        }
        self.ctx.ledger.connections.accepted += 1;
        let authorized = !self.ctx.config.scheme.is_keyed();
        let net = &mut self.ctx.net;
        let id = self.conns.insert(peer, authorized, self.ctx.now, |id| {
            net.register(&mut socket, id.key())?;
            io::Result::Ok(socket)
        });
        match id {
            Ok(id) => {
                log::debug!("{peer} connected");
                self.conns.arm(id, &self.ctx.config);
            }
            Err(error) => {
                self.ctx.ledger.connections.closed += 1;
                let message = format_args!("cannot watch the connection of {peer}: {error}");
                self.ctx.notices.say(Notice::AcceptFailed, log::Level::Error, self.ctx.now, message);
            }
        }
    }
}

/// Whether an error of accept is that of one connection, so that the next may be fine (accept(2)).
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | Interrupted
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
    )
}
