//! What handlers write: read, cut, verified and taken as answers.
//!
//! A handler is read as far as its answers find memory, and room to wait for their turn (see `waits`), and not while
//! what was read of it is verified: its pipe holds the rest, and it waits.

use std::io::ErrorKind;

use super::{Downstream, Handlers};
use crate::core::limits::{
    BUFFER_OVERHEAD, HANDLER_READ, INLINE_BATCH, LARGE_BACKLOG, PIECE, READ_MAX, STEP,
};
use crate::core::memory::{Buffer, Charge, Share, Waiting};
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::distribution::Distribution;
use crate::gateway::ingress::large::Large;
use crate::runtime::net::{Net, Process};
use crate::runtime::pool::{Job, Outcome, Pool, Ticket, Work};
use crate::wire::{Batch, HEADER, Header, Piecewise, Rest, Scheme, Verified, cut, verify};

/// What an answer takes beside its bytes as long as it waits.
const KEPT: usize = BUFFER_OVERHEAD + STEP;

/// The tickets of what is hashed for handlers. No connection has this key.
pub const ANSWERS: u64 = 1 << 63;

const BEGUN: &str = "it is read into the large frame that it began, and that is there until it is verified";

/// What was read of a handler and is no answer yet.
#[derive(Default)]
pub struct Intake {
    /// The beginning of the next frame, and its header once it is whole.
    begun: Vec<u8>,
    header: Option<Header>,
    charge: Option<Charge>,
    /// A frame that does not fit in one read.
    large: Option<Box<Large>>,
    /// A worker verifies what came before.
    verifying: bool,
    /// What is wrong with what follows it.
    fault: Option<String>,
    /// What may have to wait of what is verified.
    waiting: Option<Waiting>,
}

/// What may be done for a handler that has written something.
enum Next {
    /// Not now: for memory, room in the queues, or a verdict.
    Wait,
    /// Into the lent buffer, until so many bytes are in it.
    Read(usize),
    /// Into the large frame that it began.
    ReadLarge,
    /// The large frame whose header came begins.
    BeginLarge(Header),
}

