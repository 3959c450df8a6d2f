//! How values are spread: counts in buckets, four to a doubling, so that a quantile is within a fifth
//! of the truth and recording costs a few nanoseconds.

/// Buckets: values up to 2^31, the last one also holds what is larger.
const BUCKETS: usize = 120;

/// Counts of whole numbers (microseconds, bytes, frames) by size.
///
/// Bucket `i` holds the values above [`Histogram::bound`] of `i - 1` and up to that of `i`; every
/// power of two is such a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: [0; BUCKETS], count: 0, sum: 0 }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value that occurred `times` times.
    pub fn record_many(&mut self, value: u64, times: u64) {
        self.counts[index(value)] += times;
        self.count += times;
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Values up to `2^power`, which is at most 2^29.
    pub fn count_up_to(&self, power: u32) -> u64 {
        self.counts[..=index(1 << power)].iter().sum()
    }

    /// The largest value of bucket `i`.
    pub fn bound(i: usize) -> u64 {
        let (octave, quarter) = (i / 4, i as u64 % 4);
        match octave {
            0 => quarter + 1,
            _ => (4 + quarter + 1) << (octave - 1),
        }
    }

    /// The value that a share `q` (0 to 1) of all values does not exceed, as well as the buckets tell;
    /// none if there are no values.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let wanted = (q * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (i, &count) in self.counts.iter().enumerate() {
            if below + count >= wanted {
                let floor = if i == 0 { 0 } else { Self::bound(i - 1) };
                let share = (wanted - below) as f64 / count as f64;
                return Some(floor + ((Self::bound(i) - floor) as f64 * share).round() as u64);
            }
            below += count;
        }
        None
    }

    /// The bound of the largest value's bucket; none if there are no values.
    pub fn largest(&self) -> Option<u64> {
        self.counts.iter().rposition(|&count| count > 0).map(Self::bound)
    }

    /// What was counted since `earlier`, an older state of the same histogram.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut counts = self.counts;
        counts.iter_mut().zip(&earlier.counts).for_each(|(now, then)| *now = now.saturating_sub(*then));
        Histogram {
            counts,
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

/// The bucket of a value: by its highest bit and the two below it.
fn index(value: u64) -> usize {
    let from_zero = value.saturating_sub(1);
    if from_zero < 4 {
        return from_zero as usize;
    }
    let octave = from_zero.ilog2() as usize - 1;
    let quarter = (from_zero >> (octave - 1)) as usize & 3;
    (4 * octave + quarter).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_its_bucket() {
        for value in (0..10_000).chain((10..30).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1])) {
            let i = index(value);
            assert!(value <= Histogram::bound(i), "{value} is in bucket {i}");
            assert!(i == 0 || value > Histogram::bound(i - 1), "{value} is in bucket {i}");
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
        for power in 0..30 {
            assert_eq!(Histogram::bound(index(1 << power)), 1 << power, "powers of two are bounds");
        }
    }

    #[test]
    fn quantiles_are_within_a_fifth() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.largest()), (None, None));
        (1..=10_000).for_each(|value| histogram.record(value));
        for (q, exact) in [(0.0, 1.0), (0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(q).unwrap() as f64;
            assert!((found - exact).abs() <= exact * 0.2 + 1.0, "{q}: {found} for {exact}");
        }
        assert_eq!((histogram.count(), histogram.sum()), (10_000, 50_005_000));
        assert_eq!(histogram.count_up_to(10), 1024);
    }

    #[test]
    fn a_difference_holds_what_came_between() {
        let mut histogram = Histogram::default();
        histogram.record(1_000_000);
        let earlier = histogram.clone();
        histogram.record_many(8, 3);
        let since = histogram.since(&earlier);
        assert_eq!((since.count(), since.sum(), since.largest()), (3, 24, Some(8)));
        assert_eq!(since.quantile(0.5), Some(8));
    }
}
