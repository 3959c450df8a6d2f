//! Products that publishers send in parts: dealt out to them in any order, with parts that are none among
//! them. Each part's payload begins with its name, so that a message tells what it is made of.

use super::rng::SimRng;
use super::script::{Rules, TOPICS};
use crate::wire::Header;

/// Names a frame: its publisher, and its id there.
pub type Name = (u64, u64);

/// The key of the first message; the lower ones are those of peers.
pub const FIRST_KEY: u64 = 100_000;

/// Bytes of a name, and of how long the payload is that it begins.
const TAG: usize = 6;

/// One part in a publisher's hand.
#[derive(Debug)]
pub struct Dealt {
    pub topic: &'static str,
    pub header: Header,
    pub len: usize,
    /// Its digest is right.
    pub intact: bool,
}

/// The payload of a part; at least its name.
pub fn payload(peer: usize, id: u64, len: usize) -> Vec<u8> {
    let len = len.max(TAG);
    let [.., id_high, id_low] = id.to_be_bytes();
    let [.., high, middle, low] = len.to_be_bytes();
    let tag = [peer as u8, id_high, id_low, high, middle, low];
    let mut payload = tag.to_vec();
    repeat(&mut payload, len - TAG, |at| ((at + TAG) as u64 * 7 + id) as u8);
    payload
}

/// Appends so many bytes, which come again after 256: the rest is copied.
pub fn repeat(out: &mut Vec<u8>, len: usize, byte: impl Fn(usize) -> u8) {
    let period: Vec<u8> = (0..len.min(256)).map(byte).collect();
    let mut left = len;
    while left > 0 {
        let n = left.min(period.len());
        out.extend_from_slice(&period[..n]);
        left -= n;
    }
}

/// The names of the parts that a message's payload consists of, and their payloads.
pub fn parts_of(mut payload: &[u8]) -> Vec<(Name, &[u8])> {
    let mut parts = Vec::new();
    while !payload.is_empty() {
        let (tag, _) = payload.split_first_chunk::<TAG>().expect("3: a message consists of parts");
        let [peer, id_high, id_low, high, middle, low] = *tag;
        let id = u64::from(u16::from_be_bytes([id_high, id_low]));
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        assert!((TAG..=payload.len()).contains(&len), "3: a message consists of parts");
        let (part, rest) = payload.split_at(len);
        parts.push(((u64::from(peer), id), part));
        payload = rest;
    }
    parts
}

/// Deals the parts of some messages to so many publishers.
pub fn deal(publishers: usize, rules: &Rules, rng: &mut SimRng<'_>) -> Vec<Vec<Dealt>> {
    let mut hands: Vec<Vec<Dealt>> = (0..publishers).map(|_| Vec::new()).collect();
    let mut key = FIRST_KEY;
    for _ in 0..rng.below(if rules.kind.is_large() { 100 } else { 7 }) {
        if !rng.one_in(6) {
            key += 1;
        }
        let topic = *rng.pick(&TOPICS);
        let alone = rng.one_in(3).then(|| rng.below(publishers));
        for part in message(topic, key, rules, rng) {
            let to = alone.unwrap_or_else(|| rng.below(publishers));
            hands[to].push(part);
        }
    }
    for hand in &mut hands {
        for at in (1..hand.len()).rev() {
            hand.swap(at, rng.below(at + 1));
        }
    }
    hands
}

/// The parts of one message; some messages lack one, or have more than they should.
fn message(topic: &'static str, key: u64, rules: &Rules, rng: &mut SimRng<'_>) -> Vec<Dealt> {
    let count = *rng.pick(&[2, 2, 2, 2, 3, 3, 3, 4, 5, 6, 9, 70]);
    let share = rules.payload_max / usize::from(count);
    let len_max = match rng.below(12) {
        0..5 => share.min(60),
        5..11 => share,
        // The message may be too large.
        _ => rules.payload_max,
    };
    let part = |index: u16, count: u16, rng: &mut SimRng<'_>| Dealt {
        topic,
        header: Header {
            key,
            part_index: index,
            part_count: count,
            want_reply: rng.below(4) < 3,
            ..Header::new(crate::wire::Kind::Data)
        },
        len: rng.below(len_max + 1),
        intact: true,
    };
    let any = |rng: &mut SimRng<'_>| rng.below(usize::from(count)) as u16;
    let mut parts: Vec<Dealt> = (0..count).map(|index| part(index, count, rng)).collect();
    if rng.one_in(8) {
        parts.extend((0..count).map(|index| part(index, count, rng)));
    }
    if rng.one_in(6) {
        parts.swap_remove(rng.below(parts.len()));
    }
    if rng.one_in(6) {
        parts.push(part(any(rng), count, rng));
    }
    if rng.one_in(8) {
        parts.push(part(any(rng), count + 1, rng));
    }
    if rng.one_in(8) {
        parts.push(part(count + any(rng), count, rng));
    }
    if rng.one_in(8) {
        parts.push(Dealt { intact: false, ..part(any(rng), count, rng) });
    }
    parts
}
