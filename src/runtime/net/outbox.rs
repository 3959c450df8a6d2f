//! What waits to be written to one peer: shared items, written in order, parts of many in one call.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

/// At least one byte, held in one or more slices.
pub trait Segments {
    /// Bytes in all.
    fn bytes(&self) -> usize;
    /// The slices, in order.
    fn slices(&self) -> impl Iterator<Item = &[u8]>;
    /// Whether the item may be dropped, unsent, when its reader is too slow.
    fn may_drop(&self) -> bool;
}

/// A queue of shared items for one peer.
///
/// Invariants: `written < items[0].bytes()` (0 if there is none); `pending` is the sum of all lengths
/// less `written`. An outbox that was never used owns no memory.
#[derive(Debug)]
pub struct Outbox<T> {
    items: VecDeque<Rc<T>>,
    written: usize,
    pending: usize,
}

/// An item that leaves an outbox unsent, and how many bytes of it were written all the same.
#[derive(Debug)]
pub struct Unsent<T> {
    /// The item.
    pub item: Rc<T>,
    /// Bytes of it that the socket took.
    pub written: usize,
}

/// An outbox that emptied keeps room for this many items; a burst's memory is given back, most of it while it drains: a
/// peer that takes all but the last item would keep the room of as many as it ever had, charged to nobody.
const KEEP: usize = 64;

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Outbox { items: VecDeque::new(), written: 0, pending: 0 }
    }
}

