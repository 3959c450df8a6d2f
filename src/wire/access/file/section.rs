//! A table of the file: its keys, the texts in it, and the rights that it gives.

use toml::de::{DeTable, DeValue};

use super::values::{durable, partial, pattern};
use crate::core::limits::{ACCESS_DURABLES, ACCESS_PATTERNS};
use crate::core::units::nearest;
use crate::wire::access::Rights;
use crate::wire::toml_file::{Report, Where, called};

/// The keys of rights.
pub(super) const RIGHTS: [&str; 3] = ["publish", "subscribe", "durable"];

/// `[who.NAME]`, or `[default]`, which has no name.
pub(super) struct Section<'a, 'r, 't> {
    pub name: Option<&'a str>,
    pub at: usize,
    pub table: &'a DeTable<'a>,
    pub report: &'r mut Report<'t>,
}

impl<'a> Section<'a, '_, '_> {
    /// A key's place and value.
    pub fn get(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let (key, value) = self.table.get_key_value(key)?;
        Some((key.span().start, value.get_ref()))
    }

    pub fn problem(&mut self, at: usize, key: &str, what: impl Into<String>) {
        self.say(at, key, |report, place| report.problem(place, what));
    }

    pub fn warn(&mut self, at: usize, key: &str, what: impl Into<String>) {
        self.say(at, key, |report, place| report.warn(place, what));
    }

    fn say(&mut self, at: usize, key: &str, say: impl FnOnce(&mut Report<'_>, Where<'_>)) {
        let in_default = match key {
            "" => "default".into(),
            key => format!("default.{key}"),
        };
        let key = if self.name.is_none() { Some(&*in_default) } else { (!key.is_empty()).then_some(key) };
        say(self.report, Where { at, identity: self.name, key, ..Where::default() });
    }

    /// Says which keys mean nothing here.
    pub fn check_keys(&mut self, known: &[&str]) {
        for (key, value) in self.table {
            let (at, key) = (key.span().start, &**key.get_ref());
            if known.contains(&key) {
                continue;
            }
            let what = match (key, self.name, nearest(key, known.iter().copied())) {
                ("revoked", ..) => {
                    "unknown key revoked: it stands at the top of the file, above the first line in \
                                    brackets: revoked = [\"NAME\"]"
                        .into()
                }
                ("token" | "password" | "secret", Some(name), _) => format!(
                    "unknown key {key}: the file has the token's SHA-256 alone, in token-sha256; framegate access \
                     new-token {name} prints both"
                ),
                ("who" | "default", ..) => format!("unknown key {key}: write it at the top of the file"),
                (_, _, Some(meant)) => format!("unknown key {key}: did you mean {meant}?"),
                (_, Some(name), None) if value.get_ref().is_table() => {
                    format!(
                        "unknown table {key}: the name of an identity has no '.': write [who.{name}-{key}]"
                    )
                }
                _ => format!("unknown key {key}: there are {}", known.join(", ")),
            };
            self.problem(at, "", what);
        }
    }

    /// The texts of a key, which has one or a list of at most `max`.
    pub fn texts(&mut self, key: &str, max: usize, example: &str) -> Vec<(usize, &'a str)> {
        let Some((at, value)) = self.get(key) else { return Vec::new() };
        let mut texts = Vec::new();
        match value {
            DeValue::String(text) => texts.push((at, &**text)),
            DeValue::Array(all) => {
                for item in all {
                    match item.get_ref() {
                        DeValue::String(text) => texts.push((item.span().start, &**text)),
                        other => {
                            let what = format!("it holds {}: write {key} = [{example}]", called(other));
                            self.problem(item.span().start, key, what);
                        }
                    }
                }
            }
            other => self.problem(at, key, format!("it is {}: write {key} = [{example}]", called(other))),
        }
        if texts.len() > max {
            self.problem(at, key, format!("{} are more than {max}", texts.len()));
            texts.clear();
        }
        texts
    }

    /// What it may do, with its name in the place of `{name}`.
    pub fn rights(&mut self) -> Rights {
        let example = if self.name.is_some() { "\"plant.{name}.>\"" } else { "\"public.>\"" };
        let publish = self.patterns("publish", example);
        let subscribe = self.patterns("subscribe", example);
        let example = if self.name.is_some() { "\"{name}\"" } else { "\"screen\"" };
        let mut names = Vec::new();
        for (at, text) in self.texts("durable", ACCESS_DURABLES, example) {
            match durable(text, self.name) {
                Ok(name) => names.push(name),
                Err(wrong) => self.problem(at, "durable", wrong),
            }
        }
        Rights { publish, subscribe, durable: names }
    }

    fn patterns(&mut self, key: &str, example: &str) -> Vec<String> {
        let mut patterns = Vec::new();
        for (at, text) in self.texts(key, ACCESS_PATTERNS, example) {
            match pattern(text, self.name) {
                Ok(pattern) => {
                    if let Some(warning) = partial(&pattern) {
                        self.warn(at, key, warning);
                    }
                    patterns.push(pattern);
                }
                Err(wrong) => self.problem(at, key, wrong),
            }
        }
        patterns
    }
}
