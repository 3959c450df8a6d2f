//! The layouts that a command may use: those that come with the program, and those of files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::Failure;
use crate::core::units::{nearest, plain};
use crate::wire::layout::{Layout, Layouts, Problem, Warning, builtin};

/// Layouts that come with the program, and those that are declared in `file` (`--layouts`), which holds nothing else,
/// and in the configuration `config` beside its settings. A declared one takes the place of one that comes with the
/// program. What may be a mistake is logged as a warning.
pub fn load(file: Option<&Path>, config: Option<&Path>) -> Result<Layouts, Failure> {
    let mut declared = Layouts::default();
    for (option, path) in [("--layouts", file), ("--config", config)] {
        let Some(path) = path else { continue };
        let (layouts, warnings) = read(option, path, option == "--layouts")?;
        for warning in &warnings {
            log::warn!("{warning}");
        }
        let twice = |name: &str| declared.get(name).is_some();
        if let Some(layout) = layouts.iter().find(|layout| twice(layout.name())) {
            return Err(Failure::usage(format!(
                "layout {} is declared in {} and in the --layouts file: give one of them another name",
                plain(layout.name()),
                path.display()
            )));
        }
        declared = declared.or(&layouts);
    }
    Ok(declared.or(builtin()))
}

/// The layout with a name.
pub fn find(layouts: &Layouts, name: &str) -> Result<Arc<Layout>, Failure> {
    layouts.get(name).cloned().ok_or_else(|| {
        let shown = plain(name);
        Failure::usage(match nearest(name, layouts.iter().map(|layout| layout.name())) {
            Some(meant) => format!("unknown layout {shown}: did you mean {meant}?"),
            None => format!("unknown layout {shown}: framegate layout list shows those that there are"),
        })
    })
}

/// The declarations of one file. Where something is wrong, all of it is counted and the first is said.
fn read(option: &str, path: &Path, is_alone: bool) -> Result<(Layouts, Vec<Warning>), Failure> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|why| Failure::usage(format!("{option} {shown}: {why}: give a TOML file")))?;
    let parse = if is_alone { Layouts::parse } else { Layouts::parse_within };
    parse(&text, &shown).map_err(|problems| Failure::usage(said(&problems, &shown)))
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
        let layouts = load(Some(&own), Some(&config)).unwrap();
        assert!(layouts.get("house").is_some() && layouts.get("gt06").is_some());
        assert_eq!(layouts.len(), builtin().len() + 1);
        assert_ne!(
            layouts.get("syslog").map(std::sync::Arc::as_ptr),
            builtin().get("syslog").map(std::sync::Arc::as_ptr)
        );
        assert_eq!(load(None, None).unwrap().len(), builtin().len());

        let again = file(folder.path(), "again.toml", &of("house", "x"));
        let twice = load(Some(&again), Some(&config)).unwrap_err().message;
        assert!(
            twice.starts_with("layout house is declared in ") && twice.ends_with("another name"),
            "{twice}"
        );
    }

    #[test]
    fn mistakes_are_said_with_their_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[layout.a]\ntopic = \"a\"\nlength = \"u17 @ 0\"\ncheck = \"none\"\n";
        let wrong = load(Some(&file(folder.path(), "a.toml", text)), None).unwrap_err();
        assert!(wrong.message.contains("a.toml line 3: layout a, length: "), "{wrong}");
        let text = text.replace("none", "nine");
        let wrong = load(Some(&file(folder.path(), "a.toml", &text)), None).unwrap_err();
        assert!(wrong.message.contains("; and 1 more: framegate layout check "), "{wrong}");
        let missing = load(Some(Path::new("/nowhere/none.toml")), None).unwrap_err();
        assert!(missing.message.starts_with("--layouts /nowhere/none.toml: "), "{missing}");
    }
}
