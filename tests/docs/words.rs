//! What pages name is there: links, options, metrics, and the commands that `.ci/run` runs for them.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, PathBuf};
use std::process::Command;

use super::pages::{self, Page};

#[test]
fn links_lead_somewhere() {
    let pages = pages::all();
    let mut links = 0;
    for page in &pages {
        for (line, text) in page.prose() {
            for target in targets(text) {
                if target.contains("://") {
                    continue;
                }
                links += 1;
                let found = follow(page, &target);
                assert!(found.is_ok(), "{} line {line}: {target}: {}", page.name, found.unwrap_err());
            }
        }
    }
    assert!(links > 50, "only {links} links were found");
}

/// What the links of a line lead to.
fn targets(line: &str) -> Vec<String> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Whether the file and the heading are there.
fn follow(page: &Page, target: &str) -> Result<(), String> {
    let (file, heading) =
        target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let here = pages::root().join(&page.name);
    let mut path = if file.is_empty() { here } else { PathBuf::new() };
    if !file.is_empty() {
        for component in pages::root().join(&page.name).parent().expect("it has one").join(file).components()
        {
            match component {
                Component::ParentDir => _ = path.pop(),
                other => path.push(other),
            }
        }
    }
    if !path.exists() {
        return Err("there is no such file".into());
    }
    let Some(heading) = heading else { return Ok(()) };
    let to = Page::read(&path);
    let is_there = to.prose().any(|(_, line)| line.starts_with('#') && slug(line) == heading);
    is_there.then_some(()).ok_or_else(|| "there is no such heading".into())
}

/// What a heading is called in a link, as GitHub has it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every option that stands in the text or in a command of ours is one.
#[test]
fn options_are_those_of_help() {
    let mut help = String::new();
    for command in [
        "",
        "serve",
        "send",
        "tail",
        "bench",
        "bench frames",
        "bench http",
        "post",
        "ctl",
        "ctl pause",
        "verify",
        "layout list",
        "layout show",
        "layout check",
        "access new-token",
        "access check",
    ] {
        let mut ours = Command::new(env!("CARGO_BIN_EXE_framegate"));
        let output =
            ours.args(command.split_whitespace()).arg("--help").output().expect("the program starts");
        assert!(output.status.success(), "{command}");
        help.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    // The bench and a script have options of their own.
    help.push_str(&pages::read("benches/gateway/options.rs"));
    help.push_str(&pages::read("fuzz/coverage.sh"));
    let known: HashSet<&str> = options(&help).collect();
    let mut seen = 0;
    for page in pages::all() {
        // What changed may be gone since.
        if page.name == "CHANGELOG.md" {
            continue;
        }
        let commands = page.blocks.iter().filter(|block| block.is("sh") && !block.is_for_ci());
        let commands =
            commands.flat_map(|block| block.text.lines()).filter(|line| line.contains("framegate "));
        let prose: Vec<&str> =
            page.prose().flat_map(|(_, line)| line.split('`').skip(1).step_by(2)).collect();
        let prose = prose.into_iter().filter(|span| !span.starts_with("cargo "));
        for text in commands.chain(prose) {
            for option in options(text) {
                seen += 1;
                assert!(known.contains(option), "{}: there is no {option}", page.name);
            }
        }
    }
    assert!(seen > 100, "only {seen} options were seen");
}

/// The words of a text that are long options.
fn options(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).filter(|word| {
        word.strip_prefix("--").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    })
}

#[test]
fn metrics_are_those_that_are_exposed() {
    let source = pages::read("src/admin/metrics.rs");
    let mut seen = 0;
    for page in pages::all().iter().filter(|page| page.name != "CHANGELOG.md") {
        for (line, text) in page.prose() {
            for span in text.split('`').skip(1).step_by(2).filter(|span| !span.contains(".py")) {
                for word in span.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                    if !word.starts_with("framegate_") {
                        continue;
                    }
                    seen += 1;
                    let name = word.trim_end_matches("_total").trim_end_matches("_bucket");
                    assert!(
                        source.contains(&format!("\"{name}\"")),
                        "{} line {line}: no metric {word}",
                        page.name
                    );
                }
            }
        }
    }
    assert!(seen > 10, "only {seen} metrics were seen");
}

