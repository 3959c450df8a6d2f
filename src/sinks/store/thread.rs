//! The thread that stores, a queue to it and a queue back.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use parking_lot::Mutex;

use super::by_topic::ByTopic;
use super::feed::{Feed, Names, Setup};
use super::files::Disk;
use super::lock::Lock;
use super::recent::{Recall, Short, recent};
use super::schemes::{self, Keys, Schemes};
use super::segment_log::{Now, Policy, SegmentLog};
use super::{Append, Puts, Recovered, Stamp, Start, Trouble, ages, recover};
use crate::core::limits::{
    STORE_APPENDS, STORE_BUSIEST, STORE_END, STORE_HELD_SHARE, STORE_RETRY_FIRST, STORE_RETRY_MAX,
};
use crate::core::units::{about, many};
use crate::runtime::wake::{Panicked, WakeQueue};
use crate::sinks::{Condition, Outcome, Put, Sink};
use crate::wire::{DIGEST, Scheme};

/// Where and how to store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's folder.
    pub folder: PathBuf,
    /// How digests are made.
    pub scheme: Scheme,
    /// How they were made in earlier runs, as far as what those left open is to be judged by it.
    pub earlier: Vec<Scheme>,
    /// How it is stored.
    pub policy: Policy,
    /// Which digests of what is stored are to be known at the start, if any.
    pub recall: Option<Recall>,
    /// Bytes that topics may hold whose frames cannot be stored now; the further frames of these are refused, as long
    /// as others can be stored.
    pub held_max: usize,
}

impl Options {
    /// Stores in this folder; nothing is recalled.
    pub fn new(folder: &Path, scheme: Scheme, policy: Policy) -> Options {
        let (earlier, recall, held_max) = (Vec::new(), None, usize::MAX);
        Options { folder: folder.into(), scheme, earlier, policy, recall, held_max }
    }
}

/// A store on the disk, with a thread of its own.
pub struct StoreThread {
    puts: Option<Sender<Job>>,
    feed: Feed,
    /// What was stored lately: when, and its digest.
    recent: Vec<(Instant, [u8; DIGEST])>,
    /// Puts that were not collected: at most [`STORE_APPENDS`], so both queues have room for them.
    given: usize,
    back: Arc<Back>,
    by_topic: Arc<Mutex<ByTopic>>,
    ended: Receiver<()>,
}

/// What the thread is given.
enum Job {
    /// Frames.
    Put(Put),
    /// Somebody wants to see what is stored.
    Show,
}

/// What the thread brings back.
struct Back {
    stored: WakeQueue<Outcome>,
    condition: Mutex<Condition>,
    /// Nothing can be stored now, of no topic.
    is_stuck: AtomicBool,
    /// What is told the thread: how much topics in trouble may hold.
    held_max: AtomicUsize,
    panicked: Panicked,
}

/// Bytes that topics in trouble may hold, of so much memory for everything.
pub fn held_max(memory: usize) -> usize {
    memory / STORE_HELD_SHARE
}

