//! Why a stream cannot be cut into frames any more.

use std::fmt;

use super::header::{HEADER, MAGIC, Status, VERSION};
use super::layout::Malformed;
use crate::core::limits::ACCESS_TOKEN;

/// What is wrong with a frame's header. The stream ends with it: where the next frame would begin
/// is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant says what its fields are; `id` is the frame's")]
pub enum Fault {
    /// The first bytes are not `FG`; holds what they are and how many came.
    Magic { seen: [u8; 8], len: u8 },
    /// A version other than 1.
    Version(u8),
    /// A kind that does not exist.
    Kind { id: u64, kind: u8 },
    /// A flag that does not exist.
    Flags { id: u64, flags: u8 },
    /// A status on a frame that is no REPLY.
    Status { id: u64, status: u16 },
    /// A REPLY sent to a gateway.
    Reply { id: u64 },
    /// A payload larger than allowed; both in bytes.
    TooLarge { id: u64, len: u32, max: u32 },
    /// A token longer than one may be; both in bytes.
    LongToken { id: u64, len: u32 },
    /// The stream of a listener with a layout, that cannot be cut by it.
    Layout(Malformed),
}

impl Fault {
    pub(super) fn magic(bytes: &[u8]) -> Fault {
        let mut seen = [0; 8];
        let len = bytes.len().min(seen.len());
        seen[..len].copy_from_slice(&bytes[..len]);
        Fault::Magic { seen, len: len as u8 }
    }

    /// The status of the REPLY that tells the peer.
    pub fn status(&self) -> Status {
        match self {
            Fault::TooLarge { .. }
            | Fault::LongToken { .. }
            | Fault::Layout(Malformed::TooLarge { .. } | Malformed::Endless { .. }) => Status::TooLarge,
            _ => Status::Malformed,
        }
    }

    /// The id of the frame where it could be read, else 0.
    pub fn id(&self) -> u64 {
        match *self {
            Fault::Magic { .. } | Fault::Version(_) | Fault::Layout(_) => 0,
            Fault::Kind { id, .. }
            | Fault::Flags { id, .. }
            | Fault::Status { id, .. }
            | Fault::Reply { id }
            | Fault::TooLarge { id, .. }
            | Fault::LongToken { id, .. } => id,
        }
    }

    /// The protocol that the bytes look like, where they look like one that people send here by mistake.
    pub fn looks_like(&self) -> Option<&'static str> {
        let Fault::Magic { seen, len } = self else { return None };
        let seen = &seen[..*len as usize];
        const HTTP: [&[u8]; 9] =
            [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PRI * ", b"HTTP/"];
        if HTTP.iter().any(|method| seen.starts_with(method)) {
            Some("HTTP")
        } else if seen.starts_with(&[0x16, 0x03]) {
            Some("TLS")
        } else if seen.starts_with(b"SSH-") {
            Some("SSH")
        } else if seen.starts_with(b"CONNECT") || seen.starts_with(b"PUB ") || seen.starts_with(b"SUB ") {
            Some("NATS")
        } else if seen.first() == Some(&0x10)
            && seen.get(2..).is_some_and(|rest| rest.starts_with(b"\x00\x04MQ"))
        {
            Some("MQTT")
        } else if seen.starts_with(b"PROXY ") || seen.starts_with(b"\r\n\r\n\0\r\nQ") {
            Some("the PROXY protocol")
        } else {
            None
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Magic { seen, len } => {
                match self.looks_like() {
                    Some(protocol) => write!(f, "this looks like {protocol}, not like a frame")?,
                    None => write!(f, "not a frame")?,
                }
                let seen = &seen[..*len as usize];
                write!(f, ": it begins with \"{}\", not with \"FG\"", seen.escape_ascii())
            }
            Fault::Version(version) => {
                write!(f, "version {version} of the protocol is not known here, only {VERSION}")
            }
            Fault::Kind { kind, .. } => write!(f, "kind {kind} does not exist; kinds are 0 to 4, and 6"),
            Fault::Flags { flags, .. } => {
                write!(f, "flags {flags:#04x} hold a bit that does not exist; only bit 0, WANT_REPLY, does")
            }
            Fault::Status { status, .. } => {
                write!(f, "status {status} on a frame that is no REPLY; it must be 0")
            }
            Fault::Reply { .. } => write!(f, "a REPLY was sent to the gateway; only the gateway replies"),
            Fault::LongToken { len, .. } => {
                write!(f, "a token of {len} bytes is longer than the {ACCESS_TOKEN} that one may have")
            }
            Fault::TooLarge { len, max, .. } => {
                write!(f, "a payload of {len} bytes is more than the {max} allowed (max-payload)")
            }
            Fault::Layout(malformed) => malformed.fmt(f),
        }
    }
}

const _: () = assert!(MAGIC.len() <= HEADER);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_recognised() {
        for (bytes, protocol) in [
            (&b"GET / HTTP/1.1"[..], Some("HTTP")),
            (b"HTTP/1.1 400", Some("HTTP")),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", Some("TLS")),
            (b"SSH-2.0-OpenSSH", Some("SSH")),
            (b"\x10\x0e\x00\x04MQTT", Some("MQTT")),
            (b"\x10", None),
            (b"hello", None),
            (b"G", None),
        ] {
            assert_eq!(Fault::magic(bytes).looks_like(), protocol, "{bytes:?}");
        }
    }

    #[test]
    fn the_message_shows_the_bytes() {
        assert_eq!(
            Fault::magic(b"GET / HTTP/1.1\r\n").to_string(),
            "this looks like HTTP, not like a frame: it begins with \"GET / HT\", not with \"FG\""
        );
    }
}
