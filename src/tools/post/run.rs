//! The loop: what ended is noted, records are taken as there is room, then what the sockets say.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam::channel::Sender;
use slab::Slab;

use super::Options;
use super::feed::{self, Intake, Record};
use super::job::Job;
use super::report::{Lines, Progress, Report};
use crate::core::limits::{POST_HELD_BYTES, POST_SYNC_EVERY, POST_TAKE_TURN, PROGRESS_EVERY};
use crate::core::units::of_file;
use crate::http::connect::{Failed, without_number};
use crate::http::dispatch::{Dispatcher, Request};
use crate::http::wire::Field;
use crate::runtime::net::Waker;
use crate::tools::records::Cut;

/// A rate is that of the last 40 looks, 10 s: a store that needs seconds answers in bursts.
const SHOWN: usize = 40;

/// A record under way.
pub(super) struct Carried {
    pub job: usize,
    pub record: Record,
    content_type: Field,
}

impl Request for Carried {
    fn fields(&self) -> Vec<Field> {
        vec![self.content_type.clone(), field("Idempotency-Key", &self.record.key.to_string())]
    }

    fn body_len(&self) -> usize {
        self.record.body.len()
    }

    fn body_at(&self, at: usize) -> &[u8] {
        &self.record.body[at..]
    }
}

/// Posts records.
pub struct Poster {
    pub(super) options: Options,
    pub(super) dispatcher: Dispatcher<Carried>,
    intake: Option<Intake>,
    pub(super) jobs: Slab<Job>,
    pub(super) current: Option<usize>,
    pub(super) begun: u64,
    /// Bytes of all records that were taken and have not ended.
    pub(super) held: usize,
    began: Instant,
    pub(super) report: Report,
    pub(super) lines: Option<Lines>,
    /// Why it ends before everything is done.
    pub(super) ends: Option<String>,
    sync: Sender<Arc<File>>,
    next_sync: Instant,
    stop: Stop,
}

/// Ends a posting early, from any thread: what is under way is finished, nothing more begins.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    waker: Waker,
}

impl Stop {
    /// The posting ends.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Poster {
    /// Looks the store up, and prepares everything that needs no connection. Files whose bytes shall be on the
    /// disk go to `sync`; failed records to `lines`.
    ///
    /// # Errors
    /// Where the store has no address, or this machine cannot do it.
    pub fn new(options: Options, sync: Sender<Arc<File>>, lines: Option<Lines>) -> Result<Poster, Failed> {
        let dispatcher = Dispatcher::new(options.carried.clone())?;
        let now = dispatcher.now();
        Ok(Poster {
            options,
            intake: None,
            jobs: Slab::new(),
            current: None,
            begun: 0,
            held: 0,
            began: now,
            report: Report::default(),
            lines,
            ends: None,
            sync,
            next_sync: now,
            stop: Stop { asked: Arc::default(), waker: dispatcher.waker() },
            dispatcher,
        })
    }

    /// Ends its wait; for the reading side.
    pub fn waker(&self) -> Waker {
        self.dispatcher.waker()
    }

    /// Ends it early.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Posts everything that comes from `intake`, and reports.
    pub fn run(mut self, intake: Intake, show: &mut dyn FnMut(&Progress)) -> Report {
        self.intake = Some(intake);
        self.began = Instant::now();
        let mut next_show = self.began + PROGRESS_EVERY;
        let mut shown = VecDeque::from([(self.began, 0)]);
        loop {
            if self.stop.asked.load(Ordering::Acquire) && !self.report.interrupted {
                self.report.interrupted = true;
                self.take_no_more();
            }
            self.dispatcher.do_what_is_due();
            self.note_ended();
            // Before anything else begins: so many were sent and not noted as are under way, and no more.
            if let Err(why) = self.write_journals() {
                // What cannot be noted must not be sent.
                self.ends =
                    Some(format!("cannot write the journal: {}: mend that and run it again", of_file(&why)));
                break;
            }
            let is_more_at_hand = self.pump();
            if let (None, Some(why)) = (&self.ends, self.dispatcher.gone()) {
                self.ends = Some(why.to_owned());
                self.report.is_gone = true;
            }
            if self.ends.is_some() {
                self.take_no_more();
            }
            if self.intake.is_none() && self.dispatcher.is_empty() {
                break;
            }
            let now = self.dispatcher.now();
            if now >= next_show {
                next_show = now + PROGRESS_EVERY;
                let ended = self.report.stored + self.report.failed;
                shown.push_back((now, ended));
                if shown.len() > SHOWN {
                    shown.pop_front();
                }
                let (at, before) = shown[0];
                let per_s = (ended - before) as f64 / now.duration_since(at).as_secs_f64().max(1e-6);
                show(&self.progress(per_s));
            }
            let until = if is_more_at_hand { now } else { next_show };
            if let Err(why) = self.dispatcher.wait(Some(until)) {
                self.ends = Some(format!("cannot wait for sockets: {}", without_number(&why)));
                break;
            }
        }
        self.close()
    }

