//! What a running gateway reads again: the access file. All of it is read and checked first, and if anything is wrong, what
//! was in force stays so.
//!
//! It is read when someone asks (`ctl reload`, HUP), and when it changes: the folder that it is in is watched, since an editor
//! puts another file in its place, and Kubernetes another link. What is written in the middle of a line is no change: a file
//! counts when it was closed, or renamed into the folder. Where the system tells nothing of that (other than Linux), the file
//! is read when someone asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use parking_lot::Mutex;

use super::{Failure, access, spawn};
use crate::admin::{Reload, ReloadError};
use crate::gateway::AccessFile;
use crate::gateway::control::{Answer, Command, Control, Reviewed};
use crate::tools::post::events::{Event, Events};

/// 100 ms in which nothing more happens in the folder: then all that belongs to a change has.
const SETTLE: Duration = Duration::from_millis(100);

/// 1 minute between two looks where nothing is told.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The access file at a path.
pub fn read_access(path: &Path) -> Result<AccessFile, Failure> {
    Ok(AccessFile { path: path.into(), access: Arc::new(access::load(path)?) })
}

/// What is read again, and the gateway that is told.
pub struct Reloader {
    access: Option<PathBuf>,
    control: Control,
    /// One after the other: the file that was read last is in force last.
    turn: Mutex<()>,
}

impl Reloader {
    /// Of a gateway that was started with this access file, if with one.
    pub fn new(access: Option<PathBuf>, control: Control) -> Reloader {
        Reloader { access, control, turn: Mutex::new(()) }
    }

    /// Reads everything again and does not wait for what comes of it, which is in the log.
    pub fn begin(&self, why: &str) {
        match self.reload() {
            Ok(_) => log::info!("{why}: the access file was read again"),
            Err(nothing @ ReloadError::Nothing) => log::info!("{why}: {nothing}"),
            Err(wrong) => log::error!("{why}: {wrong}"),
        }
    }

    /// Reads the files again when they change, from now on.
    pub fn watch(self: &Arc<Self>) -> Result<(), Failure> {
        let Some(path) = self.access.clone() else { return Ok(()) };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let events = match Events::of(&folder) {
            Ok(events) => events,
            Err(why) => {
                log::warn!(
                    "cannot watch {}: {why}: HUP and ctl reload read the access file again",
                    folder.display()
                );
                return Ok(());
            }
        };
        let reloader = self.clone();
        spawn("reload", move || reloader.watch_on(&path, &folder, events))
    }

    fn watch_on(&self, path: &Path, folder: &Path, mut events: Events) {
        let mut known = std::fs::read(path).ok();
        loop {
            events.wait(LOOK_EVERY);
            let mut happened = Vec::new();
            loop {
                let more = events.at_hand();
                if more.is_empty() {
                    break;
                }
                happened.extend(more);
                events.wait(SETTLE);
            }
            // A file that is being written is looked at when it is closed.
            if happened.iter().all(|event| matches!(event, Event::Created(_) | Event::Written(_))) {
                continue;
            }
            if happened.iter().any(|event| matches!(event, Event::Moved | Event::Over)) {
                // The path may lead to another folder now.
                if let Ok(anew) = Events::of(folder) {
                    events = anew;
                }
            }
            let now = std::fs::read(path).ok();
            if now.is_some() && now != known {
                known = now;
                self.begin("the access file has changed");
            }
        }
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Result<Receiver<Reviewed>, ReloadError> {
        let path = self.access.as_deref().ok_or(ReloadError::Nothing)?;
        let _turn = self.turn.lock();
        let file = read_access(path).map_err(|wrong| ReloadError::Wrong(wrong.message))?;
        let (answer, reviewed) = Answer::new();
        self.control.send(Command::Access(file.access, answer)).map_err(ReloadError::Unanswered)?;
        Ok(reviewed)
    }
}
