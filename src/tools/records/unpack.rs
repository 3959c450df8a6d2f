//! One packed stream, of one member or several.
//!
//! A member is whole when its checksum was right. Between members and behind the last there may be zeros, as tapes
//! and disk images have them. What else stands behind the last whole member is not read: [`Unpacked::rest`] tells.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::core::limits::{POST_UNPACK_MEMORY, POST_UNPACK_WINDOW_LOG};

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Packing {
    /// How what begins with these bytes is packed.
    pub fn of(head: &[u8]) -> Option<Packing> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            // The first block's mark, or the end's where there is none.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some(Packing::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            // The second is a frame to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
            _ => None,
        }
    }

    /// What its files are called.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Bzip2 => "bzip2",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
        }
    }
}

/// What is packed in `R`.
pub(super) struct Unpacked<R: BufRead> {
    packing: Packing,
    state: State<R>,
    /// Whether a member was whole.
    is_begun: bool,
    /// Whether the member that is read has given anything.
    has_given: bool,
    rest: Option<String>,
}

enum State<R: BufRead> {
    /// Before the first member or behind one.
    Between(R),
    Gzip(Box<GzDecoder<R>>),
    Bzip2(Box<BzDecoder<R>>),
    Xz(Box<XzReader<R>>),
    Zstd(Box<ZstdDecoder<'static, R>>),
    Ended,
}

impl<R: BufRead> Unpacked<R> {
    pub fn new(packing: Packing, read: R) -> Unpacked<R> {
        Unpacked { packing, state: State::Between(read), is_begun: false, has_given: false, rest: None }
    }

    /// What is wrong behind the last whole member, once that is read.
    pub fn rest(&self) -> Option<&str> {
        self.rest.as_deref()
    }

    /// The next member, if there is one.
    fn begin(&mut self, mut read: R) -> io::Result<State<R>> {
        if self.is_begun && skip_zeros(&mut read)? {
            return Ok(State::Ended);
        }
        self.has_given = false;
        Ok(match self.packing {
            Packing::Gzip => State::Gzip(Box::new(GzDecoder::new(read))),
            Packing::Bzip2 => State::Bzip2(Box::new(BzDecoder::new(read))),
            Packing::Xz => {
                let kib = u32::try_from(POST_UNPACK_MEMORY / 1024).unwrap_or(u32::MAX);
                State::Xz(Box::new(XzReader::new_mem_limit(read, false, kib)))
            }
            Packing::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(read)?.single_frame();
                decoder.window_log_max(POST_UNPACK_WINDOW_LOG)?;
                State::Zstd(Box::new(decoder))
            }
        })
    }

    fn said(&self, why: &io::Error) -> String {
        let name = self.packing.name();
        match why.kind() {
            io::ErrorKind::UnexpectedEof => format!("the {name} data ends too early: it was cut off"),
            io::ErrorKind::OutOfMemory => {
                format!(
                    "the {name} data needs more than {POST_UNPACK_MEMORY} bytes to unpack: unpack it first"
                )
            }
            _ => format!("the {name} data is damaged: {why}"),
        }
    }
}

