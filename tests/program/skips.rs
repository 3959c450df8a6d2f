//! What tests skip is seen without `--nocapture`.

use std::process::Command;

/// Set in the run of this program that skips.
const SKIPS: &str = "FRAMEGATE_TEST_SKIPS";

#[test]
fn what_is_skipped_is_said_at_the_end_of_the_run() {
    if std::env::var_os(SKIPS).is_some() {
        return crate::support::skipped::skipped("this wants what is not there");
    }
    let itself = std::env::current_exe().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" --exact skips::what_is_skipped_is_said_at_the_end_of_the_run 2>&1"]);
    let output = shell.arg(itself).env(SKIPS, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let (_, behind) = said.split_once("test result: ok. 1 passed").expect("it passes");
    assert!(behind.trim_end().ends_with("\n  this wants what is not there"), "{said}");
}
