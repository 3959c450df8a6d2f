//! What handlers write to their standard error, line by line in the log.

use std::io::ErrorKind;

use crate::limits::{LOG_LINE, LOG_TURN};
use crate::net::Process;

/// The lines of one process.
#[derive(Debug, Default)]
pub struct LogLines {
    /// The beginning of a line.
    line: Vec<u8>,
    /// The rest of the line is left out.
    skip: bool,
    /// The last whole line.
    last: Option<String>,
}

/// What a pipe holds at most, as a user may set it: after so much, whoever still writes is another.
const LAST_READS: usize = 16;

impl LogLines {
    /// Logs all that a process has written that ends, and gives its last line.
    pub fn read_last<H: Process>(
        &mut self,
        process: &mut H,
        number: usize,
        scratch: &mut [u8],
    ) -> Option<String> {
        for _ in 0..LAST_READS {
            if !self.read(process, number, scratch) {
                break;
            }
        }
        self.last.take()
    }

    /// Logs what the process has written, so much a turn. Whether there may be more.
    pub fn read<H: Process>(&mut self, process: &mut H, number: usize, scratch: &mut [u8]) -> bool {
        let mut left = LOG_TURN;
        while left > 0 {
            let wanted = scratch.len().min(left);
            match process.read_log(&mut scratch[..wanted]) {
                Ok(0) => {
                    self.take(b"\n", |line| say(number, line));
                    return false;
                }
                Ok(n) => {
                    self.take(&scratch[..n], |line| say(number, line));
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => {
                    log::debug!("the log of handler {number}: {error}");
                    return false;
                }
            }
        }
        true
    }

    fn take(&mut self, mut bytes: &[u8], mut say: impl FnMut(&str)) {
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
                // A control character would be obeyed by a terminal.
                let shown: String = line
                    .trim_end()
                    .chars()
                    .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
                    .collect();
                say(&shown);
                self.last = Some(shown);
            }
            self.line.clear();
            self.skip = false;
            bytes = &bytes[end + 1..];
        }
    }
}

fn say(number: usize, line: &str) {
    log::info!("handler {number}: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &mut LogLines, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        log.take(bytes, |line| lines.push(line.to_string()));
        lines
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let mut log = LogLines::default();
        assert!(lines(&mut log, b"one, ").is_empty());
        assert_eq!(lines(&mut log, b"two\r\nthree\n\n\nfo"), ["one, two", "three"]);
        assert_eq!(lines(&mut log, b"ur\x1b[31m\xff\n"), ["four\u{fffd}[31m\u{fffd}"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut log = LogLines::default();
        for _ in 0..3 {
            assert!(lines(&mut log, &vec![b'x'; LOG_LINE - 100]).is_empty());
        }
        let found = lines(&mut log, b"xyz\nnext\n");
        assert_eq!((found[0].len(), found[1].as_str()), (LOG_LINE, "next"));
    }
}
