//! Replies as bytes.

use crate::core::limits::{REASON_MAX, SINK_REASON_MAX};
use crate::wire::{Header, Kind, Scheme, Status, encode};

/// Appends a REPLY to `out`.
pub fn encode_reply(id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    encode_within(REASON_MAX, id, status, reason, scheme, out);
}

/// Appends a REPLY that tells why a sink has refused a frame, which may take more than was set aside.
pub fn encode_refusal(id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    encode_within(SINK_REASON_MAX, id, status, reason, scheme, out);
}

fn encode_within(most: usize, id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    let header = Header { status: status as u16, id, ..Header::new(Kind::Reply) };
    let reason = &reason[..reason.floor_char_boundary(most)];
    encode(header, b"", reason.as_bytes(), scheme, out);
}
