//! Histograms against a list of all values.

use super::choices::Choices;
use crate::core::histogram::Histogram;

/// Values recorded; more find nothing new.
const VALUES: usize = 60;

/// The largest value that has a bucket of its size.
const LARGEST: u64 = 1 << 31;

/// Counts, sums and quantiles are those of the list, within the bucket that the value falls into.
pub fn check_histogram(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut histogram = Histogram::default();
    let mut earlier = None;
    let mut values: Vec<u64> = Vec::new();
    assert_eq!((histogram.quantile(0.5), histogram.largest()), (None, None));
    while !choices.is_empty() && values.len() < VALUES {
        // Of every size, near a power of two or not.
        let value = choices.number() >> choices.below(64);
        let times = 1 + choices.below(4);
        match times {
            1 => histogram.record(value),
            _ => histogram.record_many(value, times as u64),
        }
        values.extend(std::iter::repeat_n(value, times));
        if choices.below(8) == 7 {
            earlier = Some((histogram.clone(), values.len()));
        }
    }
    check(&histogram, &values, choices.below(101));
    let (earlier, from) = earlier.unwrap_or_default();
    let since = histogram.since(&earlier);
    assert_eq!(since.count(), (values.len() - from) as u64);
    let mut later = Histogram::default();
    values[from..].iter().for_each(|&value| later.record(value));
    assert_eq!((0..30).map(|at| since.count_up_to(at)).collect::<Vec<_>>(), counts(&values[from..]));
    if histogram.sum() < u64::MAX {
        assert_eq!(since, later);
    }
}

fn check(histogram: &Histogram, values: &[u64], percent: usize) {
    let sum = values.iter().fold(0, |sum: u64, &value| sum.saturating_add(value));
    assert_eq!((histogram.count(), histogram.sum()), (values.len() as u64, sum));
    assert_eq!((0..30).map(|at| histogram.count_up_to(at)).collect::<Vec<_>>(), counts(values));
    let mut sorted: Vec<u64> = values.iter().map(|&value| value.clamp(1, LARGEST)).collect();
    sorted.sort_unstable();
    let Some(&largest) = sorted.last() else { return };
    assert!((largest..=largest + largest / 4 + 1).contains(&histogram.largest().expect("there are some")));
    let wanted = (percent * sorted.len()).div_ceil(100).max(1);
    let exact = sorted[wanted - 1] as f64;
    let told = histogram.quantile(percent as f64 / 100.0).expect("there are some") as f64;
    assert!((told - exact).abs() <= 0.25 * exact + 1.0, "{percent} %: {told} instead of {exact}");
}

/// How many are at most 1, 2, 4, ... 2^29.
fn counts(values: &[u64]) -> Vec<u64> {
    (0..30).map(|power| values.iter().filter(|&&value| value <= 1 << power).count() as u64).collect()
}
