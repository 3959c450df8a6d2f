//! An identity as it stands in the file.

use std::sync::Arc;
use std::time::SystemTime;

use toml::de::DeValue;

use super::section::Section;
use super::values::{network, token_digest, until};
use crate::core::limits::{ACCESS_CERTS, ACCESS_NETWORKS, ACCESS_TOKENS, ACCESS_VALUE};
use crate::core::units::is_obeyed;
use crate::wire::access::{CertName, Identity, Mark, Rights, TokenDigest};
use crate::wire::toml_file::called;

const KEYS: [&str; 8] = ["token-sha256", "cert", "from", "field", "publish", "subscribe", "durable", "until"];

/// By what an identity is known, with its key and its place.
type Marks = Vec<(&'static str, usize, Mark)>;

/// Reads it, and what no other identity may have, too.
pub(super) fn read(mut section: Section<'_, '_, '_>, now: SystemTime) -> (Identity, Marks) {
    let problems = section.report.problems.len();
    section.check_keys(&KEYS);
    let mut marks = Marks::new();
    for (at, text) in section.texts("token-sha256", ACCESS_TOKENS, "\"64 hexadecimal digits\"") {
        match token_digest(text) {
            Ok(digest) => marks.push(("token-sha256", at, Mark::Token(digest))),
            Err(wrong) => section.problem(at, "token-sha256", wrong),
        }
    }
    for (at, text) in section.texts("cert", ACCESS_CERTS, "\"dns:pump-17.plant\"") {
        match CertName::parse(text) {
            Ok(name) => marks.push(("cert", at, Mark::Cert(name))),
            Err(wrong) => section.problem(at, "cert", wrong),
        }
    }
    for (at, text) in section.texts("from", ACCESS_NETWORKS, "\"10.1.0.0/16\"") {
        match network(text) {
            Ok(network) => marks.push(("from", at, Mark::Network(network))),
            Err(wrong) => section.problem(at, "from", wrong),
        }
    }
    marks.extend(field(&mut section));
    let rights = section.rights();
    let until = ends(&mut section, now);
    if section.report.problems.len() == problems {
        judge(&mut section, &marks, &rights);
    }
    let mut identity = Identity {
        name: section.name.unwrap_or_default().into(),
        tokens: Vec::new(),
        certs: Vec::new(),
        networks: Vec::new(),
        field: None,
        rights: Arc::new(rights),
        until,
        is_revoked: false,
    };
    for (_, _, mark) in &marks {
        match mark.clone() {
            Mark::Token(digest) => identity.tokens.push(TokenDigest(digest)),
            Mark::Cert(name) => identity.certs.push(name),
            Mark::Network(network) => identity.networks.push(network),
            Mark::Field(name, value) => identity.field = Some((name, value)),
        }
    }
    (identity, marks)
}

fn field(section: &mut Section<'_, '_, '_>) -> Option<(&'static str, usize, Mark)> {
    let (at, value) = section.get("field")?;
    let wrong = match value {
        DeValue::Table(table) => match table.iter().next() {
            Some((name, value)) if table.len() == 1 => match value.get_ref() {
                DeValue::String(text) if text.is_empty() => "the value is empty".to_string(),
                DeValue::String(text) if text.len() > ACCESS_VALUE => {
                    format!("the value has {} bytes: at most {ACCESS_VALUE}", text.len())
                }
                DeValue::String(text) if text.chars().any(is_obeyed) => {
                    "the value holds a control character: a kept field is text".into()
                }
                DeValue::String(text) => {
                    let mark = Mark::Field(name.get_ref().to_string(), text.to_string());
                    return Some(("field", at, mark));
                }
                other => format!("the value is {}: put it in quotes", called(other)),
            },
            _ => format!("it names {} fields: name the one that the device is known by", table.len()),
        },
        other => format!("it is {}: write field = {{ imei = \"356307042441013\" }}", called(other)),
    };
    section.problem(at, "field", wrong);
    None
}

fn ends(section: &mut Section<'_, '_, '_>, now: SystemTime) -> Option<SystemTime> {
    let (at, value) = section.get("until")?;
    match until(value) {
        Ok(until) => {
            if until <= now {
                let shown = humantime::format_rfc3339_seconds(until);
                section.warn(at, "until", format!("{shown} has passed: it cannot connect any more"));
            }
            Some(until)
        }
        Err(wrong) => {
            section.problem(at, "until", wrong);
            None
        }
    }
}

/// What is right by itself and makes no sense together.
fn judge(section: &mut Section<'_, '_, '_>, marks: &Marks, rights: &Rights) {
    let at = section.at;
    if marks.is_empty() {
        let what = "nothing says how it is known: give it token-sha256, cert, from or field";
        return section.problem(at, "", what);
    }
    if *rights == Rights::default() {
        section.warn(at, "", "it may do nothing: give it publish or subscribe");
    }
    let has = |key| marks.iter().find(|(of, ..)| *of == key);
    let Some((_, at, _)) = has("from") else { return };
    if let Some((other, ..)) = ["token-sha256", "cert", "field"].into_iter().find_map(has) {
        let what =
            format!("a connection from there is this identity without its {other}: leave out one of them");
        section.warn(*at, "from", what);
    }
    for (_, at, mark) in marks {
        if matches!(mark, Mark::Network(network) if network.prefix_len() == 0) {
            section.warn(*at, "from", "these are all addresses: everyone is this identity");
        }
    }
}

/// What is said of a mark that has been seen before.
pub(super) fn twice(mark: &Mark, other: Option<&str>) -> String {
    let what = match mark {
        Mark::Token(_) => "the same token".to_string(),
        Mark::Cert(name) => name.to_string(),
        Mark::Network(network) => network.to_string(),
        Mark::Field(name, value) => format!("{name} = {value:?}"),
    };
    match other {
        Some(other) => format!("{what} is identity {other}'s too: only one identity may have it"),
        None => format!("{what} stands here twice: leave one out"),
    }
}
