//! How many connections there are at once, and which has to go when all seats are taken.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::core::limits::ADMIN_HEAD_GRACE;

/// The seats of a server. When all are taken, the connection that has waited longest without a request has to go, so
/// that connections which ask for nothing keep nobody out that does. A new one has [`ADMIN_HEAD_GRACE`] for its head
/// before it is a candidate: else, among many, it would go before its request was read.
///
/// ```text
/// take ─▶ new ──▶ busy ◀──▶ idle      evicted: the longest of those that are idle, or new for longer than the grace
///          begin ─┘  └ end, begin
/// ```
pub struct Seats {
    taken: Mutex<Taken>,
    /// A connection has left.
    left: Condvar,
    count: usize,
    /// Tells the one that waits for a seat that there may be one.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Taken {
    seats: Vec<Entry>,
    /// The number of the next seat.
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

/// One connection's seat; it is left when this is dropped.
pub struct Seat<'a> {
    seats: &'a Seats,
    number: u64,
}

/// No seat is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// When one will have to go; none while all are busy.
    pub until: Option<Instant>,
}

impl Seats {
    /// So many. `wake` is called when one is left, or its connection becomes a candidate, while all are taken.
    pub fn new(count: usize, wake: impl Fn() + Send + Sync + 'static) -> Seats {
        Seats { taken: Mutex::default(), left: Condvar::new(), count, wake: Box::new(wake) }
    }

    /// A seat for a connection that `evict` ends.
    pub fn take(&self, now: Instant, evict: impl Fn() + Send + 'static) -> Result<Seat<'_>, Full> {
        let mut taken = self.taken.lock();
        if taken.seats.len() >= self.count {
            let candidates =
                || taken.seats.iter().enumerate().filter_map(|(at, seat)| Some((at, seat.candidate()?)));
            let longest =
                candidates().filter(|(_, (_, from))| *from <= now).min_by_key(|(_, (since, _))| *since);
            let Some((longest, _)) = longest else {
                return Err(Full { until: candidates().map(|(_, (_, from))| from).min() });
            };
            let gone = taken.seats.swap_remove(longest);
            (gone.evict)();
        }
        let number = taken.next;
        taken.next += 1;
        taken.seats.push(Entry { number, state: State::New(now), evict: Box::new(evict) });
        Ok(Seat { seats: self, number })
    }

    /// Ends every connection: at once where nothing is being answered, else behind the answer, and after `time` all.
    /// Returns when each has left.
    pub fn close(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut taken = self.taken.lock();
        taken.closing = true;
        taken.seats.iter().filter(|seat| seat.candidate().is_some()).for_each(|seat| (seat.evict)());
        while !taken.seats.is_empty() {
            if self.left.wait_until(&mut taken, deadline).timed_out() {
                taken.seats.iter().for_each(|seat| (seat.evict)());
                break;
            }
        }
    }
}

impl Seat<'_> {
    /// A request is whole. Whether it may be answered: the seat was not taken away meanwhile.
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
        let mut taken = self.seats.taken.lock();
        let (closing, is_full) = (taken.closing, taken.seats.len() >= self.seats.count);
        let Some(seat) = taken.seats.iter_mut().find(|seat| seat.number == self.number) else { return false };
        seat.state = state;
        if is_full && seat.candidate().is_some() {
            (self.seats.wake)();
        }
        !closing
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        let was_full = taken.seats.len() >= self.seats.count;
        taken.seats.retain(|seat| seat.number != self.number);
        drop(taken);
        self.seats.left.notify_all();
        if was_full {
            (self.seats.wake)();
        }
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Seats, and takes of them that note which were taken away.
    struct Scene {
        seats: Seats,
        start: Instant,
        gone: Arc<Mutex<Vec<&'static str>>>,
        woken: Arc<AtomicUsize>,
    }

    impl Scene {
        fn new(count: usize) -> Scene {
            let woken = Arc::<AtomicUsize>::default();
            let wake = woken.clone();
            let seats = Seats::new(count, move || {
                wake.fetch_add(1, Relaxed);
            });
            Scene { seats, start: Instant::now(), gone: Arc::default(), woken }
        }

        /// So many times a tenth of the grace after the start.
        fn at(&self, tenths: u32) -> Instant {
            self.start + ADMIN_HEAD_GRACE / 10 * tenths
        }

        fn take(&self, tenths: u32, name: &'static str) -> Result<Seat<'_>, Full> {
            let gone = self.gone.clone();
            self.seats.take(self.at(tenths), move || gone.lock().push(name))
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
            "the second left its seat, and two became idle, while all were taken"
        );
        drop((first, third, fourth, fifth));
        assert!(scene.seats.taken.lock().seats.is_empty());
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
        let seat = scene.take(0, "only").unwrap();
        assert!(seat.begin());
        assert_eq!(scene.take(1000, "next").err(), Some(Full { until: None }));
        assert_eq!(scene.woken.load(Relaxed), 0);
        assert!(seat.end(scene.at(1000)));
        assert_eq!(scene.woken.load(Relaxed), 1, "there is a seat for the one that waits");
        drop((scene.take(1000, "next").unwrap(), seat));
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
            let closing = scope.spawn(|| scene.seats.close(Duration::from_millis(200)));
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
