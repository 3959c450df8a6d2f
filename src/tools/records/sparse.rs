//! Files with holes, as GNU tar writes them into headers of its own: a map of what is stored, and where it belongs.
//!
//! There are three ways to say it: pairs of records (0.0), one record (0.1), or lines before the data (1.0). The
//! older way, in the tar's own headers, is read by the library.

use std::io::{self, BufRead, BufReader, Read};

/// 100,000 pieces: 1.6 MB of map.
const PIECES_MAX: usize = 100_000;

const BLOCK: u64 = 512;

/// What the headers say of a file with holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Its real name.
    pub name: Option<Vec<u8>>,
    /// How long it is with its holes.
    pub size: u64,
    /// The pieces, where they begin and how long they are; none: the data begins with them.
    pieces: Option<Vec<(u64, u64)>>,
}

/// What is said in these headers, if they are of a file with holes.
pub(super) fn of<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> io::Result<Option<Sparse>> {
    let mut sparse = Sparse::default();
    let (mut is_one, mut version, mut size) = (false, (0, 0), None);
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let mut begins = None;
    for (key, value) in headers {
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else { continue };
        is_one = true;
        let number = || number(value);
        match key {
            b"name" => sparse.name = Some(value.to_vec()),
            b"size" | b"realsize" => size = Some(number()?),
            b"major" => version.0 = number()?,
            b"minor" => version.1 = number()?,
            b"offset" => begins = Some(number()?),
            b"numbytes" => {
                pieces.push((begins.take().ok_or_else(|| wrong("a piece has no place"))?, number()?))
            }
            b"map" => {
                let numbers: Vec<u64> = match value {
                    b"" => Vec::new(),
                    value => {
                        value.split(|byte| *byte == b',').map(self::number).collect::<io::Result<_>>()?
                    }
                };
                if !numbers.len().is_multiple_of(2) {
                    return Err(wrong("its map is cut"));
                }
                pieces = numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            }
            _ => {}
        }
    }
    if !is_one {
        return Ok(None);
    }
    sparse.size = size.ok_or_else(|| wrong("its size is missing"))?;
    sparse.pieces = match version {
        (1, 0) => None,
        (0, 0 | 1) => Some(pieces),
        (major, minor) => return Err(wrong(&format!("holes of version {major}.{minor} are not read here"))),
    };
    Ok(Some(sparse))
}

impl Sparse {
    /// The file with its holes, from what is stored of it in `stored` bytes.
    pub fn expand<R: Read>(self, read: R, stored: u64) -> io::Result<Expanded<BufReader<R>>> {
        let mut read = BufReader::new(read);
        let (pieces, before) = match self.pieces {
            Some(pieces) => (pieces, 0),
            None => map(&mut read)?,
        };
        let mut at = 0u64;
        let mut bytes = before;
        for &(begin, len) in &pieces {
            let end = begin.checked_add(len).filter(|&end| begin >= at && end <= self.size);
            at = end.ok_or_else(|| wrong("its map leads out of it"))?;
            bytes += len;
        }
        if bytes != stored {
            return Err(wrong(&format!("its map is of {bytes} bytes, and {stored} are stored")));
        }
        Ok(Expanded { read, pieces: pieces.into_iter(), piece: (0, 0), at: 0, size: self.size })
    }
}

/// The lines before the data: how many pieces, then two numbers for each, filled up to a block.
fn map(read: &mut impl BufRead) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let mut taken = 0;
    let mut next = || -> io::Result<u64> {
        let mut line = Vec::new();
        taken += (&mut *read).take(24).read_until(b'\n', &mut line)? as u64;
        line.pop_if(|last| *last == b'\n').ok_or_else(|| wrong("its map is no list of numbers"))?;
        number(&line)
    };
    let count = next()?;
    if count > PIECES_MAX as u64 {
        return Err(wrong(&format!("it has {count} pieces, and {PIECES_MAX} are read here")));
    }
    let pieces = (0..count).map(|_| Ok((next()?, next()?))).collect::<io::Result<_>>()?;
    let filled = taken.next_multiple_of(BLOCK);
    io::copy(&mut read.take(filled - taken), &mut io::sink())?;
    Ok((pieces, filled))
}

