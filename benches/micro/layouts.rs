//! Foreign frames: what the loop does with a read, and what a worker does with the run.

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use framegate::core::memory::{Buffer, Memory, Share};
use framegate::wire::layout::{Cut, Cutter, Kept, Layout, Layouts, Run, Spot, builtin};
use framegate::wire::{Batch, Rules, Scheme, cut, verify};

use crate::{READ, frame};

/// The layouts that are measured, each with frames of about the size that it is met with.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// 32 bits of length and SHA-256.
    Generic256,
    /// 16 bits of length and CRC-16.
    Crc16of100,
    /// Byte stuffing, a BCD identity in topic and key, and a reply.
    Jt808,
}

impl Of {
    fn layout(self) -> Arc<Layout> {
        let text = "[layout.crc]\ntopic = \"crc\"\nlength = \"u16 @ 0\"\ncounts = \"2..-2\"\n\
                    check = { is = \"crc-16/arc\", over = \"0..-2\", at = \"u16 @ -2\" }";
        let crc = || Layouts::parse(text, "bench").expect("it is right").0.get("crc").cloned();
        let found = match self {
            Of::Generic256 => builtin().get("generic-sha256").cloned(),
            Of::Crc16of100 => crc(),
            Of::Jt808 => builtin().get("jt808").cloned(),
        };
        found.expect("it is there")
    }

    fn frame(self) -> Vec<u8> {
        let body = |len: usize| (0..len).map(|at| (at * 31) as u8);
        match self {
            Of::Generic256 => {
                let mut frame = 256u32.to_be_bytes().to_vec();
                frame.extend(body(256));
                let digest = Scheme::Sha256.digest(&frame);
                frame.extend_from_slice(&digest);
                frame
            }
            Of::Crc16of100 => {
                let mut frame = 96u16.to_be_bytes().to_vec();
                frame.extend(body(96));
                let crc = frame.iter().fold(0u16, |crc, byte| {
                    (0..8).fold(crc ^ u16::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xa001))
                });
                frame.extend_from_slice(&crc.to_be_bytes());
                frame
            }
            Of::Jt808 => {
                let head = [0x7e, 0, 2, 0, 0, 4, 0x30, 0x48, 0x32, 0x54, 0x65, 0, 0xb7];
                let mut frame = [&head[..], &[7; 48]].concat();
                frame.push(frame[1..].iter().fold(0, |sum, byte| sum ^ byte));
                frame.push(0x7e);
                frame
            }
        }
    }

    /// As many frames as one read brings.
    fn read(self) -> (Vec<u8>, usize) {
        let one = self.frame();
        let count = READ / one.len();
        (one.repeat(count), count)
    }
}

const ALL: [Of; 3] = [Of::Generic256, Of::Crc16of100, Of::Jt808];

fn spots(layout: &Layout, read: &[u8], frames: usize) -> Vec<Spot> {
    let (mut cutter, mut at, mut spots) = (Cutter::default(), 0, Vec::with_capacity(frames));
    while let Cut::Frame { len, shape } = cutter.next(layout, &read[at..], 16 << 20) {
        spots.push(Spot { start: at as u32, end: (at + len) as u32, shape: shape as u16 });
        at += len;
    }
    assert_eq!(spots.len(), frames);
    spots
}

#[divan::bench(args = ALL, sample_count = 200, sample_size = 1)]
fn cut_layout(bencher: Bencher, of: Of) {
    let (layout, (read, frames)) = (of.layout(), of.read());
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(read.len()));
    bencher.bench_local(|| spots(&layout, black_box(&read), frames));
}

/// Verified, and made into a native batch.
#[divan::bench(args = ALL, sample_count = 200, sample_size = 1)]
fn convert_layout(bencher: Bencher, of: Of) {
    let (layout, (read, frames)) = (of.layout(), of.read());
    let spots = spots(&layout, &read, frames);
    let memory = Memory::new(Memory::least(16 << 20), 16 << 20);
    let run = || {
        let room = memory.charge(Share::Small, layout.room(frames, read.len()));
        let buffer = Buffer::charged(&memory, read.clone().into());
        Run { layout: layout.clone(), buffer, frames: spots.clone(), kept: Kept::default(), room }
    };
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(read.len()));
    bencher.with_inputs(run).bench_local_values(|run| {
        let done = run.convert(&Scheme::Sha256, &memory);
        assert_eq!(done.native.as_ref().map(|native| native.frames() as usize), Some(frames));
        done
    });
}

/// What the same bytes cost as native frames: cut and verified.
#[divan::bench(args = [256, 100], sample_count = 200, sample_size = 1)]
fn native_payload(bencher: Bencher, payload: usize) {
    let one = frame(payload);
    let frames = READ / one.len();
    let read = one.repeat(frames);
    let memory = Memory::new(Memory::least(16 << 20), 16 << 20);
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(read.len()));
    bencher.with_inputs(|| Buffer::charged(&memory, read.clone().into())).bench_local_values(|buffer| {
        let cut = cut(&buffer, &Rules { payload_max: 16 << 20, replies: false });
        verify(Batch::new(buffer, cut.whole, cut.frames, None), &Scheme::Sha256)
    });
}
