//! 8. What is allocated is charged: after every turn, what the gateway has allocated is no more than what it has charged
//! to its memory, so much for each connection, and what is fixed.

use super::network::SimNet;
use super::workers::SimPool;
use crate::check::heap;
use crate::gate::{Gate, Holdings};

/// What a connection may have beside its slot and what is charged for it.
const CONNECTION: usize = 2 * 1024;

/// What is there however much is connected, sent and held.
const FIXED: usize = 32 * 1024;

/// What one gateway has, as it was built.
pub struct Account {
    built: usize,
}

impl Account {
    /// Begins to count. With `FRAMEGATE_SEED` it is traced where what is counted was allocated.
    pub fn begin() -> Account {
        heap::begin(std::env::var_os("FRAMEGATE_SEED").is_some());
        Account { built: 0 }
    }

    /// The gateway is built, and nothing has happened.
    pub fn built(&mut self) {
        self.built = heap::bytes();
    }

    /// After a turn. `uncharged` is what it may have allocated beside.
    ///
    /// # Panics
    /// If more is allocated than may be.
    pub fn check(&self, gate: &Gate<SimNet, SimPool>, uncharged: usize) {
        let Holdings { charged, spare, slots, connections, noted } = gate.holdings();
        let allocated = heap::bytes();
        let allowed = charged + spare + slots + noted + self.built + FIXED + CONNECTION * connections + uncharged;
        stats(allocated as isize - (charged + spare + slots + noted + self.built) as isize, connections);
        assert!(
            allocated <= allowed,
            "8: {allocated} bytes are allocated, {} more than the {charged} that are charged and what {connections} \
             connections and all else may have{}",
            allocated - allowed,
            heap::most(12)
        );
    }
}

thread_local! { pub static STATS: std::cell::RefCell<std::collections::BTreeMap<usize, isize>> = Default::default(); }
fn stats(excess: isize, connections: usize) {
    STATS.with_borrow_mut(|s| { let e = s.entry(connections).or_insert(isize::MIN); *e = excess.max(*e); });
}
