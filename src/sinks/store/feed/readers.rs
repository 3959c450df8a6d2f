//! The threads that read for subscriptions.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crossbeam::channel::Receiver;

use super::extents::Unread;
use super::subscription::{Pass, Run, Subscription, Work};
use super::{Begin, Event, FeedRun, Hub, Task};
use crate::core::limits::DURABLE_STEP;
use crate::sinks::store::files::Disk;
use crate::sinks::store::order::{self, Place, Sequences};
use crate::sinks::store::reader::Reader;
use crate::sinks::store::stamp::Stamp;

/// What is next for a subscription.
enum Next {
    /// It was handed so many bytes.
    Handed(usize),
    /// There is nothing now.
    Nothing,
    /// Something was passed over.
    Again,
}

impl Hub {
    /// Looks at subscriptions until it is told to end.
    pub(super) fn read(&self, tasks: &Receiver<Task>) {
        while let Ok(Task::Step(subscription)) = tasks.recv() {
            subscription.begin_step();
            if self.step(&subscription) {
                subscription.schedule();
            }
            self.wake();
        }
    }

    /// Hands over what there is, for a while. Whether there is more.
    fn step(&self, subscription: &Arc<Subscription>) -> bool {
        let mut work = subscription.work.lock();
        if subscription.is_over() {
            self.leave(subscription, &mut work);
            return false;
        }
        if work.slot.is_none() && !self.begin(subscription, &mut work) {
            return false;
        }
        let mut left = DURABLE_STEP;
        while left > 0 {
            if subscription.credit() == 0 || subscription.ahead() >= self.ahead_max() {
                return false;
            }
            match self.hand_next(subscription, &mut work) {
                Ok(Next::Handed(bytes)) => left = left.saturating_sub(bytes),
                Ok(Next::Nothing) => return false,
                Ok(Next::Again) => {}
                Err(why) => {
                    if !std::mem::replace(&mut work.has_failed, true) {
                        log::error!(
                            "the store {} cannot be read for a durable subscriber: {why}: it waits, and it is tried again",
                            self.root.display()
                        );
                    }
                    (work.pass, work.run) = (None, None);
                    *subscription.inbox.lock() = None;
                    self.failed.lock().push(subscription.clone());
                    return false;
                }
            }
        }
        true
    }

    /// Whether it has begun.
    fn begin(&self, subscription: &Arc<Subscription>, work: &mut Work) -> bool {
        let id = subscription.id;
        // The store's thread says what is confirmed, and then it is looked at again.
        self.failed.lock().push(subscription.clone());
        if !self.live.lock().is_fresh {
            return false;
        }
        let placed = match work.begin {
            Begin::With(place) => Ok((place, true)),
            Begin::At(start) => {
                let shown = self.live.lock().shown;
                self.place(start, shown)
            }
        };
        let begun = placed.map(|(place, tells)| {
            let mut live = self.live.lock();
            work.slot = Some(live.watchers.insert(subscription.clone(), &work.patterns));
            work.cursor = place;
            work.told = if tells { 0 } else { live.floor };
            (place, live.oldest.unwrap_or_default(), live.shown)
        });
        match begun {
            Ok((first, oldest, shown)) => {
                let oldest = order::at_stamp(&mut Disk::new(&self.root), oldest);
                let oldest = oldest.ok().flatten().map_or(shown.seq, |place| place.seq).min(shown.seq);
                self.tell(Event::Opened { id, first, oldest });
                true
            }
            Err(why) => {
                self.tell(Event::Refused { id, why });
                false
            }
        }
    }

    fn leave(&self, subscription: &Arc<Subscription>, work: &mut Work) {
        if let Some(slot) = work.slot.take() {
            self.live.lock().watchers.remove(slot);
        }
        *subscription.inbox.lock() = None;
        (work.pass, work.run) = (None, None);
        if !std::mem::replace(&mut work.is_gone, true) {
            self.open.fetch_sub(1, SeqCst);
        }
    }

