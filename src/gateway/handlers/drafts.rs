//! Frames that are made for calls: what a handler gets, and what comes of its answer.

use std::rc::Rc;

use super::answered::Answer;
use super::answers::ANSWERS;
use super::processes::Running;
use super::{Call, Downstream, Handlers};
use crate::core::limits::INLINE_BATCH;
use crate::core::memory::Buffer;
use crate::gateway::conn::PeerName;
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Draft, Header, Kind, Scheme, Verified, encode};

/// What a draft will be.
pub(super) enum Purpose {
    /// The frame as a handler gets it, for the process with this key.
    Give(u64),
    /// What comes of a call.
    Answer(Box<Call>, Answer),
}

/// Tells a handler whose the frames are that it gets from now on, if they are another's than before.
fn tell<H, N: Net, P>(running: &mut Running<H>, sender: PeerName, ctx: &Ctx<N, P>) {
    if running.told.as_ref() == Some(&sender) {
        return;
    }
    let (name, address) = (sender.name().unwrap_or_default(), sender.address.to_string());
    let mut auth = Vec::new();
    encode(Header::new(Kind::Auth), name.as_bytes(), address.as_bytes(), &Scheme::Sha256, &mut auth);
    let auth = Buffer::charged(&ctx.memory, auth.into());
    running.outbox.push(Rc::new(OutboxItem::Replies(auth)));
    running.told = Some(sender);
}

impl<N: Net> Handlers<N> {
    /// Hashes a draft here where that is cheap, else has it hashed.
    pub(super) fn draft<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        number: u64,
        purpose: Purpose,
        mut draft: Draft,
    ) {
        let bytes = draft.unhashed();
        if bytes <= INLINE_BATCH.min(to.ctx.inline_left) {
            to.ctx.inline_left -= bytes;
            draft.hash(bytes);
            return self.drafted(to, purpose, number, draft.finish());
        }
        self.drafts.purposes.insert(number, purpose);
        self.hash_draft(to.ctx, number, Box::new(draft));
    }

    fn hash_draft<P: Pool>(&mut self, ctx: &mut Ctx<N, P>, number: u64, draft: Box<Draft>) {
        if ctx.takes_jobs() {
            ctx.submit(Job {
                ticket: Ticket { conn: ANSWERS, number, since: ctx.now },
                work: Work::Draft(draft),
            });
        } else {
            self.drafts.unhashed.push_back((number, draft));
        }
    }

    pub(super) fn hash_waiting<P: Pool>(&mut self, ctx: &mut Ctx<N, P>) {
        while ctx.takes_jobs()
            && let Some((number, draft)) = self.drafts.unhashed.pop_front()
        {
            self.hash_draft(ctx, number, draft);
        }
    }

    /// A worker has hashed a draft a piece further.
    pub(super) fn draft_hashed<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        number: u64,
        draft: Box<Draft>,
    ) {
        if draft.unhashed() > 0 {
            return self.hash_draft(to.ctx, number, draft);
        }
        if let Some(purpose) = self.drafts.purposes.remove(&number) {
            self.drafted(to, purpose, number, draft.finish());
        }
    }

    fn drafted<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        purpose: Purpose,
        number: u64,
        made: Verified,
    ) {
        match purpose {
            Purpose::Give(key) => {
                let slot = self.processes.slot_of(key);
                // Its handler may have failed meanwhile.
                if let Some(running) = slot.and_then(|slot| self.processes.running(slot))
                    && let Some(call) = running.calls.get(&number)
                {
                    if to.ctx.config.handler_identity {
                        let sender = to.conns[call.conn].named();
                        tell(running, sender, to.ctx);
                    }
                    running.outbox.push(Rc::new(OutboxItem::Frame(made.body().clone())));
                }
            }
            Purpose::Answer(call, answer) => match answer {
                Answer::Pass => {
                    let reply = OutboxItem::Frame(made.body().clone());
                    self.pass(to, *call, None, Some(reply));
                }
                Answer::Replace => self.pass(to, *call, Some(made), None),
                Answer::Refuse(status) => {
                    let reply = OutboxItem::Frame(made.body().clone());
                    self.refused(to, *call, status, Some(reply));
                }
            },
        }
    }
}
