//! The pages as they stand: their fenced blocks, and what is said behind a block's language.
//!
//! | language | behind it | what is done |
//! | --- | --- | --- |
//! | `sh` | | the blocks of a page run in one shell, in order |
//! | | `needs=A,B` | only where these programs are; `python3-NAME` is a module |
//! | | cargo alone | `.ci/run` runs it |
//! | | `never="WHY"` | it is not run |
//! | `text` | `output` | each line is printed by the `sh` block before |
//! | | | for reading |
//! | `python`, `toml`, `yaml`, `ini` | | a file with the name in its first line; checked |
//! | `toml` | `cargo` | dependencies |
//! | `rust` | | a doctest, by way of `src/lib.rs` |

use std::fs;
use std::path::{Path, PathBuf};

pub struct Page {
    /// From the root of the project on.
    pub name: String,
    pub text: String,
    pub blocks: Vec<Block>,
}

#[derive(Debug)]
pub struct Block {
    pub language: String,
    /// What stands behind the language.
    pub marks: Vec<String>,
    /// The line of the page in which its first line stands.
    pub line: usize,
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// Every page of the project: those beside README.md, those in `docs/`, and that of the Python package.
pub fn all() -> Vec<Page> {
    let mut names: Vec<PathBuf> = ["", "docs", "clients/python"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).expect("it is there"))
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    names.sort_unstable();
    names.iter().map(|path| Page::read(path)).collect()
}

impl Page {
    pub fn read(path: &Path) -> Page {
        let name =
            path.strip_prefix(root()).expect("it is in the project").to_str().unwrap().replace('\\', "/");
        let text = read(&name);
        let blocks = blocks(&text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        Page { name, text, blocks }
    }

    /// What is not in fenced blocks, with the number of each line.
    pub fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut fenced = false;
        self.text.lines().enumerate().filter_map(move |(at, line)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            (!fenced && !fence).then_some((at + 1, line))
        })
    }
}

impl Block {
    pub fn is(&self, language: &str) -> bool {
        self.language == language
    }

    pub fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|one| one == mark)
    }

    /// Whether it is for cargo, which takes long and would wait for the test that it runs.
    pub fn is_for_ci(&self) -> bool {
        let program = |line: &str| line.split(' ').find(|word| !word.contains('=')).map(str::to_owned);
        self.is("sh")
            && self.value("never").is_none()
            && self
                .text
                .lines()
                .all(|line| program(line).is_some_and(|word| word == "cargo" || word.starts_with(".ci/")))
    }

    /// The value of a mark `NAME=VALUE`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
    }

    /// The name of the file that it is: its first line is a comment with nothing else.
    pub fn file(&self) -> Option<&str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        let is_name =
            name.contains('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        is_name.then_some(name)
    }
}

/// The fenced blocks of a page.
pub fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some("")) => return Err(format!("line {}: a block without a language", at + 1)),
            (None, Some(info)) => {
                let mut words = words(info);
                let language = words.remove(0);
                open = Some(Block { language, marks: words, line: at + 2, text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(_), Some(_)) => return Err(format!("line {}: a block in a block", at + 1)),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    match open {
        Some(block) => Err(format!("line {}: a block that never ends", block.line)),
        None => Ok(blocks),
    }
}

/// Words with spaces between; what stands in quotes is of one word.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("one is there").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn blocks_are_found_with_what_stands_behind_their_language() {
    let text = "a\n```sh needs=a,b never=\"so it is\"\necho\n\n```\n```text\n```\n";
    let blocks = blocks(text).unwrap();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0].is("sh") && blocks[0].text == "echo\n\n" && blocks[0].line == 3);
    assert_eq!((blocks[0].value("needs"), blocks[0].value("never")), (Some("a,b"), Some("so it is")));
    for wrong in ["```\n```", "```sh\n", "```sh\n```sh\n```"] {
        assert!(self::blocks(wrong).is_err(), "{wrong}");
    }
}
