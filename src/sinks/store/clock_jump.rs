//! A clock that jumps ahead must not make everything old at once.
//!
//! How much time really passes the store knows by the other clock, the one for lengths of time. Where the calendar runs
//! ahead of that, it was set right or set wrong (or the machine slept), and nobody here can tell which. So from then on
//! nothing is removed for its age until as much time has passed as frames are kept: what was stored before is that old
//! by then, whichever clock is right, and what was stored since is judged by the clock of since. A clock that is set back
//! to where it was ends that at once. It is kept in the store, so that a restart does not end it.
//!
//! While no gateway runs nothing counts the time. A start that finds everything too old to be kept takes that for a jump
//! as well: there is no hurry to remove it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::files::{self, Files};
use super::keep::later;
use super::segment_log::Now;
use super::stamp::Stamp;
use crate::core::units::about;

/// In the store's folder, while nothing is removed; no topic's folder is called like this.
const NAME: &str = ".jump";

/// 1 minute: what keeps clocks right corrects less, and nobody keeps frames so exactly.
const BOUND: Duration = Duration::from_secs(60);

/// Watches the calendar, where frames are kept for a time.
#[derive(Debug)]
pub struct Watch {
    keep: Duration,
    /// Both clocks, when they were looked at last.
    last: Now,
    hold: Option<Hold>,
}

/// Nothing is removed.
#[derive(Debug)]
struct Hold {
    /// Until then.
    until: Instant,
    /// Both clocks before the jump, where that is known.
    before: Option<Now>,
    /// When it began and ends, by the calendar that jumped.
    span: Span,
    /// It is kept in the store.
    is_written: bool,
}

/// From when to when nothing is removed, as it is kept in the store.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Stamp,
    until: Stamp,
}

impl Span {
    fn read(bytes: &[u8]) -> Option<Span> {
        let text = String::from_utf8_lossy(bytes);
        let (from, until) = text.trim().split_once(' ')?;
        Some(Span { from: from.parse().ok()?, until: until.parse().ok()? })
    }

    fn write<F: Files>(self, files: &mut F) -> io::Result<()> {
        files::replace(files, Path::new(NAME), format!("{} {}\n", self.from, self.until).as_bytes())
    }
}

/// By how much the calendar is ahead of where it should be by another look at both clocks.
fn ahead(of: Now, now: Now) -> Duration {
    let expected = later(of.stamp, now.instant.saturating_duration_since(of.instant));
    Duration::from_nanos(now.stamp.0.saturating_sub(expected.0))
}

impl Watch {
    /// Begins to watch, in a store whose frames are kept for a time, and what was stored has stamps before `newest`.
    pub fn begin<F: Files>(files: &mut F, keep: Duration, newest: Stamp, now: Now) -> Watch {
        let mut watch = Watch { keep, last: now, hold: None };
        let kept = files::read_all(files, Path::new(NAME)).unwrap_or_else(|why| {
            log::warn!("the store cannot read {NAME}: {why}");
            None
        });
        let span = kept.and_then(|bytes| Span::read(&bytes));
        let left = span.map_or(Duration::ZERO, |span| {
            // Before it, the clock was set back.
            let is_in_it = later(now.stamp, BOUND) >= span.from;
            Duration::from_nanos(if is_in_it { span.until.0.saturating_sub(now.stamp.0) } else { 0 })
                .min(keep)
        });
        if let Some(span) = span.filter(|_| !left.is_zero()) {
            log::warn!(
                "the store removes nothing for {}, since the clock jumped ahead before this start",
                about(left)
            );
            let until = now.instant + left;
            watch.hold = Some(Hold { until, before: None, span, is_written: true });
            return watch;
        }
        if span.is_some() {
            watch.end(files);
        }
        // It may have jumped past the end of that, too.
        if newest > Stamp(0) && now.stamp > later(later(newest, keep), BOUND) {
            let since = Duration::from_nanos(now.stamp.0 - newest.0);
            log::warn!(
                "by the clock the store's newest frame is {} old, and everything in it too old to be kept: in case the clock is wrong, nothing is removed for {}; a clock that is set back ends that, and files that are not wanted can be removed by hand",
                about(since),
                about(keep)
            );
            watch.begin_hold(files, now, None);
        }
        watch
    }

    /// Whether old segments may be removed now. It is to be asked often, so that a jump is seen.
    pub fn may_remove<F: Files>(&mut self, files: &mut F, now: Now) -> bool {
        let jumped = ahead(self.last, now);
        let (before, is_said) = match &self.hold {
            Some(hold) => (hold.before, true),
            None => (Some(self.last), false),
        };
        self.last = now;
        let is_back = |before: Now| ahead(before, now) <= BOUND;
        match &mut self.hold {
            Some(hold) if hold.before.is_some_and(is_back) || later(now.stamp, BOUND) < hold.span.from => {
                log::info!("the clock is set back: the store removes again what is not to be kept");
                self.end(files);
            }
            _ if jumped > BOUND => {
                if !is_said {
                    log::warn!(
                        "the clock jumped ahead by {}: in case it is wrong, the store removes nothing for {}, as long as --store-keep says; a clock that is set back ends that",
                        about(jumped),
                        about(self.keep)
                    );
                }
                self.begin_hold(files, now, before);
            }
            Some(hold) if now.instant >= hold.until => {
                log::info!("the store removes again what is not to be kept");
                self.end(files);
            }
            Some(hold) if !hold.is_written => {
                hold.is_written = hold.span.write(files).is_ok();
            }
            _ => {}
        }
        self.hold.is_none()
    }