impl<N: Net> Handlers<N> {
    /// Reads a handler, as long as it has something and a turn's budget is not spent.
    pub(super) fn read_answers<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize) {
        let mut left = READ_MAX;
        while left > 0 {
            match self.next_read(to.conns, to.ctx, to.distribution, slot) {
                Next::Wait => return,
                Next::BeginLarge(header) => self.begin_large_answer(to.conns, to.ctx, slot, header),
                Next::Read(filled) => {
                    let Some(n) = self.read_some_answers(to, slot, filled) else {
                        return;
                    };
                    left = left.saturating_sub(n);
                }
                Next::ReadLarge => {
                    let Some(n) = self.read_large_answer(to, slot) else { return };
                    left = left.saturating_sub(n);
                }
            }
        }
    }

    /// What a worker did for a handler.
    pub fn take_verdict<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, number: u64, outcome: Outcome) {
        match outcome {
            Outcome::Answers(verified) => self.answers_verified(to, number, verified),
            Outcome::Piece(hashing) => self.answer_hashed(to, number, hashing),
            Outcome::Call(performed) => self.function_answered(to, number, performed),
            Outcome::Draft(draft) => self.draft_hashed(to, number, draft),
            Outcome::Batch(_) | Outcome::Run(_) | Outcome::LargeRun(_) | Outcome::Handshake(_) => {
                unreachable!("a batch is of a connection")
            }
        }
    }

    /// Whether some handler could be read or written, or given a call once more, at once.
    pub fn go_on<P: Pool>(
        &self,
        conns: &Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        distribution: &Distribution,
    ) -> bool {
        self.has_answers(conns, ctx, distribution)
            || self.has_calls_to_write()
            || self.has_calls_to_repeat(conns)
    }

    /// Whether some handler could be read at once.
    pub(super) fn has_answers<P: Pool>(
        &self,
        conns: &Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        distribution: &Distribution,
    ) -> bool {
        let slots = self.processes.len();
        (0..slots).any(|slot| !matches!(self.next_read(conns, ctx, distribution, slot), Next::Wait))
    }

    /// Whether a handler has written what cannot be read now: it waits for the gateway, not the gateway for it.
    pub(super) fn is_kept_waiting<P: Pool>(
        &self,
        conns: &Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        distribution: &Distribution,
        slot: usize,
    ) -> bool {
        self.processes.life(slot).running().is_some_and(|running| {
            let has_written = running.readable && running.closed.is_none();
            has_written && matches!(self.next_read(conns, ctx, distribution, slot), Next::Wait)
        })
    }

    fn next_read<P: Pool>(
        &self,
        conns: &Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        distribution: &Distribution,
        slot: usize,
    ) -> Next {
        // It may have failed over what was read last.
        let Some(running) = self.processes.life(slot).running() else { return Next::Wait };
        let intake = &running.intake;
        if !running.readable || running.closed.is_some() || intake.verifying || !ctx.takes_jobs() {
            return Next::Wait;
        }
        if let Some(large) = &intake.large {
            let reads = !large.is_received() && large.backlog() < LARGE_BACKLOG;
            return if reads { Next::ReadLarge } else { Next::Wait };
        }
        let begun = intake.begun.len();
        let filled = match intake.header {
            Some(header) if header.frame_len() > READ_MAX => {
                if !self.may_read_answer(conns, ctx, distribution, slot, &header) {
                    return Next::Wait;
                }
                let topic = HEADER + header.topic_len as usize;
                if begun >= topic {
                    let room = ctx.memory.has_room(Share::Answer, header.frame_len() + BUFFER_OVERHEAD);
                    return if room { Next::BeginLarge(header) } else { Next::Wait };
                }
                // Its first piece holds the whole topic.
                topic
            }
            header => {
                let len = header.map_or(0, |header| header.frame_len());
                let filled = len.max(begun + HANDLER_READ).min(READ_MAX);
                match header {
                    // All of them may have to wait.
                    _ if self.may_keep(&ctx.memory, filled + running.calls.len() * KEPT) => filled,
                    // One at a time, then.
                    None => HEADER,
                    Some(header) if self.may_read_answer(conns, ctx, distribution, slot, &header) => len,
                    Some(_) => return Next::Wait,
                }
            }
        };
        // The batch, the beginning of the frame behind it, and what is made of the batch.
        let need = 3 * filled + 3 * BUFFER_OVERHEAD;
        if ctx.memory.has_room(Share::Answer, need) { Next::Read(filled) } else { Next::Wait }
    }

    /// Reads into the lent buffer and cuts it. How much was read; none if there is nothing more for now.
    fn read_some_answers<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        slot: usize,
        filled: usize,
    ) -> Option<usize> {
        let rules = self.rules;
        let running = &mut self.processes[slot];
        let tail = running.intake.begun.len();
        to.ctx.scratch[..tail].copy_from_slice(&running.intake.begun);
        let result = running.process.read(&mut to.ctx.scratch[tail..filled]);
        let n = self.answers_result(to.ctx, slot, result)?;
        let cut = cut(&to.ctx.scratch[..tail + n], &rules);
        let batch = (cut.frames > 0).then(|| {
            let bytes = to.ctx.scratch[..cut.whole].into();
            let buffer = Buffer::charged_to(&to.ctx.memory, Share::Answer, bytes);
            Batch::new(buffer, cut.whole, cut.frames, None)
        });
        let rest = to.ctx.scratch[cut.whole..tail + n].to_vec();
        let charge = to.ctx.memory.charge(Share::Answer, rest.len() + BUFFER_OVERHEAD);
        let intake = &mut self.processes[slot].intake;
        (intake.begun, intake.charge, intake.header) = (rest, Some(charge), None);
        match cut.rest {
            Rest::Begun(header) => intake.header = Some(header),
            Rest::Short => {}
            Rest::Fault(fault) => intake.fault = Some(format!("wrote what is no answer ({fault})")),
        }
        if intake.begun.is_empty() {
            (intake.begun, intake.charge) = (Vec::new(), None);
        }
        match batch {
            Some(batch) => self.verify_answers(to, slot, batch),
            None => self.answers_fault(to, slot),
        }
        Some(n)
    }

    fn verify_answers<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize, batch: Batch) {
        if batch.len() <= INLINE_BATCH.min(to.ctx.inline_left) {
            to.ctx.inline_left -= batch.len();
            let verified = verify(batch, &Scheme::Sha256);
            return self.take_verified(to, slot, verified);
        }
        let since = to.ctx.now;
        let waiting = to.ctx.memory.wait(batch.len() + batch.frames() as usize * KEPT);
        let running = &mut self.processes[slot];
        running.intake.verifying = true;
        running.intake.waiting = Some(waiting);
        let ticket = Ticket { conn: ANSWERS, number: running.key, since };
        to.ctx.submit(Job { ticket, work: Work::Answers(batch) });
    }

    /// A worker has verified what a handler wrote.
    pub(super) fn answers_verified<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        key: u64,
        verified: Verified,
    ) {
        // Its process may have ended meanwhile.
        if let Some(slot) = self.processes.slot_of(key) {
            let intake = &mut self.processes[slot].intake;
            intake.verifying = false;
            intake.waiting = None;
            self.take_verified(to, slot, verified);
        }
    }

    fn take_verified<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize, verified: Verified) {
        for frame in verified.iter() {
            let body = verified.body().part(frame.at, frame.end());
            if let Err(why) = self.take_answer(to, slot, &frame, body) {
                return self.fail_handler(to, slot, why);
            }
        }
        self.answers_fault(to, slot);
    }

    /// What is behind the answers is none.
    fn answers_fault<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize) {
        if let Some(fault) = self.processes[slot].intake.fault.take() {
            self.fail_handler(to, slot, fault);
        }
    }

    fn begin_large_answer<P: Pool>(
        &mut self,
        conns: &Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        slot: usize,
        header: Header,
    ) {
        let total = header.frame_len();
        let charge = ctx.memory.charge(Share::Answer, total + BUFFER_OVERHEAD);
        let piece = ctx.memory.charge(Share::Answer, 0);
        let waits = self.is_ahead(conns, slot, &header) && self.may_keep(&ctx.memory, total + KEPT);
        let waiting = waits.then(|| ctx.memory.wait(total + KEPT));
        let now = ctx.now;
        let running = &mut self.processes[slot];
        let (key, intake) = (running.key, &mut running.intake);
        let first = Buffer::new(std::mem::take(&mut intake.begun).into(), piece);
        (intake.header, intake.charge, intake.waiting) = (None, None, waiting);
        let hashing = Piecewise::new(total, &Scheme::Sha256, charge, None);
        intake.large = Some(Box::new(Large::new(key, &header, first, Box::new(hashing), now)));
    }

    fn read_large_answer<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize) -> Option<usize> {
        let memory = to.ctx.memory.clone();
        let running = &mut self.processes[slot];
        let large = running.intake.large.as_mut().expect(BEGUN);
        let spare = large.spare(&memory);
        let result = running.process.read(spare);
        let n = self.answers_result(to.ctx, slot, result)?;
        let large = self.processes[slot].intake.large.as_mut().expect(BEGUN);
        large.advance(n, &memory);
        self.hash_answer(to, slot);
        Some(n)
    }

    /// A worker has hashed a piece of what a handler wrote.
    pub(super) fn answer_hashed<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        key: u64,
        hashing: Box<Piecewise>,
    ) {
        // Its process may have ended meanwhile.
        if let Some(slot) = self.processes.slot_of(key) {
            self.processes[slot].intake.large.as_mut().expect(BEGUN).put(hashing);
            self.hash_answer(to, slot);
        }
    }

    /// Has the next piece of a large answer hashed, or takes it where all is hashed.
    fn hash_answer<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize) {
        let since = to.ctx.now;
        let running = &mut self.processes[slot];
        let (key, large) = (running.key, running.intake.large.as_mut().expect(BEGUN));
        let received = large.is_received();
        if let Some(hashing) = large.take(if received { 1 } else { PIECE }) {
            let ticket = Ticket { conn: ANSWERS, number: key, since };
            return to.ctx.submit(Job { ticket, work: Work::Piece(hashing) });
        }
        if let Some(finished) = large.take_finished() {
            running.intake.large = None;
            running.intake.waiting = None;
            self.take_verified(to, slot, finished.finish());
        }
    }

    /// What a read means for the handler, and the number of bytes where some came.
    fn answers_result<P: Pool>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        slot: usize,
        result: std::io::Result<usize>,
    ) -> Option<usize> {
        let now = ctx.now;
        let running = &mut self.processes[slot];
        match result {
            Ok(0) => {
                running.closed.get_or_insert(now);
                None
            }
            Ok(n) => Some(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                running.readable = false;
                None
            }
            Err(_) => {
                running.closed.get_or_insert(now);
                None
            }
        }
    }
}
