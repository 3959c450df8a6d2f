//! What is allocated: nothing to cut a frame, and for a run as much as for any other.

use super::*;
use crate::testing::heap;

/// The stream of a device behind its login, and what is known of it.
fn stream(layout: &Arc<Layout>, frames: u64, len: usize) -> (Vec<u8>, Kept) {
    let device = layout.device(7, 64, &Scheme::Sha256).expect("it has devices");
    let frame = |n| device.frame(layout, n, len, &Scheme::Sha256).expect("it has frames");
    ((0..frames).flat_map(frame).collect(), device.kept.clone())
}

fn cut(layout: &Layout, stream: &[u8], spots: &mut Vec<Spot>) {
    let (mut cutter, mut at) = (Cutter::default(), 0);
    while let Cut::Frame { len, shape } = cutter.next(layout, &stream[at..], 1 << 20) {
        spots.push(Spot { start: at as u32, end: (at + len) as u32, shape: shape as u16 });
        at += len;
    }
    assert_eq!(at, stream.len(), "{}", layout.name());
}

#[test]
fn a_frame_is_cut_without_an_allocation() {
    let lines = "length = \"u16 @ 0\"\nname = \"u8 @ 2\"\nwho = \"text 3..3 + name\"\ncheck = \"none\"\n";
    let named = layout(&format!("[layout.named]\ntopic = \"x\"\n{lines}"));
    for layout in builtin().iter().chain([&named]) {
        let (stream, _) = stream(layout, 50, 100);
        let mut spots = Vec::with_capacity(50);
        heap::begin(false);
        {
            let _scope = heap::gateway();
            cut(layout, &stream, &mut spots);
            // Byte by byte, too.
            let (mut cutter, first) = (Cutter::default(), spots[0].end as usize);
            let is_whole =
                |n: &usize| matches!(cutter.next(layout, &stream[..*n], 1 << 20), Cut::Frame { .. });
            assert_eq!((1..=first).find(is_whole), Some(first));
        }
        assert_eq!(heap::allocations(), 0, "{}", layout.name());
    }
}

#[test]
fn a_run_allocates_as_often_with_many_frames_as_with_few() {
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    for name in ["generic-sha256", "generic-crc32", "teltonika", "gt06", "jt808", "lines-nmea", "syslog"] {
        let layout = builtin().get(name).expect("it comes with the program");
        let [few, many] = [10, 100].map(|frames| {
            let (stream, kept) = stream(layout, frames, 100);
            let mut spots = Vec::new();
            cut(layout, &stream, &mut spots);
            let room = memory.charge(Share::Small, layout.room(spots.len(), stream.len()));
            let buffer = Buffer::charged(&memory, stream.into());
            let run = Run { layout: layout.clone(), buffer, frames: spots, kept, room };
            heap::begin(false);
            let _scope = heap::gateway();
            let converted = run.convert(&Scheme::Sha256, &memory);
            let allocations = heap::allocations();
            let published = converted.native.as_ref().map_or(0, |native| native.frames());
            assert_eq!(u64::from(published), frames, "{name}");
            allocations
        });
        assert!(many <= few + 3, "{name}: {few} for 10 frames, {many} for 100");
    }
}
