//! The store itself: an open segment a topic, written and synced in rounds.
//!
//! A round takes what waits, in order, writes each topic's part to its segment, syncs every segment that
//! was written to, and says in the indexes where the frames stand. Then they are stored. So one
//! sync covers all frames that wait, however many publishers they come from.
//!
//! Where anything fails, what it concerned is not stored and stays first in line; its segment is
//! [ended](Segment::mend) before anything else is done, so that nothing is ever there twice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;

use super::by_topic::ByTopic;
use super::files::Files;
use super::index::Entry;
use super::keep::{Keep, Keeper};
use super::names;
use super::segment::{Segment, Trouble};
use super::stamp::{Clock, Stamp};
use super::{Append, SyncPolicy};
use crate::limits::{STORE_CLOSE_TURN, STORE_FILES, STORE_OPEN, STORE_ROUND, STORE_SEGMENT};

/// How a warehouse stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A segment gets its final name this long after it began.
    pub rotate: Duration,
    /// Whether what is stored is on the disk.
    pub sync: SyncPolicy,
    /// What is removed, if anything ever is.
    pub keep: Option<Keep>,
}

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By the calendar.
    pub stamp: Stamp,
    /// For lengths of time.
    pub instant: Instant,
}

/// 5 s between two looks for old segments, where nothing else is to be done.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Frames stored.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rounds that stored something.
    pub rounds: u64,
    /// Segments that got their final name.
    pub segments: u64,
    /// Segments removed since they were not to be kept.
    pub removed: u64,
}

impl Done {
    /// Each by its name.
    pub fn listed(self) -> Vec<(&'static str, u64)> {
        let Done { frames, bytes, rounds, segments, removed } = self;
        let done = [
            ("frames", frames),
            ("bytes", bytes),
            ("rounds", rounds),
            ("segments", segments),
            ("removed", removed),
        ];
        done.into()
    }
}

/// Open segments over some files.
pub struct Warehouse<F: Files> {
    files: F,
    policy: Policy,
    clock: Clock,
    segments: Slab<Open<F::File>>,
    /// The segment that takes a topic's frames.
    topics: HashMap<Arc<[u8]>, usize>,
    /// Those segments, in the order in which they are due.
    due: BTreeSet<(Instant, usize)>,
    /// Segments that take no more frames, to be ended before anything else.
    ending: Vec<usize>,
    /// Segments whose files are open.
    hot: Vec<usize>,
    keeper: Keeper,
    rounds: u64,
    done: Done,
    by_topic: Arc<Mutex<ByTopic>>,
}

struct Open<T> {
    segment: Segment<T>,
    topic: Arc<[u8]>,
    /// The last round that it had a part in, and which.
    round: u64,
    part: usize,
}

/// What a round does to one segment.
struct Part {
    segment: usize,
    appends: Vec<usize>,
    /// Bytes of the segment before this part, and with it.
    begin: u64,
    end: u64,
    entries: Vec<Entry>,
    stored: bool,
}

/// A round: the first of what waits, each in its part.
struct Round {
    parts: Vec<Part>,
    part_of: Vec<usize>,
    bytes: usize,
}

impl<F: Files> Warehouse<F> {
    /// A warehouse without open segments. `clock` has passed every stamp that was ever given.
    pub fn new(files: F, policy: Policy, clock: Clock) -> Warehouse<F> {
        Warehouse {
            files,
            policy,
            clock,
            segments: Slab::new(),
            topics: HashMap::new(),
            due: BTreeSet::new(),
            ending: Vec::new(),
            hot: Vec::new(),
            keeper: Keeper::new(policy.keep),
            rounds: 0,
            done: Done::default(),
            by_topic: Arc::default(),
        }
    }

    /// What was done since the start.
    pub fn done(&self) -> Done {
        self.done
    }

    /// The same, of each topic. It may be looked at from another thread.
    pub fn by_topic(&self) -> Arc<Mutex<ByTopic>> {
        self.by_topic.clone()
    }

