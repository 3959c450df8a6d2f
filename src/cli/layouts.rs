//! The layouts that a command may use: those that come with the program, and those of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Failure, config_file};
use crate::core::units::{nearest, plain};
use crate::wire::layout::{Layout, Layouts, Problem, Warning, builtin};

/// The layouts that a command may use.
#[derive(Debug)]
pub struct Loaded {
    /// By their names.
    pub layouts: Layouts,
    warnings: Vec<Warning>,
}

/// Layouts that come with the program, and those that are declared in `files` (`--layouts`), which hold nothing else,
/// and in the configuration `config` beside its settings. A declared one takes the place of one that comes with the
/// program.
pub fn load(files: &[PathBuf], config: Option<&Path>) -> Result<Loaded, Failure> {
    let mut declared = Layouts::default();
    let mut warnings = Vec::new();
    let mut from: Vec<(String, &Path)> = Vec::new();
    let files = files.iter().map(|file| ("--layouts", &**file));
    let mut read_before: Vec<PathBuf> = Vec::new();
    for (option, path) in files.chain(config.map(|config| ("--config", config))) {
        let same = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if read_before.contains(&same) {
            let shown = plain(&path.display().to_string());
            return Err(Failure::usage(format!(
                "{option} {shown}: the file is given twice: leave one of them out"
            )));
        }
        read_before.push(same);
        let (layouts, more) = read(option, path, option == "--layouts")?;
        warnings.extend(more);
        for layout in layouts.iter() {
            if let Some((name, first)) = from.iter().find(|(name, _)| name == layout.name()) {
                return Err(Failure::usage(format!(
                    "layout {} is declared in {} and in {}: give one of them another name",
                    plain(name),
                    path.display(),
                    first.display(),
                )));
            }
            from.push((layout.name().to_string(), path));
        }
        declared = declared.or(&layouts);
    }
    Ok(Loaded { layouts: declared.or(builtin()), warnings })
}

impl Loaded {
    /// The layout with a name. What may be a mistake in it is logged as a warning; what others say is not asked for.
    pub fn named(&self, name: &str) -> Result<Arc<Layout>, Failure> {
        let layout = find(&self.layouts, name)?;
        self.warn(&[name]);
        Ok(layout)
    }

    /// Logs what may be a mistake in the layouts with these names; in all of them where none is named.
    pub fn warn(&self, names: &[&str]) {
        warn(&self.warnings, names);
    }
}

/// The same of warnings.
pub fn warn(warnings: &[Warning], names: &[&str]) {
    let is_named = |of: &Warning| of.layout.as_deref().is_none_or(|name| names.contains(&name));
    for warning in warnings.iter().filter(|of| names.is_empty() || is_named(of)) {
        log::warn!("{warning}");
    }
}

/// The layout with a name.
pub fn find(layouts: &Layouts, name: &str) -> Result<Arc<Layout>, Failure> {
    layouts.get(name).cloned().ok_or_else(|| {
        let shown = plain(name);
        let own = layouts.iter().filter(|layout| builtin().get(layout.name()).is_none());
        let own: Vec<&str> = own.map(|layout| layout.name()).collect();
        let list = "framegate layout list shows those that";
        let names = || layouts.iter().map(|layout| layout.name());
        // The names of those that come with the program are in lower case, those of others may be in any.
        let in_other_case = names().find(|other| other.eq_ignore_ascii_case(name));
        let near = || nearest(name, names()).or_else(|| nearest(&name.to_ascii_lowercase(), names()));
        Failure::usage(match in_other_case.or_else(near) {
            Some(meant) => format!("unknown layout {shown}: did you mean {meant}?"),
            None if own.is_empty() => format!("unknown layout {shown}: {list} there are"),
            None => {
                let own = own.join(", ");
                format!("unknown layout {shown}: declared are {own}; {list} come with the program")
            }
        })
    })
}

/// The declarations of one file. Where something is wrong, all of it is counted and the first is said.
fn read(option: &str, path: &Path, is_alone: bool) -> Result<(Layouts, Vec<Warning>), Failure> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|why| {
        let mend = match builtin().get(&shown.to_ascii_lowercase()).filter(|_| is_alone) {
            Some(layout) => format!(
                "layout {} comes with the program and needs no file: leave {option} out",
                layout.name()
            ),
            None => "give a TOML file".into(),
        };
        Failure::usage(format!("{option} {}: {why}: {mend}", plain(&shown)))
    })?;
    let parse = if is_alone { Layouts::parse } else { Layouts::parse_within };
    parse(&text, &shown).map_err(|problems| {
        Failure::usage(match is_alone && config_file::is_configuration(&text) {
            true => format!(
                "{option} {}: it is a configuration of serve and holds more than layouts: give it with --config, or move \
                 its [layout.NAME] tables into a file of their own",
                plain(&shown)
            ),
            false => said(&problems, &shown),
        })
    })
}

