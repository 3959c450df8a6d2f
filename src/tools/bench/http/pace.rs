//! When connections are opened, and when requests are sent.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::core::random::Rng;
use humantime::format_duration;

use crate::core::limits::LOAD_GRID;
use crate::core::units::later;

/// When the next request is sent.
#[derive(Clone, Debug)]
pub enum Pace {
    /// As soon as the response to the one before is whole.
    BackToBack,
    /// After a think time: a closed loop, as people are.
    Think(Think),
    /// When it is due, whatever became of the others: an open loop.
    Rate(Schedule),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::BackToBack => f.write_str("back to back"),
            Pace::Think(Think { least, most, .. }) if least == most => {
                write!(f, "thinking {}", format_duration(*least))
            }
            Pace::Think(Think { least, most, .. }) => {
                write!(f, "thinking {} to {}", format_duration(*least), format_duration(*most))
            }
            Pace::Rate(schedule) => write!(f, "at {} requests/s", schedule.per_s),
        }
    }
}

/// Random times of thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Think {
    least: Duration,
    most: Duration,
    step: Duration,
}

impl Think {
    /// Times from `least` to `most`, both included: whole seconds where both are, else whole milliseconds.
    pub fn new(least: Duration, most: Duration) -> Think {
        let whole = least.subsec_nanos() == 0 && most.subsec_nanos() == 0;
        let step = if whole { Duration::from_secs(1) } else { Duration::from_millis(1) };
        Think { least, most: most.max(least), step }
    }

    /// When a think time that begins `now` ends; one of whole seconds on a grid from `origin` on.
    pub fn end(&self, now: Instant, origin: Instant, rng: &mut Rng) -> Instant {
        let end = later(now, self.draw(rng));
        let grid = LOAD_GRID.as_nanos() as u64;
        let beyond = (end - origin).as_nanos() as u64 % grid;
        match beyond {
            1.. if self.step >= Duration::from_secs(1) => end + Duration::from_nanos(grid - beyond),
            _ => end,
        }
    }

    /// The next time.
    fn draw(&self, rng: &mut Rng) -> Duration {
        let steps = (self.most - self.least).as_nanos() / self.step.as_nanos();
        let steps = rng.below(u64::from(u32::try_from(steps).unwrap_or(u32::MAX)) + 1) as u32;
        // What is no whole number of steps, such as half a millisecond, ends early and not late.
        (self.least + self.step * steps).min(self.most)
    }
}

/// Requests at equal distances.
#[derive(Clone, Debug)]
pub struct Schedule {
    per_s: f64,
    first: Option<Instant>,
    begun: u64,
}

impl Schedule {
    /// So many a second, from [`begin`](Self::begin) on.
    pub fn new(per_s: f64) -> Schedule {
        Schedule { per_s, first: None, begun: 0 }
    }

    /// How many a second.
    pub fn per_s(&self) -> f64 {
        self.per_s
    }

    /// The first is due `now`, unless it has begun before.
    pub fn begin(&mut self, now: Instant) {
        self.first.get_or_insert(now);
    }

    /// When the next is due; none before the beginning.
    pub fn next(&self) -> Option<Instant> {
        let later = Duration::try_from_secs_f64(self.begun as f64 / self.per_s).ok()?;
        self.first?.checked_add(later)
    }

    /// The next is sent.
    pub fn advance(&mut self) {
        self.begun += 1;
    }

    /// How many are due by `now` and were not sent.
    pub fn behind(&self, now: Instant) -> u64 {
        let Some(first) = self.first else { return 0 };
        let due = now.saturating_duration_since(first).as_secs_f64() * self.per_s;
        (due as u64 + 1).saturating_sub(self.begun)
    }
}

/// Connections that wait to be opened, a few at a time.
#[derive(Clone, Debug)]
pub struct Ramp {
    waiting: VecDeque<u32>,
    count: usize,
    every: Duration,
    next: Instant,
    left: usize,
}

impl Ramp {
    /// `count` are opened every `every`.
    pub fn new(now: Instant, count: usize, every: Duration) -> Ramp {
        Ramp { waiting: VecDeque::new(), count, every, next: now, left: 0 }
    }

    /// A connection waits.
    pub fn push(&mut self, index: usize) {
        self.waiting.push_back(u32::try_from(index).expect("there are not so many sockets"));
    }

