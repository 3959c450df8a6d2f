//! Verdicts come back, and each connection's are released in order.

use crate::gateway::Gate;
use crate::gateway::conn::ConnId;
use crate::gateway::fragments::MESSAGES;
use crate::gateway::handlers::ANSWERS;
use crate::gateway::ingress::order::Item;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Outcome, Pool, Work};

impl<N: Net, P: Pool> Gate<N, P> {
    /// Takes every verdict that is there.
    pub(super) fn collect(&mut self) {
        while let Some(done) = self.ctx.pool.collect() {
            self.ctx.jobs -= 1;
            let id = ConnId::from_key(done.ticket.conn);
            let number = done.ticket.number;
            self.ctx.ledger.verified.paired += u64::from(done.paired);
            match done.outcome {
                Outcome::Draft(draft) if done.ticket.conn == MESSAGES => {
                    self.distribution.message_hashed_on(&mut self.conns, &mut self.ctx, number, draft);
                }
                // Of a handler; no connection has such a key.
                outcome @ (Outcome::Answers(_) | Outcome::Call(_) | Outcome::Draft(_)) => {
                    self.handler_verdict(number, outcome);
                }
                outcome @ Outcome::Piece(_) if done.ticket.conn == ANSWERS => {
                    self.handler_verdict(number, outcome);
                }
                Outcome::Handshake(step) => self.end_step(id, *step),
                Outcome::Batch(verified) => {
                    self.ctx.ledger.verified.workers += 1;
                    self.ctx.timing.verified(done.ticket.since, self.ctx.now);
                    // A connection stays until its window is empty, but where the time to drain is over.
                    let Some(conn) = self.conns.get_mut(id) else { continue };
                    conn.order.window.insert(number, Item::Frames(verified));
                    self.release(id);
                }
                Outcome::LargeRun(large) => {
                    // Nobody waits for it where its connection is no more.
                    if self.conns.get_mut(id).is_some() {
                        self.ctx.submit(Job { ticket: done.ticket, work: Work::LargeRun(large) });
                    }
                }
                Outcome::Run(converted) => {
                    self.ctx.ledger.verified.workers += 1;
                    self.ctx.timing.verified(done.ticket.since, self.ctx.now);
                    let Some(conn) = self.conns.get_mut(id) else { continue };
                    conn.order.window.insert(number, Item::Run(converted));
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

    fn handler_verdict(&mut self, number: u64, outcome: Outcome) {
        let (handlers, mut to) = self.handlers();
        handlers.take_verdict(&mut to, number, outcome);
    }

    /// Gives effect to what is next in the connection's order, as far as it is verified.
    pub(super) fn release(&mut self, id: ConnId) {
        while let Some(item) = self.ingress.release(&mut self.conns[id]) {
            self.give_effect(id, item);
        }
        self.conns.mark_runnable(id);
        self.conns.mark_ending(id);
    }
}
