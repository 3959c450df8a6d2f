//! What is allocated is charged (8): after every turn, what the gateway has allocated is no more than what it has charged
//! to its memory, so much for each connection, and what is fixed.

use super::network::SimNet;
use super::workers::SimPool;
use crate::gateway::{Gate, Holdings};
use crate::testing::heap;

/// 2 KiB that a connection may have beside its slot and what is charged for it: its window and its order keep room for
/// eight items each (up to 1.7 KB where there are handlers), its outbox for 64 (512 bytes).
const CONNECTION: usize = 2 * 1024;

/// 30 KiB that are there however much is connected, sent and held: 100 connections that ended (15 KB), a handler's calls
/// (2.7 KB for a first one, three handlers; twice that where they are replaced), tables of tickets that were larger (up to
/// 6 KB), what topics were asked for.
const FIXED: usize = 30 * 1024;

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
        let beside = spare + slots + noted + self.built + FIXED + connections * CONNECTION + uncharged;
        assert!(
            allocated <= charged + beside,
            "8: {} bytes are allocated and charged to nobody: {allocated} where {charged} are charged, and {beside} \
             may be beside with {connections} connections{}",
            allocated - charged - beside,
            heap::most(12)
        );
    }
}