/// Why a store cannot be used, in one line with the mend.
#[derive(Debug)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl StoreThread {
    /// Finishes what an earlier run left, and starts the thread, which calls `wake` when a sleeping reactor
    /// has something to collect.
    pub fn start(
        options: &Options,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<StoreThread, Unusable> {
        let folder = options.folder.as_path();
        let unusable = |what: &dyn fmt::Display| Unusable(format!("the store {}: {what}", folder.display()));
        let lock = Lock::take(folder)
            .map_err(|why| unusable(&format_args!("{why}: choose a folder that this user can write to")))?;
        let lock =
            lock.ok_or_else(|| unusable(&"another gateway stores there: stop it or choose another folder"))?;
        let mut disk = Disk::new(folder);
        let since = Instant::now();
        let keys = Keys::new(std::iter::once(&options.scheme).chain(&options.earlier).cloned().collect());
        let (mut start, schemes, recovered) = recover(&mut disk, &keys, now().stamp)
            .map_err(|trouble| unusable(&format_args!("{trouble}: solve that and start again")))?;
        say_recovered(folder, &recovered, since.elapsed());
        let recent = recalled(folder, &mut disk, &start, options.recall);
        let names = Names::read(&mut disk, &start.order.id)
            .map_err(|why| unusable(&format_args!("cannot read the positions of durable names: {why}")))?;
        // What somebody was given is not given again, whatever became of the store since.
        let given = names.iter().map(|(_, named)| named.next.seq).max().unwrap_or_default();
        start.order.next.seq = start.order.next.seq.max(given);

        // One place more, for those who want to see what is stored.
        let (puts, to_do) = bounded(STORE_APPENDS + 1);
        let wake = Arc::new(wake);
        let (show, wake_feed) = (puts.clone(), wake.clone());
        let setup = Setup {
            root: folder,
            id: start.order.id.clone(),
            next: start.order.next,
            oldest: start.oldest,
            floor: start.order.floor,
            names,
            has_keep: options.policy.keep.is_some(),
        };
        let is_shown = Arc::new(AtomicBool::new(true));
        let shown = is_shown.clone();
        // No more than one waits, and where the queue is full all the same, the thread looks soon enough.
        let nudge = move || {
            if shown.swap(false, SeqCst) && show.try_send(Job::Show).is_err() {
                shown.store(true, SeqCst);
            }
        };
        let feed = Feed::start(setup, move || wake_feed(), nudge)
            .map_err(|why| unusable(&format_args!("cannot start a thread: {why}: raise ulimit -u")))?;
        let back = Arc::new(Back {
            stored: WakeQueue::new(STORE_APPENDS, move || wake()),
            condition: Mutex::default(),
            is_stuck: AtomicBool::new(false),
            held_max: AtomicUsize::new(options.held_max),
            panicked: Panicked::default(),
        });
        let (end, ended) = bounded(1);
        let segment_log = SegmentLog::new(disk, options.policy, start, now());
        let by_topic = segment_log.by_topic();
        let worker = Worker {
            folder: folder.into(),
            segment_log,
            puts: to_do,
            pieces: Puts::default(),
            back: back.clone(),
            feed: feed.clone(),
            is_shown,
            holds: options.policy.hold.is_some(),
            waiting: VecDeque::new(),
            since: None,
            pause: STORE_RETRY_FIRST,
            failures: 0,
            schemes,
            lock,
            _end: end,
        };
        let told = back.clone();
        thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                if told.panicked.guard(|| worker.run()) {
                    told.stored.wake();
                }
            })
            .map_err(|why| unusable(&format_args!("cannot start a thread: {why}: raise ulimit -u")))?;
        Ok(StoreThread { puts: Some(puts), feed, recent, given: 0, back, by_topic, ended })
    }

    /// What feeds durable subscribers from this store.
    pub fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// What was stored lately, as it was to be recalled: when, and its digest; the oldest first. It is given once.
    pub fn take_recent(&mut self) -> Vec<(Instant, [u8; DIGEST])> {
        std::mem::take(&mut self.recent)
    }
}

/// The digests of what was stored lately. A store of which they cannot be read is one that can be used all the same.
fn recalled(
    folder: &Path,
    disk: &mut Disk,
    start: &Start,
    recall: Option<Recall>,
) -> Vec<(Instant, [u8; DIGEST])> {
    let Some(recall) = recall else { return Vec::new() };
    let (began, folder) = (now(), folder.display());
    let window = humantime::format_duration(recall.window);
    match recent(disk, &start.ages, began.stamp, recall) {
        Ok(recent) => {
            let (known, took) = (recent.digests.len(), about(began.instant.elapsed()));
            match recent.cut {
                Some(Short::Room) => log::warn!(
                    "the store {folder}: the newest {known} digests are known again, in {took}; there are more of the last {window}, for which --dedup has no room: raise --memory or shorten --dedup"
                ),
                Some(Short::Time) => log::warn!(
                    "the store {folder}: {known} digests of the last {window} are known again; reading ended after {took}, so that the start is not held up longer, and copies of what was not read are stored again: use a faster disk or shorten --dedup"
                ),
                None if known > 0 => log::info!(
                    "the store {folder}: {known} digests of the last {window} are known again, in {took}"
                ),
                None => {}
            }
            let when = |age| began.instant.checked_sub(age).unwrap_or(began.instant);
            recent.digests.into_iter().map(|(age, digest)| (when(age), digest)).collect()
        }
        Err(why) => {
            log::warn!(
                "the store {folder}: cannot read what was stored lately: {why}: what is sent again is stored again"
            );
            Vec::new()
        }
    }
}

fn now() -> Now {
    Now { stamp: Stamp::at(SystemTime::now()), instant: Instant::now() }
}

