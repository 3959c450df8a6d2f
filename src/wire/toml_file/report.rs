//! What is wrong in a file, collected.

use std::fmt;

use crate::core::units::plain;

/// A mistake in a file, one line: file, line, layout and shape or identity, key, what is wrong, the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As it was named to the loader.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The layout, where it is known.
    pub layout: Option<String>,
    /// The shape from 1, in a layout of several.
    pub shape: Option<usize>,
    /// The identity, in an access file.
    pub identity: Option<String>,
    /// The key.
    pub key: Option<String>,
    /// What is wrong, and the mend.
    pub what: String,
}

/// What may be meant so, and should be known: said like a [`Problem`].
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: ", plain(&self.file), self.line)?;
        let mut before = "";
        if let Some(layout) = &self.layout {
            write!(f, "layout {}", plain(layout))?;
            before = ", ";
            if let Some(shape) = self.shape {
                write!(f, ", shape {shape}")?;
            }
        }
        if let Some(identity) = &self.identity {
            write!(f, "identity {}", plain(identity))?;
            before = ", ";
        }
        if let Some(key) = &self.key {
            write!(f, "{before}{}", plain(key))?;
            before = ", ";
        }
        f.write_str(if before.is_empty() { "" } else { ": " })?;
        f.write_str(&plain(&self.what))
    }
}

impl std::error::Error for Problem {}

/// Where in the file something is said about.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::wire) struct Where<'a> {
    pub at: usize,
    pub layout: Option<&'a str>,
    pub shape: Option<usize>,
    pub identity: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// Collects what is said.
pub(in crate::wire) struct Report<'a> {
    text: &'a str,
    file: &'a str,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

/// As many problems are enough to begin with.
const PROBLEMS_MAX: usize = 100;

impl<'a> Report<'a> {
    pub fn new(text: &'a str, file: &'a str) -> Report<'a> {
        Report { text, file, problems: Vec::new(), warnings: Vec::new() }
    }

    pub fn problem(&mut self, place: Where<'_>, what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let said = self.said(place, what.into());
            add(&mut self.problems, said);
        }
    }

    pub fn warn(&mut self, place: Where<'_>, what: impl Into<String>) {
        if self.warnings.len() < PROBLEMS_MAX {
            let said = self.said(place, what.into());
            add(&mut self.warnings, said);
        }
    }

    fn said(&self, place: Where<'_>, what: String) -> Problem {
        let before = &self.text.as_bytes()[..place.at.min(self.text.len())];
        Problem {
            file: self.file.into(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            layout: place.layout.map(Into::into),
            shape: place.shape.map(|shape| shape + 1),
            identity: place.identity.map(Into::into),
            key: place.key.map(Into::into),
            what,
        }
    }

    /// By their lines.
    pub fn sorted(&mut self) {
        self.problems.sort_by_key(|said| said.line);
        self.warnings.sort_by_key(|said| said.line);
    }
}

/// What a layout says for all its shapes is wrong once.
fn add(said: &mut Vec<Problem>, new: Problem) {
    let is_said = |old: &Problem| (old.line, &old.key, &old.what) == (new.line, &new.key, &new.what);
    if !said.iter().any(is_said) {
        said.push(new);
    }
}
