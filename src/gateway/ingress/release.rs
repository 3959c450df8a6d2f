//! Verdicts come back, and each connection's are released in order.

use crate::gateway::Gate;
use crate::gateway::conn::ConnId;
use crate::gateway::fragments::assembly::WHOLES;
use crate::gateway::handlers::answers::ANSWERS;
use crate::gateway::ingress::order::Item;
use crate::runtime::net::Net;
use crate::runtime::pool::{Outcome, Pool};

impl<N: Net, P: Pool> Gate<N, P> {
    /// Takes every verdict that is there.
    pub(in crate::gateway) fn collect(&mut self) {
        while let Some(done) = self.ctx.pool.collect() {
            self.ctx.jobs -= 1;
            let id = ConnId::from_key(done.ticket.conn);
            let number = done.ticket.number;
            self.ctx.ledger.verified.paired += u64::from(done.paired);
            match done.outcome {
                Outcome::Answers(verified) => self.answers_verified(number, verified),
                Outcome::Call(performed) => self.function_answered(number, performed),
                Outcome::Draft(draft) if done.ticket.conn == WHOLES => self.whole_hashed_on(number, draft),
                Outcome::Draft(draft) => self.draft_hashed(number, draft),
                Outcome::Piece(hashing) if done.ticket.conn == ANSWERS => self.answer_hashed(number, hashing),
                Outcome::Batch(verified) => {
                    self.ctx.ledger.verified.workers += 1;
                    self.ctx.timing.verified(done.ticket.since, self.ctx.now);
                    // A connection stays until its window is empty, but where the time to drain is over.
                    let Some(conn) = self.conns.get_mut(id) else { continue };
                    conn.order.window.insert(number, Item::Frames(verified));
                    self.release(id);
                }
                Outcome::Piece(hashing) => {
                    self.ctx.ledger.verified.pieces += 1;
                    let Some(conn) = self.conns.get_mut(id) else { continue };
                    let large = conn.reading.larges.iter_mut().find(|large| large.number == number);
                    // Its connection may have ended in the middle of it.
                    let Some(large) = large else { continue };
                    large.put(hashing);
                    if self.ingress.hash_on(conn, &mut self.ctx, number) {
                        self.release(id);
                    }
                    self.conns.mark_runnable(id);
                }
            }
        }
    }

    /// Gives effect to what is next in the connection's order, as far as it is verified.
    pub(in crate::gateway) fn release(&mut self, id: ConnId) {
        loop {
            let conn = &mut self.conns[id];
            let Some(item) = conn.order.window.release() else { break };
            self.ingress.in_flight -= 1;
            conn.order.frames_in_flight -= item.frames() as u32;
            // A large frame was never charged to the credit: its memory was granted to it alone.
            if let Item::Frames(verified) = &item
                && verified.body().is_slice()
            {
                conn.order.bytes_in_flight -= verified.len() as u32;
            }
            self.give_effect(id, item);
        }
        self.conns.mark_runnable(id);
        self.conns.mark_ending(id);
    }
}
