//! The page in a real browser: tests/browser/page.mjs does the work. Without a browser, node or what
//! `npm ci` installs there it is skipped, unless FRAMEGATE_TOOLS_REQUIRED says that they must be there.

use std::path::Path;
use std::process::Command;

/// Where Debian and others have it.
const BROWSERS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

#[test]
fn the_page_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let browser = BROWSERS.into_iter().find(|path| Path::new(path).exists());
    let has_node = Command::new("node").arg("--version").output().is_ok();
    let has_modules = folder.join("node_modules/playwright-core").exists();
    let (Some(browser), true, true) = (browser, has_node, has_modules) else {
        let missing =
            "the page is tested with chromium, node, and npm ci in tests/browser: one of them is missing";
        return crate::support::skipped::missing(missing);
    };
    let mut command = Command::new("node");
    command.arg("page.mjs").arg(env!("CARGO_BIN_EXE_framegate")).arg(browser).current_dir(folder);
    // A folder where the pictures of the page are to be put, for those who look at them.
    command.args(std::env::var_os("FRAMEGATE_PICTURES"));
    let output = command.output().expect("node starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{wrong}");
}
