//! Frames that come again.

use std::time::Instant;

use super::Acks;
use super::sink_set::SinkSet;
use super::tickets::Ticket;
use crate::core::units::about;
use crate::gateway::ctx::Ctx;
use crate::gateway::observe::notices::Notice;
use crate::wire::{DIGEST, Verified};

/// What is known of a frame by its digest.
pub enum Seen {
    /// Nothing: it is new.
    Never,
    /// One with this digest is not confirmed yet.
    Pending(Ticket),
    /// One was distributed, and of the sinks only these have it.
    Partly(SinkSet),
    /// One was accepted, and everything is done.
    Done,
}

impl Acks {
    /// What is known of a frame with this digest.
    pub fn seen(&mut self, digest: &[u8; DIGEST], now: Instant) -> Seen {
        let Some(done) = self.dedup.as_mut().and_then(|dedup| dedup.find(digest, now)) else {
            return Seen::Never;
        };
        let sinks = &self.sinks;
        match sinks.unconfirmed(digest) {
            Some(ticket) => Seen::Pending(ticket),
            None if done.covers(sinks.all()) => Seen::Done,
            None => Seen::Partly(done),
        }
    }

    /// A frame with this digest is accepted: from now on its copies are known. What is not confirmed yet is found
    /// by its ticket; when that is over without a refusal, nothing is left to be noted.
    pub fn remember<N, P>(&mut self, ctx: &mut Ctx<N, P>, digest: [u8; DIGEST]) {
        let Some(dedup) = &mut self.dedup else { return };
        let early = dedup.forgotten_early();
        dedup.accept(digest, SinkSet::ALL, ctx.now);
        if dedup.forgotten_early() > early {
            let message = format_args!(
                "the deduplication window is full: digests are forgotten early, and copies of what was accepted more \
                 than {} ago are taken as new: raise --memory or shorten --dedup",
                about(dedup.reach(ctx.now))
            );
            ctx.notices.say(Notice::DedupFull, log::Level::Warn, ctx.now, message);
        }
    }

    /// The sinks that have what was made here, though the publisher of what it is made of was not told so: it was stored
    /// before a restart, or others refused it. That is so of one: what is made with the same bytes of something else
    /// is another, so the digest is forgotten.
    pub fn take_stored_before(&mut self, made: &Verified, now: Instant) -> Option<SinkSet> {
        let digest = made.iter().next()?.digest;
        let dedup = self.dedup.as_mut().filter(|_| !self.sinks.is_empty())?;
        let done = dedup.find(&digest, now)?;
        let was_stored = done != SinkSet::ALL && self.sinks.unconfirmed(&digest).is_none();
        was_stored.then(|| dedup.forget(&digest)).map(|()| done)
    }
}
