//! The wire protocol once more, written from its description and with nothing of the crate: what judges the
//! gateway must not share its mistakes.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

/// Bytes before the topic, and behind the payload.
pub const HEAD: usize = 32;
pub const TAIL: usize = 32;

pub const DATA: u8 = 0;
pub const REPLY: u8 = 1;
pub const SUBSCRIBE: u8 = 2;
pub const PING: u8 = 4;

pub const OK: u16 = 0;
pub const BAD_DIGEST: u16 = 1;
pub const BUSY: u16 = 2;
pub const REJECTED: u16 = 3;
pub const EXPIRED: u16 = 4;
pub const DUPLICATE: u16 = 5;
pub const GAP: u16 = 6;
pub const MALFORMED: u16 = 16;
pub const TOO_LARGE: u16 = 17;
pub const CLOSING: u16 = 19;
pub const SLOW: u16 = 20;

/// What names a frame: no two frames of a world have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex()[..12])
    }
}

/// What a frame says before its payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    pub kind: u8,
    pub want: bool,
    pub index: u16,
    pub count: u16,
    pub key: u64,
    pub id: u64,
}

/// The digest under a secret, or without.
pub fn digest(secret: Option<&[u8]>, bytes: &[u8]) -> Digest {
    Digest(match secret {
        None => Sha256::digest(bytes).into(),
        Some(secret) => {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key may have any length");
            mac.update(bytes);
            mac.finalize().into_bytes().into()
        }
    })
}

pub fn encode(head: Head, topic: &[u8], payload: &[u8], secret: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + topic.len() + payload.len() + TAIL);
    bytes.extend(b"FG\x01");
    bytes.extend([head.kind, u8::from(head.want), topic.len() as u8, 0, 0]);
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(head.index.to_be_bytes());
    bytes.extend(head.count.to_be_bytes());
    bytes.extend(head.key.to_be_bytes());
    bytes.extend(head.id.to_be_bytes());
    bytes.extend(topic);
    bytes.extend(payload);
    let digest = digest(secret, &bytes);
    bytes.extend(digest.0);
    bytes
}

/// The header of a frame that is larger than any gateway takes.
pub fn too_large() -> Vec<u8> {
    let mut bytes = encode(Head::default(), b"", b"", None);
    bytes.truncate(HEAD);
    bytes[8..12].fill(0xff);
    bytes
}

/// A frame that came out somewhere.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub status: u16,
    pub key: u64,
    pub id: u64,
    pub topic: Vec<u8>,
    /// Of a reply; what is delivered is known by its digest.
    pub text: String,
    pub digest: Digest,
    /// Whether the digest is that of its bytes.
    pub intact: bool,
}

impl Frame {
    pub fn shown(&self) -> String {
        let topic = super::expected::topic_shown(&self.topic);
        format!("frame {:?} (topic '{topic}', key {}, id {})", self.digest, self.key, self.id)
    }
}

/// Cuts a stream into frames.
#[derive(Default)]
pub struct Cutter {
    bytes: Vec<u8>,
    at: usize,
}

impl Cutter {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are no whole frame yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next frame; an error where what follows is none.
    pub fn next(&mut self, secret: Option<&[u8]>) -> Result<Option<Frame>, String> {
        let rest = &self.bytes[self.at..];
        if rest.len() < HEAD {
            return Ok(None);
        }
        if rest[..3] != *b"FG\x01" {
            return Err(format!("no frame begins with {:02x?}", &rest[..8]));
        }
        let topic = usize::from(rest[5]);
        let payload = u32::from_be_bytes(rest[8..12].try_into().expect("four bytes")) as usize;
        let body = HEAD + topic + payload;
        if rest.len() < body + TAIL {
            return Ok(None);
        }
        let number = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().expect("eight bytes"));
        let told = Digest(rest[body..body + TAIL].try_into().expect("a digest"));
        let kind = rest[3];
        let is_text = kind == REPLY;
        let text =
            if is_text { String::from_utf8_lossy(&rest[HEAD + topic..body]).into() } else { String::new() };
        let frame = Frame {
            kind,
            status: u16::from_be_bytes([rest[6], rest[7]]),
            key: number(16),
            id: number(24),
            topic: rest[HEAD..HEAD + topic].to_vec(),
            text,
            digest: told,
            intact: digest(secret, &rest[..body]) == told,
        };
        self.at += body + TAIL;
        Ok(Some(frame))
    }
}

/// Whether a pattern covers a topic: `*` is one token, a last `>` is one or more, and `>` alone is everything.
pub fn covers(pattern: &str, topic: &[u8]) -> bool {
    let Ok(topic) = std::str::from_utf8(topic) else { return false };
    if pattern == ">" || pattern == topic {
        return true;
    }
    if topic.is_empty() {
        return false;
    }
    let mut tokens = topic.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}
