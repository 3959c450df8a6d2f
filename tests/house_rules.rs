//! What no compiler checks: how long a file is, whether it is finished, and how much is unsafe. That the layers of `src/`
//! point one way is checked by `.ci/layers`, which compiles each with those below it alone, and that the pure ones
//! name no clock, thread, file or socket by clippy, with the lists of `clippy.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that wants more is usually two.
const LINES_MAX: usize = 600;

/// Words that say that something is not finished.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", concat!("TO", "DO"), concat!("FIX", "ME")];

/// Every `unsafe` of the tree, tests, benches and fuzz targets included: a call for each set of instructions (and the
/// loads and stores of two), and the allocator that counts for the simulation, which is a trait with four such functions
/// and what they call; and one call each of the system, for the lease of a file, and of the allocator, for an option,
/// which no crate has. The files say why each is sound.
const UNSAFE: [(&str, usize); 8] = [
    ("src/main.rs", 1),
    ("src/testing/heap.rs", 12),
    ("src/tools/post/lease.rs", 1),
    ("src/wire/sha_aarch64.rs", 1),
    ("src/wire/sha_avx2.rs", 4),
    ("src/wire/sha_avx512.rs", 4),
    ("src/wire/sha_avx512vl.rs", 1),
    ("src/wire/sha_ni.rs", 1),
];

#[test]
fn files_are_short_and_finished() {
    let files = sources(&["src"]);
    assert!(files.len() > 30, "only {} files were found", files.len());
    let faults: Vec<String> = files.iter().flat_map(|(name, source)| judge(name, source)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn nothing_more_is_unsafe() {
    let mut found: Vec<(String, usize)> =
        sources(&["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"])
            .into_iter()
            .map(|(name, source)| (name, unsafes(&source)))
            .filter(|(_, count)| *count > 0)
            .collect();
    found.sort_unstable();
    assert_eq!(found, UNSAFE.map(|(name, count)| (name.to_owned(), count)));
}

/// Where methods of the whole gate are: its parts have none, so they cannot call what is above them.
const WHOLE_GATE: [&str; 5] = [
    "src/gateway/mod.rs",
    "src/gateway/commands.rs",
    "src/gateway/sleep.rs",
    "src/gateway/turn/",
    "src/gateway/observe/invariants.rs",
];

#[test]
fn parts_of_the_gate_do_not_know_it() {
    let knows = |source: &str| source.split(" Gate<").count() > 1;
    let found: Vec<String> = sources(&["src/gateway"])
        .into_iter()
        .filter(|(_, source)| knows(source))
        .map(|(name, _)| name)
        .filter(|name| !WHOLE_GATE.iter().any(|allowed| name.starts_with(allowed)))
        .collect();
    assert!(found.is_empty(), "{found:?} have methods of the gate: return what the turn is to do");
    assert!(knows("impl<N: Net, P: Pool> Gate<N, P> {"));
}

fn judge(name: &str, source: &str) -> Vec<String> {
    let lines = source.lines().count();
    let long = (lines > LINES_MAX).then(|| format!("{name}: {lines} lines, {LINES_MAX} are enough"));
    let unfinished = UNFINISHED.iter().filter(|word| source.contains(**word));
    long.into_iter().chain(unfinished.map(|word| format!("{name}: {word} is left"))).collect()
}

/// How often a source says `unsafe`, comments and strings left out.
fn unsafes(source: &str) -> usize {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or(""));
    let words = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && !"_\"".contains(c)));
    words.filter(|word| *word == concat!("un", "safe")).count()
}

/// Every source in these folders, with its name.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files);
    }
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The checks themselves: what they must find, and what they must not.
mod made_up {
    use super::{judge, unsafes};

    #[test]
    fn every_unsafe_is_counted() {
        for (source, expected) in [
            ("fn f() { UNSAFE { g() } }\n#[cfg(test)]\nmod tests {\n UNSAFE fn g() {} }", 2),
            ("#![deny(UNSAFE_code)] // UNSAFE\n/// UNSAFE\nconst A: &str = \"UNSAFE\";", 0),
        ] {
            assert_eq!(unsafes(&source.replace("UNSAFE", concat!("un", "safe"))), expected, "{source}");
        }
    }

    #[test]
    fn what_is_long_or_unfinished_is_found() {
        assert_eq!(judge("a.rs", &"\n".repeat(601)), ["a.rs: 601 lines, 600 are enough"]);
        let unfinished = format!("fn f() {{ {}!() }}", "todo");
        assert_eq!(judge("a.rs", &unfinished).len(), 1);
        assert_eq!(judge("a.rs", &format!("// {}{}: later", "TO", "DO")).len(), 1);
        assert_eq!(judge("a.rs", &"\n".repeat(600)), Vec::<String>::new());
    }
}
