//! From a ready socket to work: read, cut, verify here or hand over.

use std::io;

use crate::core::limits::{
    BUFFER_OVERHEAD, FRAME_PROGRESS, INLINE_BATCH, PIECE, READ_MAX, READ_MIN, READ_TURN, REPLY_MAX,
    partial_need,
};
use crate::core::memory::{Buffer, Charge, Share};
use crate::gateway::CloseReason;
use crate::gateway::Gate;
use crate::gateway::conn::{ConnId, State};
use crate::gateway::ingress::admission::{Admission, Line};
use crate::gateway::ingress::large::Large;
use crate::gateway::ingress::order::Item;
use crate::gateway::ingress::reading::Partial;
use crate::gateway::snapshot::PauseCause;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Batch, HEADER, Header, Piecewise, Rest, cut, verify};

const BEGUN: &str = "it is read into the large frame that it began";

impl<N: Net, P: Pool> Gate<N, P> {
    /// Gives each connection that is ready one read, until the turn's budget is spent; those behind
    /// it are first in the next turn.
    pub(in crate::gateway) fn read_runnable(&mut self) {
        let enough = self.ctx.ledger.bytes_read + READ_TURN as u64;
        for _ in 0..self.conns.due.runnable.len() {
            if self.ctx.ledger.bytes_read >= enough {
                break;
            }
            let Some(id) = self.conns.due.runnable.pop_front() else { break };
            // It may have ended since.
            if let Some(conn) = self.conns.get_mut(id) {
                conn.reading.queued = false;
                self.read_once(id, None);
            }
        }
    }

    /// One read, if the connection may be read now; else it waits for what it lacks.
    pub(in crate::gateway) fn read_once(&mut self, id: ConnId, first_in: Option<Line>) {
        let conn = &self.conns[id];
        if !conn.reading.readable || conn.reading.ended {
            return;
        }
        let admission = self.admission(conn, first_in);
        if let Admission::Wait(_, cause) | Admission::Blocked(cause) = admission
            && self.is_over_unread(id, cause)
        {
            return;
        }
        let conn = &mut self.conns[id];
        if let Admission::Wait(_, cause) | Admission::Blocked(cause) = admission {
            self.observe.pauses.begin(conn, cause, self.ctx.now);
        } else if self.observe.pauses.end(conn, self.ctx.now) {
            // The time that it could not go on is not its own.
            conn.reading.frame_since = self.ctx.now.into();
        }
        let goes_on = match admission {
            Admission::Blocked(PauseCause::Sinks) => {
                if !std::mem::replace(&mut conn.reading.sink_held, true) {
                    self.acks.sinks.hold(id, &self.conns);
                }
                false
            }
            Admission::Blocked(_) => {
                self.wait_for_calls(id);
                false
            }
            Admission::Wait(line, _) => {
                self.wait_in_line(id, line);
                false
            }
            Admission::Discard => self.discard(id),
            Admission::BeginLarge => {
                self.begin_large(id);
                true
            }
            Admission::ReadLarge => self.read_large(id),
            Admission::Read { filled_max } => self.read_batch(id, filled_max),
        };
        if goes_on {
            self.conns.mark_runnable(id);
        }
        self.conns.arm(id, &self.ctx.config);
    }

    /// Reads into the lent buffer, behind what is left of the read before, and cuts it. Whether the
    /// connection may be read again.
    fn read_batch(&mut self, id: ConnId, filled_max: usize) -> bool {
        let conn = &mut self.conns[id];
        let tail = conn.reading.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let result = self.ctx.net.read(conn.socket(), &mut self.ingress.scratch[tail..filled_max]);
        let Some(n) = self.read_result(id, result, filled_max - tail) else { return false };

        let conn = &mut self.conns[id];
        conn.reading.read_size = match n {
            n if n == filled_max - tail => (2 * conn.reading.read_size).min(READ_MAX as u32),
            n if n < conn.reading.read_size as usize / 4 => (conn.reading.read_size / 2).max(READ_MIN as u32),
            _ => conn.reading.read_size,
        };
        if let Some(partial) = conn.reading.partial.take() {
            self.ingress.scratch[..tail].copy_from_slice(&partial.bytes);
        }
        self.cut_scratch(id, tail, tail + n);
        true
    }

