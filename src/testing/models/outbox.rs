//! The outbox against a list of what waits, and a peer that takes what it likes.

use std::io::IoSlice;
use std::rc::Rc;

use super::Choices;
use crate::core::limits::WRITE_SLICES;
use crate::runtime::net::{Outbox, Segments};

/// Items in an outbox at once; more finds nothing new. Above the number at which it gives room back.
const ITEMS: usize = 150;

/// More choices find nothing new, and slow the search: with these it is filled.
const CHOICES_MAX: usize = 1000;

#[derive(Debug)]
struct Item {
    slices: Vec<Vec<u8>>,
    may_drop: bool,
}

impl Segments for Item {
    fn bytes(&self) -> usize {
        self.slices.iter().map(Vec::len).sum()
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.slices.iter().map(Vec::as_slice)
    }

    fn may_drop(&self) -> bool {
        self.may_drop
    }
}

impl Item {
    fn content(&self) -> Vec<u8> {
        self.slices.concat()
    }
}

/// What waits and what was taken, in the plainest form.
#[derive(Default)]
struct Model {
    items: Vec<Rc<Item>>,
    /// Bytes of the first item that were written.
    written: usize,
    /// All bytes that the peer took.
    wire: Vec<u8>,
    /// The bytes of the items that were written to their end, and of what was cut off by an end.
    finished: Vec<u8>,
}

impl Model {
    /// Up to `max` of the bytes that wait.
    fn waiting(&self, max: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for slice in self.items.iter().flat_map(|item| &item.slices) {
            if all.len() >= self.written + max {
                break;
            }
            all.extend_from_slice(slice);
        }
        all.drain(..self.written);
        all
    }

    fn waiting_len(&self) -> usize {
        self.items.iter().map(|item| item.bytes()).sum::<usize>() - self.written
    }

    fn pop_written(&mut self) -> Option<Rc<Item>> {
        let len = self.items.first()?.bytes();
        if self.written < len {
            return None;
        }
        self.written -= len;
        let item = self.items.remove(0);
        self.finished.extend(item.content());
        Some(item)
    }

    /// The oldest that may go, as often as too much waits; never the one that is being written.
    fn drop_oldest(&mut self, keep: usize) -> Vec<Rc<Item>> {
        let mut dropped = Vec::new();
        while self.waiting_len() > keep {
            let first = usize::from(self.written > 0);
            let Some(at) = (first..self.items.len()).find(|&at| self.items[at].may_drop) else { break };
            dropped.push(self.items.remove(at));
        }
        dropped
    }
}

/// A peer gets whole items in their order, however little it takes at a time and whatever is dropped.
pub fn check_outbox(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let mut outbox = Outbox::default();
    let mut model = Model::default();
    let mut named = 0;
    while !choices.is_empty() {
        match choices.below(8) {
            0..=2 if model.items.len() < ITEMS => {
                let item = match model.items.last() {
                    // One item may stand in many outboxes, and here it stands in one twice.
                    Some(item) if choices.below(8) == 7 => item.clone(),
                    _ => item(&mut choices, &mut named),
                };
                outbox.push(item.clone());
                model.items.push(item);
            }
            3 if outbox.is_at_start() && model.items.len() < ITEMS => {
                let item = item(&mut choices, &mut named);
                outbox.push_front(item.clone());
                model.items.insert(0, item);
            }
            0..=4 => write(&mut choices, &mut outbox, &mut model),
            5 => {
                let keep = choices.below(model.waiting_len() + 2);
                let mut dropped = Vec::new();
                outbox.drop_oldest(keep, |item| dropped.push(item));
                assert_same(&dropped, &model.drop_oldest(keep));
                assert!(dropped.iter().all(|item| item.may_drop));
            }
            6 if choices.below(4) == 3 => {
                let keep = usize::from(model.written > 0).min(model.items.len());
                let mut expected = model.items.split_off(keep);
                expected.reverse();
                let mut unsent = Vec::new();
                outbox.abandon_rest(|item| unsent.push(item));
                assert_same(&unsent, &expected);
            }
            7 if choices.below(4) == 3 => abandon(&mut outbox, &mut model),
            _ => {}
        }
        check(&outbox, &model);
    }
    while !outbox.is_empty() {
        write(&mut Choices::new(&[0, 1, 0xff, 0xff, 0xff, 0xff]), &mut outbox, &mut model);
        check(&outbox, &model);
    }
    abandon(&mut outbox, &mut model);
    check(&outbox, &model);
}

