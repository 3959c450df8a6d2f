//! What must hold after every turn, as far as it can be seen from outside.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::Simulation;
use super::fragmented::Name;
use super::script::{Fate, Script};
use super::sink::SinkState;
use crate::gateway::BadDigestPolicy;
use crate::gateway::snapshot::{Phase, Snapshot};
use crate::wire::{Header, Kind, Status};

impl Simulation<'_> {
    /// After each turn: parts are within their bounds, and no lease is longer than it should be.
    pub(super) fn check_parts(&mut self, snapshot: &Snapshot) {
        let parts = &snapshot.parts;
        assert!(
            parts.keys.now <= parts.keys.max,
            "5: {} incomplete messages of {}",
            parts.keys.now,
            parts.keys.max
        );
        let (now, max) = (parts.bytes.now as usize, parts.bytes.max as usize);
        let (least, allowed) = &mut self.parts_bytes;
        *least = max.min(*least);
        assert!(now <= max.max(*allowed), "5: parts take {now} bytes of {max}");
        *allowed = now;
        self.parked_turns += u64::from(parts.parked > 0);
        // Who is kept from sending is not late, and has one lease from the first turn after that.
        let is_paused = self.steering.read.is_some();
        if std::mem::replace(&mut self.was_paused, is_paused) || is_paused || !self.sinks.is_empty() {
            self.kept_until = self.now + self.lease;
        }
        let is_late = parts.keys.now > 0 && parts.oldest >= self.lease && self.now > self.kept_until;
        // Those of one turn are bounded; the others end in the next.
        let goes_on = self.gate.next_deadline().is_some_and(|at| at <= self.now);
        assert!(!is_late || goes_on, "5: a lease of {:?} has lasted {:?}", self.lease, parts.oldest);
    }

    /// What has arrived from publishers, where a sink is full: nothing of that is read.
    pub(super) fn unread_while_full(&self) -> Vec<(usize, usize)> {
        let is_full = self.sinks.iter().any(|sink| sink.borrow().is_full());
        let word_came = self.sinks.iter().any(|sink| sink.borrow().has_done());
        if !is_full || word_came || !self.calm {
            return Vec::new();
        }
        // Who is being closed is read, and what comes is thrown away.
        if self.gate.describe_state().phase == Phase::Draining {
            return Vec::new();
        }
        let stays = |script: &Script| {
            script.patterns.is_empty()
                && script.sent.iter().all(|sent| match sent.fate {
                    Fate::Refuse(Status::BadDigest) => self.rules.on_bad_digest == BadDigestPolicy::Drop,
                    Fate::Refuse(status) => !status.closes(),
                    _ => true,
                })
        };
        let has_published = |at: usize| self.sinks.iter().any(|sink| sink.borrow().knows(at as u64));
        let world = self.world.borrow();
        (0..self.peers.len())
            .filter(|&at| has_published(at) && stays(&self.peers[at].script) && !self.peers[at].broke)
            .map(|at| (at, world.wires[self.peers[at].wire].arrived.len()))
            .collect()
    }

    /// A sink was full before the turn: who has published was not read.
    pub(super) fn check_unread(&mut self, unread: &[(usize, usize)]) {
        self.full_turns += u64::from(!unread.is_empty());
        let world = self.world.borrow();
        for &(at, before) in unread {
            let now = world.wires[self.peers[at].wire].arrived.len();
            assert_eq!(now, before, "publisher {at} was read while a sink was full");
        }
    }

    /// A connection that broke holds no slot (4), whatever it was that it was not read for: not once the gateway has
    /// nothing more to do, nor workers for it.
    pub(super) fn check_broken(&self) {
        let goes_on = self.gate.next_deadline().is_some_and(|at| at <= self.now);
        let workers = self.workers.borrow();
        if goes_on || workers.has_work() || workers.has_done() {
            return;
        }
        for (at, wire) in self.world.borrow().wires.iter().enumerate() {
            assert!(!wire.is_held_broken(), "4: connection {at} broke and holds its slot");
        }
    }

    /// Who was told OK was told so after every sink had confirmed.
    pub(super) fn check_confirmed(&self) {
        for (at, peer) in self.peers.iter().enumerate().filter(|(_, peer)| !peer.is_subscriber) {
            let fate_of = |id| peer.script.sent.iter().find(|sent| sent.id == id).map(|sent| sent.fate);
            let mut parts: HashMap<Name, usize> = HashMap::new();
            let mut decoder = peer.decoder_of_all();
            while let Ok(Some(frame)) = decoder.next_frame() {
                let Header { kind, status, id, .. } = frame.header;
                let is_ok = status == Status::Ok as u16;
                // A copy has the id of the first, and is told when that is done.
                if kind != Kind::Reply || !is_ok && status != Status::Duplicate as u16 {
                    continue;
                }
                let name = (peer.script.owner.unwrap_or(at as u64), id);
                match fate_of(id) {
                    Some(Fate::Deliver | Fate::Again) => {
                        let confirmed = self.sinks.iter().all(|s| s.borrow().confirmed.contains_key(&name));
                        assert!(
                            confirmed || is_ok,
                            "a copy is told DUPLICATE before {id} of peer {at} is confirmed"
                        );
                        assert!(confirmed, "OK before {id} of peer {at} is confirmed");
                    }
                    Some(Fate::Part) if is_ok => *parts.entry(name).or_default() += 1,
                    Some(Fate::Part) => {
                        let has = |sink: &Rc<RefCell<SinkState>>| sink.borrow().parts.contains_key(&name);
                        let confirmed = self.sinks.iter().all(has);
                        assert!(
                            confirmed,
                            "a copy is told DUPLICATE before the message of part {name:?} is confirmed"
                        );
                    }
                    _ => {}
                }
            }
            for (name, told) in parts {
                for sink in &self.sinks {
                    let confirmed = sink.borrow().parts.get(&name).copied().unwrap_or(0);
                    assert!(told <= confirmed, "OK before the message of part {name:?} is confirmed");
                }
            }
        }
    }
}
