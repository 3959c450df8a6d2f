//! How many connections there are at once, and which has to go when all slots are taken.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::core::limits::ADMIN_HEAD_GRACE;

/// The slots of a server. When all are taken, the connection that has waited longest without a request has to go, so
/// that connections which ask for nothing keep nobody out that does. A new one has [`ADMIN_HEAD_GRACE`] for its head
/// before it is a candidate: else, among many, it would go before its request was read.
///
/// ```text
/// take ─▶ new ──▶ busy ◀──▶ idle      evicted: the longest of those that are idle, or new for longer than the grace
///          begin ─┘  └ end, begin
/// ```
pub struct Slots {
    taken: Mutex<Taken>,
    /// A connection has left.
    left: Condvar,
    count: usize,
    /// Tells the one that waits for a slot that there may be one.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Taken {
    slots: Vec<Entry>,
    /// The number of the next slot.
    next: u64,
    /// Whoever has answered goes.
    closing: bool,
}

struct Entry {
    number: u64,
    state: State,
    /// Ends its connection.
    evict: Box<dyn Fn() + Send>,
}

#[derive(Clone, Copy)]
enum State {
    /// Its first request is not whole; it came then.
    New(Instant),
    /// A request is being answered.
    Busy,
    /// It waits for its next request since then.
    Idle(Instant),
}

impl Entry {
    /// Since when it has waited, and from when it may have to go.
    fn candidate(&self) -> Option<(Instant, Instant)> {
        match self.state {
            State::New(since) => Some((since, since + ADMIN_HEAD_GRACE)),
            State::Busy => None,
            State::Idle(since) => Some((since, since)),
        }
    }
}

/// One connection's slot; it is left when this is dropped.
pub struct Slot<'a> {
    slots: &'a Slots,
    number: u64,
}

/// No slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// When one will have to go; none while all are busy.
    pub until: Option<Instant>,
}

impl Slots {
    /// So many. `wake` is called when one is left, or its connection becomes a candidate, while all are taken.
    pub fn new(count: usize, wake: impl Fn() + Send + Sync + 'static) -> Slots {
        Slots { taken: Mutex::default(), left: Condvar::new(), count, wake: Box::new(wake) }
    }

    /// A slot for a connection that `evict` ends.
    pub fn take(&self, now: Instant, evict: impl Fn() + Send + 'static) -> Result<Slot<'_>, Full> {
        let mut taken = self.taken.lock();
        if taken.slots.len() >= self.count {
            let candidates =
                || taken.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.candidate()?)));
            let longest =
                candidates().filter(|(_, (_, from))| *from <= now).min_by_key(|(_, (since, _))| *since);
            let Some((longest, _)) = longest else {
                return Err(Full { until: candidates().map(|(_, (_, from))| from).min() });
            };
            let gone = taken.slots.swap_remove(longest);
            (gone.evict)();
        }
        let number = taken.next;
        taken.next += 1;
        taken.slots.push(Entry { number, state: State::New(now), evict: Box::new(evict) });
        Ok(Slot { slots: self, number })
    }

    /// Ends every connection: at once where nothing is being answered, else behind the answer, and after `time` all.
    /// Returns when each has left.
    pub fn close(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut taken = self.taken.lock();
        taken.closing = true;
        taken.slots.iter().filter(|slot| slot.candidate().is_some()).for_each(|slot| (slot.evict)());
        while !taken.slots.is_empty() {
            if self.left.wait_until(&mut taken, deadline).timed_out() {
                taken.slots.iter().for_each(|slot| (slot.evict)());
                break;
            }
        }
    }
}

