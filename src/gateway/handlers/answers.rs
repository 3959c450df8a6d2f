//! What handlers write: read, cut, verified and taken as answers.
//!
//! A handler is read as far as its answers find memory, and room to wait for their turn (see `waits`), and not while
//! what was read of it is verified: its pipe holds the rest, and it waits.

use std::io::ErrorKind;

use crate::core::limits::{
    BUFFER_OVERHEAD, HANDLER_READ, INLINE_BATCH, LARGE_BACKLOG, PIECE, READ_MAX, STEP,
};
use crate::core::memory::{Buffer, Charge, Share, Waiting};
use crate::gateway::Gate;
use crate::gateway::handlers::processes::{Life, Running};
use crate::gateway::ingress::large::Large;
use crate::runtime::net::{Net, Process};
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Batch, HEADER, Header, Piecewise, Rest, Rules, Scheme, Verified, cut, verify};

/// What an answer takes beside its bytes as long as it waits.
const KEPT: usize = BUFFER_OVERHEAD + STEP;

/// The tickets of what is hashed for handlers. No connection has this key.
pub(in crate::gateway) const ANSWERS: u64 = 1 << 63;

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

impl<N: Net, P: Pool> Gate<N, P> {
    /// Reads a handler, as long as it has something and a turn's budget is not spent.
    pub(in crate::gateway) fn read_answers(&mut self, seat: usize) {
        let mut left = READ_MAX;
        while left > 0 {
            match self.next_read(seat) {
                Next::Wait => return,
                Next::BeginLarge(header) => self.begin_large_answer(seat, header),
                Next::Read(filled) => {
                    let Some(n) = self.read_some_answers(seat, filled) else { return };
                    left = left.saturating_sub(n);
                }
                Next::ReadLarge => {
                    let Some(n) = self.read_large_answer(seat) else { return };
                    left = left.saturating_sub(n);
                }
            }
        }
    }

    /// Whether some handler could be read at once.
    pub(in crate::gateway) fn has_answers(&self) -> bool {
        let seats = self.calling.handlers.len();
        (0..seats).any(|seat| !matches!(self.next_read(seat), Next::Wait))
    }

    /// Whether a handler has written what cannot be read now: it waits for the gateway, not the gateway for it.
    pub(in crate::gateway) fn is_kept_waiting(&self, seat: usize) -> bool {
        let Life::Running(running) = self.calling.handlers.life(seat) else {
            return false;
        };
        running.readable && running.closed.is_none() && matches!(self.next_read(seat), Next::Wait)
    }

    fn next_read(&self, seat: usize) -> Next {
        let calling = &self.calling;
        let Life::Running(running) = calling.handlers.life(seat) else { return Next::Wait };
        let intake = &running.intake;
        if !running.readable || running.closed.is_some() || intake.verifying || !self.ctx.takes_jobs() {
            return Next::Wait;
        }
        if let Some(large) = &intake.large {
            let reads = !large.is_received() && large.backlog() < LARGE_BACKLOG;
            return if reads { Next::ReadLarge } else { Next::Wait };
        }
        let begun = intake.begun.len();
        let filled = match intake.header {
            Some(header) if header.frame_len() > READ_MAX => {
                if !self.may_read(seat, &header) {
                    return Next::Wait;
                }
                let topic = HEADER + header.topic_len as usize;
                if begun >= topic {
                    let room = self.ctx.memory.has_room(Share::Answer, header.frame_len() + BUFFER_OVERHEAD);
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
                    _ if calling.may_keep(&self.ctx.memory, filled + running.calls.len() * KEPT) => filled,
                    // One at a time, then.
                    None => HEADER,
                    Some(header) if self.may_read(seat, &header) => len,
                    Some(_) => return Next::Wait,
                }
            }
        };
        // The batch, the beginning of the frame behind it, and what is made of the batch.
        let need = 3 * filled + 3 * BUFFER_OVERHEAD;
        if self.ctx.memory.has_room(Share::Answer, need) { Next::Read(filled) } else { Next::Wait }
    }

    fn handler(&mut self, seat: usize) -> Option<&mut Running<N::Process>> {
        self.calling.handlers.running(seat)
    }

