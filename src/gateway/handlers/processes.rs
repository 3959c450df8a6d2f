//! The programs that answer calls: started, replaced when they fail, ended in peace.
//!
//! ```text
//! Vacant ──► Running ──► Leaving ──► (reaped)
//!    ▲          │
//!    └──────────┘ it failed: at once, or after a pause if it had answered nothing
//! ```
//!
//! A process that fails is to blame on the frame that it had only if the program as such works, and that is known
//! once any process of it has answered a frame. Before that, it does not start: frames wait for it.
//!
//! It may be that every frame that came so far kills its handler. So once a process has died before any answer, the
//! next ones are given nothing until they have been up for longer than those that died, and one that is still there then
//! shows that the program does start: what it dies of from there on is the frame, too.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Call;
use super::answers::Intake;
use super::log_lines::{About, LogLines};
use crate::core::limits::HANDLER_GRACE;
use crate::core::memory::Memory;
use crate::gateway::conn::PeerName;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::snapshot::HandlerUse;
use crate::runtime::net::{Outbox, Pipe, Process};

/// 50 ms for a handler that closed a pipe to end, so that it can be said how.
pub(super) const CLOSED_GRACE: Duration = Duration::from_millis(50);

/// 1 s at least for a process to stay up with nothing to do, where others have died before any answer.
const TRIAL_LEAST: Duration = Duration::from_secs(1);

/// 1 ms until the first look at a process that ends, twice as long to each next.
const LOOK_FIRST: Duration = Duration::from_millis(1);
/// 64 ms between two looks at most.
const LOOK_MAX: Duration = Duration::from_millis(64);

/// The handlers' slots, and the processes that leave.
pub struct Processes<H> {
    pub(super) command: Vec<String>,
    pub(super) timeout: Duration,
    /// Slots from this one on are given up once their calls are answered.
    pub(super) wanted: usize,
    pub(super) slots: Vec<Slot<H>>,
    leaving: Vec<Leaving<H>>,
    /// Numbers the processes.
    pub(super) started: u64,
    /// Some process has answered something: the program works.
    pub(super) works: bool,
    /// Some process stayed up through its trial: the program starts.
    pub(super) stays: bool,
    /// How long the trial of a new process is, where others have died before any answer.
    pub(super) trial: Option<Duration>,
}

/// A process that is read runs until what it wrote is taken, so that within that its slot is an index.
pub(super) const RUNS: &str = "a process runs in this slot";

/// The place of one handler, which one process after the other may fill.
pub struct Slot<H> {
    pub life: Life<H>,
    /// Processes in a row that ended without an answer.
    pub(super) failures: u32,
    /// Calls answered; processes that failed; processes started.
    done: u64,
    pub(super) failed: u64,
    pub(super) started: u64,
    /// Why there is no handler that works.
    pub(super) trouble: Option<String>,
}

/// What runs there.
pub enum Life<H> {
    /// Nothing before then.
    Vacant(Instant),
    Running(Box<Running<H>>),
}

impl<H> Life<H> {
    /// The process, if there is one.
    pub fn running(&self) -> Option<&Running<H>> {
        match self {
            Life::Running(running) => Some(running),
            Life::Vacant(_) => None,
        }
    }
}

/// A process that takes calls.
pub struct Running<H> {
    pub process: H,
    pub key: u64,
    pub writable: bool,
    pub readable: bool,
    pub(super) log_readable: bool,
    pub(super) log: LogLines,
    /// Since when it takes no more, or answers no more.
    pub closed: Option<Instant>,
    pub(super) started: Instant,
    /// It is given nothing before then: it is to show that it stays up.
    pub(super) trial_until: Option<Instant>,
    pub outbox: Outbox<OutboxItem>,
    pub intake: Intake,
    /// The calls that it has, by their numbers and so in the order in which it got them.
    pub calls: BTreeMap<u64, Call>,
    /// Since when the first of them is the first. Its time runs from there: a handler that does one at a time
    /// did not look at it before.
    pub first_since: Instant,
    /// Whose frames it was told that it gets, where it is told.
    pub told: Option<PeerName>,
    /// Its one call is tried alone.
    pub alone: bool,
    pub answered: u64,
}

/// A process that was told to end, or must.
struct Leaving<H> {
    process: H,
    number: usize,
    log: LogLines,
    kill_at: Option<Instant>,
    look_at: Instant,
    pause: Duration,
}

impl<H> Index<usize> for Processes<H> {
    type Output = Running<H>;

    fn index(&self, slot: usize) -> &Running<H> {
        match &self.slots[slot].life {
            Life::Running(running) => running,
            Life::Vacant(_) => panic!("{RUNS}"),
        }
    }
}

impl<H> IndexMut<usize> for Processes<H> {
    fn index_mut(&mut self, slot: usize) -> &mut Running<H> {
        match &mut self.slots[slot].life {
            Life::Running(running) => running,
            Life::Vacant(_) => panic!("{RUNS}"),
        }
    }
}

