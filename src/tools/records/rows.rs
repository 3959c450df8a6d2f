//! Rows of a table with a header, each as a JSON object of strings.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use csv::{ByteRecord, ReaderBuilder};
use serde::Serializer;

use super::head::Head;
use super::lines::BOM;
use super::walk::{Broken, Found, Visit};
use super::{Cut, Flaw};

/// 8 KiB that the table's reader takes at once.
const BLOCK: usize = 8 * 1024;

/// 100 rows tell what stands between fields.
const ROWS_TRIED: usize = 100;

/// What may stand between fields, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A row of ours behind the last: where it comes back as a row of its own, every quote was closed. It is no UTF-8,
/// and counts only where nothing else is left.
const END: &[u8] = b"\xffend of the table\xff";

/// Rows are numbered from 1; the header is none. A quote that is never closed makes the rest of the table one row,
/// which is a failed one.
pub(super) fn walk<R: BufRead>(
    before: &str,
    head: Head<R>,
    max: usize,
    delimiter: Option<u8>,
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, Broken> {
    let delimiter = delimiter.unwrap_or_else(|| {
        let found = likeliest(head.first(), head.is_all());
        if found != DELIMITERS[0] {
            log::info!(
                "the fields of a table are taken to be separated by {:?}; --delimiter says otherwise",
                char::from(found)
            );
        }
        found
    });
    // What it has read ahead belongs to the next row already; and the largest row may be written in quotes
    // that are doubled.
    let allowance = 2 * max + 2 * BLOCK;
    let left = Cell::new(allowance);
    let ending = RefCell::new(None);
    let read = Ended { read: Bounded { read: head, left: &left }, ending: &ending, said: 0 };
    let mut table = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(BLOCK)
        .from_reader(read);
    let mut next = |row: &mut ByteRecord| -> io::Result<Next> {
        left.set(allowance);
        if !table.read_byte_record(row).map_err(unwrapped)? {
            return Ok(Next::End);
        }
        let ending = ending.borrow();
        let last = row.iter().next_back().unwrap_or_default();
        // In quotes, its line break is in them, too.
        let last = last.strip_suffix(b"\n").unwrap_or(last);
        Ok(match &*ending {
            Some(_) if row.len() == 1 && last == END => Next::End,
            Some(Ok(())) if last.ends_with(END) => Next::Flawed(Flaw::OpenQuote),
            Some(Err(why)) if last.ends_with(END) => match why.kind() {
                io::ErrorKind::FileTooLarge => Next::Flawed(Flaw::OpenQuote),
                _ => Next::Flawed(Flaw::Incomplete(why.to_string())),
            },
            _ => Next::Row,
        })
    };
    let (mut header, mut row) = (ByteRecord::new(), ByteRecord::new());
    let names = match next(&mut header)? {
        Next::Row => names(&header).map_err(Broken::Refused)?,
        Next::Flawed(flaw) => {
            return Err(Broken::Refused(format!("its header is not a complete row: {flaw}")));
        }
        Next::End => return ended(&ending),
    };
    for number in 1u64.. {
        let found = match next(&mut row)? {
            Next::End => break,
            Next::Flawed(flaw) => Found::Flawed(flaw),
            Next::Row => match object(&names, &row) {
                Ok(json) if json.len() > max => Found::Flawed(Flaw::TooLarge(max)),
                Ok(json) => Found::Record(Cut::Row, json),
                Err(flaw) => Found::Flawed(flaw),
            },
        };
        if visit(&format!("{before}row {number}"), found).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    ended(&ending)
}

/// What comes next of a table.
enum Next {
    Row,
    /// A row that is not whole.
    Flawed(Flaw),
    End,
}

/// How a table ended, once it did: well, or why it cannot be read on.
type Ending = RefCell<Option<io::Result<()>>>;

fn ended(ending: &Ending) -> Result<ControlFlow<()>, Broken> {
    match ending.take() {
        Some(Err(why)) => Err(Broken::Read(why)),
        _ => Ok(ControlFlow::Continue(())),
    }
}

/// The names of the columns, each of which is another.
fn names(header: &ByteRecord) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (index, name) in header.iter().enumerate() {
        let name = if index == 0 { name.strip_prefix(BOM).unwrap_or(name) } else { name };
        let name = str::from_utf8(name)
            .map_err(|_| "its header is no UTF-8: convert the file, with iconv -t UTF-8".to_owned())?;
        if names.iter().any(|other| other == name) {
            return Err(match name {
                "" => "two of its columns have no name: name them in the header".to_owned(),
                name => format!("two of its columns are called '{name}': rename one in the header"),
            });
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// What stands between fields: what gives the most rows as many fields as the first, and more than one.
fn likeliest(head: &[u8], is_all: bool) -> u8 {
    let head = if is_all {
        head
    } else {
        // The last line may be cut.
        &head[..head.iter().rposition(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1)]
    };
    let score = |delimiter: u8| {
        let mut table =
            ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(head);
        let mut rows = table.byte_records().map_while(Result::ok).take(ROWS_TRIED).map(|row| row.len());
        match rows.next() {
            None | Some(1) => (0, 0),
            Some(fields) => (1 + rows.filter(|&of| of == fields).count(), fields),
        }
    };
    // The first of those that are as good as each other.
    let best = DELIMITERS.into_iter().rev().max_by_key(|&delimiter| score(delimiter));
    best.filter(|&delimiter| score(delimiter).0 > 0).unwrap_or(DELIMITERS[0])
}

fn object(names: &[String], row: &ByteRecord) -> Result<Vec<u8>, Flaw> {
    if row.len() != names.len() {
        return Err(Flaw::Fields { expected: names.len(), got: row.len() });
    }
    let values: Option<Vec<&str>> = row.iter().map(|value| str::from_utf8(value).ok()).collect();
    let values =
        values.filter(|values| !values.iter().any(|value| value.contains('\0'))).ok_or(Flaw::NotText)?;
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
            None => {
                let why = "a row is larger than --max-record: is a quote left open?";
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
        }
        Ok(n)
    }
}

/// Says where a table ends: by a row of its own behind a last line break, or right behind what was read where it
/// cannot be read on, so that a row that is not whole is seen.
struct Ended<'a, R> {
    read: R,
    ending: &'a Ending,
    said: usize,
}

impl<R: Read> Read for Ended<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ending.borrow().is_none() {
            match self.read.read(buffer) {
                Ok(0) if !buffer.is_empty() => *self.ending.borrow_mut() = Some(Ok(())),
                Err(why) if why.kind() != io::ErrorKind::Interrupted => {
                    *self.ending.borrow_mut() = Some(Err(why))
                }
                read => return read,
            }
        }
        let line_break: &[u8] = if matches!(&*self.ending.borrow(), Some(Ok(()))) { b"\n" } else { b"" };
        let mut n = 0;
        for byte in line_break.iter().chain(END).chain(b"\n").skip(self.said).take(buffer.len()) {
            buffer[n] = *byte;
            n += 1;
        }
        self.said += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_fields() {
        for (table, expected) in [
            ("a,b\n1,2\n", b','),
            ("id;name\n1;ann\n", b';'),
            // Commas in numbers, semicolons in text.
            ("id;price\n1;2,5\n2;3,5\n", b';'),
            ("id,text\n1,a;b\n2,c\n", b','),
            ("a\tb c\n1\t2\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("\"a;b\",c\n\"1;2\",3\n", b','),
            ("a\n1;2\n", b','),
            ("a", b','),
            ("", b','),
        ] {
            assert_eq!(likeliest(table.as_bytes(), true), expected, "{table}");
        }
        assert_eq!(likeliest(b"a;b\n1;2\n3;", false), b';');
    }

    #[test]
    fn a_header_names_each_column_once() {
        let names = |fields: &[&str]| names(&ByteRecord::from(fields.to_vec()));
        assert_eq!(names(&["\u{feff}a", "b", ""]).unwrap(), ["a", "b", ""]);
        assert!(names(&["a", "b", "a"]).unwrap_err().contains("two of its columns are called 'a'"));
        assert!(names(&["a", "", ""]).unwrap_err().contains("have no name"));
    }
}
