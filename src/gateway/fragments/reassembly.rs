//! From fragments to messages.

use super::{Complete, Fragments, Held, MESSAGES, Message, Outcome, Payload};
use crate::core::limits::{INLINE_BATCH, PART_COPIED, PART_KNOWN, PART_OWED, REPLY_MAX, UNHASHED_COST};
use crate::core::memory::Charge;
use crate::core::reassembly::{Part, Removed, Room};
use crate::gateway::Pressure;
use crate::gateway::acks::Acks;
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Checked, Draft, HEADER, Header, Kind, Status, Verified};

/// The reason of EXPIRED.
pub(super) const NO_ROOM: &str = "there was no room for more fragments (lease-pressure expire)";

impl Fragments {
    /// A fragment whose topic is checked: held, or refused, or its connection waits with it.
    #[expect(clippy::too_many_arguments, reason = "where it comes from, and what is set aside for its reply")]
    pub fn add<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
        room: &mut Option<Charge>,
    ) -> Outcome {
        let header = frame.header;
        if self.knows(&frame.digest) {
            return self.add_copy(conns, ctx, acks, id, frame, room);
        }
        let is_large = !verified.body().is_slice();
        let copied = if is_large { header.frame_len() } else { header.payload_len as usize + PART_COPIED };
        let part = Part {
            topic: frame.topic,
            key: header.key,
            index: header.part_index,
            count: header.part_count,
            payload: header.payload_len as usize,
            held: copied
                + if header.want_reply { PART_OWED + REPLY_MAX } else { 0 }
                + if acks.knows_duplicates() { PART_KNOWN } else { 0 },
        };
        loop {
            match self.parts.judge(&part, ctx.now) {
                Err(refusal) => return Outcome::Refused(Status::Rejected, refusal.to_string()),
                Ok(Room::Yes) => break,
                Ok(Room::No) if self.pressure == Pressure::Expire => {
                    let Some(oldest) = self.parts.dismiss_oldest() else { break };
                    self.expire(conns, ctx, acks, oldest, NO_ROOM);
                }
                Ok(Room::No) => return Outcome::NoRoom,
            }
        }
        let payload = if is_large {
            Payload::Large(verified.body().clone(), header)
        } else {
            let at = frame.at + HEADER + header.topic_len as usize;
            Payload::Own(verified.body().bytes(at..at + header.payload_len as usize).into())
        };
        let reply = acks.hold_reply(conns, id, &header, Status::Ok, room).map(Box::new);
        let digest = acks.knows_duplicates().then(|| Box::new(frame.digest));
        if let Some(digest) = &digest {
            self.copies.begin(**digest);
        }
        self.held += 1;
        let held = Held { from: id, payload, reply, digest };
        self.shared += held.shared();
        match self.parts.add(&part, held, ctx.now) {
            None => Outcome::Held,
            Some(removed) => {
                self.close(&removed);
                self.put_together(conns, ctx, acks, id, removed)
            }
        }
    }

    /// All fragments are there, the last from this connection: they become one frame, whose digest is made at once,
    /// in the next turn, or by a worker.
    fn put_together<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        from: ConnId,
        removed: Removed<Held>,
    ) -> Outcome {
        let header = Header { key: removed.key, ..Header::new(Kind::Data) };
        let mut draft = Draft::new(header, &ctx.config.scheme);
        draft.topic(removed.topic.to_vec(), &ctx.memory);
        let mut message = Message {
            from,
            fragments: removed.parts.len() as u64,
            cost: 0,
            replies: Vec::new(),
            digests: Vec::new(),
        };
        for part in removed.parts {
            let reply = part.reply.map(|reply| acks.end_hold(conns, *reply));
            message.replies.extend(reply);
            message.digests.extend(part.digest.map(|digest| *digest));
            match part.payload {
                // Small ones lie together once they are hashed.
                Payload::Own(bytes) => draft.payload_piece(bytes, &ctx.memory),
                Payload::Large(body, header) => draft.payload_of(&body, &header),
            }
        }
        for digest in &message.digests {
            self.copies.end_hold(conns, acks, digest);
        }
        let bytes = draft.unhashed();
        if bytes <= INLINE_BATCH.min(ctx.inline_left) {
            ctx.inline_left -= bytes;
            return Outcome::Complete(Box::new(self.complete(conns, acks, draft.hashed(), message)));
        }
        message.cost = bytes + UNHASHED_COST;
        self.unhashed.backlog += message.cost;
        let queue = if bytes <= INLINE_BATCH { &mut self.unhashed.small } else { &mut self.unhashed.large };
        queue.push_back((draft, message));
        conns[from].order.stage.get_or_insert_default().hashing = true;
        Outcome::Hashing
    }

    /// A message has its digest: it is to be distributed.
    fn complete<S>(
        &mut self,
        conns: &mut Conns<S>,
        acks: &mut Acks,
        frame: Verified,
        message: Message,
    ) -> Complete {
        let Message { from, fragments, mut replies, digests, .. } = message;
        let copies: Vec<PendingReply> = digests.iter().flat_map(|digest| self.copies.end(digest)).collect();
        // Those that came while it was hashed.
        replies.extend(copies.into_iter().map(|reply| acks.end_hold(conns, reply)));
        self.charge_copies();
        Complete { frame, from, fragments, replies, digests }
    }

    /// Makes the digest of the next message that the turn before left, as far as this turn's budget goes.
    pub fn hash_small<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
    ) -> Option<Complete> {
        let (draft, message) =
            self.unhashed.small.pop_front_if(|(draft, _)| draft.unhashed() <= ctx.inline_left)?;
        ctx.inline_left -= draft.unhashed();
        self.unhashed.backlog -= message.cost;
        Some(self.complete(conns, acks, draft.hashed(), message))
    }

    /// Hands large messages to the workers, a piece at a time.
    pub fn hash_large<N: Net, P: Pool>(&mut self, ctx: &mut Ctx<N, P>) {
        while ctx.takes_jobs()
            && let Some((draft, message)) = self.unhashed.large.pop_front()
        {
            self.unhashed.numbers += 1;
            self.unhashed.hashing.insert(self.unhashed.numbers, message);
            submit(ctx, self.unhashed.numbers, Box::new(draft));
        }
    }

    /// A worker has hashed a large message a piece further. The message, if that was the last.
    pub fn hashed_on<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        number: u64,
        draft: Box<Draft>,
    ) -> Option<Complete> {
        if draft.unhashed() > 0 {
            // In the place of the job that is done.
            submit(ctx, number, draft);
            return None;
        }
        // None, if it was forgotten.
        let message = self.unhashed.hashing.remove(&number)?;
        self.unhashed.backlog -= message.cost;
        Some(self.complete(conns, acks, draft.finish(), message))
    }
}

fn submit<N: Net, P: Pool>(ctx: &mut Ctx<N, P>, number: u64, draft: Box<Draft>) {
    let ticket = Ticket { conn: MESSAGES, number, since: ctx.now };
    ctx.submit(Job { ticket, work: Work::Draft(draft) });
}