fn said(problems: &[Problem], file: &str) -> String {
    match problems {
        [] => format!("{file}: it cannot be read"),
        [only] => only.to_string(),
        [first, more @ ..] => {
            format!("{first}; and {} more: framegate layout check {} shows all", more.len(), plain(file))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn declared_layouts_go_before_those_that_come_with_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name, topic| {
            format!("[layout.{name}]\ntopic = \"{topic}\"\nlength = \"u16 @ 0\"\ncheck = \"none\"\n")
        };
        let own = file(folder.path(), "own.toml", &of("syslog", "own"));
        let config = file(folder.path(), "c.toml", &format!("memory = \"1GiB\"\n{}", of("house", "h")));
        let layouts = load(std::slice::from_ref(&own), Some(&config)).unwrap().layouts;
        assert!(layouts.get("house").is_some() && layouts.get("gt06").is_some());
        assert_eq!(layouts.len(), builtin().len() + 1);
        assert_ne!(
            layouts.get("syslog").map(std::sync::Arc::as_ptr),
            builtin().get("syslog").map(std::sync::Arc::as_ptr)
        );
        assert_eq!(load(&[], None).unwrap().layouts.len(), builtin().len());

        let again = file(folder.path(), "again.toml", &of("house", "x"));
        let third = file(folder.path(), "third.toml", &of("house", "y"));
        for (files, config) in
            [(vec![again.clone()], Some(&*config)), (vec![again.clone(), own.clone(), third], None)]
        {
            let twice = load(&files, config).unwrap_err().message;
            assert!(
                twice.starts_with("layout house is declared in ") && twice.ends_with("another name"),
                "{twice}"
            );
        }
    }

    #[test]
    fn what_is_no_file_of_layouts_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let own = "[layout.own]\ntopic = \"a\"\nlength = \"u16 @ 0\"\ncheck = \"none\"\n";
        let own_file = file(folder.path(), "own.toml", own);
        let config = file(folder.path(), "gateway.toml", &format!("memory = \"1GiB\"\n{own}"));
        let same = folder.path().join(".").join("own.toml");
        let said = |files: &[PathBuf], config| load(files, config).unwrap_err().message;
        for (said, expected) in [
            (
                said(&["gt06".into()], None),
                "layout gt06 comes with the program and needs no file: leave --layouts out",
            ),
            (
                said(&["GT06".into()], None),
                "layout gt06 comes with the program and needs no file: leave --layouts out",
            ),
            (said(&["gt60".into()], None), "give a TOML file"),
            (
                said(std::slice::from_ref(&config), None),
                "it is a configuration of serve and holds more than layouts: give it with --config, or move its [layout.NAME] \
                 tables into a file of their own",
            ),
            (said(&[own_file.clone(), same], None), "the file is given twice: leave one of them out"),
            (said(std::slice::from_ref(&config), Some(&config)), "it is a configuration of serve"),
        ] {
            assert!(said.contains(expected), "{said}");
        }
        for (name, meant) in [("GT06", "gt06"), ("Teltonika", "teltonika"), ("GT60", "gt06"), ("own", "")] {
            let found = find(builtin(), name).map_err(|wrong| wrong.message);
            let expected = format!("unknown layout {name}: did you mean {meant}?");
            assert!(meant.is_empty() || found.as_ref().err() == Some(&expected), "{found:?}");
        }
    }

    #[test]
    fn mistakes_are_said_with_their_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[layout.a]\ntopic = \"a\"\nlength = \"u17 @ 0\"\ncheck = \"none\"\n";
        let wrong = load(&[file(folder.path(), "a.toml", text)], None).unwrap_err();
        assert!(wrong.message.contains("a.toml line 3: layout a, length: "), "{wrong}");
        let text = text.replace("none", "nine");
        let wrong = load(&[file(folder.path(), "a.toml", &text)], None).unwrap_err();
        assert!(wrong.message.contains("; and 1 more: framegate layout check "), "{wrong}");
        let missing = load(&[PathBuf::from("/nowhere/none.toml")], None).unwrap_err();
        assert!(missing.message.starts_with("--layouts /nowhere/none.toml: "), "{missing}");
    }
}
