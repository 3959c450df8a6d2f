//! The configuration file: TOML with the names of the options, and what is said where something in it is wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Args, Command};
use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};
use toml::{Spanned, Value};

use super::serve::Serve;
use super::settings::Settings;
use super::{Failure, file_listeners};
use crate::core::ranges;
use crate::core::units::{nearest, plain};

impl Settings {
    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<Settings, Failure> {
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|why| Failure::usage(format!("--config {shown}: {why}: give a TOML file")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        read(&text, folder).map_err(|(at, wrong)| {
            let line = 1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
            Failure::usage(format!("{shown} line {line}: {wrong}"))
        })
    }
}

/// Whether a file has settings of `serve` beside its layouts, which `serve --config` reads.
pub fn is_configuration(text: &str) -> bool {
    let Ok(table) = DeTable::parse(text) else { return false };
    let serve = Settings::augment_args(Command::new("serve"));
    table.get_ref().keys().any(|name| {
        let name = &**name.get_ref();
        name == "listener" || serve.get_arguments().any(|setting| setting.get_long() == Some(name))
    })
}

/// A setting as it stands in the file.
struct Entry {
    name: String,
    at: usize,
    end: usize,
    value: Value,
}

/// What the file says, which is in `folder`; or where something is wrong, and what.
fn read(text: &str, folder: &Path) -> Result<Settings, (usize, String)> {
    if let Some(wrong) = out_of_range(text) {
        return Err(wrong);
    }
    let listeners = file_listeners::read(text)?;
    let entries = toml::from_str::<BTreeMap<Spanned<String>, Spanned<Value>>>(text);
    let entries = entries.map_err(|wrong| {
        let at = wrong.span().map_or(0, |span| span.start);
        (at, no_toml(text, at, wrong.message()))
    })?;
    let entry = |(name, value): (Spanned<String>, Spanned<Value>)| {
        let (at, end) = (name.span().start, value.span().end);
        Entry { name: name.into_inner(), at, end, value: value.into_inner() }
    };
    let mut entries: Vec<Entry> =
        entries.into_iter().map(entry).filter(|entry| !is_of_layouts(&entry.name, &entry.value)).collect();
    entries.sort_by_key(|entry| entry.at);
    let command = Settings::augment_args(Command::new("serve"));
    let names: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
    for Entry { name, at, value, .. } in &entries {
        let wrong = match command.get_arguments().find(|arg| arg.get_long() == Some(name)) {
            Some(arg) => wrong_kind(arg, name, value, &names),
            None => Some(unknown(name, value, &names)),
        };
        if let Some(wrong) = wrong {
            return Err((*at, wrong));
        }
    }
    let mut settings = settings(text, folder).map_err(|wrong| {
        let at = wrong.span().map_or(0, |span| span.start);
        let of = entries.iter().find(|entry| (entry.at..entry.end).contains(&at));
        let said = |entry: &Entry| format!("{}: {}", entry.name, wrong.message());
        (at, of.map_or(wrong.message().to_string(), said))
    })?;
    // Those of `listen-layout` are among them, with their lines.
    settings.listen_layout = None;
    settings.listener = (!listeners.is_empty()).then_some(listeners);
    Ok(settings)
}

/// `[layout.NAME]` and `[[listener]]`: the tables that the file may have. Layouts are read by those who know them.
fn is_of_layouts(name: &str, value: &Value) -> bool {
    match value {
        Value::Table(_) => name == "layout",
        Value::Array(all) => name == "listener" && all.iter().all(Value::is_table),
        _ => false,
    }
}

/// The settings alone. Files and folders that they name are looked for where the file is, as its author sees them, and not
/// where the gateway happens to be started.
fn settings(text: &str, folder: &Path) -> Result<Settings, toml::de::Error> {
    let mut table = DeTable::parse(text)?;
    for name in ["layout", "listener"] {
        table.get_mut().remove(name);
    }
    let command = Settings::augment_args(Command::new("serve"));
    for arg in command.get_arguments().filter(|arg| is_path(arg)) {
        let Some(value) = arg.get_long().and_then(|name| table.get_mut().get_mut(name)) else { continue };
        match value.get_mut() {
            DeValue::Array(all) => all.iter_mut().for_each(|one| place_in(folder, one.get_mut())),
            one => place_in(folder, one),
        }
    }
    Settings::deserialize(Deserializer::from(table))
}

/// Whether a setting names a file or a folder.
fn is_path(arg: &Arg) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().any(|name| matches!(name.as_str(), "FILE" | "DIR"))
}

