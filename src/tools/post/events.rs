//! What the system tells of a folder, where it does: inotify on Linux. Elsewhere a folder is looked at now and then.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What happened in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A file of that name is there that was not before; it may be open.
    Created(OsString),
    /// It was written to, and may be again.
    Written(OsString),
    /// It was closed by one who could write, or renamed into the folder.
    Complete(OsString),
    /// More happened at once than the system remembers.
    Lost,
    /// It was moved or removed; what its path leads to is another one, or will be.
    Moved,
    /// Nothing more will be told: it was removed or unmounted.
    Over,
}

#[cfg(target_os = "linux")]
pub(crate) use system::Events;

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::OsStr;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

    use super::{Duration, Event, Path, io};

    /// 16 KiB: some hundred events, so that few calls read them.
    const BUFFER: usize = 16 * 1024;

    /// The events of one folder, whatever path leads to it later.
    pub struct Events(OwnedFd);

    impl Events {
        /// Those of the folder that `path` leads to now.
        pub fn of(path: &Path) -> io::Result<Events> {
            let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let wanted = WatchFlags::CREATE
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVE_SELF
                | WatchFlags::DELETE_SELF
                | WatchFlags::ONLYDIR;
            inotify::add_watch(&events, path, wanted)?;
            Ok(Events(events))
        }

        /// Waits until there are some, but not for longer than `most`.
        pub fn wait(&self, most: Duration) {
            let most = Timespec::try_from(most).expect("a wait is short");
            // A signal ends it early.
            let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&most));
        }

        /// Those that are at hand, in their order.
        pub fn at_hand(&self) -> Vec<Event> {
            let mut buffer = [MaybeUninit::uninit(); BUFFER];
            let mut reader = Reader::new(&self.0, &mut buffer);
            let mut events = Vec::new();
            // It ends when there are no more.
            while let Ok(event) = reader.next() {
                let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                let is = |flags| event.events().intersects(flags);
                events.extend(match name {
                    _ if is(ReadFlags::QUEUE_OVERFLOW) => Some(Event::Lost),
                    _ if is(ReadFlags::IGNORED) => Some(Event::Over),
                    None => is(ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF).then_some(Event::Moved),
                    Some(name) if is(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) => {
                        Some(Event::Complete(name))
                    }
                    Some(name) if is(ReadFlags::MODIFY) => Some(Event::Written(name)),
                    Some(name) => is(ReadFlags::CREATE).then_some(Event::Created(name)),
                });
            }
            events
        }
    }
}

/// The system tells nothing that says when a file is complete.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Events;

#[cfg(not(target_os = "linux"))]
impl Events {
    pub fn of(_: &Path) -> io::Result<Events> {
        Ok(Events)
    }

    pub fn wait(&self, most: Duration) {
        let _ = crossbeam::channel::never::<()>().recv_timeout(most);
    }

    pub fn at_hand(&self) -> Vec<Event> {
        Vec::new()
    }
}
