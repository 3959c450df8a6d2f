//! What a running gateway reads again: the access file, and the certificates, keys, authorities and revocation lists of TLS.
//! All of it is read and checked first, and if anything is wrong, what was in force stays so.
//!
//! It is read when someone asks (`ctl reload`, HUP), and when a file changes: the folders that they are in are watched, since
//! an editor puts another file in its place, and Kubernetes another link. What is written in the middle of a line is no
//! change: a file counts when it was closed, or renamed into the folder. Where the system tells nothing of that (other than
//! Linux), files are read when someone asks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::restart::Started;
use super::tls::TlsPaths;
use super::{Failure, access, spawn};
use crate::admin::{AdminTls, Reload, ReloadError, Reloading};
use crate::core::limits::CERT_WARN;
use crate::core::units::{many, plain};
use crate::gateway::AccessFile;
use crate::gateway::control::{Answer, Command, Control, Reloaded};
use crate::runtime::tls::{ServerTls, Setup};
use crate::tools::post::events::{Event, Events};

/// 100 ms in which nothing more happens in the folder: then all that belongs to a change has.
const SETTLE: Duration = Duration::from_millis(100);

/// 1 minute between two looks where nothing is told.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// 1 day between two lines about a certificate that ends soon.
const DAY: Duration = Duration::from_secs(86_400);

/// The access file at a path.
pub fn read_access(path: &Path) -> Result<AccessFile, Failure> {
    Ok(AccessFile { path: path.into(), access: Arc::new(access::load(path)?) })
}

/// The files that are read again.
#[derive(Debug, Default)]
pub struct Files {
    /// The access file.
    pub access: Option<PathBuf>,
    /// Those of listeners, by their places among all: 0 is the first.
    pub tls: Vec<(usize, TlsPaths)>,
    /// Those of the admin server, and where it gets them.
    pub admin: Option<(Arc<AdminTls>, TlsPaths)>,
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Path> {
        let of_admin = self.admin.iter().map(|(_, paths)| paths);
        let of_tls = self.tls.iter().map(|(_, paths)| paths).chain(of_admin).flat_map(TlsPaths::all);
        self.access.as_deref().into_iter().chain(of_tls)
    }

    fn name(&self) -> &'static str {
        match (self.access.is_some(), self.tls.is_empty() && self.admin.is_none()) {
            (true, true) => "the access file",
            (true, false) => "the access file, certificates and keys",
            (false, _) => "certificates and keys",
        }
    }
}

/// What is read again, and the gateway that is told.
pub struct Reloader {
    files: Files,
    started: Started,
    control: Control,
    /// What the files held when they were read first.
    first: BTreeMap<PathBuf, Content>,
    /// One after the other: the file that was read last is in force last.
    turn: Mutex<()>,
    /// When it was last said that a certificate ends soon.
    said: Mutex<Option<Instant>>,
}

impl Reloader {
    /// Of a gateway that was started with these files.
    pub fn new(files: Files, started: Started, control: Control) -> Reloader {
        let first = files.all().map(|path| (path.to_path_buf(), content(path))).collect();
        Reloader { files, started, control, first, turn: Mutex::new(()), said: Mutex::new(None) }
    }

    /// Reads everything again and does not wait for what comes of it, which is in the log.
    pub fn begin(&self, why: &str) {
        match self.reload() {
            Ok(Reloading { needs_restart, .. }) => {
                if !self.is_nothing() {
                    let were = if self.files.name() == "the access file" { "was" } else { "were" };
                    log::info!("{why}: {} {were} read again", self.files.name());
                }
                if !needs_restart.is_empty() {
                    let names = needs_restart.join(", ");
                    log::warn!(
                        "{why}: changed, and read at the start alone: {names}: restart the gateway for them"
                    );
                }
            }
            Err(nothing @ ReloadError::Nothing) => log::info!("{why}: {nothing}"),
            Err(wrong) => log::error!("{why}: {wrong}"),
        }
    }

    fn is_nothing(&self) -> bool {
        self.files.all().next().is_none()
    }

