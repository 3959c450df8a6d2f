//! Cutting a stream into frames.

use super::digest::Scheme;
use super::fault::Fault;
use super::header::{DIGEST, HEADER, Header, Kind};
use crate::core::limits::{ACCESS_TOKEN, DECODER_MIN};

/// What a stream may hold beyond what a header can say.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The largest payload, in bytes.
    pub payload_max: u32,
    /// Whether REPLY frames may come: to a client they do, to a gateway they do not.
    pub replies: bool,
}

impl Rules {
    fn check(&self, header: &Header) -> Result<(), Fault> {
        if header.kind == Kind::Reply && !self.replies {
            return Err(Fault::Reply { id: header.id });
        }
        if header.kind == Kind::Auth && header.payload_len > ACCESS_TOKEN as u32 {
            // Whoever sends it is nobody yet, and is not waited for with more than a token may have.
            return Err(Fault::LongToken { id: header.id, len: header.payload_len });
        }
        if header.payload_len > self.payload_max {
            let (id, len) = (header.id, header.payload_len);
            return Err(Fault::TooLarge { id, len, max: self.payload_max });
        }
        Ok(())
    }
}

/// Bytes that begin at a frame, cut: the whole frames at their beginning, and what follows those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of the whole frames.
    pub whole: usize,
    /// How many there are.
    pub frames: u32,
    /// How many of them are answered.
    pub answered: u32,
    /// What the bytes after them are.
    pub rest: Rest,
}

/// What follows the whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing, or fewer bytes than a header.
    Short,
    /// The beginning of a frame with this header.
    Begun(Header),
    /// No frame: the stream ends here.
    Fault(Fault),
}

/// Cuts `bytes`, which begin at a frame.
pub fn cut(bytes: &[u8], rules: &Rules) -> Cut {
    let mut cut = Cut { whole: 0, frames: 0, answered: 0, rest: Rest::Short };
    loop {
        let rest = &bytes[cut.whole..];
        let Some(header) = rest.first_chunk::<HEADER>() else {
            if let Err(fault) = Header::check_prefix(rest) {
                cut.rest = Rest::Fault(fault);
            }
            return cut;
        };
        match Header::decode(header).and_then(|header| rules.check(&header).map(|()| header)) {
            Err(fault) => {
                cut.rest = Rest::Fault(fault);
                return cut;
            }
            Ok(header) if rest.len() < header.frame_len() => {
                cut.rest = Rest::Begun(header);
                return cut;
            }
            Ok(header) => {
                cut.whole += header.frame_len();
                cut.frames += 1;
                cut.answered += u32::from(header.is_answered());
            }
        }
    }
}

/// One whole frame in borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// All its bytes, digest included.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of `bytes`, which [`cut`] found to be whole.
    pub(crate) fn first_of(bytes: &'a [u8]) -> Frame<'a> {
        let header = bytes.first_chunk().and_then(|header| Header::decode(header).ok());
        let header = header.expect("only what was cut is looked at again");
        Frame { header, bytes: &bytes[..header.frame_len()] }
    }

    /// The topic field, of any bytes.
    pub fn topic(&self) -> &'a [u8] {
        &self.bytes[HEADER..HEADER + self.header.topic_len as usize]
    }

    /// The payload.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER + self.header.topic_len as usize..self.bytes.len() - DIGEST]
    }

    /// Whether it is whole DATA that nobody waits for: with its topic, all that matters of it is its bytes.
    pub(super) fn is_plain(&self) -> bool {
        let header = &self.header;
        header.kind == Kind::Data && !header.want_reply && header.part_index == 0 && header.part_count < 2
    }

    /// Whether a whole frame has its kind, flags, part fields and topic.
    #[inline]
    pub(super) fn is_treated_as(&self, other: &[u8]) -> bool {
        // Ranges of known lengths, which take no call to compare.
        self.bytes[3..6] == other[3..6]
            && self.bytes[12..16] == other[12..16]
            && self.topic() == &other[HEADER..HEADER + self.header.topic_len as usize]
    }

    /// Whether its digest is right.
    pub fn is_intact(&self, scheme: &Scheme) -> bool {
        scheme.is_intact(self.bytes)
    }
}

