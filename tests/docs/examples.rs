//! The programs in `examples/` run, and end by themselves.

#[path = "../../examples/embed_gateway.rs"]
mod embed_gateway;
#[path = "../../examples/format.rs"]
mod format;
#[path = "../../examples/handler.rs"]
mod handler;
#[path = "../../examples/publisher_replies.rs"]
mod publisher_replies;

use std::fs;

use super::pages;

type Example = fn() -> Result<(), Box<dyn std::error::Error>>;

const EXAMPLES: [(&str, Example); 4] = [
    ("embed_gateway", embed_gateway::main),
    ("format", format::main),
    ("handler", handler::main),
    ("publisher_replies", publisher_replies::main),
];

#[test]
fn examples_run_and_end() {
    let mut files: Vec<String> = fs::read_dir(pages::root().join("examples"))
        .expect("it is there")
        .map(|entry| entry.unwrap().path())
        // Those in `python/` are run by the package's tests.
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort_unstable();
    assert_eq!(files, EXAMPLES.map(|(name, _)| name), "each is run here");
    for (name, main) in EXAMPLES {
        main().unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}
