//! The report of `post`, and how far it is.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::screen::Screen;
use crate::core::units::{about, bytes, grouped, many, one_line, seconds};
use crate::tools::bench::page::Page;
use crate::tools::post::{Part, Progress, Report};

/// 10 s between two lines of a log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A terminal shows the bars of so many sources beside that of the whole.
const BARS_MAX: usize = 8;

/// The report for people.
pub fn text(report: &Report) -> String {
    let mut page = Page::default();
    let size = bytes(report.bytes);
    let rate = grouped(report.per_s().round() as u64);
    let (stored, took) = (many(report.stored, "record"), seconds(report.seconds));
    page.row("stored", format!("{stored}, {size} in {took} ({rate} records/s)"));
    if report.stored_before > 0 {
        let all = if report.requests == 0 { "; remove the journal to send them again" } else { "" };
        page.row("before", format!("{} that an earlier run stored{all}", grouped(report.stored_before)));
    }
    page.row("failed", if report.failed == 0 { "none".into() } else { grouped(report.failed) });
    for kind in &report.failures {
        page.row("", format!("{:>9}  {}", grouped(kind.count), kind.kind));
    }
    for (index, failed) in report.first.iter().enumerate() {
        let tries = if failed.tries == 0 { String::new() } else { format!(" ({})", tries(failed.tries)) };
        let source = failed.source.display();
        page.row(
            if index == 0 { "of these" } else { "" },
            format!("{source}: {}: {}{tries}", one_line(&failed.record), failed.reason),
        );
    }
    let unnamed = report.failed - report.first.len() as u64;
    if unnamed > 0 {
        page.row("", format!("and {} more; --report FILE names them all", grouped(unnamed)));
    }
    if report.left_out > 0 {
        page.row("left out", left_out(report));
        for left_out in &report.first_left_out {
            let (source, name) = (left_out.source.display(), one_line(&left_out.record));
            page.row("", format!("{source}: {name}: {}", left_out.left_out));
        }
        let named: u64 =
            report.left_out_kinds.iter().filter(|kind| kind.is_named).map(|kind| kind.count).sum();
        let unnamed = named - report.first_left_out.len() as u64;
        if unnamed > 0 {
            page.row("", format!("and {} more; --report FILE names them all", grouped(unnamed)));
        }
    }
    if report.unsent > 0 {
        page.row(
            "unsent",
            format!("{} that were taken; run the same command again to go on", grouped(report.unsent)),
        );
    }
    let refused =
        if report.refused > 0 { format!(", {} refused", grouped(report.refused)) } else { String::new() };
    let most = grouped(report.connections_max as u64);
    page.row("requests", format!("{}, over {most} connections at most{refused}", grouped(report.requests)));
    if report.not_taken > 0 {
        page.row(
            "",
            format!(
                "{} more connections waited in vain to be accepted, and their requests went over others: the store takes \
                 some {} at once",
                grouped(report.not_taken),
                grouped(report.connections_allowed as u64)
            ),
        );
    }
    page.row("in all", in_all(report));
    page.to_string().trim_end().to_owned()
}

/// What was left out, by kind.
fn left_out(report: &Report) -> String {
    let kinds: Vec<String> = report.left_out_kinds.iter().map(|kind| many(kind.count, kind.kind)).collect();
    kinds.join(", ")
}

/// What was found, and that it is all told of.
fn in_all(report: &Report) -> String {
    let parts = [
        (report.stored, "stored"),
        (report.stored_before, "stored before"),
        (report.failed, "failed"),
        (report.left_out, "left out"),
        (report.unsent, "unsent"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count)))
        .collect();
    let more = match report.broken_sources {
        0 => String::new(),
        count => format!("; {} not read to the end may hold more", many(count, "source")),
    };
    let sum = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(" + ")) };
    format!("{} found{sum}{more}", grouped(report.found))
}

/// The same as one JSON object.
pub fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report is numbers and names")
}

fn tries(count: u32) -> String {
    if count == 1 { "1 try".into() } else { format!("{count} tries") }
}