    /// Reads the files again when they change, from now on.
    pub fn watch(self: &Arc<Self>) -> Result<(), Failure> {
        let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for path in self.files.all() {
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
                _ => PathBuf::from("."),
            };
            let paths = folders.entry(folder).or_default();
            if !paths.iter().any(|known| known == path) {
                paths.push(path.into());
            }
        }
        for (folder, paths) in folders {
            let events = match Events::of(&folder) {
                Ok(events) => events,
                Err(why) => {
                    let (shown, names) = (folder.display(), self.files.name());
                    log::warn!("cannot watch {shown}: {why}: HUP and ctl reload read {names} again");
                    continue;
                }
            };
            let reloader = self.clone();
            spawn("reload", move || reloader.watch_on(&paths, &folder, events))?;
        }
        Ok(())
    }

    fn watch_on(&self, paths: &[PathBuf], folder: &Path, mut events: Events) {
        let contents = || -> Vec<Content> { paths.iter().map(|path| content(path)).collect() };
        // What changed since they were read is told by nobody.
        let mut known: Vec<Content> =
            paths.iter().map(|path| self.first.get(path).copied().flatten()).collect();
        let mut is_first = true;
        loop {
            self.say_what_ends();
            if !is_first {
                events.wait(LOOK_EVERY);
            }
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
            if !std::mem::take(&mut is_first)
                && happened.iter().all(|event| matches!(event, Event::Created(_) | Event::Written(_)))
                && !happened.iter().any(|event| is_link(folder, event))
            {
                continue;
            }
            if happened.iter().any(|event| matches!(event, Event::Moved | Event::Over)) {
                // The path may lead to another folder now.
                if let Ok(anew) = Events::of(folder) {
                    events = anew;
                }
            }
            let now = contents();
            if now.iter().all(Option::is_some) && now != known {
                known = now;
                let what = if self.files.name() == "the access file" {
                    "the access file has changed"
                } else {
                    "a file has changed"
                };
                self.begin(what);
            }
        }
    }

    /// Says once a day which certificates end soon.
    fn say_what_ends(&self) {
        let mut said = self.said.lock();
        if said.is_some_and(|at| at.elapsed() < DAY) {
            return;
        }
        *said = Some(Instant::now());
        for (path, until) in self.ends() {
            say_end(&path, until, SystemTime::now());
        }
    }

    /// When the certificates of the files end, as far as they can be read.
    fn ends(&self) -> Vec<(PathBuf, SystemTime)> {
        let of_admin = self.files.admin.iter().map(|(_, paths)| paths);
        let mut ends: Vec<(PathBuf, SystemTime)> = Vec::new();
        for paths in self.files.tls.iter().map(|(_, paths)| paths).chain(of_admin) {
            if ends.iter().all(|(path, _)| *path != paths.cert)
                && let Some(until) = std::fs::read(&paths.cert).ok().and_then(|text| ServerTls::ends(&text))
            {
                ends.push((paths.cert.clone(), until));
            }
        }
        ends
    }
}

/// The digest of what a file holds; none where it cannot be read.
type Content = Option<[u8; 32]>;

fn content(path: &Path) -> Content {
    std::fs::read(path).ok().map(|bytes| Sha256::digest(bytes).into())
}

/// A link that was made in a folder is whole at once.
fn is_link(folder: &Path, event: &Event) -> bool {
    let Event::Created(name) = event else { return false };
    std::fs::symlink_metadata(folder.join(name)).is_ok_and(|metadata| metadata.is_symlink())
}

/// For how long a certificate is valid still; a warning where that is not for long.
fn say_end(path: &Path, until: SystemTime, now: SystemTime) {
    let (shown, at) = (path.display().to_string(), humantime::format_rfc3339_seconds(until));
    let shown = plain(&shown);
    match until.duration_since(now) {
        Err(_) => {
            log::error!("the certificate in {shown} has expired at {at}: nobody connects any more: renew it")
        }
        Ok(left) if left <= CERT_WARN => {
            log::warn!("the certificate in {shown} ends in {}, at {at}: renew it", days(left));
        }
        Ok(left) => log::info!("the certificate in {shown} is valid for {}", days(left)),
    }
}

fn days(left: Duration) -> String {
    many(left.as_secs() / DAY.as_secs(), "day")
}

impl Reload for Reloader {
    fn reload(&self) -> Result<Reloading, ReloadError> {
        if self.is_nothing() && !self.started.is_of_file() {
            return Err(ReloadError::Nothing);
        }
        let wrong = |wrong: Failure| ReloadError::Wrong(wrong.message);
        let _turn = self.turn.lock();
        let needs_restart = self.started.changed().map_err(wrong)?;
        let access = self.files.access.as_deref().map(read_access).transpose().map_err(wrong)?;
        let mut tls: Vec<(usize, Arc<dyn Setup>)> = Vec::new();
        for (listener, paths) in &self.files.tls {
            tls.push((*listener, paths.load().map_err(wrong)?));
        }
        let of_admin = match &self.files.admin {
            None => None,
            Some((admin, paths)) => Some((admin, paths.load().map_err(wrong)?)),
        };
        let (answer, reviewed) = Answer::new();
        let reloaded = Reloaded { access: access.map(|file| file.access), tls };
        self.control.send(Command::Reload(reloaded, answer)).map_err(ReloadError::Unanswered)?;
        if let Some((admin, setup)) = of_admin {
            admin.replace(setup);
        }
        *self.said.lock() = None;
        if !self.files.tls.is_empty() || self.files.admin.is_some() {
            self.say_what_ends();
        }
        Ok(Reloading { reviewed, needs_restart })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_whole_days() {
        assert_eq!(days(Duration::from_secs(86_399)), "0 days");
        assert_eq!(days(Duration::from_secs(86_400)), "1 day");
        assert_eq!(days(CERT_WARN), "30 days");
    }
}
