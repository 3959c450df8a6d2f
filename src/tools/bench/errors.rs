//! What went wrong, by kind.

use serde::{Serialize, Serializer};

use crate::core::limits::EXAMPLE_MAX;

/// The kind of a response that says that something is wrong. It is done, too: alone of all kinds.
pub const BAD_STATUS: &str = "bad status";

/// Errors by kind, each with the first that came as an example. Kinds are words of the program, so
/// there are few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(Vec<Kind>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Kind {
    #[serde(skip)]
    name: &'static str,
    count: u64,
    example: String,
}

impl Errors {
    /// Counts `count` errors of a kind. `example` is asked for the first time only.
    pub fn add(&mut self, name: &'static str, count: u64, example: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.count += count,
            None if count > 0 => {
                let mut example = example();
                if example.len() > EXAMPLE_MAX {
                    let end = (0..=EXAMPLE_MAX - 3).rev().find(|&at| example.is_char_boundary(at));
                    example.truncate(end.unwrap_or(0));
                    example.push_str("...");
                }
                self.0.push(Kind { name, count, example });
            }
            None => {}
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|kind| kind.count).sum()
    }

    /// How many of a kind there were.
    pub fn of(&self, name: &str) -> u64 {
        self.0.iter().find(|kind| kind.name == name).map_or(0, |kind| kind.count)
    }

    /// Kinds in the order in which they first occurred, with how many there were and an example.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &str)> {
        self.0.iter().map(|kind| (kind.name, kind.count, kind.example.as_str()))
    }
}

impl Serialize for Errors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|kind| (kind.name, kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_its_example() {
        let mut errors = Errors::default();
        errors.add("none", 0, || unreachable!("nothing happened"));
        for (name, count, example) in [("lost", 3, "a"), ("reset", 1, "b"), ("lost", 2, "c")] {
            errors.add(name, count, || example.to_string());
        }
        assert_eq!(errors.iter().collect::<Vec<_>>(), [("lost", 5, "a"), ("reset", 1, "b")]);
        assert_eq!((errors.total(), errors.of("lost"), errors.of("other")), (6, 5, 0));
        let json = serde_json::to_string(&errors).unwrap();
        assert_eq!(json, r#"{"lost":{"count":5,"example":"a"},"reset":{"count":1,"example":"b"}}"#);
    }

    #[test]
    fn an_example_has_an_end() {
        let mut errors = Errors::default();
        errors.add("bad", 1, || "ü".repeat(EXAMPLE_MAX));
        let (_, _, example) = errors.iter().next().unwrap();
        assert!(example.len() <= EXAMPLE_MAX && example.ends_with("ü..."), "{example}");
    }
}