fn say_recovered(folder: &Path, recovered: &Recovered, took: Duration) {
    let folder = folder.display();
    for cut in &recovered.cuts {
        log::warn!(
            "the store {folder}: {} bytes at the end of a segment were not a complete frame and are kept in {} ({})",
            cut.bytes,
            cut.path.display(),
            cut.flaw
        );
    }
    if recovered.misfiled > 0 {
        log::warn!(
            "the store {folder}: {} frames lie in the folder of another topic: stop the gateway and run framegate verify --repair {folder}",
            recovered.misfiled
        );
    }
    if recovered.ordered > 0 {
        log::info!("the store {folder}: {} got their sequences", many(recovered.ordered, "frame"));
    }
    if recovered.segments > 0 {
        log::info!(
            "the store {folder}: finished {} of the run before, {}, in {}",
            many(recovered.segments, "segment"),
            many(recovered.frames, "frame"),
            about(took)
        );
    }
}

impl Sink for StoreThread {
    fn name(&self) -> &'static str {
        "store"
    }

    fn judges_frames(&self) -> bool {
        false
    }

    fn room(&self) -> usize {
        STORE_APPENDS - self.given
    }

    fn put(&mut self, put: Put) {
        self.given += 1;
        let queue = self.puts.as_ref().expect("open until it is dropped");
        // Nobody takes it where the thread panicked: the gateway is about to end with that.
        let is_full = matches!(queue.try_send(Job::Put(put)), Err(TrySendError::Full(_)));
        assert!(!is_full, "there is room for as many as may be given");
    }

    fn collect(&mut self) -> Option<Outcome> {
        let stored = self.back.stored.pop()?;
        self.given -= 1;
        Some(stored)
    }

    fn prepare_sleep(&mut self) -> bool {
        self.back.stored.prepare_sleep()
    }

    fn end_sleep(&mut self) {
        self.back.stored.end_sleep();
    }

    fn set_memory(&mut self, bytes: usize) {
        self.back.held_max.store(held_max(bytes), Relaxed);
    }

    fn condition(&self) -> Condition {
        let topics = self.by_topic.lock().busiest(STORE_BUSIEST);
        Condition { topics, ..self.back.condition.lock().clone() }
    }

    fn failure(&self) -> Option<String> {
        let said = self.back.panicked.said()?;
        Some(format!(
            "the store's thread panicked, which is a bug: {said}: what was confirmed is on the disk; start again, and \
             what was not is sent again by its publishers"
        ))
    }

    fn is_in_trouble(&self) -> bool {
        // A topic's own trouble is another thing.
        self.back.is_stuck.load(Relaxed)
    }
}

/// What waits is stored, if it can be, and every segment gets its final name.
impl Drop for StoreThread {
    fn drop(&mut self) {
        self.feed.end();
        self.puts = None;
        if self.ended.recv_timeout(STORE_END) == Err(RecvTimeoutError::Timeout) {
            log::error!("the store's disk does not answer: what is left is finished at the next start");
        }
    }
}

struct Worker {
    folder: PathBuf,
    segment_log: SegmentLog<Disk>,
    puts: Receiver<Job>,
    feed: Feed,
    /// Nobody waits in the queue to see what is stored.
    is_shown: Arc<AtomicBool>,
    /// Old segments may stay for a durable name.
    holds: bool,
    pieces: Puts,
    back: Arc<Back>,
    waiting: VecDeque<Append>,
    /// Since when nothing can be stored.
    since: Option<Instant>,
    pause: Duration,
    failures: u64,
    schemes: Schemes,
    lock: Lock,
    /// Dropped, and seen, when the thread ends.
    _end: Sender<()>,
}

impl Worker {
    fn run(mut self) {
        while self.receive() {
            let worked = self.work();
            self.judge(worked);
        }
        // Nobody waits for another attempt.
        self.segment_log.hurry(now());
        let mut worked = self.work();
        while worked.is_ok() && !self.waiting.is_empty() {
            worked = self.work();
        }
        let worked = worked.and_then(|()| self.segment_log.close_all(now()));
        let left = self.waiting.iter().map(|append| u64::from(append.frames())).sum::<u64>();
        let left = left + self.segment_log.failing().frames();
        let trouble = worked.err().map(|trouble| trouble.to_string());
        if let Some(trouble) = trouble.or_else(|| self.segment_log.failing().said()) {
            let folder = self.folder.display();
            let (left, are) = (many(left, "frame"), if left == 1 { "is" } else { "are" });
            log::error!("the store {folder}: {trouble}: {left} {are} not stored");
        }
    }

