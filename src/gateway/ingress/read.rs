//! One read of a connection, and what came of it.

use std::io;
use std::sync::Arc;

use super::Ingress;
use super::order::Item;
use super::read_layout::Foreign;
use super::reading::{Begun, Partial};
use crate::core::limits::{
    BUFFER_OVERHEAD, FRAME_PROGRESS, INLINE_BATCH, READ_MAX, READ_MIN, REPLY_MAX, partial_need,
};
use crate::core::memory::{Buffer, Charge, Memory, Share};
use crate::gateway::conn::{Conn, State};
use crate::gateway::ctx::Ctx;
use crate::gateway::secure;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Batch, Fault, Rest, Verified, cut, verify};

/// How a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Into the lent buffer, at most until so many bytes are in it. `has_room` if there is memory for more than the
    /// frame that was begun; `may_begin` if memory for a longer one may be taken at once, since nobody waits for it.
    Small { filled_max: usize, has_room: bool, may_begin: bool },
    /// Into the large frame that it began.
    Large,
    /// The large frame begins whose header came.
    BeginLarge,
    /// To throw it away.
    Discard,
}

/// What came of a read, and is to be seen to.
pub enum ReadOutcome {
    /// Nothing, or a part of what is kept until the rest of it comes.
    Nothing,
    /// Whole frames, and what is wrong with what follows them.
    Cut(Option<Batch>, Option<Fault>),
    /// The same at a listener with a layout.
    Foreign(Box<Foreign>),
    /// More of the large frame of this number.
    Piece(u64),
    /// The end of the stream.
    End,
    /// The connection is no more.
    Lost(io::ErrorKind),
}

