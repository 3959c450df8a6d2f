//! From outboxes to sockets.

use std::io::{self, IoSlice};
use std::rc::Rc;

use super::Egress;
use crate::core::limits::{WRITE_SHARE, WRITE_SHARED_FOR, WRITE_SLICES, WRITE_TURN, WRITE_TURN_SHARED};
use crate::core::memory::Buffer;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::secure;
use crate::runtime::net::Net;
use crate::wire::{Header, Kind, Status, encode};

impl Egress {
    /// Who has something new to write, or room again: those who wait for little, then those for whom nothing was left
    /// in the turn before, then the others.
    pub fn take_dirty<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) -> Vec<ConnId> {
        let mut late = std::mem::take(&mut conns.due.dirty);
        let mut dirty = late.split_off(std::mem::take(&mut ctx.fair.late));
        if late.len() + dirty.len() > 1 {
            self.shared_at = Some(ctx.now);
        }
        let pending = |id: &ConnId| conns.get(*id).map_or(0, |conn| conn.writing.outbox.pending());
        dirty.sort_by_cached_key(pending);
        let little = dirty.partition_point(|id| pending(id) <= WRITE_SHARE);
        dirty.splice(little..little, late);
        dirty
    }

    /// Writes what the socket takes, within a turn's budget.
    pub fn write_out<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
    ) -> io::Result<()> {
        let is_shared = self.shared_at.is_some_and(|at| ctx.now - at < WRITE_SHARED_FOR);
        let most = if is_shared { WRITE_TURN_SHARED } else { WRITE_TURN };
        let share = ctx.fair.share(most);
        let mut left = share;
        if !flush_sealed(conns, ctx, id)? {
            return Ok(());
        }
        while conns[id].has_to_write() {
            if left == 0 {
                conns.mark_dirty(id);
                ctx.fair.wrote(0, share < most);
                break;
            }
            match write_once(conns, ctx, id, left)? {
                0 => break,
                n => {
                    left = left.saturating_sub(n);
                    ctx.fair.wrote(n, false);
                }
            }
        }
        Ok(())
    }
}

/// Writes what TLS has sealed and the socket did not take before. Whether it takes more.
fn flush_sealed<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    id: ConnId,
) -> io::Result<bool> {
    let conn = &mut conns[id];
    let (Some(secure), Some(socket)) = (&mut conn.secure, &mut conn.socket) else { return Ok(true) };
    if !secure.holds_back() || !conn.writing.writable {
        return Ok(true);
    }
    conn.writing.writable = secure.flush(&mut ctx.net, socket)?;
    if conn.writing.writable {
        conn.writing.last_write = ctx.now.into();
    }
    Ok(conn.writing.writable)
}

/// One vectored write, of no more slices than hold `enough` bytes. 0 if the socket takes nothing now.
fn write_once<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    id: ConnId,
    enough: usize,
) -> io::Result<usize> {
    let conn = &mut conns[id];
    if conn.writing.lost > 0 && conn.writing.outbox.is_at_start() {
        tell_gap(conn, ctx);
        conns.add_entry();
    }
    let conn = &mut conns[id];
    let mut items = 0;
    let socket = conn.socket.as_mut().expect("only a connection that is gone has no socket");
    let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
    // While frames are missing behind the first item, the GAP comes before all others.
    let count = conn.writing.outbox.gather(conn.writing.lost > 0, enough, &mut slices);
    let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
    let n = match secure::write(&mut ctx.net, socket, conn.secure.as_deref_mut(), &mut slices[..count]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        result => result?,
    };
    let is_held_back = conn.secure.as_ref().is_some_and(|secure| secure.holds_back());
    conn.writing.writable = n == offered && !is_held_back;
    if n == 0 {
        return Ok(0);
    }
    conn.writing.last_write = ctx.now.into();
    conn.traffic.bytes_written += n as u64;
    ctx.ledger.bytes_written += n as u64;
    conn.writing.outbox.advance(n, |item| {
        items += 1;
        match &*item {
            OutboxItem::Range(range) => {
                let copies = u64::from(range.frames());
                conn.traffic.frames_written += copies;
                ctx.ledger.copies.written += copies;
                ctx.timing.written(range.at(), ctx.now);
            }
            OutboxItem::Stored(run) => conn.traffic.frames_written += u64::from(run.frames()),
            OutboxItem::Replies(_) | OutboxItem::Frame(_) => {
                conn.writing.replies_pending -= item.reply_bytes()
            }
        }
        item.let_go(&mut ctx.ledger);
    });
    conns.remove_entries(items);
    Ok(n)
}

/// Says how many frames were dropped, at the place where they are missing.
fn tell_gap<N: Net, P>(conn: &mut Conn<N::Socket>, ctx: &Ctx<N, P>) {
    let mut gap = Vec::new();
    let key = std::mem::take(&mut conn.writing.lost);
    let header = Header { status: Status::Gap as u16, key, ..Header::new(Kind::Reply) };
    encode(header, b"", b"", &ctx.config.scheme, &mut gap);
    conn.writing.replies_pending += gap.len();
    let gap = Buffer::charged(&ctx.memory, gap.into());
    conn.writing.outbox.push_front(Rc::new(OutboxItem::Replies(gap)));
}

impl<S> Conn<S> {
    fn has_to_write(&self) -> bool {
        let something = !self.writing.outbox.is_empty() || self.writing.lost > 0;
        self.writing.writable
            && something
            && !matches!(self.state, State::Lingering | State::Lost | State::Gone)
    }
}
