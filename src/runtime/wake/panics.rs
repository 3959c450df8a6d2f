//! Threads that panic: somebody waits for what they would bring, and must be told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Whether something has panicked, and what it said first. Where panics abort, the process ends before it is asked.
#[derive(Debug, Default)]
pub struct Panicked(OnceLock<String>);

impl Panicked {
    /// Runs something; what it leaves broken must not be used again. Whether it panicked.
    pub fn guard(&self, run: impl FnOnce()) -> bool {
        let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return false };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        self.0.get_or_init(|| text.to_owned());
        true
    }

    /// What the first said that panicked.
    pub fn said(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_is_told() {
        let panicked = Panicked::default();
        assert!(!panicked.guard(|| ()) && panicked.said().is_none());
        assert!(panicked.guard(|| panic!("{} of them", 3)));
        assert!(panicked.guard(|| panic!("another")));
        assert_eq!(panicked.said(), Some("3 of them"));
    }
}
