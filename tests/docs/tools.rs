//! Programs that pages use and that need not be there. In CI they must.

use std::process::{Command, Stdio};

/// Whether all of `needs` are there. What is missing is said, and in CI it is a failure.
pub fn are_there(needs: Option<&str>, page: &str) -> bool {
    let missing: Vec<&str> =
        needs.into_iter().flat_map(|needs| needs.split(',')).filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    crate::support::skipped::missing(&format!("blocks of {page} need {missing}"));
    false
}

fn is_there(need: &str) -> bool {
    match need.split_once('-') {
        Some(("python3", module)) => {
            let mut python = Command::new("python3");
            python.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
            python.status().is_ok_and(|status| status.success())
        }
        _ => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(need).is_file())
        }
    }
}
