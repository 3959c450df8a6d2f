//! The 32 bytes that every frame begins with.

use super::fault::Fault;

/// Bytes of a header.
pub const HEADER: usize = 32;
/// Bytes of a digest, the last of a frame.
pub const DIGEST: usize = 32;
/// The first two bytes of a frame, the letters `FG`.
pub const MAGIC: [u8; 2] = *b"FG";
/// The version of the protocol, the third byte of a frame.
pub const VERSION: u8 = 1;

const WANT_REPLY: u8 = 1;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Verify me, then distribute me.
    Data = 0,
    /// What became of a frame; only a gateway sends it.
    Reply = 1,
    /// Deliver to me what matches the pattern in the topic field.
    Subscribe = 2,
    /// Take that back.
    Unsubscribe = 3,
    /// Answer me with OK.
    Ping = 4,
    /// Everything up to the sequence in the key is done.
    Ack = 5,
    /// I am who the topic field says, and the payload is my token.
    Auth = 6,
}

impl Kind {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Data => "DATA",
            Kind::Reply => "REPLY",
            Kind::Subscribe => "SUBSCRIBE",
            Kind::Unsubscribe => "UNSUBSCRIBE",
            Kind::Ping => "PING",
            Kind::Ack => "ACK",
            Kind::Auth => "AUTH",
        }
    }

    fn from_u8(byte: u8) -> Option<Kind> {
        Some(match byte {
            0 => Kind::Data,
            1 => Kind::Reply,
            2 => Kind::Subscribe,
            3 => Kind::Unsubscribe,
            4 => Kind::Ping,
            5 => Kind::Ack,
            6 => Kind::Auth,
            _ => return None,
        })
    }
}

/// What a REPLY says of a frame. From [`Status::Malformed`] on, the connection closes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Status {
    /// Verified, and everything that this gateway does with the frame is done.
    Ok = 0,
    /// The digest does not match; the frame is dropped and counted.
    BadDigest = 1,
    /// Admission is full and set to reject; send again later.
    Busy = 2,
    /// Refused for the reason in the payload.
    Rejected = 3,
    /// A part whose whole never came within the lease.
    Expired = 4,
    /// These very bytes were already accepted within the deduplication window.
    Duplicate = 5,
    /// To a subscriber: `key` frames were lost to it, here.
    Gap = 6,
    /// To a durable subscriber: `key` is the sequence of the next frame.
    Position = 7,
    /// The stream cannot be cut any more.
    Malformed = 16,
    /// The payload is larger than the gateway's `max-payload`.
    TooLarge = 17,
    /// The first frame does not carry the listener's HMAC, or the connection has no identity that may be here.
    Unauthorized = 18,
    /// The gateway is draining: this was not accepted.
    Closing = 19,
    /// This subscriber fell further behind than its outbox allows.
    Slow = 20,
    /// A newer connection took this durable name.
    Taken = 21,
}

/// What an OK says of a frame that matched no subscriber, where nothing else takes frames either: it is gone. With its
/// header it is one block of SHA-256, so it costs no more than an OK without a word.
pub const NO_SUBSCRIBER: &str = "no subscriber";

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Status; 14] = [
        Status::Ok,
        Status::BadDigest,
        Status::Busy,
        Status::Rejected,
        Status::Expired,
        Status::Duplicate,
        Status::Gap,
        Status::Position,
        Status::Malformed,
        Status::TooLarge,
        Status::Unauthorized,
        Status::Closing,
        Status::Slow,
        Status::Taken,
    ];

    /// The status with this number, if the protocol has one.
    pub fn from_u16(number: u16) -> Option<Status> {
        Self::ALL.into_iter().find(|&status| status as u16 == number)
    }

    /// The name in the protocol, as people and logs read it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::BadDigest => "BAD_DIGEST",
            Status::Busy => "BUSY",
            Status::Rejected => "REJECTED",
            Status::Expired => "EXPIRED",
            Status::Duplicate => "DUPLICATE",
            Status::Gap => "GAP",
            Status::Position => "POSITION",
            Status::Malformed => "MALFORMED",
            Status::TooLarge => "TOO_LARGE",
            Status::Unauthorized => "UNAUTHORIZED",
            Status::Closing => "CLOSING",
            Status::Slow => "SLOW",
            Status::Taken => "TAKEN",
        }
    }

    /// Whether the connection closes after this status.
    pub fn closes(self) -> bool {
        self >= Status::Malformed
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A header whose fields are each in range. What a frame's kind makes of them (a topic of a DATA,
/// a pattern of a SUBSCRIBE) is judged in the frame's turn, not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Whether its sender asked for a REPLY.
    pub want_reply: bool,
    /// Bytes of the topic.
    pub topic_len: u8,
    /// Of a REPLY, the number of its [`Status`]; else 0.
    pub status: u16,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// Which part of a whole this is, from 0.
    pub part_index: u16,
    /// How many parts the whole has; 0 or 1 on a whole frame.
    pub part_count: u16,
    /// What the frame belongs to; of a GAP, the frames lost; of a POSITION and an ACK, a sequence.
    pub key: u64,
    /// The publisher's own number for the frame.
    pub id: u64,
}

impl Header {
    /// A header of `kind` with every other field 0.
    pub fn new(kind: Kind) -> Header {
        Header {
            kind,
            want_reply: false,
            topic_len: 0,
            status: 0,
            payload_len: 0,
            part_index: 0,
            part_count: 0,
            key: 0,
            id: 0,
        }
    }

