//! Programs are started, read, and replaced where they have failed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::answers::Intake;
use super::log_lines::{About, LogLines};
use super::processes::{CLOSED_GRACE, Life, RUNS, Running};
use super::{Downstream, Handlers};
use crate::core::backoff::Backoff;
use crate::core::limits::{HANDLER_PAUSE_FIRST, HANDLER_PAUSE_MAX};
use crate::gateway::ctx::Ctx;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::{Net, Outbox, Process};
use crate::runtime::pool::Pool;

impl<N: Net> Handlers<N> {
    /// Starts the handlers, if there are to be some.
    ///
    /// # Errors
    /// What the system says of their program.
    pub fn start_handlers<P: Pool>(&mut self, ctx: &mut Ctx<N, P>) -> std::io::Result<()> {
        let slots = self.processes.len();
        (0..slots).try_for_each(|slot| self.start_handler(ctx, slot))
    }

    fn start_handler<P: Pool>(&mut self, ctx: &mut Ctx<N, P>, slot: usize) -> std::io::Result<()> {
        let handlers = &mut self.processes;
        handlers.started += 1;
        let process = ctx.net.start(&handlers.command, handlers.started)?;
        log::debug!("handler {} ({}) is started", slot + 1, process.id());
        let trial = handlers.trial.filter(|_| !handlers.works && !handlers.stays);
        let running = Running {
            process,
            key: handlers.started,
            writable: true,
            readable: false,
            log_readable: false,
            log: LogLines::default(),
            closed: None,
            started: ctx.now,
            trial_until: trial.map(|trial| ctx.now + trial),
            outbox: Outbox::default(),
            intake: Intake::default(),
            calls: BTreeMap::new(),
            first_since: ctx.now,
            told: None,
            alone: false,
            answered: 0,
        };
        handlers.slots[slot].started += 1;
        handlers.slots[slot].life = Life::Running(Box::new(running));
        if handlers.works || handlers.stays {
            // It could not be started for a while; the program is known to work.
            handlers.slots[slot].trouble = None;
        }
        Ok(())
    }

