//! Looking at the gateway: as often as somebody asks, but no more often than it may notice.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{Receiver, select, tick};
use parking_lot::{Mutex, MutexGuard};

use super::history::{History, SAMPLE_EVERY, Sample};
use crate::core::limits::{ANSWER_TIMEOUT, LOOK_EVERY};
use crate::gateway::control::{Answer, Command, Control, Unanswered};
use crate::gateway::snapshot::Snapshot;

/// Nothing is ever sent over it: it ends with what it tells the end of.
pub type Stopped = Receiver<std::convert::Infallible>;

/// What was seen of one gateway.
#[derive(Debug)]
pub struct Watch {
    control: Control,
    /// Ends with the server: nobody waits for an answer longer.
    stopped: Stopped,
    /// The last look. Whoever wants another waits for this lock, and finds that someone has looked.
    last: Mutex<Option<(Instant, Arc<Snapshot>)>>,
    history: Mutex<History>,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(control: Control, stopped: Stopped) -> Watch {
        Watch { control, stopped, last: Mutex::new(None), history: Mutex::default() }
    }

    /// What the gateway looks like, as it was at most [`LOOK_EVERY`] ago.
    pub fn look(&self, survey: bool) -> Result<Arc<Snapshot>, Unanswered> {
        let mut last = self.last.try_lock_for(ANSWER_TIMEOUT).ok_or(Unanswered::Late)?;
        if let Some((at, snapshot)) = &*last
            && at.elapsed() < LOOK_EVERY
            && (snapshot.survey.is_some() || !survey)
        {
            return Ok(snapshot.clone());
        }
        *last = None;
        let snapshot = self.ask(Duration::ZERO, |answer| Command::Describe { survey, answer })?;
        let snapshot = Arc::new(snapshot);
        *last = Some((Instant::now(), snapshot.clone()));
        Ok(snapshot)
    }

