//! A round: what is stored together.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Now, Open, SegmentLog};
use crate::core::limits::{
    STORE_END_TURN, STORE_FILES, STORE_NEW_TOPICS, STORE_OPEN, STORE_ROUND, STORE_SEGMENT,
};
use crate::core::units::plain;
use crate::sinks::store::files::{self, Files, Unsynced, append_all, is_missing};
use crate::sinks::store::index::Entry;
use crate::sinks::store::names;
use crate::sinks::store::segment::{Segment, Trouble, folder_not_synced};
use crate::sinks::store::{Append, SyncPolicy};

/// In the store's folder, for a moment: whether anything can be stored.
const PROBE: &str = ".probe";

/// 1 s between two looks whether it can.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What a round does to one segment.
struct Part {
    segment: usize,
    topic: Arc<[u8]>,
    appends: Vec<usize>,
    /// Bytes of the segment before this part, and with it.
    begin: u64,
    end: u64,
    entries: Vec<Entry>,
    /// The sequences of their first frames.
    seqs: Vec<u64>,
    fate: Fate,
}

impl Part {
    /// Whether it was written, and nothing has failed since.
    fn is_written(&self) -> bool {
        matches!(self.fate, Fate::Written)
    }
}

/// What became of a part.
enum Fate {
    /// Nothing was done yet.
    Planned,
    /// It was written, and no more.
    Written,
    /// It is stored.
    Stored,
    /// The segment was taken away.
    Gone,
    /// It cannot be stored now.
    Failed(Trouble),
}

/// A round: the first of what waits, each in its part.
#[derive(Default)]
pub struct Round {
    appends: VecDeque<Append>,
    parts: Vec<Part>,
    part_of: Vec<usize>,
    bytes: usize,
    /// Topics that were new in it.
    new_topics: usize,
    /// Connections that wait for a later round with a further new topic, and with all that is behind it.
    deferred: HashSet<u64>,
}

/// Where frames go.
enum Place {
    /// To this part of the round.
    Part(usize),
    /// To a later round.
    Later,
    /// To a later round, with what its connection has sent behind it: this one has as many new topics as it may.
    Deferred,
    /// To what waits until its topic works again.
    Held,
    /// Nowhere, for this reason.
    Nowhere(Box<str>),
}

impl<F: Files> SegmentLog<F> {
    /// Decides what goes where. Segments that are full are closed, new ones begun.
    pub(super) fn plan(
        &mut self,
        round: &mut Round,
        waiting: &mut VecDeque<Append>,
        now: Now,
        told: &mut impl FnMut(Append, Option<Box<str>>),
    ) -> Result<(), Trouble> {
        let mut deferred = VecDeque::new();
        let planned = self.plan_on(round, waiting, &mut deferred, now, told);
        deferred.append(waiting);
        *waiting = deferred;
        planned
    }

    /// What is deferred is put aside.
    fn plan_on(
        &mut self,
        round: &mut Round,
        waiting: &mut VecDeque<Append>,
        deferred: &mut VecDeque<Append>,
        now: Now,
        told: &mut impl FnMut(Append, Option<Box<str>>),
    ) -> Result<(), Trouble> {
        while let Some(append) = waiting.front() {
            if round.deferred.contains(&append.from()) {
                deferred.extend(waiting.pop_front());
                continue;
            }
            let len = append.len();
            if self.failing.holds(append.topic()) {
                let is_refused = self.failing.is_full() && !append.is_tried() && self.works(now.instant);
                let append = waiting.pop_front().expect("it is there");
                if is_refused {
                    let why = format!("the topic cannot be stored: {}", self.failing.why(append.topic()));
                    told(append, Some(why.into()));
                } else {
                    self.failing.push(append);
                }
                continue;
            }
            if !round.appends.is_empty() && round.bytes + len > STORE_ROUND {
                break;
            }
            let at = match self.place(append, round, now) {
                Ok(Place::Part(at)) => at,
                Ok(Place::Later) => break,
                Ok(Place::Deferred) => {
                    round.deferred.insert(append.from());
                    continue;
                }
                Ok(Place::Held) => continue,
                Ok(Place::Nowhere(why)) => {
                    self.failing.forget(append.topic());
                    told(waiting.pop_front().expect("it is there"), Some(why));
                    continue;
                }
                Err(trouble) if self.concerns_all(&trouble) => return Err(trouble),
                Err(trouble) => {
                    self.failing.fail(&append.topic().into(), &trouble, None, now.instant);
                    continue;
                }
            };
            let first = self.clock.take(now.stamp, append.frames());
            let seq = self.order.assign(first, append.frames(), len as u64);
            let is_next = round.part_of.last() == Some(&at);
            let part = &mut round.parts[at];
            part.appends.push(round.appends.len());
            part.end += len as u64;
            match part.entries.last_mut().filter(|last| is_next && last.next() == first.0) {
                Some(last) => (last.end, last.frames) = (part.end, last.frames + append.frames()),
                None => {
                    part.entries.push(Entry { first, end: part.end, frames: append.frames() });
                    part.seqs.push(seq);
                }
            }
            round.part_of.push(at);
            round.bytes += len;
            round.appends.extend(waiting.pop_front());
        }
        Ok(())
    }

