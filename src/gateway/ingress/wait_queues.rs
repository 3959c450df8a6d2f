//! Queues of connections that wait for memory, or for room in the queues to the workers. Of those that wait for memory for
//! small frames, the ones that hold little of it stand apart.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::core::limits::RECLAIM_AFTER;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId};

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitQueue {
    /// Room in the queues to the workers. It is a queue of its own: a connection in it may hold the memory that
    /// others wait for, and need none to go on.
    Workers,
    /// Memory for small frames, of a connection that holds little of it.
    Light,
    /// Memory for small frames, of one that holds more or has begun a frame that is longer than a small read.
    Heavy,
    /// Memory for a large frame.
    Large,
}

/// Connections that wait for memory or for room in the queues, in the order in which they came.
#[derive(Debug, Default)]
pub struct WaitQueues {
    workers: VecDeque<ConnId>,
    light: VecDeque<ConnId>,
    heavy: VecDeque<ConnId>,
    large: VecDeque<ConnId>,
    /// Since when someone waits and nobody went on.
    starved_since: Option<Instant>,
    /// When to look for someone who holds memory and has stalled.
    reclaim_at: Option<Instant>,
    /// Memory is being taken back, and there may be more to take.
    is_reclaiming: bool,
    /// When it was looked whether to begin before someone waits.
    early_at: Option<Instant>,
    /// A turn had read enough before everyone who could go on did.
    is_cut: bool,
}

/// 20 ms until the next look for someone who stalled, where none was found: a fifth of the shortest time that counts.
const RECLAIM_RETRY: Duration = Duration::from_millis(20);

impl WaitQueues {
    /// Whether someone goes on in the next turn.
    pub fn go_on(&self) -> bool {
        self.is_cut
    }

    /// When to look for someone who holds memory and has stalled.
    pub fn reclaim_at(&self) -> Option<Instant> {
        self.reclaim_at
    }

    /// How many wait for memory for small frames, and for a large one.
    pub fn lengths(&self) -> [u64; 2] {
        [(self.light.len() + self.heavy.len()) as u64, self.large.len() as u64]
    }

    /// Whether the connection stands in a queue.
    #[cfg(any(test, feature = "check"))]
    pub fn contains(&self, id: ConnId) -> bool {
        self.all().into_iter().any(|queue| queue.contains(&id))
    }

    /// How long the longest of them is.
    #[cfg(any(test, feature = "check"))]
    pub fn longest(&self) -> usize {
        self.all().into_iter().map(VecDeque::len).max().unwrap_or(0)
    }

    /// Adds a connection to a queue, unless it stands in one.
    pub fn join<S>(&mut self, conns: &mut Conns<S>, id: ConnId, queue: WaitQueue, now: Instant) {
        let reading = &mut conns[id].reading;
        if reading.waiting.is_none() {
            reading.waiting = Some(queue);
            conns.enlist(id, self.of(queue));
            self.starved_since.get_or_insert(now);
            self.reclaim_at.get_or_insert(now + RECLAIM_AFTER);
        }
    }

    /// The queues are looked at.
    pub fn begin(&mut self) {
        self.is_cut = false;
    }

    /// Those that hold little by now come to the end of the queue of those that do. Each of the others holds more than a
    /// small read, so memory bounds how many are looked at.
    pub fn lighten<S>(&mut self, conns: &mut Conns<S>) {
        let light = &mut self.light;
        self.heavy.retain(|&id| {
            let is_light = |conn: &&mut Conn<S>| conn.holds_little() && conn.reading.asked().is_none();
            let Some(conn) = conns.get_mut(id).filter(is_light) else { return true };
            conn.reading.waiting = Some(WaitQueue::Light);
            light.push_back(id);
            false
        });
    }

    /// The turn has read enough: they go on in the next, and nothing keeps them from it but this one's share.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// How many stand in a queue.
    pub fn len(&self, queue: WaitQueue) -> usize {
        match queue {
            WaitQueue::Workers => self.workers.len(),
            WaitQueue::Light => self.light.len(),
            WaitQueue::Heavy => self.heavy.len(),
            WaitQueue::Large => self.large.len(),
        }
    }

    /// The first of a queue.
    pub fn first(&mut self, queue: WaitQueue) -> Option<ConnId> {
        self.of(queue).front().copied()
    }

    /// The first of a queue leaves it.
    pub fn leave_first(&mut self, queue: WaitQueue) {
        self.of(queue).pop_front();
    }

    /// Whether somebody stands in a queue.
    pub fn is_waited_for(&self, queue: WaitQueue) -> bool {
        self.len(queue) > 0
    }

    /// Whether to take more memory back: those who wait had what was freed, and it was not enough.
    pub fn goes_on_reclaiming(&mut self, is_eased: bool) -> bool {
        let memory = [WaitQueue::Light, WaitQueue::Heavy, WaitQueue::Large];
        self.is_reclaiming &= !is_eased || memory.into_iter().any(|queue| self.is_waited_for(queue));
        self.is_reclaiming
    }

