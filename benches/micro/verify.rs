//! Digests: what the gateway does with a batch, against `sha2` a frame at a time.

use std::array;
use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use framegate::core::memory::{Buffer, Memory, Share};
use framegate::wire::{Batch, Piecewise, Scheme, Width, verify, verify_with};

use crate::{frame, run_of};

/// Of [`Width::ALL`]: lanes16, lanes8, pairs and one.
const WIDTHS: [usize; 4] = [0, 1, 2, 3];

const PAYLOADS: [usize; 6] = [64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20];

/// A sample is one batch, so that it is hashed while it is in the cache, as after a read.
#[divan::bench(args = PAYLOADS, sample_count = 200, sample_size = 1)]
fn batch_payload(bencher: Bencher, payload: usize) {
    batches(bencher, payload, &Scheme::Sha256);
}

/// The same on a listener with a secret.
#[divan::bench(args = PAYLOADS, sample_count = 200, sample_size = 1)]
fn keyed_batch_payload(bencher: Bencher, payload: usize) {
    batches(bencher, payload, &Scheme::keyed(b"secret"));
}

/// By each width that the processor has, whatever is chosen here.
#[divan::bench(args = PAYLOADS, consts = WIDTHS, sample_count = 200, sample_size = 1)]
fn width_payload<const WIDTH: usize>(bencher: Bencher, payload: usize) {
    let (run, frames) = run_of(payload);
    let memory = Memory::new(Memory::least(run.len()), run.len());
    let batch = || Batch::new(Buffer::charged(&memory, run.clone().into()), run.len(), frames as u32, None);
    let width = Width::ALL[WIDTH];
    if verify_with(width, batch(), &Scheme::Sha256).is_err() {
        return eprintln!("this processor does not have {}", width.name());
    }
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(run.len()));
    bencher.with_inputs(batch).bench_local_values(|batch| verify_with(width, batch, &Scheme::Sha256));
}

/// As many large frames at once as the widest has lanes, 64 KiB of each, by each width.
#[divan::bench(consts = WIDTHS, sample_count = 100, sample_size = 1)]
fn width_pieces<const WIDTH: usize>(bencher: Bencher) {
    const EACH: usize = 64 << 10;
    let (one, width) = (frame(EACH), Width::ALL[WIDTH]);
    let memory = Memory::new(Memory::least(64 << 20), 64 << 20);
    let large = || {
        let charge = memory.charge(Share::Large, one.len());
        let mut large = Piecewise::new(one.len(), &Scheme::Sha256, charge, None);
        large.push(Buffer::new(one.clone().into(), memory.charge(Share::Large, 0)));
        large
    };
    if !Piecewise::hash_together_with(width, &mut [&mut large()], EACH) {
        return eprintln!("this processor does not have {}", width.name());
    }
    let bencher = bencher.counter(BytesCount::new(16 * EACH));
    bencher
        .with_inputs(|| -> [Piecewise; 16] { array::from_fn(|_| large()) })
        .bench_local_refs(|larges| Piecewise::hash_together_with(width, &mut larges.each_mut()[..], EACH));
}

#[divan::bench(args = PAYLOADS, sample_count = 200, sample_size = 1)]
fn sha2_alone_payload(bencher: Bencher, payload: usize) {
    let (run, frames) = run_of(payload);
    let frame_len = run.len() / frames;
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(run.len()));
    bencher.bench_local(|| {
        black_box(&run).chunks_exact(frame_len).filter(|frame| Scheme::Sha256.is_intact(frame)).count()
    });
}

/// A batch of one frame, as a quiet connection's are: there is no other to hash beside it.
#[divan::bench(args = PAYLOADS, sample_count = 200)]
fn single_payload(bencher: Bencher, payload: usize) {
    let one = frame(payload);
    let bencher = bencher.counter(ItemsCount::new(1usize)).counter(BytesCount::new(one.len()));
    bencher.bench_local(|| Scheme::Sha256.is_intact(black_box(&one)));
}

fn batches(bencher: Bencher, payload: usize, scheme: &Scheme) {
    let (run, frames) = run_of(payload);
    let memory = Memory::new(Memory::least(run.len()), run.len());
    let batch = |memory: &Arc<Memory>| {
        let buffer = Buffer::charged(memory, run.clone().into());
        Batch::new(buffer, run.len(), frames as u32, None)
    };
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(run.len()));
    bencher.with_inputs(|| batch(&memory)).bench_local_values(|batch| verify(batch, scheme));
}
