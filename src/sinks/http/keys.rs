//! One frame of a key at a time.

use std::collections::{HashMap, VecDeque};

/// Which keys have a frame under way, and what waits behind it, in order. Whoever gives the frames bounds how many
/// there are.
#[derive(Debug)]
pub struct Keys<T> {
    /// A key without an entry has none under way.
    waiting: HashMap<u64, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Keys { waiting: HashMap::new(), len: 0 }
    }
}

impl<T> Keys<T> {
    /// Takes a frame; gives it back where it may go now.
    pub fn enter(&mut self, key: u64, frame: T) -> Option<T> {
        match self.waiting.get_mut(&key) {
            None => {
                self.waiting.insert(key, VecDeque::new());
                Some(frame)
            }
            Some(waiting) => {
                waiting.push_back(frame);
                self.len += 1;
                None
            }
        }
    }

    /// A frame of a key has ended: the next one, which goes now.
    pub fn leave(&mut self, key: u64) -> Option<T> {
        let waiting = self.waiting.get_mut(&key)?;
        let next = waiting.pop_front();
        match next {
            Some(_) => self.len -= 1,
            None => drop(self.waiting.remove(&key)),
        }
        next
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_key_at_a_time_in_order() {
        let mut keys = Keys::default();
        assert_eq!(keys.enter(1, 'a'), Some('a'));
        assert_eq!(keys.enter(1, 'b'), None);
        assert_eq!(keys.enter(2, 'c'), Some('c'));
        assert_eq!(keys.enter(1, 'd'), None);
        assert_eq!(keys.len(), 2);
        assert_eq!(
            (keys.leave(1), keys.leave(2), keys.leave(1), keys.leave(1)),
            (Some('b'), None, Some('d'), None)
        );
        assert_eq!((keys.len(), keys.waiting.len()), (0, 0));
        assert_eq!(keys.enter(1, 'e'), Some('e'));
    }
}
