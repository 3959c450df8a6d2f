//! Lines of text.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use super::walk::{Found, Visit};
use super::{Cut, Flaw, LeftOut};

/// What some programs put before a text to say that it is UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Lines are numbered from 1, blank ones too, which are left out unless they are to be kept. What ends a line, a
/// CR before it included, is none of it.
pub(super) fn walk(
    before: &str,
    mut read: impl BufRead,
    max: usize,
    keep_blank: bool,
    visit: Visit<'_>,
) -> io::Result<ControlFlow<()>> {
    for number in 1u64.. {
        let name = format!("{before}line {number}");
        let mut line = Vec::new();
        // One byte more than allowed, the mark before the first line and what ends it.
        if let Err(why) = (&mut read).take(max as u64 + 6).read_until(b'\n', &mut line) {
            // Of a line that is not whole nobody knows what it would have been.
            if !line.is_empty() && visit(&name, Found::Flawed(Flaw::Incomplete(why.to_string()))).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            return Err(why);
        }
        if line.is_empty() {
            break;
        }
        let is_ended = line.pop_if(|last| *last == b'\n').is_some();
        if is_ended {
            line.pop_if(|last| *last == b'\r');
        }
        if number == 1 && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        let found = if line.len() > max {
            if !is_ended {
                read.skip_until(b'\n')?;
            }
            Found::Flawed(Flaw::TooLarge(max))
        } else if line.trim_ascii().is_empty() && !keep_blank {
            Found::LeftOut(LeftOut::Blank)
        } else if line.contains(&0) || str::from_utf8(&line).is_err() {
            Found::Flawed(Flaw::NotText)
        } else {
            line.shrink_to_fit();
            Found::Record(Cut::Line, line)
        };
        if visit(&name, found).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
