//! The protocol's frames, read from its description and not from the code: a field at a time, by its
//! offset in the table. It shares nothing with [`crate::wire`] but the frames that go in.

use crate::wire::{Fault, Header, Rules};

/// A whole frame, and what its fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefFrame<'a> {
    pub kind: u8,
    pub want_reply: bool,
    pub status: u16,
    pub part_index: u16,
    pub part_count: u16,
    pub key: u64,
    pub id: u64,
    pub topic: &'a [u8],
    pub payload: &'a [u8],
    pub digest: &'a [u8],
    /// All its bytes.
    pub bytes: &'a [u8],
}

/// What follows the whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefEnd {
    /// More bytes are needed: `header` says whether those of the header came.
    More { header: bool },
    /// The stream cannot be cut any more: what kind of fault, and the reply's status and id.
    Fault { what: &'static str, status: u16, id: u64 },
}

/// Every whole frame of a stream, and what comes then.
pub fn read_stream<'a>(stream: &'a [u8], rules: &Rules) -> (Vec<RefFrame<'a>>, RefEnd) {
    let mut frames = Vec::new();
    let mut rest = stream;
    loop {
        match read_frame(rest, rules) {
            Ok(frame) => {
                rest = &rest[frame.bytes.len()..];
                frames.push(frame);
            }
            Err(end) => return (frames, end),
        }
    }
}

fn read_frame<'a>(bytes: &'a [u8], rules: &Rules) -> Result<RefFrame<'a>, RefEnd> {
    let malformed = |what, id| Err(RefEnd::Fault { what, status: 16, id });
    // These three are judged as soon as they are there; before the id, so there is none to tell.
    for (at, good, what) in [(0, b'F', "magic"), (1, b'G', "magic"), (2, 1, "version")] {
        if bytes.len() > at && bytes[at] != good {
            return malformed(what, 0);
        }
    }
    if bytes.len() < 32 {
        return Err(RefEnd::More { header: false });
    }
    let (kind, flags, topic_len) = (bytes[3], bytes[4], usize::from(bytes[5]));
    let status = integer(bytes, 6, 2) as u16;
    let payload_len = integer(bytes, 8, 4);
    let id = integer(bytes, 24, 8);
    if kind > 6 {
        return malformed("kind", id);
    }
    if flags > 1 {
        return malformed("flags", id);
    }
    if status != 0 && kind != 1 {
        return malformed("status", id);
    }
    if kind == 1 && !rules.replies {
        return malformed("reply", id);
    }
    if kind == 6 && payload_len > 256 {
        return Err(RefEnd::Fault { what: "long token", status: 17, id });
    }
    if payload_len > u64::from(rules.payload_max) {
        return Err(RefEnd::Fault { what: "too large", status: 17, id });
    }
    let payload_at = 32 + topic_len;
    let digest_at = payload_at + payload_len as usize;
    let end = digest_at + 32;
    if bytes.len() < end {
        return Err(RefEnd::More { header: true });
    }
    Ok(RefFrame {
        kind,
        want_reply: flags == 1,
        status,
        part_index: integer(bytes, 12, 2) as u16,
        part_count: integer(bytes, 14, 2) as u16,
        key: integer(bytes, 16, 8),
        id,
        topic: &bytes[32..payload_at],
        payload: &bytes[payload_at..digest_at],
        digest: &bytes[digest_at..end],
        bytes: &bytes[..end],
    })
}

fn integer(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().fold(0, |number, &byte| number * 256 + u64::from(byte))
}

impl RefFrame<'_> {
    /// Whether a decoded header says the same.
    pub fn assert_is(&self, header: &Header) {
        let lens = (usize::from(header.topic_len), header.payload_len as usize);
        assert_eq!(lens, (self.topic.len(), self.payload.len()));
        assert_eq!((header.kind as u8, header.want_reply), (self.kind, self.want_reply));
        assert_eq!((header.status, header.key, header.id), (self.status, self.key, self.id));
        assert_eq!((header.part_index, header.part_count), (self.part_index, self.part_count));
        assert_eq!(header.frame_len(), self.bytes.len());
        assert_eq!(header.is_answered(), self.want_reply || self.kind == 4);
    }
}

/// A fault as the reference tells it. The bytes that a wrong magic shows are left out: how many had
/// come is a matter of the pieces.
pub fn end_of(fault: &Fault) -> RefEnd {
    let what = match fault {
        Fault::Magic { .. } => "magic",
        Fault::Version(_) => "version",
        Fault::Kind { .. } => "kind",
        Fault::Flags { .. } => "flags",
        Fault::Status { .. } => "status",
        Fault::Reply { .. } => "reply",
        Fault::TooLarge { .. } => "too large",
        Fault::LongToken { .. } => "long token",
        Fault::Layout(_) => "layout",
    };
    assert!(!fault.to_string().is_empty());
    RefEnd::Fault { what, status: fault.status() as u16, id: fault.id() }
}
