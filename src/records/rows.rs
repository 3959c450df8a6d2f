//! Rows of a table with a header, each as a JSON object of strings.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use csv::{ByteRecord, ReaderBuilder};
use serde::Serializer;

use super::walk::Visit;
use super::{Cut, Flaw};

/// 8 KiB that the table's reader takes at once.
const BLOCK: usize = 8 * 1024;

/// Rows are numbered from 1; the header is none. A quote that is never closed makes the rest of the table one
/// row: where that becomes too large, the table cannot be read on.
pub(super) fn walk(
    before: &str,
    read: impl BufRead,
    max: usize,
    visit: Visit<'_>,
) -> io::Result<ControlFlow<()>> {
    let left = Cell::new(0);
    let bounded = Bounded { read, left: &left };
    let mut table =
        ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(BLOCK).from_reader(bounded);
    // What it has read ahead belongs to the next row already; and the largest row may be written in quotes
    // that are doubled.
    let allowance = 2 * max + 2 * BLOCK;
    let (mut header, mut row) = (ByteRecord::new(), ByteRecord::new());
    left.set(allowance);
    if !table.read_byte_record(&mut header).map_err(unwrapped)? {
        return Ok(ControlFlow::Continue(()));
    }
    let Some(names) = header.iter().map(|name| str::from_utf8(name).ok()).collect::<Option<Vec<_>>>() else {
        return Ok(visit(Cut::Row, &format!("{before}header"), Err(Flaw::NotText)));
    };
    // What some programs put before the first name to say that it is UTF-8.
    let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches('\u{feff}')).collect();
    for number in 1u64.. {
        left.set(allowance);
        if !table.read_byte_record(&mut row).map_err(unwrapped)? {
            break;
        }
        let object = object(&names, &row).and_then(|json| match json.len() > max {
            true => Err(Flaw::TooLarge(max)),
            false => Ok(json),
        });
        if visit(Cut::Row, &format!("{before}row {number}"), object).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn object(names: &[&str], row: &ByteRecord) -> Result<Vec<u8>, Flaw> {
    if row.len() != names.len() {
        return Err(Flaw::Fields { expected: names.len(), got: row.len() });
    }
    let values: Option<Vec<&str>> = row.iter().map(|value| str::from_utf8(value).ok()).collect();
    let values = values.ok_or(Flaw::NotText)?;
    let mut json = Vec::new();
    // In the order of the columns, which a map would not keep.
    serde_json::Serializer::new(&mut json)
        .collect_map(names.iter().zip(values))
        .expect("a vector takes everything");
    Ok(json)
}

fn unwrapped(error: csv::Error) -> io::Error {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(why) => why,
        _ => io::Error::other(text),
    }
}

/// Reads no more than what is left for a row.
struct Bounded<'a, R> {
    read: R,
    left: &'a Cell<usize>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read.read(buffer)?;
        match self.left.get().checked_sub(n) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other("a row is larger than --max-record: is a quote left open?")),
        }
        Ok(n)
    }
}
