//! What a running gateway reads again: the access file. All of it is read and checked first, and if anything is wrong, what
//! was in force stays so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::Receiver;
use parking_lot::Mutex;

use super::{Failure, access};
use crate::admin::{Reload, ReloadError};
use crate::gateway::AccessFile;
use crate::gateway::control::{Answer, Command, Control, Reviewed};

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

    /// Reads everything again and waits for nothing: for a signal, which is told what comes of it in the log.
    pub fn on_signal(&self) {
        match self.reload() {
            Ok(_) => log::info!("HUP: the access file was read again"),
            Err(nothing @ ReloadError::Nothing) => log::info!("HUP: {nothing}"),
            Err(wrong) => log::error!("HUP: {wrong}"),
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
