//! `framegate verify --repair`: frames that lie in another topic's folder are put where they belong.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::Failure;
use crate::core::units::many;
use crate::sinks::store::names::{Holds, file};
use crate::sinks::store::repair::repair as move_frames;
use crate::sinks::store::{Disk, Keys, Lock, Stamp, finish_open, is_store};

/// Frames that were moved from one topic's folder to that of another.
#[derive(Debug, Serialize)]
pub struct Moved {
    /// The topic in whose folder they lay.
    pub from: String,
    /// Their own.
    pub to: String,
    /// How many.
    pub frames: u64,
}

/// A segment that was left as it is.
#[derive(Debug, Serialize)]
pub struct Left {
    /// Where it lies.
    pub file: String,
    /// Why.
    pub why: String,
    /// Frames of its topic that belong there, and stay in the folders of other topics.
    pub frames: u64,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Left { file, why, frames } = self;
        write!(f, "left {file} as it is: {why}")?;
        if *frames > 0 {
            let frames = many(*frames, "frame");
            write!(
                f,
                ": {frames} that would go there not moved; restore the file or move it away, and repair once more"
            )?;
        }
        Ok(())
    }
}

/// Repairs a store that no gateway uses; what was moved, and what was left as it is.
pub fn repair(store: &Path, keys: &Keys) -> Result<(Vec<Moved>, Vec<Left>), Failure> {
    let shown = store.display();
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("--repair {shown}: {why}"));
    if !is_store(store) {
        return Err(wrong(&"this is no store: give the folder of a gateway's --store"));
    }
    let lock =
        Lock::take(store).map_err(|why| wrong(&format_args!("{why}: run it as the gateway's user")))?;
    // Held until all is done.
    let _lock = lock.ok_or_else(|| wrong(&"a gateway stores there: stop it first"))?;
    let mut disk = Disk::new(store);
    let failed = |why: &dyn std::fmt::Display| Failure {
        exit: super::Exit::Partly,
        message: format!("--repair {shown}: {why}: mend that and run it again, it goes on where it was"),
    };
    // What a crash left open is finished first, as a gateway does.
    let (_, schemes, _) =
        finish_open(&mut disk, keys, Stamp::at(SystemTime::now())).map_err(|why| failed(&why))?;
    let repaired = move_frames(&mut disk, keys, &schemes).map_err(|why| failed(&why))?;
    let moved = repaired.moved.into_iter().map(|((from, to), frames)| Moved { from, to, frames });
    let left = repaired.left.into_iter().map(|((folder, base), left)| Left {
        file: store.join(file(&folder, base, Holds::Frames)).display().to_string(),
        why: left.why,
        frames: left.frames,
    });
    Ok((moved.collect(), left.collect()))
}