/// A file with zeros where its holes are.
pub(super) struct Expanded<R> {
    read: R,
    pieces: std::vec::IntoIter<(u64, u64)>,
    /// Where the piece that comes begins, and where it ends.
    piece: (u64, u64),
    at: u64,
    size: u64,
}

impl<R: Read> Read for Expanded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.piece.1 {
            match self.pieces.next() {
                Some((begin, len)) => self.piece = (begin, begin + len),
                None if self.at >= self.size => return Ok(0),
                // The hole behind the last piece.
                None => self.piece = (self.size, self.size + 1),
            }
        }
        let (is_hole, end) =
            if self.at < self.piece.0 { (true, self.piece.0) } else { (false, self.piece.1) };
        if self.at >= self.size {
            return Ok(0);
        }
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let n = if is_hole {
            buffer[..most].fill(0);
            most
        } else {
            self.read.read(&mut buffer[..most])?
        };
        if n == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before its map does"));
        }
        self.at += n as u64;
        Ok(n)
    }
}

fn number(text: &[u8]) -> io::Result<u64> {
    let text = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("a number of its map is none"))
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a file with holes: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(headers: &[(&str, &str)], stored: &[u8]) -> Result<Vec<u8>, String> {
        let headers = headers.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let sparse = of(headers).map_err(|why| why.to_string())?.expect("it has holes");
        let mut bytes = Vec::new();
        let read = sparse.expand(stored, stored.len() as u64).map_err(|why| why.to_string())?;
        read.take(1000).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn the_three_ways_to_say_where_holes_are() {
        let expected = b"\0\0ab\0c\0".to_vec();
        let pairs = [
            ("GNU.sparse.size", "7"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "2"),
            ("GNU.sparse.numbytes", "2"),
            ("GNU.sparse.offset", "5"),
            ("GNU.sparse.numbytes", "1"),
        ];
        assert_eq!(expanded(&pairs, b"abc"), Ok(expected.clone()));
        let one = [("GNU.sparse.size", "7"), ("GNU.sparse.map", "2,2,5,1,7,0")];
        assert_eq!(expanded(&one, b"abc"), Ok(expected.clone()));
        let mut stored = b"3\n2\n2\n5\n1\n7\n0\n".to_vec();
        stored.resize(512, 0);
        stored.extend_from_slice(b"abc");
        let lines = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "7")];
        assert_eq!(expanded(&lines, &stored), Ok(expected));
        assert_eq!(expanded(&[("GNU.sparse.size", "3"), ("GNU.sparse.map", "")], b""), Ok(vec![0; 3]));
        assert_eq!(of([(&b"path"[..], &b"a"[..])].into_iter()).unwrap(), None);
    }

    #[test]
    fn a_map_that_is_wrong_is_no_record() {
        for (headers, stored, said) in [
            (&[("GNU.sparse.map", "0,1")][..], "a", "size is missing"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.map", "0,1,2")], "a", "cut"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.map", "0,x")], "a", "number"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.map", "4,2,3,1")], "abc", "leads out"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.map", "6,2")], "ab", "leads out"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.map", "0,18446744073709551615")], "ab", "leads out"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.map", "0,2")], "abc", "3 are stored"),
            (&[("GNU.sparse.size", "7"), ("GNU.sparse.numbytes", "2")], "ab", "no place"),
            (&[("GNU.sparse.realsize", "7"), ("GNU.sparse.major", "2")], "ab", "version 2.0"),
            (&[("GNU.sparse.realsize", "7"), ("GNU.sparse.major", "1")], "9999999\n", "pieces"),
            (&[("GNU.sparse.realsize", "7"), ("GNU.sparse.major", "1")], "x", "list of numbers"),
        ] {
            let why = expanded(headers, stored.as_bytes()).unwrap_err();
            assert!(why.contains(said), "{headers:?}: {why}");
        }
    }
}
