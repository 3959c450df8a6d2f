//! The files that pages show: each is loaded by what it is for.

use std::fs;
use std::process::{Command, Stdio};

use super::pages::{self, Block, Page};
use super::session::Session;
use super::support::process::Process;
use super::tools;

/// Of each kind of block, what is done with it.
#[test]
fn the_files_on_the_pages_are_loaded_by_what_they_are_for() {
    let mut files = 0;
    for (index, page) in pages::all().iter().enumerate() {
        let session = Session::new(100 + index);
        session.write_files(page);
        for block in &page.blocks {
            let at = format!("{} line {}", page.name, block.line);
            match &*block.language {
                "toml" if block.has("cargo") => depends(block, &at),
                "toml" if block.text.lines().nth(1).is_some_and(|line| line.starts_with("[layout.")) => {
                    declares(&session, block.file().expect("it has a name"));
                }
                "toml" if block.text.lines().any(|line| line.starts_with("[who.")) => {
                    allows(&session, block.file().expect("it has a name"));
                }
                "toml" => starts(&session, &["--config", block.file().expect("it has a name")]),
                "ini" if block.text.contains("[Unit]") => is_a_unit(&session, block, &at),
                // Given to another program by the page's `sh` blocks.
                "ini" => is_used(page, block, &at),
                "yaml" => is_for_prometheus(&session, block, page),
                // Run by the page's `sh` blocks, which name it.
                "python" => is_used(page, block, &at),
                "rust" => is_a_doctest(page),
                "sh" | "text" => continue,
                other => panic!("{at}: nothing runs {other}: say sh, python, toml, yaml, ini, rust or text"),
            }
            files += 1;
        }
    }
    assert!(files > 10, "only {files} files are on the pages");
}

/// A gateway starts with these options.
fn starts(session: &Session, options: &[&str]) {
    let mut command = session.command("framegate");
    command.arg("serve").args(options).stdout(Stdio::null());
    let gateway = Process::start(&mut command);
    gateway.address();
    gateway.signal("TERM");
    let (code, _, said) = gateway.end();
    assert_eq!(code, 0, "{said}");
}

/// The layouts in a file are right.
fn declares(session: &Session, file: &str) {
    let checked = session.command("framegate").args(["layout", "check", file]).output().expect("it starts");
    assert!(checked.status.success(), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
}

/// An access file is right.
fn allows(session: &Session, file: &str) {
    let checked = session.command("framegate").args(["access", "check", file]).output().expect("it starts");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{file}: {said}");
}

/// A unit of systemd: it can be read, and what it starts does start.
fn is_a_unit(session: &Session, block: &Block, at: &str) {
    let start =
        block.text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    let words: Vec<&str> = start.split(' ').collect();
    let ["/usr/local/bin/framegate", "serve", options @ ..] = &words[..] else { panic!("{at}: {start}") };
    // The files that are in /etc/framegate stand on the same page.
    let options: Vec<&str> =
        options.iter().map(|word| word.strip_prefix("/etc/framegate/").unwrap_or(word)).collect();
    starts(session, &options);

    let name = block.file().expect("it has a name");
    if !tools::are_there(Some("systemd-analyze"), at) {
        return;
    }
    let path = session.work().join(name);
    let unit = block.text.replace(words[0], "/bin/true").replace("User=framegate\n", "");
    fs::write(&path, unit).expect("there is room");
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().expect("it runs");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains(name), "{at}: {said}");
}

/// A scrape configuration. That it scrapes is seen in `tests/prometheus.rs`.
fn is_for_prometheus(session: &Session, block: &Block, page: &Page) {
    if !tools::are_there(Some("promtool"), &page.name) {
        return;
    }
    let checked =
        session.command("promtool").args(["check", "config", block.file().expect("it has a name")]).output();
    let checked = checked.expect("promtool runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// Dependencies of another program: on this crate, with features that it has.
fn depends(block: &Block, at: &str) {
    let table: toml::Table = block.text.parse().unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
    let wanted = &table["dependencies"]["framegate"];
    let version = wanted["version"].as_str().expect("a version");
    assert!(format!("{}.", env!("CARGO_PKG_VERSION")).starts_with(&format!("{version}.")), "{at}: {version}");
    let manifest: toml::Table = pages::read("Cargo.toml").parse().unwrap();
    let features = wanted.get("features").and_then(|features| features.as_array()).into_iter().flatten();
    for feature in features {
        let name = feature.as_str().expect("a name");
        assert!(manifest["features"].get(name).is_some(), "{at}: there is no feature {name}");
    }
}

fn is_used(page: &Page, block: &Block, at: &str) {
    let name = block.file().expect("it has a name");
    let module = name.trim_end_matches(".py");
    let by_shell = page.blocks.iter().any(|other| other.is("sh") && other.text.contains(name));
    let imported =
        |other: &Block| other.is("python") && other.text.contains(&format!("from {module} import"));
    assert!(by_shell || page.blocks.iter().any(imported), "{at}: nothing runs {name}");
}

fn is_a_doctest(page: &Page) {
    let included = format!("include_str!(\"../{}\")", page.name);
    assert!(pages::read("src/lib.rs").contains(&included), "src/lib.rs wants {included}");
}