    /// Sends a command and waits for its answer, so long beside the usual time.
    pub fn ask<T: Send + 'static>(
        &self,
        wait: Duration,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (to, from) = Answer::new();
        self.control.send(command(to))?;
        self.wait(wait, &from)
    }

    /// Waits for an answer, so long beside the usual time.
    pub fn wait<T>(&self, wait: Duration, from: &Receiver<T>) -> Result<T, Unanswered> {
        select! {
            recv(from) -> answer => answer.map_err(|_| Unanswered::Gone),
            recv(self.stopped) -> _ => Err(Unanswered::Gone),
            default(wait.saturating_add(ANSWER_TIMEOUT)) => Err(Unanswered::Late),
        }
    }

    /// Something was changed: the next look is a new one.
    pub fn forget(&self) {
        *self.last.lock() = None;
    }

    /// Waits so long, or until the server ends.
    pub fn pause(&self, time: Duration) {
        select! {
            recv(self.stopped) -> _ => {}
            default(time) => {}
        }
    }

    /// Whether the gateway has started.
    pub fn is_running(&self) -> bool {
        self.control.is_running()
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.control.drain();
    }

    /// Takes a sample each second until the gateway or the server has ended, and tells `each` of it. `survey` says
    /// whether to look at every connection.
    pub fn sample(&self, survey: impl Fn() -> bool, each: impl Fn(&Snapshot, &Sample)) {
        let mut before = self.look(false).ok();
        let ticks = tick(SAMPLE_EVERY);
        loop {
            select! {
                recv(ticks) -> _ => {}
                recv(self.stopped) -> _ => return,
            }
            let now = match self.look(survey()) {
                Ok(now) => now,
                Err(Unanswered::Gone) => return,
                Err(why) => {
                    log::debug!("no sample: {why}");
                    continue;
                }
            };
            if let Some(before) = &before
                && let Some(sample) = Sample::between(before, &now, unix_ms())
            {
                self.history.lock().push(sample);
                each(&now, &sample);
            }
            before = Some(now);
        }
    }

    /// The samples until now.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::gateway::ledger::Ledger;
    use crate::gateway::snapshot::*;

    /// A gateway that has done a little of everything.
    pub fn some_snapshot() -> Snapshot {
        let mut ledger = Ledger { read: 10, delivered: 7, ..Ledger::default() };
        ledger.calls =
            crate::gateway::ledger::Calls { answered: 5, replaced: 1, refused: 2, ..Default::default() };
        ledger.rejected.add(crate::wire::Status::BadDigest);
        ledger.rejected.add(crate::wire::Status::BadDigest);
        let mut stages = Stages::default();
        stages.turn.record_many(100, 2);
        stages.turn.record(1000);
        let mut paused = [PausedBy::default(); PauseCause::ALL.len()];
        paused[PauseCause::Subscriber as usize] = PausedBy { now: 3, total: Duration::from_millis(1500) };
        paused[PauseCause::InFlight as usize].now = 5;
        let address = ([127, 0, 0, 1], 4000).into();
        let peer = Peer {
            identity: None,
            address,
            age: Duration::from_secs(60),
            frames_read: 0,
            bytes_read: 0,
            frames_written: 4,
            bytes_written: 400,
        };
        let closed = Closed { peer: peer.clone(), reason: "idle".into(), ago: Duration::from_secs(2) };
        let slow = Slow {
            peer,
            pending_bytes: 1000,
            oldest: Duration::from_millis(1250),
            idle: Duration::from_secs(1),
            dropped: 0,
            holding: 1,
        };
        Snapshot {
            access: Some(crate::gateway::snapshot::AccessUse {
                refused: vec![("revoked", 2)],
                not_published: 3,
                ..Default::default()
            }),
            tls: Some(crate::gateway::snapshot::TlsUse {
                handshakes: Depth { now: 3, max: 100 },
                full: 12,
                resumed: 5,
                refused: vec![("unknown_ca", 4)],
                closed: 1,
                certificates: vec![crate::gateway::snapshot::CertificateUse {
                    listener: "native+tls=127.0.0.1:7453".into(),
                    until: std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
                }],
            }),
            phase: Phase::Running,
            quiet: false,
            uptime: Duration::from_secs(100),
            ledger,
            queues: Queues {
                jobs: Depth { now: 1, max: 1024 },
                dedup: Depth { now: 50, max: 50 },
                dedup_window: Some(DedupWindow {
                    window: Duration::from_secs(3600),
                    reach: Duration::from_millis(90_500),
                    forgotten_early: 7,
                }),
                ..Queues::default()
            },
            memory: MemoryUse {
                small_bytes: 100,
                used_bytes: 100,
                limit_bytes: 1000,
                ..MemoryUse::default()
            },
            subscriptions: SubscriptionsUse {
                patterns: Depth { now: 6, max: 100 },
                shapes: Depth { now: 2, max: 10 },
                bytes: Depth { now: 700, max: 1000 },
            },
            workers: WorkersUse { threads: 2, busy: Duration::from_secs(2) },
            stages,
            parts: PartsUse { keys: Depth { now: 4, max: 9 }, held: 5, ..PartsUse::default() },
            durable: None,
            sinks: Some(SinksUse {
                oldest: Duration::from_millis(1500),
                each: vec![
                    SinkUse {
                        name: "store",
                        lag: 3,
                        lag_bytes: 900,
                        done: vec![("frames", 6), ("segments", 1)],
                        now: Vec::new(),
                        topics: vec![TopicUse { topic: "orders.eu".into(), frames: 4, bytes: 500 }],
                        failures: 2,
                        trouble: Some("the disk is full".into()),
                    },
                    SinkUse {
                        name: "http",
                        done: vec![("stored", 5), ("refused", 1)],
                        now: vec![("in_flight", 4), ("max_in_flight", 100), ("waiting", 8)],
                        ..SinkUse::default()
                    },
                ],
            }),
            calls: Some(CallsUse {
                in_flight: Depth { now: 3, max: 100 },
                queued: Depth { now: 7, max: 10_000 },
                set_aside: 25_000,
                retried: 1,
                handlers: vec![
                    HandlerUse { number: 1, pid: Some(77), busy: 3, done: 5, ..HandlerUse::default() },
                    HandlerUse { number: 2, failed: 4, restarts: 4, ..HandlerUse::default() },
                ],
            }),
            paused,
            settings: vec![("memory", "256MiB".into())],
            survey: Some(Survey {
                subscribers: 2,
                pending_bytes: 1000,
                slow: vec![slow],
                closed: vec![closed],
                ..Survey::default()
            }),
        }
    }
}
