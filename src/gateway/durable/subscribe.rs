//! What connections ask for: to begin, to take further patterns, to end, to forget.

use super::{Durable, Durables, NEEDS};
use crate::core::limits::{DURABLE_PATTERNS, DURABLE_SUBSCRIBERS};
use crate::core::units::plain;
use crate::gateway::CloseReason;
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::Net;
use crate::sinks::store::feed::{Begin, Named};
use crate::sinks::store::order::Place;
use crate::wire::durable::Options;

impl Durables {
    /// Whether a connection may ask for this with these lines. It begins when the turn ends, and `reply` is given then.
    pub fn subscribe<S>(
        &mut self,
        conns: &mut Conns<S>,
        id: ConnId,
        pattern: &str,
        options: Options,
    ) -> Result<(), String> {
        let Some(feed) = &self.feed else { return Err(NEEDS.into()) };
        if conns[id].dialect.is_some() {
            return Err("a listener with a layout has no durable subscriptions".into());
        }
        if let Some(durable) = self.conns.get_mut(&id) {
            if durable.options != options {
                return Err(match (durable.name(), options.name.as_deref()) {
                    (Some(has), Some(wants)) if has != wants => format!(
                        "the connection has the durable name {has}: open another connection for {wants}"
                    ),
                    _ => "further patterns come with the same lines as the first: repeat them".into(),
                });
            }
            if !durable.patterns.iter().any(|held| held == pattern) {
                if durable.patterns.len() >= DURABLE_PATTERNS {
                    return Err(format!("a durable subscription has at most {DURABLE_PATTERNS} patterns"));
                }
                durable.patterns.push(pattern.into());
                self.ask(id);
            }
            return Ok(());
        }
        if self.conns.len() >= DURABLE_SUBSCRIBERS {
            return Err(format!("{DURABLE_SUBSCRIBERS} durable subscribers are connected: close some first"));
        }
        if let Some(name) = &options.name {
            let is_full = feed.names(|names| names.get(name).is_none() && !names.has_room());
            if is_full {
                return Err(
                    "as many durable names are kept as may be: forget some with framegate ctl forget NAME"
                        .into(),
                );
            }
            if let Some(&old) = self.names.get(name) {
                self.leave(old);
                if conns.get(old).is_some_and(|conn| conn.is_written()) {
                    conns.close(old, CloseReason::Taken, 0);
                }
            }
            self.names.insert(name.clone(), id);
        }
        let durable = Durable {
            options,
            patterns: vec![pattern.into()],
            open: None,
            replies: Vec::new(),
            unacked: Default::default(),
            done: Place::default(),
            given: 0,
            given_before: 0,
            expects: None,
            has_begun: false,
            is_idle: false,
            is_asked: false,
        };
        self.conns.insert(id, durable);
        self.ask(id);
        Ok(())
    }

    fn ask(&mut self, id: ConnId) {
        let durable = self.conns.get_mut(&id).expect("it was looked up");
        if !std::mem::replace(&mut durable.is_asked, true) {
            self.asked.push_back(id);
        }
    }

    /// The reply to a SUBSCRIBE that was taken: given when it has begun. At once where it has.
    pub fn reply_when_open(&mut self, id: ConnId, reply: PendingReply) -> Option<PendingReply> {
        match self.conns.get_mut(&id) {
            Some(durable) if durable.is_asked || !durable.replies.is_empty() => {
                durable.replies.push(reply);
                None
            }
            _ => Some(reply),
        }
    }

    /// A pattern is given back; with the last, the subscription ends.
    pub fn unsubscribe(&mut self, id: ConnId, pattern: &str) {
        let Some(durable) = self.conns.get_mut(&id) else { return };
        let before = durable.patterns.len();
        durable.patterns.retain(|held| held != pattern);
        match durable.patterns.len() {
            0 => self.leave(id),
            left if left < before => self.ask(id),
            _ => {}
        }
    }

    /// A name is forgotten; a connection that has it hears so.
    pub fn forget<S>(&mut self, conns: &mut Conns<S>, id: ConnId, name: &str) -> Result<(), String> {
        let Some(feed) = self.feed.clone() else { return Err(NEEDS.into()) };
        if let Some(&has) = self.names.get(name) {
            self.leave(has);
            if has != id && conns.get(has).is_some_and(|conn| conn.is_written()) {
                conns.close(has, CloseReason::Moved(format!("the durable name {name} was forgotten")), 0);
            }
        }
        feed.names(|names| names.remove(name));
        Ok(())
    }

