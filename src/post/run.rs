//! The loop: what is due is done, records are taken as there is room, then what the sockets say.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use fastrand::Rng;
use slab::Slab;

use super::conn::{Conn, Life};
use super::doors::Doors;
use super::feed::{Intake, Record};
use super::pace::Pace;
use super::report::{Lines, Progress, Report};
use super::{Failed, Options, job::Job};
use crate::http::{Method, Request};
use crate::limits::{
    LOAD_READ, POST_HELD_BYTES, POST_SYNC_EVERY, POST_TAKE_TURN, POST_WAITING, POST_WAITING_MIN,
    PROGRESS_EVERY,
};
use crate::net::{Deadlines, Event, Net, Reactor, Tls, Trust, Waker};
use crate::web::{Failure, Places, resolve, without_number};

/// A rate is that of the last 40 looks, 10 s: a store that needs seconds answers in bursts.
const SHOWN: usize = 40;

/// A record that was taken and has not ended.
pub(super) struct Flight {
    pub job: usize,
    pub record: Record,
    /// Tries that count.
    pub tries: u32,
    /// Tries that do not, because the store refused the connection.
    pub free: u32,
}

/// Posts records.
pub struct Poster {
    pub(super) options: Options,
    pub(super) request: Request,
    pub(super) net: Reactor,
    pub(super) tls: Option<Tls>,
    pub(super) places: Places,
    /// As they were found, before any of them failed.
    pub(super) all_places: Places,
    pub(super) intake: Option<Intake>,
    pub(super) jobs: Slab<Job>,
    pub(super) current: Option<usize>,
    pub(super) begun: u64,
    pub(super) flights: Slab<Flight>,
    /// Records that go next.
    pub(super) ready: VecDeque<usize>,
    /// Records that are tried again, and when.
    pub(super) waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Bytes of all records that were taken and have not ended.
    pub(super) held: usize,
    pub(super) conns: Slab<Conn>,
    /// Connections to be used again; the last one first, so that others may end.
    pub(super) idle: Vec<usize>,
    pub(super) opening: usize,
    pub(super) opened: usize,
    pub(super) busy: usize,
    pub(super) pace: Pace,
    pub(super) doors: Doors,
    pub(super) deadlines: Deadlines,
    /// Connections that had more to read when their turn was over.
    pub(super) runnable: Vec<usize>,
    /// Lent to every read, and to every write.
    pub(super) buffer: Box<[u8]>,
    pub(super) scratch: Vec<u8>,
    pub(super) dice: Rng,
    pub(super) now: Instant,
    began: Instant,
    pub(super) report: Report,
    pub(super) lines: Option<Lines>,
    /// Whether a connection ever stood.
    pub(super) is_reached: bool,
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
        let target = &options.target;
        let addresses = resolve(target.host(), target.port()).map_err(|why| {
            let why = without_number(&why);
            Failed::Gone(format!("cannot find {}: {why}: check the host of the URL", target.host()))
        })?;
        let places = Places::new(&addresses, &[]).map_err(Failed::Refused)?;
        let trust = if options.insecure { Trust::Anyone } else { Trust::System };
        let tls = target.is_secure().then(|| Tls::new(target.host(), trust)).transpose();
        let net = Reactor::new()
            .map_err(|why| Failed::Refused(format!("cannot wait for sockets: {}", without_number(&why))))?;
        let now = Instant::now();
        Ok(Poster {
            request: Request::new(&Method::POST, target, &options.fields),
            tls: tls.map_err(Failed::Refused)?,
            all_places: places.clone(),
            places,
            intake: None,
            jobs: Slab::new(),
            current: None,
            begun: 0,
            flights: Slab::new(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            held: 0,
            conns: Slab::new(),
            idle: Vec::new(),
            opening: 0,
            opened: 0,
            busy: 0,
            pace: Pace::new(options.max_in_flight, options.adaptive),
            doors: Doors::new(options.max_connections),
            deadlines: Deadlines::default(),
            runnable: Vec::new(),
            buffer: vec![0; LOAD_READ].into(),
            scratch: Vec::new(),
            dice: Rng::with_seed(options.seed),
            now,
            began: now,
            report: Report::default(),
            lines,
            is_reached: false,
            ends: None,
            sync,
            next_sync: now,
            stop: Stop { asked: Arc::default(), waker: net.waker() },
            net,
            options,
        })
    }

