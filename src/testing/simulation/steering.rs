//! An operator: pauses, goes on, changes limits and looks in, at any moment.

use std::time::Duration;

use crossbeam::channel::Receiver;

use super::{Simulation, worlds};
use crate::core::memory::Memory;
use crate::gateway::control::{Answer, Change, Command, Paused, Setting};
use crate::gateway::snapshot::{Phase, Snapshot};

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(3600);

/// What was asked and must be answered, and what must hold until then.
#[derive(Default)]
pub struct Steering {
    /// Frames read when it was paused: as long as it is, there are no more.
    pub read: Option<u64>,
    /// What memory may hold: its limit, or what was charged when that was lowered and is not given
    /// back yet.
    pub memory_max: usize,
    pauses: Vec<Receiver<Paused>>,
    looks: Vec<Receiver<Snapshot>>,
    /// Pauses that became quiet, settings changed, looks taken.
    pub done: [u64; 3],
}

impl Simulation<'_> {
    /// The operator does something.
    pub(super) fn steer(&mut self) {
        match self.rng.below(8) {
            0 | 1 => {
                let wait = *self.rng.pick(&[Duration::ZERO, Duration::from_millis(20)]);
                self.pause(wait);
            }
            2 | 3 => self.resume(),
            // The headers that a hundred connections have begun take more than the least memory, and so may patterns.
            4 if !self.rules.dedup && self.rules.kind == worlds::Kind::Small => {
                let more = *self.rng.pick(&[0, 1 << 12, 1 << 16, 1 << 20]);
                self.set(Setting::Memory(self.memory_min() + more)).expect("it is enough");
            }
            4 => {
                self.set(Setting::Memory(Memory::least(self.frame_max) - 1)).expect_err("it is too little");
            }
            5 => {
                let outbox = *self.rng.pick(&[1 << 9, 1 << 13, 1 << 20]);
                // What could not be in force is refused.
                let fits = outbox <= self.gate.describe_state().memory.limit_bytes as usize / 2;
                assert_eq!(self.set(Setting::Outbox(outbox)).is_ok(), fits, "an outbox of {outbox}");
            }
            6 => {
                let workers = 1 + self.rng.below(3);
                self.set(Setting::Workers(workers)).expect("it is fine");
            }
            _ => {
                let (answer, from) = Answer::new();
                self.command(Command::Describe { survey: true, answer });
                self.steering.looks.push(from);
            }
        }
    }

    /// The operator changes what handlers may have.
    pub(super) fn steer_calls(&mut self) {
        let rng = &mut self.rng;
        let setting = match rng.below(3) {
            0 => {
                let max = *rng.pick(&[1, 2, 6]);
                // It takes what is with the handlers now to be below a lower limit.
                self.in_flight_max = max.max(self.in_flight_max);
                Setting::MaxInFlight(max)
            }
            1 => Setting::MaxQueued(*rng.pick(&[20, 3, 1, 0])),
            _ => Setting::Handlers(1 + rng.below(3)),
        };
        self.set(setting).expect("it is fine");
    }

    fn command(&mut self, command: Command) {
        self.within(|gate, now| gate.command(command, now));
    }

    fn pause(&mut self, wait: Duration) {
        let (answer, from) = Answer::new();
        self.command(Command::Pause(wait, answer));
        self.steering.pauses.push(from);
        self.steering.read.get_or_insert(self.gate.ledger().read);
        assert_eq!(self.gate.describe_state().phase, Phase::Paused);
    }

    pub(super) fn resume(&mut self) {
        let (answer, from) = Answer::new();
        self.command(Command::Resume(answer));
        let was_paused = self.steering.read.take().is_some();
        assert_eq!(from.try_recv(), Ok(was_paused));
        assert_eq!(self.gate.describe_state().phase, Phase::Running);
    }

    fn set(&mut self, setting: Setting) -> Result<Change, String> {
        self.steering.memory_max = self.steering.memory_max.max(self.gate.memory_wanted());
        let (answer, from) = Answer::new();
        self.command(Command::Set(setting, answer));
        self.steering.done[1] += 1;
        from.try_recv().expect("it is answered at once")
    }

    /// A pause that is waited for: with faults stopped, what was accepted is finished.
    pub(super) fn pause_until_quiet(&mut self) {
        self.pause(LONG);
        let from = self.steering.pauses.pop().expect("just pushed");
        if !self.rules.resends {
            self.break_some_off();
        }
        self.finish(|_| !from.is_empty());
        let paused = from.try_recv().expect("it came");
        assert_eq!((paused.quiet, paused.in_flight), (true, 0), "what was accepted is not finished");
        // What waits for a handler, or for room for a fragment, has its connection until it goes on.
        if !self.rules.handlers && !self.parts {
            self.check_resets();
        }
        self.steering.done[0] += 1;
    }

    /// After each turn.
    pub(super) fn check_steering(&mut self, snapshot: &Snapshot) {
        if let Some(read) = self.steering.read {
            assert_eq!(snapshot.ledger.read, read, "a frame was read in a pause");
        }
        let handlers = snapshot.calls.iter().flat_map(|calls| &calls.handlers);
        self.stuck_turns += u64::from(handlers.into_iter().any(|handler| handler.trouble.is_some()));
        let limit = snapshot.memory.limit_bytes as usize;
        self.steering.memory_max = self.steering.memory_max.min(self.gate.memory_wanted()).max(limit);
    }

    /// Takes the answers to looks: they are no longer the gateway's.
    pub(super) fn take_looks(&mut self) {
        let done = &mut self.steering.done[2];
        self.steering.looks.retain(|look| {
            let Ok(snapshot) = look.try_recv() else { return true };
            assert!(snapshot.survey.is_some());
            *done += 1;
            false
        });
    }

    /// At the end, nobody waits for an answer.
    pub(super) fn check_answered(&mut self) {
        for paused in self.steering.pauses.drain(..) {
            paused.try_recv().expect("a pause is answered");
        }
        self.take_looks();
        assert!(self.steering.looks.is_empty(), "a look is answered");
    }
}
