//! The declarations of one file, with all that is wrong in them.

use std::fs;
use std::path::Path;

use crate::cli::settings::Settings;
use crate::cli::{Exit, Failure, complain, config_file, layouts};
use crate::core::units::plain;
use crate::wire::layout::{BUILTIN, Layouts, Warning};

/// The layouts of a file, and what may be a mistake in them.
pub struct Read {
    pub layouts: Layouts,
    pub warnings: Vec<Warning>,
}

/// Reads the layouts of a file: a configuration of `serve`, or one that holds layouts alone. Everything that is wrong is
/// said on standard error, a line each; then there are none.
pub fn read(path: &Path) -> Result<Result<Read, Exit>, Failure> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|why| {
        let mend = match BUILTIN.iter().find(|(name, _)| *name == shown) {
            Some((name, _)) => format!("for the layout that comes with the program, say --layout {name}"),
            None => "give a TOML file of [layout.NAME] tables".into(),
        };
        Failure::usage(format!("{}: {why}: {mend}", plain(&shown)))
    })?;
    let is_configuration = config_file::is_configuration(&text);
    let parse = if is_configuration { Layouts::parse_within } else { Layouts::parse };
    match parse(&text, &shown) {
        Ok((layouts, warnings)) => {
            if is_configuration {
                check_listeners(path, &layouts)?;
            }
            if layouts.is_empty() {
                let mend = "declare one below a line [layout.NAME]; framegate layout show NAME prints one to start from";
                return Err(Failure::usage(format!("{}: it declares no layout: {mend}", plain(&shown))));
            }
            Ok(Ok(Read { layouts, warnings }))
        }
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            Ok(Err(Exit::Usage))
        }
    }
}

/// What `serve` would refuse of a configuration before it opens anything: a setting that is none, or a listener whose
/// layout is declared nowhere.
fn check_listeners(path: &Path, own: &Layouts) -> Result<(), Failure> {
    let settings = Settings::from_file(path)?;
    let others = layouts::load(settings.layouts.as_deref().unwrap_or_default(), None)?;
    let all = own.clone().or(&others.layouts);
    settings.listener.iter().flatten().try_for_each(|listener| listener.layout(path, &all).map(|_| ()))
}
