//! Figures as people read them.

use std::fmt::{Display, Write};

use super::Percentiles;
use crate::core::units;
pub use crate::core::units::grouped;

/// The column in which a row's text begins.
const COLUMN: usize = 13;

/// Microseconds in the unit that suits them: `210 µs`, `1.50 ms`, `2.00 s`.
pub fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 999.5 => (us, "µs"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A number of bytes, in powers of 1,000: `98.2 MB`.
pub fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

/// `1 publisher`, `1,000 publishers`.
pub fn many(count: usize, what: &str) -> String {
    units::many(count as u64, what)
}

/// A size as it is written on the command line: `256 B`, `8 MiB`.
pub fn size(bytes: usize) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// A number in powers of 1,000: `2.41 M`.
pub fn short(number: f64) -> String {
    match number {
        n if n < 999.5 => three_digits(n),
        n if n < 999_500.0 => format!("{} k", three_digits(n / 1e3)),
        n if n < 999_500_000.0 => format!("{} M", three_digits(n / 1e6)),
        n => format!("{} G", three_digits(n / 1e9)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A report in rows, each a label and a text.
#[derive(Clone, Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds a row. A row without a label goes on with the one before.
    pub fn row(&mut self, label: &str, text: impl Display) {
        let _ = writeln!(self.0, "{label:COLUMN$}{text}");
    }

    /// Adds a row of latencies; none where nothing was done.
    pub fn percentiles(&mut self, label: &str, of: Option<&Percentiles>) {
        let Some(of) = of else { return };
        let cells = [
            ("min", of.min),
            ("p50", of.p50),
            ("p90", of.p90),
            ("p99", of.p99),
            ("p99.9", of.p999),
            ("max", of.max),
        ];
        let cells = cells.map(|(name, us)| format!("{name} {:<10}", time(us)));
        self.row(label, cells.concat().trim_end());
    }

    /// Adds an empty row.
    pub fn gap(&mut self) {
        self.0.push('\n');
    }
}

impl Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_have_three_digits() {
        for (us, text) in [
            (0.0, "0.00 µs"),
            (9.996, "10.0 µs"),
            (210.0, "210 µs"),
            (999.6, "1.00 ms"),
            (1_504.0, "1.50 ms"),
            (99_960.0, "100 ms"),
            (2e6, "2.00 s"),
            (3.6e9, "3600 s"),
        ] {
            assert_eq!(time(us), text);
        }
        for (number, text) in [(0.0, "0.00"), (645.2, "645"), (2_410_000.0, "2.41 M"), (1e9, "1.00 G")] {
            assert_eq!(short(number), text);
        }
        assert_eq!(bytes(98_200_000), "98.2 MB");
        for (bytes, text) in
            [(0, "0 B"), (256, "256 B"), (1500, "1500 B"), (8 << 20, "8 MiB"), (3 << 30, "3 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn rows_are_aligned() {
        let mut page = Page::default();
        page.row("errors", "none");
        page.row("", "more");
        page.percentiles("latency", None);
        let all = Percentiles {
            min: 0.5,
            p50: 1.0,
            p90: 20.0,
            p99: 300.0,
            p999: 4e3,
            max: 5e6,
            ..Percentiles::default()
        };
        page.percentiles("latency", Some(&all));
        assert_eq!(
            page.to_string(),
            "errors       none\n             more\n\
             latency      min 0.50 µs   p50 1.00 µs   p90 20.0 µs   p99 300 µs    p99.9 4.00 ms   max 5.00 s\n"
        );
    }
}
