//! Reading a frame that does not fit in one read: into its own pieces, which are hashed as they come.

use super::Ingress;
use super::large::Large;
use super::order::Item;
use super::read::{Grant, ReadOutcome, charge_replies, keep_partial, read_scratch, taken};
use super::reading::Begun;
use crate::core::limits::{BUFFER_OVERHEAD, FRAME_PROGRESS, INLINE_BATCH, PIECE, READ_MIN};
use crate::core::memory::{Buffer, Share};
use crate::gateway::conn::Conn;
use crate::gateway::ctx::Ctx;
use crate::gateway::secure;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{HEADER, Header, Piecewise};

const BEGUN: &str = "it is read into the large frame that it began";

impl Ingress {
    /// The memory for a large frame is granted: what came of it becomes its first piece.
    pub(super) fn begin_large<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let partial = conn.reading.partial.take().expect("a large frame begins with its header");
        let Some(Begun::Native(header)) = partial.begun else {
            unreachable!("a large frame is known by its header")
        };
        if partial.bytes.len() < HEADER + header.topic_len as usize {
            // The first piece holds the whole topic: read a little more of it as a small frame.
            conn.reading.partial = Some(partial);
            return self.read_topic(conn, ctx, header);
        }
        let total = header.frame_len();
        let charge = ctx.memory.charge(Share::Large, total + BUFFER_OVERHEAD);
        let replies = charge_replies(&ctx.memory, u32::from(header.is_answered()));
        let first = Buffer::new(partial.bytes, ctx.memory.charge(Share::Large, 0));
        let hashing = Piecewise::new(total, &ctx.config.scheme, charge, replies);
        self.large_count += 1;
        let number = self.large_count;
        let reading = &mut conn.reading;
        reading.read_size = READ_MIN as u32;
        reading.frame_since = ctx.now.into();
        reading.frame_mark = first.len() as u32;
        reading.larges.push(Large::new(number, &header, first, Box::new(hashing), ctx.now));
        Ok(ReadOutcome::Nothing)
    }

    /// Reads the rest of a large frame's topic, which was cut off by the end of a read.
    fn read_topic<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        header: Header,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let tail = conn.reading.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let end = HEADER + header.topic_len as usize;
        let result = read_scratch(conn, ctx, tail, end);
        let n = taken(conn, ctx, result, end - tail)?;
        if let Some(partial) = conn.reading.partial.take() {
            ctx.scratch[..tail].copy_from_slice(&partial.bytes);
        }
        let bytes = ctx.scratch[..tail + n].into();
        let grant = Grant { held: 0, may_begin: false };
        keep_partial(conn, ctx, bytes, Some(Begun::Native(header)), 0, true, grant);
        Ok(ReadOutcome::Nothing)
    }

    /// Reads the next bytes of a large frame into its own pieces.
    pub(super) fn read_large<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let large = conn.reading.larges.last_mut().expect(BEGUN);
        let spare = large.spare(&ctx.memory);
        let wanted = spare.len();
        let socket = conn.socket.as_mut().expect("only a connection that is gone has no socket");
        let Ctx { net, secure, .. } = ctx;
        let result = secure::read(net, &mut secure.scratch, socket, conn.secure.as_deref_mut(), spare);
        let n = taken(conn, ctx, result, wanted)?;
        let large = conn.reading.larges.last_mut().expect(BEGUN);
        large.advance(n, &ctx.memory);
        if large.received() - conn.reading.frame_mark as usize >= FRAME_PROGRESS {
            conn.reading.frame_mark = large.received() as u32;
            conn.reading.frame_since = ctx.now.into();
        }
        if large.is_received() {
            large.seq = Some(conn.order.window.begin());
            large.received_at = ctx.now;
            ctx.timing.batch(1, large.total());
            conn.traffic.frames_read += 1;
            self.begin(&mut conn.order, 1);
            ctx.count_read(conn.listener, 1);
        }
        Ok(ReadOutcome::Piece(large.number))
    }

    /// Has the next piece of a large frame hashed, or takes its verdict where all is hashed. Whether it did.
    pub fn hash_on<N: Net, P: Pool>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        number: u64,
    ) -> bool {
        let larges = &mut conn.reading.larges;
        let at = larges.iter().position(|large| large.number == number).expect("it is not verified yet");
        let large = &mut larges[at];
        let received = large.is_received();
        if let Some(mut hashing) = large.take(if received { 1 } else { PIECE }) {
            if received && hashing.unhashed() <= INLINE_BATCH.min(ctx.inline_left) {
                ctx.inline_left -= hashing.unhashed();
                hashing.hash(INLINE_BATCH);
                large.put(hashing);
            } else {
                let ticket = Ticket { conn: conn.id.key(), number, since: ctx.now };
                ctx.submit(Job { ticket, work: Work::Piece(hashing) });
                return false;
            }
        }
        let Some(finished) = large.take_finished() else { return false };
        let seq = large.seq.expect("it is received");
        ctx.timing.verified(large.received_at, ctx.now);
        larges.remove(at);
        conn.order.window.insert(seq, Item::Frames(finished.finish()));
        true
    }
}
