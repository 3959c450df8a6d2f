//! One subscription's way through the store: from the place where it begins, run by run, and on with what is stored.
//!
//! ```text
//! open ─► pass (the runs of the indexes, up to what is shown now) ─► inbox (runs that are shown since) ─► caught up
//!            ▲                                                          │ too many wait
//!            └──────────────────────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use crossbeam::channel::Sender;
use parking_lot::Mutex;

use super::extents::{Extent, SegmentName};
use super::{Begin, Task};
use crate::core::limits::{DURABLE_LIVE, DURABLE_RUN_COST};
use crate::sinks::store::order::{Place, Sequences};
use crate::sinks::store::reader::Reader;
use crate::sinks::store::visible::StoredRun;

/// A subscription, as the loop, the store and the readers share it.
pub struct Subscription {
    /// Its number.
    pub id: u64,
    /// Frames that may still be handed over.
    credit: AtomicU64,
    /// Bytes that were handed over and are not written to its socket.
    ahead: AtomicUsize,
    is_over: AtomicBool,
    is_queued: AtomicBool,
    /// What was shown since its pass began; none where too much was, or it has none.
    pub(super) inbox: Mutex<Option<VecDeque<StoredRun>>>,
    pub(super) work: Mutex<Work>,
    tasks: Sender<Task>,
}

/// Where it is.
pub(super) struct Work {
    pub begin: Begin,
    /// Where the store knows it.
    pub slot: Option<usize>,
    pub patterns: Vec<String>,
    /// The next frame that may be handed over.
    pub cursor: Place,
    /// It was told what was removed below this sequence.
    pub told: u64,
    pub pass: Option<Pass>,
    pub run: Option<Run>,
    /// It was said that it has caught up.
    pub is_idle: bool,
    /// It has left.
    pub is_gone: bool,
    /// It failed, and that was said.
    pub has_failed: bool,
}

/// The runs of the indexes.
pub(super) struct Pass {
    pub reader: Reader,
    pub sequences: Sequences,
    /// Up to where it goes.
    pub to: Place,
}

/// A run that is being handed over.
pub(super) struct Run {
    pub segment: SegmentName,
    /// Where the next frame begins, and the last ends.
    pub at: u64,
    pub to: u64,
    /// The place of the next frame.
    pub next: Place,
    /// Frames that are left.
    pub left: u32,
    /// What was read of it, and where that begins.
    pub extent: Option<(u64, Arc<Extent>)>,
}

impl Run {
    /// A run that was shown.
    pub fn of(stored: StoredRun, bytes: u64) -> Run {
        Run {
            segment: (stored.folder, stored.base),
            at: stored.from,
            to: stored.to,
            next: Place { seq: stored.seq, stamp: stored.stamp, bytes },
            left: stored.frames,
            extent: None,
        }
    }
}

impl Subscription {
    pub(super) fn new(
        id: u64,
        begin: Begin,
        credit: u64,
        patterns: Vec<String>,
        tasks: Sender<Task>,
    ) -> Self {
        let work = Work {
            begin,
            slot: None,
            patterns,
            cursor: Place::default(),
            told: 0,
            pass: None,
            run: None,
            is_idle: false,
            is_gone: false,
            has_failed: false,
        };
        Subscription {
            id,
            credit: AtomicU64::new(credit),
            ahead: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            is_queued: AtomicBool::new(false),
            inbox: Mutex::new(None),
            work: Mutex::new(work),
            tasks,
        }
    }

    /// Has a reader look at it.
    pub fn schedule(self: &Arc<Self>) {
        if !self.is_queued.swap(true, SeqCst) {
            let _ = self.tasks.send(Task::Step(self.clone()));
        }
    }

    /// A reader looks at it: what comes from now on is for the next look.
    pub(super) fn begin_step(&self) {
        self.is_queued.store(false, SeqCst);
    }

    /// So many more frames may be handed over.
    pub fn grant(self: &Arc<Self>, frames: u64) {
        self.credit.fetch_add(frames, SeqCst);
        self.schedule();
    }

    /// Frames that may be handed over now.
    pub(super) fn credit(&self) -> u64 {
        self.credit.load(SeqCst)
    }

    /// Bytes that are handed over and not written.
    pub fn ahead(&self) -> usize {
        self.ahead.load(SeqCst)
    }

    /// Frames are handed over. What they hold until they are written.
    pub(super) fn hand_over(self: &Arc<Self>, frames: u32, bytes: usize, all: &Arc<AtomicUsize>) -> Hold {
        if self.credit() != u64::MAX {
            self.credit.fetch_sub(u64::from(frames), SeqCst);
        }
        let bytes = bytes + DURABLE_RUN_COST;
        self.ahead.fetch_add(bytes, SeqCst);
        all.fetch_add(bytes, SeqCst);
        Hold { subscription: self.clone(), all: all.clone(), bytes }
    }

    /// Nothing is wanted any more.
    pub fn end(self: &Arc<Self>) {
        self.is_over.store(true, SeqCst);
        self.schedule();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// A run is shown. Where too many wait, it reads the indexes again.
    pub(super) fn show(self: &Arc<Self>, run: &StoredRun) {
        let mut inbox = self.inbox.lock();
        match &mut *inbox {
            Some(runs) if runs.len() < DURABLE_LIVE => runs.push_back(run.clone()),
            _ => *inbox = None,
        }
        drop(inbox);
        self.schedule();
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({})", self.id)
    }
}

/// Bytes that wait to be written to a subscriber; more are read for it when they are dropped.
#[derive(Debug)]
pub(super) struct Hold {
    subscription: Arc<Subscription>,
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, SeqCst);
        self.subscription.ahead.fetch_sub(self.bytes, SeqCst);
        self.subscription.schedule();
    }
}