fn place_in(folder: &Path, value: &mut DeValue<'_>) {
    if let DeValue::String(path) = value
        && let Some(placed) = folder.join(&**path).to_str()
    {
        *path = Cow::Owned(placed.to_string());
    }
}

/// A name that is no setting: which was probably meant, and not all that are.
fn unknown(name: &str, value: &Value, names: &[&str]) -> String {
    let shown = plain(name);
    let is_list = value.is_array();
    match name {
        "listener" => return "a listener is a table of its own: write [[listener]], and below it its address and layout".into(),
        "layout" if value.as_array().is_some_and(|all| all.iter().all(Value::is_table)) => {
            return "a layout has a name: write [layout.NAME]".into();
        }
        "layout" => return "layout is of a [[listener]]: write it below that line; a layout of your own is a table [layout.NAME]".into(),
        "listeners" if is_list || value.is_table() => return "[listeners]: did you mean [[listener]]?".into(),
        _ => {}
    }
    if let Some(meant) = of_table(name, value, names) {
        return format!("unknown setting {shown}: did you mean {meant}?");
    }
    let is_table = |value: &Value| value.is_table();
    if is_table(value) || value.as_array().is_some_and(|list| list.iter().any(is_table)) {
        return format!(
            "[{shown}]: the file has no tables but [[listener]] and [layout.NAME]: leave this line out and write its \
             settings at the top"
        );
    }
    let serve = Serve::augment_args(Command::new("serve"));
    let is_option = serve.get_arguments().any(|arg| arg.get_long() == Some(name) && !arg.is_hide_set());
    if is_option || matches!(name, "verbose" | "quiet") {
        return format!(
            "{shown} is for the command line alone: leave it out, and start framegate serve --{shown}"
        );
    }
    match nearest(name, names.iter().copied()) {
        Some(meant) => format!("unknown setting {shown}: did you mean {meant}?"),
        None => format!(
            "unknown setting {shown}: the names are those of the options that framegate serve --help shows"
        ),
    }
}

/// `store.keep`, or `keep` in `[store]`, which is called `store-keep`.
fn of_table(name: &str, value: &Value, names: &[&str]) -> Option<String> {
    let mut within = value.as_table()?.keys();
    within.find_map(|key| {
        let joined = format!("{name}-{key}");
        names.contains(&joined.as_str()).then_some(joined)
    })
}

/// What is said of a value of another kind than the setting's.
fn wrong_kind(arg: &Arg, name: &str, value: &Value, names: &[&str]) -> Option<String> {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    let Expected { what, example, takes } = expected(arg, name);
    let may_be_one = ONE_OR_MORE.contains(&name);
    let (what, example) = match is_list {
        false => (what, example),
        true if may_be_one => (format!("{what}, or a list of it"), example),
        true => (format!("a list of {what}"), format!("[{example}]")),
    };
    let is_right = match (is_list, value) {
        (true, Value::Array(all)) => all.iter().all(takes),
        (true, value) => may_be_one && takes(value),
        (false, value) => takes(value),
    };
    if is_right {
        return None;
    }
    let given = match value {
        Value::Table(_) => match of_table(name, value, names) {
            Some(meant) => return Some(format!("{name} is no table: did you mean {meant}?")),
            None if name == "layouts" => return Some("[layouts.NAME]: did you mean [layout.NAME]?".into()),
            None => "a table".to_string(),
        },
        Value::Array(_) => "a list".into(),
        Value::Datetime(date) => format!("the date {date}"),
        value => plain(&value.to_string()),
    };
    // A list may hold what is wrong.
    let given = if is_list && value.is_array() { "a list of something else".into() } else { given };
    Some(format!("{name} is {given}: expected {what}, such as {name} = {example}"))
}

/// Settings of which a file may have several, and mostly has one.
const ONE_OR_MORE: [&str; 1] = ["layouts"];

/// What a setting takes.
struct Expected {
    what: String,
    example: String,
    takes: fn(&Value) -> bool,
}