impl<H: Process> Processes<H> {
    /// `wanted` handlers of a program, none of them started. The first of a handler's calls may take `timeout`.
    pub fn new(command: Vec<String>, wanted: usize, timeout: Duration, now: Instant) -> Processes<H> {
        let (slots, leaving) = (Vec::new(), Vec::new());
        let (works, stays, trial) = (false, false, None);
        let mut handlers =
            Processes { command, timeout, wanted: 0, slots, leaving, started: 0, works, stays, trial };
        handlers.set_wanted(wanted, now);
        handlers
    }

    /// Changes how many there are: up at once, down as they have answered what they have.
    pub fn set_wanted(&mut self, wanted: usize, now: Instant) {
        self.wanted = wanted;
        while self.slots.len() < wanted {
            let life = Life::Vacant(now);
            self.slots.push(Slot { life, failures: 0, done: 0, failed: 0, started: 0, trouble: None });
        }
    }

    /// Whether there is a program to start.
    pub fn has_program(&self) -> bool {
        !self.command.is_empty()
    }

    /// Whether some process takes calls.
    pub fn is_open(&self) -> bool {
        self.open().next().is_some()
    }

    /// Whether some process takes calls, and it is not known yet that the program works, or starts.
    pub fn tries(&self) -> bool {
        !self.works && !self.stays && self.is_open()
    }

    /// The slot that gets the next call: the least busy one. While calls wait to be tried alone, the least
    /// busy one is kept for them.
    pub fn slot(&self, some_wait_alone: bool) -> Option<usize> {
        let kept = some_wait_alone && !self.open().any(|(_, running)| running.alone);
        let busy = |(_, running): &(usize, &Running<H>)| running.calls.len();
        let kept = self.open().min_by_key(busy).filter(|_| kept).map(|(at, _)| at);
        let free = self.open().filter(|(at, running)| Some(*at) != kept && !running.alone);
        free.min_by_key(busy).map(|(at, _)| at)
    }

    /// A slot whose process has nothing to do.
    pub fn idle_slot(&self) -> Option<usize> {
        self.open().find(|(_, running)| running.calls.is_empty()).map(|(at, _)| at)
    }

    pub fn open(&self) -> impl Iterator<Item = (usize, &Running<H>)> {
        self.slots.iter().take(self.wanted).enumerate().filter_map(|(at, slot)| match &slot.life {
            Life::Running(running) if running.closed.is_none() && running.trial_until.is_none() => {
                Some((at, &**running))
            }
            _ => None,
        })
    }

