//! How many topics a store may have: each is a folder, and publishers choose them.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::files::Files;
use super::layout;

/// 1 minute between two counts of a store that is full of topics: some may have been taken away.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// The number of topics in a store, and how many there may be.
#[derive(Debug)]
pub struct Topics {
    count: usize,
    max: usize,
    /// When it was counted last, and whether it was said since that there is no room.
    counted: Option<Instant>,
    said: bool,
}

impl Topics {
    /// A store that has so many, and may have so many.
    pub fn new(count: usize, max: usize) -> Topics {
        Topics { count, max, counted: None, said: false }
    }

    /// A topic has a folder; one more, if that is new.
    pub fn add(&mut self, is_new: bool) {
        self.count += usize::from(is_new);
    }

    /// Whether a topic with this folder may be stored: it has one already, or may have one.
    pub fn take<F: Files>(&mut self, files: &mut F, folder: &Path, now: Instant) -> io::Result<bool> {
        if self.count < self.max || files.is_folder(folder)? {
            return Ok(true);
        }
        if self.counted.is_none_or(|at| now.saturating_duration_since(at) >= COUNT_EVERY) {
            (self.counted, self.count) = (Some(now), layout::folders(files)?.len());
        }
        let has_room = self.count < self.max;
        if !has_room && !self.said {
            log::error!(
                "the store has {} topics, as many as --store-topics allows: frames of further ones are REJECTED; raise it, or remove folders that are not needed",
                self.count
            );
        }
        self.said = !has_room;
        Ok(has_room)
    }

    /// Why a frame of a further topic is refused.
    pub fn refusal(&self) -> Box<str> {
        format!("the store has {} topics, as many as --store-topics allows: this one is new", self.count)
            .into()
    }
}
