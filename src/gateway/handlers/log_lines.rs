//! What handlers write to their standard error, line by line in the log.
//!
//! It is text of somebody else: control characters are shown and not obeyed, long lines are cut, and of more lines than
//! anybody reads the rest is counted. It is read all the same, so that the handler does not wait for its log.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::limits::{LOG_LINE, LOG_TURN};
use crate::core::memory::{Charge, Memory, Share};
use crate::core::units::plain;
use crate::runtime::net::Process;

/// The lines of one process.
#[derive(Debug, Default)]
pub struct LogLines {
    /// The beginning of a line.
    line: Vec<u8>,
    /// The rest of the line is left out.
    skip: bool,
    /// The last whole line.
    last: Option<String>,
    /// What the two take.
    charge: Option<Charge>,
    /// Since when lines are counted, how many were logged since then, and how many were left out.
    since: Option<Instant>,
    logged: usize,
    left_out: u64,
}

/// 1,000 lines of a handler in 10 s are logged; further ones are counted.
const LOG_LINES: usize = 1000;
/// See [`LOG_LINES`].
const LOG_LINES_EVERY: Duration = Duration::from_secs(10);

/// What a pipe holds at most, as a user may set it: after so much, another process writes.
const LAST_READS: usize = 16;

/// Where lines come from, and when.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// The handler's number.
    pub number: usize,
    pub now: Instant,
    pub memory: &'a Arc<Memory>,
}

impl LogLines {
    /// Logs all that a process has written that ends, and gives its last line.
    pub fn read_last<H: Process>(
        &mut self,
        process: &mut H,
        about: About<'_>,
        scratch: &mut [u8],
    ) -> Option<String> {
        for _ in 0..LAST_READS {
            if !self.read(process, about, scratch) {
                break;
            }
        }
        self.say_left_out(about);
        self.last.take()
    }

    /// Logs what the process has written, so much a turn. Whether there may be more.
    pub fn read<H: Process>(&mut self, process: &mut H, about: About<'_>, scratch: &mut [u8]) -> bool {
        let mut left = LOG_TURN;
        while left > 0 {
            let wanted = scratch.len().min(left);
            match process.read_log(&mut scratch[..wanted]) {
                Ok(0) => {
                    self.take(b"\n", about);
                    return false;
                }
                Ok(n) => {
                    self.take(&scratch[..n], about);
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => {
                    log::debug!("the log of handler {}: {error}", about.number);
                    return false;
                }
            }
        }
        true
    }

    /// Bytes that are charged for what is kept.
    #[cfg(any(test, feature = "check"))]
    pub fn charged(&self) -> usize {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }

    fn take(&mut self, bytes: &[u8], about: About<'_>) {
        self.cut(bytes, about, |line| log::info!("handler {}: {line}", about.number));
        let kept = self.line.capacity() + self.last.as_ref().map_or(0, String::capacity);
        self.charge.get_or_insert_with(|| about.memory.charge(Share::Small, 0)).resize(kept);
    }

    fn cut(&mut self, mut bytes: &[u8], about: About<'_>, mut say: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = LOG_LINE - self.line.len();
            if !self.skip {
                self.line.extend_from_slice(&part[..part.len().min(room)]);
                self.skip = part.len() > room;
            }
            let Some(end) = end else { break };
            if !self.line.is_empty() {
                let line = String::from_utf8_lossy(&self.line);
                let mut shown = plain(&line.trim_end().replace('\t', "    "));
                shown.truncate(shown.floor_char_boundary(LOG_LINE));
                if self.is_counted(about) {
                    say(&shown);
                }
                self.last = Some(shown);
            }
            self.line.clear();
            self.skip = false;
            bytes = &bytes[end + 1..];
        }
    }

    /// Whether one more line may be logged.
    fn is_counted(&mut self, about: About<'_>) -> bool {
        if self.since.is_none_or(|since| about.now.saturating_duration_since(since) >= LOG_LINES_EVERY) {
            self.say_left_out(about);
            (self.since, self.logged) = (Some(about.now), 0);
        }
        let is_logged = self.logged < LOG_LINES;
        self.logged += usize::from(is_logged);
        self.left_out += u64::from(!is_logged);
        is_logged
    }

    /// Says how many lines were left out lately.
    pub fn say_left_out(&mut self, about: About<'_>) {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            more => log::warn!(
                "handler {} logged {more} lines more than {LOG_LINES} in {LOG_LINES_EVERY:?}: they are left out",
                about.number
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &mut LogLines, bytes: &[u8], now: Instant) -> Vec<String> {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let mut lines = Vec::new();
        log.cut(bytes, About { number: 1, now, memory: &memory }, |line| lines.push(line.to_string()));
        lines
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let (mut log, now) = (LogLines::default(), Instant::now());
        assert!(lines(&mut log, b"one, ", now).is_empty());
        assert_eq!(lines(&mut log, b"two\r\nthree\n\n\nfo", now), ["one, two", "three"]);
        assert_eq!(lines(&mut log, b"ur\x1b[31m\xff\n", now), ["four\\u{1b}[31m\u{fffd}"]);
        // What would turn a line round in a terminal, and a tab, as traces have it.
        assert_eq!(lines(&mut log, "\u{202e}a\tb\n".as_bytes(), now), ["\\u{202e}a    b"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let (mut log, now) = (LogLines::default(), Instant::now());
        for _ in 0..3 {
            assert!(lines(&mut log, &vec![b'x'; LOG_LINE - 100], now).is_empty());
        }
        let found = lines(&mut log, b"xyz\nnext\n", now);
        assert_eq!((found[0].len(), found[1].as_str()), (LOG_LINE, "next"));
        // Shown, it would be six times as long.
        let found = lines(&mut log, &[&[27; LOG_LINE][..], b"\n"].concat(), now);
        assert!((LOG_LINE - 8..=LOG_LINE).contains(&found[0].len()), "{}", found[0].len());
    }

    #[test]
    fn more_lines_than_anybody_reads_are_counted() {
        let (mut log, now) = (LogLines::default(), Instant::now());
        let flood = b"again\n".repeat(LOG_LINES + 500);
        assert_eq!(lines(&mut log, &flood, now).len(), LOG_LINES);
        assert_eq!((lines(&mut log, &flood, now).len(), log.left_out), (0, LOG_LINES as u64 + 1000));
        let later = now + LOG_LINES_EVERY;
        assert!(lines(&mut log, b"one\n", later - Duration::from_millis(1)).is_empty());
        assert_eq!((lines(&mut log, b"two\n", later), log.left_out), (vec!["two".into()], 0));
        assert_eq!(log.last.as_deref(), Some("two"));
    }
}