/// Shows how far a posting is: a bar for each source and one for the whole on a terminal, else lines in the log.
pub struct Bars {
    screen: Option<Screen>,
    whole: ProgressBar,
    sources: HashMap<u64, ProgressBar>,
    /// How many sources there are in all, where that is known.
    of: Option<u64>,
    next_line: Duration,
}

impl Bars {
    /// Shows nothing yet of so many sources.
    pub fn new(of: Option<u64>) -> Bars {
        Bars::on(Screen::open(), of)
    }

    fn on(screen: Option<Screen>, of: Option<u64>) -> Bars {
        let whole = match &screen {
            Some(screen) => screen.bars().add(ProgressBar::no_length()),
            None => ProgressBar::hidden(),
        };
        Bars { screen, whole, sources: HashMap::new(), of, next_line: LINE_EVERY }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress) {
        let Some(bars) = self.screen.as_ref().map(Screen::bars) else {
            if progress.elapsed >= self.next_line {
                log::info!("{} done  {}", grouped(progress.all.done), line(progress, self.of));
                self.next_line = progress.elapsed + LINE_EVERY;
            }
            return;
        };
        self.sources.retain(|id, bar| {
            let is_there = progress.sources.iter().any(|part| part.id == *id);
            if !is_there {
                bar.finish_and_clear();
                bars.remove(bar);
            }
            is_there
        });
        for part in &progress.sources {
            if !self.sources.contains_key(&part.id) && self.sources.len() < BARS_MAX {
                let bar = bars.insert_before(&self.whole, ProgressBar::no_length());
                self.sources.insert(part.id, bar);
            }
            if let Some(bar) = self.sources.get(&part.id) {
                set(bar, part, &part.name);
            }
        }
        set(&self.whole, &progress.all, &line(progress, self.of));
    }
}

fn set(bar: &ProgressBar, part: &Part, said: &str) {
    let template =
        if part.total.is_some() { "{bar:24} {pos}/{len}  {msg}" } else { "{spinner} {pos}  {msg}" };
    bar.set_style(ProgressStyle::with_template(template).expect("the templates are well-formed"));
    match part.total {
        Some(total) => bar.set_length(total),
        None => bar.unset_length(),
    }
    bar.set_position(part.done);
    bar.set_message(said.to_owned());
    bar.tick();
}

