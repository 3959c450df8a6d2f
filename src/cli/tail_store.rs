//! `framegate tail --store`: prints what is stored.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{self, Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use super::frame_line::FramePrinter;
use super::stdout_reader::when_reader_gone;
use super::tail::{OUTPUT, Tail};
use super::{Exit, Failure, Time, complain, signals};
use crate::sinks::store::{Keys, Looks, Reader, Run, Scan, Stamp, Stop};

/// 100 ms between two looks for what was stored: watching every folder of a large store would take
/// more of the system than looking.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A tenth of the time is enough to look, however large the store is.
const LOOK_SHARE: u32 = 10;

/// 1 s: what was stored so lately may not be all that was stored until then.
const SETTLED: Duration = Duration::from_secs(1);

/// An instant: so long ago, or by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// By the calendar.
    At(SystemTime),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(Time(time)) = text.parse() {
            return Ok(Since::Ago(time));
        }
        let wrong =
            || format!("invalid time '{text}': expected 5m (that long ago) or 2026-07-28T10:15:30Z (in UTC)");
        humantime::parse_rfc3339_weak(text.trim()).map(Since::At).map_err(|_| wrong())
    }
}

impl Since {
    fn stamp(self, now: SystemTime) -> Stamp {
        match self {
            Since::Ago(time) => now.checked_sub(time).map_or(Stamp(0), Stamp::at),
            Since::At(at) => Stamp::at(at),
        }
    }
}

/// Why printing ends.
enum End {
    /// As many as were asked for, or nobody reads them any more.
    Done,
    /// A signal.
    Signalled,
}

impl Tail {
    /// Prints what lies in `store` until its end, or with `--follow` until told otherwise.
    pub(super) fn print_stored(&self, store: &Path, keys: &Keys) -> Result<Exit, Failure> {
        let everything = [">".to_string()];
        let patterns = if self.patterns.is_empty() { &everything[..] } else { &self.patterns };
        let now = SystemTime::now();
        let since = self.since.map_or(Stamp(0), |since| since.stamp(now));
        let until = self.follow.then(|| Stamp::at(now - SETTLED));
        // A topic is a file or two while it is read.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let wrong = |why: &dyn Display| Failure::usage(format!("--store {}: {why}", store.display()));
        let cannot = |why: io::Error| wrong(&format_args!("{why}: give the folder of a gateway's --store"));
        match Looks::at(store).map_err(cannot)? {
            Looks::Store => {}
            Looks::Empty if self.follow => {
                log::warn!("{} is empty: waiting for a gateway that stores there", store.display());
            }
            Looks::Empty => {
                return Err(wrong(
                    &"it is empty, no gateway has stored there yet: start one with that --store, wait for it with \
                      --follow, or give another folder",
                ));
            }
            Looks::Topic(whole) => {
                return Err(wrong(&format_args!(
                    "it is the folder of one topic: give --store {} and the topic as the pattern",
                    whole.display()
                )));
            }
            Looks::Other => {
                return Err(wrong(&"no gateway has stored there: give the folder of a gateway's --store"));
            }
        }
        let reader = Reader::new(store, patterns, since, until).map_err(cannot)?;
        let reader_since = reader.since();
        let (stop, stopped) = channel::bounded::<()>(0);
        let stop = Arc::new(Mutex::new(Some(stop)));
        let is_unread = Arc::new(AtomicBool::new(false));
        if self.follow {
            let (stop, is_unread) = (stop.clone(), is_unread.clone());
            when_reader_gone(move || {
                is_unread.store(true, Relaxed);
                stop.lock().take();
            })?;
        }
        signals::on_signal(move || drop(stop.lock().take()))?;
        let mut printing = Printing {
            reader,
            since: reader_since,
            keys,
            scan: Scan::new(keys.given(), 0),
            left_out: None,
            printer: self.printer(),
            out: BufWriter::with_capacity(OUTPUT, io::stdout().lock()),
            left: self.count.unwrap_or(u64::MAX),
            bad: 0,
            stopped,
        };
        let end = printing.run(self.follow);
        let end = end.and_then(|end| printing.out.flush().map(|()| end));
        let exit = if printing.bad > 0 { Exit::Partly } else { Exit::Done };
        match end {
            Ok(End::Done) => Ok(exit),
            // `tail | head -1` is no failure, and neither is it when nothing more comes.
            Ok(End::Signalled) if is_unread.load(Relaxed) => Ok(exit),
            Ok(End::Signalled) => Ok(Exit::Signalled),
            Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(exit),
            Err(why) => Err(Failure { exit: Exit::Partly, message: why.to_string() }),
        }
    }
}

struct Printing<'a, W> {
    reader: Reader,
    since: Stamp,
    keys: &'a Keys,
    scan: Scan<'a>,
    /// The segment that was left out last.
    left_out: Option<PathBuf>,
    printer: FramePrinter,
    out: W,
    left: u64,
    bad: u64,
    stopped: Receiver<()>,
}

impl<W: Write> Printing<'_, W> {
    fn run(&mut self, follow: bool) -> io::Result<End> {
        loop {
            while let Some(run) = self.reader.next_run()? {
                self.print(run)?;
                if self.left == 0 {
                    return Ok(End::Done);
                }
                if self.stopped.try_recv() == Err(channel::TryRecvError::Disconnected) {
                    return Ok(End::Signalled);
                }
            }
            if !follow {
                return Ok(End::Done);
            }
            // Nothing is at hand: a reader sees what there is.
            self.out.flush()?;
            let began = Instant::now();
            self.reader.look()?;
            let pause = LOOK_EVERY.max(began.elapsed() * LOOK_SHARE);
            if self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return Ok(End::Signalled);
            }
        }
    }

    fn print(&mut self, mut run: Run) -> io::Result<()> {
        let judges = match self.keys.judges(run.mark) {
            Ok(judges) => judges,
            Err(missing) => {
                if self.left_out.as_ref() != Some(&run.path) {
                    self.bad += 1;
                    let path = run.path.display();
                    complain(&format_args!(
                        "{path}: {missing}: it is left out; give that secret with one more --secret-file"
                    ));
                    self.left_out = Some(run.path);
                }
                return Ok(());
            }
        };
        self.scan.restart(judges, run.from);
        for stamp in run.first.0.. {
            if self.left == 0 {
                break;
            }
            match self.scan.next(|bytes| run.read(bytes)) {
                Ok(None) => break,
                Ok(Some(_)) if stamp < self.since.0 => {}
                Ok(Some(frame)) => {
                    self.printer.frame(&frame, &mut self.out)?;
                    self.left -= 1;
                }
                Err(Stop::Read(why)) => {
                    let what = format!("cannot read {}: {why}", run.path.display());
                    return Err(io::Error::new(why.kind(), what));
                }
                Err(Stop::Flaw(flaw)) => {
                    self.bad += 1;
                    complain(&format_args!(
                        "{}: {flaw}: what follows it there is left out",
                        run.path.display()
                    ));
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (text, seconds) in [
            ("0", 1_000_000_000),
            ("5m", 999_999_700),
            ("1.5", 999_999_998),
            ("2001-09-09T01:46:39Z", 999_999_999),
            ("2001-09-09 01:46:39", 999_999_999),
            ("100y", 0),
        ] {
            let stamp = text.parse::<Since>().unwrap().stamp(now);
            assert_eq!(stamp.0 / 1_000_000_000, seconds, "{text}");
        }
        let wrong = "yesterday".parse::<Since>().unwrap_err();
        assert!(wrong.contains("5m (that long ago)"), "{wrong}");
    }
}
