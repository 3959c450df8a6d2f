//! What came from one connection and went to it, for people.

use std::time::Instant;

use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::wire::Status;

/// Counts since it was opened.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Frames and bytes that came and went, for people.
    pub frames_read: u64,
    pub bytes_read: u64,
    pub frames_written: u64,
    pub bytes_written: u64,
    /// Frames dropped for it.
    pub dropped: u64,
    /// Its frames that were refused, if some were.
    pub rejects: Option<Box<Rejects>>,
    /// Whether it ever sent DATA.
    pub publishes: bool,
}

/// Frames of one peer that were refused.
#[derive(Clone, Copy, Debug)]
pub struct Rejects {
    pub count: u64,
    /// The last of them.
    pub last: Status,
    pub at: Instant,
}

impl<S> Conns<S> {
    /// A frame of a connection is refused. Parts may be held for longer than their connections are there.
    pub fn count_rejected<N, P>(&mut self, ctx: &mut Ctx<N, P>, id: ConnId, status: Status) {
        ctx.ledger.rejected.add(status);
        if let Some(conn) = self.get_mut(id) {
            let none = || Box::new(Rejects { count: 0, last: status, at: ctx.now });
            let rejects = conn.traffic.rejects.get_or_insert_with(none);
            (rejects.count, rejects.last, rejects.at) = (rejects.count + 1, status, ctx.now);
            ctx.ledger.listeners[usize::from(conn.listener)].rejected += 1;
        }
    }
}
