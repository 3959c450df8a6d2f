//! Which subscribers a topic goes to: the patterns by their shapes, and who holds them.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashTable;

use super::pattern_limits::{Full, Limits};
use super::shapes::{Keys, Shapes};
use crate::core::limits::{PATTERN_COST, PATTERN_HELD, SUBSCRIBER_COST};

/// 64 tables for the patterns: with as many as there may be, one that grows or shrinks moves some 4,000, in less than
/// half a millisecond.
const TABLES: usize = 64;

/// Where a key says which: its last bits and its first seven have their use within a table.
const TABLE_BITS: u32 = 40;

/// Names a holder of patterns. A name is not used again for another one.
pub trait Holder: Copy + Ord {
    /// A small number of its own among those who hold patterns now.
    fn slot(self) -> usize;
}

/// Patterns and who holds them. `T` names a holder; each (pattern, holder) is held once.
///
/// Invariant: a pattern is in the table of its key, and in the list of each of its holders, as these are in its own;
/// and `bytes` is what all that takes.
#[derive(Debug)]
pub struct Patterns<T> {
    limits: Limits,
    keys: Keys,
    shapes: Shapes,
    tables: Vec<HashTable<Rc<Pattern<T>>>>,
    /// By the holders' slots. Being a holder costs this; what is held is charged.
    slots: Vec<Slot<T>>,
    holders: usize,
    /// What is held by those who left.
    leaving: Vec<(T, Box<Held<T>>)>,
    pairs: usize,
    bytes: usize,
    /// Numbers the topics that are looked up.
    look: u64,
    found: Vec<T>,
}

#[derive(Debug)]
struct Pattern<T> {
    key: u64,
    shape: u16,
    text: Box<str>,
    /// In ascending order.
    holders: RefCell<Vec<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    holder: Option<T>,
    /// The last topic that it was found for.
    seen: u64,
    held: Option<Box<Held<T>>>,
}

/// What one holder holds.
#[derive(Debug)]
struct Held<T> {
    /// In the order of their addresses.
    patterns: Vec<Rc<Pattern<T>>>,
    /// Their shapes, and how many of them have each.
    shapes: Vec<(u16, u16)>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Held { patterns: Vec::new(), shapes: Vec::new() }
    }
}

impl<T> Held<T> {
    fn find(&self, pattern: &Rc<Pattern<T>>) -> Result<usize, usize> {
        self.patterns.binary_search_by_key(&Rc::as_ptr(pattern), Rc::as_ptr)
    }

    fn has_shape(&self, shape: u16) -> bool {
        self.shapes.iter().any(|&(other, _)| other == shape)
    }
}

impl<T: Holder> Default for Patterns<T> {
    fn default() -> Self {
        Patterns::new(Limits::default())
    }
}

impl<T: Holder> Patterns<T> {
    /// None yet.
    pub fn new(limits: Limits) -> Patterns<T> {
        Patterns {
            limits,
            keys: Keys::default(),
            shapes: Shapes::default(),
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            slots: Vec::new(),
            holders: 0,
            leaving: Vec::new(),
            pairs: 0,
            bytes: 0,
            look: 0,
            found: Vec::new(),
        }
    }

    /// How many (pattern, holder) pairs are kept, those of who left included until they are [swept](Self::sweep).
    pub fn len(&self) -> usize {
        self.pairs
    }

    /// Whether nobody holds a pattern.
    pub fn is_empty(&self) -> bool {
        self.holders == 0
    }

    /// How many patterns a holder has.
    pub fn held_by(&self, holder: T) -> usize {
        self.held(holder).map_or(0, |held| held.patterns.len())
    }

    /// The patterns of a holder.
    pub fn of(&self, holder: T) -> impl Iterator<Item = &str> {
        self.held(holder).into_iter().flat_map(|held| held.patterns.iter().map(|pattern| &*pattern.text))
    }