    /// Makes a batch of the whole frames in the lent buffer, of which `tail` bytes were left of the read
    /// before, and keeps what follows them.
    fn cut_scratch(&mut self, id: ConnId, tail: usize, filled: usize) {
        let cut = cut(&self.ingress.scratch[..filled], &self.ingress.rules);
        let header = match cut.rest {
            Rest::Begun(header) => Some(header),
            Rest::Short | Rest::Fault(_) => None,
        };
        let rest: Box<[u8]> = match cut.rest {
            Rest::Fault(_) => Box::default(),
            Rest::Short | Rest::Begun(_) => self.ingress.scratch[cut.whole..filled].into(),
        };
        let replies = self.charge_replies(cut.answered);
        if cut.frames > 0 {
            self.conns[id].reading.frame_len = cut.whole as u32 / cut.frames;
        }
        let batch = (cut.frames > 0).then(|| {
            self.ctx.timing.batch(cut.frames, cut.whole);
            let buffer = self.take_scratch(cut.whole);
            Batch::new(buffer, cut.whole, cut.frames, replies)
        });
        // Charged before the batch is distributed, which may charge more.
        let is_same = tail > 0 && cut.frames == 0;
        self.keep_partial(id, rest, header, is_same);
        if let Some(batch) = batch {
            self.submit_batch(id, batch);
        }
        if let Rest::Fault(fault) = cut.rest {
            self.ctx.ledger.read += 1;
            let conn = &mut self.conns[id];
            conn.order.frames_in_flight += 1;
            if conn.state == State::Open {
                conn.state = State::Draining;
            }
            let seq = conn.order.window.begin();
            conn.order.window.insert(seq, Item::Fault(fault));
            self.ingress.in_flight += 1;
            self.release(id);
        }
    }

    /// The whole frames of the lent buffer: a copy of the right size where they are few, the buffer
    /// itself where they fill half of it. So nobody pins a large buffer for small frames, and what is
    /// copied is at most half of what a full read brings.
    fn take_scratch(&mut self, whole: usize) -> Buffer {
        let bytes = if whole >= READ_MAX / 2 {
            std::mem::replace(&mut self.ingress.scratch, self.ctx.memory.buffer())
        } else {
            self.ingress.scratch[..whole].into()
        };
        Buffer::charged(&self.ctx.memory, bytes)
    }

    fn charge_replies(&self, answered: u32) -> Option<Charge> {
        let bytes = answered as usize * REPLY_MAX + BUFFER_OVERHEAD;
        (answered > 0).then(|| self.ctx.memory.charge(Share::Small, bytes))
    }

    /// Keeps the beginning of a frame, and sets aside the memory to finish it. `is_same` if it is the
    /// frame that was begun before.
    fn keep_partial(&mut self, id: ConnId, bytes: Box<[u8]>, header: Option<Header>, is_same: bool) {
        if bytes.is_empty() {
            return;
        }
        let conn = &mut self.conns[id];
        let need = match header {
            Some(header) if header.frame_len() <= READ_MAX => partial_need(header.frame_len()),
            // A large frame gets its memory as a whole, when its turn comes.
            Some(_) => partial_need(bytes.len()),
            // The beginning of a header is what a connection costs. Were it charged, many of them could hold what one
            // needs to be read on, and have nothing that could be finished.
            None => 0,
        };
        let charge = self.ctx.memory.charge(Share::Small, need);
        if !is_same || bytes.len() - conn.reading.frame_mark as usize >= FRAME_PROGRESS {
            conn.reading.frame_since = self.ctx.now.into();
            conn.reading.frame_mark = bytes.len() as u32;
        }
        conn.reading.partial = Some(Box::new(Partial { bytes, header, charge }));
    }