    /// Ends its wait; for the reading side.
    pub fn waker(&self) -> Waker {
        self.net.waker()
    }

    /// Ends it early.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Posts everything that comes from `intake`, and reports.
    pub fn run(mut self, intake: Intake, show: &mut dyn FnMut(&Progress)) -> Report {
        self.intake = Some(intake);
        self.now = Instant::now();
        self.began = self.now;
        let mut next_show = self.now + PROGRESS_EVERY;
        let mut shown = VecDeque::from([(self.now, 0)]);
        let mut events = Vec::new();
        loop {
            if self.stop.asked.load(Ordering::Acquire) && !self.report.interrupted {
                self.report.interrupted = true;
                self.take_no_more();
            }
            self.do_what_is_due();
            // Before anything else begins: so many were sent and not noted as are under way, and no more.
            if let Err(why) = self.write_journals() {
                // What cannot be noted must not be sent.
                self.ends = Some(format!("cannot write the journal: {why}: mend that and run it again"));
                break;
            }
            let is_more_at_hand = self.pump();
            if self.ends.is_some() {
                self.take_no_more();
            }
            if self.intake.is_none() && self.flights.is_empty() {
                break;
            }
            if self.now >= next_show {
                next_show = self.now + PROGRESS_EVERY;
                let ended = self.report.stored + self.report.failed;
                shown.push_back((self.now, ended));
                if shown.len() > SHOWN {
                    shown.pop_front();
                }
                let (at, before) = shown[0];
                let per_s = (ended - before) as f64 / self.now.duration_since(at).as_secs_f64().max(1e-6);
                show(&self.progress(per_s));
            }
            let until = [Some(next_show), self.next_due()].into_iter().flatten().min();
            let until = until.filter(|_| !is_more_at_hand);
            if let Err(why) = self.wait(until, &mut events) {
                self.ends = Some(format!("cannot wait for sockets: {}", without_number(&why)));
                break;
            }
            for index in mem::take(&mut self.runnable) {
                self.read(index, true);
            }
            for event in events.drain(..) {
                if let Event::Socket { key, readable, writable, read_closed } = event {
                    self.on_event(key as usize, readable, writable, read_closed);
                }
            }
        }
        self.close()
    }

    fn close(mut self) -> Report {
        self.take_no_more();
        for mut job in mem::take(&mut self.jobs).into_iter().map(|(_, job)| job) {
            if let Err(why) = job.journal.finish() {
                log::error!("{}: {why}", job.journal.path().display());
            }
        }
        self.report.unsent += self.flights.len() as u64;
        self.report.seconds = self.began.elapsed().as_secs_f64();
        self.report.error = self.ends.take();
        if let Some(mut lines) = self.lines.take() {
            let written = lines.write(&super::report::LastLine { summary: &self.report });
            if let Err(why) = written.and_then(|()| lines.finish().map(drop)) {
                self.report.error.get_or_insert(format!("cannot write the report: {why}"));
            }
        }
        self.report
    }

    /// Nothing more begins; what is under way goes on.
    fn take_no_more(&mut self) {
        self.intake = None;
        let waiting = mem::take(&mut self.waiting).into_iter().map(|Reverse((_, flight))| flight);
        for flight in waiting.chain(mem::take(&mut self.ready)).collect::<Vec<_>>() {
            self.report.unsent += 1;
            self.drop_flight(flight);
        }
        // Where nothing can be sent any more, nothing is under way.
        if self.ends.is_some() {
            self.report.unsent += self.flights.len() as u64;
            self.flights.clear();
            self.conns.clear();
        }
    }