    /// Whether anything can be stored now: what fails is then a topic's own trouble.
    fn works(&mut self, now: Instant) -> bool {
        if let Some((at, works)) = self.probed
            && now.saturating_duration_since(at) < PROBE_EVERY
        {
            return works;
        }
        let path = Path::new(PROBE);
        let mut probe = || -> io::Result<()> {
            files::remove(&mut self.files, path)?;
            let mut file = self.files.create(path)?;
            append_all(&mut self.files, &mut file, &mut [IoSlice::new(&[0; 512])])?;
            self.files.sync(&mut file)?;
            self.files.remove(path)
        };
        let works = probe().is_ok();
        self.probed = Some((now, works));
        works
    }

    /// The part of a round that takes these frames.
    fn place(&mut self, append: &Append, round: &mut Round, now: Now) -> Result<Place, Trouble> {
        let (topic, len) = (append.topic(), append.len() as u64);
        if let Some(&id) = self.topics.get(topic) {
            let open = &self.segments[id];
            let is_in_round = open.round == self.rounds;
            let end = if is_in_round { round.parts[open.part].end } else { open.segment.len() };
            match (is_in_round, end > 0 && end + len > STORE_SEGMENT) {
                (true, true) => return Ok(Place::Later),
                (true, false) => return Ok(Place::Part(open.part)),
                (false, true) => {
                    self.retire(id);
                    self.end_all(now)?;
                }
                (false, false) => {}
            }
            // It could not be closed.
            if self.failing.holds(topic) {
                return Ok(Place::Held);
            }
        }
        if round.parts.len() == STORE_FILES {
            return Ok(Place::Later);
        }
        let id = match self.topics.get(topic) {
            Some(&id) => id,
            None => match self.begin(topic, round, now)? {
                Ok(id) => id,
                Err(place) => return Ok(place),
            },
        };
        self.open_files(id);
        let open = &mut self.segments[id];
        (open.round, open.part) = (self.rounds, round.parts.len());
        let begin = open.segment.len();
        let (topic, appends, entries, seqs) = (open.topic.clone(), Vec::new(), Vec::new(), Vec::new());
        let fate = Fate::Planned;
        round.parts.push(Part { segment: id, topic, appends, begin, end: begin, entries, seqs, fate });
        Ok(Place::Part(open.part))
    }

    /// Begins a topic's next segment; none if as many are open as may be, and all in this round, if the round has as
    /// many new topics as it may, or the store as many.
    fn begin(&mut self, topic: &[u8], round: &mut Round, now: Now) -> Result<Result<usize, Place>, Trouble> {
        if self.due.len() >= STORE_OPEN {
            let ids = self.due.iter().map(|&(_, id)| id);
            let oldest = ids.filter(|id| self.segments[*id].round != self.rounds).take(STORE_END_TURN);
            let oldest: Vec<usize> = oldest.collect();
            if oldest.is_empty() {
                return Ok(Err(Place::Later));
            }
            oldest.into_iter().for_each(|id| self.retire(id));
            self.end_all(now)?;
        }
        let text = std::str::from_utf8(topic).expect("only frames whose topic was checked are stored");
        let folder: Arc<Path> = names::folder(text).into();
        // Whether it is new need not be asked while it would have room.
        let is_bounded = round.new_topics >= STORE_NEW_TOPICS;
        let path = folder.clone();
        let looked = |why| Trouble::new("look for", &path, why);
        if is_bounded && !self.files.is_folder(&folder).map_err(looked)? {
            return Ok(Err(Place::Deferred));
        }
        let may = self.stored_topics.take(&mut self.files, &folder, now.instant);
        if !may.map_err(|why| Trouble::new("count the topics for", &folder, why))? {
            return Ok(Err(Place::Nowhere(self.stored_topics.refusal())));
        }
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
        match self.segments[id].segment.make(&mut self.files) {
            Ok(is_new) => {
                round.new_topics += usize::from(is_new);
                self.stored_topics.add(is_new);
                self.is_root_synced = false;
            }
            Err(trouble) => {
                self.retire(id);
                return Err(trouble);
            }
        }
        Ok(Ok(id))
    }

