//! Waits that end to the microsecond.
//!
//! Linux rounds the timeout of its poll up to whole milliseconds; a timer among the sockets ends it in
//! time. Elsewhere the poll's own timeout is finer.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

#[cfg(target_os = "linux")]
pub(super) struct Timer(std::os::fd::OwnedFd);

#[cfg(not(target_os = "linux"))]
pub(super) struct Timer;

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer whose end is an event under `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = mio::unix::SourceFd(&timer.as_raw_fd());
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Timer(timer))
    }

    /// Ends the next wait after `timeout`. Setting it again forgets what it was set to before.
    pub fn set(&self, timeout: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        if timeout.is_zero() {
            // The poll does not wait at all; zero would disarm the timer.
            return Ok(());
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Longer than the system can say is for ever, and the poll's own timeout ends it.
        let Ok(in_time) = Timespec::try_from(timeout) else { return Ok(()) };
        let once = Itimerspec { it_interval: never, it_value: in_time };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub fn new(_: &Registry, _: Token) -> io::Result<Timer> {
        Ok(Timer)
    }

    pub fn set(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}
