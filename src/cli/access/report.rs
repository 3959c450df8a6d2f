//! What `framegate access check` shows.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;

use crate::core::units::{many, plain};
use crate::wire::access::{Access, Identity, Rights};

/// An identity, or what those may do who have none.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// None for `[default]`.
    name: Option<&'a str>,
    tokens: usize,
    cert: Vec<String>,
    from: Vec<String>,
    field: Option<String>,
    publish: &'a [String],
    subscribe: &'a [String],
    durable: &'a [String],
    until: Option<String>,
    /// Why it cannot connect.
    refused: Option<String>,
}

impl<'a> Line<'a> {
    fn of_default(rights: &'a Rights) -> Line<'a> {
        Line {
            name: None,
            tokens: 0,
            cert: Vec::new(),
            from: Vec::new(),
            field: None,
            publish: rights.publish(),
            subscribe: rights.subscribe(),
            durable: rights.durable(),
            until: None,
            refused: None,
        }
    }

    fn of(identity: &'a Identity, now: SystemTime) -> Line<'a> {
        Line {
            name: Some(identity.name()),
            tokens: identity.tokens().len(),
            cert: identity.certs().iter().map(ToString::to_string).collect(),
            from: identity.networks().iter().map(ToString::to_string).collect(),
            field: identity.field().map(|(name, value)| format!("{name}={value}")),
            until: identity.until().map(|until| humantime::format_rfc3339_seconds(until).to_string()),
            refused: identity.check(now).err().map(|refusal| refusal.to_string()),
            ..Line::of_default(identity.rights())
        }
    }

    fn known_by(&self) -> String {
        let tokens = (self.tokens > 0).then(|| many(self.tokens as u64, "token"));
        let from = self.from.iter().map(|network| format!("from {network}"));
        let field = self.field.iter().map(|field| format!("field {field}"));
        let all: Vec<String> = tokens.into_iter().chain(self.cert.clone()).chain(from).chain(field).collect();
        all.join(", ")
    }
}

fn lines(access: &Access, now: SystemTime) -> impl Iterator<Item = Line<'_>> {
    let default = access.default_rights().map(|rights| Line::of_default(rights));
    default.into_iter().chain(access.identities().iter().map(move |identity| Line::of(identity, now)))
}

/// An object a line.
pub fn json(access: &Access, now: SystemTime) -> String {
    let line = |line: Line<'_>| serde_json::to_string(&line).expect("text and numbers are JSON") + "\n";
    lines(access, now).map(line).collect()
}

/// A paragraph for each, and a summary.
pub fn text(access: &Access, file: &str, warnings: usize, now: SystemTime) -> String {
    let mut out = String::new();
    for line in lines(access, now) {
        let _ = writeln!(out, "{}", line.name.map_or("without an identity (default)".into(), plain));
        if line.name.is_some() {
            row(&mut out, "known by", &line.known_by());
        }
        for (what, all) in
            [("publish", line.publish), ("subscribe", line.subscribe), ("durable", line.durable)]
        {
            row(&mut out, what, &shown(all));
        }
        line.until.iter().for_each(|until| row(&mut out, "until", until));
        line.refused.iter().for_each(|why| row(&mut out, "refused", why));
        out.push('\n');
    }
    if access.default_rights().is_none() {
        out.push_str("a connection without an identity is refused: there is no [default]\n");
    }
    let refused = access.identities().iter().filter(|identity| identity.check(now).is_err()).count();
    let identities = access.identities().len();
    let identities = if identities == 1 { "1 identity".into() } else { format!("{identities} identities") };
    let warnings = many(warnings as u64, "warning");
    let _ = writeln!(out, "{file} is right: {identities}, {refused} refused, {warnings}");
    out
}

fn row(out: &mut String, what: &str, value: &str) {
    let _ = writeln!(out, "  {what:9}  {}", plain(value));
}

/// The empty pattern is shown as what stands in the file.
fn shown(all: &[String]) -> String {
    if all.is_empty() {
        return "nothing".into();
    }
    let one = |text: &String| if text.is_empty() { "\"\"".to_string() } else { text.clone() };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}