    /// When the next may be opened; none where none waits.
    pub fn next(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Takes one that may be opened `now`.
    pub fn take(&mut self, now: Instant) -> Option<usize> {
        if self.left == 0 {
            if now < self.next {
                return None;
            }
            self.left = self.count;
        }
        let index = self.waiting.pop_front()?;
        self.left -= 1;
        if self.left == 0 {
            self.next = later(self.next, self.every);
            // After a pause there is nothing to catch up with.
            if self.next < now {
                self.next = later(now, self.every);
            }
        }
        Some(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn think_times_of_whole_seconds_end_together() {
        let (origin, mut rng) = (Instant::now(), Rng::from_seed(1));
        let now = origin + Duration::from_micros(1_234_567);
        let (second, short) = (Duration::from_secs(1), Duration::from_millis(7));
        for (think, expected) in [(second, 2_240_000), (short, 1_241_567)] {
            let end = Think::new(think, think).end(now, origin, &mut rng);
            assert_eq!((end - origin).as_micros(), expected);
        }
        let on_it = Think::new(second, second).end(origin, origin, &mut rng);
        assert_eq!(on_it, origin + second);
    }

    #[test]
    fn think_times_are_whole_and_of_the_range() {
        let mut rng = Rng::from_seed(7);
        let s = Duration::from_secs;
        let ms = Duration::from_millis;
        for (least, most, step) in [
            (s(1), s(30), s(1)),
            (s(2), s(2), s(1)),
            (ms(1500), s(3), ms(1)),
            (ms(5), ms(7), ms(1)),
            (Duration::ZERO, Duration::from_micros(2500), Duration::from_micros(500)),
        ] {
            let think = Think::new(least, most);
            let drawn: Vec<Duration> = (0..5000).map(|_| think.draw(&mut rng)).collect();
            assert!(drawn.iter().all(|time| (least..=most).contains(time)), "{least:?} {most:?}");
            assert!(drawn.iter().all(|time| time.as_nanos() % step.as_nanos() == 0), "{least:?} {most:?}");
            assert!(drawn.contains(&least), "{least:?} comes");
            let mean = drawn.iter().sum::<Duration>().as_secs_f64() / 5000.0;
            let middle = (least + most).as_secs_f64() / 2.0;
            assert!((mean - middle).abs() <= 0.05 * middle + 0.0005, "{mean} is not near {middle}");
        }
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let start = Instant::now();
        let mut schedule = Schedule::new(3.0);
        assert_eq!((schedule.next(), schedule.behind(start)), (None, 0));
        schedule.begin(start);
        schedule.begin(start + Duration::from_secs(9));
        assert_eq!((schedule.next(), schedule.behind(start)), (Some(start), 1));
        for _ in 0..3_000 {
            schedule.advance();
        }
        assert_eq!(schedule.next(), Some(start + Duration::from_secs(1000)));
        assert_eq!(schedule.behind(start + Duration::from_millis(999_990)), 0);
        assert_eq!(schedule.behind(start + Duration::from_millis(1_001_100)), 4);
    }

    #[test]
    fn a_ramp_opens_a_few_at_a_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ramp = Ramp::new(start, 2, Duration::from_millis(10));
        (0..5).for_each(|index| ramp.push(index));
        let taken = |ramp: &mut Ramp, now| std::iter::from_fn(|| ramp.take(now)).collect::<Vec<_>>();
        assert_eq!(taken(&mut ramp, start), [0, 1]);
        assert_eq!((ramp.next(), ramp.take(at(9))), (Some(at(10)), None));
        // What is late catches up with its schedule, a step at a time.
        assert_eq!(taken(&mut ramp, at(11)), [2, 3]);
        assert_eq!(taken(&mut ramp, at(20)), [4]);
        assert_eq!(ramp.next(), None);
        // The step that was begun has one left.
        (5..9).for_each(|index| ramp.push(index));
        assert_eq!(taken(&mut ramp, at(21)), [5]);
        assert_eq!(taken(&mut ramp, at(90)), [6, 7], "a pause is not caught up with");
        let mut all_at_once = Ramp::new(start, 1, Duration::ZERO);
        (0..5).for_each(|index| all_at_once.push(index));
        assert_eq!(taken(&mut all_at_once, start).len(), 5);
    }
}