    /// Finds what can never become a frame in the first bytes of one, without waiting for the rest:
    /// a peer that speaks another protocol may send less than a header and wait.
    pub fn check_prefix(bytes: &[u8]) -> Result<(), Fault> {
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(Fault::magic(bytes));
        }
        match bytes.get(2) {
            Some(&version) if version != VERSION => Err(Fault::Version(version)),
            _ => Ok(()),
        }
    }

    /// Decodes the first [`HEADER`] bytes of a frame.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Header, Fault> {
        Self::check_prefix(bytes)?;
        let id = be64(bytes, 24);
        let kind = Kind::from_u8(bytes[3]).ok_or(Fault::Kind { id, kind: bytes[3] })?;
        let flags = bytes[4];
        if flags & !WANT_REPLY != 0 {
            return Err(Fault::Flags { id, flags });
        }
        let status = be16(bytes, 6);
        if status != 0 && kind != Kind::Reply {
            return Err(Fault::Status { id, status });
        }
        Ok(Header {
            kind,
            want_reply: flags & WANT_REPLY != 0,
            topic_len: bytes[5],
            status,
            payload_len: be32(bytes, 8),
            part_index: be16(bytes, 12),
            part_count: be16(bytes, 14),
            key: be64(bytes, 16),
            id,
        })
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = self.kind as u8;
        bytes[4] = if self.want_reply { WANT_REPLY } else { 0 };
        bytes[5] = self.topic_len;
        bytes[6..8].copy_from_slice(&self.status.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.payload_len.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.part_index.to_be_bytes());
        bytes[14..16].copy_from_slice(&self.part_count.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.key.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.id.to_be_bytes());
        bytes
    }

    /// Whether the frame is answered: if it asks, and a PING always.
    pub fn is_answered(&self) -> bool {
        self.want_reply || self.kind == Kind::Ping
    }

    /// Whether it says that it is a part, possible or not.
    pub fn is_part(&self) -> bool {
        self.kind == Kind::Data && (self.part_count >= 2 || self.part_index > 0)
    }

    /// Bytes of the whole frame: header, topic, payload, digest.
    pub fn frame_len(&self) -> usize {
        HEADER + self.topic_len as usize + self.payload_len as usize + DIGEST
    }

    /// The same of the bytes of a header that is known to be one, without looking at more of it.
    #[inline]
    pub(super) fn frame_len_of(bytes: &[u8; HEADER]) -> usize {
        HEADER + usize::from(bytes[5]) + be32(bytes, 8) as usize + DIGEST
    }
}

fn be16(bytes: &[u8; HEADER], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be64(bytes: &[u8; HEADER], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            kind: Kind::Data,
            want_reply: true,
            topic_len: 3,
            status: 0,
            payload_len: 0x0102_0304,
            part_index: 5,
            part_count: 6,
            key: 0x1122_3344_5566_7788,
            id: u64::MAX - 1,
        }
    }

    #[test]
    fn the_layout_is_the_protocols() {
        let bytes = sample().encode();
        assert_eq!(bytes[..8], [0x46, 0x47, 1, 0, 1, 3, 0, 0]);
        assert_eq!(bytes[8..16], [1, 2, 3, 4, 0, 5, 0, 6]);
        assert_eq!(bytes[16..24], 0x1122_3344_5566_7788u64.to_be_bytes());
        assert_eq!(bytes[24..], (u64::MAX - 1).to_be_bytes());
        assert_eq!(Header::decode(&bytes), Ok(sample()));
        assert_eq!(sample().frame_len(), 32 + 3 + 0x0102_0304 + 32);
    }

    #[test]
    fn every_value_of_every_checked_byte_is_judged() {
        for (at, good) in [(0, 0x46u8), (1, 0x47), (2, 1)] {
            for value in 0..=255u8 {
                let mut bytes = sample().encode();
                bytes[at] = value;
                let fault = Header::decode(&bytes).err();
                assert_eq!(fault.is_none(), value == good, "byte {at} = {value}");
                if let Some(fault) = fault {
                    assert_eq!(fault.id(), 0, "nothing after a wrong magic or version is believed");
                    assert!(Header::check_prefix(&bytes[..3]).is_err());
                }
            }
        }
        for value in 0..=255u8 {
            let mut bytes = sample().encode();
            bytes[3] = value;
            assert_eq!(Header::decode(&bytes).is_ok(), value <= 6, "kind {value}");
            let mut bytes = sample().encode();
            bytes[4] = value;
            assert_eq!(Header::decode(&bytes).is_ok(), value <= 1, "flags {value}");
        }
        for at in [6, 7] {
            for value in 1..=255u8 {
                let mut bytes = sample().encode();
                bytes[at] = value;
                assert_eq!(Header::decode(&bytes).map_err(|f| f.id()), Err(u64::MAX - 1));
                bytes[3] = Kind::Reply as u8;
                assert!(Header::decode(&bytes).is_ok());
            }
        }
    }

    #[test]
    fn a_prefix_is_judged_as_soon_as_it_can_be() {
        assert!(Header::check_prefix(b"").is_ok());
        assert!(Header::check_prefix(b"F").is_ok());
        assert!(Header::check_prefix(b"FG\x01").is_ok());
        assert!(Header::check_prefix(b"G").is_err());
        assert!(Header::check_prefix(b"FO").is_err());
    }

    #[test]
    fn statuses_and_their_numbers_agree() {
        for status in Status::ALL {
            assert_eq!(Status::from_u16(status as u16), Some(status));
            assert_eq!(status.closes(), status as u16 >= 16);
        }
        assert_eq!(Status::from_u16(8), None);
    }
}