/// Whether there is nothing behind them.
fn skip_zeros(read: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = read.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        let len = bytes.iter().take_while(|byte| **byte == 0).count();
        let is_over = len < bytes.len();
        read.consume(len);
        if is_over {
            return Ok(false);
        }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.state {
                State::Ended => return Ok(0),
                State::Between(_) => {
                    let State::Between(read) = std::mem::replace(&mut self.state, State::Ended) else {
                        unreachable!("it was matched a line above")
                    };
                    self.state = self.begin(read)?;
                    continue;
                }
                State::Gzip(decoder) => decoder.read(buffer),
                State::Bzip2(decoder) => decoder.read(buffer),
                State::Xz(decoder) => decoder.read(buffer),
                State::Zstd(decoder) => decoder.read(buffer),
            };
            match read {
                Ok(0) => {
                    self.is_begun = true;
                    self.state = match std::mem::replace(&mut self.state, State::Ended) {
                        State::Gzip(decoder) => State::Between(decoder.into_inner()),
                        State::Bzip2(decoder) => State::Between(decoder.into_inner()),
                        State::Xz(decoder) => State::Between(decoder.into_inner()),
                        State::Zstd(decoder) => State::Between(decoder.into_inner()),
                        state => state,
                    };
                }
                Ok(n) => {
                    self.has_given = true;
                    return Ok(n);
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => {
                    // A decoder that failed is not asked again.
                    self.state = State::Ended;
                    if self.is_begun && !self.has_given {
                        let name = self.packing.name();
                        self.rest =
                            Some(format!("what stands behind the end of the {name} data is none: {why}"));
                        return Ok(0);
                    }
                    return Err(io::Error::new(why.kind(), self.said(&why)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    pub fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                packed.write_all(bytes).unwrap();
                packed.finish().unwrap()
            }
            Packing::Bzip2 => {
                let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
                packed.write_all(bytes).unwrap();
                packed.finish().unwrap()
            }
            Packing::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(6);
                let mut packed = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                packed.write_all(bytes).unwrap();
                packed.finish().unwrap()
            }
            Packing::Zstd => {
                let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
                packed.include_checksum(true).unwrap();
                packed.write_all(bytes).unwrap();
                packed.finish().unwrap()
            }
        }
    }

    /// All that comes, what was wrong with it, and what was behind it.
    fn unpacked(packing: Packing, packed: &[u8]) -> (Vec<u8>, Option<String>, Option<String>) {
        // A buffer of three bytes: no decoder is handed all of a mark at once.
        let mut unpacked = Unpacked::new(packing, io::BufReader::with_capacity(3, packed));
        let mut bytes = Vec::new();
        let wrong = unpacked.read_to_end(&mut bytes).err().map(|why| why.to_string());
        (bytes, wrong, unpacked.rest().map(str::to_owned))
    }

    const ALL: [Packing; 4] = [Packing::Gzip, Packing::Bzip2, Packing::Xz, Packing::Zstd];

    #[test]
    fn members_follow_each_other_with_zeros_between() {
        for packing in ALL {
            let one = pack(packing, b"one\n");
            assert_eq!(Packing::of(&one), Some(packing));
            assert_eq!(Packing::of(&pack(packing, b"")), Some(packing));
            let two = [&one[..], &[0; 512], &pack(packing, b""), &pack(packing, b"two"), &[0; 8]].concat();
            assert_eq!(unpacked(packing, &two), (b"one\ntwo".to_vec(), None, None), "{packing:?}");
        }
    }

    #[test]
    fn what_stands_behind_the_last_member_is_told() {
        for packing in ALL {
            let one = pack(packing, b"one\n");
            let second = pack(packing, b"two\n");
            for rest in [&b"garbage"[..], b"\0\0\0\0x", &second[..5]] {
                let (bytes, wrong, said) = unpacked(packing, &[&one[..], rest].concat());
                assert_eq!((bytes, wrong), (b"one\n".to_vec(), None), "{packing:?} {rest:?}");
                assert!(
                    said.is_some_and(|said| said.contains("behind the end of the")),
                    "{packing:?} {rest:?}"
                );
            }
        }
    }

    #[test]
    fn a_cut_and_a_flipped_bit_are_never_an_end() {
        let text: Vec<u8> = (0..2000u32).flat_map(|n| format!("{}\n", n * n).into_bytes()).collect();
        for packing in ALL {
            let packed = pack(packing, &text);
            for len in (1..packed.len()).step_by(97).chain(packed.len() - 20..packed.len()) {
                let (bytes, wrong, _) = unpacked(packing, &packed[..len]);
                assert!(wrong.is_some() && text.starts_with(&bytes), "{packing:?} cut to {len}");
            }
            let mut damaged = packed.clone();
            damaged[packed.len() / 2] ^= 4;
            assert!(unpacked(packing, &damaged).1.is_some(), "{packing:?}");
        }
    }
}