    /// Verifies a batch here where that is cheaper than waking a worker, else hands it over.
    fn submit_batch(&mut self, id: ConnId, batch: Batch) {
        let conn = &mut self.conns[id];
        let frames = u64::from(batch.frames());
        conn.traffic.frames_read += frames;
        self.ctx.ledger.read += frames;
        let inline = conn.order.window.is_empty() && batch.len() <= INLINE_BATCH.min(self.ctx.inline_left);
        if inline {
            self.ctx.inline_left -= batch.len();
            self.ctx.ledger.verified.inline += 1;
            let verified = verify(batch, &self.ctx.config.scheme);
            self.ctx.timing.verified(self.ctx.now, self.ctx.now);
            self.give_effect(id, Item::Frames(verified));
            self.conns.mark_ending(id);
            return;
        }
        conn.order.frames_in_flight += frames as u32;
        conn.order.bytes_in_flight += batch.len() as u32;
        let number = conn.order.window.begin();
        self.ingress.in_flight += 1;
        let ticket = Ticket { conn: id.key(), number, since: self.ctx.now };
        self.ctx.submit(Job { ticket, work: Work::Batch(batch) });
    }

    /// The memory for a large frame is granted: what came of it becomes its first piece.
    fn begin_large(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        let partial = conn.reading.partial.take().expect("a large frame begins with its header");
        let header = partial.header.expect("a large frame is known by its header");
        if partial.bytes.len() < HEADER + header.topic_len as usize {
            // The first piece holds the whole topic: read a little more of it as a small frame.
            conn.reading.partial = Some(partial);
            self.read_topic(id, header);
            return;
        }
        let total = header.frame_len();
        let charge = self.ctx.memory.charge(Share::Large, total + BUFFER_OVERHEAD);
        let replies = self.charge_replies(u32::from(header.is_answered()));
        let first = Buffer::new(partial.bytes, self.ctx.memory.charge(Share::Large, 0));
        let hashing = Piecewise::new(total, &self.ctx.config.scheme, charge, replies);
        self.ingress.large_count += 1;
        let number = self.ingress.large_count;
        let conn = &mut self.conns[id];
        conn.reading.read_size = READ_MIN as u32;
        conn.reading.frame_since = self.ctx.now.into();
        conn.reading.frame_mark = first.len() as u32;
        conn.reading.larges.push(Large::new(number, &header, first, Box::new(hashing), self.ctx.now));
    }

    /// Reads the rest of a large frame's topic, which was cut off by the end of a read.
    fn read_topic(&mut self, id: ConnId, header: Header) {
        let conn = &mut self.conns[id];
        let tail = conn.reading.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let end = HEADER + header.topic_len as usize;
        let result = self.ctx.net.read(conn.socket(), &mut self.ingress.scratch[tail..end]);
        let Some(n) = self.read_result(id, result, end - tail) else { return };
        let conn = &mut self.conns[id];
        if let Some(partial) = conn.reading.partial.take() {
            self.ingress.scratch[..tail].copy_from_slice(&partial.bytes);
        }
        let bytes = self.ingress.scratch[..tail + n].into();
        self.keep_partial(id, bytes, Some(header), true);
    }