/// A source that is named is somewhere, so that a page learns of it when that moves.
#[test]
fn sources_are_where_the_pages_say() {
    let files = sources();
    let mut seen = 0;
    for page in pages::all().iter().filter(|page| page.name != "CHANGELOG.md") {
        for (line, text) in page.prose() {
            for span in text.split('`').skip(1).step_by(2).filter(|span| span.ends_with(".rs")) {
                seen += 1;
                let is_there = files.iter().any(|file| file.ends_with(&format!("/{span}")));
                assert!(is_there, "{} line {line}: there is no {span}", page.name);
            }
        }
    }
    assert!(seen > 10, "only {seen} sources are named");
}

/// Every source of the project, as `/src/lib.rs`.
fn sources() -> Vec<String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "examples"].map(|folder| pages::root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.to_str().unwrap().replace('\\', "/")),
            }
        }
    }
    files
}

/// Commands that take long are run by `.ci/run`, as they stand, or as a part of one that it runs.
#[test]
fn what_is_for_ci_is_run_there() {
    let run = pages::read(".ci/run");
    let run: Vec<&str> = run.lines().map(str::trim).collect();
    let mut commands = 0;
    for page in pages::all() {
        for block in page.blocks.iter().filter(|block| block.is_for_ci()) {
            for command in block.text.lines() {
                commands += 1;
                let is_run = run.iter().any(|line| runs(line, command));
                assert!(is_run, "{} line {}: .ci/run does not run {command}", page.name, block.line);
            }
        }
    }
    assert!(commands > 5, "only {commands} commands are for .ci/run");
}

/// Whether a line runs a command. `cargo test --locked` runs what one with `--test` or `--doc` selects.
fn runs(line: &str, command: &str) -> bool {
    let begins = |line: &str, with: &str| {
        line.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let selects = match command.strip_prefix("cargo test --locked --test ") {
        Some(name) => {
            let tests = pages::root().join("tests");
            tests.join(format!("{name}.rs")).exists() || tests.join(name).join("main.rs").exists()
        }
        None => command == "cargo test --locked --doc",
    };
    begins(line, command) || selects && begins(line, "cargo test --locked")
}

#[test]
fn the_readme_is_a_front_door() {
    let pages = pages::all();
    let readme = pages.iter().find(|page| page.name == "README.md").expect("it is there");
    let lines = readme.text.lines().count();
    assert!(lines <= 200, "README.md has {lines} lines: 200 are enough, the rest goes into docs/");
    for page in &pages {
        let link = format!("]({})", page.name);
        assert!(
            page.name == "README.md" || readme.text.contains(&link),
            "README.md does not lead to {}",
            page.name
        );
    }
}

/// A page shows how its subject works before it says what there is to know about it.
#[test]
fn pages_begin_with_an_example() {
    for page in pages::all().iter().filter(|page| page.name.starts_with("docs/")) {
        let (first, _) = page.prose().find(|(_, line)| line.starts_with("## ")).expect("it has sections");
        let is_shown =
            page.blocks.iter().any(|block| block.line < first && (block.is("sh") || block.is("rust")));
        assert!(is_shown, "{} has no example before its first section", page.name);
    }
}

#[test]
fn headings_are_called_as_in_links() {
    assert_eq!(slug("## What a `sink` is told, and why"), "what-a-sink-is-told-and-why");
    assert_eq!(targets("[a](b.md#c) and ![d](e.svg)"), ["b.md#c", "e.svg"]);
    assert_eq!(options("--a-b, `--c=d` -e --").collect::<Vec<_>>(), ["--a-b", "--c"]);
    assert!(runs("cargo test --locked 2>&1", "cargo test --locked --test docs"));
    assert!(!runs("cargo test --locked", "cargo test --locked --test nothing"));
    assert!(!runs("cargo run", "cargo run --release"));
}
