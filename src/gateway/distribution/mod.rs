//! What a frame does when its turn has come: it is delivered, held until its message is complete, or refused; what
//! its connection subscribes to changes; and it is answered.
//!
//! The parts of that, each with a state of its own: who gets it ([`Egress`]), what is held of it ([`Fragments`]), and what
//! confirms it ([`Acks`]). None of them knows another; here they are called in order.

mod answered;
mod batch;
mod message;
mod patterns;

use crate::gateway::Config;
use crate::gateway::acks::Acks;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::durable::Durables;
use crate::gateway::egress::Egress;
use crate::gateway::fragments::Fragments;

/// Who gets what, what is held, and what is confirmed.
pub struct Distribution {
    pub egress: Egress,
    pub acks: Acks,
    pub fragments: Fragments,
    pub durables: Durables,
}

impl Distribution {
    /// Nobody subscribes, and nothing is held.
    pub fn new(config: &Config) -> Distribution {
        Distribution {
            egress: Egress::new(config),
            acks: Acks::new(config),
            fragments: Fragments::new(config),
            durables: Durables::default(),
        }
    }

    /// It subscribes to nothing more, and holds nobody up.
    pub fn leave<S>(&mut self, conns: &mut Conns<S>, id: ConnId) {
        self.egress.leave(conns, id);
        self.durables.leave(id);
    }

    /// Whether no frame goes anywhere, whatever its topic.
    pub fn reaches_nobody(&self) -> bool {
        self.egress.has_no_subscribers() && !self.acks.has_sinks()
    }

    /// Whether a frame of this topic goes nowhere.
    pub fn goes_nowhere(&mut self, topic: &[u8]) -> bool {
        !self.acks.has_sinks() && self.egress.route(topic).is_ok_and(|targets| targets.is_empty())
    }

    /// What is charged beside buffers: subscriptions, and the entries of outboxes, of tickets and of what is held.
    pub fn charge_entries<N, P>(&self, ctx: &Ctx<N, P>, entries: usize) {
        let stored = self.durables.bytes();
        ctx.memory.set_entries(entries + self.acks.cost() + self.fragments.cost() + stored);
        ctx.memory.set_subscriptions(self.egress.subscriptions_bytes() + ctx.access.bytes());
    }
}
