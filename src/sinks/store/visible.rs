//! What durable subscribers may see: what would have its place in the order after a power failure, too.
//!
//! Frames are on the disk when they are confirmed; the indexes and the order, which say where they stand, need not be.
//! As long as somebody wants to see them, these are synced once more after each round, and the runs of that round are
//! shown then: at most one sync later than their OK.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::SyncPolicy;
use super::files::{Files, Unsynced};
use super::order::{self, Place};
use super::segment::{Pair, Trouble};
use super::segment_log::SegmentLog;
use super::stamp::Stamp;
use crate::core::limits::STORE_END_TURN;

/// Frames of one topic that were stored one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// Their topic.
    pub topic: Arc<[u8]>,
    /// Its folder, from the store's own.
    pub folder: Arc<Path>,
    /// The segment that holds them.
    pub base: Stamp,
    /// Where the first begins in it, and the last ends.
    pub from: u64,
    /// See `from`.
    pub to: u64,
    /// The stamp of the first.
    pub stamp: Stamp,
    /// Its sequence.
    pub seq: u64,
    /// How many they are.
    pub frames: u32,
}

/// What is stored and not shown yet.
#[derive(Debug)]
pub struct Visible {
    is_wanted: bool,
    /// Segments of whose indexes not all may be on the disk.
    unsynced: BTreeSet<usize>,
    /// Runs that are stored, from this sequence on, and all that is.
    runs: Vec<StoredRun>,
    from: u64,
    to: Place,
    /// Up to there everything was shown, or can be.
    shown: Place,
    ready: Option<Shown>,
    /// Rounds since then.
    rounds: u32,
    oldest: Option<Stamp>,
}

/// What can be shown from now on.
#[derive(Debug)]
pub struct Shown {
    /// Runs in their order: all that there are from the sequence `from` on.
    pub runs: Vec<StoredRun>,
    /// See `runs`.
    pub from: u64,
    /// The place behind everything that is shown.
    pub to: Place,
}

impl Visible {
    /// Everything before this place is shown.
    pub fn new(to: Place, oldest: Option<Stamp>) -> Visible {
        let (unsynced, runs, from) = (BTreeSet::new(), Vec::new(), to.seq);
        Visible { is_wanted: false, unsynced, runs, from, to, shown: to, ready: None, rounds: 0, oldest }
    }

    /// Whether somebody wants to see what is stored.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Something was stored in a segment.
    pub fn stored(&mut self, segment: usize) {
        self.unsynced.insert(segment);
    }

    /// A segment is finished, or gone.
    pub fn forget(&mut self, segment: usize) {
        self.unsynced.remove(&segment);
    }

    /// The places of all that is stored are on the disk: it can be shown.
    fn settle(&mut self) {
        (self.shown, self.rounds) = (self.to, 0);
        let from = std::mem::replace(&mut self.from, self.to.seq);
        let mut runs = std::mem::take(&mut self.runs);
        match &mut self.ready {
            Some(ready) => {
                ready.runs.append(&mut runs);
                ready.to = self.to;
            }
            None => self.ready = Some(Shown { runs, from, to: self.to }),
        }
    }

    /// A round is over, and these are its runs.
    pub fn round(&mut self, mut runs: Vec<StoredRun>, next: Place) {
        match self.is_wanted {
            true => {
                runs.sort_unstable_by_key(|run| run.seq);
                self.runs.append(&mut runs);
                self.rounds += 1;
            }
            false => self.from = next.seq,
        }
        self.to = next;
    }
}

/// Indexes that are synced with the frames of a round.
pub struct Places<T> {
    /// Whether somebody waits for it.
    pub is_wanted: bool,
    /// Whether these are all that are to be synced.
    is_all: bool,
    /// Those of segments that have no part in the round, and all before that is known.
    pub lent: Vec<(usize, Pair<T>)>,
    /// Those of segments that have.
    pub begun: BTreeSet<usize>,
}

impl<T> Places<T> {
    /// The files of a segment that has a part in the round, if its index is to be synced.
    pub fn take(&mut self, segment: usize) -> Option<Pair<T>> {
        let at = self.lent.iter().position(|(id, _)| *id == segment)?;
        self.begun.insert(segment);
        Some(self.lent.swap_remove(at).1)
    }
}

impl<F: Files> SegmentLog<F> {
    /// Whether somebody wants to see what is stored. Those who do are shown the runs from now on.
    pub fn set_wanted(&mut self, is_wanted: bool) {
        if !is_wanted {
            (self.visible.runs, self.visible.ready) = (Vec::new(), None);
            self.visible.from = self.visible.to.seq;
        }
        self.visible.is_wanted = is_wanted;
    }

    /// Shows what is stored and has its place on the disk; none where there is nothing new. Places that are not there are
    /// brought there with the next round; `at_once` where none follows.
    pub fn show(&mut self, at_once: bool) -> Result<Option<Shown>, Trouble> {
        let flushed = self.order.flush(&mut self.files);
        flushed.map_err(|why| Trouble::new("write", Path::new(order::FOLDER), why))?;
        let is_new = self.visible.to != self.visible.shown || !self.visible.runs.is_empty();
        if self.visible.is_wanted && is_new {
            if self.policy.sync == SyncPolicy::Off {
                self.visible.settle();
            } else if at_once || self.visible.rounds > 1 {
                // No round follows, or the last had more to sync than it may.
                if self.sync_places()? {
                    self.visible.settle();
                }
            }
        }
        Ok(self.visible.ready.take())
    }