    /// Does what is due for the handlers: fills slots, reads, and replaces those that have failed.
    pub fn tend_handlers<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>) {
        let slots = self.processes.len();
        for slot in 0..slots {
            self.tend(to, slot);
        }
        self.processes.retire(to.ctx.now);
        self.processes.reap(to.ctx.now, &to.ctx.memory, &mut to.ctx.scratch);
    }

    fn tend<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize) {
        let running = match &mut self.processes.slots[slot].life {
            Life::Running(running) => running,
            Life::Vacant(until) => {
                let is_due = *until <= to.ctx.now && slot < self.processes.wanted;
                if let Some(Err(why)) = is_due.then(|| self.start_handler(to.ctx, slot)) {
                    self.postpone_handler(to.ctx, slot, why);
                }
                return;
            }
        };
        if std::mem::take(&mut running.log_readable) {
            let about = About { number: slot + 1, now: to.ctx.now, memory: &to.ctx.memory };
            running.log_readable = running.log.read(&mut running.process, about, &mut to.ctx.scratch);
        }
        self.read_answers(to, slot);
        let is_kept_waiting = self.is_kept_waiting(to.conns, to.ctx, to.distribution, slot);
        let timeout = self.processes.timeout;
        // It may have failed over what was read.
        let Some(running) = self.processes.running(slot) else { return };
        if is_kept_waiting {
            running.first_since = to.ctx.now;
        }
        if let Some(since) = running.closed {
            if let Some(how) = running.process.ended() {
                self.fail_handler(to, slot, how);
            } else if to.ctx.now >= since + CLOSED_GRACE {
                self.fail_handler(to, slot, "closed its pipe");
            }
        } else if running.trial_until.is_some_and(|until| until <= to.ctx.now) {
            log::info!(
                "handler {} ({}) stays up while it has nothing to do: the program starts, and a frame that two handlers die of is REJECTED",
                slot + 1,
                running.process.id()
            );
            self.processes.stays = true;
            self.processes.end_trials();
        } else if !running.calls.is_empty() && to.ctx.now >= running.first_since + timeout {
            self.replace_handler(to, slot, true, format_args!("gave no answer for {timeout:?}"));
        }
    }

    fn postpone_handler<P: Pool>(&mut self, ctx: &mut Ctx<N, P>, slot: usize, why: impl Display) {
        let place = &mut self.processes.slots[slot];
        place.failures += 1;
        let pause = pause(place.failures);
        place.life = Life::Vacant(ctx.now + pause);
        place.trouble = Some(format!("it cannot be started: {why}"));
        let message = format_args!(
            "handler {} cannot be started: {why}: it is tried again in {pause:?}, and frames wait",
            slot + 1
        );
        ctx.notices.say(Notice::HandlerFailed, log::Level::Error, ctx.now, message);
    }

    /// A handler has failed: another process takes its slot. If the program works, its calls are tried once more,
    /// each alone, so that the one which is to blame is known and the others are done. If none of its processes has
    /// ever answered, nothing is known of the calls: they wait until one does, or one at least stays up, each alone in
    /// its turn, so that a frame that no handler survives does not keep the others from showing that the program works.
    pub(super) fn fail_handler<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        slot: usize,
        why: impl Display,
    ) {
        self.replace_handler(to, slot, false, why);
    }

    /// The same; `hangs` if it was still up. That a process is up and answers nothing is what a program does that is no
    /// handler at all, so it is no frame's fault before one has answered.
    fn replace_handler<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        slot: usize,
        hangs: bool,
        why: impl Display,
    ) {
        let handlers = &mut self.processes;
        let mut running = handlers.vacate(slot, to.ctx.now).expect(RUNS);
        let about = About { number: slot + 1, now: to.ctx.now, memory: &to.ctx.memory };
        let said = running.log.read_last(&mut running.process, about, &mut to.ctx.scratch);
        let said = said.map_or(String::new(), |line| format!("; the last line that it logged: {line}"));
        if !handlers.works && !hangs {
            handlers.learn_trial(to.ctx.now.saturating_duration_since(running.started));
        }
        let (works, pid) = (handlers.works || handlers.stays && !hangs, running.process.id());
        let place = &mut handlers.slots[slot];
        place.failed += 1;
        // Of one that died alone with a frame it is the frame that is found out, and many may be to come.
        let is_found = works && running.alone;
        let unproven = u32::from(running.answered == 0);
        place.failures = if is_found { unproven } else { place.failures + unproven };
        let pause = pause(place.failures);
        place.life = Life::Vacant(to.ctx.now + pause);
        let calls = std::mem::take(&mut running.calls);
        let (number, count) = (slot + 1, calls.len());
        if works {
            let when = if pause.is_zero() { String::new() } else { format!(" in {pause:?}") };
            let message =
                format_args!("handler {number} ({pid}) {why}, with {count} calls: another is started{when}");
            to.ctx.notices.say(Notice::HandlerFailed, log::Level::Warn, to.ctx.now, message);
        } else {
            let trouble = format!("it {why}, and no handler has answered anything yet{said}");
            let message = format_args!(
                "handler {number} ({pid}) does not start: {trouble}: frames wait, and it is started again in {pause:?}"
            );
            to.ctx.notices.say(Notice::HandlerFailed, log::Level::Error, to.ctx.now, message);
            place.trouble = Some(trouble);
        }
        handlers.leave(slot, *running, false, to.ctx.now);
        for (_, call) in calls {
            match works {
                true => self.try_again(to, call, &why),
                false => self.try_later(call),
            }
        }
    }
}

/// How long a slot stays vacant after so many processes that answered nothing.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => Backoff::new(HANDLER_PAUSE_FIRST, HANDLER_PAUSE_MAX).after(failures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let pauses: Vec<u128> = (0..9).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause(u32::MAX), HANDLER_PAUSE_MAX);
    }
}
