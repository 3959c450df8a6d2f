//! What the formats allow and others write: a line for each oddity, with what Python's `tarfile`, `zipfile`, `csv`
//! and its readers of packed files make of it, and what we do. `make.py` makes the files.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use framegate::tools::records::{Found, RecordError, Walk};

/// A file, what Python reads and what we do.
///
/// Of archives: `name:bytes` is a record, `name(what)` is left out or no file, `name!kind` a failed record. Of the
/// rest records are as they are. `error`, and of us `broken`: the source is named as one that was not read to its end;
/// `refused`: nothing of it is posted, and why is said.
const ODDITIES: &[(&str, &str, &str)] = &[
    ("plain.tar", "a:4; b:4", "a:4; b:4"),
    // A tar ends with zeros. One without may have been cut between two files.
    ("no-end.tar", "a:4; b:4", "a:4; b:4; broken"),
    ("one-zero-block.tar", "a:4", "a:4"),
    ("cut-in-data.tar", "a:4; error", "a:4; b!incomplete; broken"),
    ("cut-in-header.tar", "a:4", "a:4; broken"),
    ("two-tars.tar", "a:4", "a:4; b:4"),
    ("garbage-behind.tar", "a:4", "a:4; broken"),
    ("zeros-behind.tar", "a:4", "a:4"),
    ("old.tar", "a:4; d(5)", "a:4; d/(folder)"),
    // Sums of bytes with signs, by some old programs: the library does not take them.
    ("signed-sum.tar", "üüüüüüüüü:4", "broken"),
    ("contiguous.tar", "a:4", "a:4"),
    ("links.tar", "a:4; h(1); s(2)", "a:4; h(hard link to a); s(link to a)"),
    ("specials.tar", "3(3); 4(4); 5(5); 6(6); a:4", "3(device); 4(device); 5(folder); 6(pipe); a:4"),
    ("unknown-type.tar", "q(Q); a:4", "q!unknown type; a:4"),
    // Nothing is unpacked, so a name can lead nowhere.
    ("absolute.tar", "/etc/a:4; ../b:4", "/etc/a:4; ../b:4"),
    ("twice.tar", "a:4; a:4", "a:4; a:4"),
    ("empty-file.tar", "a:0; b:4", "a:0; b:4"),
    ("long-name.tar", "n*300:4", "n*300:4"),
    ("long-name-alone.tar", "a:4; error", "a:4; broken"),
    ("pax-name.tar", "p*300:4", "p*300:4"),
    ("pax-size.tar", "a:4", "a:4"),
    ("global.tar", "a:4", "a:4"),
    ("global-path.tar", "z:4", "broken"),
    // Holes are zeros, in each of the four ways to write them.
    ("sparse-gnu.tar", "a:8; b:4", "a:8; b:4"),
    ("sparse-0.0.tar", "GNUSparseFile.0/a:9; b:4", "GNUSparseFile.0/a:9; b:4"),
    ("sparse-0.1.tar", "a:9; b:4", "a:9; b:4"),
    ("sparse-1.0.tar", "a:9; b:4", "a:9; b:4"),
    ("empty.tar", "", ""),
    ("none.tar", "error", "refused"),
    ("mac.tar", "._a:44; ._b:4; a:4", "._a(macOS metadata file); ._b:4; a:4"),
    ("plain.zip", "a:4; b:4", "a:4; b:4"),
    ("deflate.zip", "a:396", "a:396"),
    ("bzip2.zip", "a:396", "a:396"),
    ("lzma.zip", "a:396", "a:396"),
    ("empty.zip", "", ""),
    ("folders.zip", "d/:0; d/a:4", "d/(folder); d/a:4"),
    ("links.zip", "s:1; p:0; a:4", "s(link); p(pipe); a:4"),
    (
        "mac.zip",
        "a:4; __MACOSX/._a:4; .DS_Store:8",
        "a:4; __MACOSX/._a(macOS metadata file); .DS_Store(macOS metadata file)",
    ),
    ("absolute.zip", "/a:4; ../b:4", "/a:4; ../b:4"),
    ("twice.zip", "a:4; a:4", "a:4; a:4"),
    ("comment.zip", "a:4", "a:4"),
    // The mark of the end, in the comment behind it.
    ("false-end.zip", "error", "a:4"),
    ("stub.zip", "a:4", "a:4"),
    ("zeros-behind.zip", "a:4", "a:4"),
    ("garbage-behind.zip", "a:4", "a:4; broken"),
    ("two-zips.zip", "b:4", "b:4; broken"),
    ("wrong-crc.zip", "a error; b:4", "a!damaged; b:4"),
    ("wrong-size.zip", "a error; b:4", "a!damaged; b:4"),
    ("no-count.zip", "a:4; b:4", "a:4; b:4"),
    ("cut.zip", "error", "broken"),
    ("cut-in-data.zip", "error", "broken"),
    ("lines.txt.gz", "one; two", "one; two"),
    ("lines.txt.bz2", "one; two", "one; two"),
    ("lines.txt.xz", "one; two", "one; two"),
    ("members.txt.gz", "one; two", "one; two"),
    ("members.txt.bz2", "one; two", "one; two"),
    ("members.txt.xz", "one; two", "one; two"),
    ("padded.txt.gz", "one; two", "one; two"),
    ("padded.txt.bz2", "one; two", "one; two"),
    ("padded.txt.xz", "one; two; error", "one; two"),
    ("garbage.txt.gz", "one; two; error", "one; two; broken"),
    ("garbage.txt.bz2", "one; two", "one; two; broken"),
    ("garbage.txt.xz", "one; two", "one; two; broken"),
    ("cut.txt.gz", "one; two; error", "one; two; broken"),
    ("cut.txt.bz2", "one; two; error", "one; two; broken"),
    ("cut.txt.xz", "one; two; error", "one; two; broken"),
    ("none.txt.gz", "", "refused"),
    ("none.txt.bz2", "error", "refused"),
    ("none.txt.xz", "error", "refused"),
    ("plain.csv", "a=1,b=2", r#"{"a":"1","b":"2"}"#),
    ("no-break.csv", "a=1,b=2", r#"{"a":"1","b":"2"}"#),
    ("crlf.csv", "a=1,b=2", r#"{"a":"1","b":"2"}"#),
    ("cr.csv", "a=1,b=2", r#"{"a":"1","b":"2"}"#),
    ("blank.csv", "a=1,b=2", r#"{"a":"1","b":"2"}"#),
    ("quotes.csv", r#"a=1,\n"x",b=2"#, r#"{"a":"1,\n\"x\"","b":"2"}"#),
    ("open.csv", r"a=1,b=2\n3,4\n", "row 1!open quote"),
    ("open-at-end.csv", "a=1,b=2; a=,b=None", r#"{"a":"1","b":"2"}; row 2!open quote"#),
    (
        "short.csv",
        "a=1,b=None; a=2,b=3,None=['4']; a=5,b=6",
        r#"row 1!wrong number of fields; row 2!wrong number of fields; {"a":"5","b":"6"}"#,
    ),
    ("same.csv", "a=3,b=2", "refused"),
    ("semicolons.csv", "a;b=1;2,None=['5']", r#"{"a":"1","b":"2,5"}"#),
    ("tabs.csv", r"a\tb=1\t2", r#"{"a":"1","b":"2"}"#),
    ("pipes.csv", "a|b=1|2", r#"{"a":"1","b":"2"}"#),
    ("header.csv", "", ""),
    ("none.csv", "", ""),
    ("nul.csv", r"a=1,b=\x00", "refused"),
];

#[test]
fn every_oddity_is_read_or_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/oddities/make.py");
    let output = match Command::new("python3").arg(script).current_dir(folder.path()).output() {
        Ok(output) => output,
        Err(why) => {
            assert!(std::env::var_os("FRAMEGATE_TOOLS_REQUIRED").is_none(), "python3: {why}");
            println!("there is no python3 here: nothing was tried");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let python: HashMap<&str, &str> = said.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut wrong = Vec::new();
    for (name, theirs, ours) in ODDITIES {
        let read = python.get(name).unwrap_or_else(|| panic!("{name} was not made"));
        if read != theirs {
            wrong.push(format!("{name}: Python reads '{read}', not '{theirs}'"));
        }
        let read = walked(&folder.path().join(name));
        if read != *ours {
            wrong.push(format!("{name}: we read '{read}', not '{ours}'"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(python.len(), ODDITIES.len(), "one that was made has no line");
}

fn walked(path: &Path) -> String {
    let is_archive = path.extension().is_some_and(|extension| extension == "tar" || extension == "zip");
    let mut all = Vec::new();
    let walked = Walk::new(None, 1 << 20).file(path, &mut |name, found| {
        let name = name.replace(&"n".repeat(300), "n*300").replace(&"p".repeat(300), "p*300");
        all.push(match found {
            Found::Record(_, body) if is_archive => format!("{name}:{}", body.len()),
            Found::Record(_, body) => String::from_utf8(body).unwrap(),
            Found::Flawed(flaw) => format!("{name}!{}", flaw.kind()),
            Found::LeftOut(what) => format!("{name}({what})"),
        });
        ControlFlow::Continue(())
    });
    if let Err(why) = walked {
        let is_refused = matches!(why, RecordError::Refused { .. });
        // Whatever is said, it is in one line, and names the file.
        let why = why.to_string();
        assert!(why.lines().count() == 1 && why.contains(path.to_str().unwrap()), "{why}");
        all.push(if is_refused { "refused" } else { "broken" }.to_owned());
    }
    all.join("; ")
}

/// What is in a source: of one that is cut at any byte, what was whole comes first, and that there was more is told.
#[test]
fn a_source_that_is_cut_at_any_byte_loses_nothing_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for (name, last) in [
        ("hardlink.tar", 1536 + 1),
        ("sparse-gnu.tar", 0),
        ("sparse-pax.tar", 0),
        ("no-magic.tar", 0),
        ("mac-and-link.zip", 0),
        ("stub.zip", 0),
        ("lines.txt.bz2", 0),
        ("lines.txt.xz", 0),
        ("padded.txt.gz", 28),
    ] {
        let bytes = fs::read(cases.join(name)).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let whole = walked(&path);
        // Behind that nothing is missed: a tar's first block of zeros, the padding of a gzip.
        let last = match (name.rsplit('.').next(), last) {
            (_, last) if last > 0 => last,
            (Some("tar"), _) => {
                bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512) + 512
            }
            _ => bytes.len(),
        };
        for len in 0..last {
            fs::write(&path, &bytes[..len]).unwrap();
            let read = walked(&path);
            let (before, told) = match read.rsplit_once("; ") {
                Some((before, last)) => (before, last),
                None => ("", read.as_str()),
            };
            assert!(matches!(told, "broken" | "refused"), "{name} cut to {len} bytes: '{read}'");
            let before = before
                .rsplit_once("!incomplete")
                .map_or(before, |(before, _)| before.rsplit_once("; ").map_or("", |(before, _)| before));
            assert!(whole.starts_with(before), "{name} cut to {len} bytes: '{read}', not '{whole}'");
        }
    }
}