    /// Writes and syncs every part, and says where it stands. What fails for one is that one's; what fails for all
    /// ends the round.
    pub(super) fn carry_out(&mut self, round: &mut Round) -> Result<(), Trouble> {
        let Round { appends, parts, .. } = round;
        for part in &mut *parts {
            let bodies = part.appends.iter().map(|&at| appends[at].body());
            let mut slices: Vec<IoSlice<'_>> =
                bodies.flat_map(|body| body.slices()).map(IoSlice::new).collect();
            part.fate = Fate::Written;
            let written = self.segments[part.segment].segment.write(&mut self.files, &mut slices);
            self.judge(part, written)?;
        }
        self.sync_parts(parts)?;
        for part in parts.iter_mut().filter(|part| part.is_written()) {
            let segment = &mut self.segments[part.segment].segment;
            match segment.is_there(&mut self.files) {
                Ok(true) => {
                    let indexed = segment.index(&mut self.files, &part.entries);
                    if self.judge(part, indexed)? {
                        part.fate = Fate::Stored;
                    }
                }
                Ok(false) => part.fate = Fate::Gone,
                Err(trouble) => {
                    self.judge(part, Err(trouble))?;
                }
            }
        }
        Ok(())
    }

    /// Syncs what was written, and the folders that are new, all together.
    fn sync_parts(&mut self, parts: &mut [Part]) -> Result<(), Trouble> {
        let root = (!self.is_root_synced).then(PathBuf::new);
        let mut folders: BTreeSet<PathBuf> = root.into_iter().collect();
        let mut lent = Vec::new();
        // What earlier rounds stored is shown once its places are synced, too.
        let mut places = self.begin_places();
        for (at, part) in parts.iter_mut().enumerate().filter(|(_, part)| part.is_written()) {
            let segment = &mut self.segments[part.segment].segment;
            folders.extend(segment.unsynced_folders().map(Path::to_path_buf));
            if self.policy.sync == SyncPolicy::Batch {
                let pair = match places.take(part.segment) {
                    Some(pair) => Ok(pair),
                    None => segment.lend(&mut self.files),
                };
                lent.push((at, pair));
            }
        }
        let (mut all, mut indexes) = (Vec::new(), Vec::new());
        for (at, lent) in &mut lent {
            let Ok(pair) = lent else { continue };
            all.push(Unsynced::File(&mut pair.frames));
            let id = parts[*at].segment;
            if places.begun.contains(&id) {
                indexes.push((id, Unsynced::File(&mut pair.index)));
            }
        }
        for (id, pair) in &mut places.lent {
            indexes.push((*id, Unsynced::File(&mut pair.index)));
        }
        all.extend(folders.iter().map(|path| Unsynced::Folder(path)));
        let frames_and_folders = all.len();
        let (ids, indexes): (Vec<usize>, Vec<_>) = indexes.into_iter().unzip();
        all.extend(indexes);
        if places.is_wanted {
            all.extend(self.order.unsynced_file().map(Unsynced::File));
        }
        let mut results = self.files.sync_each(&mut all);
        let of_places = results.split_off(frames_and_folders);
        let mut results = results.into_iter();
        self.end_places(places, &ids, of_places);
        // All files are back before anything is judged.
        let mut outcomes = Vec::new();
        for (at, lent) in lent {
            let segment = &mut self.segments[parts[at].segment].segment;
            let synced = lent.and_then(|pair| {
                segment.give_back(pair);
                let result = results.next().expect("each has a result");
                result.map_err(|why| segment.sync_failed(why))
            });
            outcomes.push((at, synced));
        }
        let failed = folders.iter().zip(results);
        let failed: Vec<_> = failed.filter_map(|(path, result)| Some((&**path, result.err()?))).collect();
        for (at, outcome) in outcomes {
            self.judge(&mut parts[at], outcome)?;
        }
        let root = Path::new("");
        if let Some((_, why)) = failed.iter().find(|(path, _)| *path == root) {
            return Err(folder_not_synced(root, again(why)));
        }
        self.is_root_synced = true;
        for part in parts.iter_mut().filter(|part| part.is_written()) {
            let segment = &mut self.segments[part.segment].segment;
            let trouble = segment.unsynced_folders().find_map(|path| {
                let (_, why) = failed.iter().find(|(failed, _)| *failed == path)?;
                Some(folder_not_synced(path, again(why)))
            });
            match trouble {
                Some(trouble) => {
                    self.judge(part, Err(trouble))?;
                }
                None => segment.folders_synced(),
            }
        }
        Ok(())
    }