    /// Reads into the lent buffer and cuts it. How much was read; none if there is nothing more for now.
    fn read_some_answers(&mut self, seat: usize, filled: usize) -> Option<usize> {
        let rules = Rules { replies: true, ..self.ingress.rules };
        let running = self.calling.handlers.running(seat)?;
        let tail = running.intake.begun.len();
        self.ingress.scratch[..tail].copy_from_slice(&running.intake.begun);
        let result = running.process.read(&mut self.ingress.scratch[tail..filled]);
        let n = self.answers_result(seat, result)?;
        let cut = cut(&self.ingress.scratch[..tail + n], &rules);
        let batch = (cut.frames > 0).then(|| {
            let bytes = self.ingress.scratch[..cut.whole].into();
            let buffer = Buffer::charged_to(&self.ctx.memory, Share::Answer, bytes);
            Batch::new(buffer, cut.whole, cut.frames, None)
        });
        let rest = self.ingress.scratch[cut.whole..tail + n].to_vec();
        let charge = self.ctx.memory.charge(Share::Answer, rest.len() + BUFFER_OVERHEAD);
        let intake = &mut self.handler(seat)?.intake;
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
            Some(batch) => self.verify_answers(seat, batch),
            None => self.answers_fault(seat),
        }
        Some(n)
    }

    fn verify_answers(&mut self, seat: usize, batch: Batch) {
        if batch.len() <= INLINE_BATCH.min(self.ctx.inline_left) {
            self.ctx.inline_left -= batch.len();
            let verified = verify(batch, &Scheme::Sha256);
            return self.take_verified(seat, verified);
        }
        let since = self.ctx.now;
        let waiting = self.ctx.memory.wait(batch.len() + batch.frames() as usize * KEPT);
        let Some(running) = self.handler(seat) else { return };
        running.intake.verifying = true;
        running.intake.waiting = Some(waiting);
        let ticket = Ticket { conn: ANSWERS, number: running.key, since };
        self.ctx.submit(Job { ticket, work: Work::Answers(batch) });
    }

    /// A worker has verified what a handler wrote.
    pub(in crate::gateway) fn answers_verified(&mut self, key: u64, verified: Verified) {
        let Some(seat) = self.calling.handlers.seat_of(key) else {
            return;
        };
        if let Some(running) = self.handler(seat) {
            running.intake.verifying = false;
            running.intake.waiting = None;
        }
        self.take_verified(seat, verified);
    }

    fn take_verified(&mut self, seat: usize, verified: Verified) {
        for frame in verified.iter() {
            let body = verified.body().part(frame.at, frame.end());
            if let Err(why) = self.take_answer(seat, &frame, body) {
                return self.fail_handler(seat, why);
            }
        }
        self.answers_fault(seat);
    }

    /// What is behind the answers is none.
    fn answers_fault(&mut self, seat: usize) {
        if let Some(fault) = self.handler(seat).and_then(|running| running.intake.fault.take()) {
            self.fail_handler(seat, fault);
        }
    }

    fn begin_large_answer(&mut self, seat: usize, header: Header) {
        let total = header.frame_len();
        let charge = self.ctx.memory.charge(Share::Answer, total + BUFFER_OVERHEAD);
        let piece = self.ctx.memory.charge(Share::Answer, 0);
        let waits = self.is_ahead(seat, &header) && self.calling.may_keep(&self.ctx.memory, total + KEPT);
        let waiting = waits.then(|| self.ctx.memory.wait(total + KEPT));
        let now = self.ctx.now;
        let Some(running) = self.handler(seat) else { return };
        let (key, intake) = (running.key, &mut running.intake);
        let first = Buffer::new(std::mem::take(&mut intake.begun).into(), piece);
        (intake.header, intake.charge, intake.waiting) = (None, None, waiting);
        let hashing = Piecewise::new(total, &Scheme::Sha256, charge, None);
        intake.large = Some(Box::new(Large::new(key, &header, first, Box::new(hashing), now)));
    }

    fn read_large_answer(&mut self, seat: usize) -> Option<usize> {
        let memory = self.ctx.memory.clone();
        let running = self.handler(seat)?;
        let large = running.intake.large.as_mut()?;
        let spare = large.spare(&memory);
        let result = running.process.read(spare);
        let n = self.answers_result(seat, result)?;
        let large = self.handler(seat)?.intake.large.as_mut()?;
        large.advance(n, &memory);
        self.hash_answer(seat);
        Some(n)
    }

    /// A worker has hashed a piece of what a handler wrote.
    pub(in crate::gateway) fn answer_hashed(&mut self, key: u64, hashing: Box<Piecewise>) {
        let Some(seat) = self.calling.handlers.seat_of(key) else {
            return;
        };
        if let Some(large) = self.handler(seat).and_then(|running| running.intake.large.as_mut()) {
            large.put(hashing);
            self.hash_answer(seat);
        }
    }

    /// Has the next piece of a large answer hashed, or takes it where all is hashed.
    fn hash_answer(&mut self, seat: usize) {
        let since = self.ctx.now;
        let Some(running) = self.handler(seat) else { return };
        let (key, Some(large)) = (running.key, &mut running.intake.large) else { return };
        let received = large.is_received();
        if let Some(hashing) = large.take(if received { 1 } else { PIECE }) {
            let ticket = Ticket { conn: ANSWERS, number: key, since };
            return self.ctx.submit(Job { ticket, work: Work::Piece(hashing) });
        }
        if let Some(finished) = large.take_finished() {
            running.intake.large = None;
            running.intake.waiting = None;
            self.take_verified(seat, finished.finish());
        }
    }

    /// What a read means for the handler, and the number of bytes where some came.
    fn answers_result(&mut self, seat: usize, result: std::io::Result<usize>) -> Option<usize> {
        let now = self.ctx.now;
        let running = self.handler(seat)?;
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
