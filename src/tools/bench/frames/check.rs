//! Cutting what a subscriber gets, and comparing it with what was sent.

use super::known::{Found, Known};
use super::publish::Publisher;
use crate::core::limits::RING_BYTES;
use crate::wire::{DIGEST, Fault, HEADER, Header, Kind, Scheme, Status};

/// What was sent: publisher n of those sends with the key `base + n`.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The key of the first publisher.
    pub base: u64,
    /// Who sends.
    pub publishers: &'a [Publisher],
    /// What comes of it, where that is not what is sent: then no key or id tells whose a frame is.
    pub known: Option<&'a Known>,
    /// How digests are made.
    pub scheme: &'a Scheme,
}

impl Expected<'_> {
    fn publisher(&self, key: u64) -> Option<usize> {
        let at = usize::try_from(key.checked_sub(self.base)?).ok()?;
        (at < self.publishers.len()).then_some(at)
    }
}

/// One thing that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Exactly the frame that is in this slot of the publisher's ring.
    Frame { publisher: usize, slot: u64 },
    /// What comes of a frame that a device sent before all others.
    Login,
    /// A frame whose digest is wrong; it says this key and id.
    BadDigest { key: u64, id: u64 },
    /// A frame with a right digest and one of our keys, but not what was sent.
    Changed { id: u64 },
    /// A frame of another publisher.
    Foreign,
    /// What the gateway says of a frame of ours, or of this connection.
    Reply { status: Option<Status>, key: u64, id: u64, reason: String },
}

/// Cuts one connection's stream. Frames that are what was sent are compared as they come, in whatever
/// pieces; only what differs is collected whole and hashed.
#[derive(Debug, Default)]
pub struct Checker {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// The next byte begins a frame.
    #[default]
    Between,
    /// Fewer bytes than a header.
    Begun { header: [u8; HEADER], len: usize },
    /// `at` bytes of a frame came, all of them as they were sent.
    Matching { publisher: usize, slot: usize, at: usize },
    /// The beginning of something else, `total` bytes in all.
    Odd { bytes: Vec<u8>, total: usize },
    /// What cannot be cut.
    Broken(Fault),
}

impl Checker {
    /// Takes what came next and tells what it was.
    ///
    /// # Errors
    /// For ever after what is no frame, or one longer than anyone sent.
    pub fn take(
        &mut self,
        bytes: &[u8],
        sent: Expected<'_>,
        mut tell: impl FnMut(Seen),
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.step(rest, sent, &mut tell)?;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Takes some of `bytes`, of which there are some.
    fn step(
        &mut self,
        bytes: &[u8],
        sent: Expected<'_>,
        tell: &mut impl FnMut(Seen),
    ) -> Result<usize, Fault> {
        match &mut self.state {
            State::Between => {
                let Some(header) = bytes.first_chunk::<HEADER>() else {
                    return self.stash(bytes).map(|()| bytes.len());
                };
                self.begin(header, sent)?;
                // One of a layout is looked at whole, and most are whole here.
                if let State::Odd { total, .. } = &self.state
                    && let Some(frame) = bytes.get(..*total)
                {
                    tell(judge(frame, sent));
                    self.state = State::Between;
                    return Ok(frame.len());
                }
                Ok(HEADER)
            }
            State::Begun { header, len } => {
                let n = (HEADER - *len).min(bytes.len());
                header[*len..*len + n].copy_from_slice(&bytes[..n]);
                *len += n;
                if *len == HEADER {
                    let header = *header;
                    self.begin(&header, sent)?;
                }
                Ok(n)
            }
            State::Matching { publisher, slot, at } => {
                let (publisher, slot, at) = (*publisher, *slot, *at);
                let ring = &sent.publishers[publisher].ring;
                let n = (ring.frame_len() - at).min(bytes.len());
                if !ring.matches(slot, at, &bytes[..n]) {
                    // Its header is the one that was sent, so it is as long.
                    self.state = State::Odd { bytes: ring.beginning(slot, at), total: ring.frame_len() };
                    return Ok(0);
                }
                if at + n == ring.frame_len() {
                    self.state = State::Between;
                    tell(Seen::Frame { publisher, slot: slot as u64 });
                } else {
                    self.state = State::Matching { publisher, slot, at: at + n };
                }
                Ok(n)
            }
            State::Odd { bytes: begun, total } => {
                let n = (*total - begun.len()).min(bytes.len());
                begun.extend_from_slice(&bytes[..n]);
                if begun.len() == *total {
                    tell(judge(begun, sent));
                    self.state = State::Between;
                }
                Ok(n)
            }
            State::Broken(fault) => Err(*fault),
        }
    }

    fn stash(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if let Err(fault) = Header::check_prefix(bytes) {
            return self.break_off(fault);
        }
        let mut header = [0; HEADER];
        header[..bytes.len()].copy_from_slice(bytes);
        self.state = State::Begun { header, len: bytes.len() };
        Ok(())
    }

    /// A header came: is it one that was sent?
    fn begin(&mut self, bytes: &[u8; HEADER], sent: Expected<'_>) -> Result<(), Fault> {
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(fault) => return self.break_off(fault),
        };
        if sent.known.is_none()
            && let Some(publisher) = sent.publisher(header.key)
        {
            let ring = &sent.publishers[publisher].ring;
            let slot = usize::try_from(header.id).unwrap_or(usize::MAX);
            if slot < ring.slots() && ring.matches(slot, 0, bytes) {
                self.state = State::Matching { publisher, slot, at: HEADER };
                return Ok(());
            }
        }
        let longest = sent.publishers.iter().map(|one| one.ring.frame_len()).max().unwrap_or(0);
        // Around a foreign one come a header, a topic and a digest.
        let longest = (longest + HEADER + usize::from(u8::MAX) + DIGEST).max(RING_BYTES);
        if header.frame_len() > longest {
            let (id, len) = (header.id, header.payload_len);
            let max = u32::try_from(longest).unwrap_or(u32::MAX);
            return self.break_off(Fault::TooLarge { id, len, max });
        }
        self.state = State::Odd { bytes: bytes.to_vec(), total: header.frame_len() };
        Ok(())
    }