impl Ingress {
    /// Reads once, as it was admitted.
    pub fn read<N: Net, P: Pool>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        mode: ReadMode,
    ) -> ReadOutcome {
        let outcome = match mode {
            ReadMode::Small { filled_max, has_room, may_begin } => {
                self.read_small(conn, ctx, filled_max, has_room, may_begin)
            }
            ReadMode::Large if conn.dialect.is_some() => self.read_large_foreign(conn, ctx),
            ReadMode::BeginLarge if conn.dialect.is_some() => self.begin_large_foreign(conn, ctx),
            ReadMode::Large => self.read_large(conn, ctx),
            ReadMode::BeginLarge => self.begin_large(conn, ctx),
            ReadMode::Discard => self.discard(conn, ctx),
        };
        outcome.unwrap_or_else(|outcome| outcome)
    }

    /// Reads into the lent buffer, behind what is left of the read before, and cuts it.
    fn read_small<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        filled_max: usize,
        has_room: bool,
        may_begin: bool,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let tail = conn.reading.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        if conn.dialect.as_ref().is_some_and(|dialect| dialect.may_cut_on()) {
            let grant = Grant { held: take_partial(conn, ctx), may_begin };
            return Ok(self.cut_layout(conn, ctx, tail, tail, !has_room, grant));
        }
        let result = read_scratch(conn, ctx, tail, filled_max);
        let n = taken(conn, ctx, result, filled_max - tail)?;
        let reading = &mut conn.reading;
        reading.read_size = match n {
            n if n == filled_max - tail => (2 * reading.read_size).min(READ_MAX as u32),
            n if n < reading.read_size as usize / 4 => (reading.read_size / 2).max(READ_MIN as u32),
            _ => reading.read_size,
        };
        let grant = Grant { held: take_partial(conn, ctx), may_begin };
        Ok(match conn.dialect {
            None => self.cut_scratch(conn, ctx, tail, tail + n, grant),
            Some(_) => self.cut_layout(conn, ctx, tail, tail + n, !has_room, grant),
        })
    }

    /// Makes a batch of the whole frames in the lent buffer, of which `tail` bytes were left of the read
    /// before, and keeps what follows them.
    fn cut_scratch<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        tail: usize,
        filled: usize,
        grant: Grant,
    ) -> ReadOutcome {
        let cut = cut(&ctx.scratch[..filled], &self.rules);
        let header = match cut.rest {
            Rest::Begun(header) => Some(Begun::Native(header)),
            Rest::Short | Rest::Fault(_) => None,
        };
        let rest: Box<[u8]> = match cut.rest {
            Rest::Fault(_) => Box::default(),
            Rest::Short | Rest::Begun(_) => ctx.scratch[cut.whole..filled].into(),
        };
        let replies = charge_replies(&ctx.memory, cut.answered);
        let batch = (cut.frames > 0).then(|| {
            conn.reading.frame_len = cut.whole as u32 / cut.frames;
            ctx.timing.batch(cut.frames, cut.whole);
            let buffer = take_scratch(&mut ctx.scratch, &ctx.memory, cut.whole);
            Batch::new(buffer, cut.whole, cut.frames, replies)
        });
        // Charged before the batch is distributed, which may charge more.
        let is_same = tail > 0 && cut.frames == 0;
        keep_partial(conn, ctx, rest, header, 0, is_same, grant);
        match cut.rest {
            Rest::Fault(fault) => ReadOutcome::Cut(batch, Some(fault)),
            Rest::Short | Rest::Begun(_) => ReadOutcome::Cut(batch, None),
        }
    }

    /// Verifies a batch here where that is cheaper than waking a worker, else hands it over.
    pub fn verify<N: Net, P: Pool>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        batch: Batch,
    ) -> Option<Verified> {
        let frames = batch.frames();
        conn.traffic.frames_read += u64::from(frames);
        ctx.count_read(conn.listener, frames);
        let order = &mut conn.order;
        if order.window.is_empty() && batch.len() <= INLINE_BATCH.min(ctx.inline_left) {
            ctx.inline_left -= batch.len();
            ctx.ledger.verified.inline += 1;
            let verified = verify(batch, &ctx.config.scheme);
            ctx.timing.verified(ctx.now, ctx.now);
            return Some(verified);
        }
        order.bytes_in_flight += batch.len() as u32;
        self.begin(order, frames);
        let number = order.window.begin();
        let ticket = Ticket { conn: conn.id.key(), number, since: ctx.now };
        ctx.submit(Job { ticket, work: Work::Batch(batch) });
        None
    }

    /// What follows in the stream is no frame: its end takes its turn behind what came before it.
    pub fn end_with<N: Net, P>(&mut self, conn: &mut Conn<N::Socket>, ctx: &mut Ctx<N, P>, fault: Fault) {
        ctx.count_read(conn.listener, 1);
        self.begin(&mut conn.order, 1);
        if conn.state == State::Open {
            conn.state = State::Draining;
        }
        let seq = conn.order.window.begin();
        conn.order.window.insert(seq, Item::Fault(fault));
    }

    /// Throws away what still comes on a connection that is closing.
    fn discard<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let result = read_scratch(conn, ctx, 0, ctx.scratch.len());
        taken(conn, ctx, result, ctx.scratch.len())?;
        Ok(ReadOutcome::Nothing)
    }
}

/// The whole frames of the lent buffer: a copy of the right size where they are few, the buffer itself where they fill
/// half of it. So nobody pins a large buffer for small frames, and what is copied is at most half of what a full read
/// brings.
pub(super) fn take_scratch(scratch: &mut Box<[u8]>, memory: &Arc<Memory>, whole: usize) -> Buffer {
    let bytes = if whole >= READ_MAX / 2 {
        std::mem::replace(scratch, memory.buffer())
    } else {
        scratch[..whole].into()
    };
    Buffer::charged(memory, bytes)
}

/// What is left of the read before is put back into the lent buffer. The memory that is given back with it, if that is
/// enough to finish it.
fn take_partial<N: Net, P>(conn: &mut Conn<N::Socket>, ctx: &mut Ctx<N, P>) -> usize {
    conn.reading.partial.take().map_or(0, |partial| {
        ctx.scratch[..partial.bytes.len()].copy_from_slice(&partial.bytes);
        if partial.asked.is_none() { partial.charge.bytes() } else { 0 }
    })
}