    fn close(mut self) -> Report {
        self.take_no_more();
        self.dispatcher.end(true);
        self.note_ended();
        for mut job in mem::take(&mut self.jobs).into_iter().map(|(_, job)| job) {
            if let Err(why) = job.journal.finish() {
                log::error!("{}: {why}", job.journal.path().display());
            }
        }
        let counts = self.dispatcher.counts();
        self.report.requests = counts.requests;
        self.report.refused = counts.refused;
        self.report.not_taken = counts.not_taken;
        self.report.connections_allowed = self.dispatcher.connections_allowed();
        self.report.connections_max = counts.connections_max;
        self.report.seconds = self.began.elapsed().as_secs_f64();
        self.report.error = self.ends.take();
        debug_assert!(self.report.adds_up(), "{:?}", self.report);
        if let Some(mut lines) = self.lines.take() {
            let written = lines.write(&super::report::LastLine::of(&self.report));
            if let Err(why) = written.and_then(|()| lines.finish().map(drop)) {
                self.report.error.get_or_insert(format!("cannot write the report: {why}"));
            }
        }
        self.report
    }

    /// Nothing more begins; what is under way goes on, if anything can be sent at all.
    fn take_no_more(&mut self) {
        self.intake = None;
        self.dispatcher.end(self.ends.is_some());
    }

    /// Takes records and begins requests as there is room; whether there is more at hand than fitted a turn.
    fn pump(&mut self) -> bool {
        let mut turn = POST_TAKE_TURN;
        loop {
            self.dispatcher.begin();
            if self.ends.is_some() || self.dispatcher.gone().is_some() || !self.has_room() {
                return false;
            }
            if turn == 0 {
                return true;
            }
            turn -= 1;
            match self.intake.as_ref().map(Intake::take) {
                Some(Ok(Some(item))) => self.take(item),
                Some(Ok(None)) | None => return false,
                Some(Err(feed::Ended)) => self.intake = None,
            }
        }
    }

    /// Whether another record may be taken.
    fn has_room(&self) -> bool {
        self.dispatcher.has_room() && (self.held < POST_HELD_BYTES || self.dispatcher.is_empty())
    }

    /// Hands a record of a source to the dispatcher.
    pub(super) fn send(&mut self, job: usize, record: Record) {
        self.held += record.size();
        let content_type = match (&self.options.content_type, record.cut) {
            (Some(given), _) => given.clone(),
            (None, Cut::File) => field("Content-Type", "application/octet-stream"),
            (None, Cut::Line) => field("Content-Type", "text/plain; charset=utf-8"),
            (None, Cut::Row) => field("Content-Type", "application/json"),
        };
        self.dispatcher.give(Carried { job, record, content_type });
    }

    /// Every turn to the system, now and then to the disk.
    fn write_journals(&mut self) -> io::Result<()> {
        let is_due = self.dispatcher.now() >= self.next_sync;
        for (_, job) in &mut self.jobs {
            job.journal.write()?;
            if is_due && let Some(file) = job.journal.to_sync() {
                // Where a sync is still under way, the next one covers this too.
                if self.sync.try_send(file).is_err() {
                    job.journal.unsync();
                }
            }
        }
        if is_due {
            self.next_sync = self.dispatcher.now() + POST_SYNC_EVERY;
        }
        Ok(())
    }

    fn progress(&self, per_s: f64) -> Progress {
        let mut all = super::report::Part {
            done: self.report.stored + self.report.stored_before + self.report.failed,
            failed: self.report.failed,
            ..Default::default()
        };
        let sources: Vec<_> = self.jobs.iter().map(|(_, job)| job.part()).collect();
        let rest: Option<u64> =
            sources.iter().map(|part| part.total.map(|total| total.saturating_sub(part.done))).sum();
        all.total = rest.map(|rest| all.done + rest);
        Progress {
            elapsed: self.dispatcher.now().duration_since(self.began),
            all,
            sources,
            begun: self.begun,
            in_flight: self.dispatcher.in_flight(),
            connections: self.dispatcher.connections(),
            per_s,
        }
    }
}

/// A field whose name and value are ours.
fn field(name: &'static str, value: &str) -> Field {
    Field::new(name, value.as_bytes()).expect("it holds requests and digits")
}