    /// What all of it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many shapes the patterns have.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets what all of it may take, in bytes. What is held stays.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.limits.bytes = bytes;
    }

    /// Adds a checked pattern; whether it was new for this holder.
    pub fn insert(&mut self, pattern: &str, holder: T) -> Result<bool, Full> {
        let (shape, key) = self.keys.of_pattern(pattern);
        let at = self.shapes.find(shape);
        let known = at.and_then(|at| self.find(key, at, |text| text == pattern)).cloned();
        let held = self.held(holder);
        if let (Some(known), Some(held)) = (&known, held)
            && held.find(known).is_ok()
        {
            return Ok(false);
        }
        let cost = known.as_ref().map_or(PATTERN_COST + pattern.len(), |_| 0)
            + PATTERN_HELD
            + held.map_or(SUBSCRIBER_COST, |_| 0);
        let is_shape_of_its = at.is_some_and(|at| held.is_some_and(|held| held.has_shape(at)));
        let limits = &self.limits;
        if held.is_some_and(|held| held.patterns.len() >= limits.pairs_each) {
            return Err(Full::PairsEach(limits.pairs_each));
        }
        if !is_shape_of_its && held.is_some_and(|held| held.shapes.len() >= limits.shapes_each) {
            return Err(Full::ShapesEach(limits.shapes_each));
        }
        if self.pairs >= limits.pairs {
            return Err(Full::Pairs(limits.pairs));
        }
        if at.is_none() && self.shapes.len() >= limits.shapes {
            return Err(Full::Shapes(limits.shapes));
        }
        if self.bytes + cost > limits.bytes {
            return Err(Full::Bytes(limits.bytes));
        }
        let known = known.unwrap_or_else(|| {
            let shape = self.shapes.add(shape);
            let added = Rc::new(Pattern { key, shape, text: pattern.into(), holders: RefCell::default() });
            self.tables[table_at(key)].insert_unique(key, added.clone(), |pattern| pattern.key);
            added
        });
        self.bytes += cost;
        self.hold(known, holder);
        Ok(true)
    }

    fn hold(&mut self, pattern: Rc<Pattern<T>>, holder: T) {
        self.pairs += 1;
        let mut holders = pattern.holders.borrow_mut();
        let at = holders.binary_search(&holder).expect_err("it is not held");
        insert(&mut holders, at, holder);
        drop(holders);
        let at = holder.slot();
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || Slot { holder: None, seen: 0, held: None });
        }
        let slot = &mut self.slots[at];
        if slot.holder.replace(holder).is_none() {
            self.holders += 1;
        }
        let held = slot.held.get_or_insert_default();
        match held.shapes.iter_mut().find(|(shape, _)| *shape == pattern.shape) {
            Some((_, patterns)) => *patterns += 1,
            None => {
                let end = held.shapes.len();
                insert(&mut held.shapes, end, (pattern.shape, 1));
            }
        }
        let at = held.find(&pattern).expect_err("it is not held");
        insert(&mut held.patterns, at, pattern);
    }

    /// Takes a checked pattern back; whether it was held.
    pub fn remove(&mut self, pattern: &str, holder: T) -> bool {
        let (shape, key) = self.keys.of_pattern(pattern);
        let Some(at) = self.shapes.find(shape) else { return false };
        let Some(known) = self.find(key, at, |text| text == pattern).cloned() else { return false };
        let slot = self.slots.get_mut(holder.slot()).filter(|slot| slot.holder == Some(holder));
        let Some(Slot { holder: Some(_), held: Some(held), .. }) = slot else { return false };
        let Ok(place) = held.find(&known) else { return false };
        take(&mut held.patterns, place);
        let of_shape = held.shapes.iter().position(|&(shape, _)| shape == at).expect("it is one of its");
        held.shapes[of_shape].1 -= 1;
        if held.shapes[of_shape].1 == 0 {
            take(&mut held.shapes, of_shape);
        }
        if held.patterns.is_empty() {
            self.slots[holder.slot()] = Slot { holder: None, seen: 0, held: None };
            self.holders -= 1;
            self.holder_ended();
        }
        self.end_pair(known, holder);
        true
    }

    /// The holder has no patterns any more; whether it had some. What they took is given back by
    /// [`sweep`](Self::sweep).
    pub fn leave(&mut self, holder: T) -> bool {
        let slot = self.slots.get_mut(holder.slot()).filter(|slot| slot.holder == Some(holder));
        let Some(mut held) = slot.and_then(|slot| {
            slot.holder = None;
            slot.held.take()
        }) else {
            return false;
        };
        held.shapes = Vec::new();
        self.leaving.push((holder, held));
        self.holders -= 1;
        true
    }

    /// Gives up at most `pairs` of those who left. Whether there are more.
    pub fn sweep(&mut self, pairs: usize) -> bool {
        for _ in 0..pairs {
            let Some((holder, held)) = self.leaving.last_mut() else { return false };
            let holder = *holder;
            let last = held.patterns.len() - 1;
            let pattern = take(&mut held.patterns, last);
            if held.patterns.is_empty() {
                self.leaving.pop();
                self.holder_ended();
            }
            self.end_pair(pattern, holder);
        }
        self.is_leaving()
    }

    /// Whether something is to be swept.
    pub fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Everyone who holds a pattern that matches the checked topic, once each, in ascending order.
    pub fn matching(&mut self, topic: &str) -> &[T] {
        self.found.clear();
        self.look += 1;
        let tokens = self.keys.begin(topic);
        // The list of one pattern alone is what is looked for, unless some in it have left.
        let mut alone = None;
        for (at, shape) in self.shapes.fitting(tokens) {
            let key = self.keys.in_shape(shape);
            let is_it = |pattern: &Rc<Pattern<T>>| {
                pattern.key == key && pattern.shape == at && self.keys.is_match(&pattern.text, shape, topic)
            };
            let Some(pattern) = self.tables[table_at(key)].find(key, is_it) else { continue };
            match alone.take() {
                None if self.found.is_empty() && self.leaving.is_empty() => alone = Some(pattern),
                before => {
                    for pattern in before.into_iter().chain([pattern]) {
                        collect(pattern, &mut self.slots, self.look, &mut self.found);
                    }
                }
            }
        }
        match alone {
            Some(pattern) => self.found.extend_from_slice(&pattern.holders.borrow()),
            None => self.found.sort_unstable(),
        }
        &self.found
    }

    fn held(&self, holder: T) -> Option<&Held<T>> {
        let slot = self.slots.get(holder.slot()).filter(|slot| slot.holder == Some(holder))?;
        slot.held.as_deref()
    }

    fn find(&self, key: u64, shape: u16, is_it: impl Fn(&str) -> bool) -> Option<&Rc<Pattern<T>>> {
        let table = &self.tables[table_at(key)];
        table.find(key, |other| other.key == key && other.shape == shape && is_it(&other.text))
    }

    /// A pattern has one holder less.
    fn end_pair(&mut self, pattern: Rc<Pattern<T>>, holder: T) {
        self.pairs -= 1;
        self.bytes -= PATTERN_HELD;
        let mut holders = pattern.holders.borrow_mut();
        let at = holders.binary_search(&holder).expect("who holds it is in its list");
        take(&mut holders, at);
        if !holders.is_empty() {
            return;
        }
        drop(holders);
        self.bytes -= PATTERN_COST + pattern.text.len();
        self.shapes.remove(pattern.shape);
        let table = &mut self.tables[table_at(pattern.key)];
        if let Ok(entry) = table.find_entry(pattern.key, |other| Rc::ptr_eq(other, &pattern)) {
            entry.remove();
        }
        if 4 * table.len() <= table.capacity() {
            table.shrink_to(2 * table.len(), |pattern| pattern.key);
        }
    }

    /// What a holder had is given back.
    fn holder_ended(&mut self) {
        self.bytes -= SUBSCRIBER_COST;
        if self.is_empty() && !self.is_leaving() {
            (self.slots, self.leaving, self.found) = Default::default();
        }
    }

    /// What is counted agrees with what is there.
    ///
    /// # Panics
    /// If it does not.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        let (mut pairs, mut patterns, mut bytes) = (0, 0, 0);
        for pattern in self.tables.iter().flatten() {
            let holders = pattern.holders.borrow();
            assert!(holders.is_sorted() && !holders.is_empty());
            patterns += 1;
            pairs += holders.len();
            bytes += PATTERN_COST + pattern.text.len() + holders.len() * PATTERN_HELD;
        }
        assert!(self.slots.iter().all(|slot| slot.holder.is_some() == slot.held.is_some()));
        let held = || self.slots.iter().filter_map(|slot| slot.held.as_deref());
        let left = || self.leaving.iter().map(|(_, held)| &**held);
        assert_eq!(held().count(), self.holders);
        assert_eq!(pairs, held().chain(left()).map(|held| held.patterns.len()).sum::<usize>());
        bytes += (self.holders + self.leaving.len()) * SUBSCRIBER_COST;
        assert_eq!((self.pairs, self.bytes), (pairs, bytes));
        assert!(pairs <= self.limits.pairs && self.shapes.len() <= self.limits.shapes.min(patterns));
        let taken = self.taken();
        assert!(taken <= self.bytes, "{taken} bytes are allocated, and {} charged", self.bytes);
        assert!(self.bytes <= 5 * taken, "{} bytes are charged, and {taken} allocated", self.bytes);
        for held in held() {
            let of_shapes: usize = held.shapes.iter().map(|&(_, patterns)| usize::from(patterns)).sum();
            assert_eq!(of_shapes, held.patterns.len());
            assert!(!held.patterns.is_empty() && held.patterns.len() <= self.limits.pairs_each);
            assert!(held.shapes.len() <= self.limits.shapes_each);
        }
    }

    /// What is allocated, as allocators round it.
    #[cfg(any(test, feature = "check"))]
    fn taken(&self) -> usize {
        let rounded = |bytes: usize| bytes.next_multiple_of(16);
        let list = |capacity: usize, size: usize| rounded(capacity * size);
        let pattern = |pattern: &Rc<Pattern<T>>| {
            let counts = 2 * size_of::<usize>();
            rounded(counts + size_of::<Pattern<T>>())
                + rounded(pattern.text.len())
                + list(pattern.holders.borrow().capacity(), size_of::<T>())
        };
        let held = |held: &Held<T>| {
            rounded(size_of::<Held<T>>())
                + list(held.patterns.capacity(), size_of::<Rc<Pattern<T>>>())
                + list(held.shapes.capacity(), size_of::<(u16, u16)>())
        };
        self.tables.iter().flatten().map(pattern).sum::<usize>()
            + self.tables.iter().map(|table| rounded(table.allocation_size())).sum::<usize>()
            + self.slots.iter().filter_map(|slot| slot.held.as_deref()).map(held).sum::<usize>()
            + self.leaving.iter().map(|(_, left)| held(left)).sum::<usize>()
    }
}

