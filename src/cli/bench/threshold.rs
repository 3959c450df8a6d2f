//! `--fail-above`: when figures are a failure.

use std::fmt;
use std::str::FromStr;

use crate::cli::Time;
use crate::core::units::{grouped, latency};
use crate::tools::bench::{Figures, Percentiles};

/// The most that a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// Of a percentile.
    Latency(Percentile, Time),
    /// Of the number of errors.
    Errors(u64),
    /// Of errors, in 100 things tried.
    ErrorsPercent(f64),
}

/// A percentile that can be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    P50,
    P90,
    P99,
    P999,
    Max,
}

impl Percentile {
    const ALL: [Percentile; 5] =
        [Percentile::P50, Percentile::P90, Percentile::P99, Percentile::P999, Percentile::Max];

    fn name(self) -> &'static str {
        match self {
            Percentile::P50 => "p50",
            Percentile::P90 => "p90",
            Percentile::P99 => "p99",
            Percentile::P999 => "p999",
            Percentile::Max => "max",
        }
    }

    fn of(self, all: &Percentiles) -> f64 {
        match self {
            Percentile::P50 => all.p50,
            Percentile::P90 => all.p90,
            Percentile::P99 => all.p99,
            Percentile::P999 => all.p999,
            Percentile::Max => all.max,
        }
    }
}

impl Threshold {
    /// Whether it says how many errors there may be.
    pub fn is_about_errors(&self) -> bool {
        !matches!(self, Threshold::Latency(..))
    }

    /// What to say if the figures are above it.
    pub fn exceeded_by(&self, figures: &Figures) -> Option<String> {
        let errors = figures.errors.total();
        match *self {
            Threshold::Latency(percentile, most) => {
                let Some(all) = &figures.latency_us else {
                    return Some(format!("nothing was measured, so {self} is not met"));
                };
                let (found, most_us) = (percentile.of(all), most.0.as_secs_f64() * 1e6);
                (found > most_us).then(|| format!("{} {} is above {most}", percentile.name(), latency(found)))
            }
            Threshold::Errors(most) => {
                (errors > most).then(|| format!("{} errors are more than {}", grouped(errors), grouped(most)))
            }
            Threshold::ErrorsPercent(most) => {
                let percent = 100.0 * errors as f64 / figures.tried().max(1) as f64;
                (percent > most).then(|| format!("{percent:.3} % of errors is above {most} %"))
            }
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threshold::Latency(percentile, most) => write!(f, "{}={most}", percentile.name()),
            Threshold::Errors(most) => write!(f, "errors={most}"),
            Threshold::ErrorsPercent(most) => write!(f, "errors={most}%"),
        }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Threshold, String> {
        let wrong = || format!("'{text}' is no bound: write it as p99=50ms, max=1s, errors=0 or errors=1%");
        let (what, most) = text.trim().split_once('=').ok_or_else(wrong)?;
        if what == "errors" {
            return match most.strip_suffix('%') {
                Some(percent) => match percent.trim().parse::<f64>() {
                    Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Threshold::ErrorsPercent(percent)),
                    _ => Err(wrong()),
                },
                None => most.parse().map(Threshold::Errors).map_err(|_| wrong()),
            };
        }
        // As the report writes it.
        let what = if what == "p99.9" { "p999" } else { what };
        let percentile = Percentile::ALL.into_iter().find(|one| one.name() == what).ok_or_else(wrong)?;
        Ok(Threshold::Latency(percentile, most.parse().map_err(|_| wrong())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::bench::{Measure, Own};
    use std::time::{Duration, Instant};

    #[test]
    fn bounds_are_written_as_they_are_read() {
        for (text, shown) in [
            ("p99=50ms", Some("p99=50ms")),
            ("p999=1.5", Some("p999=1s500ms")),
            ("p99.9=1s", Some("p999=1s")),
            ("max=2s", Some("max=2s")),
            (" p50=10us", Some("p50=10us")),
            ("errors=0", Some("errors=0")),
            ("errors=0.5%", Some("errors=0.5%")),
            ("errors=-1", None),
            ("errors=101%", None),
            ("errors=many", None),
            ("p98=1s", None),
            ("p99", None),
            ("p99=soon", None),
            ("", None),
        ] {
            let found = text.parse::<Threshold>();
            assert_eq!(found.as_ref().ok().map(ToString::to_string).as_deref(), shown, "{text:?}");
            assert!(found.is_ok() || found.unwrap_err().contains("write it as p99=50ms"), "{text:?}");
        }
    }

    #[test]
    fn figures_are_compared_with_them() {
        let start = Instant::now();
        let mut measure = Measure::new(start, 1);
        let second = start + Duration::from_secs(1);
        let figures = |measure: &Measure| Figures::new(measure, Own::default(), second, false);
        let said = |measure: &Measure, bound: &str| {
            bound.parse::<Threshold>().unwrap().exceeded_by(&figures(measure))
        };
        assert!(said(&measure, "p99=1s").unwrap().contains("nothing was measured"));
        measure.done(start, Duration::from_millis(60), 95, 1);
        measure.errors(start, "lost", 5, String::new);
        for (bound, expected) in [
            ("p99=50ms", Some("p99 60.0 ms is above 50ms")),
            ("p99=70ms", None),
            ("errors=4", Some("5 errors are more than 4")),
            ("errors=5", None),
            ("errors=4%", Some("5.000 % of errors is above 4 %")),
            ("errors=5%", None),
        ] {
            assert_eq!(said(&measure, bound).as_deref(), expected, "{bound}");
        }
    }
}
