//! What waits: batches for those before them, and for a peer's socket.

use std::io::IoSlice;
use std::rc::Rc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use framegate::core::limits::WRITE_SLICES;
use framegate::core::reorder::Reorder;
use framegate::runtime::net::{Outbox, Segments};

/// 64 batches in flight: as many as a busy connection has.
const BATCHES: u64 = 64;

/// Begun, completed and released, in order and in reverse: an item is a batch, whatever it holds.
#[divan::bench(args = ["in order", "last first"])]
fn reorder_complete(bencher: Bencher, order: &str) {
    let mut window = Reorder::default();
    let mut released = 0;
    bencher.counter(ItemsCount::new(BATCHES)).bench_local(|| {
        let first = window.begin();
        let last = (1..BATCHES).map(|_| window.begin()).last().expect("more than one");
        if order == "in order" {
            (first..=last).for_each(|seq| window.insert(seq, seq));
        } else {
            (first..=last).rev().for_each(|seq| window.insert(seq, seq));
        }
        while window.release().is_some() {
            released += 1;
        }
    });
    assert!(released > 0 && window.is_empty());
}

/// A run of frames in an outbox.
struct Run(Box<[u8]>);

impl Segments for Run {
    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        [&self.0[..]].into_iter()
    }

    fn may_drop(&self) -> bool {
        true
    }
}

/// 64 runs pushed, gathered for one write and taken out: an item is a run, of one frame or of a whole read.
#[divan::bench(args = [320, 256 << 10])]
fn outbox_run(bencher: Bencher, bytes: usize) {
    let run = Rc::new(Run(vec![0; bytes].into()));
    let mut outbox = Outbox::default();
    let bencher =
        bencher.counter(ItemsCount::new(WRITE_SLICES)).counter(BytesCount::new(WRITE_SLICES * bytes));
    bencher.bench_local(|| {
        (0..WRITE_SLICES).for_each(|_| outbox.push(Rc::clone(&run)));
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let gathered = outbox.gather(false, usize::MAX, &mut slices);
        outbox.advance(WRITE_SLICES * bytes, drop);
        gathered
    });
    assert!(outbox.is_empty());
}
