//! The store where clocks jump: nothing is removed before its time has really passed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Choices;
use super::disk::{Fault, SimDisk};
use super::store::{begin, ids_in};
use crate::core::memory::{Buffer, Memory};
use crate::sinks::Put;
use crate::sinks::store::{Keep, Now, Policy, Puts, SegmentLog, Stamp, Start, SyncPolicy};
use crate::wire::{Body, Header, Kind, Scheme, encode};

/// How long frames are kept.
const KEEP: Duration = Duration::from_secs(60);

/// How far the calendar jumps: beyond what clocks are corrected by, and beyond what is kept.
const JUMPS: [Duration; 4] = [
    Duration::from_secs(121),
    Duration::from_secs(3_600),
    Duration::from_secs(30 * 86_400),
    Duration::from_secs(365 * 86_400),
];

/// Steps of a run; more finds nothing new, and slows the search.
const STEPS: usize = 60;

/// However the calendar jumps ahead and is set right, while the store is open and while it is not: a confirmed frame is
/// there as long as it is to be kept, by the clock for lengths of time. Where the calendar was never set back, all of
/// them are gone in the end.
pub fn check_clocks(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut run = Run::new();
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        run.step(&mut choices);
        run.check();
    }
    // Five times as long as anything is kept.
    for _ in 0..12 {
        run.pass(Duration::from_secs(25));
        run.check();
    }
    if !run.was_set_back {
        assert_eq!(run.left(), HashSet::new(), "nothing is kept for ever");
    }
}

struct Run {
    disk: SimDisk,
    segment_log: SegmentLog<SimDisk>,
    memory: Arc<Memory>,
    now: Now,
    /// By how much the calendar is ahead.
    ahead: Duration,
    was_set_back: bool,
    /// When each frame was confirmed.
    confirmed: HashMap<u64, Instant>,
}

impl Run {
    fn new() -> Run {
        let disk = SimDisk::new();
        let now = Now { stamp: Stamp(1_785_233_730_000_000_000), instant: Instant::now() };
        disk.set_time(now.stamp);
        Run {
            segment_log: segment_log(&disk, Start::default(), now),
            disk,
            memory: Memory::new(Memory::least(1 << 20), 1 << 20),
            now,
            ahead: Duration::ZERO,
            was_set_back: false,
            confirmed: HashMap::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..4 => self.store(["a", "b"][choices.below(2)]),
            4..8 => self.pass(Duration::from_secs(choices.below(25) as u64)),
            8 => {
                self.jump(choices);
                self.pass(Duration::from_secs(1));
            }
            9 => {
                self.set_right();
                self.pass(Duration::from_secs(1));
            }
            _ => self.restart(choices),
        }
    }

    fn jump(&mut self, choices: &mut Choices<'_>) {
        // No further than stamps go.
        if self.ahead > 50 * JUMPS[3] {
            return;
        }
        let by = JUMPS[choices.below(JUMPS.len())];
        self.ahead += by;
        self.now.stamp.0 += by.as_nanos() as u64;
    }

    fn set_right(&mut self) {
        self.was_set_back |= !self.ahead.is_zero();
        self.now.stamp.0 -= std::mem::take(&mut self.ahead).as_nanos() as u64;
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self, time: Duration) {
        self.now.stamp.0 += time.as_nanos() as u64;
        self.now.instant += time;
        self.disk.set_time(self.now.stamp);
        // Some are removed at a time.
        for _ in 0..4 {
            self.segment_log.store(&mut VecDeque::new(), self.now, |_, _| {}).expect("all is well");
            self.segment_log.rotate(self.now).expect("all is well");
        }
    }

    fn store(&mut self, topic: &str) {
        let id = self.confirmed.len() as u64;
        let mut bytes = Vec::new();
        let header = Header { id, ..Header::new(Kind::Data) };
        encode(header, topic.as_bytes(), b"payload", &Scheme::Sha256, &mut bytes);
        let end = bytes.len();
        let buffer = Arc::new(Buffer::charged(&self.memory, bytes.into()));
        let (mut puts, mut waiting) = (Puts::default(), VecDeque::new());
        let put = Put { ticket: id, from: 0, body: Body::Slice { buffer, start: 0, end }, frames: 1 };
        puts.take(put, |append| waiting.push_back(append));
        self.segment_log
            .store(&mut waiting, self.now, |_, refusal| assert_eq!(refusal, None))
            .expect("all is well");
        self.confirmed.insert(id, self.now.instant);
    }

    /// The machine stops and starts again; nobody knows what the calendar did meanwhile.
    fn restart(&mut self, choices: &mut Choices<'_>) {
        self.disk.break_after(0, Fault::Crash, choices.number());
        let _ = self.segment_log.rotate(self.now);
        self.disk.restart();
        match choices.below(4) {
            // Where stamps run ahead of the clock since it was set back, nothing tells a start how old they are.
            0 if !self.was_set_back => self.jump(choices),
            1 => self.set_right(),
            _ => {}
        }
        self.disk.set_time(self.now.stamp);
        let (start, _) = begin(&self.disk, self.now.stamp).expect("all is well");
        self.segment_log = segment_log(&self.disk, start, self.now);
        self.pass(Duration::ZERO);
    }

    fn left(&self) -> HashSet<u64> {
        let mut left = HashSet::new();
        self.disk.each(|_, name, bytes| {
            if name.ends_with(".frames") || name.ends_with(".open") {
                left.extend(ids_in(bytes));
            }
        });
        left
    }

    fn check(&self) {
        let left = self.left();
        for (id, at) in &self.confirmed {
            let age = self.now.instant.duration_since(*at);
            assert!(age >= KEEP || left.contains(id), "frame {id} was removed after {age:?}");
        }
    }
}

fn segment_log(disk: &SimDisk, start: Start, now: Now) -> SegmentLog<SimDisk> {
    let (rotate, keep) = (Duration::from_secs(5), Some(Keep::Time(KEEP)));
    let policy = Policy { rotate, sync: SyncPolicy::Batch, keep, topics: 10, hold: None };
    SegmentLog::new(disk.clone(), policy, start, now)
}
