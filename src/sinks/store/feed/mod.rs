//! Feeding durable subscribers from the store.
//!
//! The loop opens subscriptions and says how much each takes; threads of the store's own read for them, and hand over
//! runs of the very bytes that are stored. What is not asked for costs nothing: a subscriber that is paused is a place in
//! the order.

mod event;
mod extents;
mod names;
mod readers;
mod subscription;
mod watchers;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};

pub use event::{Event, FeedRun};
pub use names::{Named, Names};
pub use subscription::Subscription;

use extents::Extents;
use watchers::Watchers;

use super::ages::Ages;
use super::files::Disk;
use super::order::{self, Place};
use super::stamp::Stamp;
use super::visible::Shown;
use crate::core::limits::{
    DURABLE_AHEAD, DURABLE_AHEAD_ALL, DURABLE_AHEAD_MIN, DURABLE_READERS, DURABLE_WRITE,
};
use crate::core::units::many;
use crate::runtime::wake::{Panicked, WakeFlag};
use crate::wire::durable::Start;

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where it asks to.
    At(Start),
    /// With this frame, after an earlier subscription under its name.
    With(Place),
}

/// What a reader thread is told.
pub enum Task {
    /// To look at a subscription.
    Step(Arc<Subscription>),
    /// To end.
    End,
}

/// How one durable name fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameState {
    /// The name.
    pub name: String,
    /// What is kept under it.
    pub named: Named,
    /// How far it is behind: frames and bytes of all topics, and how long ago the last that is done was stored.
    pub lag_frames: u64,
    /// See `lag_frames`.
    pub lag_bytes: u64,
    /// See `lag_frames`.
    pub lag_time: Duration,
}

/// What is shown, and to whom.
struct Live {
    /// Behind everything that is shown, and behind everything that is confirmed.
    shown: Place,
    confirmed: Place,
    /// Whether that is everything that is confirmed, or was a moment ago.
    is_fresh: bool,
    oldest: Option<Stamp>,
    /// Below this sequence frames were removed.
    floor: u64,
    watchers: Watchers,
}

type Nudge = Box<dyn Fn() + Send + Sync>;

/// What all threads share.
pub struct Hub {
    root: PathBuf,
    id: String,
    live: Mutex<Live>,
    extents: Extents,
    names: Mutex<Names>,
    /// Wakes the thread that writes names, where somebody waits for that.
    names_changed: Condvar,
    /// The version that somebody waits for.
    urgent: Mutex<u64>,
    /// The version that is on the disk.
    written: AtomicU64,
    events: Mutex<VecDeque<Event>>,
    flag: WakeFlag,
    wake: Box<dyn Fn() + Send + Sync>,
    tasks: Sender<Task>,
    /// Subscriptions that failed, to be tried again.
    failed: Mutex<Vec<Arc<Subscription>>>,
    /// Subscriptions that are open.
    open: AtomicUsize,
    /// Bytes that are handed over and not written, of all.
    ahead: Arc<AtomicUsize>,
    /// Wakes the store's thread, as long as that runs.
    nudge: Mutex<Option<Nudge>>,
    is_over: AtomicBool,
    /// What is kept at all, so that it is said who is about to lose something.
    has_keep: bool,
    panicked: Panicked,
}

/// Feeds durable subscribers. Every copy is of the same one.
#[derive(Clone)]
pub struct Feed(Arc<Hub>);

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed")
    }
}

/// What a feed begins with.
pub struct Setup<'a> {
    /// The store's folder.
    pub root: &'a Path,
    /// Its id.
    pub id: String,
    /// Behind everything that is stored.
    pub next: Place,
    /// The first segment.
    pub oldest: Option<Stamp>,
    /// Below this sequence frames were removed.
    pub floor: u64,
    /// The names.
    pub names: Names,
    /// Whether old segments are removed.
    pub has_keep: bool,
}

