//! The store itself: an open segment a topic, written and synced in rounds.
//!
//! A round takes what waits, in order, writes each topic's part to its segment, syncs every segment that
//! was written to, and says in the indexes where the frames stand. Then they are stored. So one
//! sync covers all frames that wait, however many publishers they come from.
//!
//! Where anything fails, what it concerned is not stored and stays first in line; its segment is
//! [ended](Segment::mend) before anything else is done with its topic, so that nothing is ever there twice. What fails
//! for one topic [holds up that topic](FailingTopics) and no other; a full disk holds up all.

mod ending;
#[cfg(test)]
mod new_topics;
mod round;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use round::Round;
use slab::Slab;

use super::ages::Ages;
use super::by_topic::ByTopic;
use super::clock_jump::Watch;
use super::failing_topics::FailingTopics;
use super::files::{Files, is_missing};
use super::keep::{Hold, Keep, Keeper};
use super::order::Order;
use super::recover::Start;
use super::segment::{Segment, Trouble};
use super::stamp::{Clock, Stamp};
use super::topics::Topics;
use super::visible::Visible;
use super::{Append, SyncPolicy};
use crate::core::limits::{STORE_END_TURN, STORE_FILES};
use crate::core::units::later;

/// How a segment log stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A segment gets its final name this long after it began.
    pub rotate: Duration,
    /// Whether what is stored is on the disk.
    pub sync: SyncPolicy,
    /// What is removed, if anything ever is.
    pub keep: Option<Keep>,
    /// How many topics it may have.
    pub topics: usize,
    /// How much longer than that it is kept for the durable name that is furthest behind.
    pub hold: Option<Hold>,
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
    /// Frames that were confirmed and then taken away before their segment was finished.
    pub lost: u64,
}

impl Done {
    /// Each by its name.
    pub fn listed(self) -> Vec<(&'static str, u64)> {
        let Done { frames, bytes, rounds, segments, removed, lost } = self;
        let done = [
            ("frames", frames),
            ("bytes", bytes),
            ("rounds", rounds),
            ("segments", segments),
            ("removed", removed),
            ("lost", lost),
        ];
        done.into()
    }
}

/// Open segments over some files.
pub struct SegmentLog<F: Files> {
    pub(super) files: F,
    pub(super) policy: Policy,
    clock: Clock,
    pub(super) segments: Slab<Open<F::File>>,
    /// The segment that takes a topic's frames.
    topics: HashMap<Arc<[u8]>, usize>,
    /// Those segments, in the order in which they are due.
    due: BTreeSet<(Instant, usize)>,
    /// Segments that take no more frames, to be ended before anything else.
    pub(super) ending: Vec<usize>,
    /// Segments whose files are open.
    pub(super) hot: Vec<usize>,
    pub(super) keeper: Keeper,
    /// Where frames are kept for a time.
    watch: Option<Watch>,
    failing: FailingTopics,
    stored_topics: Topics,
    /// Whether everything that was made in the store's own folder is on the disk.
    is_root_synced: bool,
    ages: Ages,
    /// Whether stamps run ahead of the clock.
    is_ahead: bool,
    /// When it was last looked whether anything can be stored, and whether it could.
    probed: Option<(Instant, bool)>,
    rounds: u64,
    done: Done,
    by_topic: Arc<Mutex<ByTopic>>,
    /// The sequences of what is stored.
    pub(super) order: Order<F::File>,
    /// What durable subscribers may see.
    pub(super) visible: Visible,
}

pub(super) struct Open<T> {
    pub(super) segment: Segment<T>,
    topic: Arc<[u8]>,
    /// The last round that it had a part in, and which.
    round: u64,
    part: usize,
}

impl<F: Files> SegmentLog<F> {
    /// A segment log without open segments, that begins where a [start](super::recover()) has left it.
    pub fn new(mut files: F, policy: Policy, start: Start, now: Now) -> SegmentLog<F> {
        let Start { clock, topics, ages, newest, oldest, order, .. } = start;
        let watch = match policy.keep {
            Some(Keep::Time(time)) => Some(Watch::begin(&mut files, time, newest, now)),
            Some(Keep::Size(_)) | None => None,
        };
        let mut segment_log = SegmentLog {
            files,
            policy,
            clock,
            segments: Slab::new(),
            topics: HashMap::new(),
            due: BTreeSet::new(),
            ending: Vec::new(),
            hot: Vec::new(),
            keeper: Keeper::new(policy.keep, policy.hold),
            watch,
            failing: FailingTopics::default(),
            stored_topics: Topics::new(topics, policy.topics),
            is_root_synced: true,
            ages,
            is_ahead: false,
            probed: None,
            rounds: 0,
            done: Done::default(),
            by_topic: Arc::default(),
            visible: Visible::new(order.next, oldest),
            order: Order::new(&order),
        };
        segment_log.look_at_clock(now);
        segment_log
    }