    /// Says again that nothing is removed, in a store's folder that was made anew.
    pub fn write<F: Files>(&self, files: &mut F) -> io::Result<()> {
        self.hold.as_ref().map_or(Ok(()), |hold| hold.span.write(files))
    }

    fn begin_hold<F: Files>(&mut self, files: &mut F, now: Now, before: Option<Now>) {
        // A clock that jumps on and then halfway back is still not where it was.
        let from = self.hold.as_ref().map_or(now.stamp, |hold| hold.span.from.min(now.stamp));
        let span = Span { from, until: later(now.stamp, self.keep) };
        let written = span.write(files);
        if let Err(why) = &written {
            log::warn!("the store cannot keep a record of that in {NAME}: {why}; it tries again");
        }
        let until = now.instant + self.keep;
        self.hold = Some(Hold { until, before, span, is_written: written.is_ok() });
    }

    fn end<F: Files>(&mut self, files: &mut F) {
        self.hold = None;
        if let Err(why) = files::remove(files, Path::new(NAME)) {
            log::warn!("the store cannot remove {NAME}: {why}; the next start looks at it again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::store::Disk;

    const KEEP: Duration = Duration::from_secs(7 * 86_400);
    const DAY: u64 = 86_400;
    const YEAR: u64 = 365 * DAY;

    /// Both clocks after so many seconds, the calendar ahead of the other by some.
    fn at(begun: Instant, seconds: u64, ahead: u64) -> Now {
        let stamp = Stamp(1_000_000_000 * (1_700_000_000 + seconds + ahead));
        Now { stamp, instant: begun + Duration::from_secs(seconds) }
    }

    #[test]
    fn a_jump_removes_nothing_until_everything_of_before_is_really_old() {
        let (folder, begun) = (tempfile::tempdir().unwrap(), Instant::now());
        let disk = &mut Disk::new(folder.path());
        let kept = || folder.path().join(NAME).exists();
        let mut watch = Watch::begin(disk, KEEP, Stamp(0), at(begun, 0, 0));
        let mut ask = |seconds, ahead| watch.may_remove(disk, at(begun, seconds, ahead));
        assert!(ask(5, 0) && ask(DAY, 59) && ask(2 * DAY, 0), "clocks are set by a minute all the time");
        assert!(!ask(2 * DAY + 5, YEAR) && kept());
        assert!(!ask(3 * DAY, YEAR));
        // Further on: all of it begins anew.
        assert!(!ask(3 * DAY + 5, 2 * YEAR));
        assert!(!ask(10 * DAY + 4, 2 * YEAR) && kept());
        assert!(ask(10 * DAY + 5, 2 * YEAR) && !kept());
        assert!(ask(11 * DAY, 2 * YEAR), "the clock was right");
        // One that is set back to where it was.
        assert!(!ask(11 * DAY + 5, 3 * YEAR) && !ask(12 * DAY, 3 * YEAR) && kept());
        assert!(ask(12 * DAY + 5, 2 * YEAR) && !kept());
        // Halfway back is not back.
        assert!(!ask(12 * DAY + 6, 3 * YEAR) && !ask(12 * DAY + 7, 5 * YEAR) && !ask(12 * DAY + 8, 4 * YEAR));
        // Or further back: nothing is old then.
        assert!(!ask(12 * DAY + 9, 3 * YEAR) && ask(12 * DAY + 10, 0) && !kept());
    }

    #[test]
    fn a_restart_does_not_end_it_and_a_start_may_begin_it() {
        let (folder, begun) = (tempfile::tempdir().unwrap(), Instant::now());
        let disk = &mut Disk::new(folder.path());
        let newest = at(begun, 10, 0).stamp;
        let mut watch = Watch::begin(disk, KEEP, newest, at(begun, 10, 0));
        assert!(watch.may_remove(disk, at(begun, 15, 0)) && !watch.may_remove(disk, at(begun, 20, YEAR)));
        // Frames came since then, so nothing else shows that the clock jumped.
        let newest = at(begun, 30, YEAR).stamp;
        for (day, ahead, may) in [(1, YEAR, false), (6, YEAR, false), (8, YEAR, true)] {
            let now = at(begun, day * DAY, ahead);
            let newest = Stamp(newest.0.max(now.stamp.0 - 1_000_000_000));
            assert_eq!(Watch::begin(disk, KEEP, newest, now).may_remove(disk, now), may, "day {day}");
        }
        assert!(!folder.path().join(NAME).exists());
        // Nobody knows what a clock did meanwhile.
        for (day, ahead, may) in [(7, 0, true), (8, 0, false), (9, 0, false), (16, 0, false)] {
            let now = at(begun, day * DAY, ahead);
            let watch = &mut Watch::begin(disk, KEEP, at(begun, 0, 0).stamp, now);
            assert_eq!(watch.may_remove(disk, now), may, "day {day}");
        }
        // It was wrong, and is set right before the next start.
        let now = at(begun, 0, YEAR);
        assert!(!Watch::begin(disk, KEEP, at(begun, 0, 0).stamp, now).may_remove(disk, now));
        let now = at(begun, 100, 0);
        assert!(Watch::begin(disk, KEEP, at(begun, 0, YEAR).stamp, now).may_remove(disk, now));
        assert!(!folder.path().join(NAME).exists());
    }
}
