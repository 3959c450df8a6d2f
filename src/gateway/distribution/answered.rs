//! Frames that a handler has answered, in their turn.

use super::Distribution;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::stage::Passed;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::Net;

impl Distribution {
    /// Gives effect to a frame that a handler let pass, or put in the place of another.
    pub fn distribute_answered<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        passed: Passed,
    ) {
        let Passed { frame, reply, ticket: promised, before, .. } = passed;
        if conns[id].order.discard {
            ctx.ledger.undelivered += 1;
            if let Some(ticket) = promised {
                self.acks.break_promise(
                    conns,
                    ctx,
                    ticket,
                    "the connection of the frame that these bytes repeat has ended",
                );
            }
            return;
        }
        let topic = frame.iter().next().expect("it is one frame").topic;
        let targets = self.egress.route(topic).expect("a topic is checked before its call");
        let ticket = promised.or_else(|| self.acks.ticket(SinkSet::NONE, ctx.now));
        if let Some(ticket) = ticket {
            self.acks.enqueue(ctx, ticket, id, frame.body(), 1);
        }
        if let Some(ticket) = promised {
            self.acks.keep_promise(ticket);
        }
        match before.is_empty() {
            true => self.egress.hand_out(conns, ctx, id, frame.body().clone(), 1, &targets),
            // Subscribers had it the first time.
            false => ctx.ledger.delivered += 1,
        }
        if let Some(reply) = reply {
            self.acks.send(conns, id, reply, ticket);
        }
    }
}
