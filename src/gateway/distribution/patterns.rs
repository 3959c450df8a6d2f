//! What a connection subscribes to, and gives back.

use super::Distribution;
use crate::core::limits::DURABLE_LINES;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::durable;
use crate::runtime::net::Net;
use crate::wire::durable::Options;
use crate::wire::{Checked, HEADER, Kind, Verified, check_pattern};

impl Distribution {
    /// What a SUBSCRIBE or UNSUBSCRIBE asks for. Whether it is answered later.
    pub(super) fn change_patterns<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
    ) -> Result<bool, String> {
        let is_durable = frame.header.payload_len > 0;
        let len = (frame.header.payload_len as usize).min(DURABLE_LINES + 1);
        let start = frame.at + HEADER + frame.topic.len();
        let lines = verified.body().bytes(start..start + len);
        if frame.header.kind == Kind::Unsubscribe && is_durable {
            let name = Options::parse_forget(&lines)?;
            durable::may(conns, ctx, id, None, Some(&name))?;
            return self.durables.forget(conns, id, &name).map(|()| false);
        }
        let pattern = check_pattern(frame.topic).map_err(|error| error.to_string())?;
        if !conns[id].is_written() {
            // It has left: what it held is being given up, and nobody would get what it asks for.
            return Ok(false);
        }
        if frame.header.kind == Kind::Unsubscribe {
            self.egress.unsubscribe(pattern, id);
            self.durables.unsubscribe(id, pattern);
            return Ok(false);
        }
        if is_durable {
            let options = Options::parse(&lines)?;
            durable::may(conns, ctx, id, Some(pattern), options.name.as_deref())?;
            if self.egress.is_subscriber(id) {
                return Err(
                    "the connection holds plain patterns: open another for a durable subscription".into()
                );
            }
            return self.durables.subscribe(conns, id, pattern, options).map(|()| true);
        }
        durable::may(conns, ctx, id, Some(pattern), None)?;
        if self.durables.has(id) {
            return Err("the connection has a durable subscription or a replay: repeat its lines, or open another for plain patterns".into());
        }
        self.egress.subscribe(pattern, id).map_err(|full| full.to_string())?;
        Ok(false)
    }
}
