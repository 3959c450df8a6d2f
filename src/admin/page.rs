//! The page: one file for the browser, put together from those that people edit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The page and what a browser may do with it.
#[derive(Debug)]
pub struct Page {
    /// All of it, which loads nothing from anywhere.
    pub text: String,
    /// Its Content-Security-Policy: the script and the style in it, known by their digests, and nothing
    /// else. What a peer brings to be shown cannot become either.
    pub policy: String,
}

impl Page {
    /// Puts it together.
    pub fn new() -> Page {
        let style = include_str!("page/style.css");
        let script = concat!(include_str!("page/chart.js"), include_str!("page/page.js"));
        let text = include_str!("page/index.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", script);
        let hash = |part: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(part)));
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(script),
            hash(style)
        );
        Page { text, policy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_all_in_one_and_names_no_other_place() {
        let Page { text, policy } = Page::new();
        assert!(text.contains("class Chart") && text.contains("--paper") && !text.contains("/*S"));
        assert_eq!(policy.matches("'sha256-").count(), 2);
        let addresses: Vec<&str> = text.split("http://").skip(1).map(|rest| &rest[..13]).collect();
        // A namespace is a name, not a place.
        assert_eq!(addresses, ["www.w3.org/20"], "a page of a machine without a network");
        assert!(!text.contains("https://") && !text.contains("innerHTML"));
        assert!(text.matches("<script>").count() == 1 && text.matches("</script>").count() == 1);
    }
}
