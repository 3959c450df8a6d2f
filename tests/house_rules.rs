//! A folder is a rule: which room may name which, read from the sources themselves.

use std::fs;
use std::path::Path;

/// Each room, and the rooms that it may name beside itself. Whatever stands in `src/` has a line here.
const ROOMS: [(&str, &[&str]); 30] = [
    ("limits", &[]),
    ("order", &[]),
    ("calls", &[]),
    ("parts", &["limits"]),
    ("wake", &[]),
    ("units", &[]),
    ("ranges", &["limits", "units"]),
    ("histogram", &[]),
    ("memory", &["limits"]),
    ("frame", &["limits", "memory"]),
    ("handler", &["memory", "frame"]),
    ("error", &["limits", "units", "frame"]),
    ("ledger", &["limits", "units", "frame"]),
    ("http", &["limits", "error"]),
    ("net", &["limits", "ledger"]),
    ("web", &["error", "http", "net"]),
    ("courier", &["limits", "units", "error", "http", "net", "web"]),
    ("snapshot", &["frame", "histogram", "ledger"]),
    ("control", &["limits", "calls", "units", "ranges", "net", "snapshot"]),
    ("pool", &["limits", "frame", "handler", "wake", "snapshot"]),
    ("sinks", &["limits", "units", "frame", "wake", "http", "net", "web", "courier"]),
    (
        "gate",
        &[
            "limits", "order", "calls", "units", "ranges", "memory", "frame", "handler", "error", "ledger",
            "net", "snapshot", "control", "pool", "sinks", "parts",
        ],
    ),
    ("gateway", &["limits", "handler", "ledger", "net", "control", "pool", "sinks", "gate"]),
    ("admin", &["limits", "wake", "units", "histogram", "frame", "ledger", "net", "snapshot", "control"]),
    ("records", &["limits", "frame", "error"]),
    ("client", &["limits", "units", "frame", "error", "net", "records"]),
    ("post", &["limits", "units", "error", "http", "net", "web", "courier", "records"]),
    // Never a gate or a pool: what a load measures is another program.
    ("load", &["limits", "units", "memory", "frame", "error", "ledger", "http", "net", "web"]),
    ("cli", ANY),
    // The models and the simulation look at every room.
    ("check", ANY),
];

const ANY: &[&str] = &["*"];

/// What stands for a thread, a socket, a file or a clock, and the rooms that may name it.
const OUTSIDE: [(&str, &[&str]); 9] = [
    ("mio", &["net"]),
    ("rustls", &["net"]),
    ("std::process::Command", &["net", "cli"]),
    ("std::thread", &["pool", "sinks", "gateway", "admin", "client", "cli", "check"]),
    ("std::net::TcpStream", &["admin", "client", "cli"]),
    ("std::net::TcpListener", &["admin", "cli"]),
    // A load reads there what the system says of a process.
    ("std::fs", &["admin", "sinks", "records", "client", "post", "load", "cli", "check"]),
    // A date that a store names is one of the calendar.
    ("std::time::SystemTime", &["admin", "courier", "sinks", "client", "post", "cli"]),
    // A gate is told the time, and asks the network for it; a worker looks at the clock where it has nothing to do,
    // and a store's thread has its own.
    (
        "std::time::Instant::now",
        &["net", "pool", "courier", "sinks", "gateway", "admin", "client", "post", "load", "cli", "check"],
    ),
];

/// A file that wants more is usually two rooms.
const LINES_MAX: usize = 600;

/// Words that say that something is not finished.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", concat!("TO", "DO"), concat!("FIX", "ME")];

#[test]
fn every_file_keeps_to_its_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut faults = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        faults.extend(judge(&name, &fs::read_to_string(file).unwrap()));
    }
    assert!(files.len() > 30, "only {} files were found", files.len());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Every `unsafe` of the tree, tests, benches and fuzz targets included: one call for each set of instructions, and the
