//! What subscribers acknowledge.

use super::Durables;
use crate::gateway::CloseReason;
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::conn::ConnId;
use crate::sinks::store::order::Place;
use crate::sinks::store::stamp_after;

/// What became of an acknowledgement.
#[derive(Debug)]
pub enum Acked {
    /// It counts, or says nothing new. What it promises is so once this version of the positions is on the disk.
    Done(u64),
    /// Nobody asked for it, and why.
    Refused(String),
    /// It is of what was not delivered.
    Ahead(CloseReason),
}

impl Durables {
    /// Everything up to a sequence is done.
    pub fn ack(&mut self, id: ConnId, seq: u64) -> Acked {
        let (Some(durable), Some(feed)) = (self.conns.get_mut(&id), &self.feed) else {
            let why = "an ACK is for a durable subscription, and this connection has none: SUBSCRIBE with 'durable: NAME' first";
            return Acked::Refused(why.into());
        };
        let Some(name) = durable.options.name.as_deref() else {
            let why =
                "a replay without a name is not acknowledged: add 'durable: NAME' to keep its position here";
            return Acked::Refused(why.into());
        };
        if seq > durable.given {
            if seq <= durable.given_before {
                // Of before it was opened again: what comes once more is acknowledged then.
                return Acked::Done(0);
            }
            let given = durable.given.max(durable.given_before);
            return Acked::Ahead(CloseReason::AckAhead { seq, given });
        }
        if seq < durable.done.seq {
            return Acked::Done(feed.names(|names| names.version()));
        }
        let mut acked = 0;
        let mut done = durable.done;
        while let Some((first, frames)) = durable.unacked.front_mut()
            && first.seq <= seq
        {
            let of_it = (seq - first.seq + 1).min(u64::from(*frames));
            acked += of_it;
            done =
                Place { seq: first.seq + of_it, stamp: stamp_after(first.stamp, of_it), bytes: first.bytes };
            if of_it == u64::from(*frames) {
                durable.unacked.pop_front();
                continue;
            }
            (first.seq, first.stamp) = (done.seq, done.stamp);
            *frames -= of_it as u32;
            break;
        }
        // What lies between two runs is others'.
        durable.done = Place { seq: done.seq.max(seq + 1), ..done };
        if let (Some(open), true) = (&durable.open, acked > 0) {
            open.grant(acked);
        }
        let (next, used) = (durable.done, feed.seconds());
        Acked::Done(feed.names(|names| names.change(name, |named| (named.next, named.used) = (next, used))))
    }

    /// The reply to an acknowledgement, given when this version of the positions is on the disk.
    pub fn reply_when_written(&mut self, version: u64, reply: PendingReply) {
        if let Some(feed) = &self.feed {
            feed.hurry(version);
        }
        self.unwritten.push_back((version, reply));
    }
}
