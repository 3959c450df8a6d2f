//! What the contract of the language promises: samples, mistakes, dirt, and what becomes of it.

mod allocations;
mod batches;
mod foreign;
mod language;
mod mistakes;
mod samples;
mod samples_made;
mod types;
mod unverified;
mod values;

use std::sync::Arc;

use super::*;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::{Batch, Scheme, verify};

/// What a connection saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// A native frame: topic, key, payload; and what is written back.
    Published(String, u64, String, String),
    /// No native frame; what is written back.
    Taken(String),
    /// What is written back.
    Bad(String),
    Refused(String),
    Malformed,
    Skipped(usize),
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn hex(bytes: &[u8]) -> String {
    crate::core::units::hex(bytes).to_uppercase()
}

fn layout(text: &str) -> Arc<Layout> {
    let (layouts, _) = Layouts::parse(text, "test.toml").unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    layouts.iter().next().expect("there is one").clone()
}

/// A connection under a layout: what a gateway does with the door of this module.
struct Connection {
    layout: Arc<Layout>,
    cutter: Cutter,
    bytes: Vec<u8>,
    kept: Kept,
    max: usize,
    memory: Arc<Memory>,
    events: Vec<Event>,
    is_closed: bool,
}

impl Connection {
    fn new(layout: &Arc<Layout>) -> Connection {
        let memory = Memory::new(Memory::least(1 << 22), 1 << 22);
        Connection {
            layout: layout.clone(),
            cutter: Cutter::default(),
            bytes: Vec::new(),
            kept: Kept::default(),
            max: 1 << 20,
            memory,
            events: Vec::new(),
            is_closed: false,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        let mut spots = Vec::new();
        while !self.is_closed {
            match self.cutter.next(&self.layout, &self.bytes[at..], self.max) {
                Cut::Frame { len, shape } => {
                    spots.push(Spot { start: at as u32, end: (at + len) as u32, shape: shape as u16 });
                    at += len;
                }
                Cut::More(least) => {
                    assert!(least > self.bytes.len() - at, "more is more than there is");
                    break;
                }
                cut => {
                    self.convert(&mut spots);
                    match cut {
                        Cut::Malformed(_) => {
                            self.events.push(Event::Malformed);
                            self.is_closed = !self.layout.scans();
                        }
                        Cut::Skip(bytes) => {
                            match self.events.last_mut() {
                                Some(Event::Skipped(before)) => *before += bytes,
                                _ => self.events.push(Event::Skipped(bytes)),
                            }
                            at += bytes;
                        }
                        _ => unreachable!("it was matched"),
                    }
                }
            }
        }
        self.convert(&mut spots);
        self.bytes.drain(..at);
    }

    fn convert(&mut self, spots: &mut Vec<Spot>) {
        if spots.is_empty() {
            return;
        }
        let bytes: usize = spots.iter().map(|spot| (spot.end - spot.start) as usize).sum();
        let room = self.memory.charge(Share::Small, self.layout.room(spots.len(), bytes));
        let buffer = Buffer::charged(&self.memory, self.bytes.clone().into());
        let frames = std::mem::take(spots);
        let run = Run { layout: self.layout.clone(), buffer, frames, kept: self.kept.clone(), room };
        let scheme = Scheme::keyed(b"secret");
        let done = run.convert(&scheme, &self.memory);
        let mut native = Vec::new();
        if let Some(batch) = &done.native {
            let bytes = batch.body().slices().collect::<Vec<_>>().concat();
            let (len, frames) = (bytes.len(), batch.frames());
            let again =
                verify(Batch::new(Buffer::charged(&self.memory, bytes.into()), len, frames, None), &scheme);
            assert!(again.iter().all(|frame| frame.intact), "every digest is right");
            assert_eq!(
                again.plain_topic().is_some(),
                batch.plain_topic().is_some() || !batch.body().is_slice()
            );
            let topic = batch.plain_topic();
            assert!(topic.is_none_or(|topic| batch.iter().all(|frame| frame.topic == topic)));
            for frame in batch.iter() {
                let body = batch.body().bytes(frame.at..frame.end());
                let payload = &body[32 + frame.topic.len()..body.len() - 32];
                crate::wire::check_topic(frame.topic).expect("a device publishes where it may");
                let topic = String::from_utf8(frame.topic.to_vec()).unwrap();
                native.push((topic, frame.header.key, hex(payload)));
            }
        }
        let mut native = native.into_iter();
        for fate in &done.fates {
            let (reply, refusal) = (hex(done.reply(fate)), hex(done.refusal(fate)));
            self.events.push(match fate.outcome {
                Outcome::Published => {
                    let (topic, key, payload) = native.next().expect("one for each");
                    Event::Published(topic, key, payload, reply)
                }
                Outcome::Accepted => Event::Taken(reply),
                Outcome::BadCheck => Event::Bad(refusal),
                Outcome::Refused(why) => {
                    assert!(!why.say(&self.layout).is_empty());
                    Event::Refused(refusal)
                }
            });
        }
        assert!(native.next().is_none());
        self.kept = done.kept.clone();
        drop(done);
        assert_eq!(self.memory.used(), 0, "everything is given back");
    }
}

/// The same stream at once, byte by byte, and split in two at every byte: it is always cut the same.
fn events(layout: &Arc<Layout>, stream: &[u8]) -> Vec<Event> {
    let through = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut connection = Connection::new(layout);
        pieces.for_each(|piece| connection.receive(piece));
        connection.events
    };
    let at_once = through(&mut std::iter::once(stream));
    assert_eq!(through(&mut stream.chunks(1)), at_once, "byte by byte");
    for at in 0..=stream.len() {
        assert_eq!(through(&mut [&stream[..at], &stream[at..]].into_iter()), at_once, "split at {at}");
    }
    at_once
}

fn published(topic: &str, key: u64, payload: &str, reply: &str) -> Event {
    let payload = payload.replace(' ', "");
    Event::Published(topic.into(), key, payload, reply.replace(' ', ""))
}
