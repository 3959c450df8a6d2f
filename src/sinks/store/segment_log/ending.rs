//! Segments that take no more frames get their final names, some at a time: each step is synced for all of them at once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::round::again;
use super::{Now, SegmentLog};
use crate::core::limits::STORE_END_TURN;
use crate::core::units::plain;
use crate::sinks::store::SyncPolicy;
use crate::sinks::store::files::{Files, Unsynced, is_missing};
use crate::sinks::store::segment::{Trouble, folder_not_synced};

/// What became of a segment that was to get its final name.
pub(in crate::sinks::store) type Ended = (usize, Result<(), Trouble>);

impl<F: Files> SegmentLog<F> {
    /// The segment takes no more frames, and is ended before anything else is done.
    pub(in crate::sinks::store) fn retire(&mut self, id: usize) {
        let open = &self.segments[id];
        if self.due.remove(&(open.segment.begun(), id)) {
            self.topics.remove(&open.topic);
            self.ending.push(id);
        }
    }

    /// Gives the segments that take no more frames their final names. What fails is tried again.
    pub(super) fn end_all(&mut self, now: Now) -> Result<(), Trouble> {
        while !self.ending.is_empty() {
            let some = self.ending.split_off(self.ending.len().saturating_sub(STORE_END_TURN));
            let mut result = Ok(());
            for (id, ended) in self.end_each(&some) {
                match ended {
                    Ok(()) => {}
                    Err(trouble) if self.concerns_all(&trouble) => {
                        self.ending.push(id);
                        result = Err(trouble);
                    }
                    Err(trouble) => {
                        let topic = self.segments[id].topic.clone();
                        self.failing.fail(&topic, &trouble, Some(id), now.instant);
                    }
                }
            }
            result?;
        }
        Ok(())
    }

    /// Gives segments their final names, or takes away what is left of those that hold nothing.
    pub(in crate::sinks::store) fn end_each(&mut self, ids: &[usize]) -> Vec<Ended> {
        let mut not_whole = self.sync_files(ids);
        let mut ended = Vec::new();
        let mut folders = BTreeMap::new();
        for &id in ids.iter().rev() {
            let unsynced = not_whole.remove(&id);
            match self.end(id, unsynced) {
                Ok(true) => {
                    let folder = self.segments[id].segment.folder().to_path_buf();
                    folders.entry(folder).or_insert_with(Vec::new).push(id);
                }
                Ok(false) => {
                    self.forget(id);
                    ended.push((id, Ok(())));
                }
                Err(trouble) => {
                    self.segments[id].segment.close_files();
                    ended.push((id, Err(trouble)));
                }
            }
        }
        let mut all: Vec<_> = folders.keys().map(|path| Unsynced::Folder(path)).collect();
        let results = self.files.sync_each(&mut all);
        for ((path, ids), result) in folders.iter().zip(results) {
            for &id in ids {
                let result = match &result {
                    // The whole folder was taken away, as what has its final name may be.
                    Err(why) if !is_missing(why) => Err(folder_not_synced(path, again(why))),
                    _ => Ok(()),
                };
                if result.is_ok() {
                    self.done.segments += 1;
                    self.keeper.add(self.segments[id].segment.len());
                    self.forget(id);
                }
                ended.push((id, result));
            }
        }
        ended
    }

    /// Syncs the indexes, and the frames where nothing else has. Those whose frames could not be synced.
    fn sync_files(&mut self, ids: &[usize]) -> BTreeMap<usize, Trouble> {
        let is_off = self.policy.sync == SyncPolicy::Off;
        let mut lent = Vec::new();
        let mut not_whole = BTreeMap::new();
        for &id in ids {
            // None of them is idle until all are ended: what is lent cannot be closed.
            self.segments[id].round = self.rounds;
        }
        for &id in ids {
            self.open_files(id);
            let segment = &mut self.segments[id].segment;
            if segment.begin_index_sync() {
                match segment.lend(&mut self.files) {
                    Ok(pair) => lent.push((id, pair)),
                    Err(trouble) if is_off => {
                        not_whole.insert(id, trouble);
                    }
                    Err(_) => {}
                }
            }
        }
        let mut all = Vec::new();
        for (_, pair) in &mut lent {
            all.push(Unsynced::File(&mut pair.index));
            if is_off {
                // Nobody holds what is in them any more.
                all.push(Unsynced::File(&mut pair.frames));
            }
        }
        let mut results = self.files.sync_each(&mut all).into_iter();
        for (id, pair) in lent {
            let segment = &mut self.segments[id].segment;
            segment.give_back(pair);
            // One that fails is written anew.
            if results.next().is_some_and(|result| result.is_ok()) {
                segment.index_is_synced();
            }
            if is_off && let Some(Err(why)) = results.next() {
                not_whole.insert(id, segment.sync_failed(why));
            }
        }
        not_whole
    }

    /// Gives a segment its final name, or takes away what is left of one that holds nothing or is gone; whether its folder
    /// is to be synced. `unsynced` is why its frames could not be.
    fn end(&mut self, id: usize, unsynced: Option<Trouble>) -> Result<bool, Trouble> {
        let segment = &mut self.segments[id].segment;
        // Left as it is, it is judged at the next start by what the disk then has.
        let unsynced = unsynced.filter(|trouble| !is_missing(&trouble.why));
        if let Some(trouble) = &unsynced {
            log::error!("the store {trouble}: what it holds may be lost; it is left as it is");
        }
        let (frames, bytes) = segment.stored();
        if frames > 0 && !segment.is_renamed() && segment.is_gone(&mut self.files)? {
            if !self.files.is_folder(Path::new("")).unwrap_or(false) {
                return Err(Trouble::new(
                    "find the store's own folder for",
                    segment.folder(),
                    ErrorKind::NotFound.into(),
                ));
            }
            // What of it failed in a round before, and was not cut off yet.
            if let Err(why) = segment.cut_off(&mut self.files) {
                log::error!(
                    "the store: cannot cut off what is not confirmed in a segment that was moved away: {why}"
                );
            }
            segment.clear(&mut self.files);
            self.done.lost += frames;
            let topic = String::from_utf8_lossy(&self.segments[id].topic);
            log::error!(
                "the store: an open segment of the topic '{}' was removed or moved away: {frames} frames ({bytes} bytes) that were confirmed are gone with it; a new one begins",
                plain(&topic)
            );
            return Ok(false);
        }
        if unsynced.is_some() || !segment.mend(&mut self.files)? {
            return Ok(false);
        }
        segment.finish(&mut self.files)?;
        Ok(true)
    }

    fn forget(&mut self, id: usize) {
        self.hot.retain(|&other| other != id);
        self.visible.forget(id);
        self.segments.remove(id);
    }
}