impl Feed {
    /// Starts the threads. `wake` wakes the loop, `nudge` the store's thread.
    ///
    /// # Errors
    /// What the system says of a thread.
    pub fn start(
        setup: Setup<'_>,
        wake: impl Fn() + Send + Sync + 'static,
        nudge: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Feed> {
        // A subscription is in it once at most (`is_queued`), so it is bounded by how many there are.
        let (tasks, to_do) = unbounded();
        let live = Live {
            shown: setup.next,
            confirmed: setup.next,
            is_fresh: false,
            oldest: setup.oldest,
            floor: setup.floor,
            watchers: Watchers::default(),
        };
        let hub = Arc::new(Hub {
            root: setup.root.into(),
            id: setup.id,
            live: Mutex::new(live),
            extents: Extents::new(setup.root),
            names: Mutex::new(setup.names),
            names_changed: Condvar::new(),
            urgent: Mutex::new(0),
            written: AtomicU64::new(0),
            events: Mutex::default(),
            flag: WakeFlag::new(),
            wake: Box::new(wake),
            tasks,
            failed: Mutex::default(),
            open: AtomicUsize::new(0),
            ahead: Arc::default(),
            nudge: Mutex::new(Some(Box::new(nudge))),
            is_over: AtomicBool::new(false),
            has_keep: setup.has_keep,
            panicked: Panicked::default(),
        });
        for n in 0..DURABLE_READERS {
            let (hub, to_do): (Arc<Hub>, Receiver<Task>) = (hub.clone(), to_do.clone());
            thread::Builder::new().name(format!("store-read-{n}")).spawn(move || {
                if hub.panicked.guard(|| hub.read(&to_do)) {
                    hub.wake();
                }
            })?;
        }
        let writer = hub.clone();
        thread::Builder::new().name("store-names".into()).spawn(move || {
            if writer.panicked.guard(|| writer.keep_names()) {
                writer.wake();
            }
        })?;
        Ok(Feed(hub))
    }

    /// Opens a subscription, which may be handed so many frames.
    pub fn open(&self, id: u64, begin: Begin, credit: u64, patterns: Vec<String>) -> Arc<Subscription> {
        let subscription = Subscription::new(id, begin, credit, patterns, self.0.tasks.clone());
        let subscription = Arc::new(subscription);
        if self.0.open.fetch_add(1, SeqCst) == 0
            && let Some(nudge) = &*self.0.nudge.lock()
        {
            nudge();
        }
        subscription.schedule();
        subscription
    }

    /// What has happened.
    pub fn collect(&self) -> Option<Event> {
        self.0.events.lock().pop_front()
    }

    /// Before a sleep: from now on, an event wakes the loop. Whether there is none already.
    pub fn prepare_sleep(&self) -> bool {
        self.0.flag.lower();
        self.0.events.lock().is_empty()
    }

    /// After a sleep.
    pub fn end_sleep(&self) {
        self.0.flag.keep_raised();
    }

    /// Why nothing more will come, if that is so.
    pub fn failure(&self) -> Option<String> {
        let said = self.0.panicked.said()?;
        Some(format!("a thread that reads the store panicked, which is a bug: {said}: start again"))
    }

    /// Bytes that are read and held for subscribers.
    pub fn bytes(&self) -> usize {
        self.0.ahead.load(SeqCst) + self.0.extents.bytes()
    }

    /// Looks at the names, or changes them: what is changed is on the disk within a second.
    pub fn names<T>(&self, look: impl FnOnce(&mut Names) -> T) -> T {
        look(&mut self.0.names.lock())
    }

    /// An event is given when this version of the names is on the disk, as soon as that can be.
    pub fn hurry(&self, version: u64) {
        // The thread that writes looks at it and begins to wait under this lock.
        let names = self.0.names.lock();
        let mut urgent = self.0.urgent.lock();
        *urgent = (*urgent).max(version);
        drop((urgent, names));
        let written = self.0.written.load(SeqCst);
        match version <= written {
            true => self.0.tell(Event::Written(written)),
            false => _ = self.0.names_changed.notify_all(),
        }
    }

    /// How those names fare that are furthest behind, at most so many; and how many there are in all.
    pub fn describe(&self, most: usize) -> (Vec<NameState>, usize) {
        let shown = self.0.live.lock().confirmed;
        let now = SystemTime::now();
        let names = self.0.names.lock();
        let lag = |named: &Named| if named.is_idle { 0 } else { shown.seq.saturating_sub(named.next.seq) };
        let mut all: Vec<(u64, &str, &Named)> =
            names.iter().map(|(name, named)| (lag(named), name, named)).collect();
        if most < all.len() {
            // In a moment, however many there are.
            all.select_nth_unstable_by(most, |a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
            all.truncate(most);
        }
        let states = all.into_iter().map(|(lag_frames, name, named)| NameState {
            name: name.into(),
            named: named.clone(),
            lag_frames,
            lag_bytes: if lag_frames == 0 { 0 } else { shown.bytes.saturating_sub(named.next.bytes) },
            lag_time: match lag_frames {
                0 => Duration::ZERO,
                _ => now.duration_since(named.next.stamp.time()).unwrap_or_default(),
            },
        });
        (states.collect(), names.len())
    }

    /// The place of a start, by what is confirmed now. It reads a little.
    ///
    /// # Errors
    /// Why there is none, with the mend.
    pub fn place(&self, start: Start) -> Result<Place, String> {
        let confirmed = self.0.live.lock().confirmed;
        self.0.place(start, confirmed).map(|(place, _)| place)
    }

    /// What time it is, in seconds since 1970.
    pub fn seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// For the store's thread.
    pub fn hub(&self) -> &Hub {
        &self.0
    }

    /// Writes what is not written, and ends the threads.
    pub fn end(&self) {
        self.0.is_over.store(true, SeqCst);
        *self.0.nudge.lock() = None;
        for _ in 0..DURABLE_READERS {
            let _ = self.0.tasks.send(Task::End);
        }
        self.0.names_changed.notify_all();
        let mut disk = Disk::new(&self.0.root);
        let text = self.0.names.lock().text(&self.0.id);
        let is_changed = self.0.names.lock().version() > 0;
        if is_changed && let Err(why) = Names::write(&mut disk, &text) {
            log::error!(
                "cannot write the positions of durable names: {why}: what was acknowledged last comes again"
            );
        }
    }
}

impl Hub {
    /// Whether somebody wants to see what is stored.
    pub fn is_wanted(&self) -> bool {
        self.open.load(SeqCst) > 0
    }

    /// Nobody wanted to see what was stored in a round: what is shown is behind.
    pub fn is_behind(&self) {
        self.live.lock().is_fresh = false;
    }

    /// What was stored is shown.
    pub fn show(&self, shown: Option<Shown>) {
        let mut live = self.live.lock();
        let Live { shown: up_to, is_fresh, watchers, .. } = &mut *live;
        if let Some(Shown { runs, from, to }) = shown {
            if from > up_to.seq {
                // Runs between the two were never shown: they are in the indexes.
                for subscription in watchers.iter() {
                    *subscription.inbox.lock() = None;
                    subscription.schedule();
                }
            }
            *up_to = to;
            for run in &runs {
                watchers.of(&run.topic).for_each(|subscription| subscription.show(run));
            }
        }
        if !std::mem::replace(is_fresh, true) {
            drop(live);
            // Those who wait to begin.
            self.try_failed();
        }
    }

    /// What is kept.
    pub fn keeps(&self, oldest: Option<Stamp>, floor: u64, confirmed: Place) {
        let mut live = self.live.lock();
        (live.oldest, live.floor, live.confirmed) = (oldest.or(live.oldest), floor, confirmed);
    }

    /// The stamp from which on frames are not done for the name that is furthest behind.
    pub fn held_from(&self) -> Stamp {
        let names = self.names.lock();
        let behind = names.iter().filter(|(_, named)| !named.is_idle).map(|(_, named)| named.next.stamp);
        behind.min().unwrap_or(Stamp(u64::MAX))
    }

    /// Subscriptions that wait for something that may be over are looked at again.
    fn try_failed(&self) {
        let failed = std::mem::take(&mut *self.failed.lock());
        failed.iter().for_each(|subscription| subscription.schedule());
    }

    fn tell(&self, event: Event) {
        self.events.lock().push_back(event);
    }

    fn wake(&self) {
        if self.flag.raise() {
            (self.wake)();
        }
    }

    /// Bytes that may be handed over for each.
    fn ahead_max(&self) -> usize {
        let each = DURABLE_AHEAD_ALL / self.open.load(SeqCst).max(1);
        each.clamp(DURABLE_AHEAD_MIN, DURABLE_AHEAD)
    }

    /// The place of a start by what is shown, and whether what was removed before it is to be told.
    fn place(&self, start: Start, shown: Place) -> Result<(Place, bool), String> {
        let oldest = self.live.lock().oldest.unwrap_or_default();
        let mut disk = Disk::new(&self.root);
        let failed = |why: std::io::Error| format!("the store cannot be read: {why}: try again");
        let at_stamp = |disk: &mut Disk, stamp| {
            let found = order::at_stamp(disk, stamp).map_err(failed)?;
            Ok::<_, String>(found.filter(|place| place.seq < shown.seq).unwrap_or(shown))
        };
        let since = |disk: &mut Disk, time| {
            let ages = Ages::read(disk).map_err(failed)?;
            at_stamp(disk, ages.since(Stamp::at(time)).max(oldest))
        };
        match start {
            Start::New => Ok((shown, false)),
            Start::Oldest => Ok((at_stamp(&mut disk, oldest)?, false)),
            Start::Seq(seq) if seq > shown.seq => Err(format!(
                "seq {seq} is beyond the end, the next frame is {}: begin there, or with oldest; if it comes from another \
                 store, begin with oldest",
                shown.seq
            )),
            Start::Seq(seq) if seq == shown.seq => Ok((shown, true)),
            Start::Seq(seq) => {
                let found = order::at_seq(&mut disk, seq).map_err(failed)?.unwrap_or(shown);
                Ok((Place { seq, ..found }, true))
            }
            Start::Time(time) => Ok((since(&mut disk, time)?, false)),
            Start::Ago(ago) => {
                let time = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
                Ok((since(&mut disk, time)?, false))
            }
        }
    }

    /// Writes names soon after they change, and sees who has expired or is about to lose something.
    fn keep_names(&self) {
        let mut disk = Disk::new(&self.root);
        let (mut written, mut has_failed) = (self.names.lock().version(), false);
        if self.names.lock().is_damaged() {
            // It says from now on what is known, and that some are not.
            written = u64::MAX;
        }
        let mut looked = 0;
        while !self.is_over.load(SeqCst) {
            let version = {
                let mut names = self.names.lock();
                let is_urgent = |version| *self.urgent.lock() > written && version > written;
                if !is_urgent(names.version()) {
                    self.names_changed.wait_for(&mut names, DURABLE_WRITE);
                }
                names.version()
            };
            if self.is_over.load(SeqCst) {
                break;
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            if now != looked {
                looked = now;
                self.try_failed();
                if now.is_multiple_of(5) {
                    // Those who are up to date may count others' frames as done.
                    self.live.lock().watchers.iter().for_each(|subscription| subscription.schedule());
                }
                let expired = self.names.lock().expire(now);
                for name in expired {
                    log::info!(
                        "the durable name {name} was not used for as long as it asked for: it is forgotten"
                    );
                }
                if self.has_keep && now.is_multiple_of(5) {
                    self.say_late();
                }
            }
            if version == written && *self.urgent.lock() <= written {
                continue;
            }
            let (text, version) = {
                let names = self.names.lock();
                (names.text(&self.id), names.version())
            };
            match Names::write(&mut disk, &text) {
                Ok(()) => {
                    written = version;
                    self.written.store(version, SeqCst);
                    if std::mem::take(&mut has_failed) {
                        log::info!("positions of durable names can be written again");
                    }
                    self.tell(Event::Written(version));
                    self.wake();
                }
                Err(why) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        log::error!(
                            "cannot write the positions of {} to {}/{}: {why}: what is acknowledged now comes again after a crash; it is tried again",
                            many(self.names.lock().len() as u64, "durable name"),
                            self.root.display(),
                            names::NAME
                        );
                    }
                    let mut names = self.names.lock();
                    self.names_changed.wait_for(&mut names, 2 * DURABLE_WRITE);
                }
            }
        }
    }

    /// Says who is further behind than half of what is kept.
    fn say_late(&self) {
        let (shown, oldest) = {
            let live = self.live.lock();
            (live.confirmed.seq, live.oldest.unwrap_or_default())
        };
        let Ok(found) = order::at_stamp(&mut Disk::new(&self.root), oldest) else { return };
        let oldest = found.map_or(shown, |place| place.seq);
        let mut names = self.names.lock();
        let all: Vec<(Box<str>, u64, bool, bool)> = names
            .iter()
            .map(|(name, named)| (name.into(), named.next.seq, named.is_idle, named.is_late))
            .collect();
        for (name, next, is_idle, was_late) in all {
            let is_late = !is_idle && shown.saturating_sub(next) > shown.saturating_sub(oldest) / 2;
            if is_late && !was_late && shown > next {
                log::warn!(
                    "the durable name {name} is {} behind, more than half of what is kept: have it read faster, raise --store-keep or --store-hold, or forget it with framegate ctl forget {name}",
                    many(shown - next, "frame")
                );
            }
            names.note(&name, |named| named.is_late = is_late);
        }
    }
}
