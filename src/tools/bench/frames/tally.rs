//! What arrives, written down.

use std::time::Instant;

use super::answers::Told;
use super::check::{Expected, Seen};
use super::conn::{Conn, Role};
use super::devices::Devices;
use super::publish::{Publisher, Schedule};
use super::sequence::{Arrived, Sequence};
use crate::tools::bench::Measure;
use crate::wire::{Fault, Scheme, Status};

/// Publishers of the same frames and their subscribers.
pub struct Group {
    pub topic: String,
    /// The key of its first publisher.
    pub base: u64,
    pub publishers: Vec<Publisher>,
    /// Where they speak a layout: what they send before, what they are answered, and what comes of their frames.
    pub devices: Option<Devices>,
    /// Whether anyone is to get them; else latency is until a device is answered.
    pub is_subscribed: bool,
    /// When frames are due; none if as soon as they can be written.
    pub schedule: Option<Schedule>,
    /// How many frames of all its publishers were due so far.
    pub due: u64,
    pub measure: Measure,
    /// Frames that others sent to its topic.
    pub foreign: u64,
    /// Frames that the gateway said were dropped for a subscriber.
    pub told_dropped: u64,
    /// Frames, and bytes of them, that were sent until measuring ended.
    pub sent_in_time: (u64, u64),
}

/// Frames of one publisher that came one after the other.
#[derive(Clone, Copy, Default)]
struct Run {
    publisher: usize,
    first: u64,
    count: u64,
}

impl Group {
    /// Takes what a connection read. The fault, if it is no stream of frames.
    pub fn take(
        &mut self,
        conn: &mut Conn,
        bytes: &[u8],
        scheme: &Scheme,
        now: Instant,
    ) -> Result<(), Fault> {
        if self.devices.is_some() && !matches!(conn.role, Role::Subscriber { .. }) {
            self.answered(conn, bytes, now);
            return Ok(());
        }
        let Group { publishers, devices, base, schedule, measure, foreign, told_dropped, .. } = self;
        let name = conn.name();
        let Conn { checker, sequences, arrived, received, bad, replies, last_word, role, .. } = conn;
        let mut log = Log { publishers, schedule: *schedule, measure, now, run: Run::default() };
        let is_subscriber = matches!(role, Role::Subscriber { .. });
        let known = devices.as_ref().map(|devices| &devices.known);
        let sent = Expected { base: *base, publishers, known, scheme };
        let result = checker.take(bytes, sent, |seen| match seen {
            Seen::Frame { publisher, slot } if is_subscriber => {
                *arrived += u64::from(log.frame(&name, publisher, slot, &mut sequences[publisher]));
                *received += 1;
            }
            Seen::Login if is_subscriber => {}
            Seen::BadDigest { key, id } => {
                *bad += 1;
                log.error("bad digest", || format!("{name}: the frame with key {key} and id {id}"));
            }
            Seen::Changed { id } => {
                log.error("changed", || {
                    format!("{name}: frame {id} has a right digest, but was not sent so")
                });
            }
            // Whatever comes to a connection that did not subscribe.
            Seen::Frame { .. } | Seen::Login | Seen::Foreign => *foreign += 1,
            Seen::Reply { status: Some(Status::Gap), key, .. } => *told_dropped += key,
            Seen::Reply { status: Some(status), reason, .. } if status.closes() => {
                *last_word = Some((status, reason));
            }
            Seen::Reply { status, reason, .. } => replies.push((status, reason)),
        });
        log.flush();
        result
    }

    /// Takes what a device was answered.
    fn answered(&mut self, conn: &mut Conn, bytes: &[u8], now: Instant) {
        let (awaited, bytes) = bytes.split_at(bytes.len().min(conn.awaits.len()));
        if !awaited.is_empty() {
            conn.is_mismatched |= !conn.awaits.starts_with(awaited);
            conn.awaits.drain(..awaited.len());
        }
        let (Some(devices), Role::Publisher { index, .. }) = (&self.devices, conn.role) else { return };
        let name = conn.name();
        let Group { publishers, schedule, measure, is_subscribed, .. } = self;
        let mut log = Log { publishers, schedule: *schedule, measure, now, run: Run::default() };
        let first = conn.answers.next();
        conn.answers.take(bytes, &devices.senders[index], |told| match told {
            Told::Reply => {}
            Told::Refused(n) => {
                log.error("refused", || format!("{name}: the gateway refused its number {n}"))
            }
            Told::Other(n) => log.error("other answer", || {
                format!("{name}: number {n} was answered otherwise than its layout declares")
            }),
        });
        // With subscribers, latency is until they have it.
        if !*is_subscribed {
            log.run = Run { publisher: index, first, count: conn.answers.next() - first };
            log.flush();
        }
    }

    /// Frames and bytes that all its publishers have sent.
    pub fn sent(&self) -> (u64, u64) {
        let each = self.publishers.iter();
        each.fold((0, 0), |(frames, bytes), one| (frames + one.finished(), bytes + one.bytes()))
    }
}

/// Writes down what came in one read.
struct Log<'a> {
    publishers: &'a [Publisher],
    schedule: Option<Schedule>,
    measure: &'a mut Measure,
    now: Instant,
    run: Run,
}

impl Log<'_> {
    /// A frame came as it was sent. Whether it had not come before.
    fn frame(&mut self, name: &str, publisher: usize, slot: u64, sequence: &mut Sequence) -> bool {
        let slots = self.publishers[publisher].ring.slots() as u64;
        let number = match sequence.arrive(slot, slots) {
            Arrived::InOrder(number) | Arrived::Skipped(number, _) => number,
            Arrived::Late(number) => {
                self.error("out of order", || {
                    format!("{name}: number {number} of publisher {publisher} came late")
                });
                number
            }
            Arrived::Twice(number) => {
                self.error("twice", || {
                    format!("{name}: number {number} of publisher {publisher} came again")
                });
                return false;
            }
        };
        let run = &mut self.run;
        if run.publisher == publisher && run.first + run.count == number {
            run.count += 1;
        } else {
            self.flush();
            self.run = Run { publisher, first: number, count: 1 };
        }
        true
    }

    fn error(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        self.measure.errors(self.now, kind, 1, example);
    }

    /// Measures the run.
    fn flush(&mut self) {
        let Run { publisher, first, count } = std::mem::take(&mut self.run);
        if count == 0 {
            return;
        }
        let (publisher_of, now) = (&self.publishers[publisher], self.now);
        let len = publisher_of.ring.frame_len() as u64;
        let (mut n, end) = (first, first + count);
        while n < end {
            let (begun, next) = match &self.schedule {
                Some(schedule) => (schedule.due_of(publisher, n), n + 1),
                None => publisher_of.writes.begun_at(n).unwrap_or((now, end)),
            };
            let frames = next.min(end) - n;
            self.measure.done(now, now.saturating_duration_since(begun), frames, frames * len);
            n += frames;
        }
    }
}
