//! What durable subscribers may see: what would have its place in the order after a power failure, too.
//!
//! Frames are on the disk when they are confirmed; the indexes and the order, which say where they stand, need not be.
//! As long as somebody wants to see them, these are synced once more after each round, and the runs of that round are
//! shown then: at most one sync later than their OK.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::SyncPolicy;
use super::files::{Files, Unsynced};
use super::order::{self, Place};
use super::segment::Trouble;
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
    /// Up to there everything was shown.
    shown: Place,
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
        Visible { is_wanted: false, unsynced, runs, from, to, shown: to, oldest }
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

    /// A round is over, and these are its runs.
    pub fn round(&mut self, mut runs: Vec<StoredRun>, next: Place) {
        match self.is_wanted {
            true => {
                runs.sort_unstable_by_key(|run| run.seq);
                self.runs.append(&mut runs);
            }
            false => self.from = next.seq,
        }
        self.to = next;
    }
}

impl<F: Files> SegmentLog<F> {
    /// Whether somebody wants to see what is stored. Those who do are shown the runs from now on.
    pub fn set_wanted(&mut self, is_wanted: bool) {
        if !is_wanted {
            self.visible.runs = Vec::new();
            self.visible.from = self.visible.to.seq;
        }
        self.visible.is_wanted = is_wanted;
    }

    /// Brings to the disk where frames stand that are stored, and shows them; none where there is nothing new.
    pub fn show(&mut self) -> Result<Option<Shown>, Trouble> {
        self.order
            .flush(&mut self.files)
            .map_err(|why| Trouble::new("write", Path::new(order::FOLDER), why))?;
        if !self.visible.is_wanted || self.visible.to == self.visible.shown && self.visible.runs.is_empty() {
            return Ok(None);
        }
        if self.policy.sync == SyncPolicy::Batch {
            self.sync_places()?;
        }
        let visible = &mut self.visible;
        visible.shown = visible.to;
        let from = std::mem::replace(&mut visible.from, visible.to.seq);
        Ok(Some(Shown { runs: std::mem::take(&mut visible.runs), from, to: visible.to }))
    }

    fn sync_places(&mut self) -> Result<(), Trouble> {
        let mut is_first = true;
        while is_first || !self.visible.unsynced.is_empty() {
            is_first = false;
            let some: Vec<usize> = self.visible.unsynced.iter().copied().take(STORE_END_TURN).collect();
            let mut lent = Vec::new();
            for id in some {
                let segment = &mut self.segments[id].segment;
                let pair = if segment.begin_index_sync() { segment.lend(&mut self.files).ok() } else { None };
                match pair {
                    Some(pair) => lent.push((id, pair)),
                    // It is written anew with its final name.
                    None => self.end_early(id)?,
                }
            }
            let mut all: Vec<_> = lent.iter_mut().map(|(_, pair)| Unsynced::File(&mut pair.index)).collect();
            all.extend(self.order.unsynced_file().map(Unsynced::File));
            let results = self.files.sync_each(&mut all);
            let mut results = results.into_iter();
            for (id, pair) in lent {
                let segment = &mut self.segments[id].segment;
                segment.give_back(pair);
                self.visible.unsynced.remove(&id);
                match results.next().expect("each has a result") {
                    Ok(()) => segment.index_is_synced(),
                    Err(why) => {
                        log::warn!("the store cannot sync an index: {why}: its segment ends early");
                        self.end_early(id)?;
                    }
                }
            }
            if let Some(result) = results.next() {
                let synced = self.order.synced(&mut self.files, result);
                synced.map_err(|why| Trouble::new("write", Path::new(order::FOLDER), why))?;
            }
        }
        Ok(())
    }

    /// A segment whose index cannot be synced gets its final name, and with it an index that was written anew.
    fn end_early(&mut self, id: usize) -> Result<(), Trouble> {
        self.retire(id);
        self.visible.unsynced.remove(&id);
        match self.end_each(&[id]).pop() {
            Some((_, Err(trouble))) => {
                self.visible.unsynced.insert(id);
                Err(trouble)
            }
            _ => {
                self.ending.retain(|&other| other != id);
                Ok(())
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