    /// The indexes of earlier rounds, as many as are synced with a round.
    pub(super) fn begin_places(&mut self) -> Places<F::File> {
        let is_wanted = self.visible.is_wanted && self.policy.sync == SyncPolicy::Batch;
        let mut places = Places { is_wanted, is_all: is_wanted, lent: Vec::new(), begun: BTreeSet::new() };
        if !is_wanted {
            return places;
        }
        places.is_all =
            self.visible.unsynced.len() <= STORE_END_TURN && self.order.is_written_to(self.visible.to.seq);
        let some: Vec<usize> = self.visible.unsynced.iter().copied().take(STORE_END_TURN).collect();
        for id in some {
            let segment = &mut self.segments[id].segment;
            // One that is broken is written anew with its final name.
            let pair = if segment.begin_index_sync() { segment.lend(&mut self.files).ok() } else { None };
            match pair {
                Some(pair) => places.lent.push((id, pair)),
                None => places.is_all = false,
            }
        }
        places
    }

    /// They are synced, or not.
    pub(super) fn end_places(
        &mut self,
        places: Places<F::File>,
        ids: &[usize],
        results: Vec<io::Result<()>>,
    ) {
        let Places { is_wanted, mut is_all, lent, .. } = places;
        for (id, pair) in lent {
            self.give_back(id, pair);
        }
        let mut results = results.into_iter();
        for &id in ids {
            match results.next().expect("each has a result") {
                Ok(()) => {
                    self.segments[id].segment.index_is_synced();
                    self.visible.unsynced.remove(&id);
                }
                Err(_) => is_all = false,
            }
        }
        if let Some(result) = results.next()
            && let Err(why) = self.order.synced(result)
        {
            log::warn!("the store cannot write to {}: {why}: durable subscribers wait", order::FOLDER);
            is_all = false;
        }
        if is_wanted && is_all {
            self.visible.settle();
        }
    }

    /// Those that are not among the segments with open files are closed again.
    fn give_back(&mut self, id: usize, pair: Pair<F::File>) {
        let segment = &mut self.segments[id].segment;
        segment.give_back(pair);
        if !self.hot.contains(&id) {
            segment.close_files();
        }
    }

    /// Whether all are synced. A segment whose index cannot be is ended with the next round, with an index that is written
    /// anew; until then its frames, and all behind them, are not shown.
    fn sync_places(&mut self) -> Result<bool, Trouble> {
        let ids: Vec<usize> = self.visible.unsynced.iter().copied().collect();
        let mut is_all = true;
        // Once at least, for the order.
        let mut left = &ids[..];
        loop {
            let (some, rest) = left.split_at(left.len().min(STORE_END_TURN));
            left = rest;
            let mut lent = Vec::new();
            for &id in some {
                let segment = &mut self.segments[id].segment;
                let pair = if segment.begin_index_sync() { segment.lend(&mut self.files).ok() } else { None };
                match pair {
                    Some(pair) => lent.push((id, pair)),
                    None => {
                        self.retire(id);
                        is_all = false;
                    }
                }
            }
            let mut all: Vec<_> = lent.iter_mut().map(|(_, pair)| Unsynced::File(&mut pair.index)).collect();
            all.extend(self.order.unsynced_file().map(Unsynced::File));
            let results = self.files.sync_each(&mut all);
            let mut results = results.into_iter();
            for (id, pair) in lent {
                self.give_back(id, pair);
                match results.next().expect("each has a result") {
                    Ok(()) => {
                        self.segments[id].segment.index_is_synced();
                        self.visible.unsynced.remove(&id);
                    }
                    Err(why) => {
                        log::warn!("the store cannot sync an index: {why}: its segment ends early");
                        self.retire(id);
                        is_all = false;
                    }
                }
            }
            if let Some(result) = results.next() {
                let synced = self.order.synced(result);
                synced.map_err(|why| Trouble::new("write", Path::new(order::FOLDER), why))?;
            }
            if left.is_empty() {
                return Ok(is_all);
            }
        }
    }

    /// Some segments were removed.
    pub(super) fn was_removed(&mut self) {
        if let Some(oldest) = self.keeper.oldest() {
            self.visible.oldest = Some(oldest);
            if let Err(why) = self.order.forget(&mut self.files, oldest) {
                log::warn!("the store cannot remove what speaks of removed segments: {why}");
            }
        }
    }

    /// The first segment that is known to be kept, the sequence below which frames were removed, and the place behind
    /// everything that is stored.
    pub fn kept(&self) -> (Option<Stamp>, u64, Place) {
        (self.visible.oldest, self.order.floor(), self.visible.to)
    }

    /// From this stamp on, frames are not done for the durable name that is furthest behind.
    pub fn hold_from(&mut self, stamp: Stamp) {
        self.keeper.hold_from(stamp);
    }
}