    fn break_off(&mut self, fault: Fault) -> Result<(), Fault> {
        self.state = State::Broken(fault);
        Err(fault)
    }
}

/// What a whole frame is that is not what was sent.
fn judge(bytes: &[u8], sent: Expected<'_>) -> Seen {
    match sent.known.and_then(|known| known.find(bytes)) {
        Some(Found::Frame { publisher, slot }) => return Seen::Frame { publisher, slot },
        Some(Found::Login) => return Seen::Login,
        None => {}
    }
    let header = bytes.first_chunk().and_then(|header| Header::decode(header).ok());
    let header = header.expect("it was decoded when it began");
    let (key, id) = (header.key, header.id);
    if !sent.scheme.is_intact(bytes) {
        return Seen::BadDigest { key, id };
    }
    match header.kind {
        Kind::Reply => {
            let payload = &bytes[HEADER + usize::from(header.topic_len)..][..header.payload_len as usize];
            let reason = String::from_utf8_lossy(payload).into_owned();
            Seen::Reply { status: Status::from_u16(header.status), key, id, reason }
        }
        _ if sent.known.is_none() && sent.publisher(key).is_some() => Seen::Changed { id },
        _ => Seen::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::{Ring, payload};
    use super::*;
    use crate::core::limits::RING_PACKED;
    use crate::wire::encode;

    const BASE: u64 = 7 << 16;

    fn publishers(payload_len: usize) -> Vec<Publisher> {
        let payload = payload(payload_len);
        let ring = |n| Ring::new(BASE + n, "t", &payload, 4, &Scheme::Sha256);
        (0..2).map(|n| Publisher::new(ring(n))).collect()
    }

    fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(header, b"t", payload, &Scheme::Sha256, &mut bytes);
        bytes
    }

    /// What is seen, and the fault at the end, if there is one.
    fn seen(publishers: &[Publisher], pieces: &[&[u8]]) -> (Vec<Seen>, Option<Fault>) {
        let sent = Expected { base: BASE, publishers, known: None, scheme: &Scheme::Sha256 };
        let (mut checker, mut all) = (Checker::default(), Vec::new());
        let fault = pieces.iter().find_map(|piece| checker.take(piece, sent, |seen| all.push(seen)).err());
        (all, fault)
    }

    /// Two frames as sent, each kind of other, and one as sent again.
    fn stream(publishers: &[Publisher]) -> (Vec<u8>, Vec<Seen>) {
        let whole = |publisher: usize, slot| {
            let ring = &publishers[publisher].ring;
            ring.beginning(slot, ring.frame_len())
        };
        let data = Header { key: BASE + 1, id: 2, ..Header::new(Kind::Data) };
        let reply = Header { status: Status::Gap as u16, key: 5, id: 9, ..Header::new(Kind::Reply) };
        let mut flipped_payload = whole(1, 3);
        flipped_payload[40] ^= 1;
        let mut flipped_digest = whole(0, 1);
        *flipped_digest.last_mut().unwrap() ^= 1;
        let mut flipped_id = whole(0, 2);
        flipped_id[25] ^= 1;
        let bytes = [
            whole(0, 0),
            whole(1, 3),
            flipped_payload,
            flipped_digest,
            flipped_id,
            frame(data, b"other"),
            frame(Header { key: 1, ..data }, b"not ours"),
            frame(reply, b"slow"),
            whole(0, 1),
        ];
        let expected = vec![
            Seen::Frame { publisher: 0, slot: 0 },
            Seen::Frame { publisher: 1, slot: 3 },
            Seen::BadDigest { key: BASE + 1, id: 3 },
            Seen::BadDigest { key: BASE, id: 1 },
            Seen::BadDigest { key: BASE, id: (1 << 48) + 2 },
            Seen::Changed { id: 2 },
            Seen::Foreign,
            Seen::Reply { status: Some(Status::Gap), key: 5, id: 9, reason: "slow".into() },
            Seen::Frame { publisher: 0, slot: 1 },
        ];
        (bytes.concat(), expected)
    }

    #[test]
    fn every_split_sees_the_same() {
        let publishers = publishers(20);
        let (bytes, expected) = stream(&publishers);
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(seen(&publishers, &[first, second]), (expected.clone(), None), "{at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(seen(&publishers, &single), (expected, None));
    }

    #[test]
    fn frames_with_a_shared_payload_too() {
        let publishers = publishers(RING_PACKED);
        let (bytes, expected) = stream(&publishers);
        for piece in [1_000, 8_191, 100_000] {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            assert_eq!(seen(&publishers, &pieces), (expected.clone(), None), "{piece}");
        }
    }

    #[test]
    fn what_comes_of_a_layout_is_known_by_its_digest() {
        let publishers = publishers(20);
        let data = Header { key: 12, ..Header::new(Kind::Data) };
        let [first, second, login, other] =
            [&b"first"[..], b"second", b"login", b"other"].map(|of| frame(data, of));
        let mut known = Known::default();
        known.add(&first, 0, 3);
        known.add(&second, 1, 0);
        known.add_login(&login);
        let mut flipped = second.clone();
        flipped[34] ^= 1;
        let reply = frame(Header { status: Status::Gap as u16, key: 5, ..Header::new(Kind::Reply) }, b"slow");
        let bytes = [login, second, first, flipped, other, reply].concat();
        let expected = [
            Seen::Login,
            Seen::Frame { publisher: 1, slot: 0 },
            Seen::Frame { publisher: 0, slot: 3 },
            Seen::BadDigest { key: 12, id: 0 },
            Seen::Foreign,
            Seen::Reply { status: Some(Status::Gap), key: 5, id: 0, reason: "slow".into() },
        ];
        let sent =
            Expected { base: BASE, publishers: &publishers, known: Some(&known), scheme: &Scheme::Sha256 };
        for piece in [1, 31, 32, 33, 70, bytes.len()] {
            let (mut checker, mut all) = (Checker::default(), Vec::new());
            bytes.chunks(piece).for_each(|bytes| checker.take(bytes, sent, |seen| all.push(seen)).unwrap());
            assert_eq!(all, expected, "{piece}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_it() {
        let publishers = publishers(20);
        let http = seen(&publishers, &[b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"more"]);
        assert!(http.0.is_empty() && matches!(http.1, Some(Fault::Magic { .. })), "{http:?}");
        let mut long = frame(Header::new(Kind::Data), b"");
        long[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(seen(&publishers, &[&long]).1, Some(Fault::TooLarge { .. })));
        let sent = Expected { base: BASE, publishers: &publishers, known: None, scheme: &Scheme::Sha256 };
        let mut checker = Checker::default();
        for _ in 0..2 {
            assert!(checker.take(b"GET", sent, |_| ()).is_err());
        }
    }
}
