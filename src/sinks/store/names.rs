//! What the store's folders and files are called.
//!
//! A topic is a folder. Its name is the topic where that is a safe one; other characters are written
//! `%2F`, so that a name leads back to its topic. A name that would be longer than a file system
//! takes goes on in a folder inside: what ends in `%` is not all of it yet. No name begins with a
//! `.`, where the store keeps what is its own. Topics that differ only in case are one folder on a
//! file system that does not tell them apart.

use std::path::{Path, PathBuf};

use super::stamp::Stamp;

/// 255 bytes: the longest name that Linux, macOS and the BSDs take.
const NAME_MAX: usize = 255;

/// The name of the empty topic; an escape is never followed by an `m`.
const EMPTY: &str = "%empty";

/// What ends a name that goes on in a folder inside.
const GOES_ON: char = '%';

/// What a file of a topic's folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holds {
    /// Frames; nothing is added any more.
    Frames,
    /// Frames; more are added.
    OpenFrames,
    /// Where the frames of a segment stand in the order of all.
    Index,
    /// What a crash left at the end of a segment, and what is no frame.
    Cut,
    /// Frames that a [repair](super::repair) is about to put in the place of others.
    NewFrames,
    /// Their index.
    NewIndex,
}

impl Holds {
    const ALL: [Holds; 6] =
        [Holds::Frames, Holds::OpenFrames, Holds::Index, Holds::Cut, Holds::NewFrames, Holds::NewIndex];

    fn suffix(self) -> &'static str {
        match self {
            Holds::Frames => ".frames",
            Holds::OpenFrames => ".open",
            Holds::Index => ".index",
            Holds::Cut => ".cut",
            Holds::NewFrames => ".new-frames",
            Holds::NewIndex => ".new-index",
        }
    }
}

/// The file of the segment that began at `base`.
pub fn file(folder: &Path, base: Stamp, holds: Holds) -> PathBuf {
    folder.join(format!("{base}{}", holds.suffix()))
}

/// The segment that a file belongs to, and what of it the file holds; none if it is not the store's.
pub fn read_file(name: &str) -> Option<(Stamp, Holds)> {
    Holds::ALL
        .into_iter()
        .find_map(|holds| Some((name.strip_suffix(holds.suffix())?, holds)))
        .and_then(|(base, holds)| Some((base.parse().ok()?, holds)))
}

/// The folder of a topic, from the store's own.
pub fn folder(topic: &str) -> PathBuf {
    let mut names = vec![String::new()];
    for c in topic.chars() {
        let mut written = String::new();
        let name = names.last_mut().expect("there is always one");
        write_char(c, name.is_empty(), &mut written);
        // Whatever comes, there is room to say that it goes on.
        if name.len() + written.len() < NAME_MAX {
            name.push_str(&written);
        } else {
            name.push(GOES_ON);
            let mut next = String::new();
            write_char(c, true, &mut next);
            names.push(next);
        }
    }
    if topic.is_empty() { EMPTY.into() } else { names.iter().collect() }
}

fn write_char(c: char, is_first: bool, out: &mut String) {
    let is_safe = match c {
        // Hidden files, `..`, and what looks like an option.
        '.' | '-' => !is_first,
        '_' | '+' | '=' | '@' | ',' => true,
        c => c.is_ascii_alphanumeric() || !c.is_ascii(),
    };
    if is_safe {
        out.push(c);
    } else {
        debug_assert!(c.is_ascii(), "the others are kept");
        out.push_str(&format!("%{:02X}", c as u32));
    }
}

/// Whether a folder holds the rest of its topic's name.
pub fn goes_on(name: &str) -> bool {
    name.ends_with(GOES_ON)
}

/// The topic whose folder this is; none if it is not one that [`folder`] gives.
pub fn topic(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    if path != Path::new(EMPTY) {
        for (at, part) in path.iter().enumerate() {
            let name = part.to_str()?;
            let is_last = at + 1 == path.iter().count();
            let name = if is_last { name } else { name.strip_suffix(GOES_ON)? };
            read_name(name, &mut bytes)?;
        }
    }
    let topic = String::from_utf8(bytes).ok()?;
    // So that there is one folder a topic, not several ways to write it.
    (folder(&topic) == path).then_some(topic)
}

fn read_name(name: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut parts = name.split('%');
    out.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        out.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn safe_topics_are_their_own_names() {
        for (topic, expected) in [
            ("orders.eu", "orders.eu"),
            ("größe.東京", "größe.東京"),
            ("a-b_c+d=e@f,g", "a-b_c+d=e@f,g"),
            ("", "%empty"),
            ("a/b", "a%2Fb"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("-rf", "%2Drf"),
            ("100%", "100%25"),
            ("a*b>c|d:e\\f\"g", "a%2Ab%3Ec%7Cd%3Ae%5Cf%22g"),
        ] {
            assert_eq!(folder(topic), Path::new(expected));
            assert_eq!(super::topic(Path::new(expected)).as_deref(), Some(topic));
        }
    }

    #[test]
    fn a_long_name_goes_on_inside() {
        for (topic, depth) in
            [("x".repeat(254), 1), ("x".repeat(255), 2), ("/".repeat(255), 4), ("東".repeat(85), 2)]
        {
            let path = folder(&topic);
            assert_eq!(path.iter().count(), depth, "{topic}");
            assert_eq!(super::topic(&path), Some(topic));
        }
        // The dot that begins the second name would hide it.
        let topic = format!("{}.b", "x".repeat(254));
        assert_eq!(folder(&topic), Path::new(&format!("{}%", "x".repeat(254))).join("%2Eb"));
    }

    #[test]
    fn other_names_are_no_topics() {
        for name in ["a%2", "a%2f", "a%41", "%zz", "a%", "%", ".lock", "-a", "a b", "a/b", "%empty%", "%C3"] {
            assert_eq!(topic(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn files() {
        let base = Stamp(1_785_233_730_123_456_789);
        for holds in Holds::ALL {
            let path = file(Path::new("a.b"), base, holds);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(read_file(name), Some((base, holds)), "{name}");
        }
        let path = file(Path::new("a.b"), base, Holds::Frames);
        assert_eq!(path, Path::new("a.b/20260728T101530.123456789Z.frames"));
        for name in ["", ".frames", "x.frames", "20260728T101530.123456789Z", "20260728T101530.123456789Z.f"]
        {
            assert_eq!(read_file(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_topic_has_a_folder_of_its_own(topic in "\\PC{0,255}", other in "\\PC{0,3}") {
            let path = folder(&topic);
            for name in path.iter() {
                let name = name.to_str().unwrap();
                prop_assert!(!name.is_empty() && name.len() <= NAME_MAX && !name.starts_with(['.', '-']));
                prop_assert!(!name.contains(['/', '\0']));
            }
            prop_assert_eq!(super::topic(&path), Some(topic.clone()));
            prop_assert_eq!(folder(&other) == path, other == topic);
        }
    }
}