/// Appends a frame to `out`. The lengths in `header` are set from `topic` and `payload`.
///
/// # Panics
/// If the topic is longer than 255 bytes or the payload than 32 bits can say.
pub fn encode(mut header: Header, topic: &[u8], payload: &[u8], scheme: &Scheme, out: &mut Vec<u8>) {
    header.topic_len = u8::try_from(topic.len()).expect("a topic has at most 255 bytes");
    header.payload_len = u32::try_from(payload.len()).expect("a payload has at most 4 GiB");
    let start = out.len();
    out.reserve(header.frame_len());
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(topic);
    out.extend_from_slice(payload);
    let digest = scheme.digest(&out[start..]);
    out.extend_from_slice(&digest);
}

/// Cuts a stream that arrives in any pieces, for clients and files.
///
/// `0 ≤ decoded ≤ filled ≤ bytes.len()`: frames were taken up to `decoded`, bytes arrived up to `filled`.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    bytes: Vec<u8>,
    decoded: usize,
    filled: usize,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(rules: Rules) -> Decoder {
        Decoder { rules, bytes: Vec::new(), decoded: 0, filled: 0 }
    }

    /// Room for the next bytes of the stream; tell with [`advance`](Self::advance) how many came.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.decoded > 0 {
            self.bytes.copy_within(self.decoded..self.filled, 0);
            self.filled -= self.decoded;
            self.decoded = 0;
        }
        let len = (2 * self.filled).max(DECODER_MIN);
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.invariants();
        &mut self.bytes[self.filled..]
    }

    /// `n` bytes were put at the beginning of the spare room.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - self.filled, "no more than the spare room");
        self.filled += n;
        self.invariants();
    }

    /// The next frame; none if more bytes are needed; an error for ever after a fault.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Fault> {
        let rest = &self.bytes[self.decoded..self.filled];
        let Some(header) = rest.first_chunk::<HEADER>() else {
            return Header::check_prefix(rest).map(|()| None);
        };
        let header = Header::decode(header)?;
        self.rules.check(&header)?;
        let len = header.frame_len();
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.decoded;
        self.decoded += len;
        self.invariants();
        Ok(Some(Frame { header, bytes: &self.bytes[start..start + len] }))
    }

    /// Bytes that came and belong to no frame yet.
    pub fn pending(&self) -> usize {
        self.filled - self.decoded
    }

    fn invariants(&self) {
        debug_assert!(self.decoded <= self.filled && self.filled <= self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { payload_max: 100, replies: false };

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let header = Header { want_reply: true, id: 9, ..Header::new(Kind::Data) };
        encode(header, b"t", payload, &Scheme::Sha256, &mut out);
        out
    }

    #[test]
    fn whole_frames_and_what_follows() {
        let bytes = [frame(b"one"), frame(b"two"), frame(b"three")].concat();
        let end = bytes.len();
        let third = Rest::Begun(Header::decode(frame(b"three").first_chunk().unwrap()).unwrap());
        for (len, frames, rest) in [
            (0, 0, Rest::Short),
            (31, 0, Rest::Short),
            (2 * 68, 2, Rest::Short),
            (2 * 68 + 31, 2, Rest::Short),
            (2 * 68 + 32, 2, third),
            (end - 1, 2, third),
            (end, 3, Rest::Short),
        ] {
            let cut = cut(&bytes[..len], &RULES);
            assert_eq!((cut.frames, cut.answered, cut.rest), (frames, frames, rest), "{len}");
        }
    }

    #[test]
    fn a_payload_at_the_limit_and_one_more() {
        assert_eq!(cut(&frame(&[0; 100]), &RULES).frames, 1);
        let fault = Fault::TooLarge { id: 9, len: 101, max: 100 };
        assert_eq!(cut(&frame(&[0; 101])[..32], &RULES).rest, Rest::Fault(fault));
    }

    #[test]
    fn the_views_of_a_frame() {
        let bytes = frame(b"payload");
        let mut decoder = Decoder::new(RULES);
        decoder.spare()[..bytes.len()].copy_from_slice(&bytes);
        decoder.advance(bytes.len());
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!((frame.topic(), frame.payload(), frame.bytes), (&b"t"[..], &b"payload"[..], &bytes[..]));
        assert!(frame.is_intact(&Scheme::Sha256) && !frame.is_intact(&Scheme::keyed(b"k")));
        assert!(decoder.next_frame().unwrap().is_none());
        assert_eq!(decoder.pending(), 0);
    }

    #[test]
    fn a_fault_stays() {
        let mut decoder = Decoder::new(RULES);
        decoder.spare()[..5].copy_from_slice(b"GET /");
        decoder.advance(5);
        for _ in 0..2 {
            assert_eq!(decoder.next_frame().unwrap_err().looks_like(), Some("HTTP"));
        }
    }
}
