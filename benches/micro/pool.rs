//! A job to a worker and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::sync::Parker;
use divan::Bencher;
use framegate::core::memory::{Buffer, Memory};
use framegate::runtime::pool::{Done, Job, Pool, Threads, Ticket, Work};
use framegate::wire::{Batch, Scheme};

use crate::frame;

/// 1 ms: then everyone who waits has gone to sleep.
const ASLEEP: Duration = Duration::from_millis(1);

/// 32 jobs submitted and not collected: then neither side ever waits.
const IN_FLIGHT: u64 = 32;

/// One worker, and a reactor that sleeps until it is woken.
struct Two {
    memory: Arc<Memory>,
    frame: Vec<u8>,
    pool: Threads,
    parker: Parker,
}

impl Two {
    fn new() -> Two {
        let frame = frame(256);
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let pool = Threads::start(1, &Scheme::Sha256, move || unparker.unpark()).expect("a thread");
        Two { memory: Memory::new(Memory::least(1 << 20), 1 << 20), frame, pool, parker }
    }

    /// A batch of one 256 B frame.
    fn job(&self) -> Job {
        let buffer = Buffer::charged(&self.memory, self.frame.clone().into());
        let batch = Batch::new(buffer, self.frame.len(), 1, None);
        let ticket = Ticket { conn: 0, number: 0, since: Instant::now() };
        Job { ticket, work: Work::Batch(batch) }
    }

    fn wait(&mut self) -> Done {
        loop {
            if let Some(done) = self.pool.collect() {
                return done;
            }
            if self.pool.prepare_sleep() {
                self.parker.park();
            }
            self.pool.end_sleep();
        }
    }
}

/// Both sides asleep before: the latency of a hand-over, with hashing one frame of 256 B.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn wake_up_parked(bencher: Bencher) {
    let two = std::cell::RefCell::new(Two::new());
    let inputs = bencher.with_inputs(|| {
        std::thread::sleep(ASLEEP);
        two.borrow().job()
    });
    inputs.bench_local_values(|job| {
        let mut two = two.borrow_mut();
        two.pool.submit(job);
        two.wait()
    });
}

/// Both sides at work: what a job costs when there always is another, likewise.
#[divan::bench(sample_count = 300, sample_size = 1000)]
fn wake_up_busy(bencher: Bencher) {
    let two = std::cell::RefCell::new(Two::new());
    for _ in 0..IN_FLIGHT {
        let job = two.borrow().job();
        two.borrow_mut().pool.submit(job);
    }
    bencher.with_inputs(|| two.borrow().job()).bench_local_values(|job| {
        let mut two = two.borrow_mut();
        let done = two.wait();
        two.pool.submit(job);
        done
    });
}
