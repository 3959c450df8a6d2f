//! What other threads tell a running gate: to pause, to go on, to change a setting, to describe itself.

use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Config, Gate};
use crate::core::limits::{JOBS, WAITERS};
use crate::core::units::{Size, later, rounded};
use crate::gateway::access::Reviewed;
use crate::gateway::control::{Answer, Change, Command, Paused, Reloaded, Setting};
use crate::gateway::distribution::Distribution;
use crate::gateway::snapshot::{Depth, MemoryUse, Phase, Queues, Snapshot};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

/// Whether the gate takes in, and who waits until it has finished what it took.
#[derive(Debug, Default)]
pub struct PauseState {
    paused: bool,
    /// Who waits for quiet, and until when.
    waiting: Vec<(Instant, Answer<Paused>)>,
}

impl PauseState {
    /// Whether it is told to take nothing in.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// When the next of those who wait is answered anyway.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|(until, _)| *until).min()
    }
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// Carries out a command at the instant `now`.
    pub fn command(&mut self, command: Command, now: Instant) {
        self.ctx.now = now;
        match command {
            Command::Pause(wait, answer) => self.pause(wait, answer),
            Command::Resume(answer) => answer.give(self.resume()),
            Command::Set(setting, answer) => {
                let result = self.set(setting);
                match &result {
                    Ok(change) if change.old == change.new => {}
                    Ok(Change { name, old, new, also }) => {
                        let also = also.as_ref().map_or(String::new(), |also| format!(": {also}"));
                        log::info!("{name} is set from {old} to {new}{also}");
                    }
                    Err(wrong) => log::warn!("{} is not set: {wrong}", setting.name()),
                }
                answer.give(result);
            }
            Command::Reload(reloaded, answer) => self.reload(reloaded, answer),
            Command::Subscriptions(answer) => answer.give(self.distribution.durables.describe()),
            Command::Rewind(name, to, answer) => {
                let Gate { distribution, conns, .. } = self;
                let moved = distribution.durables.rewind(conns, &name, to);
                if let Ok(moved) = &moved {
                    log::info!("the durable name {name} goes on with {} instead of {}", moved.new, moved.old);
                }
                answer.give(moved);
            }
            Command::Forget(name, answer) => {
                let forgotten = self.distribution.durables.forget_name(&name);
                if forgotten.is_ok() {
                    log::info!("the durable name {name} is forgotten");
                }
                answer.give(forgotten);
            }
            Command::Describe { survey: false, answer } => answer.give(self.describe()),
            Command::Describe { survey: true, answer } => self.observe.ask_survey(answer),
        }
    }

    /// All of it is in force from now on; connections are judged by it some a turn.
    fn reload(&mut self, reloaded: Reloaded, answer: Answer<Reviewed>) {
        let mut answer = Some(answer);
        if !reloaded.tls.is_empty() {
            self.ctx.secure.replace(reloaded.tls);
            answer.take().into_iter().for_each(|answer| self.ctx.secure.ask(answer));
        }
        match reloaded.access.filter(|_| self.ctx.access.is_used()) {
            Some(access) => self.ctx.access.replace(access, answer),
            None => answer.into_iter().for_each(|answer| answer.give(Reviewed::default())),
        }
    }

    fn pause(&mut self, wait: Duration, answer: Answer<Paused>) {
        if !self.pause_state.paused {
            self.pause_state.paused = true;
            log::info!("paused: connections are not read until it is told to resume");
        }
        let quiet = self.is_quiet();
        if quiet || wait.is_zero() || self.pause_state.waiting.len() >= WAITERS {
            answer.give(self.paused_answer());
        } else {
            self.pause_state.waiting.push((later(self.ctx.now, wait), answer));
        }
    }

    fn paused_answer(&self) -> Paused {
        let held = self.distribution.fragments.held();
        let in_flight = self.ctx.ledger.in_flight() - self.conns.staged().waiting - held;
        let (queued, parked) = match self.handlers.answers() {
            true => (self.conns.staged().waiting, 0),
            false => (0, self.conns.staged().waiting),
        };
        let unconfirmed = self.ctx.ledger.to_sinks.unconfirmed();
        Paused { quiet: self.is_quiet(), in_flight, unconfirmed, queued, parked, held }
    }

    fn resume(&mut self) -> bool {
        let was_paused = std::mem::take(&mut self.pause_state.paused);
        if was_paused {
            log::info!("resumed");
            self.answer_waiting(|_| true);
            for id in self.conns.ids() {
                self.conns.mark_runnable(id);
            }
        }
        was_paused
    }

    /// Whether everything that was accepted is finished and written, but for frames that wait for a handler, parts
    /// that are held, and what waits for room for them.
    pub fn is_quiet(&self) -> bool {
        let Distribution { acks, fragments, .. } = &self.distribution;
        let (calls, _) = self.handlers.in_flight();
        self.ingress.in_flight() == 0
            && self.ctx.jobs == 0
            && self.conns.entries() == 0
            && !acks.has_pending_replies()
            && fragments.is_quiet()
            && calls == 0
            && acks.is_idle()
    }

    /// Answers those who wait for quiet, if it is, or whose time is over.
    pub(super) fn answer_quiet(&mut self) {
        if !self.pause_state.waiting.is_empty() {
            let (quiet, now) = (self.is_quiet(), self.ctx.now);
            self.answer_waiting(|until| quiet || until <= now);
        }
    }

    fn answer_waiting(&mut self, is_due: impl Fn(Instant) -> bool) {
        let paused = self.paused_answer();
        let waiting = std::mem::take(&mut self.pause_state.waiting);
        for (until, answer) in waiting {
            match is_due(until) {
                true => answer.give(paused),
                false => self.pause_state.waiting.push((until, answer)),
            }
        }
    }

    fn set(&mut self, setting: Setting) -> Result<Change, String> {
        let (old, new): (&dyn Display, &dyn Display);
        let (old_size, old_about, new_size, old_count, new_count);
        let mut also = None;
        match setting {
            Setting::Workers(workers) => {
                (old_count, new_count) = (self.ctx.pool.workers(), workers);
                self.ctx.pool.set_workers(workers).map_err(|why| {
                    format!("cannot start a worker: {why}: set fewer, or raise the limit of processes")
                })?;
                (old, new) = (&old_count, &new_count);
            }
            Setting::Memory(bytes) => {
                (old_size, new_size) = (Size(self.ctx.config.memory), Size(bytes));
                let before = self.ctx.config.clone();
                self.change(|config| config.memory = bytes)?;
                also = self.ctx.config.also_since(&before);
                self.ctx.memory.set_limit(bytes);
                self.ctx.memory.keep(self.ctx.config.digests_bytes());
                self.ctx.access.configure(&self.ctx.config);
                self.distribution.acks.set_memory(bytes);
                self.distribution.fragments.set_bytes(self.ctx.config.parts_max());
                // An outbox is at most half of the memory.
                self.reconsider_slow();
                (old, new) = (&old_size, &new_size);
            }
            Setting::Handlers(_) | Setting::MaxInFlight(_) | Setting::MaxQueued(_) | Setting::Overflow(_) => {
                return self.set_calling(setting);
            }
            Setting::HttpMaxInFlight(most) => {
                (old_count, new_count) = (self.ctx.config.http_max_in_flight, most);
                let before = self.ctx.config.clone();
                self.change(|config| config.http_max_in_flight = most)?;
                if !self.distribution.acks.set_max_in_flight("http", most) {
                    self.ctx.config = before;
                    return Err("there is no HTTP sink: start the gateway with --http-sink".into());
                }
                (old, new) = (&old_count, &new_count);
            }
            Setting::Outbox(bytes) => {
                let max = self.ctx.config.memory / 2;
                if bytes > max {
                    return Err(format!(
                        "outbox {} is more than half of memory {}: set it to {} or less, or set memory higher first",
                        Size(bytes),
                        Size(self.ctx.config.memory),
                        Size(max)
                    ));
                }
                (old_about, new_size) = (rounded(self.ctx.config.outbox_max()), Size(bytes));
                self.change(|config| config.outbox = bytes)?;
                self.reconsider_slow();
                (old, new) = (&old_about, &new_size);
            }
        }
        Ok(Change { name: setting.name().into(), old: old.to_string(), new: new.to_string(), also })
    }

    fn set_calling(&mut self, setting: Setting) -> Result<Change, String> {
        if !self.handlers.answers() {
            return Err("there is no handler: start the gateway with --handler".into());
        }
        let mut config = (*self.ctx.config).clone();
        let listed = |config: &Config| {
            let mut all = config.listed().into_iter();
            all.find(|(name, _)| *name == setting.name()).map(|(_, value)| value).unwrap_or_default()
        };
        let old = listed(&config);
        match setting {
            Setting::Handlers(handlers) => config.handlers = handlers,
            Setting::MaxInFlight(max) => config.max_in_flight = max,
            Setting::MaxQueued(max) => config.max_queued = max,
            Setting::Overflow(overflow) => config.overflow = overflow,
            Setting::Workers(_) | Setting::Memory(_) | Setting::Outbox(_) | Setting::HttpMaxInFlight(_) => {}
        }
        config.check()?;
        self.distribution.egress.bound_subscriptions(&config)?;
        self.handlers.configure(&config, self.ctx.now);
        self.ctx.memory.set_answer_room(config.answer_room());
        let new = listed(&config);
        self.ctx.config = Rc::new(config);
        Ok(Change { name: setting.name().into(), old, new, also: None })
    }

    /// Changes the configuration, if it can work then.
    fn change(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = (*self.ctx.config).clone();
        change(&mut config);
        config.check()?;
        self.distribution.egress.bound_subscriptions(&config)?;
        self.ctx.config = Rc::new(config);
        Ok(())
    }

    /// Subscribers that are not behind any more, by a mark that was changed.
    fn reconsider_slow(&mut self) {
        let mark = self.ctx.config.high_watermark();
        for id in self.conns.ids() {
            if self.conns[id].writing.slow.is_some() && self.conns[id].writing.outbox.pending() <= mark {
                self.distribution.egress.release(&mut self.conns, id);
            }
        }
    }

    /// Looks at some of the connections, if someone wants to know of them, and answers when all were looked at.
    pub(super) fn survey_on(&mut self) {
        let egress = &self.distribution.egress;
        let is_subscriber = |id| egress.is_subscriber(id);
        let found = self.observe.survey_on(&self.conns, is_subscriber, self.ctx.now);
        if let Some((survey, asked)) = found {
            let snapshot = Snapshot { survey: Some(survey), ..self.describe() };
            asked.into_iter().for_each(|answer| answer.give(snapshot.clone()));
        }
    }

    /// What the gate looks like now, without a look at every connection.
    pub fn describe(&self) -> Snapshot {
        let mut settings = self.ctx.config.listed();
        settings.insert(0, ("workers", self.ctx.pool.workers().to_string()));
        Snapshot { settings, ..self.describe_state() }
    }

    /// The same without its settings, which take longer to be written out than all else.
    pub(crate) fn describe_state(&self) -> Snapshot {
        let phase = match (self.ctx.draining, self.pause_state.paused) {
            (Some(_), _) => Phase::Draining,
            (None, true) => Phase::Paused,
            (None, false) => Phase::Running,
        };
        let depth = |now: usize, max: usize| Depth { now: now as u64, max: max as u64 };
        let Distribution { egress, acks, fragments, durables } = &self.distribution;
        let (dedup, dedup_window) = acks.describe_dedup(self.ctx.now);
        Snapshot {
            phase,
            quiet: self.is_quiet(),
            uptime: self.observe.uptime(self.ctx.now),
            ledger: self.ledger(),
            queues: Queues {
                connections: depth(self.conns.sockets(), self.ctx.config.connections_max),
                jobs: depth(self.ctx.jobs, JOBS),
                in_flight: self.ingress.in_flight() as u64,
                outbox_items: self.conns.entries() as u64,
                lines: self.wait_queues.lengths(),
                dedup,
                dedup_window,
            },
            memory: self.memory_use(),
            subscriptions: egress.describe(),
            workers: self.ctx.pool.usage(self.ctx.now),
            stages: self.ctx.timing.stages().clone(),
            calls: self.handlers.answers().then(|| self.handlers.describe(self.ctx.now)),
            access: self.ctx.access.describe(),
            tls: self.ctx.secure.describe(&self.ctx.config),
            parts: fragments.describe(self.ctx.now),
            sinks: acks.describe(self.ctx.now),
            durable: durables.summary(),
            paused: self.observe.pauses(self.ctx.now),
            settings: Vec::new(),
            survey: None,
        }
    }

    fn memory_use(&self) -> MemoryUse {
        let [small, large, answers, entries] = self.ctx.memory.charged().map(|bytes| bytes as u64);
        MemoryUse {
            small_bytes: small,
            large_bytes: large,
            answers_bytes: answers,
            entries_bytes: entries,
            subscriptions_bytes: self.ctx.memory.subscriptions() as u64,
            used_bytes: self.ctx.memory.used() as u64,
            limit_bytes: self.ctx.memory.limit() as u64,
        }
    }
}