/// Adds the holders of a pattern, but who left, and who was found by another pattern in the same look.
fn collect<T: Holder>(pattern: &Pattern<T>, slots: &mut [Slot<T>], look: u64, found: &mut Vec<T>) {
    for &holder in pattern.holders.borrow().iter() {
        let slot = &mut slots[holder.slot()];
        if slot.holder == Some(holder) && slot.seen != look {
            slot.seen = look;
            found.push(holder);
        }
    }
}

fn table_at(key: u64) -> usize {
    (key >> TABLE_BITS) as usize % TABLES
}

/// Most lists have one entry, and get room for no more at first.
fn insert<E>(list: &mut Vec<E>, at: usize, entry: E) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.insert(at, entry);
}

/// Takes an entry out, and gives back what is left over.
fn take<E>(list: &mut Vec<E>, at: usize) -> E {
    let entry = list.remove(at);
    if 4 * list.len() <= list.capacity() {
        list.shrink_to(2 * list.len());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Holder for u32 {
        fn slot(self) -> usize {
            self as usize % 10_000
        }
    }

    #[test]
    fn a_holder_of_many_patterns_is_found_once() {
        let mut patterns = Patterns::default();
        for pattern in [">", "a.>", "a.*", "a.b"] {
            assert_eq!(patterns.insert(pattern, 1u32), Ok(true));
            assert_eq!(patterns.insert(pattern, 1), Ok(false));
        }
        patterns.insert("a.*", 2).unwrap();
        assert_eq!(patterns.matching("a.b"), [1, 2]);
        assert_eq!(patterns.matching(""), [1]);
        assert_eq!(patterns.len(), 5);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut patterns = Patterns::default();
        for pattern in ["a.b.c", "a.*.>", ">", ""] {
            patterns.insert(pattern, 7u32).unwrap();
        }
        assert!(!patterns.remove("a.b", 7));
        assert!(!patterns.remove("a.b.c", 8));
        for pattern in ["a.b.c", "a.*.>", ">", ""] {
            assert!(patterns.remove(pattern, 7));
        }
        assert!(patterns.is_empty() && patterns.slots.capacity() == 0);
        assert!(patterns.tables.iter().all(|table| table.allocation_size() == 0));
        assert_eq!((patterns.len(), patterns.bytes(), patterns.shapes()), (0, 0, 0));
    }

    #[test]
    fn who_left_gets_nothing_and_a_successor_in_the_slot_only_its_own() {
        let mut patterns = Patterns::default();
        for pattern in ["a", "b", "c"] {
            patterns.insert(pattern, 7u32).unwrap();
        }
        assert!(patterns.leave(7) && !patterns.leave(7));
        patterns.insert("b", 10_007).unwrap();
        assert!(patterns.matching("a").is_empty());
        assert_eq!(patterns.matching("b"), [10_007]);
        patterns.check_invariants();
        assert!(patterns.sweep(2) && !patterns.sweep(2));
        assert_eq!(patterns.bytes(), PATTERN_COST + 1 + PATTERN_HELD + SUBSCRIBER_COST);
        assert_eq!(patterns.matching("b"), [10_007]);
        patterns.check_invariants();
    }

    #[test]
    fn the_longest_patterns_take_no_more_than_they_are_charged() {
        let mut patterns = Patterns::default();
        // 127 tokens of one letter, no two patterns with the same first thirteen.
        let text = |number: u32| {
            let letter = |at: u32| if at < 13 && (number >> at) & 1 == 1 { "b" } else { "a" };
            (0..127).map(letter).collect::<Vec<_>>().join(".")
        };
        for number in 0..4096 {
            let pattern = text(number);
            assert_eq!(pattern.len(), 253);
            // In checks a connection may hold few.
            assert_eq!(patterns.insert(&pattern, number), Ok(true));
        }
        patterns.check_invariants();
        assert!(patterns.taken() < 2 << 20 && patterns.bytes() < 3 << 20, "they took 269 MiB once");
        for number in 0..4096 {
            assert!(patterns.leave(number));
        }
        while patterns.sweep(1000) {
            patterns.check_invariants();
        }
        assert_eq!((patterns.bytes(), patterns.taken()), (0, 0));
    }

    #[test]
    fn the_limits_hold_and_say_so() {
        let limits = Limits { pairs: 5, pairs_each: 4, shapes: 3, shapes_each: 2, bytes: usize::MAX };
        let mut patterns = Patterns::new(limits);
        for pattern in ["a", "b", "a.b", "b.a"] {
            assert_eq!(patterns.insert(pattern, 1u32), Ok(true));
        }
        assert_eq!(patterns.insert("c", 1), Err(Full::PairsEach(4)));
        patterns.remove("b", 1);
        assert_eq!(patterns.insert(">", 1), Err(Full::ShapesEach(2)));
        assert_eq!(patterns.insert(">", 2), Ok(true));
        assert_eq!(patterns.insert("*", 2), Err(Full::Shapes(3)));
        assert_eq!(patterns.insert("a.b", 2), Ok(true));
        assert_eq!(patterns.insert("a.b", 3), Err(Full::Pairs(5)));
        let taken = patterns.bytes();
        patterns.remove("a.b", 2);
        patterns.set_bytes_max(taken - 1);
        assert_eq!(patterns.insert("a.b", 2), Err(Full::Bytes(taken - 1)));
        patterns.set_bytes_max(taken);
        assert_eq!(patterns.insert("a.b", 2), Ok(true));
        patterns.check_invariants();
    }
}
