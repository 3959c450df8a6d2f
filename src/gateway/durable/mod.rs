//! Durable subscriptions and replays: what a connection asked for, what it was given, and what it has acknowledged.
//!
//! The store's [feed](crate::sinks::store::feed) reads; here runs become what a connection is written, within its window,
//! and acknowledgements become positions. A connection of this kind has no pattern in the router, so no outbox that
//! publishers fill and no way to be slow.
//!
//! ```text
//! SUBSCRIBE ─► asked ─► (end of the turn) open ─► Opened: OK ─► runs ─► POSITION, DATA
//!                                                               ▲ credit    │
//!                                                               └── ACK ◄───┘
//! ```

mod acks;
mod events;
mod names;
mod subscribe;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::acks::pending::PendingReply;
use super::conn::ConnId;
use super::conn::table::Conns;
use super::ctx::Ctx;
use super::egress::outbox_item::OutboxItem;
use crate::core::limits::DURABLE_RUN_COST;
use crate::core::memory::Buffer;
use crate::runtime::net::Net;
use crate::sinks::store::feed::{Feed, Subscription};
use crate::sinks::store::order::Place;
use crate::wire::durable::Options;
use crate::wire::{Header, Kind, Status, encode};

pub use acks::Acked;
pub use names::Where;
pub use subscribe::may;

/// What is said where there is no store.
const NEEDS: &str = "this gateway keeps nothing that could be delivered later: start it with --store DIR";

/// All durable subscriptions and replays.
#[derive(Debug, Default)]
pub struct Durables {
    feed: Option<Feed>,
    conns: HashMap<ConnId, Durable>,
    /// Whose subscription it is, by its number in the feed.
    ids: HashMap<u64, ConnId>,
    names: HashMap<Box<str>, ConnId>,
    /// Those that are opened, or opened again, when the turn ends: what was asked for together begins together.
    asked: VecDeque<ConnId>,
    /// Acknowledgements that are answered when this version of the positions is on the disk.
    unwritten: VecDeque<(u64, PendingReply)>,
    /// Replies of subscriptions that ended before they began.
    orphans: Vec<PendingReply>,
    last_id: u64,
}

/// The subscription of one connection.
#[derive(Debug)]
struct Durable {
    options: Options,
    patterns: Vec<String>,
    open: Option<Arc<Subscription>>,
    /// Who waits to hear where it begins.
    replies: Vec<PendingReply>,
    /// What it was given and has not acknowledged, in order: where each run begins, and how many frames it has.
    unacked: VecDeque<(Place, u32)>,
    /// The first frame that it has not acknowledged, and the first that it was not given.
    done: Place,
    given: u64,
    /// What it was given before it was opened again.
    given_before: u64,
    /// The sequence that it takes the next frame for.
    expects: Option<u64>,
    /// It was told where it begins.
    has_begun: bool,
    /// It has seen everything that there is, and acknowledged it.
    is_idle: bool,
    is_asked: bool,
}

impl Durable {
    fn name(&self) -> Option<&str> {
        self.options.name.as_deref()
    }
}

impl Durables {
    /// From now on the store feeds them.
    pub fn set_feed(&mut self, feed: Feed) {
        self.feed = Some(feed);
    }

    /// Whether a connection has one.
    pub fn has(&self, id: ConnId) -> bool {
        self.conns.contains_key(&id)
    }

    /// What they take of the memory, in bytes.
    pub fn bytes(&self) -> usize {
        let read = self.feed.as_ref().map_or(0, Feed::bytes);
        read + self.conns.len() * (size_of::<Durable>() + 4 * DURABLE_RUN_COST)
    }

    /// What they subscribe to, of a connection that has one.
    pub fn patterns_of(&self, id: ConnId) -> Option<(Option<&str>, &[String])> {
        self.conns.get(&id).map(|durable| (durable.name(), &durable.patterns[..]))
    }

    /// Before a sleep: whether nothing came meanwhile.
    pub fn prepare_sleep(&self) -> bool {
        self.feed.as_ref().is_none_or(Feed::prepare_sleep)
    }

    /// After a sleep.
    pub fn end_sleep(&self) {
        self.feed.iter().for_each(Feed::end_sleep);
    }

    /// Why nothing more will come, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.feed.as_ref().and_then(Feed::failure)
    }

    /// Whether something is to be opened.
    pub fn goes_on(&self) -> bool {
        !self.asked.is_empty() || !self.orphans.is_empty()
    }
}

/// Tells a subscriber where it is, or what it has lost.
fn tell<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &Ctx<N, P>,
    id: ConnId,
    status: Status,
    key: u64,
    said: &str,
) {
    let mut bytes = Vec::new();
    let header = Header { status: status as u16, key, ..Header::new(Kind::Reply) };
    encode(header, b"", said.as_bytes(), &ctx.config.scheme, &mut bytes);
    conns.push_last(id, OutboxItem::Replies(Buffer::charged(&ctx.memory, bytes.into())));
}

/// What is written to a subscriber.
fn push<S>(conns: &mut Conns<S>, id: ConnId, item: OutboxItem) {
    conns[id].writing.outbox.push(Rc::new(item));
    conns.add_entry();
    conns.mark_dirty(id);
}