    /// Topics in trouble hold at most about so many bytes; what comes beyond that is refused.
    pub fn set_held_max(&mut self, bytes: usize) {
        self.failing.set_bytes_max(bytes);
    }

    /// What was done since the start.
    pub fn done(&self) -> Done {
        self.done
    }

    /// The same, of each topic. It may be looked at from another thread.
    pub fn by_topic(&self) -> Arc<Mutex<ByTopic>> {
        self.by_topic.clone()
    }

    /// The topics that are in trouble.
    pub fn failing(&self) -> &FailingTopics {
        &self.failing
    }

    /// Its files.
    pub fn files(&mut self) -> &mut F {
        &mut self.files
    }

    /// Says again what clocks did, in a store's folder that was made anew.
    pub fn write_ages(&mut self) -> io::Result<()> {
        if let Some(watch) = &self.watch {
            watch.write(&mut self.files)?;
        }
        if self.ages == Ages::default() { Ok(()) } else { self.ages.write(&mut self.files) }
    }

    /// The first stamp that may still be given.
    pub fn next_stamp(&self) -> Stamp {
        self.clock.next()
    }

    /// Stores the first of what waits, as much as one round takes, and hands over what is stored, and what is
    /// refused with the reason. After a failure that concerns all topics the rest waits still, in its order; one
    /// that concerns one topic holds up that topic's frames alone.
    pub fn store(
        &mut self,
        waiting: &mut VecDeque<Append>,
        now: Now,
        mut told: impl FnMut(Append, Option<Box<str>>),
    ) -> Result<(), Trouble> {
        self.look_at_clock(now);
        self.end_all(now)?;
        self.retry(waiting, now)?;
        self.rounds += 1;
        let mut round = Round::default();
        let result = self.plan(&mut round, waiting, now, &mut told);
        let result = result.and_then(|()| self.carry_out(&mut round));
        self.conclude(round, waiting, now, told);
        result?;
        self.end_all(now)
    }

    /// Gives segments that are due their final names, and removes old ones, some at a time.
    pub fn rotate(&mut self, now: Now) -> Result<(), Trouble> {
        self.end_all(now)?;
        let is_due = |(begun, _): &&(Instant, usize)| later(*begun, self.policy.rotate) <= now.instant;
        let due: Vec<_> = self.due.iter().take_while(is_due).take(STORE_END_TURN).copied().collect();
        due.into_iter().for_each(|(_, id)| self.retire(id));
        self.end_all(now)?;
        if self.watch.as_mut().is_none_or(|watch| watch.may_remove(&mut self.files, now)) {
            let order = &mut self.order;
            let before = |files: &mut F, end| order.raise_floor(files, end);
            let removed = self.keeper.remove_old(&mut self.files, now.stamp, &self.ages, before);
            self.done.removed += removed;
            if removed > 0 {
                self.was_removed();
            }
        }
        Ok(())
    }

