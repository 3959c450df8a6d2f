//! When nobody reads standard output any more: `tail | head -1` on a quiet topic would notice that with its next line
//! alone, which may never come.

use super::{Failure, spawn};

/// Calls `gone` from a thread of its own when the reader of standard output has gone, where that is a pipe, a socket
/// or a terminal.
#[cfg(unix)]
pub fn when_reader_gone(gone: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;

    spawn("unread", move || {
        let stdout = std::io::stdout();
        // Nothing is asked for: errors and hang-ups are told in any case.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        loop {
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return gone(),
                // Something that cannot be waited for; a write will tell.
                _ => return,
            }
        }
    })
}

#[cfg(not(unix))]
pub fn when_reader_gone(_: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    Ok(())
}
