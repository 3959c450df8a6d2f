//! What every variant and the load agree on: limits, and the frames in a run of bytes.

use std::ops::Range;

use framegate::wire::{DIGEST, HEADER, Header, Kind, Rules, Scheme, encode};

/// What a gateway takes: payloads of up to 16 MiB, Framegate's default.
pub const RULES: Rules = Rules { payload_max: 16 << 20, replies: false };

/// What a client takes.
pub const CLIENT_RULES: Rules = Rules { payload_max: 16 << 20, replies: true };

/// 16 KiB: the first read of a connection, doubled while reads come back full; Framegate's figure.
pub const READ_MIN: usize = 16 << 10;

/// 256 KiB: the most that one read takes; Framegate's figure.
pub const READ_MAX: usize = 256 << 10;

/// 16 MiB that wait for one subscriber; then its publishers wait.
pub const OUTBOX: usize = 16 << 20;

/// 64 slices a vectored write; Framegate's figure.
pub const WRITE_SLICES: usize = 64;

/// Neighbouring frames of a run that are distributed alike: DATA of one topic, or one SUBSCRIBE.
#[derive(Debug)]
pub struct Segment {
    pub range: Range<usize>,
    pub kind: Kind,
    pub want_reply: bool,
    pub id: u64,
    topic: Range<usize>,
}

impl Segment {
    /// The topic, or the pattern, out of the run.
    pub fn topic<'a>(&self, run: &'a [u8]) -> &'a [u8] {
        &run[self.topic.clone()]
    }
}

/// Whether the last bytes of a frame are the digest of the others: one stream of SHA-256.
pub fn is_intact(frame: &[u8]) -> bool {
    Scheme::Sha256.is_intact(frame)
}

/// The frames of a run of whole ones that `intact` says yes to.
pub fn segments(run: &[u8], mut intact: impl FnMut(&[u8]) -> bool) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::with_capacity(1);
    let mut at = 0;
    while at < run.len() {
        let header = header_of(&run[at..]);
        let range = at..at + header.frame_len();
        at = range.end;
        if !intact(&run[range.clone()]) {
            continue;
        }
        let topic = range.start + HEADER..range.start + HEADER + usize::from(header.topic_len);
        match segments.last_mut() {
            Some(last)
                if last.kind == Kind::Data
                    && header.kind == Kind::Data
                    && last.range.end == range.start
                    && run[last.topic.clone()] == run[topic.clone()] =>
            {
                last.range.end = range.end;
            }
            _ => segments.push(Segment {
                range,
                kind: header.kind,
                want_reply: header.want_reply,
                id: header.id,
                topic,
            }),
        }
    }
    segments
}

/// The header at the beginning of what `cut` found to be whole.
pub fn header_of(bytes: &[u8]) -> Header {
    let header = bytes.first_chunk().and_then(|header| Header::decode(header).ok());
    header.expect("only what was cut is looked at again")
}

/// Whether a subscription takes a topic.
pub fn takes(pattern: &str, topic: &[u8]) -> bool {
    pattern == ">"
        || pattern.as_bytes() == topic
        || std::str::from_utf8(topic).is_ok_and(|topic| framegate::wire::matches(pattern, topic))
}

/// The reply that says OK to the frame `id`.
pub fn ok_reply(id: u64) -> Vec<u8> {
    frame(Header { id, ..Header::new(Kind::Reply) }, b"", b"")
}

/// A whole frame.
pub fn frame(header: Header, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + topic.len() + payload.len() + DIGEST);
    encode(header, topic, payload, &Scheme::Sha256, &mut bytes);
    bytes
}
