//! Where TLS records end: five bytes of header say it.

/// A record's header: its type, its version, and how many bytes follow.
const HEADER: usize = 5;

/// How far into a record a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    header: [u8; HEADER],
    /// Bytes of the header that came.
    have: u8,
    /// Bytes that the record still lacks behind its header.
    lacks: u16,
}

impl Records {
    /// The stream goes on.
    pub fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if usize::from(self.have) < HEADER {
                let n = (HEADER - usize::from(self.have)).min(bytes.len());
                let have = usize::from(self.have);
                self.header[have..have + n].copy_from_slice(&bytes[..n]);
                self.have += n as u8;
                self.lacks = length(&self.header);
                bytes = &bytes[n..];
            } else {
                let n = usize::from(self.lacks).min(bytes.len());
                self.lacks -= n as u16;
                bytes = &bytes[n..];
            }
            if usize::from(self.have) == HEADER && self.lacks == 0 {
                *self = Records::default();
            }
        }
    }

    /// Whether the last record is whole.
    pub fn is_between(&self) -> bool {
        self.have == 0
    }
}

/// How many bytes at the beginning of a stream are whole records.
pub fn whole_records(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + HEADER) {
        let end = at + HEADER + usize::from(length(header));
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

fn length(header: &[u8]) -> u16 {
    u16::from_be_bytes([header[3], header[4]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_where_their_headers_say_however_they_come() {
        let stream =
            [&[22, 3, 1, 0, 3][..], b"abc", &[23, 3, 3, 0, 0], &[23, 3, 3, 1, 2], &[7; 258]].concat();
        let ends = [8, 13, 276];
        for piece in 1..=stream.len() {
            let (mut records, mut came) = (Records::default(), 0);
            for bytes in stream.chunks(piece) {
                records.advance(bytes);
                came += bytes.len();
                assert_eq!(records.is_between(), ends.contains(&came), "{came} by {piece}");
            }
        }
        for len in 0..=stream.len() {
            let expected = ends.iter().copied().filter(|end| *end <= len).max().unwrap_or(0);
            assert_eq!(whole_records(&stream[..len]), expected, "{len}");
        }
    }
}