    /// Reads the next bytes of a large frame into its own pieces. Whether the connection may be read
    /// again.
    fn read_large(&mut self, id: ConnId) -> bool {
        let conn = &mut self.conns[id];
        let large = conn.reading.larges.last_mut().expect(BEGUN);
        let spare = large.spare(&self.ctx.memory);
        let wanted = spare.len();
        let socket = conn.socket.as_mut().expect("only a connection that is gone has no socket");
        let result = self.ctx.net.read(socket, spare);
        let Some(n) = self.read_result(id, result, wanted) else { return false };

        let conn = &mut self.conns[id];
        let large = conn.reading.larges.last_mut().expect(BEGUN);
        large.advance(n, &self.ctx.memory);
        if large.received() - conn.reading.frame_mark as usize >= FRAME_PROGRESS {
            conn.reading.frame_mark = large.received() as u32;
            conn.reading.frame_since = self.ctx.now.into();
        }
        let number = large.number;
        if large.is_received() {
            large.seq = Some(conn.order.window.begin());
            large.received_at = self.ctx.now;
            self.ctx.timing.batch(1, large.total());
            conn.traffic.frames_read += 1;
            conn.order.frames_in_flight += 1;
            self.ingress.in_flight += 1;
            self.ctx.ledger.read += 1;
        }
        self.hash_on(id, number);
        true
    }

    /// Has the next piece of a large frame hashed, or takes its verdict where all is hashed.
    pub(in crate::gateway) fn hash_on(&mut self, id: ConnId, number: u64) {
        let conn = &mut self.conns[id];
        let Some(at) = conn.reading.larges.iter().position(|large| large.number == number) else { return };
        let large = &mut conn.reading.larges[at];
        let received = large.is_received();
        if let Some(mut hashing) = large.take(if received { 1 } else { PIECE }) {
            if received && hashing.unhashed() <= INLINE_BATCH.min(self.ctx.inline_left) {
                self.ctx.inline_left -= hashing.unhashed();
                hashing.hash(INLINE_BATCH);
                large.put(hashing);
            } else {
                let ticket = Ticket { conn: id.key(), number, since: self.ctx.now };
                self.ctx.submit(Job { ticket, work: Work::Piece(hashing) });
                return;
            }
        }
        if let Some(finished) = large.take_finished() {
            let seq = large.seq.expect("it is received");
            self.ctx.timing.verified(large.received_at, self.ctx.now);
            conn.reading.larges.remove(at);
            conn.order.window.insert(seq, Item::Frames(finished.finish()));
            self.release(id);
        }
    }

    /// Throws away what still comes on a connection that is closing. Whether more may come.
    fn discard(&mut self, id: ConnId) -> bool {
        let wanted = self.ingress.scratch.len();
        let result = self.ctx.net.read(self.conns[id].socket(), &mut self.ingress.scratch);
        self.read_result(id, result, wanted).is_some()
    }

    /// What a read means for the connection, and the number of bytes where some came.
    fn read_result(&mut self, id: ConnId, result: io::Result<usize>, wanted: usize) -> Option<usize> {
        let conn = &mut self.conns[id];
        match result {
            Ok(0) => {
                self.end_of_stream(id);
                None
            }
            Ok(n) => {
                // A short read has emptied the socket; only the end may be behind it.
                conn.reading.readable = n == wanted || conn.reading.read_closed;
                conn.reading.last_read = self.ctx.now.into();
                conn.traffic.bytes_read += n as u64;
                self.ctx.ledger.bytes_read += n as u64;
                Some(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.reading.readable = false;
                None
            }
            Err(error) => {
                self.conns.lose(id, CloseReason::Lost(error.kind()));
                None
            }
        }
    }

    /// The peer will send nothing more: what it sent is finished, then it is closed.
    pub(in crate::gateway) fn end_of_stream(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        conn.reading.ended = true;
        conn.reading.readable = false;
        if conn.state == State::Open {
            conn.state = State::Draining;
        }
        self.forget_begun(id);
        self.conns.mark_ending(id);
    }

    /// Lets go of a frame that will never be whole.
    pub(in crate::gateway) fn forget_begun(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        let Some(begun) = conn.reading.begun() else { return };
        conn.reading.partial = None;
        conn.reading.larges.pop_if(|large| !large.is_received());
        self.ctx.ledger.bytes_unfinished += begun as u64;
    }
}
