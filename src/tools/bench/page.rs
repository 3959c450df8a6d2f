//! A report as people read it.

use std::fmt::{Display, Write};

use super::Percentiles;
use crate::core::units::latency;

/// The column in which a row's text begins.
const COLUMN: usize = 13;

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
        let cells = cells.map(|(name, us)| format!("{name} {:<10}", latency(us)));
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
