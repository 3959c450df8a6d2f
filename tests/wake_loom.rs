//! The wake-up between other threads and the reactor, under every interleaving and every value that the memory
//! model allows a load to return, as far as loom explores them.
//!
//! The flag is the very source of its room, on loom's atomics. What the workers push is a bare
//! counter whose every access is relaxed, so that nothing but the flag makes a push visible.

#![expect(
    clippy::duplicate_mod,
    reason = "the same source twice, with and without its orderings, is the point"
)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Condvar, Mutex};
use loom::thread;

#[path = "../src/runtime/wake/flag.rs"]
mod wake;

/// What `flag.rs` finds where its room has the standard library's.
mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering};
}

/// The same source, but its orderings are all relaxed: a canary.
#[path = "."]
mod relaxed {
    #[path = "../src/runtime/wake/flag.rs"]
    pub mod wake;

    mod sync {
        pub use loom::sync::atomic::AtomicBool;

        pub struct Ordering;

        #[expect(non_upper_case_globals, reason = "named as the ordering that it replaces")]
        impl Ordering {
            pub const AcqRel: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Relaxed;
        }
    }
}

/// The flag, and the two ways to get it wrong.
trait Flag: Send + Sync + 'static {
    fn new() -> Self;
    fn raise(&self) -> bool;
    fn keep_raised(&self);
    /// What comes before a sleep: lower the flag, and look. Whether there was nothing to see.
    fn prepare_sleep(&self, look: impl FnOnce() -> bool) -> bool;
}

impl Flag for wake::WakeFlag {
    fn new() -> Self {
        wake::WakeFlag::new()
    }
    fn raise(&self) -> bool {
        self.raise()
    }
    fn keep_raised(&self) {
        self.keep_raised();
    }
    fn prepare_sleep(&self, look: impl FnOnce() -> bool) -> bool {
        self.lower();
        look()
    }
}

struct LowersTooLate(wake::WakeFlag);

impl Flag for LowersTooLate {
    fn new() -> Self {
        LowersTooLate(wake::WakeFlag::new())
    }
    fn raise(&self) -> bool {
        self.0.raise()
    }
    fn keep_raised(&self) {
        self.0.keep_raised();
    }
    fn prepare_sleep(&self, look: impl FnOnce() -> bool) -> bool {
        let empty = look();
        self.0.lower();
        empty
    }
}

impl Flag for relaxed::wake::WakeFlag {
    fn new() -> Self {
        relaxed::wake::WakeFlag::new()
    }
    fn raise(&self) -> bool {
        self.raise()
    }
    fn keep_raised(&self) {
        self.keep_raised();
    }
    fn prepare_sleep(&self, look: impl FnOnce() -> bool) -> bool {
        self.lower();
        look()
    }
}

struct Shared<F> {
    flag: F,
    pushed: AtomicUsize,
    wakes: Wakes,
}

/// An eventfd: wake-ups add up until the sleeper takes them all.
struct Wakes {
    pending: Mutex<usize>,
    any: Condvar,
}

impl Wakes {
    fn wake(&self) {
        *self.pending.lock().unwrap() += 1;
        self.any.notify_one();
    }

    fn sleep(&self) -> usize {
        let mut pending = self.pending.lock().unwrap();
        while *pending == 0 {
            pending = self.any.wait(pending).unwrap();
        }
        std::mem::take(&mut *pending)
    }

    fn poll(&self) -> usize {
        std::mem::take(&mut *self.pending.lock().unwrap())
    }
}

/// `pushers` threads push `each` items. The drainer takes all of them and sleeps in between; its first
/// `naps` sleeps end at once, as a poll does that finds a socket ready. A wake-up that is lost leaves
/// it asleep for ever, which loom reports as a deadlock.
fn run<F: Flag>(pushers: usize, each: usize, naps: usize) {
    let mut model = loom::model::Builder::new();
    // Three threads that switch at any point would take hours; every known bug needs fewer switches.
    model.preemption_bound = Some(3);
    model.check(move || {
        let wakes = Wakes { pending: Mutex::new(0), any: Condvar::new() };
        let shared = Arc::new(Shared { flag: F::new(), pushed: AtomicUsize::new(0), wakes });
        let handles: Vec<_> = (0..pushers)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    for _ in 0..each {
                        shared.pushed.fetch_add(1, Relaxed);
                        if shared.flag.raise() {
                            shared.wakes.wake();
                        }
                    }
                })
            })
            .collect();
        let (lowered, woken) = drain(&shared, pushers * each, naps);
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        let wakes = woken + shared.wakes.poll();
        assert!(wakes <= lowered, "however many push, a sleep costs at most one wake-up");
    });
}

/// Takes all items. Returns how often it lowered the flag, and how many wake-ups it took.
fn drain<F: Flag>(shared: &Shared<F>, all: usize, mut naps: usize) -> (usize, usize) {
    let (mut lowered, mut woken) = (0, 0);
    loop {
        let taken = shared.pushed.load(Relaxed);
        if taken == all {
            return (lowered, woken);
        }
        lowered += 1;
        if shared.flag.prepare_sleep(|| shared.pushed.load(Relaxed) == taken) && naps == 0 {
            woken += shared.wakes.sleep();
        } else {
            naps = naps.saturating_sub(1);
            woken += shared.wakes.poll();
        }
        shared.flag.keep_raised();
    }
}

#[test]
fn no_wake_up_is_lost() {
    run::<wake::WakeFlag>(1, 2, 0);
    run::<wake::WakeFlag>(2, 1, 0);
}

#[test]
fn nor_after_a_sleep_that_ended_by_itself() {
    run::<wake::WakeFlag>(1, 2, 1);
    run::<wake::WakeFlag>(2, 1, 1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn lowering_after_the_look_is_caught() {
    run::<LowersTooLate>(1, 1, 0);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_flag_that_orders_nothing_is_caught() {
    run::<relaxed::wake::WakeFlag>(1, 1, 0);
}