impl Slot<'_> {
    /// A request is whole. Whether it may be answered: the slot was not taken away meanwhile.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.turn(State::Busy)
    }

    /// It is answered. Whether another may come.
    #[must_use]
    pub fn end(&self, now: Instant) -> bool {
        self.turn(State::Idle(now))
    }

    fn turn(&self, state: State) -> bool {
        let mut taken = self.slots.taken.lock();
        let (closing, is_full) = (taken.closing, taken.slots.len() >= self.slots.count);
        let Some(slot) = taken.slots.iter_mut().find(|slot| slot.number == self.number) else { return false };
        slot.state = state;
        if is_full && slot.candidate().is_some() {
            (self.slots.wake)();
        }
        !closing
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        let was_full = taken.slots.len() >= self.slots.count;
        taken.slots.retain(|slot| slot.number != self.number);
        drop(taken);
        self.slots.left.notify_all();
        if was_full {
            (self.slots.wake)();
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Slots, and takes of them that note which were taken away.
    struct Scene {
        slots: Slots,
        start: Instant,
        gone: Arc<Mutex<Vec<&'static str>>>,
        woken: Arc<AtomicUsize>,
    }

    impl Scene {
        fn new(count: usize) -> Scene {
            let woken = Arc::<AtomicUsize>::default();
            let wake = woken.clone();
            let slots = Slots::new(count, move || {
                wake.fetch_add(1, Relaxed);
            });
            Scene { slots, start: Instant::now(), gone: Arc::default(), woken }
        }

        /// So many times a tenth of the grace after the start.
        fn at(&self, tenths: u32) -> Instant {
            self.start + ADMIN_HEAD_GRACE / 10 * tenths
        }

        fn take(&self, tenths: u32, name: &'static str) -> Result<Slot<'_>, Full> {
            let gone = self.gone.clone();
            self.slots.take(self.at(tenths), move || gone.lock().push(name))
        }
    }

    #[test]
    fn the_connection_that_has_waited_longest_goes() {
        let scene = Scene::new(3);
        let first = scene.take(1, "first").unwrap();
        let second = scene.take(2, "second").unwrap();
        let third = scene.take(3, "third").unwrap();
        assert!(first.begin());
        let fourth = scene.take(12, "fourth").unwrap();
        assert_eq!(*scene.gone.lock(), ["second"], "the first is busy");
        assert!(!second.begin(), "what comes too late is not answered");
        drop(second);
        assert!(first.end(scene.at(20)) && third.begin() && third.end(scene.at(19)));
        let fifth = scene.take(20, "fifth").unwrap();
        assert_eq!(*scene.gone.lock(), ["second", "third"]);
        assert_eq!(
            scene.woken.load(Relaxed),
            3,
            "the second left its slot, and two became idle, while all were taken"
        );
        drop((first, third, fourth, fifth));
        assert!(scene.slots.taken.lock().slots.is_empty());
    }

    #[test]
    fn a_new_connection_has_time_for_its_head() {
        let scene = Scene::new(2);
        let old = scene.take(0, "old").unwrap();
        let new = scene.take(5, "new").unwrap();
        assert_eq!(scene.take(6, "next").err(), Some(Full { until: Some(scene.at(10)) }));
        assert!(scene.gone.lock().is_empty(), "neither had its time");
        // One that has asked before is a candidate at once.
        assert!(new.begin() && new.end(scene.at(7)));
        let next = scene.take(7, "next").unwrap();
        assert_eq!(*scene.gone.lock(), ["new"]);
        let last = scene.take(10, "last").unwrap();
        assert_eq!(*scene.gone.lock(), ["new", "old"]);
        drop((old, new, next, last));
    }

    #[test]
    fn none_goes_while_all_are_busy() {
        let scene = Scene::new(1);
        let slot = scene.take(0, "only").unwrap();
        assert!(slot.begin());
        assert_eq!(scene.take(1000, "next").err(), Some(Full { until: None }));
        assert_eq!(scene.woken.load(Relaxed), 0);
        assert!(slot.end(scene.at(1000)));
        assert_eq!(scene.woken.load(Relaxed), 1, "there is a slot for the one that waits");
        drop((scene.take(1000, "next").unwrap(), slot));
        assert_eq!(*scene.gone.lock(), ["only"]);
    }

    #[test]
    fn closing_waits_for_answers_as_long_as_it_may() {
        let scene = Scene::new(3);
        let idle = scene.take(0, "idle").unwrap();
        let busy = scene.take(0, "busy").unwrap();
        let stuck = scene.take(0, "stuck").unwrap();
        assert!(busy.begin() && stuck.begin());
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| scene.slots.close(Duration::from_millis(200)));
            while scene.gone.lock().is_empty() {
                std::thread::yield_now();
            }
            drop(idle);
            assert!(!busy.end(scene.at(1)), "no other may come");
            drop(busy);
            closing.join().unwrap();
        });
        assert_eq!(*scene.gone.lock(), ["idle", "stuck"]);
        drop(stuck);
    }
}
