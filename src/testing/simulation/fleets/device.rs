//! What a device sends, what must become of it, and what it got.

use std::sync::Arc;

use super::super::devices::format::declared;
use super::super::rng::SimRng;
use super::FleetRules;
use crate::runtime::handler::Answer;
use crate::wire::layout::Layout;

/// Bytes of an answer.
pub(super) const ANSWER: usize = 5;

pub(super) fn layout(scans: bool) -> Arc<Layout> {
    declared("dev", 4, scans)
}

/// What must become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is published, and answered if it has a reply.
    Published,
    /// Its reply is given.
    Taken,
    /// Its refusal is given.
    Refused,
    /// Its connection ends with it, after its refusal if `true`.
    Ends(bool),
}

pub(super) struct Sent {
    pub number: u32,
    pub bytes: Vec<u8>,
    pub due: Due,
}

/// What a handler in Rust makes of a frame, which follows from its number.
pub(super) fn decide(number: u32) -> Answer {
    match number % 11 {
        0 => Answer::Pass([&[0xF5][..], &number.to_be_bytes()].concat()),
        1 => Answer::Reject("not this one".into()),
        2 => Answer::Busy("later".into()),
        3 => Answer::Replace { topic: "dev.other".into(), key: number.into(), payload: vec![7; 9] },
        _ => Answer::Pass(Vec::new()),
    }
}

fn frame(start: u8, number: u32, more: &[u8], is_right: bool) -> Vec<u8> {
    let mut bytes = vec![start];
    match start {
        0xA1 => bytes.extend([0, 0]),
        0xD4 => bytes.extend([0xD4, 0]),
        _ => bytes.extend(((4 + more.len() + 1) as u16).to_be_bytes()),
    }
    bytes.extend(number.to_be_bytes());
    bytes.extend(more);
    let sum = bytes.iter().fold(0, |sum, byte| sum ^ byte);
    bytes.push(sum ^ u8::from(!is_right));
    bytes
}

/// A device: what it sends, and what it got.
pub(super) struct Device {
    pub wire: usize,
    pub who: u16,
    pub script: Vec<Sent>,
    pub bytes: Vec<u8>,
    pub at: usize,
    pub received: Vec<u8>,
    pub ended: bool,
    pub broke: bool,
    pub frozen: bool,
}

impl Device {
    pub fn new(who: u16, wire: usize, rules: &FleetRules, rng: &mut SimRng<'_>) -> Device {
        let mut script = Vec::new();
        let (mut is_known, mut over) = (false, false);
        for index in 0..rng.below(30) {
            // Numbers are of one device alone.
            let number = u32::from(who) << 12 | index as u32;
            let is_right = !rng.one_in(10);
            let bad = match rules.closes_at_bad {
                true => Due::Ends(true),
                false => Due::Refused,
            };
            let (bytes, due) = match rng.below(12) {
                0..2 => {
                    let due = if is_right { Due::Taken } else { bad };
                    is_known |= is_right && !over;
                    (frame(0xA1, number, &who.to_be_bytes(), is_right), due)
                }
                2 => (frame(0xD4, number, &[], is_right), if is_right { Due::Taken } else { bad }),
                3 if rng.one_in(4) => match rules.scans {
                    // No byte of it begins a frame.
                    true => (vec![0x11; 1 + rng.below(20)], Due::Taken),
                    false => (vec![0x11; 1 + rng.below(20)], Due::Ends(false)),
                },
                kind => {
                    // Larger than a read, where payloads may be.
                    let large = if rules.large { 9_000 } else { 300 };
                    let len = *rng.pick(&[0, 5, 40, 300, 1_500, large]);
                    let more: Vec<u8> = (0..rng.below(len + 1)).map(|at| (at % 16) as u8).collect();
                    let due = match (is_right, is_known) {
                        (false, _) => bad,
                        (true, false) => Due::Refused,
                        (true, true) => Due::Published,
                    };
                    (frame(if kind < 9 { 0xB2 } else { 0xC3 }, number, &more, is_right), due)
                }
            };
            if !over {
                over = matches!(due, Due::Ends(_));
                script.push(Sent { number, bytes: bytes.clone(), due });
            }
        }
        let bytes = script.iter().flat_map(|sent| sent.bytes.iter().copied()).collect();
        let (at, received) = (0, Vec::new());
        Device { wire, who, script, bytes, at, received, ended: false, broke: false, frozen: rng.one_in(6) }
    }

    /// Sends the same once more, as a device that has not heard of what it sent.
    pub fn again(&self, wire: usize) -> Device {
        let script = self.script.iter().map(|sent| Sent { bytes: sent.bytes.clone(), ..*sent }).collect();
        let (bytes, received) = (self.bytes.clone(), Vec::new());
        Device {
            wire,
            who: self.who,
            script,
            bytes,
            at: 0,
            received,
            ended: false,
            broke: false,
            frozen: false,
        }
    }

    /// Numbers that were answered so far, with what.
    pub fn answers(&self) -> impl Iterator<Item = (u8, u32)> {
        self.received
            .chunks_exact(ANSWER)
            .map(|answer| (answer[0], u32::from_be_bytes(answer[1..].try_into().expect("four bytes"))))
    }
}
