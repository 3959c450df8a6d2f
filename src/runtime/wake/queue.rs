//! A queue whose drainer sleeps between looks.

use std::fmt;

use crossbeam::queue::ArrayQueue;

use super::WakeFlag;

/// A bounded queue to one who drains it, and the wake-up that goes with it: see [`WakeFlag`].
///
/// Pushers push, any number of times, then [`wake`](Self::wake). Neither allocates or waits.
pub struct WakeQueue<T> {
    queue: ArrayQueue<T>,
    flag: WakeFlag,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl<T> WakeQueue<T> {
    /// For at most `capacity` items; `wake` wakes a drainer that sleeps.
    pub fn new(capacity: usize, wake: impl Fn() + Send + Sync + 'static) -> WakeQueue<T> {
        WakeQueue { queue: ArrayQueue::new(capacity), flag: WakeFlag::new(), wake: Box::new(wake) }
    }

    /// Adds an item.
    ///
    /// # Panics
    /// If there is no room: whoever pushes knows how many may be under way.
    pub fn push(&self, item: T) {
        assert!(self.queue.push(item).is_ok(), "no more are under way than there is room for");
    }

    /// After pushes: wakes the drainer if it sleeps.
    pub fn wake(&self) {
        if self.flag.raise() {
            (self.wake)();
        }
    }

    /// The next item.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Items in it.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Called before a sleep: from now on, a push wakes. Whether there is nothing already.
    pub fn prepare_sleep(&self) -> bool {
        self.flag.lower();
        self.is_empty()
    }

    /// Called after a sleep.
    pub fn end_sleep(&self) {
        self.flag.keep_raised();
    }
}

impl<T> fmt::Debug for WakeQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeQueue").field("len", &self.len()).finish_non_exhaustive()
    }
}