/// Reads into a part of the lent buffer.
pub(super) fn read_scratch<N: Net, P>(
    conn: &mut Conn<N::Socket>,
    ctx: &mut Ctx<N, P>,
    from: usize,
    to: usize,
) -> io::Result<usize> {
    let Ctx { net, secure, scratch, .. } = ctx;
    let socket = conn.socket.as_mut().expect("only a connection that is gone has no socket");
    secure::read(net, &mut secure.scratch, socket, conn.secure.as_deref_mut(), &mut scratch[from..to])
}

/// The number of bytes that a read brought, or what came instead.
pub(super) fn taken<N: Net, P>(
    conn: &mut Conn<N::Socket>,
    ctx: &mut Ctx<N, P>,
    result: io::Result<usize>,
    wanted: usize,
) -> Result<usize, ReadOutcome> {
    match result {
        Ok(0) => Err(ReadOutcome::End),
        Ok(n) => {
            // A short read has emptied the socket; only the end may be behind it.
            let has_more = conn.secure.as_ref().is_some_and(|secure| secure.has_more());
            conn.reading.readable = n == wanted || conn.reading.read_closed || has_more;
            conn.reading.last_read = ctx.now.into();
            conn.traffic.bytes_read += n as u64;
            ctx.ledger.bytes_read += n as u64;
            ctx.fair.read(n as u64);
            Ok(n)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            conn.reading.readable = false;
            Err(ReadOutcome::Nothing)
        }
        // Records came that held nothing.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(ReadOutcome::Nothing),
        Err(error) => Err(ReadOutcome::Lost(error.kind())),
    }
}

/// What memory the beginning of a frame may have.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    /// So much it had before, if it is the same frame.
    pub held: usize,
    /// Nobody waits for the memory in which a longer one can be finished.
    pub may_begin: bool,
}

/// Keeps the beginning of a frame, and sets aside the memory to finish it, and `room` beside it; where a frame that is
/// longer than a small read cannot have that, it is asked for. `is_same` if it is the frame that was begun before.
pub(super) fn keep_partial<N: Net, P>(
    conn: &mut Conn<N::Socket>,
    ctx: &Ctx<N, P>,
    bytes: Box<[u8]>,
    begun: Option<Begun>,
    room: usize,
    is_same: bool,
    grant: Grant,
) {
    if bytes.is_empty() {
        return;
    }
    let (share, need, asked) = match begun {
        Some(begun) if begun.len() <= READ_MIN => (Share::Small, partial_need(begun.len()) + room, None),
        Some(begun) if begun.len() <= READ_MAX => {
            let whole = partial_need(begun.len()) + room;
            let is_held = is_same && grant.held >= whole;
            match is_held || grant.may_begin && ctx.memory.has_room(Share::Begun, whole) {
                true => (Share::Begun, whole, None),
                false => (Share::Small, partial_need(bytes.len()), Some(whole)),
            }
        }
        // A large frame gets its memory as a whole, when its turn comes.
        Some(_) => (Share::Small, partial_need(bytes.len()), None),
        // The beginning of a header is what a connection costs. Were it charged, many of them could hold what one
        // needs to be read on, and have nothing that could be finished.
        None => (Share::Small, 0, None),
    };
    let charge = ctx.memory.charge(share, need);
    let reading = &mut conn.reading;
    if !is_same || bytes.len() - reading.frame_mark as usize >= FRAME_PROGRESS {
        reading.frame_since = ctx.now.into();
        reading.frame_mark = bytes.len() as u32;
    }
    reading.partial = Some(Box::new(Partial { bytes, begun, charge, asked }));
}

/// Memory for the replies to so many frames.
pub(super) fn charge_replies(memory: &Arc<Memory>, answered: u32) -> Option<Charge> {
    let bytes = answered as usize * REPLY_MAX + BUFFER_OVERHEAD;
    (answered > 0).then(|| memory.charge(Share::Small, bytes))
}