    /// The connection's subscription ends; its name stays. What it has seen and needed no acknowledgement counts as done.
    pub fn leave(&mut self, id: ConnId) {
        let Some(mut durable) = self.conns.remove(&id) else { return };
        self.orphans.append(&mut durable.replies);
        if let Some(open) = &durable.open {
            self.ids.remove(&open.id);
            open.end();
        }
        if let (Some(name), Some(feed)) = (durable.name(), &self.feed) {
            if self.names.get(name) == Some(&id) {
                self.names.remove(name);
            }
            feed.names(|names| {
                let used = feed.seconds();
                names.change(name, |named| {
                    (named.is_connected, named.is_idle, named.used) = (false, false, used)
                });
            });
        }
    }

    /// Opens what was asked for in this turn.
    pub fn open_asked(&mut self) {
        let Some(feed) = self.feed.clone() else { return };
        for id in std::mem::take(&mut self.asked) {
            let Some(durable) = self.conns.get_mut(&id) else { continue };
            durable.is_asked = false;
            // Again: from what is not done, so that nothing of a further pattern is missing.
            if let Some(open) = durable.open.take() {
                self.ids.remove(&open.id);
                open.end();
                durable.given_before = durable.given_before.max(durable.given);
            }
            let begin = if durable.has_begun {
                Begin::With(durable.done)
            } else {
                let known = durable.options.name.as_deref().filter(|_| !durable.options.reset);
                let known = known.and_then(|name| feed.names(|names| names.get(name).map(|it| it.next)));
                known.map_or(Begin::At(durable.options.from.unwrap_or_default()), Begin::With)
            };
            durable.unacked.clear();
            durable.expects = None;
            self.last_id += 1;
            let window = durable.options.window().map_or(u64::MAX, u64::from);
            durable.open = Some(feed.open(self.last_id, begin, window, durable.patterns.clone()));
            self.ids.insert(self.last_id, id);
            let Some(name) = durable.options.name.clone() else { continue };
            let patterns = durable.patterns.clone();
            feed.names(|names| {
                names.change(&name, |named| (named.is_connected, named.patterns) = (true, patterns));
            });
        }
    }

    /// A subscription has begun: its name is kept from now on. Whether where the name was may have been lost.
    pub(super) fn keep_name(&mut self, id: ConnId, first: Place, is_first: bool) -> bool {
        let (Some(durable), Some(feed)) = (self.conns.get(&id), &self.feed) else { return false };
        let Some(name) = durable.name() else { return false };
        let used = feed.seconds();
        feed.names(|names| {
            let known = names.get(name).map(|known| known.next);
            let is_anew = is_first && durable.options.reset;
            let named = Named {
                next: known.filter(|_| !is_anew).unwrap_or(first),
                used,
                expire: durable.options.expire(),
                patterns: durable.patterns.clone(),
                is_connected: true,
                is_idle: false,
                is_late: false,
            };
            names.insert(name, named);
            names.is_damaged() && known.is_none() && !is_anew
        })
    }
}

/// Whether a connection may have this, by the access file.
pub fn may<N: Net, P>(
    conns: &Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    id: ConnId,
    pattern: Option<&str>,
    name: Option<&str>,
) -> Result<(), String> {
    let Some(standing) = &conns[id].standing else { return Ok(()) };
    let rights = standing.rights();
    let denied = match (pattern, name) {
        (_, Some(name)) if !rights.is_some_and(|rights| rights.may_be_durable(name)) => {
            format!("may not use the durable name '{}'", plain(name))
        }
        (Some(pattern), _) if !rights.is_some_and(|rights| rights.may_subscribe(pattern)) => {
            format!("may not subscribe to '{}'", plain(pattern))
        }
        _ => return Ok(()),
    };
    ctx.access.count_denied(false);
    let message = format_args!("{} {denied}", conns[id].named());
    ctx.notices.say(
        crate::gateway::observe::notices::Notice::NotPermitted,
        log::Level::Warn,
        ctx.now,
        message,
    );
    Err(denied)
}
