//! Foreign frames: what a read of a listener with a layout gave, and what becomes of each when its turn has come.

use log::Level;

use crate::gateway::conn::{ConnId, State};
use crate::gateway::ingress::order::Item;
use crate::gateway::ingress::read_layout::Foreign;
use crate::gateway::observe::notices::Notice;
use crate::gateway::{BadDigestPolicy, Gate};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::layout::{Converted, Fate, Outcome, Refusal};
use crate::wire::{Fault, Status};

impl<N: Net, P: Pool> Gate<N, P> {
    /// What was read is verified, here or by the workers.
    pub(super) fn take_foreign(&mut self, id: ConnId, foreign: Foreign) {
        let Foreign { run, fault, scanned, notice } = foreign;
        if let Some(notice) = notice {
            let listener = self.conns[id].listener;
            self.ctx.notices.say_at(listener, Notice::Layout, Level::Warn, self.ctx.now, notice);
        }
        for _ in 0..scanned {
            // It is the fate of what was taken for a frame; its bytes are those that are skipped.
            self.ctx.count_read(self.conns[id].listener, 1);
            self.conns.count_rejected(&mut self.ctx, id, Status::Malformed);
        }
        let conn = &mut self.conns[id];
        if let Some(converted) = run.and_then(|run| self.ingress.convert(conn, &mut self.ctx, run)) {
            self.give_effect_to_run(id, converted);
            self.conns.mark_ending(id);
        }
        if let Some(malformed) = fault {
            self.ingress.end_with(&mut self.conns[id], &mut self.ctx, Fault::Layout(malformed));
            self.release(id);
        }
    }

    /// The end of a stream was read. Where the next start is looked for, what is left is cut before that counts.
    pub(super) fn end_of_stream_at(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        let is_left = conn.reading.partial.is_some() && conn.state == State::Open;
        let small = conn.dialect.as_mut().filter(|dialect| is_left && !dialect.is_large());
        match small.is_some_and(|dialect| dialect.end()) {
            // The end is still there to be read.
            true => conn.reading.readable = true,
            false => self.end_of_stream(id),
        }
    }

    /// The turn of a run has come: each of its frames has its fate, or goes on as a native one.
    pub(super) fn give_effect_to_run(&mut self, id: ConnId, mut converted: Converted) {
        let frames = converted.fates.len() as u64;
        let conn = &mut self.conns[id];
        let over = conn.order.discard || conn.order.stage.as_ref().is_some_and(|stage| stage.over);
        if over {
            self.ctx.ledger.undelivered += frames;
            return;
        }
        let closes = self.ctx.config.on_bad_digest == BadDigestPolicy::Close;
        // The frame that ends the connection, if one does: what is behind it is not looked at.
        let is_bad = |fate: &Fate| fate.outcome == Outcome::BadCheck;
        let end = if closes { converted.fates.iter().position(is_bad) } else { None };
        if let Some(end) = end {
            self.ctx.ledger.undelivered += (converted.fates.len() - end - 1) as u64;
            converted.fates.truncate(end + 1);
        }
        let (mut published, mut has_bad, mut refused) = (0, false, None);
        for fate in &converted.fates {
            match fate.outcome {
                Outcome::Published => published += 1,
                Outcome::Accepted => self.ctx.ledger.control += 1,
                Outcome::BadCheck => {
                    has_bad = true;
                    if !closes {
                        self.conns.count_rejected(&mut self.ctx, id, Status::BadDigest);
                    }
                }
                Outcome::Refused(refusal) => {
                    self.conns.count_rejected(&mut self.ctx, id, Status::Rejected);
                    refused = Some(refusal);
                }
            }
        }
        self.say_refused(id, has_bad, refused);
        let judges = converted.keeps && self.conns[id].standing.is_some();
        // What makes something known is the last of its run; what is before it is of whoever it was until then.
        let is_last_published = converted.fates.last().is_some_and(|fate| fate.outcome == Outcome::Published);
        let before = if judges { published - u32::from(is_last_published) } else { published };
        if judges && before > 0 {
            self.ctx.access.judge_unjudged(&mut self.conns[id], self.ctx.now);
        }
        let dialect = self.conns[id].dialect.as_mut().expect("it came at a listener with a layout");
        let native =
            dialect.begin(converted).filter(|_| published > 0).map(|native| native.split(published).0);
        let (native, last) = match native {
            Some(native) if before == 0 => (None, Some(native)),
            Some(native) if before < published => {
                let (native, last) = native.split(before);
                (Some(native), last)
            }
            native => (native, None),
        };
        if let Some(native) = native {
            self.give_effect(id, Item::Frames(native));
        }
        if judges {
            self.ctx.access.judge_again(&mut self.conns[id], self.ctx.now);
        }
        if let Some(last) = last {
            self.give_effect(id, Item::Frames(last));
        } else if judges && self.conns[id].is_refused() {
            self.give_effect(id, Item::Refused);
            if let Some(stage) = self.conns[id].order.stage.as_mut() {
                stage.over = true;
            }
        }
        if end.is_some() {
            self.give_effect(id, Item::BadCheck);
            // Where it waits for its turn, nothing behind it counts.
            if let Some(stage) = self.conns[id].order.stage.as_mut() {
                stage.over = true;
            }
        }
        self.conns.push_answers(id);
    }

    fn say_refused(&mut self, id: ConnId, is_bad: bool, refused: Option<Refusal>) {
        let conn = &self.conns[id];
        let Some(dialect) = &conn.dialect else { return };
        let (peer, name, at) = (conn.named(), dialect.layout.name(), conn.listener);
        if is_bad {
            let message =
                format_args!("{peer} (layout {name}) sent a frame whose check is wrong: it is dropped");
            self.ctx.notices.say_at(at, Notice::BadDigest, Level::Warn, self.ctx.now, message);
        }
        if let Some(refusal) = refused {
            let why = refusal.say(&dialect.layout);
            let message = format_args!("{peer} (layout {name}) sent a frame that is refused: {why}");
            self.ctx.notices.say_at(at, Notice::Refusal, Level::Warn, self.ctx.now, message);
        }
    }
}
