//! A stream as the code sees it, called as a gateway calls it.

use std::sync::Arc;

use super::{Became, Event};
use crate::core::limits::BUFFER_OVERHEAD;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::layout::{Alikes, Cut, Cutter, Kept, Layout, Outcome, Run, Spot, explain};
use crate::wire::{Batch, Fault, Scheme, verify};

/// Frames of a stream that are explained: of more nothing new is learned, and each takes as long as all else of it.
const EXPLAINED: usize = 3;

/// Whether frames are explained, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Closely,
    Quickly,
}

struct Received<'a> {
    layout: &'a Arc<Layout>,
    /// Bytes of a frame.
    max: usize,
    memory: Arc<Memory>,
    cutter: Cutter,
    kept: Kept,
    bytes: Vec<u8>,
    events: Vec<Event>,
    /// So many frames more are explained.
    explained: usize,
}

/// What becomes of a stream that comes in pieces, and then no more comes.
pub fn received<'a>(
    layout: &Arc<Layout>,
    pieces: impl Iterator<Item = &'a [u8]>,
    max: usize,
    look: Look,
) -> Vec<Event> {
    let mut received = Received {
        layout,
        max,
        memory: Memory::new(Memory::least(1 << 20), 1 << 20),
        cutter: Cutter::default(),
        kept: Kept::default(),
        bytes: Vec::new(),
        events: Vec::new(),
        explained: if look == Look::Closely { EXPLAINED } else { 0 },
    };
    let mut is_open = true;
    for piece in pieces {
        received.bytes.extend_from_slice(piece);
        is_open = received.cut();
        if !is_open {
            break;
        }
    }
    if is_open && received.cutter.end(layout) {
        received.cut();
        assert!(received.bytes.is_empty(), "nothing is waited for");
    }
    assert_eq!(received.memory.used(), 0);
    received.events
}

impl Received<'_> {
    /// Cuts and converts what is there. Whether the connection stays open.
    fn cut(&mut self) -> bool {
        let (mut at, mut spots) = (0, Vec::new());
        let stays = loop {
            match self.cutter.next(self.layout, &self.bytes[at..], self.max) {
                Cut::Frame { len, shape } => {
                    spots.push(Spot { start: at as u32, end: (at + len) as u32, shape: shape as u16 });
                    at += len;
                }
                Cut::More(least) => {
                    let rest = &self.bytes[at..];
                    assert!(least > rest.len() && least <= self.max.max(rest.len() + 1) + 20);
                    break true;
                }
                dirt => {
                    self.convert(&mut spots);
                    match (dirt, self.events.last_mut()) {
                        (Cut::Skip(skipped), Some(Event::Skipped(before))) => *before += skipped,
                        (Cut::Skip(skipped), _) => self.events.push(Event::Skipped(skipped)),
                        (Cut::Malformed(why), _) => {
                            assert_eq!(why.to_string(), Fault::Layout(why).to_string());
                            assert!(why.shape().is_none_or(|shape| shape < self.layout.shapes()));
                            self.events.push(Event::Malformed);
                        }
                        _ => unreachable!("these were matched"),
                    }
                    if let Cut::Skip(skipped) = dirt {
                        at += skipped;
                    } else {
                        assert_eq!(self.cutter.is_scanning(), self.layout.scans());
                        if !self.layout.scans() {
                            break false;
                        }
                    }
                }
            }
        };
        self.convert(&mut spots);
        self.bytes.drain(..at);
        stays
    }

    /// As one run.
    fn convert(&mut self, spots: &mut Vec<Spot>) {
        if spots.is_empty() {
            return;
        }
        let spots = std::mem::take(spots);
        let (layout, memory, bytes) = (self.layout, &self.memory, &self.bytes);
        let len: usize = spots.iter().map(|spot| (spot.end - spot.start) as usize).sum();
        let room = memory.charge(Share::Small, layout.room(spots.len(), len));
        let reserved = room.bytes();
        let buffer = Buffer::charged(memory, bytes[..].into());
        let run =
            Run { layout: layout.clone(), buffer, frames: spots.clone(), kept: self.kept.clone(), room };
        let scheme = Scheme::Sha256;
        let done = run.convert(&scheme, memory);
        // A large frame is not copied: its native one is made around it.
        let is_large = done.native.as_ref().is_some_and(|native| !native.body().is_slice());
        let beside = if is_large { bytes.len() + BUFFER_OVERHEAD } else { 0 };
        assert!(memory.used() <= reserved + beside, "what was set aside is enough");
        assert!(done.charged() <= reserved);
        let mut native = Vec::new();
        if let Some(batch) = &done.native {
            let bytes = batch.body().slices().collect::<Vec<_>>().concat();
            let len = bytes.len();
            let batch = Batch::new(Buffer::charged(memory, bytes.clone().into()), len, batch.frames(), None);
            for frame in verify(batch, &scheme).iter() {
                assert!(frame.intact, "every digest is right");
                let payload = &bytes[frame.at + 32 + frame.topic.len()..frame.end() - 32];
                native.push((frame.topic.to_vec(), frame.header.key, payload.to_vec()));
            }
        }
        let mut native = native.into_iter();
        for (spot, fate) in spots.iter().zip(&done.fates) {
            let frame = &bytes[spot.start as usize..spot.end as usize];
            let (reply, refusal) = (done.reply(fate).to_vec(), done.refusal(fate).to_vec());
            assert_eq!(fate.is_answered(), !reply.is_empty() || !refusal.is_empty());
            assert!(layout.answers() || !fate.is_answered());
            let became = match fate.outcome {
                Outcome::Published => {
                    let (topic, key, payload) = native.next().expect("one for each");
                    assert!(payload == frame && crate::wire::check_topic(&topic).is_ok());
                    Became::Published { topic, key, reply }
                }
                Outcome::Accepted => Became::Taken { reply },
                Outcome::BadCheck => Became::BadCheck,
                Outcome::Refused(why) => {
                    assert!(!why.say(layout).is_empty());
                    Became::Refused
                }
            };
            if self.explained > 0 {
                self.explained -= 1;
                check_explained(layout, spot, frame, &self.kept, became != Became::BadCheck);
            }
            self.events.push(Event::Frame { shape: spot.shape.into(), len: frame.len(), became, refusal });
        }
        assert!(native.next().is_none());
        assert!(done.kept.size() <= Kept::size_max(layout));
        assert_eq!(done.kept.is_empty(), done.kept.size() == 0);
        self.kept = done.kept.clone();
    }
}

/// What a person is told of a frame says whether it is right.
fn check_explained(layout: &Arc<Layout>, spot: &Spot, frame: &[u8], kept: &Kept, is_right: bool) {
    let (shape, scheme) = (usize::from(spot.shape), Scheme::Sha256);
    let shown = explain(layout, shape, frame, 0, kept, &scheme);
    assert_eq!(shown.is_right(), is_right);
    if !is_right && frame.len() < 24 {
        let found = Alikes::default().look(layout, shape, frame, 0, &scheme);
        assert!(found.is_none_or(|hint| hint.lines.starts_with("check = { is = ")));
        let length = layout.length_alike(shape, frame, &scheme);
        assert!(length.is_none_or(|hint| hint.lines.starts_with("length = ")));
    }
    assert!(shown.to_string().lines().count() > 1);
}