impl<T: Segments> Outbox<T> {
    /// Bytes that wait.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Items that wait, the one being written included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The item that is written next.
    pub fn first(&self) -> Option<&T> {
        self.items.front().map(Rc::as_ref)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the next byte to write begins an item.
    pub fn is_at_start(&self) -> bool {
        self.written == 0
    }

    /// Adds an item, which holds at least one byte, at the end.
    pub fn push(&mut self, item: Rc<T>) {
        self.pending += item.bytes();
        self.items.push_back(item);
    }

    /// Adds an item before all others; none may be partly written.
    pub fn push_front(&mut self, item: Rc<T>) {
        assert!(self.is_at_start(), "an item that is being written stays first");
        self.pending += item.bytes();
        self.items.push_front(item);
    }

    /// Fills `out` with the next slices to write (with `only_first`, of the first item alone), until they
    /// hold `enough` bytes, and says how many there are.
    pub fn gather<'a>(&'a self, only_first: bool, enough: usize, out: &mut [IoSlice<'a>]) -> usize {
        let (mut skip, mut n, mut bytes) = (self.written, 0, 0);
        for item in self.items.iter().take(if only_first { 1 } else { usize::MAX }) {
            for slice in item.slices() {
                if skip >= slice.len() {
                    skip -= slice.len();
                    continue;
                }
                if n == out.len() || bytes >= enough {
                    return n;
                }
                out[n] = IoSlice::new(&slice[skip..]);
                bytes += out[n].len();
                n += 1;
                skip = 0;
            }
        }
        n
    }

    /// `n` bytes were written; items written to their end go to `done`.
    pub fn advance(&mut self, n: usize, mut done: impl FnMut(Rc<T>)) {
        assert!(n <= self.pending, "no more than what waits is written");
        self.pending -= n;
        self.written += n;
        while let Some(first) = self.items.front()
            && self.written >= first.bytes()
        {
            self.written -= first.bytes();
            done(self.items.pop_front().expect("it is the first"));
        }
        self.release_room();
        self.invariants();
    }

    /// Takes out the oldest items that may be dropped and are not being written, until at most
    /// `keep` bytes wait or no such item is left.
    pub fn drop_oldest(&mut self, keep: usize, mut dropped: impl FnMut(Rc<T>)) {
        let at_start = self.is_at_start();
        // What was looked at and stays.
        let mut stays = Vec::new();
        stays.extend(self.items.pop_front_if(|_| !at_start));
        while self.pending > keep
            && let Some(item) = self.items.pop_front()
        {
            if item.may_drop() {
                self.pending -= item.bytes();
                dropped(item);
            } else {
                stays.push(item);
            }
        }
        stays.into_iter().rev().for_each(|item| self.items.push_front(item));
        self.release_room();
        self.invariants();
    }

    /// Takes out everything but what is left of an item that is partly written.
    pub fn abandon_rest(&mut self, mut unsent: impl FnMut(Rc<T>)) {
        let keep = usize::from(!self.is_at_start());
        while self.items.len() > keep {
            let item = self.items.pop_back().expect("more than what is kept");
            self.pending -= item.bytes();
            unsent(item);
        }
        self.release_room();
        self.invariants();
    }

    /// Takes out everything.
    pub fn abandon(&mut self) -> impl Iterator<Item = Unsent<T>> + use<T> {
        let mut written = std::mem::take(&mut self.written);
        self.pending = 0;
        std::mem::take(&mut self.items)
            .into_iter()
            .map(move |item| Unsent { item, written: std::mem::take(&mut written) })
    }

    fn release_room(&mut self) {
        if self.items.capacity() <= KEEP {
            return;
        }
        if self.items.is_empty() {
            self.items = VecDeque::new();
        } else if self.items.len() < self.items.capacity() / 8 {
            self.items.shrink_to(self.items.capacity() / 4);
        }
    }

    fn invariants(&self) {
        // Adding up a long queue at each write would make the tests quadratic.
        if cfg!(debug_assertions) && self.items.len() < KEEP {
            let sum: usize = self.items.iter().map(|item| item.bytes()).sum();
            assert_eq!(self.pending + self.written, sum);
        }
        debug_assert!(self.written < self.items.front().map_or(1, |first| first.bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(&'static [&'static str], bool);

    impl Segments for Item {
        fn bytes(&self) -> usize {
            self.0.iter().map(|s| s.len()).sum()
        }
        fn slices(&self) -> impl Iterator<Item = &[u8]> {
            self.0.iter().map(|s| s.as_bytes())
        }
        fn may_drop(&self) -> bool {
            self.1
        }
    }

    fn outbox(items: &[(&'static [&'static str], bool)]) -> Outbox<Item> {
        let mut outbox = Outbox::default();
        items.iter().for_each(|&(text, may_drop)| outbox.push(Rc::new(Item(text, may_drop))));
        outbox
    }

    fn gathered(outbox: &Outbox<Item>, max: usize, only_first: bool) -> String {
        let mut slices = vec![IoSlice::new(&[]); max];
        let n = outbox.gather(only_first, usize::MAX, &mut slices);
        slices[..n].iter().map(|s| std::str::from_utf8(s).unwrap()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_was_written_is_not_gathered_again() {
        let mut outbox = outbox(&[(&["ab", "cde"], true), (&["f"], true)]);
        assert_eq!(gathered(&outbox, 64, false), "ab|cde|f");
        assert_eq!(gathered(&outbox, 2, false), "ab|cde");
        for (enough, expected) in [(0, 0), (1, 1), (2, 1), (3, 2), (5, 2), (6, 3)] {
            assert_eq!(outbox.gather(false, enough, &mut [IoSlice::new(&[]); 64]), expected, "{enough}");
        }
        for (n, expected, done) in [(1, "b|cde|f", 0), (2, "de|f", 0), (2, "f", 1), (1, "", 1)] {
            let mut finished = 0;
            outbox.advance(n, |_| finished += 1);
            assert_eq!((gathered(&outbox, 64, false).as_str(), finished), (expected, done));
        }
        assert!(outbox.is_empty() && outbox.pending() == 0);
    }

    #[test]
    fn the_oldest_go_first_but_not_the_one_being_written_nor_replies() {
        let mut outbox =
            outbox(&[(&["aa"], true), (&["bb"], true), (&["rr"], false), (&["cc"], true), (&["dd"], true)]);
        outbox.advance(1, |_| ());
        let mut dropped = Vec::new();
        outbox.drop_oldest(5, |item| dropped.push(item.0[0]));
        assert_eq!(dropped, ["bb", "cc"]);
        assert_eq!(gathered(&outbox, 64, false), "a|rr|dd");
        assert_eq!(gathered(&outbox, 64, true), "a");
        assert_eq!(outbox.pending(), 5);
    }

    #[test]
    fn what_a_burst_took_is_given_back_before_the_last_item() {
        let burst = [(&["a"][..], true); 10_000];
        let mut all = outbox(&burst);
        for left in (1..10_000).rev() {
            all.advance(1, |_| ());
            assert!(all.items.capacity() <= (8 * left + 8).max(KEEP), "{left} of {}", all.items.capacity());
        }
        let mut dropped = outbox(&burst);
        dropped.drop_oldest(3, |_| ());
        assert_eq!(dropped.len(), 3);
        assert!(dropped.items.capacity() <= 10_000 / 2, "a quarter is enough");
    }

    #[test]
    fn what_is_abandoned_says_how_much_of_it_was_written() {
        let mut first = outbox(&[(&["aa"], true), (&["bb"], true)]);
        first.advance(1, |_| ());
        let unsent: Vec<_> = first.abandon().map(|u| (u.item.0[0], u.written)).collect();
        assert_eq!(unsent, [("aa", 1), ("bb", 0)]);
        assert!(first.is_empty() && first.is_at_start());

        let mut second = outbox(&[(&["aa"], true), (&["bb"], true)]);
        second.advance(1, |_| ());
        second.abandon_rest(|_| ());
        assert_eq!(gathered(&second, 64, false), "a");
    }
}
