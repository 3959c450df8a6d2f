//! What handlers write: read, cut, verified and taken as answers.
//!
//! A handler is read as far as its answers find memory, and room to wait for their turn (see `waits`), and not while
//! what was read of it is verified: its pipe holds the rest, and it waits.

use std::io::ErrorKind;

use super::Handlers;
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

impl<H: Process> Handlers<H> {
    /// Reads a handler, as long as it has something and a turn's budget is not spent.
    pub(super) fn read_answers<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
    ) {
        let mut left = READ_MAX;
        while left > 0 {
            match self.next_read(conns, ctx, distribution, slot) {
                Next::Wait => return,
                Next::BeginLarge(header) => self.begin_large_answer(conns, ctx, slot, header),
                Next::Read(filled) => {
                    let Some(n) = self.read_some_answers(conns, ctx, distribution, slot, filled) else {
                        return;
                    };
                    left = left.saturating_sub(n);
                }
                Next::ReadLarge => {
                    let Some(n) = self.read_large_answer(conns, ctx, distribution, slot) else { return };
                    left = left.saturating_sub(n);
                }
            }
        }
    }

    /// What a worker did for a handler.
    pub fn take_verdict<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        number: u64,
        outcome: Outcome,
    ) {
        match outcome {
            Outcome::Answers(verified) => self.answers_verified(conns, ctx, distribution, number, verified),
            Outcome::Piece(hashing) => self.answer_hashed(conns, ctx, distribution, number, hashing),
            Outcome::Call(performed) => self.function_answered(conns, ctx, distribution, number, performed),
            Outcome::Draft(draft) => self.draft_hashed(conns, ctx, distribution, number, draft),
            Outcome::Batch(_) | Outcome::Run(_) => unreachable!("a batch is of a connection"),
        }
    }

    /// Whether some handler could be read or written, or given a call once more, at once.
    pub fn go_on<N: Net<Process = H>, P: Pool>(
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
    pub(super) fn has_answers<N: Net<Process = H>, P: Pool>(
        &self,
        conns: &Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        distribution: &Distribution,
    ) -> bool {
        let slots = self.processes.len();
        (0..slots).any(|slot| !matches!(self.next_read(conns, ctx, distribution, slot), Next::Wait))
    }

    /// Whether a handler has written what cannot be read now: it waits for the gateway, not the gateway for it.
    pub(super) fn is_kept_waiting<N: Net<Process = H>, P: Pool>(
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

    fn next_read<N: Net<Process = H>, P: Pool>(
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
    fn read_some_answers<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
        filled: usize,
    ) -> Option<usize> {
        let rules = self.rules;
        let running = &mut self.processes[slot];
        let tail = running.intake.begun.len();
        ctx.scratch[..tail].copy_from_slice(&running.intake.begun);
        let result = running.process.read(&mut ctx.scratch[tail..filled]);
        let n = self.answers_result(ctx, slot, result)?;
        let cut = cut(&ctx.scratch[..tail + n], &rules);
        let batch = (cut.frames > 0).then(|| {
            let bytes = ctx.scratch[..cut.whole].into();
            let buffer = Buffer::charged_to(&ctx.memory, Share::Answer, bytes);
            Batch::new(buffer, cut.whole, cut.frames, None)
        });
        let rest = ctx.scratch[cut.whole..tail + n].to_vec();
        let charge = ctx.memory.charge(Share::Answer, rest.len() + BUFFER_OVERHEAD);
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
            Some(batch) => self.verify_answers(conns, ctx, distribution, slot, batch),
            None => self.answers_fault(conns, ctx, distribution, slot),
        }
        Some(n)
    }

    fn verify_answers<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
        batch: Batch,
    ) {
        if batch.len() <= INLINE_BATCH.min(ctx.inline_left) {
            ctx.inline_left -= batch.len();
            let verified = verify(batch, &Scheme::Sha256);
            return self.take_verified(conns, ctx, distribution, slot, verified);
        }
        let since = ctx.now;
        let waiting = ctx.memory.wait(batch.len() + batch.frames() as usize * KEPT);
        let running = &mut self.processes[slot];
        running.intake.verifying = true;
        running.intake.waiting = Some(waiting);
        let ticket = Ticket { conn: ANSWERS, number: running.key, since };
        ctx.submit(Job { ticket, work: Work::Answers(batch) });
    }

    /// A worker has verified what a handler wrote.
    pub(super) fn answers_verified<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        key: u64,
        verified: Verified,
    ) {
        // Its process may have ended meanwhile.
        if let Some(slot) = self.processes.slot_of(key) {
            let intake = &mut self.processes[slot].intake;
            intake.verifying = false;
            intake.waiting = None;
            self.take_verified(conns, ctx, distribution, slot, verified);
        }
    }

    fn take_verified<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
        verified: Verified,
    ) {
        for frame in verified.iter() {
            let body = verified.body().part(frame.at, frame.end());
            if let Err(why) = self.take_answer(conns, ctx, distribution, slot, &frame, body) {
                return self.fail_handler(conns, ctx, distribution, slot, why);
            }
        }
        self.answers_fault(conns, ctx, distribution, slot);
    }

    /// What is behind the answers is none.
    fn answers_fault<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
    ) {
        if let Some(fault) = self.processes[slot].intake.fault.take() {
            self.fail_handler(conns, ctx, distribution, slot, fault);
        }
    }

    fn begin_large_answer<N: Net<Process = H>, P: Pool>(
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

    fn read_large_answer<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
    ) -> Option<usize> {
        let memory = ctx.memory.clone();
        let running = &mut self.processes[slot];
        let large = running.intake.large.as_mut().expect(BEGUN);
        let spare = large.spare(&memory);
        let result = running.process.read(spare);
        let n = self.answers_result(ctx, slot, result)?;
        let large = self.processes[slot].intake.large.as_mut().expect(BEGUN);
        large.advance(n, &memory);
        self.hash_answer(conns, ctx, distribution, slot);
        Some(n)
    }

    /// A worker has hashed a piece of what a handler wrote.
    pub(super) fn answer_hashed<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        key: u64,
        hashing: Box<Piecewise>,
    ) {
        // Its process may have ended meanwhile.
        if let Some(slot) = self.processes.slot_of(key) {
            self.processes[slot].intake.large.as_mut().expect(BEGUN).put(hashing);
            self.hash_answer(conns, ctx, distribution, slot);
        }
    }

    /// Has the next piece of a large answer hashed, or takes it where all is hashed.
    fn hash_answer<N: Net<Process = H>, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        distribution: &mut Distribution,
        slot: usize,
    ) {
        let since = ctx.now;
        let running = &mut self.processes[slot];
        let (key, large) = (running.key, running.intake.large.as_mut().expect(BEGUN));
        let received = large.is_received();
        if let Some(hashing) = large.take(if received { 1 } else { PIECE }) {
            let ticket = Ticket { conn: ANSWERS, number: key, since };
            return ctx.submit(Job { ticket, work: Work::Piece(hashing) });
        }
        if let Some(finished) = large.take_finished() {
            running.intake.large = None;
            running.intake.waiting = None;
            self.take_verified(conns, ctx, distribution, slot, finished.finish());
        }
    }

    /// What a read means for the handler, and the number of bytes where some came.
    fn answers_result<N: Net<Process = H>, P: Pool>(
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