    /// Stores the first of what waits, as much as one round takes, and hands over what is stored. After a
    /// failure the rest waits still, in its order.
    pub fn store(
        &mut self,
        waiting: &mut VecDeque<Append>,
        now: Now,
        mut stored: impl FnMut(Append),
    ) -> Result<(), Trouble> {
        self.end_all()?;
        self.rounds += 1;
        let mut round = self.plan(waiting, now)?;
        let result = self.carry_out(&mut round, waiting);
        let mut left = VecDeque::new();
        for &part in &round.part_of {
            let append = waiting.pop_front().expect("a round is of what waits");
            if round.parts[part].stored {
                self.done.frames += u64::from(append.frames);
                self.done.bytes += append.body.len() as u64;
                stored(append);
            } else {
                left.push_back(append);
            }
        }
        left.append(waiting);
        *waiting = left;
        {
            let mut by_topic = self.by_topic.lock();
            for part in round.parts.iter().filter(|part| part.stored) {
                let frames = part.entries.iter().map(|entry| u64::from(entry.frames)).sum();
                by_topic.add(&self.segments[part.segment].topic, frames, part.end - part.begin);
            }
        }
        self.done.rounds += u64::from(round.parts.iter().any(|part| part.stored));
        for part in &round.parts {
            let is_over = !part.stored || part.end >= STORE_SEGMENT;
            if is_over {
                // What was written and not stored is of no use: nobody knows what the disk made of it.
                if !part.stored {
                    self.segments[part.segment].segment.give_up();
                }
                self.retire(part.segment);
            }
        }
        result?;
        self.end_all()
    }

    /// Gives segments that are due their final names, and removes old ones, some at a time.
    pub fn rotate(&mut self, now: Now) -> Result<(), Trouble> {
        self.end_all()?;
        for _ in 0..STORE_CLOSE_TURN {
            match self.due.first() {
                Some(&(begun, id)) if begun + self.policy.rotate <= now.instant => self.close(id)?,
                _ => break,
            }
        }
        self.done.removed += self.keeper.remove_old(&mut self.files, now.stamp);
        Ok(())
    }

