//! The table of all connections.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};
use std::time::Instant;

use slab::Slab;

use super::marks::Due;
use super::stage::Staged;
use crate::core::limits::{CONNS_CHUNK, LISTED};
use crate::gateway::Config;
use crate::gateway::conn::{Conn, ConnId};
use crate::runtime::net::Deadlines;

/// All connections.
///
/// They never move: a single table that grows by doubling would have three times the room that it needs each time.
///
/// A connection leaves at the end of a turn, and not before everything that it sent is distributed or held. So within a
/// turn, and wherever such a thing is named, its name is an index. What outlives that (an event, a job, a list from
/// one turn to the next, a reply to a part that is held) is [looked up](Conns::get) once, where it comes in.
///
/// Invariants: no chunk holds more than [`CONNS_CHUNK`]; `vacant` are those that hold less.
pub struct Conns<S> {
    chunks: Vec<Slab<Conn<S>>>,
    vacant: BTreeSet<usize>,
    len: usize,
    generation: u32,
    /// Those without a socket.
    gone: usize,
    /// What is still to be done for them.
    pub due: Due,
    pub deadlines: Deadlines,
    /// Entries in all outboxes.
    entries: usize,
    pub(super) staged: Staged,
}

const STAYS: &str = "a connection stays to the end of the turn, and until what it sent is distributed";