    /// The oldest call that each process has: the number in which it began, and the slot.
    pub fn oldest_calls(&self) -> impl Iterator<Item = (u64, usize)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| match &slot.life {
            Life::Running(running) => Some((running.calls.values().map(|call| call.begun).min()?, at)),
            Life::Vacant(_) => None,
        })
    }

    /// Bytes that are charged for what the processes logged last.
    #[cfg(any(test, feature = "check"))]
    pub fn logged(&self) -> usize {
        let leaving = self.leaving.iter().map(|leaving| &leaving.log);
        let running = self.slots.iter().filter_map(|slot| match &slot.life {
            Life::Running(running) => Some(&running.log),
            Life::Vacant(_) => None,
        });
        leaving.chain(running).map(LogLines::charged).sum()
    }

    /// Calls that the processes have.
    #[cfg(any(test, feature = "check"))]
    pub fn calls(&self) -> usize {
        self.slots
            .iter()
            .map(|slot| if let Life::Running(running) = &slot.life { running.calls.len() } else { 0 })
            .sum()
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// What runs there.
    pub fn life(&self, slot: usize) -> &Life<H> {
        &self.slots[slot].life
    }

    /// The slot's process, if there is one.
    pub fn running(&mut self, slot: usize) -> Option<&mut Running<H>> {
        match &mut self.slots.get_mut(slot)?.life {
            Life::Running(running) => Some(running),
            Life::Vacant(_) => None,
        }
    }

    /// The slot of the process that was started under this key.
    pub fn slot_of(&self, key: u64) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(&slot.life, Life::Running(running) if running.key == key))
    }

    /// A process's pipe may be read or written.
    pub fn notice(&mut self, key: u64, pipe: Pipe) {
        // It may have ended since.
        if let Some(slot) = self.slot_of(key) {
            match pipe {
                Pipe::Input => self[slot].writable = true,
                Pipe::Output => self[slot].readable = true,
                Pipe::Log => self[slot].log_readable = true,
            }
        }
    }

    /// The process in a slot has answered a call.
    pub fn count_answer(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.works, true) {
            self.end_trials();
        }
        let slot = &mut self.slots[slot];
        slot.done += 1;
        slot.failures = 0;
        slot.trouble = None;
    }

    /// The program works, or starts at least: whatever fails now does so for a reason of its own.
    pub(super) fn end_trials(&mut self) {
        for slot in &mut self.slots {
            slot.trouble = None;
            if let Life::Running(running) = &mut slot.life {
                running.trial_until = None;
            }
        }
    }

    /// A process ended before any had answered. How long the next ones are to stay up to show that the program starts:
    /// longer than it did, but not longer than a frame may take, after which a process would be replaced as well.
    pub(super) fn learn_trial(&mut self, life: Duration) {
        let trial = (2 * life).min(self.timeout).max(TRIAL_LEAST);
        self.trial = self.trial.max(Some(trial));
    }

    /// Each handler, for people.
    pub fn describe(&self, now: Instant) -> Vec<HandlerUse> {
        let describe = |(at, slot): (usize, &Slot<H>)| {
            let about = HandlerUse {
                number: at + 1,
                done: slot.done,
                failed: slot.failed,
                restarts: slot.started.saturating_sub(1),
                trouble: slot.trouble.clone(),
                ..HandlerUse::default()
            };
            let Life::Running(running) = &slot.life else { return about };
            let busy = running.calls.len() as u64;
            let oldest =
                if busy == 0 { Duration::ZERO } else { now.saturating_duration_since(running.first_since) };
            HandlerUse { pid: Some(running.process.id()), busy, oldest, ..about }
        };
        self.slots.iter().enumerate().map(describe).collect()
    }

    /// When the next turn must be at the latest.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let slots = self.slots.iter().enumerate().filter_map(|(at, slot)| match &slot.life {
            Life::Vacant(until) => (at < self.wanted).then_some(*until),
            Life::Running(running) if running.closed.is_some() => Some(now + LOOK_FIRST),
            Life::Running(running) if running.log_readable => Some(now),
            // It is not wanted any more.
            Life::Running(running) if at >= self.wanted && running.calls.is_empty() => Some(now),
            Life::Running(running) => {
                let answer = (!running.calls.is_empty()).then_some(running.first_since + self.timeout);
                [answer, running.trial_until].into_iter().flatten().min()
            }
        });
        slots.chain(self.leaving.iter().map(|leaving| leaving.look_at)).min()
    }

    /// Whether no process is left.
    pub fn are_gone(&self) -> bool {
        self.leaving.is_empty() && self.slots.iter().all(|slot| matches!(slot.life, Life::Vacant(_)))
    }

    /// Takes the process out of its slot, if there is one.
    pub(super) fn vacate(&mut self, slot: usize, vacant_until: Instant) -> Option<Box<Running<H>>> {
        match std::mem::replace(&mut self.slots[slot].life, Life::Vacant(vacant_until)) {
            Life::Running(running) => Some(running),
            Life::Vacant(_) => None,
        }
    }

    /// A process ends: in peace, or at once.
    pub(super) fn leave(&mut self, slot: usize, running: Running<H>, expected: bool, now: Instant) {
        let Running { mut process, log, .. } = running;
        process.end_input();
        if !expected {
            process.kill();
        }
        let kill_at = expected.then_some(now + HANDLER_GRACE);
        let number = slot + 1;
        self.leaving.push(Leaving { process, number, log, kill_at, look_at: now, pause: LOOK_FIRST });
    }

    /// Ends those that are not wanted and have nothing to do, and gives their slots up.
    pub(super) fn retire(&mut self, now: Instant) {
        for slot in self.wanted..self.slots.len() {
            let idle = self.running(slot).is_some_and(|running| running.calls.is_empty());
            if idle && let Some(running) = self.vacate(slot, now) {
                self.leave(slot, *running, true, now);
            }
        }
        while self.slots.len() > self.wanted
            && self.slots.pop_if(|slot| matches!(slot.life, Life::Vacant(_))).is_some()
        {}
    }

    /// Looks after those that leave, and reaps those that have ended.
    pub(super) fn reap(&mut self, now: Instant, memory: &Arc<Memory>, scratch: &mut [u8]) {
        self.leaving.retain_mut(|leaving| {
            if leaving.look_at > now {
                return true;
            }
            let about = About { number: leaving.number, now, memory };
            leaving.log.read(&mut leaving.process, about, scratch);
            if let Some(how) = leaving.process.ended() {
                leaving.log.say_left_out(about);
                log::debug!("handler {} ({}) {how}", leaving.number, leaving.process.id());
                return false;
            }
            if leaving.kill_at.is_some_and(|at| at <= now) {
                log::warn!("handler {} ({}) did not end, it is killed", leaving.number, leaving.process.id());
                leaving.process.kill();
                leaving.kill_at = None;
                leaving.pause = LOOK_FIRST;
            }
            leaving.look_at = now + leaving.pause;
            leaving.pause = (2 * leaving.pause).min(LOOK_MAX);
            true
        });
    }

    /// Ends every process at once.
    pub fn kill_all(&mut self, now: Instant) {
        self.wanted = 0;
        for slot in 0..self.slots.len() {
            if let Some(running) = self.vacate(slot, now) {
                self.leave(slot, *running, false, now);
            }
        }
        for leaving in &mut self.leaving {
            if leaving.kill_at.take().is_some() {
                leaving.process.kill();
            }
        }
    }
}
