//! What each kind of hostile client sends.

use framegate::wire::{Header, Kind as FrameKind, Scheme, encode};

use super::serving::Combination;
use super::support::{data, silent};

const KIB: usize = 1024;

/// A kind of hostile client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    HalfHeaders,
    ByteByByte,
    LargestSilent,
    LargestTrickled,
    TooLarge,
    LargeFrames,
    RandomBytes,
    BadDigests,
    BadHeaders,
    TinyFrames,
    PingsUnread,
    RepliesUnread,
    SubscribersUnread,
    SubscribersUnreadApart,
    SubscribersTrickle,
    LongPatterns,
    PatternChurn,
    PatternsWide,
    ResetStorm,
    FinStorm,
    HalfCloseStorm,
    PartsOfManyKeys,
    PartsOverlapping,
    PartsLarge,
    Duplicates,
    ManyTopics,
    LongestTopics,
    Windows,
    OtherProtocols,
    AdminHalfRequests,
    AdminHugeHeaders,
    AdminUnread,
    AdminBodies,
}

/// Which port it connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Native,
    Admin,
}

/// How it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Everything,
    Nothing,
    /// A little, again and again: never still, and never done.
    Trickle,
}

/// What a client does beside what it sends. Rates are a connection's; a hundred times that is what the gateway sees.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub port: Port,
    pub reads: Reads,
    /// Bytes a second. 160 KiB, 16 MiB/s of them all: some 250,000 of the least frames a second, a tenth of what one
    /// core of the gateway takes.
    pub bytes: usize,
    /// Bytes a write at most.
    pub write: usize,
    /// Connections a second: 2,000 of them all cost a gateway some 5 % of a core.
    pub connects: f64,
    /// The gateway to which it means most.
    pub concerns: Combination,
    /// The number in `/status` that shows, by being greater than before, that it did what it is to do.
    pub trace: &'static str,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends what was made.
    Send,
    /// Nothing for now.
    Wait,
    /// Breaks the connection off.
    Reset,
    /// Closes it.
    Close,
    /// Closes its sending side, and reads on.
    HalfClose,
}

/// Where a client is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number.
    pub index: usize,
    /// What it did since it connected.
    pub step: usize,
    /// What it ever did: with `index`, a number that nobody else has.
    pub count: usize,
    /// Frames that it read since it connected.
    pub read: usize,
    pub payload_max: usize,
}

impl Kind {
    pub const ALL: [Kind; 33] = {
        use Kind::*;
        [
            HalfHeaders,
            ByteByByte,
            LargestSilent,
            LargestTrickled,
            TooLarge,
            LargeFrames,
            RandomBytes,
            BadDigests,
            BadHeaders,
            TinyFrames,
            PingsUnread,
            RepliesUnread,
            SubscribersUnread,
            SubscribersUnreadApart,
            SubscribersTrickle,
            LongPatterns,
            PatternChurn,
            PatternsWide,
            ResetStorm,
            FinStorm,
            HalfCloseStorm,
            PartsOfManyKeys,
            PartsOverlapping,
            PartsLarge,
            Duplicates,
            ManyTopics,
            LongestTopics,
            Windows,
            OtherProtocols,
            AdminHalfRequests,
            AdminHugeHeaders,
            AdminUnread,
            AdminBodies,
        ]
    };

