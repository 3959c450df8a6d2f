//! The peers of a simulated gateway.

use std::cell::RefCell;
use std::rc::Rc;

use super::network::World;
use super::script::{Fate, Script};
use crate::wire::{Decoder, Kind, Rules};

/// One end of a wire, following its script.
pub struct Peer {
    pub wire: usize,
    pub script: Script,
    /// What it sends in the place of its script: as if the gateway had mixed it up.
    pub lie: Option<Vec<u8>>,
    /// It subscribed before anyone published, and stays until the end.
    pub is_subscriber: bool,
    /// It does not read until faults stop.
    pub frozen: bool,
    /// It broke the connection off.
    pub broke: bool,
    pub received: Vec<u8>,
    sent: usize,
    ended: bool,
    world: Rc<RefCell<World>>,
}

impl Peer {
    pub fn new(
        wire: usize,
        script: Script,
        is_subscriber: bool,
        frozen: bool,
        world: Rc<RefCell<World>>,
    ) -> Peer {
        let (sent, received, lie) = (0, Vec::new(), None);
        Peer { wire, script, lie, is_subscriber, frozen, broke: false, received, sent, ended: false, world }
    }

    /// Sends at most `max` bytes more, and ends when all is sent.
    pub fn send(&mut self, max: usize) -> bool {
        let world = &mut *self.world.borrow_mut();
        let wire = &mut world.wires[self.wire];
        if wire.gate_closed || wire.reset || self.ended {
            return false;
        }
        let end = self.script.bytes.len().min(self.sent + max);
        if self.sent < end {
            wire.arrive(&self.lie.as_ref().unwrap_or(&self.script.bytes)[self.sent..end], world.now);
            self.sent = end;
            return true;
        }
        // A subscriber stays until the gateway ends.
        self.ended = !self.is_subscriber || wire.gate_ended;
        if self.ended {
            wire.end();
        }
        self.ended
    }

    /// Reads at most `max` bytes.
    pub fn read(&mut self, max: usize) -> bool {
        let bytes = self.world.borrow_mut().wires[self.wire].take(max);
        self.received.extend_from_slice(&bytes);
        !bytes.is_empty()
    }

    /// Without faults: sends and reads all there is.
    pub fn go_on(&mut self) -> bool {
        let sent = self.send(10_000);
        self.read(usize::MAX) || sent
    }

    pub fn break_off(&mut self, keeps_unread: bool) {
        if !self.is_subscriber {
            self.broke = true;
            self.world.borrow_mut().wires[self.wire].break_off(keeps_unread);
        }
    }

    /// Whether the gateway has closed the connection, and nothing is left to read.
    pub fn is_closed(&self) -> bool {
        let world = self.world.borrow();
        let wire = &world.wires[self.wire];
        wire.gate_closed && wire.to_peer.is_empty()
    }

    /// Whether every frame that asks has its reply, or the connection ended.
    pub fn has_all_replies(&self) -> bool {
        let asked = self.script.sent.iter().filter(|sent| sent.answered && sent.fate != Fate::Nothing);
        let mut decoder = self.decoder();
        let mut replies = 0;
        while let Ok(Some(frame)) = decoder.next_frame() {
            replies += usize::from(frame.header.kind == Kind::Reply);
        }
        replies >= asked.count() || self.is_closed()
    }

    /// A decoder that holds everything that it received.
    pub fn decoder(&self) -> Decoder {
        decoder(&self.received)
    }

    /// One that holds what is on its way as well.
    pub fn decoder_of_all(&self) -> Decoder {
        let world = self.world.borrow();
        let (first, second) = world.wires[self.wire].to_peer.as_slices();
        decoder(&[&self.received, first, second].concat())
    }
}

fn decoder(bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: true });
    let mut rest = bytes;
    while !rest.is_empty() {
        let spare = decoder.spare();
        let n = spare.len().min(rest.len());
        spare[..n].copy_from_slice(&rest[..n]);
        decoder.advance(n);
        rest = &rest[n..];
    }
    decoder
}