    /// Whether a step of a part was done.
    fn judge(&mut self, part: &mut Part, done: Result<(), Trouble>) -> Result<bool, Trouble> {
        match done {
            Ok(()) => return Ok(true),
            Err(trouble) if self.concerns_all(&trouble) => return Err(trouble),
            Err(trouble) if is_missing(&trouble.why) => part.fate = Fate::Gone,
            Err(trouble) => part.fate = Fate::Failed(trouble),
        }
        Ok(false)
    }

    /// Hands over what a round stored; the rest waits on. Segments that are full or broken take no more frames.
    pub(super) fn conclude(
        &mut self,
        round: Round,
        waiting: &mut VecDeque<Append>,
        now: Now,
        mut told: impl FnMut(Append, Option<Box<str>>),
    ) {
        let Round { appends, parts, part_of, .. } = round;
        let mut runs = Vec::new();
        for Part { segment, topic, begin, end, entries, seqs, fate, .. } in &parts {
            match fate {
                Fate::Stored => {
                    let frames = entries.iter().map(|entry| u64::from(entry.frames)).sum();
                    self.by_topic.lock().add(topic, frames, end - begin);
                    self.failing.works(topic, now.instant);
                    self.visible.stored(*segment);
                    if self.visible.is_wanted() {
                        let stored = &self.segments[*segment].segment;
                        runs.extend(stored.runs(topic, *begin, entries, seqs));
                    }
                    if *end >= STORE_SEGMENT {
                        self.retire(*segment);
                    }
                }
                Fate::Planned => {}
                // What was written and not stored is of no use: nobody knows what the disk made of it.
                Fate::Written | Fate::Gone | Fate::Failed(_) => {
                    let given_up = &mut self.segments[*segment].segment;
                    given_up.give_up();
                    if let Fate::Gone = fate
                        && let Err(why) = given_up.cut_off(&mut self.files)
                    {
                        let topic = String::from_utf8_lossy(topic);
                        log::error!(
                            "the store: the open segment of the topic '{}' was moved away, and what was not confirmed in it cannot be cut off: {why}: if it is moved back, some frames stand twice",
                            plain(&topic)
                        );
                    }
                    self.retire(*segment);
                }
            }
            if let Fate::Failed(trouble) = fate {
                self.failing.fail(topic, trouble, None, now.instant);
            }
        }
        self.visible.round(runs, self.order.next());
        let stored = |part: &usize| matches!(parts[*part].fate, Fate::Stored);
        self.done.rounds += u64::from(part_of.iter().any(stored));
        let mut left = VecDeque::new();
        for (append, part) in appends.into_iter().zip(&part_of) {
            match parts[*part].fate {
                Fate::Stored => {
                    self.done.frames += u64::from(append.frames());
                    self.done.bytes += append.len() as u64;
                    told(append, None);
                }
                Fate::Failed(_) => self.failing.push(append.tried()),
                Fate::Planned => left.push_back(append),
                Fate::Written | Fate::Gone => left.push_back(append.tried()),
            }
        }
        left.append(waiting);
        *waiting = left;
    }
}

/// The same failure, for another that it concerns.
pub(super) fn again(why: &io::Error) -> io::Error {
    match why.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => why.kind().into(),
    }
}