    /// Hands over the next frames, or finds them.
    fn hand_next(&self, subscription: &Arc<Subscription>, work: &mut Work) -> io::Result<Next> {
        let floor = self.live.lock().floor;
        if work.cursor.seq < floor && work.told < floor {
            self.tell_removed(subscription, work, floor)?;
        }
        let Some(run) = &mut work.run else {
            return match self.next_run(subscription, work)? {
                Some(run) => {
                    work.run = (run.next.seq + u64::from(run.left) > work.cursor.seq).then_some(run);
                    Ok(Next::Again)
                }
                None if work.pass.is_some() => Ok(Next::Again),
                None => Ok(Next::Nothing),
            };
        };
        if run.left == 0 {
            work.run = None;
            return Ok(Next::Again);
        }
        let (start, extent) = match run.extent.take() {
            Some((start, extent)) if run.at < start + extent.bytes().len() as u64 => (start, extent),
            _ => match self.extents.get(&run.segment, run.at, run.to) {
                Ok(extent) => (run.at, extent),
                Err(Unread::Failed(why)) => return Err(why),
                Err(unread) => {
                    self.pass_over(subscription, work, &unread);
                    return Ok(Next::Again);
                }
            },
        };
        work.has_failed = false;
        let from = (run.at - start) as usize;
        // Those that it has already.
        let before = work.cursor.seq.saturating_sub(run.next.seq);
        let is_skipped = before > 0;
        let most = if is_skipped { before } else { subscription.credit() };
        let room = if is_skipped { usize::MAX } else { self.ahead_max() };
        let (end, frames) = extent.frames(from, most.min(u64::from(run.left)), room);
        let first = run.next;
        run.at += (end - from) as u64;
        run.left -= frames;
        run.next.seq += u64::from(frames);
        run.next.stamp.0 += u64::from(frames);
        run.next.bytes += (end - from) as u64;
        let next = run.next;
        run.extent = Some((start, extent.clone()));
        if is_skipped {
            return Ok(Next::Again);
        }
        work.cursor = next;
        work.is_idle = false;
        let bytes = end - from;
        let hold = subscription.hand_over(frames, bytes, &self.ahead);
        let run = FeedRun { extent, start: from, end, frames, _hold: hold };
        self.tell(Event::Run { id: subscription.id, first, run });
        Ok(Next::Handed(bytes))
    }

    /// The next run: of the pass, or of what is shown since it began.
    fn next_run(&self, subscription: &Arc<Subscription>, work: &mut Work) -> io::Result<Option<Run>> {
        if let Some(pass) = &mut work.pass {
            let mut disk = Disk::new(&self.root);
            while let Some(run) = pass.reader.next_run()? {
                match pass.sequences.of(&mut disk, run.first)? {
                    Some(next) => {
                        let (segment, at, to, left) = (run.segment, run.from, run.to, run.frames);
                        return Ok(Some(Run { segment, at, to, next, left, extent: None }));
                    }
                    None => log::warn!(
                        "{}: {} frames have no place in the order of all: durable subscribers do not get them",
                        run.path.display(),
                        run.frames
                    ),
                }
            }
            if pass.to.seq > work.cursor.seq {
                work.cursor = pass.to;
            }
            work.pass = None;
        }
        let live = self.live.lock();
        let mut inbox = subscription.inbox.lock();
        if let Some(runs) = &mut *inbox {
            if let Some(run) = runs.pop_front() {
                return Ok(Some(Run::of(run, work.cursor.bytes)));
            }
            let goes_on = live.shown.seq > work.cursor.seq;
            if goes_on {
                work.cursor = live.shown;
            }
            if !std::mem::replace(&mut work.is_idle, true) || goes_on {
                self.tell(Event::Idle { id: subscription.id, next: work.cursor });
            }
            return Ok(None);
        }
        // What is shown from now on comes behind what is there.
        *inbox = Some(VecDeque::new());
        let to = live.shown;
        drop(inbox);
        drop(live);
        if work.cursor.seq < to.seq {
            let mut disk = Disk::new(&self.root);
            if let Some(since) = order::at_seq(&mut disk, work.cursor.seq)?.filter(|since| since.seq < to.seq)
            {
                let until = Stamp(to.stamp.0.saturating_sub(1));
                let reader = Reader::of_runs(&self.root, &work.patterns, since.stamp, until)?;
                work.pass = Some(Pass { reader, sequences: Sequences::default(), to });
            }
        }
        // It is looked at at once: what is shown, or the pass.
        self.next_run(subscription, work)
    }

    /// What is gone between where it is and `floor` is told.
    fn tell_removed(&self, subscription: &Arc<Subscription>, work: &mut Work, floor: u64) -> io::Result<()> {
        let from = work.cursor.seq.max(work.told);
        work.told = floor;
        let oldest = self.live.lock().oldest.unwrap_or_default();
        let oldest = order::at_stamp(&mut Disk::new(&self.root), oldest)?.map_or(floor, |place| place.seq);
        // Where some of them are still there, or not all are its own, nobody knows how many it has lost.
        let is_known = oldest >= floor && work.patterns.iter().any(|pattern| pattern == ">");
        let frames = is_known.then_some(floor - from);
        self.tell(Event::Gap { id: subscription.id, frames, from, to: floor - 1 });
        Ok(())
    }

    /// The rest of a run cannot be read, and never will be.
    fn pass_over(&self, subscription: &Arc<Subscription>, work: &mut Work, unread: &Unread) {
        let Some(run) = work.run.take() else { return };
        let (from, left) = (run.next.seq.max(work.cursor.seq), u64::from(run.left));
        let end = run.next.seq + left;
        let what = match unread {
            Unread::Removed => "its segment was removed",
            Unread::Damaged | Unread::Failed(_) => "its segment is damaged: run framegate verify",
        };
        log::error!(
            "the store {}: a durable subscriber misses the frames {from} to {}: {what} ({})",
            self.root.display(),
            end - 1,
            run.segment.0.display()
        );
        work.cursor = Place { seq: end, stamp: Stamp(run.next.stamp.0 + left), bytes: run.next.bytes };
        work.told = work.told.max(end);
        self.tell(Event::Gap { id: subscription.id, frames: Some(end - from), from, to: end - 1 });
    }
}
