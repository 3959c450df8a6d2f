//! What the store's feed brings: where a subscription begins, runs, gaps, and positions that are on the disk.

use super::{Durables, push, tell};
use crate::core::limits::OUTCOMES_TURN;
use crate::gateway::acks::Acks;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::runtime::net::Net;
use crate::sinks::store::feed::{Event, FeedRun};
use crate::sinks::store::order::Place;
use crate::sinks::store::stamp_after;
use crate::wire::Status;

impl Durables {
    /// Takes what has come, and hands it to whom it is for.
    pub fn collect<N: Net, P>(&mut self, conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>, acks: &mut Acks) {
        for reply in std::mem::take(&mut self.orphans) {
            acks.refuse(conns, ctx, reply, Status::Rejected, "the subscription has ended");
        }
        let Some(feed) = self.feed.clone() else { return };
        // What is left is there before the next sleep.
        for _ in 0..OUTCOMES_TURN {
            let Some(event) = feed.collect() else { break };
            match event {
                Event::Written(version) => self.written(conns, ctx, acks, version),
                Event::Opened { id, first, oldest } => {
                    if let Some(&conn) = self.ids.get(&id) {
                        self.opened(conns, ctx, acks, conn, first, oldest);
                    }
                }
                Event::Refused { id, why } => {
                    if let Some(&conn) = self.ids.get(&id) {
                        let replies = self.conns.get_mut(&conn).map(|it| std::mem::take(&mut it.replies));
                        for reply in replies.into_iter().flatten() {
                            acks.refuse(conns, ctx, reply, Status::Rejected, &why);
                        }
                        self.leave(conn);
                    }
                }
                Event::Run { id, first, run } => {
                    if let Some(&conn) = self.ids.get(&id) {
                        self.give(conns, ctx, conn, first, run);
                    }
                }
                Event::Gap { id, frames, from, to } => {
                    if let Some(&conn) = self.ids.get(&id) {
                        self.gap(conns, ctx, conn, frames, from, to);
                    }
                }
                Event::Idle { id, next } => {
                    if let Some(&conn) = self.ids.get(&id) {
                        self.idle(conn, next);
                    }
                }
            }
        }
    }

    fn opened<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        id: ConnId,
        first: Place,
        oldest: u64,
    ) {
        let durable = self.conns.get_mut(&id).expect("an id is of one that is there");
        let is_first = !std::mem::replace(&mut durable.has_begun, true);
        if is_first {
            durable.done = first;
        }
        durable.given = first.seq - 1;
        let said = format!("position: {}\noldest: {oldest}", first.seq);
        for reply in std::mem::take(&mut durable.replies) {
            acks.refuse(conns, ctx, reply, Status::Ok, &said);
        }
        if self.keep_name(id, first, is_first) && conns.get(id).is_some_and(|conn| conn.is_written()) {
            // Where it was nobody knows: it may have been anywhere before this.
            let said = format!("from 1 to {}: the position of this name was lost", first.seq.max(2) - 1);
            tell(conns, ctx, id, Status::Gap, u64::MAX, &said);
        }
    }

    /// Hands a run to its connection.
    fn give<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        id: ConnId,
        first: Place,
        run: FeedRun,
    ) {
        if !conns.get(id).is_some_and(|conn| conn.is_written()) {
            return;
        }
        let durable = self.conns.get_mut(&id).expect("an id is of one that is there");
        let frames = run.frames();
        if std::mem::take(&mut durable.is_idle)
            && let (Some(name), Some(feed)) = (durable.name(), &self.feed)
        {
            feed.names(|names| names.note(name, |named| named.is_idle = false));
        }
        if durable.expects != Some(first.seq) {
            tell(conns, ctx, id, Status::Position, first.seq, "");
        }
        let end = first.seq + u64::from(frames);
        durable.expects = Some(end);
        durable.given = end - 1;
        match (&durable.options.name, durable.unacked.back_mut()) {
            (None, _) => {
                let stamp = stamp_after(first.stamp, u64::from(frames));
                durable.done = Place { seq: end, stamp, bytes: first.bytes };
            }
            (Some(_), Some((last, of))) if is_next(last, *of, &first) => *of += frames,
            (Some(_), _) => durable.unacked.push_back((first, frames)),
        }
        push(conns, id, OutboxItem::Stored(run));
    }

    fn gap<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        id: ConnId,
        frames: Option<u64>,
        from: u64,
        to: u64,
    ) {
        if conns.get(id).is_some_and(|conn| conn.is_written()) {
            tell(conns, ctx, id, Status::Gap, frames.unwrap_or(u64::MAX), &format!("from {from} to {to}"));
        }
        let name = self.conns.get(&id).and_then(|durable| durable.name());
        let whose = name.map_or("a replay".to_string(), |name| format!("the durable name {name}"));
        log::warn!(
            "{whose} misses frames from {from} to {to}: they were removed from the store before it came to them"
        );
    }

    /// Everything before a place was handed over: where all of it is acknowledged, it is done.
    fn idle(&mut self, id: ConnId, next: Place) {
        let (Some(durable), Some(feed)) = (self.conns.get_mut(&id), &self.feed) else { return };
        let is_done = durable.unacked.is_empty();
        if is_done && durable.done.seq < next.seq {
            durable.done = next;
        }
        durable.is_idle = is_done;
        if let Some(name) = durable.options.name.as_deref().filter(|_| is_done) {
            let (next, used) = (durable.done, feed.seconds());
            feed.names(|names| {
                names.change(name, |named| (named.next, named.used, named.is_idle) = (next, used, true));
            });
        }
    }

    fn written<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        version: u64,
    ) {
        while let Some((_, reply)) = self.unwritten.pop_front_if(|(until, _)| *until <= version) {
            acks.complete(conns, ctx, reply);
        }
    }
}

/// Whether a run goes on where the last ended, in stamps too.
fn is_next(last: &Place, frames: u32, first: &Place) -> bool {
    let more = u64::from(frames);
    (last.seq + more, stamp_after(last.stamp, more)) == (first.seq, first.stamp) && frames < u32::MAX / 2
}
