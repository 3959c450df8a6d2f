//! Frames that are made for calls: what a handler gets, and what comes of its answer.

use std::rc::Rc;

use crate::core::limits::INLINE_BATCH;
use crate::gateway::Gate;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::handlers::answered::Answer;
use crate::gateway::handlers::answers::ANSWERS;
use crate::gateway::handlers::calling::Call;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Draft, Verified};

/// What a draft will be.
pub enum Purpose {
    /// The frame as a handler gets it, for the process with this key.
    Give(u64),
    /// What comes of a call.
    Answer(Box<Call>, Answer),
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// Hashes a draft here where that is cheap, else has it hashed.
    pub(in crate::gateway) fn draft(&mut self, number: u64, purpose: Purpose, mut draft: Draft) {
        let bytes = draft.unhashed();
        if bytes <= INLINE_BATCH.min(self.ctx.inline_left) {
            self.ctx.inline_left -= bytes;
            draft.hash(bytes);
            return self.drafted(purpose, number, draft.finish());
        }
        let calling = &mut self.calling;
        calling.drafts.insert(number, purpose);
        self.hash_draft(number, Box::new(draft));
    }

    fn hash_draft(&mut self, number: u64, draft: Box<Draft>) {
        if self.ctx.takes_jobs() {
            self.ctx.submit(Job {
                ticket: Ticket { conn: ANSWERS, number, since: self.ctx.now },
                work: Work::Draft(draft),
            });
        } else {
            self.calling.unhashed.push_back((number, draft));
        }
    }

    pub(in crate::gateway) fn hash_waiting(&mut self) {
        while self.ctx.takes_jobs()
            && let Some((number, draft)) = self.calling.unhashed.pop_front()
        {
            self.hash_draft(number, draft);
        }
    }

    /// A worker has hashed a draft a piece further.
    pub(in crate::gateway) fn draft_hashed(&mut self, number: u64, draft: Box<Draft>) {
        if draft.unhashed() > 0 {
            return self.hash_draft(number, draft);
        }
        let calling = &mut self.calling;
        if let Some(purpose) = calling.drafts.remove(&number) {
            self.drafted(purpose, number, draft.finish());
        }
    }

    fn drafted(&mut self, purpose: Purpose, number: u64, made: Verified) {
        match purpose {
            Purpose::Give(key) => {
                let calling = &mut self.calling;
                let seat = calling.handlers.seat_of(key);
                // Its handler may have failed meanwhile.
                if let Some(running) = seat.and_then(|seat| calling.handlers.running(seat))
                    && running.calls.contains_key(&number)
                {
                    running.outbox.push(Rc::new(OutboxItem::Frame(made.body().clone())));
                }
            }
            Purpose::Answer(call, answer) => match answer {
                Answer::Pass => {
                    let reply = OutboxItem::Frame(made.body().clone());
                    self.pass(*call, None, Some(reply));
                }
                Answer::Replace => self.pass(*call, Some(made), None),
                Answer::Refuse(status) => {
                    let reply = OutboxItem::Frame(made.body().clone());
                    self.refused(*call, status, Some(reply));
                }
            },
        }
    }
}