/// How far the whole is, but for how much is done, in a line that fits beside a bar.
fn line(progress: &Progress, of: Option<u64>) -> String {
    let all = &progress.all;
    let which = match of {
        Some(of) if of > 1 => format!("source {} of {}  ", grouped(progress.begun), grouped(of)),
        _ => String::new(),
    };
    let left = match all.total {
        // What was not begun may hold any number.
        Some(total) if progress.per_s >= 0.1 && of.is_none_or(|of| progress.begun >= of) => {
            let s = total.saturating_sub(all.done) as f64 / progress.per_s;
            format!("  about {} left", about(Duration::from_secs(s.ceil() as u64)))
        }
        _ => String::new(),
    };
    format!(
        "{which}{} failed  {} in flight  {} connections  {}/s{left}",
        grouped(all.failed),
        grouped(progress.in_flight as u64),
        grouped(progress.connections as u64),
        grouped(progress.per_s.round() as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::post::report::{FailedRecord, FailureKind, LeftOutKind, LeftOutRecord};
    use crate::tools::records::LeftOut;

    #[test]
    fn what_failed_is_named_with_its_reason() {
        let failed = FailedRecord {
            source: "a.zip".into(),
            source_id: None,
            record: "b.json".into(),
            key: None,
            status: Some(503),
            tries: 4,
            reason: "503 Service Unavailable: busy".into(),
        };
        let left_out = LeftOutRecord {
            source: "a.tar".into(),
            record: "c".into(),
            left_out: LeftOut::HardLink("d".into()).to_string(),
        };
        let kind = FailureKind { kind: "503 Service Unavailable".into(), count: 2, example: String::new() };
        let report = Report {
            found: 10_007,
            stored: 9_998,
            failed: 2,
            left_out: 7,
            left_out_kinds: vec![
                LeftOutKind { kind: LeftOut::Folder.kind(), count: 4, is_named: false },
                LeftOutKind { kind: LeftOut::HardLink(String::new()).kind(), count: 2, is_named: true },
                LeftOutKind { kind: LeftOut::Device.kind(), count: 1, is_named: true },
            ],
            first_left_out: vec![left_out],
            bytes: 1_500_000,
            requests: 10_006,
            connections_max: 100,
            refused: 5,
            not_taken: 768,
            connections_allowed: 232,
            seconds: 20.0,
            failures: vec![kind],
            first: vec![failed],
            ..Report::default()
        };
        assert_eq!(
            text(&report),
            "stored       9,998 records, 1.5 MB in 20.00 s (500 records/s)\n\
             failed       2\n                     2  503 Service Unavailable\n\
             of these     a.zip: b.json: 503 Service Unavailable: busy (4 tries)\n             \
             and 1 more; --report FILE names them all\n\
             left out     4 folders, 2 hard links, 1 device\n             a.tar: c: hard link to d\n             \
             and 2 more; --report FILE names them all\n\
             requests     10,006, over 100 connections at most, 5 refused\n             \
             768 more connections waited in vain to be accepted, and their requests went over others: the store takes \
             some 232 at once\n\
             in all       10,007 found: 9,998 stored + 2 failed + 7 left out"
        );
        let parsed: serde_json::Value = serde_json::from_str(&json(&report)).unwrap();
        assert_eq!((&parsed["failed"], &parsed["first"][0]["status"]), (&2.into(), &503.into()));
    }

    #[test]
    fn how_far_it_is() {
        let all = Part { done: 1_200, failed: 3, total: Some(10_000), ..Part::default() };
        let mut progress =
            Progress { all, begun: 1, in_flight: 100, connections: 98, per_s: 50.0, ..Progress::default() };
        let said = line(&progress, Some(1));
        assert_eq!(said, "3 failed  100 in flight  98 connections  50/s  about 2m 56s left");
        // How much is left is not known before the last is begun.
        progress.begun = 2;
        let said = "source 2 of 3  3 failed  100 in flight  98 connections  50/s";
        assert_eq!(line(&progress, Some(3)), said);
        progress.begun = 3;
        assert!(line(&progress, Some(3)).ends_with("  about 2m 56s left"));
        progress.per_s = 0.0;
        assert!(line(&progress, None).ends_with("0/s"));
    }

    #[test]
    fn each_source_under_way_has_a_bar_and_the_whole_another() {
        let mut bars = Bars::on(Some(Screen::hidden()), None);
        let part = |id: u64, done, total| Part { id, name: format!("{id}.zip"), done, failed: 0, total };
        let mut show = |sources: &[Part]| {
            let done = sources.iter().map(|part| part.done).sum();
            let total = sources.iter().map(|part| part.total).sum();
            let all = Part { done, total, ..Part::default() };
            bars.show(&Progress { all, sources: sources.to_vec(), ..Progress::default() });
            let mut shown: Vec<_> =
                bars.sources.values().map(|bar| (bar.message(), bar.position(), bar.length())).collect();
            shown.sort();
            (shown, (bars.whole.position(), bars.whole.length()))
        };
        let named = |id: u64, done, total| (format!("{id}.zip"), done, total);
        let (shown, whole) = show(&[part(1, 5, Some(10)), part(2, 0, Some(20))]);
        assert_eq!(shown, [named(1, 5, Some(10)), named(2, 0, Some(20))]);
        assert_eq!(whole, (5, Some(30)));
        // One is done, another comes, of which nobody knows how long it is.
        let (shown, whole) = show(&[part(2, 7, Some(20)), part(3, 1, None)]);
        assert_eq!(shown, [named(2, 7, Some(20)), named(3, 1, None)]);
        assert_eq!(whole, (8, None));
        // A terminal has room for some of many; as they end, the others come.
        let many: Vec<Part> = (10..40).map(|id| part(id, 0, Some(1))).collect();
        assert_eq!(show(&many).0.len(), BARS_MAX);
        assert_eq!(show(&many[25..]).0.len(), 5);
        assert_eq!(show(&[]), (Vec::new(), (0, Some(0))));
    }
}