    /// When to [`rotate`](Self::rotate) again; none if there is nothing to do until something is stored.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let rotation = self.due.first().map(|&(begun, _)| begun + self.policy.rotate);
        let removal = self.policy.keep.map(|_| now + KEEP_EVERY);
        rotation.into_iter().chain(removal).min()
    }

    /// Gives every segment its final name.
    pub fn close_all(&mut self) -> Result<(), Trouble> {
        self.end_all()?;
        while let Some(&(_, id)) = self.due.first() {
            self.close(id)?;
        }
        Ok(())
    }

    /// Decides what goes where. Segments that are full are closed, new ones begun.
    fn plan(&mut self, waiting: &VecDeque<Append>, now: Now) -> Result<Round, Trouble> {
        let mut round = Round { parts: Vec::new(), part_of: Vec::new(), bytes: 0 };
        for append in waiting {
            let len = append.body.len();
            if !round.part_of.is_empty() && round.bytes + len > STORE_ROUND {
                break;
            }
            let Some(part) = self.part_for(append, &mut round, now)? else { break };
            let first = self.clock.take(now.stamp, append.frames);
            let is_next = round.part_of.last() == Some(&part);
            round.part_of.push(part);
            round.bytes += len;
            let at = round.part_of.len() - 1;
            let part = &mut round.parts[part];
            part.appends.push(at);
            part.end += len as u64;
            match part.entries.last_mut().filter(|last| is_next && last.next() == first.0) {
                Some(last) => (last.end, last.frames) = (part.end, last.frames + append.frames),
                None => part.entries.push(Entry { first, end: part.end, frames: append.frames }),
            }
        }
        Ok(round)
    }

    /// The part of a round that takes these frames; none if they have to wait for the next.
    fn part_for(&mut self, append: &Append, round: &mut Round, now: Now) -> Result<Option<usize>, Trouble> {
        let (topic, len) = (append.topic(), append.body.len() as u64);
        if let Some(&id) = self.topics.get(topic) {
            let open = &self.segments[id];
            let is_in_round = open.round == self.rounds;
            let end = if is_in_round { round.parts[open.part].end } else { open.segment.len() };
            match (is_in_round, end > 0 && end + len > STORE_SEGMENT) {
                (true, true) => return Ok(None),
                (true, false) => return Ok(Some(open.part)),
                (false, true) => self.close(id)?,
                (false, false) => {}
            }
        }
        if round.parts.len() == STORE_FILES {
            return Ok(None);
        }
        let id = match self.topics.get(topic) {
            Some(&id) => id,
            None => match self.begin(topic, now)? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        self.open_files(id);
        let open = &mut self.segments[id];
        (open.round, open.part) = (self.rounds, round.parts.len());
        let begin = open.segment.len();
        let (appends, entries) = (Vec::new(), Vec::new());
        round.parts.push(Part { segment: id, appends, begin, end: begin, entries, stored: false });
        Ok(Some(open.part))
    }

    /// Begins a topic's next segment; none if as many are open as may be, and all in this round.
    fn begin(&mut self, topic: &[u8], now: Now) -> Result<Option<usize>, Trouble> {
        if self.due.len() >= STORE_OPEN {
            let oldest = self.due.iter().find(|(_, id)| self.segments[*id].round != self.rounds);
            let Some(&(_, id)) = oldest else { return Ok(None) };
            self.close(id)?;
        }
        let text = std::str::from_utf8(topic).expect("only frames whose topic was checked are stored");
        let folder: Arc<Path> = names::folder(text).into();
        let base = self.clock.take(now.stamp, 0);
        let topic: Arc<[u8]> = topic.into();
        let id = self.segments.insert(Open {
            segment: Segment::new(folder, base, now.instant),
            topic: topic.clone(),
            round: 0,
            part: 0,
        });
        self.topics.insert(topic, id);
        self.due.insert((now.instant, id));
        self.open_files(id);
        if let Err(trouble) = self.segments[id].segment.make(&mut self.files) {
            self.retire(id);
            return Err(trouble);
        }
        Ok(Some(id))
    }

    fn carry_out(&mut self, round: &mut Round, waiting: &VecDeque<Append>) -> Result<(), Trouble> {
        for part in &round.parts {
            let bodies = part.appends.iter().map(|&at| &waiting[at].body);
            let mut slices: Vec<IoSlice<'_>> =
                bodies.flat_map(|body| body.slices()).map(IoSlice::new).collect();
            self.segments[part.segment].segment.write(&mut self.files, &mut slices)?;
        }
        if self.policy.sync == SyncPolicy::Batch {
            for part in &round.parts {
                self.segments[part.segment].segment.sync(&mut self.files)?;
            }
        }
        for part in &mut round.parts {
            self.segments[part.segment].segment.index(&mut self.files, &part.entries)?;
            part.stored = true;
        }
        Ok(())
    }

    /// The segment takes no more frames, and is ended before anything else is done.
    fn retire(&mut self, id: usize) {
        let open = &self.segments[id];
        if self.due.remove(&(open.segment.begun(), id)) {
            self.topics.remove(&open.topic);
            self.ending.push(id);
        }
    }

    fn close(&mut self, id: usize) -> Result<(), Trouble> {
        self.retire(id);
        self.end_all()
    }

    /// Gives the segments that take no more frames their final names. What fails is tried again.
    fn end_all(&mut self) -> Result<(), Trouble> {
        while let Some(&id) = self.ending.last() {
            self.open_files(id);
            let segment = &mut self.segments[id].segment;
            let mut is_whole = true;
            if self.policy.sync == SyncPolicy::Off && !segment.is_broken() && !segment.is_renamed() {
                // Nobody holds the frames any more. Left as it is, it is judged at the next start by what
                // the disk then has.
                if let Err(trouble) = segment.sync(&mut self.files) {
                    log::error!("the store {trouble}: what it holds may be lost; it is left as it is");
                    is_whole = false;
                }
            }
            if is_whole && segment.mend(&mut self.files)? {
                segment.finish(&mut self.files)?;
                self.done.segments += 1;
                self.keeper.add(segment.len());
            }
            self.ending.pop();
            self.hot.retain(|&other| other != id);
            self.segments.remove(id);
        }
        Ok(())
    }

    /// Makes room for the files of a segment that is used now: those of the one that was not for the
    /// longest time are closed.
    fn open_files(&mut self, id: usize) {
        if self.hot.contains(&id) {
            return;
        }
        if self.hot.len() >= STORE_FILES {
            let idle = self.hot.iter().enumerate().filter(|(_, id)| self.segments[**id].round != self.rounds);
            if let Some((at, _)) = idle.min_by_key(|(_, id)| self.segments[**id].round) {
                let idle = self.hot.swap_remove(at);
                self.segments[idle].segment.close_files();
            }
        }
        self.hot.push(id);
    }
}