    /// When to [`store`](Self::store) and [`rotate`](Self::rotate) again; none if there is nothing to do until
    /// something comes.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let rotation = self.due.first().map(|&(begun, _)| later(begun, self.policy.rotate));
        let removal = self.policy.keep.map(|_| now + KEEP_EVERY);
        rotation.into_iter().chain(removal).chain(self.failing.next()).min()
    }

    /// Topics in trouble are tried again at once.
    pub fn hurry(&mut self, now: Now) {
        self.failing.hurry(now.instant);
    }

    /// Gives every segment its final name.
    pub fn close_all(&mut self, now: Now) -> Result<(), Trouble> {
        while let Some(&(_, id)) = self.due.first() {
            self.retire(id);
        }
        self.end_all(now)
    }

    /// Says when stamps begin and end to run ahead of the clock.
    fn look_at_clock(&mut self, now: Now) {
        let ahead = self.clock.ahead_of(now.stamp);
        match (ahead, self.is_ahead) {
            (Some(ahead), false) => {
                let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
                let until = humantime::format_rfc3339_seconds(self.clock.next().time());
                log::warn!(
                    "the store's stamps run ahead of the clock by {ahead}: the clock was ahead once, or was set back. Order is kept; until {until}, --store-keep and --since go by the times of the files"
                );
                self.is_ahead = true;
                if let Err(why) = self.ages.add(&mut self.files, self.clock.next(), now.stamp) {
                    log::warn!(
                        "the store cannot keep a record of that in .clock: {why}; the next start does"
                    );
                }
            }
            (None, true) => {
                log::info!("the clock has caught up with the store's stamps");
                self.is_ahead = false;
            }
            _ => {}
        }
    }

    /// Tries topics in trouble again that are due.
    fn retry(&mut self, waiting: &mut VecDeque<Append>, now: Now) -> Result<(), Trouble> {
        for (topic, ending) in self.failing.due(now.instant) {
            if let Some(id) = ending
                && let Some((_, Err(trouble))) = self.end_each(&[id]).pop()
            {
                if self.concerns_all(&trouble) {
                    return Err(trouble);
                }
                self.failing.fail(&topic, &trouble, Some(id), now.instant);
                continue;
            }
            let mut first = self.failing.take(&topic);
            match (first.is_empty(), ending) {
                (true, Some(_)) => self.failing.works(&topic, now.instant),
                (true, None) => self.failing.rest(&topic, now.instant),
                (false, _) => {}
            }
            first.append(waiting);
            *waiting = first;
        }
        Ok(())
    }

    /// Whether a failure is not one topic's: the disk, or the whole store.
    fn concerns_all(&mut self, trouble: &Trouble) -> bool {
        /// Too many open files, in the process and in the system; these numbers are everywhere the same.
        const OPEN_FILES: [i32; 2] = [24, 23];
        let why = &trouble.why;
        matches!(
            why.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::FileTooLarge
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::OutOfMemory
        ) || why.raw_os_error().is_some_and(|number| OPEN_FILES.contains(&number))
            || is_missing(why) && !self.files.is_folder(Path::new("")).unwrap_or(false)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::{Buffer, Memory};
    use crate::sinks::Put;
    use crate::sinks::store::{Disk, Puts};
    use crate::wire::{Body, Header, Kind, Scheme, encode};

    /// A frame of a topic.
    fn append(topic: &str, memory: &Arc<Memory>) -> Append {
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), topic.as_bytes(), b"", &Scheme::Sha256, &mut bytes);
        let end = bytes.len();
        let buffer = Arc::new(Buffer::charged(memory, bytes.into()));
        let put = Put { ticket: 0, from: 0, body: Body::Slice { buffer, start: 0, end }, frames: 1 };
        let mut appends = Vec::new();
        Puts::default().take(put, |append| appends.push(append));
        appends.pop().expect("one frame is one append")
    }

    #[test]
    fn topics_whose_frames_were_all_refused_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let begun = Instant::now();
        let now = |seconds| Now { stamp: Stamp(1), instant: begun + Duration::from_secs(seconds) };
        let (rotate, sync) = (Duration::from_secs(1000), SyncPolicy::Batch);
        let policy = Policy { rotate, sync, keep: None, topics: 100, hold: None };
        let mut segment_log = SegmentLog::new(Disk::new(folder.path()), policy, Start::default(), now(0));
        // Nothing may wait.
        segment_log.set_held_max(0);
        let mut store = |topic: &str, at| {
            let mut refused = None;
            let mut waiting = VecDeque::from([append(topic, &memory)]);
            segment_log.store(&mut waiting, now(at), |_, refusal| refused = refusal).unwrap();
            assert!(waiting.is_empty() && segment_log.failing().frames() == 0);
            (refused.is_some(), segment_log.failing().len())
        };
        let topics: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
        for (n, topic) in topics.iter().enumerate() {
            std::fs::write(folder.path().join(topic), "in the way").unwrap();
            assert_eq!(store(topic, 0), (true, n + 1));
        }
        // They are tried again, and nothing of them waits; soon after it is the same trouble still.
        assert_eq!(store("fine", 1), (false, 20));
        assert_eq!(store(&topics[0], 2), (true, 20));
        assert_eq!(store("fine", 7), (false, 1), "but for the one that failed once more");
        assert_eq!(store("fine", 20), (false, 0));
    }

    #[test]
    fn each_time_that_the_clock_is_set_back_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let begun = Instant::now();
        let second = |n: u64| Stamp(1_000_000_000 * n);
        let now = |n| Now { stamp: second(n), instant: begun };
        let (rotate, sync) = (Duration::from_secs(10), SyncPolicy::Batch);
        let policy = Policy { rotate, sync, keep: None, topics: 1, hold: None };
        let mut segment_log = SegmentLog::new(Disk::new(folder.path()), policy, Start::default(), now(5000));
        let mut store = |n| {
            let mut waiting = VecDeque::from([append("a", &memory)]);
            let mut told = 0;
            segment_log
                .store(&mut waiting, now(n), |_, refusal| told += u32::from(refusal.is_none()))
                .unwrap();
            assert_eq!(told, 1);
            Ages::read(&mut Disk::new(folder.path())).unwrap()
        };
        assert_eq!(store(5000), Ages::default());
        assert_eq!(store(4995), Ages::default(), "clocks are set by so little all the time");
        let once = store(1000);
        assert_eq!((once.latest(second(5000)), once.is_ahead(second(5001))), (second(1000), true));
        assert_eq!(store(1010), once, "it is the same time still");
        assert_eq!(store(6000), once, "the clock has caught up");
        let twice = store(3000);
        assert_ne!(twice, once);
        assert_eq!(twice.latest(second(5000)), second(1000));
        assert_eq!(twice.latest(second(6000)), second(3000));
    }
}