    /// Whether it takes no more.
    pub(super) fn is_ending(&self) -> bool {
        self.intake.is_none() && (self.report.interrupted || self.ends.is_some())
    }

    fn wait(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = match until {
            Some(until) if self.runnable.is_empty() => until.saturating_duration_since(Instant::now()),
            _ => Duration::ZERO,
        };
        self.net.poll(Some(timeout), events)?;
        self.now = Instant::now();
        Ok(())
    }

    fn next_due(&self) -> Option<Instant> {
        let again = self.waiting.peek().map(|Reverse((at, _))| *at);
        let door = if self.ready.is_empty() { None } else { self.doors.next() };
        [self.deadlines.next(), again, door].into_iter().flatten().min()
    }

    fn do_what_is_due(&mut self) {
        while let Some((at, key)) = self.deadlines.pop_due(self.now) {
            let Some(conn) = self.conns.get_mut(key as usize) else { continue };
            // A later entry than the one that counts has nothing to say.
            if conn.armed == Some(at) {
                conn.armed = None;
                match conn.due {
                    Some(due) if due <= self.now => self.time_out(key as usize),
                    Some(due) => self.arm(key as usize, due),
                    None => {}
                }
            }
        }
        while let Some(Reverse((at, flight))) = self.waiting.peek().copied()
            && at <= self.now
        {
            self.waiting.pop();
            self.ready.push_back(flight);
        }
    }

    fn time_out(&mut self, index: usize) {
        let failure = match self.conns[index].life {
            Life::Opening => Failure::ConnectTimeout(self.options.connect_timeout()),
            _ => Failure::Timeout(self.options.timeout),
        };
        self.fail(index, failure);
    }

    /// Gives a connection up at `due`, which takes the place of what was due before.
    pub(super) fn arm(&mut self, index: usize, due: Instant) {
        let conn = &mut self.conns[index];
        conn.due = Some(due);
        if conn.armed.is_none_or(|armed| due < armed) {
            conn.armed = Some(due);
            self.deadlines.push(due, index as u64);
        }
    }

    /// Takes records and begins requests as there is room; whether there is more at hand than fitted a turn.
    fn pump(&mut self) -> bool {
        let mut turn = POST_TAKE_TURN;
        loop {
            self.begin_ready();
            if self.ends.is_some() || !self.has_room() {
                return false;
            }
            if turn == 0 {
                return true;
            }
            turn -= 1;
            match self.intake.as_ref().map(Intake::take) {
                Some(Ok(Some(item))) => self.take(item),
                Some(Ok(None)) | None => return false,
                Some(Err(super::feed::Ended)) => self.intake = None,
            }
        }
    }

    /// Whether another record may be taken.
    fn has_room(&self) -> bool {
        let waiting_max = (POST_WAITING * self.options.max_in_flight).max(POST_WAITING_MIN);
        // As many as may be under way, and those that a refusal put back stay in line before others come.
        self.busy + self.ready.len() < self.pace.limit()
            && self.waiting.len() < waiting_max
            && (self.held < POST_HELD_BYTES || self.flights.is_empty())
    }

    fn begin_ready(&mut self) {
        while !self.ready.is_empty() && self.busy < self.pace.limit() {
            if let Some(index) = self.idle.pop() {
                let flight = self.ready.pop_front().expect("it is not empty");
                self.begin(index, flight);
                continue;
            }
            let wanted = self.ready.len().min(self.pace.limit() - self.busy);
            let room = self.doors.room(self.now, self.conns.len());
            for _ in 0..wanted.saturating_sub(self.opening).min(room) {
                if !self.open() {
                    break;
                }
            }
            return;
        }
    }

    /// Every turn to the system, now and then to the disk.
    fn write_journals(&mut self) -> io::Result<()> {
        let is_due = self.now >= self.next_sync;
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
            self.next_sync = self.now + POST_SYNC_EVERY;
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
            elapsed: self.now.duration_since(self.began),
            all,
            sources,
            in_flight: self.flights.len() - self.ready.len(),
            connections: self.conns.len() - self.opening,
            per_s,
        }
    }
}
