//! Declarations become layouts: what is written in TOML is read, judged and compiled. Everything that can be wrong is
//! said here, with the place and the mend, and all of it at once.

mod answer;
mod checks;
mod covered;
mod judge;
mod shape;
mod table;
mod text;
mod types;

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

pub(super) use self::checks::fits;
pub(super) use self::judge::Parts;
use self::shape::{Drafted, LayoutDraft};
use self::table::{KEYS, OTHERS, Source, string};
use super::Layouts;
use super::form::{Layout, UNTILS_MAX};
use crate::core::units::nearest;
pub use crate::wire::toml_file::{Problem, Warning};
use crate::wire::toml_file::{Report, Where};

/// The most layouts of a file, and the most shapes of a layout: what numbers of 16 bits hold, and people read.
const LAYOUTS_MAX: usize = 256;
const SHAPES_MAX: usize = 64;

impl Layouts {
    /// Reads the `[layout.NAME]` tables of a file that holds nothing else. `file` is what messages call it.
    pub fn parse(text: &str, file: &str) -> Result<(Layouts, Vec<Warning>), Vec<Problem>> {
        Self::read(text, file, true)
    }

    /// Reads the `[layout.NAME]` tables of a file that may hold other things.
    pub fn parse_within(text: &str, file: &str) -> Result<(Layouts, Vec<Warning>), Vec<Problem>> {
        Self::read(text, file, false)
    }

    fn read(text: &str, file: &str, is_alone: bool) -> Result<(Layouts, Vec<Warning>), Vec<Problem>> {
        let mut report = Report::new(text, file);
        let mut layouts = Vec::new();
        match DeTable::parse(text) {
            Err(wrong) => {
                let at = wrong.span().map_or(0, |span| span.start);
                let (what, mend) = (wrong.message(), mend(wrong.message()));
                report.problem(Where { at, ..Where::default() }, format!("{what}{mend}"));
            }
            Ok(table) => layouts = read_layouts(table.get_ref(), is_alone, &mut report),
        }
        report.sorted();
        if !report.problems.is_empty() {
            return Err(report.problems);
        }
        layouts.sort_by(|a, b| a.name().cmp(b.name()));
        Ok((Layouts(layouts), report.warnings))
    }
}

/// For the mistakes of TOML that people make in declarations.
fn mend(message: &str) -> &'static str {
    if message.contains("duplicate") {
        ": a name stands once; give the second another, or leave it out"
    } else {
        ": a declaration is NAME = \"TEXT\", below a line [layout.NAME]"
    }
}

fn read_layouts(table: &DeTable<'_>, is_alone: bool, report: &mut Report<'_>) -> Vec<Arc<Layout>> {
    let nowhere = |at| Where { at, ..Where::default() };
    let mut layouts = Vec::new();
    for (name, value) in table {
        let at = name.span().start;
        match (&**name.get_ref(), value.get_ref()) {
            ("layout", DeValue::Table(tables)) if has_no_name(tables) => {
                report.problem(
                    nowhere(at),
                    "[layout] has no name: write [layout.NAME], and its shapes below [[layout.NAME.shape]]",
                );
            }
            ("layout", DeValue::Table(tables)) => {
                if tables.len() > LAYOUTS_MAX {
                    let what = format!("{} layouts are more than {LAYOUTS_MAX}: divide them", tables.len());
                    report.problem(nowhere(at), what);
                    continue;
                }
                for (name, value) in tables {
                    layouts.extend(read_layout(name.get_ref(), name.span().start, value.get_ref(), report));
                }
            }
            ("layout", _) => report.problem(nowhere(at), "layout is not a table: write [layout.NAME]"),
            (name, _) if is_alone => {
                let what = match nearest(name, ["layout"]) {
                    Some(_) => format!("unknown table {name}: did you mean [layout.NAME]?"),
                    None => {
                        format!("unknown name {name}: a file of layouts holds [layout.NAME] tables alone")
                    }
                };
                report.problem(nowhere(at), what);
            }
            _ => {}
        }
    }
    layouts
}

/// Whether what stands below `[layout]` is what stands below `[layout.NAME]`.
fn has_no_name(tables: &DeTable<'_>) -> bool {
    tables.iter().any(|(name, value)| {
        let is_key = KEYS.contains(&&**name.get_ref()) || OTHERS.contains(&&**name.get_ref());
        is_key && !value.get_ref().is_table()
    })
}

fn read_layout(name: &str, at: usize, value: &DeValue<'_>, report: &mut Report<'_>) -> Option<Arc<Layout>> {
    let place = Where { at, layout: Some(name), ..Where::default() };
    let DeValue::Table(table) = value else {
        report.problem(place, format!("it is not a table: write [layout.{name}]"));
        return None;
    };
    if !text::is_name(name) || name == "native" {
        let what = "a layout's name begins with a letter and has letters, digits, - and _; native is taken";
        report.problem(place, what);
    }
    let before = report.problems.len();
    let scans = scans(name, table, report);
    let shapes = match table.get("shape").map(|shapes| shapes.get_ref()) {
        None => vec![Source::new(name, at, None, table, None)],
        Some(DeValue::Array(shapes))
            if !shapes.is_empty() && shapes.iter().all(|shape| shape.get_ref().is_table()) =>
        {
            if shapes.len() > SHAPES_MAX {
                report.problem(place, format!("{} shapes are more than {SHAPES_MAX}", shapes.len()));
                return None;
            }
            let mut sources = Vec::new();
            for (index, shape) in shapes.iter().enumerate() {
                if let DeValue::Table(own) = shape.get_ref() {
                    sources.push(Source::new(name, shape.span().start, Some(index), table, Some(own)));
                }
            }
            sources
        }
        Some(_) => {
            let place = Where { key: Some("shape"), ..place };
            report.problem(
                place,
                format!("it is not a list of tables: write [[layout.{name}.shape]] for each"),
            );
            return None;
        }
    };
    let mut draft = LayoutDraft::new(name, scans);
    let drafted: Vec<Drafted> = shapes.iter().map(|source| draft.shape(source, report)).collect();
    judge::reachable(&shapes, &drafted, report);
    if scans {
        judge::scannable(&shapes, &drafted, report);
    }
    if draft.untils() > UNTILS_MAX {
        let what =
            format!("its shapes end in {} different ways (until): at most {UNTILS_MAX}", draft.untils());
        report.problem(place, what);
    }
    let layout = answer::compile(draft, &shapes, drafted, report);
    (report.problems.len() == before).then(|| layout.map(Arc::new)).flatten()
}

fn scans(name: &str, table: &DeTable<'_>, report: &mut Report<'_>) -> bool {
    let Some((key, value)) = table.get_key_value("on-malformed") else { return false };
    let place =
        Where { at: key.span().start, layout: Some(name), key: Some("on-malformed"), ..Where::default() };
    match string(value.get_ref()) {
        Some("scan") => true,
        Some("close") => false,
        _ => {
            report.problem(place, "it is neither \"close\" nor \"scan\"");
            false
        }
    }
}
