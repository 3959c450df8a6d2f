//! What a turn costs at most, however many read and write: so much is written in it in all, to each peer its share, and
//! no more is read than can be written.
//!
//! What is read for many subscribers is written many times. So what a turn may read follows from how many copies of a
//! byte were handed out lately: with few it is [`READ_TURN`], and nothing here is ever noticed.

use crate::core::limits::{OUTBOX_ENTRY, READ_MAX, READ_MIN, READ_TURN, WRITE_SHARE, WRITE_TURN_ALL};

/// The shares of this turn.
#[derive(Debug, Default)]
pub struct Fair {
    /// Bytes that may still be written.
    left: usize,
    /// Peers that are still to be written to, the one that is written to now included.
    peers: usize,
    /// Someone was left with less than it could have had.
    is_behind: bool,
    /// So many, the first of those that are dirty, were not looked at in the turn before.
    pub late: usize,
    /// Bytes that may still be read; what was read beyond that is taken from the next turn.
    credit: isize,
    /// Bytes handed out, and the copies of them for those who can take some now; lately, and in this turn.
    lately: Copies,
    turn: Copies,
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    bytes: usize,
    copied: usize,
}

impl Fair {
    /// A turn begins.
    pub fn begin_turn(&mut self) {
        let Copies { bytes, copied } = std::mem::take(&mut self.turn);
        if bytes > 0 {
            // Of the last eight turns or so.
            self.lately.bytes = self.lately.bytes / 8 * 7 + bytes;
            self.lately.copied = self.lately.copied / 8 * 7 + copied;
        }
        let allowed = self.allowed();
        self.credit = match allowed {
            READ_TURN.. => READ_TURN as isize,
            _ => (self.credit + allowed as isize).min(READ_TURN as isize),
        };
        if !self.is_behind {
            // Everything is written: the next is read, however many get it.
            self.credit = self.credit.max(1);
        }
        // The half of it is kept for those whose turn comes when everything is read.
        self.left = WRITE_TURN_ALL / 2;
        self.peers = 1;
    }

    /// Bytes whose copies a turn can write; half of them while some were not, so that these are.
    fn allowed(&self) -> usize {
        let copies = if self.is_behind { WRITE_TURN_ALL / 2 } else { WRITE_TURN_ALL };
        let Copies { bytes, copied } = self.lately;
        match copied {
            0 => READ_TURN,
            _ => (copies as u128 * bytes as u128 / copied as u128).min(READ_TURN as u128) as usize,
        }
    }

    /// Whether something may still be read in this turn.
    pub fn may_read(&self) -> bool {
        self.credit > 0
    }

    /// The most that one read takes.
    pub fn read_max(&self) -> usize {
        self.credit.clamp(READ_MIN as isize, READ_MAX as isize) as usize
    }

    /// So much was read.
    pub fn read(&mut self, bytes: u64) {
        self.credit -= bytes as isize;
    }

    /// A run of so many bytes is handed out.
    pub fn hand_out(&mut self, bytes: usize) {
        self.turn.bytes += bytes;
    }

    /// One subscriber of it has so much to be written now: nothing where its socket is full.
    pub fn copy(&mut self, bytes: usize) {
        self.turn.copied += bytes + OUTBOX_ENTRY;
    }

    /// Everything is read, and so many are to be written to.
    pub fn begin_writing(&mut self) {
        self.left += WRITE_TURN_ALL / 2;
        self.is_behind = false;
    }

    /// The next of so many is written to. Whether there is something left for it.
    pub fn next_peer(&mut self, peers: usize) -> bool {
        self.peers = peers;
        self.is_behind |= self.left == 0;
        self.left > 0
    }

    /// What one may be written that may have `most`: shares are even among those that need them, and none is too
    /// small to be worth a write.
    pub fn share(&self, most: usize) -> usize {
        most.min((self.left / self.peers.max(1)).max(WRITE_SHARE)).min(self.left)
    }

    /// So much of its share was written to one; whether it could have had more.
    pub fn wrote(&mut self, bytes: usize, is_short: bool) {
        self.left = self.left.saturating_sub(bytes);
        self.is_behind |= is_short;
    }
}