/// allocator that counts for the simulation, which is a trait with four such functions and what they call; and one call
/// of the system, which no crate has, for the lease of a file.
/// The files' own first lines say why each is sound.
const UNSAFE: [(&str, usize); 4] = [
    ("src/check/heap.rs", 12),
    ("src/frame/sha_aarch64.rs", 1),
    ("src/frame/sha_ni.rs", 1),
    ("src/post/lease.rs", 1),
];

#[test]
fn nothing_more_is_unsafe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
        collect(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in &files {
        let count = unsafes(&fs::read_to_string(file).unwrap());
        if count > 0 {
            found.push((file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"), count));
        }
    }
    found.sort_unstable();
    let expected = UNSAFE.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(found, expected);
}

fn unsafes(source: &str) -> usize {
    tokens(source).iter().filter(|token| *token == "unsafe").count()
}

#[test]
fn arrows_point_one_way() {
    for (at, (room, uses)) in ROOMS.iter().enumerate() {
        for used in uses.iter().filter(|used| **used != "*") {
            let before = ROOMS[..at].iter().any(|(other, _)| other == used);
            assert!(before, "{room} uses {used}, which does not stand above it");
        }
    }
}

/// What is wrong with a file, named from `src/`.
fn judge(name: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("src/{name}: {what}"));
    let lines = source.lines().count();
    if lines > LINES_MAX {
        fault(format!("{lines} lines, {LINES_MAX} are enough"));
    }
    for word in UNFINISHED {
        if source.contains(word) {
            fault(format!("{word} is left"));
        }
    }
    let modules: Vec<&str> = name.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    // The map and the program's first line see every room.
    if let ["lib" | "main"] = modules[..] {
        return faults;
    }
    let room = modules[0];
    let Some((_, uses)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        fault(format!("the room {room} has no line in this test"));
        return faults;
    };
    let product = source.split("\n#[cfg(test)]\nmod tests {").next().expect("split gives one");
    for path in paths(&tokens(product), &modules) {
        if let Some(used) = path.strip_prefix("crate::") {
            let used = used.split("::").next().expect("split gives one");
            if used != room && *uses != ANY && !uses.contains(&used) {
                fault(format!("{room} names {path}"));
            }
        }
        for (outside, rooms) in OUTSIDE {
            let named = path == outside || path.starts_with(&format!("{outside}::"));
            // Where only the last of a path is imported, the rest is in another path.
            let called = outside.ends_with("::now") && path == "Instant::now";
            if (named || called) && !rooms.contains(&room) {
                fault(format!("{room} names {outside}"));
            }
        }
    }
    faults
}

/// The words and signs of a source, without comments and strings.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string_len(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#\"") {
            raw_string_len(rest)
        } else if first == '\'' {
            quote_len(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..len].to_owned());
            len
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    tokens
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

fn raw_string_len(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// A character, or the quote of a lifetime.
fn quote_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let escaped = chars.next().map_or(text.len(), |(at, c)| at + c.len_utf8());
            text[escaped..].find('\'').map_or(text.len(), |at| escaped + at + 1)
        }
        _ => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
    }
}

