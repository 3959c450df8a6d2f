//! `framegate layout`: shows the layouts that come with the program, and checks those of others.

pub(super) mod capture;
mod check;
mod declared;
pub(super) mod frames;
mod json;
mod report;

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Exit, Failure, layouts, print};
use crate::wire::layout::{BUILTIN, builtin};

/// Layouts declare the frames that other people's devices speak: where one ends, what is checked, what it is called
/// and what is written back.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = false)]
pub struct LayoutCommand {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Lists the layouts that come with the program
    List(List),
    /// Prints the declaration of one of them, to start from
    Show(Show),
    /// Checks a declaration, and shows what the frames of a capture are under it
    Check(check::CheckLayout),
}

const EXAMPLES: &str = "\
Examples:
  framegate layout list
  framegate layout show teltonika > mine.toml
  framegate layout check mine.toml < capture";

/// Lists the layouts that come with the program: how many shapes their frames have, what is checked, their topic.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  framegate layout list")]
struct List {
    /// Prints each as one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints the declaration of a layout that comes with the program, to start from.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  framegate layout show gt06 > mine.toml")]
struct Show {
    /// Its name, as `layout list` has it
    #[arg(value_name = "NAME")]
    name: String,
}

impl LayoutCommand {
    /// Runs one of them.
    pub fn run(self) -> Result<Exit, Failure> {
        match self.which {
            Which::List(List { json }) => list(json),
            Which::Show(Show { name }) => show(&name),
            Which::Check(check) => check.run(),
        }
    }
}

/// A layout in the list.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    shapes: usize,
    checks: Vec<String>,
    topic: String,
    about: String,
}

fn lines() -> impl Iterator<Item = Line> {
    BUILTIN.iter().filter_map(|&(name, text)| {
        let layout = builtin().get(name)?;
        let about = text.lines().map_while(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join(" ");
        let about = about.split_once(". ").map_or(&*about, |(first, _)| first).trim_end_matches('.');
        let checks = layout.checks().iter().map(|check| (*check).to_string()).collect();
        Some(Line {
            name,
            shapes: layout.shapes(),
            checks,
            topic: layout.topics().join(" "),
            about: about.into(),
        })
    })
}

fn list(json: bool) -> Result<Exit, Failure> {
    let mut out = String::new();
    if json {
        for line in lines() {
            out.push_str(&serde_json::to_string(&line).expect("text and numbers are JSON"));
            out.push('\n');
        }
    } else {
        let head = ["name", "shapes", "check", "topic", "what it is"].map(String::from);
        let rows: Vec<[String; 5]> = [head]
            .into_iter()
            .chain(lines().map(|line| {
                let checks = if line.checks.is_empty() { "none".into() } else { line.checks.join(" ") };
                [line.name.into(), line.shapes.to_string(), checks, line.topic, line.about]
            }))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let [a, b, c, d] = [0, 1, 2, 3].map(width);
        for [name, shapes, check, topic, about] in &rows {
            let _ = writeln!(out, "{name:a$}  {shapes:>b$}  {check:c$}  {topic:d$}  {about}");
        }
    }
    print(&out)?;
    Ok(Exit::Done)
}

fn show(name: &str) -> Result<Exit, Failure> {
    match BUILTIN.iter().find(|(of, _)| *of == name) {
        Some((_, text)) => print(text).map(|()| Exit::Done),
        None => layouts::find(builtin(), name).map(|_| Exit::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_says_what_it_is() {
        let lines: Vec<Line> = lines().collect();
        assert_eq!(lines.len(), BUILTIN.len());
        for Line { name, shapes, topic, about, .. } in &lines {
            assert!(
                *shapes > 0 && !topic.is_empty() && about.len() > 10 && about.len() < 120,
                "{name}: {about}"
            );
        }
        let teltonika = lines.iter().find(|line| line.name == "teltonika").expect("it is there");
        assert_eq!((teltonika.shapes, &*teltonika.topic), (3, "teltonika.{imei}"));
        assert_eq!(teltonika.checks, ["crc-16/arc"]);
        assert_eq!(teltonika.about, "Teltonika trackers, codecs 8, 8 Extended, 12 and 13 over TCP");
    }

    #[test]
    fn a_name_that_is_not_there_says_which_was_meant() {
        assert_eq!(show("teltonka").unwrap_err().message, "unknown layout teltonka: did you mean teltonika?");
        assert!(show("\u{1b}[2J").unwrap_err().message.contains("framegate layout list"));
    }
}