/// An item of a few slices, some of them empty, that hold at least one byte.
fn item(choices: &mut Choices, named: &mut u8) -> Rc<Item> {
    let mut slices: Vec<Vec<u8>> = (0..choices.below(4)).map(|_| vec![*named; choices.below(40)]).collect();
    slices.push(vec![*named; 1 + choices.below(40)]);
    *named = named.wrapping_add(1);
    Rc::new(Item { slices, may_drop: choices.flip() })
}

/// The peer takes some of the bytes that a write offers.
fn write(choices: &mut Choices, outbox: &mut Outbox<Item>, model: &mut Model) {
    let only_first = choices.flip();
    let max = [WRITE_SLICES, 1, 2, 5][choices.below(4)];
    let offered = offered(outbox, only_first, max);
    let (expected, expected_len) = match model.items.first() {
        Some(first) if only_first => {
            (first.content()[model.written..].to_vec(), first.bytes() - model.written)
        }
        _ => (model.waiting(offered.len()), model.waiting_len()),
    };
    assert!(expected.starts_with(&offered), "the bytes that wait are offered in their order");
    for enough in [1, offered.len() / 2] {
        let part = offered_up_to(outbox, only_first, enough, max);
        assert!(offered.starts_with(&part) && part.len() >= enough.min(offered.len()));
    }
    assert_eq!(offered.is_empty(), expected_len == 0, "what waits can be written");
    // An item has at most four slices.
    if 4 * model.items.len() <= max {
        assert_eq!(offered.len(), expected_len, "all that fits in the slices is offered");
    }
    // All of it in half of the cases, as a socket mostly does.
    let n = if choices.flip() { offered.len() } else { choices.below(offered.len() + 1) };
    model.wire.extend(&offered[..n]);
    model.written += n;
    outbox.advance(n, |item| {
        let expected = model.pop_written().expect("an item is done when all of it is written");
        assert!(Rc::ptr_eq(&item, &expected));
    });
    assert!(model.pop_written().is_none(), "an item that is written does not stay");
}

fn offered(outbox: &Outbox<Item>, only_first: bool, max: usize) -> Vec<u8> {
    offered_up_to(outbox, only_first, usize::MAX, max)
}

fn offered_up_to(outbox: &Outbox<Item>, only_first: bool, enough: usize, max: usize) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); max];
    let n = outbox.gather(only_first, enough, &mut slices);
    assert!(slices[..n].iter().all(|slice| !slice.is_empty()), "a slice without bytes is a place lost");
    slices[..n].iter().map(|slice| &slice[..]).collect::<Vec<_>>().concat()
}

fn abandon(outbox: &mut Outbox<Item>, model: &mut Model) {
    let mut written = std::mem::take(&mut model.written);
    let items = std::mem::take(&mut model.items);
    let unsent: Vec<_> = outbox.abandon().collect();
    assert_same(&unsent.iter().map(|unsent| unsent.item.clone()).collect::<Vec<_>>(), &items);
    for unsent in &unsent {
        assert_eq!(unsent.written, std::mem::take(&mut written), "only the first is partly written");
        model.finished.extend(&unsent.item.content()[..unsent.written]);
    }
}

fn check(outbox: &Outbox<Item>, model: &Model) {
    assert_eq!((outbox.len(), outbox.is_empty()), (model.items.len(), model.items.is_empty()));
    assert_eq!((outbox.pending(), outbox.is_at_start()), (model.waiting_len(), model.written == 0));
    let (before, now) = model.wire.split_at(model.finished.len());
    assert_eq!(before, model.finished, "the peer got whole items, in order");
    let begun = model.items.first().filter(|_| model.written > 0).map_or(Vec::new(), |first| first.content());
    assert_eq!(now, &begun[..model.written], "and the beginning of the one that is being written");
}

fn assert_same(items: &[Rc<Item>], expected: &[Rc<Item>]) {
    assert_eq!(items.len(), expected.len());
    assert!(items.iter().zip(expected).all(|(a, b)| Rc::ptr_eq(a, b)), "the same items in the same order");
}
