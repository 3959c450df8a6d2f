//! Whose frames are stored first: those of the connections that were served the longest time ago.

use std::collections::{HashMap, VecDeque};

use crate::core::limits::{STORE_ARRANGED, STORE_SERVED};
use crate::sinks::store::Append;

/// When connections were served last.
#[derive(Debug, Default)]
pub struct Turns {
    rounds: HashMap<u64, u64>,
}

impl Turns {
    /// Puts what waits in that order, each connection's in its own. So who publishes seldom waits for the round that is
    /// under way and no longer, however many others keep every round full.
    pub fn arrange(&self, waiting: &mut VecDeque<Append>) {
        let first = waiting.len().min(STORE_ARRANGED);
        waiting.make_contiguous()[..first].sort_by_key(|append| self.last(append.from()));
    }

    /// A round takes something of this connection.
    pub fn serve(&mut self, from: u64, round: u64) {
        if self.rounds.len() >= STORE_SERVED && !self.rounds.contains_key(&from) {
            // All of them are alike again, as at the start.
            self.rounds.clear();
        }
        self.rounds.insert(from, round);
    }

    fn last(&self, from: u64) -> u64 {
        self.rounds.get(&from).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::memory::{Buffer, Memory};
    use crate::sinks::Put;
    use crate::sinks::store::Puts;
    use crate::wire::{Body, Header, Kind, Scheme, encode};

    #[test]
    fn who_was_served_the_longest_time_ago_comes_first_and_each_in_its_own_order() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let (mut puts, mut waiting) = (Puts::default(), VecDeque::new());
        for (ticket, from) in [2, 1, 3, 1, 4, 4].into_iter().enumerate() {
            let mut bytes = Vec::new();
            encode(Header::new(Kind::Data), b"t", b"", &Scheme::Sha256, &mut bytes);
            let end = bytes.len();
            let buffer = Arc::new(Buffer::charged(&memory, bytes.into()));
            let put =
                Put { ticket: ticket as u64, from, body: Body::Slice { buffer, start: 0, end }, frames: 1 };
            puts.take(put, |append| waiting.push_back(append));
        }
        let mut turns = Turns::default();
        [(1, 7), (2, 9), (3, 8)].into_iter().for_each(|(from, round)| turns.serve(from, round));
        turns.arrange(&mut waiting);
        let order: Vec<_> =
            waiting.into_iter().filter_map(|append| puts.done(append, None)).map(|out| out.ticket).collect();
        assert_eq!(order, [4, 5, 1, 3, 2, 0]);
        // As many are remembered as may be.
        (10..10 + STORE_SERVED as u64).for_each(|from| turns.serve(from, 1));
        assert!(turns.rounds.len() <= STORE_SERVED);
    }
}
