//! What people steer: names that are shown, moved and forgotten.

use super::{Durables, NEEDS};
use crate::core::limits::{DURABLE_LISTED, DURABLE_NAMES};
use crate::gateway::CloseReason;
use crate::gateway::conn::table::Conns;
use crate::gateway::snapshot::{Depth, DurableUse, NameUse};
use crate::sinks::store::feed::NameState;
use crate::wire::durable::Start;

/// Where a name was and is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Where {
    /// The name.
    pub name: String,
    /// The first sequence that was not done.
    pub old: u64,
    /// The first that is not done now.
    pub new: u64,
    /// Whether a connection had it, and was closed so that it comes again.
    pub was_connected: bool,
}

impl Durables {
    /// How each name fares; none without a store.
    pub fn describe(&self) -> Option<Vec<NameUse>> {
        let (states, _) = self.feed.as_ref()?.describe(usize::MAX);
        Some(states.into_iter().map(use_of).collect())
    }

    /// The same in short.
    pub fn summary(&self) -> Option<DurableUse> {
        let (states, all) = self.feed.as_ref()?.describe(DURABLE_LISTED);
        let mut furthest: Vec<NameUse> = states.into_iter().map(use_of).collect();
        furthest.sort_by(|a, b| b.lag_frames.cmp(&a.lag_frames).then_with(|| a.name.cmp(&b.name)));
        let most = |of: fn(&NameUse) -> u64| furthest.iter().map(of).max().unwrap_or_default();
        Some(DurableUse {
            subscribers: self.conns.len() as u64,
            names: Depth { now: all as u64, max: DURABLE_NAMES as u64 },
            lag_frames: most(|name| name.lag_frames),
            lag_bytes: most(|name| name.lag_bytes),
            lag_time: furthest.iter().map(|name| name.lag_time).max().unwrap_or_default(),
            furthest,
        })
    }

    /// Sets where a name goes on. A connection that has it is closed, so that it comes again there.
    pub fn rewind<S>(&mut self, conns: &mut Conns<S>, name: &str, to: Start) -> Result<Where, String> {
        let Some(feed) = self.feed.clone() else { return Err(NEEDS.into()) };
        let known = feed.names(|names| names.get(name).map(|named| named.next.seq));
        let old = known.ok_or_else(|| unknown(name))?;
        let place = feed.place(to)?;
        let was_connected =
            self.close(conns, name, &format!("the durable name {name} was moved to {}", place.seq));
        feed.names(|names| names.change(name, |named| (named.next, named.is_idle) = (place, false)));
        Ok(Where { name: name.into(), old, new: place.seq, was_connected })
    }

    /// Forgets a name that nobody has.
    pub fn forget_name(&mut self, name: &str) -> Result<Where, String> {
        let Some(feed) = self.feed.clone() else { return Err(NEEDS.into()) };
        let known = feed.names(|names| names.get(name).map(|named| named.next.seq));
        let old = known.ok_or_else(|| unknown(name))?;
        if self.names.contains_key(name) {
            return Err(format!("the durable name {name} is in use: stop its subscriber first"));
        }
        feed.names(|names| names.remove(name));
        Ok(Where { name: name.into(), old, new: 0, was_connected: false })
    }

    fn close<S>(&mut self, conns: &mut Conns<S>, name: &str, why: &str) -> bool {
        let Some(&has) = self.names.get(name) else { return false };
        self.leave(has);
        if conns.get(has).is_some_and(|conn| conn.is_written()) {
            conns.close(has, CloseReason::Moved(why.into()), 0);
        }
        true
    }
}

fn unknown(name: &str) -> String {
    format!(
        "no durable name '{}' is known: framegate ctl subscriptions lists them",
        crate::core::units::plain(name)
    )
}

fn use_of(state: NameState) -> NameUse {
    let NameState { name, named, lag_frames, lag_bytes, lag_time } = state;
    NameUse {
        name,
        position: named.next.seq - 1,
        connected: named.is_connected,
        lag_frames,
        lag_bytes,
        lag_time,
        patterns: named.patterns,
        used: named.used,
        expire_seconds: named.expire.as_secs(),
    }
}