    pub fn name(self) -> &'static str {
        use Kind::*;
        match self {
            HalfHeaders => "half headers, then silence",
            ByteByByte => "frames byte by byte",
            LargestSilent => "largest frames, only the header",
            LargestTrickled => "largest frames, trickled",
            TooLarge => "lengths beyond the largest",
            LargeFrames => "large frames",
            RandomBytes => "random bytes",
            BadDigests => "bad digests",
            BadHeaders => "bad versions, kinds, flags",
            TinyFrames => "tiny frames",
            PingsUnread => "PINGs, replies unread",
            RepliesUnread => "DATA, replies unread",
            SubscribersUnread => "subscribers of all, unread",
            SubscribersUnreadApart => "subscribers of their own, unread",
            SubscribersTrickle => "subscribers, read slowly",
            LongPatterns => "patterns of 127 tokens",
            PatternChurn => "SUBSCRIBE and UNSUBSCRIBE churn",
            PatternsWide => "wide patterns, new topics",
            ResetStorm => "connect and reset",
            FinStorm => "connect and close",
            HalfCloseStorm => "connect and half-close",
            PartsOfManyKeys => "parts of many keys",
            PartsOverlapping => "parts that overlap",
            PartsLarge => "large parts",
            Duplicates => "duplicates",
            ManyTopics => "10,000 topics",
            LongestTopics => "longest topics",
            Windows => "windows of replies",
            OtherProtocols => "TLS and HTTP",
            AdminHalfRequests => "admin: half requests",
            AdminHugeHeaders => "admin: huge headers",
            AdminUnread => "admin: answers unread",
            AdminBodies => "admin: endless bodies",
        }
    }

    pub fn plan(self) -> Plan {
        use Kind::*;
        const READ: &str = "/ledger/read";
        const CLOSED: &str = "/ledger/connections/closed";
        let plan = Plan {
            port: Port::Native,
            reads: Reads::Everything,
            bytes: 160 * KIB,
            write: 64 * KIB,
            connects: 10.0,
            concerns: Combination::Plain,
            trace: READ,
        };
        let unread = Plan { reads: Reads::Nothing, ..plan };
        let closed = Plan { trace: CLOSED, ..plan };
        let stored = Plan { concerns: Combination::Stored, ..plan };
        let handled = Plan { concerns: Combination::Handled, ..plan };
        // What the admin port answers is not in the ledger.
        let admin = Plan { port: Port::Admin, trace: "", ..plan };
        match self {
            HalfHeaders => Plan { trace: "/queues/connections/now", ..plan },
            // A byte each tick: 20,000 reads a second.
            ByteByByte => Plan { bytes: 200, write: 1, ..plan },
            LargestSilent => Plan { trace: "/queues/connections/now", ..plan },
            // 64 KiB in 16 s: no frame timeout ends it.
            LargestTrickled => Plan { bytes: 4 * KIB, trace: "/memory/large_bytes", ..plan },
            TooLarge => Plan { trace: "/ledger/rejected/TOO_LARGE", ..plan },
            // 100 MiB/s.
            LargeFrames => Plan { bytes: 1024 * KIB, ..plan },
            RandomBytes => Plan { trace: "/ledger/rejected/MALFORMED", ..plan },
            BadDigests => Plan { trace: "/ledger/rejected/BAD_DIGEST", ..plan },
            BadHeaders => Plan { trace: "/ledger/rejected/MALFORMED", ..plan },
            TinyFrames => plan,
            PingsUnread => unread,
            RepliesUnread => Plan { concerns: Combination::Handled, ..unread },
            SubscribersUnread | SubscribersUnreadApart => {
                Plan { bytes: 320 * KIB, trace: "/ledger/control", ..unread }
            }
            SubscribersTrickle => {
                Plan { bytes: 320 * KIB, reads: Reads::Trickle, trace: "/subscriptions/patterns/now", ..plan }
            }
            LongPatterns => Plan { trace: "/subscriptions/patterns/now", ..plan },
            PatternChurn => Plan { bytes: 40 * KIB, trace: "/ledger/control", ..plan },
            // 1,000 frames a second, each to all of them.
            PatternsWide => Plan { bytes: 2 * KIB, ..plan },
            ResetStorm | FinStorm | HalfCloseStorm => Plan { connects: 20.0, ..closed },
            PartsOfManyKeys => Plan { trace: "/parts/held", ..stored },
            PartsOverlapping => stored,
            PartsLarge => Plan { bytes: 320 * KIB, trace: "/parts/held", ..stored },
            Duplicates => handled,
            ManyTopics | LongestTopics => plan,
            Windows => handled,
            OtherProtocols => Plan { trace: "/ledger/rejected/MALFORMED", ..plan },
            AdminHalfRequests => Plan { bytes: 200, write: 1, ..admin },
            AdminHugeHeaders => Plan { bytes: 64 * KIB, ..admin },
            AdminUnread => Plan { bytes: 2 * KIB, reads: Reads::Nothing, ..admin },
            AdminBodies => Plan { bytes: 4 * KIB, ..admin },
        }
    }

    /// Adds what a client sends next to `out`, or says what else it does.
    pub fn next(self, at: Place, out: &mut Vec<u8>) -> Act {
        use Kind::*;
        let Place { index, step, count, read, payload_max } = at;
        let unique = ((index as u64) << 40) | count as u64;
        let own = format!("hostile.{index}");
        let mut frame = |header: Header, topic: &str, payload: &[u8]| {
            encode(header, topic.as_bytes(), payload, &Scheme::Sha256, out);
        };
        let subscribe = Header { want_reply: true, ..Header::new(FrameKind::Subscribe) };
        match self {
            HalfHeaders if step == 0 => out.extend(&silent(1).encode()[..16]),
            LargestSilent if step == 0 => header_of(payload_max, index, out),
            HalfHeaders | LargestSilent => return Act::Wait,
            ByteByByte => frame(data(unique), &own, &[7; 100]),
            LargestTrickled if step == 0 => header_of(payload_max, index, out),
            LargestTrickled => out.resize(KIB, 7),
            TooLarge => header_of([payload_max + 1, u32::MAX as usize][count % 2], index, out),
            LargeFrames => frame(silent(unique), &own, &vec![7; payload_max.min(2 * KIB * KIB)]),
            RandomBytes => {
                // Half of them begin as a frame does.
                if index % 2 == 0 {
                    out.extend(b"FG\x01");
                }
                out.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(KIB));
            }
            BadDigests => {
                for n in 0..16 {
                    frame(data(n), &own, &[7; 200]);
                }
                let len = out.len() / 16;
                (1..=16).for_each(|n| out[n * len - 1] ^= 1);
            }
            BadHeaders => {
                frame(data(unique), &own, b"hello");
                let (byte, value) =
                    [(0, b'X'), (2, 0), (2, 2), (3, 1), (3, 7), (3, 255), (4, 2), (4, 255), (6, 1)]
                        [count % 9];
                out[byte] = value;
            }
            TinyFrames => (0..256).for_each(|n| frame(silent(unique << 8 | n), "", b"")),
            PingsUnread => {
                (0..256).for_each(|id| frame(Header { id, ..Header::new(FrameKind::Ping) }, "", b""))
            }
            RepliesUnread => (0..256).for_each(|n| frame(data(unique << 8 | n), &own, b"")),
            SubscribersUnread if step == 0 => frame(subscribe, ">", b""),
            SubscribersUnreadApart | SubscribersTrickle if step == 0 => frame(subscribe, &own, b""),
            SubscribersUnread | SubscribersUnreadApart | SubscribersTrickle => {
                frame(silent(unique), &own, &[7; 16 * KIB]);
            }
            LongPatterns if step < 4_096 => {
                let letters: Vec<_> = (0..127).map(|_| fastrand::lowercase().to_string()).collect();
                frame(subscribe, &letters.join("."), b"");
            }
            LongPatterns => return Act::Wait,
            PatternChurn => {
                // Each pattern is taken back by the next step, and what they match is published meanwhile.
                let kind = [FrameKind::Subscribe, FrameKind::Unsubscribe][count % 2];
                frame(Header::new(kind), &alternatives(count / 2), b"");
                if count % 8 == 0 {
                    frame(silent(unique), &format!("a.a.a.a.a.x{index}.{count}"), b"");
                }
            }
            PatternsWide if step < 32 => frame(Header::new(FrameKind::Subscribe), &alternatives(step), b""),
            PatternsWide => frame(silent(unique), &format!("a.a.a.a.a.x{index}.{count}"), &[7; 100]),
            ResetStorm | FinStorm | HalfCloseStorm if step == 0 => {
                frame(data(unique), &own, b"hello");
                // And half of another.
                out.extend(&data(unique).encode()[..index % 32]);
            }
            ResetStorm => return Act::Reset,
            FinStorm => return Act::Close,
            HalfCloseStorm if step == 1 => return Act::HalfClose,
            HalfCloseStorm => return Act::Wait,
            PartsOfManyKeys => {
                let part = Header { key: unique, part_count: 3, ..data(unique) };
                frame(Header { want_reply: count % 2 == 0, ..part }, "hostile", &[7; 100]);
            }
            PartsOverlapping => {
                // All of them at the same keys, of whose counts they do not agree.
                let (key, part_count) = (count as u64 % 1_000, 2 + (index % 3) as u16);
                let part_index = (index + count / 1_000) as u16 % part_count;
                frame(Header { key, part_count, part_index, ..data(unique) }, "hostile", &[7; 100]);
            }
            PartsLarge => {
                let (key, part_index) = (unique / 500, (count % 500) as u16);
                let part = Header { key, part_count: 1_000, part_index, ..silent(unique) };
                frame(part, "hostile", &[7; 8 * KIB]);
            }
            // The same of all of them, again and again.
            Duplicates => {
                (0..16).for_each(|n| frame(data(count as u64 / 1_000 * 16 + n), "hostile", &[7; 200]))
            }
            ManyTopics => {
                let topic = format!("hostile.{}", (count * 101 + index) % 10_000);
                frame(silent(unique), &topic, &[7; 100]);
            }
            LongestTopics => {
                let topic = format!("{unique:0>24}{}", ".tokens".repeat(33));
                frame(silent(unique), &topic, b"");
            }
            Windows if read < 1_000 * step => return Act::Wait,
            Windows => (0..1_000).for_each(|n| frame(data(unique * 1_000 + n), &own, &[7; 200])),
            OtherProtocols if index % 2 == 0 => {
                out.extend(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            }
            OtherProtocols => out.extend(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello of TLS"),
            AdminHalfRequests if step == 0 => out.extend(b"GET /status HTTP/1.1\r\nHost: localhost\r\nX: "),
            AdminHalfRequests => out.push(b'x'),
            AdminHugeHeaders if step == 0 => out.extend(b"GET /status HTTP/1.1\r\nHost: localhost\r\n"),
            AdminHugeHeaders => out.extend(format!("X-{step}: {}\r\n", "x".repeat(900)).bytes()),
            AdminUnread => out.extend(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(8)),
            AdminBodies if step == 0 => {
                let length =
                    ["Content-Length: 18446744073709551615", "Transfer-Encoding: chunked"][index % 2];
                let head = "POST /ctl/set HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
                out.extend(format!("{head}{length}\r\n\r\nffffffff\r\n").bytes());
            }
            AdminBodies => out.resize(KIB, b'x'),
        }
        Act::Send
    }
}

/// The header and topic of a frame with so long a payload.
fn header_of(payload_len: usize, index: usize, out: &mut Vec<u8>) {
    let topic = format!("hostile.{index}");
    let (topic_len, payload_len) = (topic.len() as u8, payload_len as u32);
    out.extend(Header { topic_len, payload_len, ..data(1) }.encode());
    out.extend(topic.bytes());
}

/// A pattern of five tokens that are `a` or `*`, and a rest.
fn alternatives(number: usize) -> String {
    let tokens: String = (0..5).map(|bit| if number >> bit & 1 == 0 { "a." } else { "*." }).collect();
    tokens + ">"
}