    /// Whether memory is to be taken back for those that wait, of which some went on or none.
    pub fn is_reclaim_due(&mut self, went_on: bool, now: Instant) -> bool {
        if self.are_empty() {
            (self.starved_since, self.reclaim_at) = (None, None);
            return false;
        }
        if went_on || self.starved_since.is_none() {
            (self.starved_since, self.reclaim_at) = (Some(now), Some(now + RECLAIM_AFTER));
            return false;
        }
        self.reclaim_at.is_some_and(|at| at <= now)
    }

    /// Memory was taken back from some, or nobody had any to give.
    pub fn reclaimed(&mut self, some: bool, now: Instant) {
        // What that freed is used in the next turn; there may be more to take back after it.
        self.is_reclaiming = some;
        let next = if some { now } else { now + RECLAIM_RETRY };
        self.reclaim_at = (self.is_reclaiming || !self.are_empty()).then_some(next);
        if self.are_empty() {
            self.starved_since = None;
        }
    }

    /// Whether to look once more whether to take memory back before someone waits.
    pub fn may_look_early(&self, now: Instant) -> bool {
        self.early_at.is_none_or(|at| at <= now)
    }

    /// It was looked.
    pub fn looked_early(&mut self, now: Instant) {
        self.early_at = Some(now + RECLAIM_RETRY);
    }

    fn of(&mut self, queue: WaitQueue) -> &mut VecDeque<ConnId> {
        match queue {
            WaitQueue::Workers => &mut self.workers,
            WaitQueue::Light => &mut self.light,
            WaitQueue::Heavy => &mut self.heavy,
            WaitQueue::Large => &mut self.large,
        }
    }

    fn are_empty(&self) -> bool {
        self.all().into_iter().all(VecDeque::is_empty)
    }

    fn all(&self) -> [&VecDeque<ConnId>; 4] {
        [&self.workers, &self.light, &self.heavy, &self.large]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::limits::READ_MIN;
    use crate::gateway::ingress::order::Item;
    use crate::wire::Fault;

    #[test]
    fn memory_is_taken_back_where_someone_waits_and_nobody_goes_on() {
        let (mut conns, mut queues, start) = (Conns::new(), WaitQueues::default(), Instant::now());
        let peer = ([127, 0, 0, 1], 1).into();
        let id = conns.insert(peer, true, start, |_| Ok::<_, ()>(())).unwrap();
        assert!(!queues.is_reclaim_due(false, start) && queues.reclaim_at().is_none());
        for queue in [WaitQueue::Light, WaitQueue::Large] {
            queues.join(&mut conns, id, queue, start);
        }
        assert_eq!((queues.lengths(), queues.first(WaitQueue::Light)), ([1, 0], Some(id)), "it waits once");
        // It went on, and waits again.
        let went_on = start + RECLAIM_AFTER;
        assert!(!queues.is_reclaim_due(true, went_on), "there was room");
        let due = went_on + RECLAIM_AFTER;
        assert!(!queues.is_reclaim_due(false, due - Duration::from_millis(1)));
        assert!(queues.is_reclaim_due(false, due));
        // With the little that one gave back it goes on at once, until it is enough or nobody has any.
        queues.reclaimed(true, due);
        assert_eq!((queues.goes_on_reclaiming(true), queues.reclaim_at()), (true, Some(due)), "it waits");
        queues.reclaimed(false, due);
        assert_eq!(
            (queues.goes_on_reclaiming(false), queues.reclaim_at()),
            (false, Some(due + RECLAIM_RETRY))
        );
        queues.reclaimed(true, due);
        queues.leave_first(WaitQueue::Light);
        assert!(queues.goes_on_reclaiming(false) && !queues.goes_on_reclaiming(true), "nobody waits");
        assert!(!queues.is_reclaim_due(false, due + RECLAIM_AFTER) && queues.reclaim_at().is_none());
    }

    #[test]
    fn those_that_hold_little_by_now_leave_those_that_hold_more() {
        let (mut conns, mut queues, now) = (Conns::new(), WaitQueues::default(), Instant::now());
        let peer = ([127, 0, 0, 1], 1).into();
        let ids = [(); 3].map(|()| conns.insert(peer, true, now, |_| Ok::<_, ()>(())).unwrap());
        for (id, bytes) in ids.into_iter().zip([READ_MIN + 1, READ_MIN + 1, READ_MIN]) {
            conns[id].order.bytes_in_flight = bytes as u32;
            let little = conns[id].holds_little();
            assert_eq!(little, bytes == READ_MIN);
            queues.join(&mut conns, id, if little { WaitQueue::Light } else { WaitQueue::Heavy }, now);
        }
        // What is first of them is with a slow part still, and the next is done.
        conns[ids[1]].order.bytes_in_flight = 0;
        queues.lighten(&mut conns);
        let firsts = [WaitQueue::Light, WaitQueue::Heavy].map(|queue| queues.first(queue));
        assert_eq!(firsts, [Some(ids[2]), Some(ids[0])]);
        queues.leave_first(WaitQueue::Light);
        assert_eq!(queues.first(WaitQueue::Light), Some(ids[1]), "behind those that came before");
        assert_eq!(conns[ids[1]].reading.waiting, Some(WaitQueue::Light));
        // What waits for a handler counts as well.
        let fault = Item::Fault(Fault::Reply { id: 1 });
        conns.line_up(ids[1], fault, false, now);
        assert!(conns[ids[1]].holds_little(), "the end of a stream has no bytes");
    }
}
