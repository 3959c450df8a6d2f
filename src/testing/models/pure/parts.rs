//! Open messages against a map that is looked through.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::choices::Choices;
use crate::core::limits::{MESSAGE_COST, MESSAGE_RESERVE, PART_COST};
use crate::core::reassembly::{Bounds, Part, Parts, Refusal, Removed, Room};

const TOPICS: [&[u8]; 3] = [b"", b"a", b"a.b"];

/// More choices find nothing new, and slow the search.
const CHOICES_MAX: usize = 600;

const LEASE: Duration = Duration::from_secs(10);

/// A message as plainly as can be.
struct Message {
    count: u16,
    since: Instant,
    /// When it was renewed last, in steps: of those with the same instant the first ends first.
    step: usize,
    cost: usize,
    payload: usize,
    /// Each part's index and number, in the order in which they came.
    parts: Vec<(u16, usize)>,
}

type Map = BTreeMap<(&'static [u8], u64), Message>;

/// What is complete, refused, waits and is dismissed is what a map says that is looked through for it.
pub fn check_parts(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let mut bounds = Bounds {
        messages: 1 + choices.below(8),
        bytes: 1_000 + choices.below(4_000),
        parts: [3, 70, 200][choices.below(3)],
        payload: 50 + choices.below(500),
    };
    let mut parts = Parts::new(LEASE, bounds);
    let mut model = Map::new();
    let mut now = Instant::now();
    let (mut number, mut beside) = (0, 0);
    while !choices.is_empty() {
        number += 1;
        match choices.below(9) {
            0..6 => {
                let count = [2, 3, 4, 70, choices.byte().into()][choices.below(5)];
                let payload = choices.below(120);
                let part = Part {
                    topic: TOPICS[choices.below(3)],
                    key: choices.below(4) as u64,
                    index: if choices.below(8) == 0 {
                        choices.byte().into()
                    } else {
                        choices.below(4) as u16
                    },
                    count,
                    payload,
                    held: 2 * payload + if choices.below(16) == 1 { 1_000 } else { 0 },
                };
                let expected = judge(&model, &part, &bounds, beside);
                assert_eq!(parts.judge(&part, now), expected);
                match expected {
                    Ok(Room::Yes) => {
                        let complete = parts.add(&part, number, now);
                        assert_eq!(complete.map(seen), add(&mut model, &part, number, now));
                    }
                    Ok(Room::No) => {
                        if let Some(message) = model.get_mut(&(part.topic, part.key)) {
                            (message.since, message.step) = (now, number);
                        }
                    }
                    Err(refusal) => assert!(!refusal.to_string().is_empty()),
                }
            }
            6 => now += Duration::from_secs(choices.below(12) as u64),
            7 => {
                beside = choices.below(2_000);
                parts.set_beside(beside);
                bounds.bytes += choices.below(100);
                parts.set_bytes(bounds.bytes);
                assert_eq!(parts.bounds().bytes, bounds.bytes);
            }
            _ => {
                let dismissed = parts.dismiss_oldest().map(seen);
                assert_eq!(dismissed, dismiss(&mut model, None));
            }
        }
        while let Some(ended) = dismiss(&mut model, Some(now)) {
            assert_eq!(parts.expire(now).map(seen), Some(ended));
        }
        assert_eq!(parts.expire(now), None);
        assert_eq!((parts.len(), parts.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(parts.cost(), model.values().map(|message| message.cost).sum::<usize>());
        assert_eq!(parts.oldest(), model.values().map(|message| message.since).min());
        assert!(parts.len() <= bounds.messages && parts.cost() <= bounds.bytes);
    }
    while let Some(ended) = dismiss(&mut model, None) {
        assert_eq!(parts.dismiss_oldest().map(seen), Some(ended));
    }
    assert!(parts.is_empty() && parts.cost() == 0 && parts.next_due().is_none());
}

type Seen = (Vec<u8>, u64, usize, Vec<usize>);

fn seen(parted: Removed<usize>) -> Seen {
    (parted.topic.to_vec(), parted.key, parted.cost, parted.parts)
}

fn judge(model: &Map, part: &Part<'static>, bounds: &Bounds, beside: usize) -> Result<Room, Refusal> {
    let &Part { index, count, payload, .. } = part;
    let message = model.get(&(part.topic, part.key));
    if count < 2 || index >= count {
        return Err(Refusal::Impossible { index, count });
    }
    if count > bounds.parts {
        return Err(Refusal::TooMany { count, max: bounds.parts });
    }
    if let Some(message) = message.filter(|message| message.count != count) {
        return Err(Refusal::OtherCount { count, held: message.count });
    }
    if message.is_some_and(|message| message.parts.iter().any(|(held, _)| *held == index)) {
        return Err(Refusal::Again { index });
    }
    if message.map_or(0, |message| message.payload) + payload > bounds.payload {
        return Err(Refusal::TooLarge { max: bounds.payload });
    }
    if message.map_or(0, |message| message.cost) + cost_of(part, message.is_none()) > bounds.bytes {
        return Err(Refusal::TooCostly { max: bounds.bytes });
    }
    let cost = beside + model.values().map(|message| message.cost).sum::<usize>();
    let is_new = message.is_none();
    let bytes = if is_new { bounds.bytes - bounds.bytes / MESSAGE_RESERVE } else { bounds.bytes };
    let fits = model.len() + usize::from(is_new) <= bounds.messages && cost + cost_of(part, is_new) <= bytes;
    Ok(if fits || model.is_empty() { Room::Yes } else { Room::No })
}

fn add(model: &mut Map, part: &Part<'static>, number: usize, now: Instant) -> Option<Seen> {
    let is_new = !model.contains_key(&(part.topic, part.key));
    let message = model.entry((part.topic, part.key)).or_insert_with(|| Message {
        count: part.count,
        since: now,
        step: number,
        cost: 0,
        payload: 0,
        parts: Vec::new(),
    });
    (message.since, message.step) = (now, number);
    message.cost += cost_of(part, is_new);
    message.payload += part.payload;
    message.parts.push((part.index, number));
    if message.parts.len() < usize::from(message.count) {
        return None;
    }
    let mut complete = model.remove(&(part.topic, part.key)).expect("it was just there");
    complete.parts.sort_unstable();
    Some(seen_of((part.topic, part.key), complete))
}

/// The message whose lease ends first; only if it has ended, where that is asked.
fn dismiss(model: &mut Map, ended: Option<Instant>) -> Option<Seen> {
    let (&at, first) = model.iter().min_by_key(|(_, message)| (message.since, message.step))?;
    if ended.is_some_and(|now| first.since + LEASE > now) {
        return None;
    }
    let message = model.remove(&at).expect("it was just found");
    Some(seen_of(at, message))
}

fn seen_of((topic, key): (&[u8], u64), message: Message) -> Seen {
    let numbers = message.parts.iter().map(|(_, number)| *number).collect();
    (topic.to_vec(), key, message.cost, numbers)
}

fn cost_of(part: &Part<'_>, is_new: bool) -> usize {
    let bitmap = if part.count > 64 { usize::from(part.count).div_ceil(64) * 8 } else { 0 };
    let message = if is_new { MESSAGE_COST + part.topic.len() + bitmap } else { 0 };
    message + PART_COST + part.held
}
