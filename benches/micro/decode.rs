//! Cutting a read into frames: it looks at headers alone, so a byte more of payload costs nothing.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use framegate::wire::{Rules, cut};

use crate::run_of;

#[divan::bench(args = [64, 256, 4 << 10, 64 << 10])]
fn cut_payload(bencher: Bencher, payload: usize) {
    let (run, frames) = run_of(payload);
    let rules = Rules { payload_max: 16 << 20, replies: false };
    assert_eq!(cut(&run, &rules).frames as usize, frames);
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(run.len()));
    bencher.bench_local(|| cut(black_box(&run), &rules).whole);
}