fn expected(arg: &Arg, name: &str) -> Expected {
    let value_name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let number_or_text: fn(&Value) -> bool =
        |value| matches!(value, Value::String(_) | Value::Integer(_) | Value::Float(_));
    let (what, example, takes): (&str, &str, fn(&Value) -> bool) = match value_name {
        "N" => ("a whole number", "4", Value::is_integer),
        "SIZE" => ("a size in quotes, or a number of bytes", "\"64MiB\"", number_or_text),
        "TIME" => ("a time in quotes, or a number of seconds", "\"30s\"", number_or_text),
        "TIME|off" => ("a time in quotes, a number of seconds, or \"off\"", "\"30s\"", number_or_text),
        "TIME|SIZE" => ("a time or a size in quotes, with its unit", "\"7d\"", number_or_text),
        "BOOL" => ("true or false", "true", Value::is_bool),
        "POLICY" | "WIDTH" => {
            let names: Vec<_> =
                arg.get_possible_values().iter().map(|value| format!("\"{}\"", value.get_name())).collect();
            let example = names.first().cloned().unwrap_or_default();
            return Expected { what: names.join(" or "), example, takes: Value::is_str };
        }
        other => {
            let example = match (name, other) {
                ("admin", _) => super::settings::ADMIN,
                ("layouts", _) => "/etc/framegate/house.toml",
                (_, "ADDR") => super::settings::LISTEN,
                (_, "COMMAND") => "python3 thumbnails.py",
                (_, "URL") => "http://store:8080/frames",
                ("store", _) => "/var/lib/framegate",
                (_, "FILE") => "/etc/framegate/secret",
                (_, "NAME") => "gateway.example.com",
                (_, "NAME=ADDR") => "gt06=0.0.0.0:5023",
                (_, "'K: V'") => "X-From: framegate",
                (_, "FIELD=VALUE") => "code=0",
                _ => "text/plain",
            };
            return Expected {
                what: "text in quotes".into(),
                example: format!("\"{example}\""),
                takes: Value::is_str,
            };
        }
    };
    Expected { what: what.into(), example: example.into(), takes }
}

/// The first number, size or time that is out of its range: where, and what is allowed. Numbers are looked at as they
/// are written, since some are more than any type holds. What is wrong otherwise is for others to say.
fn out_of_range(text: &str) -> Option<(usize, String)> {
    let table = DeTable::parse(text).ok()?;
    let wrong = |(name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let range = ranges::of("serve", name.get_ref())?;
        let given = match (range.bounds, value.get_ref()) {
            (_, DeValue::Integer(given)) => given.as_str(),
            (ranges::Bounds::Count(..), _) => return None,
            (_, DeValue::Float(given)) => given.as_str(),
            (_, DeValue::String(given)) if ranges::is_like_a_number(given) => given,
            _ => return None,
        };
        let why = range.check(given).err()?;
        // Some of what is said begins with what was given.
        let given = if why.starts_with("invalid ") { String::new() } else { format!(" {}", plain(given)) };
        Some((value.span().start, format!("{}{given}: {why}", name.get_ref())))
    };
    table.get_ref().iter().filter_map(wrong).min_by_key(|(at, _)| *at)
}

