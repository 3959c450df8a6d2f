//! Taking connections in.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::core::limits::{ACCEPT_BACKOFF, ACCEPT_TURN};
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::dialect::Dialect;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;

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

impl Acceptor {
    /// Takes in those who wait, some a turn.
    pub fn accept<N: Net, P>(&mut self, conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>) {
        if !self.is_ready(ctx.now) {
            return;
        }
        self.retry_at = None;
        for _ in 0..ACCEPT_TURN {
            match ctx.net.accept() {
                Ok((socket, peer, listener)) => admit(conns, ctx, socket, peer, listener),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting = false;
                    return;
                }
                Err(error) if is_about_the_peer(&error) => log::debug!("accept: {error}"),
                Err(error) => {
                    // Out of descriptors or memory: those connections stay in the kernel's queue, and a
                    // loop that tried at once would only spin.
                    let message = format_args!("cannot accept connections for now: {error}");
                    ctx.notices.say(Notice::AcceptFailed, log::Level::Error, ctx.now, message);
                    self.retry_at = Some(ctx.now + ACCEPT_BACKOFF);
                    return;
                }
            }
        }
    }
}

fn admit<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    mut socket: N::Socket,
    peer: SocketAddr,
    listener: usize,
) {
    if conns.sockets() >= ctx.config.connections_max {
        ctx.ledger.connections.refused += 1;
        let max = ctx.config.connections_max;
        let message = format_args!(
            "{peer} is refused: {max} connections are open, as many as --max-connections and the file limit allow"
        );
        ctx.notices.say(Notice::Refused, log::Level::Warn, ctx.now, message);
        return;
    }
    ctx.ledger.connections.accepted += 1;
    let authorized = !ctx.config.scheme.is_keyed();
    let net = &mut ctx.net;
    let id = conns.insert(peer, authorized, ctx.now, |id| {
        net.register(&mut socket, id.key())?;
        io::Result::Ok(socket)
    });
    match id {
        Ok(id) => {
            log::debug!("{peer} connected");
            ctx.ledger.listeners[listener].accepted += 1;
            let conn = &mut conns[id];
            conn.listener = listener as u16;
            let layout = listener.checked_sub(1).and_then(|at| ctx.config.listeners[at].layout.clone());
            if let Some(layout) = layout {
                // Who sends foreign frames has no native one to show that it knows a secret.
                conn.order.authorized = true;
                conn.dialect = Some(Box::new(Dialect::new(layout, ctx.memory.clone())));
            }
            conn.standing = ctx.access.admit(conn, ctx.now);
            conns.arm(id, &ctx.config);
        }
        Err(error) => {
            ctx.ledger.connections.closed += 1;
            let message = format_args!("cannot watch the connection of {peer}: {error}");
            ctx.notices.say(Notice::AcceptFailed, log::Level::Error, ctx.now, message);
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