/// Every path that is named, groups spread out, `super` resolved for a file of these modules.
fn paths(tokens: &[String], modules: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at]) {
            spread(tokens, &mut at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found.iter().map(|path| resolve(path, modules)).collect()
}

/// Reads one path (in a group, one branch) behind `prefix`, and leaves `at` behind it.
fn spread(tokens: &[String], at: &mut usize, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while *at < tokens.len() && tokens[*at] != "}" {
                    if is_word(&tokens[*at]) {
                        spread(tokens, at, &path, found);
                    } else {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            Some(word) if is_word(word) => path.push(word.to_owned()),
            // `*`, or the arguments of a generic type: the path so far is what counts.
            _ => break,
        }
        *at += 1;
        if tokens.get(*at).is_none_or(|next| next != "::") {
            break;
        }
        *at += 1;
    }
    found.push(path);
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn resolve(path: &[String], modules: &[&str]) -> String {
    let ups = path.iter().take_while(|part| *part == "super").count();
    if ups == 0 || ups > modules.len() {
        return path.join("::");
    }
    let above = modules[..modules.len() - ups].iter().map(|part| (*part).to_owned());
    let whole: Vec<String> =
        ["crate".to_owned()].into_iter().chain(above).chain(path[ups..].iter().cloned()).collect();
    whole.join("::")
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The checker itself: what it must find, and what it must not.
mod made_up {
    use super::{judge, unsafes};

    #[test]
    fn every_unsafe_is_counted() {
        for (source, expected) in [
            ("fn f() { unsafe { g() } }\n#[cfg(test)]\nmod tests {\n unsafe fn g() {} }", 2),
            ("#![deny(unsafe_code)] // unsafe\n/// unsafe\nconst A: &str = \"unsafe\";", 0),
        ] {
            assert_eq!(unsafes(source), expected, "{source}");
        }
    }

    #[test]
    fn a_room_that_names_another_is_found() {
        for (name, source, expected) in [
            ("frame/a.rs", "use crate::net::Outbox;", "frame names crate::net::Outbox"),
            ("frame/a.rs", "use crate::{limits::A, pool::{self}};", "frame names crate::pool::self"),
            ("frame/a.rs", "fn f(x: &crate::gate::Gate<u8>) {}", "frame names crate::gate::Gate"),
            ("order.rs", "use super::limits;", "order names crate::limits"),
            ("net/a.rs", "use super::super::frame::Frame;", "net names crate::frame::Frame"),
            ("net/mod.rs", "use super::frame;", "net names crate::frame"),
            ("client/a.rs", "use crate::gateway::*;", "client names crate::gateway"),
            ("records/a.rs", "use crate::net::Net;", "records names crate::net::Net"),
            ("cellar/a.rs", "", "the room cellar has no line in this test"),
        ] {
            assert_eq!(judge(name, source), [format!("src/{name}: {expected}")]);
        }
    }

    #[test]
    fn a_clock_a_thread_or_a_socket_out_of_place_is_found() {
        for (name, source, expected) in [
            ("gate/a.rs", "use mio::Token;", "gate names mio"),
            ("gate/a.rs", "use std::{io, thread::{self, JoinHandle}};", "gate names std::thread"),
            ("net/a.rs", "fn f() { std::thread::yield_now() }", "net names std::thread"),
            ("gate/a.rs", "fn f() { Instant::now(); }", "gate names std::time::Instant::now"),
            ("gate/a.rs", "use std::{io::Read, net::TcpStream};", "gate names std::net::TcpStream"),
            ("gate/a.rs", "use std::fs::File;", "gate names std::fs"),
        ] {
            let faults = judge(name, source);
            assert!(!faults.is_empty(), "{source}");
            assert!(faults.iter().all(|fault| *fault == format!("src/{name}: {expected}")), "{faults:?}");
        }
    }

    #[test]
    fn what_is_long_or_unfinished_is_found() {
        assert_eq!(judge("order.rs", &"\n".repeat(601)), ["src/order.rs: 601 lines, 600 are enough"]);
        let unfinished = format!("fn f() {{ {}!() }}", "todo");
        assert_eq!(judge("order.rs", &unfinished).len(), 1);
        assert_eq!(judge("order.rs", &format!("// {}{}: later", "TO", "DO")).len(), 1);
    }

    #[test]
    fn what_is_allowed_is_not() {
        for (name, source) in [
            ("gate/a.rs", "use super::conn::Conn;\nuse crate::{net::{Net, Event}, pool::Pool};"),
            ("net/a.rs", "use mio::{Poll, Token};\nuse super::Event;"),
            ("wake/flag.rs", "use super::sync::AtomicBool;"),
            (
                "frame/a.rs",
                "/// See [`X`](crate::gate::X).\nfn f() -> &'static str { \"use crate::net; \\\" mio\" }",
            ),
            ("frame/a.rs", "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' } // mio::Poll"),
            (
                "frame/a.rs",
                "use crate::memory::Memory;\n\n#[cfg(test)]\nmod tests {\n use crate::gate::Gate; }",
            ),
            ("cli/serve.rs", "use crate::{gate::Config, gateway::Gateway};\nuse std::thread;"),
        ] {
            assert_eq!(judge(name, source), Vec::<String>::new(), "{source}");
        }
    }
}