/// What is said where it is no TOML, with the mend that most of it needs.
fn no_toml(text: &str, at: usize, message: &str) -> String {
    let begin = text[..at].rfind('\n').map_or(0, |before| before + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let line = line.split('#').next().unwrap_or_default();
    let mend = match line.split_once('=') {
        Some((name, value)) => {
            let (name, value) = (name.trim(), value.trim());
            let quoted = format!("{name} = \"{value}\"");
            let is_toml = |text: &str| text.parse::<toml::Table>().is_ok();
            let is_mended = !value.is_empty() && !is_toml(&format!("{name} = {value}")) && is_toml(&quoted);
            is_mended.then(|| format!(": text stands in quotes: {}", plain(&quoted)))
        }
        None if message.contains("duplicate") => None,
        None => Some(": a setting is written NAME = VALUE".into()),
    };
    format!("{message}{}", mend.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::file_listeners::FileListener;

    fn said(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, text).unwrap();
        let said = Settings::from_file(&path).unwrap_err().to_string();
        assert!(!said.contains('\n'), "{said}");
        let (_, said) = said.split_once("gateway.toml ").expect("it names the file");
        said.to_string()
    }

    #[test]
    fn faults_of_the_file_name_the_line_and_the_mend() {
        for (text, expected) in [
            ("memory = '64MiB'\nmemroy = 1", "line 2: unknown setting memroy: did you mean memory?"),
            (
                "qqq = 1",
                "line 1: unknown setting qqq: the names are those of the options that framegate serve --help shows",
            ),
            (
                "\n[serve]\nmemory = '64MiB'",
                "line 2: [serve]: the file has no tables but [[listener]] and [layout.NAME]: leave this line out and write its settings at the top",
            ),
            ("[[listener]]\nadress = 'x'", "line 2: listener: unknown key adress: did you mean address?"),
            ("[[listener]]\naddress = 7", "line 2: listener: address is no text in quotes"),
            (
                "[[listener]]\nkind = 2",
                "line 2: listener: unknown key kind: a listener has address, layout, tls-cert, tls-key, tls-client-ca, tls-client-crl, tls-client",
            ),
            (
                "memory = 1\n[[listener]]\nlayout = 'gt06'",
                "line 2: listener: it has no address: write address = \"0.0.0.0:5027\"",
            ),
            (
                "[listener]\naddress = 'x'",
                "line 1: a listener is a table of its own: write [[listener]], and below it its address and layout",
            ),
            ("[[listeners]]\naddress = 'x'", "line 1: [listeners]: did you mean [[listener]]?"),
            ("[[layout]]\ntopic = 'x'", "line 1: a layout has a name: write [layout.NAME]"),
            ("[layouts.house]\ntopic = 'x'", "line 1: [layouts.NAME]: did you mean [layout.NAME]?"),
            (
                "layouts = [1]",
                "line 1: layouts is a list of something else: expected text in quotes, or a list of it, such as layouts = \"/etc/framegate/house.toml\"",
            ),
            ("listen-layout = ['gt06']", "line 1: listen-layout gt06: write it as gt06=0.0.0.0:5023"),
            (
                "json = true",
                "line 1: json is for the command line alone: leave it out, and start framegate serve --json",
            ),
            ("max_payload = 1", "line 1: unknown setting max_payload: did you mean max-payload?"),
            ("[store]\nkeep = '7d'", "line 1: store is no table: did you mean store-keep?"),
            ("http.timeout = 3", "line 1: unknown setting http: did you mean http-timeout?"),
            ("workers = 'two'", "line 1: workers is \"two\": expected a whole number, such as workers = 4"),
            ("workers = 1.5", "line 1: workers is 1.5: expected a whole number, such as workers = 4"),
            ("workers = -1", "line 1: workers -1: allowed is 1 to 4096 (more is probably a typing error)"),
            ("workers = true", "line 1: workers is true: expected a whole number, such as workers = 4"),
            ("workers = [1]", "line 1: workers is a list: expected a whole number, such as workers = 4"),
            (
                "workers = 1979-05-27",
                "line 1: workers is the date 1979-05-27: expected a whole number, such as workers = 4",
            ),
            (
                "max-parts = 65536",
                "line 1: max-parts 65536: allowed is 2 to 65535 (a header cannot say more)",
            ),
            (
                "memory = true",
                "line 1: memory is true: expected a size in quotes, or a number of bytes, such as memory = \"64MiB\"",
            ),
            (
                "memory = ['1GiB']",
                "line 1: memory is a list: expected a size in quotes, or a number of bytes, such as memory = \"64MiB\"",
            ),
            (
                "drain = {}",
                "line 1: drain is a table: expected a time in quotes, or a number of seconds, such as drain = \"30s\"",
            ),
            (
                "dedup = false",
                "line 1: dedup is false: expected a time in quotes, a number of seconds, or \"off\", such as dedup = \"30s\"",
            ),
            (
                "slow = 3",
                "line 1: slow is 3: expected \"disconnect\" or \"pause\" or \"drop\", such as slow = \"disconnect\"",
            ),
            (
                "listen = 7450",
                "line 1: listen is 7450: expected text in quotes, such as listen = \"127.0.0.1:7450\"",
            ),
            (
                "admin = false",
                "line 1: admin is false: expected text in quotes, such as admin = \"127.0.0.1:7451\"",
            ),
            (
                "http-ordered = 'yes'",
                "line 1: http-ordered is \"yes\": expected true or false, such as http-ordered = true",
            ),
            (
                "http-header = 'a: b'",
                "line 1: http-header is \"a: b\": expected a list of text in quotes, such as http-header = [\"X-From: framegate\"]",
            ),
            (
                "http-header = [1]",
                "line 1: http-header is a list of something else: expected a list of text in quotes, such as http-header = [\"X-From: framegate\"]",
            ),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
        for (text, parts) in [
            ("\n\nmemory = 'much'", &["line 3: memory: invalid size 'much'", "16MiB"][..]),
            ("memory = -1", &["line 1: memory: invalid size '-1'"]),
            ("drain = -1", &["line 1: drain: invalid time '-1'"]),
            ("store-keep = 7", &["line 1: store-keep: invalid time or size '7'", "with its unit"]),
            ("slow = 'never'", &["line 1: slow: invalid policy 'never'", "disconnect or pause or drop"]),
            ("memory = 64MiB # enough", &["line 1: ", ": text stands in quotes: memory = \"64MiB\""]),
            ("memory 1", &["line 1: ", ": a setting is written NAME = VALUE"]),
            ("memory = 1\nmemory = 2", &["line 2: ", "duplicate"]),
        ] {
            let said = said(text);
            assert!(parts.iter().all(|part| said.contains(part)), "{said} should say {parts:?}");
        }
        let missing = Settings::from_file(Path::new("/nowhere/none.toml")).unwrap_err().to_string();
        assert!(missing.contains("none.toml") && missing.contains("give a TOML file"), "{missing}");
    }

    #[test]
    fn a_configuration_is_told_by_its_settings() {
        let layout = "[layout.a]\ntopic = \"a\"\n";
        for (before, is) in [
            ("", false),
            ("memory = \"1GiB\"\n", true),
            ("memroy = 1\n", false),
            ("[[listener]]\n", true),
            ("=", false),
        ] {
            assert_eq!(is_configuration(&format!("{before}{layout}")), is, "{before}");
        }
    }

    #[test]
    fn listeners_and_layouts_may_stand_in_the_file() {
        let text = "listen-layout = ['native=a:1']\n[[listener]]\naddress = 'b:2'\nlayout = 'gt06'\n\
                    [[listener]]\naddress = 'c:3'\n[layout.own]\ntopic = 'x'\n";
        let settings = read(text, Path::new("")).unwrap();
        let all = settings.listener.expect("there are some");
        let shown = |of: &FileListener| format!("{} {} {}={}", of.line, of.key, of.layout, of.address);
        let expected = ["1 listen-layout native=a:1", "4 listener gt06=b:2", "5 listener native=c:3"];
        assert_eq!(all.iter().map(shown).collect::<Vec<_>>(), expected);
        assert_eq!(settings.listen_layout, None);
        for (text, expected) in [("layouts = 'a'", &["a"][..]), ("layouts = ['a', 'b']", &["a", "b"])] {
            let layouts = read(text, Path::new("")).unwrap().layouts.expect("they are given");
            assert_eq!(layouts, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn files_are_looked_for_beside_the_one_that_names_them() {
        let text = "store = 'data'\nsecret-file = '/etc/secret'\nlayouts = ['a.toml', '../b.toml']\nlisten = 'a:1'\n";
        let placed = read(text, Path::new("/etc/framegate")).unwrap();
        assert_eq!(placed.store, Some("/etc/framegate/data".into()));
        assert_eq!(placed.secret_file, Some("/etc/secret".into()));
        assert_eq!(
            placed.layouts,
            Some(vec!["/etc/framegate/a.toml".into(), "/etc/framegate/../b.toml".into()])
        );
        assert_eq!(placed.listen.as_deref(), Some("a:1"));
        let beside = read("layouts = 'a.toml'", Path::new("")).unwrap();
        assert_eq!(beside.layouts, Some(vec!["a.toml".into()]));
        // Every setting that is a path says so.
        let command = Settings::augment_args(Command::new("serve"));
        let of_paths = std::any::TypeId::of::<PathBuf>();
        for arg in command.get_arguments() {
            assert_eq!(is_path(arg), arg.get_value_parser().type_id() == of_paths, "{}", arg.get_id());
        }
    }

    #[test]
    fn every_setting_says_what_it_takes() {
        let command = Settings::augment_args(Command::new("serve"));
        let mut count = 0;
        for arg in command.get_arguments() {
            let name = arg.get_long().expect("it is an option");
            // A date is nothing that any of them takes; what is said to be right, is.
            let said = said(&format!("{name} = 1979-05-27"));
            let (_, example) = said.split_once(", such as ").expect("an example");
            assert!(said.contains("expected ") && !said.contains("usize"), "{said}");
            read(example, Path::new("")).unwrap_or_else(|wrong| panic!("{example}: {wrong:?}"));
            count += 1;
        }
        assert!(count > 40);
    }
}
