//! What was not tested because something is missing. The harness shows what a test prints only where that fails, so it is
//! said when all tests of the program have ended, behind their summary.

use std::io::Write;
use std::sync::Mutex;

static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A tool is missing: that is a failure where all must be there, as in CI, and otherwise [`skipped`].
pub fn missing(what: &str) {
    assert!(std::env::var_os("FRAMEGATE_TOOLS_REQUIRED").is_none(), "{what}");
    skipped(what);
}

/// Something was not tested, and why.
pub fn skipped(what: &str) {
    let mut skipped = SKIPPED.lock().expect("nobody panics with it");
    if skipped.is_empty() {
        shutdown_hooks::add_shutdown_hook(say);
    }
    skipped.push(what.to_owned());
}

extern "C" fn say() {
    let skipped = SKIPPED.lock().expect("nobody panics with it");
    let mut text = String::from("skipped, for something is missing (see CONTRIBUTING.md):\n");
    skipped.iter().for_each(|what| text += &format!("  {what}\n"));
    // Nobody may be left to read it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
