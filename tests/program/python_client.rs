//! The Python package's own tests, against this program. `.ci/run` runs them against the installed wheel, too.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::skipped;

fn has_python() -> bool {
    let mut python = Command::new("python3");
    // Older ones are not supported; what is not installed with the package is not needed.
    python.args(["-c", "import sys, unittest; sys.exit(sys.version_info < (3, 9))"]);
    python.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn the_python_package_passes_its_tests() {
    if !has_python() {
        skipped::missing("the Python package needs python3, 3.9 or newer");
        return;
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "-s", "tests", "-t", "."])
        .current_dir(&package)
        .env("PYTHONPATH", &package)
        .env("FRAMEGATE", env!("CARGO_BIN_EXE_framegate"))
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    if let Some(skips) = said.lines().last().filter(|line| line.contains("skipped=")) {
        skipped::missing(&format!("tests of the Python package: {skips}"));
    }
}
