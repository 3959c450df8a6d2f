//! The frames of a store, as `tail` gives them.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use framegate::wire::{Decoder, Frame, Kind, Rules, Scheme};

/// Hands over every stored frame, each of which is intact DATA.
pub fn each_stored(store: &Path, mut each: impl FnMut(&Frame<'_>)) {
    let mut tail = Command::new(env!("CARGO_BIN_EXE_framegate"));
    tail.args(["tail", "--format", "raw", "--store"]).arg(store);
    let Output { stdout, stderr, status } = tail.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: false });
    let mut rest = &stdout[..];
    loop {
        while let Some(frame) = decoder.next_frame().expect("frames") {
            assert!(frame.is_intact(&Scheme::Sha256));
            assert_eq!(frame.header.kind, Kind::Data);
            each(&frame);
        }
        if rest.is_empty() {
            return;
        }
        let n = rest.read(decoder.spare()).expect("it is in memory");
        decoder.advance(n);
    }
}
