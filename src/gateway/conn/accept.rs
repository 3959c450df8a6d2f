//! Taking connections in.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::core::limits::{ACCEPT_BACKOFF, ACCEPT_TURN, TLS_ACCEPT_TURN};
use crate::gateway::CloseReason;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::dialect::Dialect;
use crate::gateway::observe::notices::Notice;
use crate::gateway::secure::Secure;
use crate::runtime::net::Net;
use crate::runtime::tls::TlsFault;

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
        let mut handshakes = 0;
        for _ in 0..ACCEPT_TURN {
            // The others wait with the system, and come in the next turn.
            if handshakes == TLS_ACCEPT_TURN {
                return;
            }
            match ctx.net.accept() {
                Ok((socket, peer, listener)) => {
                    handshakes += usize::from(admit(conns, ctx, socket, peer, listener));
                }
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

/// Takes a connection in. Whether it begins with a handshake.
fn admit<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    mut socket: N::Socket,
    peer: SocketAddr,
    listener: usize,
) -> bool {
    if conns.sockets() >= ctx.config.connections_max {
        ctx.ledger.connections.refused += 1;
        let max = ctx.config.connections_max;
        let message = format_args!(
            "{peer} is refused: {max} connections are open, as many as --max-connections and the file limit allow"
        );
        ctx.notices.say(Notice::Refused, log::Level::Warn, ctx.now, message);
        return false;
    }
    if !ctx.per_address.has_room(peer.ip()) {
        ctx.ledger.connections.refused += 1;
        let max = ctx.config.per_address_max;
        let message = format_args!(
            "{peer} is refused: {max} connections from its address are open, as many as --max-per-address allows"
        );
        ctx.notices.say(Notice::AddressFull, log::Level::Warn, ctx.now, message);
        return false;
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
            ctx.per_address.enter(peer.ip());
            let conn = &mut conns[id];
            conn.listener = listener as u16;
            let layout = listener.checked_sub(1).and_then(|at| ctx.config.listeners[at].layout.clone());
            if let Some(layout) = layout {
                // Who sends foreign frames has no native one to show that it knows a secret.
                conn.order.authorized = true;
                conn.dialect = Some(Box::new(Dialect::new(layout, ctx.memory.clone())));
            }
            let is_secure = begin_handshake(conns, ctx, id, listener);
            if !is_secure {
                conns[id].standing = ctx.access.admit(&conns[id], ctx.now);
            }
            conns.arm(id, &ctx.config);
            is_secure
        }
        Err(error) => {
            ctx.ledger.connections.closed += 1;
            let message = format_args!("cannot watch the connection of {peer}: {error}");
            ctx.notices.say(Notice::AcceptFailed, log::Level::Error, ctx.now, message);
            false
        }
    }
}

/// Has a connection agree on TLS first, where its listener speaks it. Whether it does.
fn begin_handshake<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    id: ConnId,
    listener: usize,
) -> bool {
    let Some(setup) = ctx.secure.setup(listener) else { return false };
    match Secure::new(setup, &ctx.memory, ctx.now) {
        Ok(secure) => {
            conns[id].secure = Some(Box::new(secure));
            if let Some(oldest) = ctx.secure.begin(id, conns) {
                conns.lose(oldest, CloseReason::Tls(Box::new(TlsFault::Dropped)));
            }
        }
        // Where nothing can be agreed on, nothing is said in the clear.
        Err(fault) => conns.lose(id, CloseReason::Tls(Box::new(fault))),
    }
    true
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