impl<S> Conns<S> {
    /// None yet.
    pub fn new() -> Conns<S> {
        Conns {
            chunks: Vec::new(),
            vacant: BTreeSet::new(),
            len: 0,
            generation: 0,
            gone: 0,
            due: Due::default(),
            deadlines: Deadlines::default(),
            entries: 0,
            staged: Staged::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many have a socket: as many connections there are for everyone else.
    pub fn sockets(&self) -> usize {
        self.len - self.gone
    }

    /// How many have none any more, and wait for what they sent.
    pub fn gone(&self) -> usize {
        self.gone
    }

    /// Entries in all outboxes.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Something was added to an outbox.
    pub fn add_entry(&mut self) {
        self.entries += 1;
    }

    /// So many left outboxes.
    pub fn remove_entries(&mut self, entries: usize) {
        self.entries -= entries;
    }

    /// Frames in all stages.
    pub fn staged(&self) -> Staged {
        self.staged
    }

    /// Closes a connection's socket. Whether it had one.
    pub fn close_socket(&mut self, id: ConnId) -> bool {
        let had_one = self[id].socket.take().is_some();
        self.gone += usize::from(had_one);
        had_one
    }

    /// Adds a connection to a list that holds each at most once. Those that are no more leave it when they may be as
    /// many as the others: however many come and go, a list is not much longer than there are connections.
    pub fn enlist(&self, id: ConnId, list: &mut VecDeque<ConnId>) {
        if list.len() >= 2 * self.len() + LISTED {
            list.retain(|&id| self.get(id).is_some());
        }
        list.push_back(id);
    }

    /// Sees to it that the connection is looked at when its next deadline is due.
    pub fn arm(&mut self, id: ConnId, config: &Config) {
        if let Some(at) = self[id].deadline(config) {
            let conn = &mut self.chunks[id.slot() / CONNS_CHUNK][id.slot() % CONNS_CHUNK];
            self.deadlines.arm(id.key(), &mut conn.armed, at);
        }
    }

    /// It has no deadline any more.
    pub fn disarm(&mut self, id: ConnId) {
        let conn = &mut self.chunks[id.slot() / CONNS_CHUNK][id.slot() % CONNS_CHUNK];
        self.deadlines.cancel(id.key(), &mut conn.armed);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a connection whose socket is made ready under its name; not if that fails.
    pub fn insert<E>(
        &mut self,
        peer: SocketAddr,
        authorized: bool,
        now: Instant,
        ready: impl FnOnce(ConnId) -> Result<S, E>,
    ) -> Result<ConnId, E> {
        // The first bit is for keys that are no connection's; and no key is 0.
        self.generation = self.generation % (u32::MAX >> 1) + 1;
        // The first of them, so that those that came last can be let go of.
        let at = self.vacant.first().copied().unwrap_or(self.chunks.len());
        if at == self.chunks.len() {
            self.chunks.push(Slab::new());
            self.vacant.insert(at);
        }
        let chunk = &mut self.chunks[at];
        if chunk.capacity() == 0 {
            chunk.reserve_exact(CONNS_CHUNK);
        }
        let entry = chunk.vacant_entry();
        let id = ConnId::new(at * CONNS_CHUNK + entry.key(), self.generation);
        entry.insert(Conn::new(id, ready(id)?, peer, authorized, now));
        self.len += 1;
        if chunk.len() == CONNS_CHUNK {
            self.vacant.remove(&at);
        }
        Ok(id)
    }

    /// The connection, if it still is.
    pub fn get(&self, id: ConnId) -> Option<&Conn<S>> {
        self.in_slot(id.slot()).filter(|conn| conn.id == id)
    }

    /// The connection, if it still is.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn<S>> {
        let (at, slot) = (id.slot() / CONNS_CHUNK, id.slot() % CONNS_CHUNK);
        self.chunks.get_mut(at)?.get_mut(slot).filter(|conn| conn.id == id)
    }

    /// Takes the connection out.
    pub fn remove(&mut self, id: ConnId) -> Option<Conn<S>> {
        self.get(id)?;
        let at = id.slot() / CONNS_CHUNK;
        self.disarm(id);
        let conn = self.chunks[at].remove(id.slot() % CONNS_CHUNK);
        if self.chunks[at].is_empty() {
            self.chunks[at] = Slab::new();
        }
        self.vacant.insert(at);
        self.len -= 1;
        self.gone -= usize::from(conn.socket.is_none());
        if let Some(stage) = &conn.order.stage {
            self.staged.frames -= stage.frames;
            self.staged.waiting -= stage.lined_up();
        }
        Some(conn)
    }

    /// Every connection.
    pub fn iter(&self) -> impl Iterator<Item = &Conn<S>> {
        self.chunks.iter().flatten().map(|(_, conn)| conn)
    }

    /// Slots, used or not: every connection is in one below.
    pub fn slots(&self) -> usize {
        self.chunks.len() * CONNS_CHUNK
    }

    /// The connection in a slot, if there is one.
    pub fn in_slot(&self, slot: usize) -> Option<&Conn<S>> {
        self.chunks.get(slot / CONNS_CHUNK)?.get(slot % CONNS_CHUNK)
    }

    /// Every connection's name.
    pub fn ids(&self) -> Vec<ConnId> {
        self.iter().map(|conn| conn.id).collect()
    }
}

impl<S> Index<ConnId> for Conns<S> {
    type Output = Conn<S>;

    fn index(&self, id: ConnId) -> &Conn<S> {
        self.get(id).expect(STAYS)
    }
}

impl<S> IndexMut<ConnId> for Conns<S> {
    fn index_mut(&mut self, id: ConnId) -> &mut Conn<S> {
        self.get_mut(id).expect(STAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_is_another_connection() {
        let mut conns = Conns::new();
        let (peer, now) = (([127, 0, 0, 1], 1).into(), Instant::now());
        let insert = |conns: &mut Conns<()>| conns.insert(peer, true, now, |_| Ok::<_, ()>(())).unwrap();
        let first = insert(&mut conns);
        assert!(conns.remove(first).is_some());
        let second = insert(&mut conns);
        assert!(conns.insert(peer, true, now, |_| Err(())).is_err());
        assert_eq!(conns.len(), 1);
        assert_eq!(first.slot(), second.slot());
        assert!(conns.get(first).is_none() && conns.remove(first).is_none());
        assert!(conns.get(ConnId::from_key(second.key())).is_some());
    }

    #[test]
    fn chunks_are_filled_from_the_first_and_let_go_of() {
        let mut conns = Conns::new();
        let (peer, now) = (([127, 0, 0, 1], 1).into(), Instant::now());
        let insert = |conns: &mut Conns<()>| conns.insert(peer, true, now, |_| Ok::<_, ()>(())).unwrap();
        let ids: Vec<ConnId> = (0..3 * CONNS_CHUNK).map(|_| insert(&mut conns)).collect();
        assert_eq!((conns.len(), conns.slots()), (3 * CONNS_CHUNK, 3 * CONNS_CHUNK));
        assert!(conns.iter().map(|conn| conn.id).eq(ids.iter().copied()));
        for &id in &ids[CONNS_CHUNK..] {
            assert_eq!(conns.remove(id).unwrap().id, id);
        }
        assert_eq!(conns.chunks.iter().map(Slab::capacity).collect::<Vec<_>>(), [CONNS_CHUNK, 0, 0]);
        conns.remove(ids[0]);
        assert_eq!(insert(&mut conns).slot(), ids[0].slot());
        assert_eq!(insert(&mut conns).slot(), CONNS_CHUNK);
        assert!(conns.get(ids[CONNS_CHUNK]).is_none() && conns.in_slot(CONNS_CHUNK).is_some());
        assert_eq!(conns.len(), CONNS_CHUNK + 1);
    }
}
