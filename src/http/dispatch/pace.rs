//! How many requests may be under way at once.

use std::time::Duration;

/// How many requests may be under way at once: at most what was asked for, fewer while the server says that this
/// is too much. 1 ≤ limit ≤ most.
///
/// A server that answers "too much" (429, 503) has the others under way: so many it takes. From there the limit
/// grows by one each time that as many answers as it allows were good ones. When it is to find the number itself,
/// it begins with few, doubles until something speaks against it, and takes a latency that rises for a no, too.
#[derive(Clone, Debug)]
pub struct Pace {
    most: f64,
    limit: f64,
    finds: Option<Finder>,
}

#[derive(Clone, Debug)]
struct Finder {
    /// Nothing has spoken against more yet.
    doubles: bool,
    /// The least latency of late, which is what an unburdened server needs.
    base: Option<Duration>,
    /// Of this round: how many answers, and their latencies together.
    answers: u32,
    total: Duration,
    /// The most that were under way in this round.
    peak: usize,
    /// Answers to requests that began before the last cut say nothing new; so many are still to come.
    stale: usize,
}

/// An adaptive pace begins with so many.
const FIRST: f64 = 10.0;

/// A round whose mean latency is this many times the least of late is slower than the load explains.
const RISEN: f64 = 2.0;

/// What is left of the limit after a cut.
const CUT: f64 = 0.7;

impl Pace {
    /// At most `most` at once; with `adaptive`, it finds out how many.
    pub fn new(most: usize, adaptive: bool) -> Pace {
        let most = most.max(1) as f64;
        let finds = adaptive.then_some(Finder {
            doubles: true,
            base: None,
            answers: 0,
            total: Duration::ZERO,
            peak: 0,
            stale: 0,
        });
        Pace { most, limit: if adaptive { FIRST.min(most) } else { most }, finds }
    }

    /// At most `most` at once from now on.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.max(1) as f64;
        // Where it finds the number itself, it goes on from where it is.
        self.limit = if self.finds.is_some() { self.limit.min(self.most) } else { self.most };
    }

    /// How many may be under way.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// An answer came that does not say "too much", after so long, with `busy` requests still under way.
    pub fn answered(&mut self, took: Duration, busy: usize) {
        let limit = self.limit;
        let Some(finder) = &mut self.finds else {
            self.limit = (limit + 1.0 / limit).min(self.most);
            return;
        };
        finder.base = Some(finder.base.map_or(took, |base| base.min(took)));
        finder.answers += 1;
        finder.total += took;
        finder.stale = finder.stale.saturating_sub(1);
        finder.peak = finder.peak.max(busy + 1);
        if f64::from(finder.answers) < limit {
            return;
        }
        let mean = finder.total / finder.answers;
        // Where there is not enough to do, nothing is learned about more.
        let is_full = finder.peak >= limit as usize;
        (finder.answers, finder.total, finder.peak) = (0, Duration::ZERO, 0);
        let base = finder.base.unwrap_or(mean);
        if mean > base.mul_f64(RISEN) {
            // A server may have become slower for good: the least is forgotten bit by bit.
            finder.base = Some(base.mul_f64(1.1));
            self.cut(busy);
        } else if is_full {
            self.limit = (if finder.doubles { 2.0 * limit } else { limit + 1.0 }).min(self.most);
        }
    }

    /// The server said that this is too much, or took too long, with `busy` requests still under way.
    pub fn overloaded(&mut self, busy: usize) {
        match self.finds {
            None => self.limit = self.limit.min(busy as f64).max(1.0),
            Some(_) => self.cut(busy),
        }
    }

    /// Once for all that is under way: what comes back of it does not speak of the new limit.
    fn cut(&mut self, busy: usize) {
        let Some(finder) = &mut self.finds else { return };
        finder.doubles = false;
        if finder.stale > 0 {
            finder.stale -= 1;
            return;
        }
        finder.stale = busy;
        self.limit = (self.limit * CUT).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_server_that_takes_a_hundred_gets_a_hundred() {
        let mut pace = Pace::new(1000, false);
        assert_eq!(pace.limit(), 1000);
        for busy in (100..1000).rev() {
            pace.overloaded(busy);
        }
        assert_eq!(pace.limit(), 100);
        (0..101).for_each(|_| pace.answered(MS, 99));
        assert_eq!(pace.limit(), 101);
        pace.overloaded(0);
        assert_eq!(pace.limit(), 1);
        (0..1_000_000).for_each(|_| pace.answered(MS, 99));
        assert_eq!(pace.limit(), 1000);
    }

    /// A server that works on so many at once and lets the others wait in line, in turns of one service time.
    fn settle(most: usize, capacity: usize, refuses: bool) -> Vec<usize> {
        let mut pace = Pace::new(most, true);
        let mut under_way = VecDeque::new();
        let mut limits = Vec::new();
        for turn in 0..400u32 {
            while under_way.len() < pace.limit() {
                if refuses && under_way.len() >= capacity {
                    pace.overloaded(under_way.len());
                    break;
                }
                under_way.push_back(turn);
            }
            for _ in 0..capacity.min(under_way.len()) {
                let began = under_way.pop_front().unwrap();
                pace.answered((turn - began + 1) * 100 * MS, under_way.len());
            }
            limits.push(pace.limit());
        }
        limits.split_off(200)
    }

    #[test]
    fn an_adaptive_pace_finds_what_a_server_takes() {
        for refuses in [false, true] {
            let limits = settle(10_000, 100, refuses);
            let mean = limits.iter().sum::<usize>() / limits.len();
            assert!((70..=300).contains(&mean), "{refuses}: {mean}, {limits:?}");
        }
        // One that takes everything gets all that is allowed.
        assert!(settle(500, 10_000, false).iter().all(|&limit| limit == 500));
    }
}
