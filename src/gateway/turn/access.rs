//! What is due for identities: ends that were delayed, and connections that are judged again by a file that changed.

use log::Level;

use crate::core::limits::{REVIEW_PATTERNS, REVIEW_TURN};
use crate::core::memory::Buffer;
use crate::core::units::plain;
use crate::gateway::conn::ConnId;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::egress::replies::encode_reply;
use crate::gateway::ingress::reading::Begun;
use crate::gateway::observe::notices::Notice;
use crate::gateway::{CloseReason, Gate};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::access::Rights;
use crate::wire::{Kind, Status};

impl<N: Net, P: Pool> Gate<N, P> {
    /// Ends those whose delay is over, and judges some connections again where the file has changed.
    pub(super) fn tend_access(&mut self) {
        if !self.ctx.access.is_used() {
            return;
        }
        while let Some(id) = self.ctx.access.next_delayed(self.ctx.now, self.ctx.draining.is_some()) {
            // It may have hung up.
            if let Some(standing) = self.conns.get_mut(id).and_then(|conn| conn.standing.as_mut()) {
                standing.end_delay();
                self.conns.mark_ending(id);
            }
        }
        let (mut connections, mut patterns) = (REVIEW_TURN, REVIEW_PATTERNS);
        while connections > 0
            && patterns > 0
            && let Some(slot) = self.ctx.access.next_slot(self.conns.slots())
        {
            connections -= 1;
            let Some(id) = self.conns.in_slot(slot).filter(|conn| conn.is_written()).map(|conn| conn.id)
            else {
                continue;
            };
            match self.ctx.access.review(&mut self.conns[id], self.ctx.now) {
                Ok(None) => {}
                Ok(Some(rights)) => patterns = patterns.saturating_sub(self.take_patterns(id, &rights)),
                Err(refusal) => self.expel(id, CloseReason::Refused(Box::new(refusal))),
            }
        }
    }

    /// A connection that nobody knows has begun a frame that is no AUTH. Nothing is kept for it, and it is not waited for.
    pub(super) fn refuse_stranger_early(&mut self, id: ConnId) {
        let conn = &self.conns[id];
        let begun = conn.reading.partial.as_ref().and_then(|partial| partial.begun);
        if let Some(Begun::Native(header)) = begun
            && header.kind != Kind::Auth
            && conn.order.window.is_empty()
        {
            self.refuse_stranger(id, header.id);
        }
    }

    /// A connection that nobody knows does not say who it is.
    pub(super) fn refuse_stranger(&mut self, id: ConnId, frame_id: u64) {
        if let Some(refusal) = self.ctx.access.refuse_stranger(&mut self.conns[id], self.ctx.now) {
            self.conns.close(id, CloseReason::Refused(Box::new(refusal)), frame_id);
        }
    }

    /// A connection may not be here any more: it gets nothing from now on but the reason.
    pub(super) fn expel(&mut self, id: ConnId, reason: CloseReason) {
        self.distribution.leave(&mut self.conns, id);
        self.conns.close(id, reason, 0);
    }

    /// Takes the patterns of a connection that it may not hold any more, and tells it. How many it holds.
    fn take_patterns(&mut self, id: ConnId, rights: &Rights) -> usize {
        if let Some((name, patterns)) = self.distribution.durables.patterns_of(id) {
            // It is one subscription, with its place: it comes again with what it may have.
            let denied = name.filter(|name| !rights.may_be_durable(name));
            let denied = denied.or_else(|| {
                patterns.iter().find(|pattern| !rights.may_subscribe(pattern)).map(String::as_str)
            });
            let count = patterns.len();
            if let Some(denied) = denied {
                let why = format!("may no longer use '{}': the access file has changed", plain(denied));
                let message = format_args!("{} {why}", self.conns[id].named());
                self.ctx.notices.say(Notice::NotPermitted, Level::Warn, self.ctx.now, message);
                self.ctx.access.count_taken(1);
                self.expel(id, CloseReason::Moved(why));
            }
            return count;
        }
        let held = self.distribution.egress.patterns_of(id);
        let is_denied = |pattern: &String| !rights.may_subscribe(pattern);
        let count = held.len();
        let taken: Vec<String> = held.into_iter().filter(is_denied).collect();
        let Some(first) = taken.first() else { return count };
        let more = match taken.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} patterns more"),
        };
        let reason = format!("may no longer subscribe to '{}'{more}", plain(first));
        let who = self.conns[id].named();
        let message = format_args!("{who} {reason}: the access file has changed");
        self.ctx.notices.say(Notice::NotPermitted, Level::Warn, self.ctx.now, message);
        for pattern in &taken {
            self.distribution.egress.unsubscribe(pattern, id);
        }
        self.ctx.access.count_taken(taken.len());
        let mut reply = Vec::new();
        encode_reply(0, Status::Rejected, &reason, &self.ctx.config.scheme, &mut reply);
        self.conns.push_reply(id, OutboxItem::Replies(Buffer::charged(&self.ctx.memory, reply.into())));
        count
    }
}