    /// Takes what waits; where nothing is to be done, waits for more. Whether there may be more.
    fn receive(&mut self) -> bool {
        let until = match self.since {
            Some(_) => Some(Instant::now() + self.pause),
            None if self.waiting.is_empty() => self.segment_log.next_due(Instant::now()),
            None => Some(Instant::now()),
        };
        let mut is_asked = false;
        loop {
            match self.puts.try_recv() {
                Ok(job) => is_asked |= self.take(job),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) if is_asked || self.since.is_none() && !self.waiting.is_empty() => {
                    return true;
                }
                Err(TryRecvError::Empty) => match self.wait(until) {
                    Ok(job) => is_asked |= self.take(job),
                    Err(RecvTimeoutError::Timeout) => return true,
                    Err(RecvTimeoutError::Disconnected) => return false,
                },
            }
        }
    }

    /// Whether somebody wants to see what is stored.
    fn take(&mut self, job: Job) -> bool {
        match job {
            Job::Put(put) => {
                self.pieces.take(put, |append| self.waiting.push_back(append));
                false
            }
            Job::Show => {
                self.is_shown.store(true, SeqCst);
                true
            }
        }
    }

    fn wait(&self, until: Option<Instant>) -> Result<Job, RecvTimeoutError> {
        match until {
            Some(until) => self.puts.recv_deadline(until),
            None => self.puts.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// One round, and what is due.
    fn work(&mut self) -> Result<(), Trouble> {
        let now = now();
        self.hold_folder()?;
        self.segment_log.set_held_max(self.back.held_max.load(Relaxed));
        let lost = self.segment_log.done().lost;
        let stored = &self.back.stored;
        let is_wanted = self.feed.hub().is_wanted();
        self.segment_log.set_wanted(is_wanted);
        let mut count = 0;
        let result = self.segment_log.store(&mut self.waiting, now, |append, refusal| {
            if let Some(outcome) = self.pieces.done(append, refusal) {
                stored.push(outcome);
                count += 1;
            }
        });
        if count > 0 {
            stored.wake();
        }
        result?;
        // Before new frames make the way to the disk longer.
        match is_wanted {
            true => {
                // With the next round, where there is one.
                let is_idle = self.waiting.is_empty() && self.puts.is_empty();
                let shown = self.segment_log.show(is_idle)?;
                self.feed.hub().show(shown);
            }
            false => {
                self.segment_log.show(true)?;
                self.feed.hub().is_behind();
            }
        }
        if self.holds {
            self.segment_log.hold_from(self.feed.hub().held_from());
        }
        self.segment_log.rotate(now)?;
        let (oldest, floor, stored) = self.segment_log.kept();
        self.feed.hub().keeps(oldest, floor, stored);
        // Perhaps the whole folder was taken away, and its lock with it.
        if self.segment_log.done().lost > lost { self.hold_folder() } else { Ok(()) }
    }

    /// Makes the store's folder again where it was removed: another gateway must not find it free.
    fn hold_folder(&mut self) -> Result<(), Trouble> {
        if self.lock.is_there() {
            return Ok(());
        }
        let lock = Lock::take(&self.folder).and_then(|lock| {
            lock.ok_or_else(|| io::Error::other("another gateway stores there by now: stop one of the two"))
        });
        self.lock = lock.map_err(|why| Trouble::new("take again", &self.folder, why))?;
        log::error!(
            "the store {}: its folder, or the lock in it, was removed or moved away: it is made again",
            self.folder.display()
        );
        let written = self.schemes.write(self.segment_log.files());
        written.map_err(|why| Trouble::new("write", Path::new(schemes::NAME), why))?;
        let written = self.segment_log.write_ages();
        written.map_err(|why| Trouble::new("write", Path::new(ages::NAME), why))
    }

    /// Says when it begins and ends to fail.
    fn judge(&mut self, worked: Result<(), Trouble>) {
        let folder = self.folder.display();
        let mut condition = self.back.condition.lock();
        condition.done = self.segment_log.done().listed();
        condition.trouble = self.segment_log.failing().said();
        match (worked, self.since) {
            (Ok(()), None) => {}
            (Ok(()), Some(since)) => {
                log::info!("the store {folder}: works again after {}", about(since.elapsed()));
                self.since = None;
            }
            (Err(trouble), since) => {
                self.failures += 1;
                if since.is_none() {
                    log::error!(
                        "the store {folder}: {trouble}: nothing is confirmed and publishers wait until that is mended"
                    );
                    self.since = Some(Instant::now());
                    self.pause = STORE_RETRY_FIRST;
                } else {
                    log::debug!("the store {folder}: {trouble}");
                    self.pause = (2 * self.pause).min(STORE_RETRY_MAX);
                }
                condition.trouble = Some(trouble.to_string());
                // What is one topic's trouble may be over with it.
                self.segment_log.hurry(now());
            }
        }
        self.back.is_stuck.store(self.since.is_some(), Relaxed);
        condition.failures = self.failures + self.segment_log.failing().failures();
    }
}
