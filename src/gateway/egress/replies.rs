//! Replies as bytes.

use crate::core::limits::{REASON_MAX, SINK_REASON_MAX};
use crate::wire::{DIGEST, Header, Kind, Scheme, Status, encode};

/// Appends a REPLY to `out`.
pub fn encode_reply(id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    encode_within(REASON_MAX, id, status, reason, scheme, out);
}

/// Appends a REPLY that no peer gets, with zeros for its digest: what a device is told is made of it, and that costs a
/// hash less a frame.
pub fn encode_unsealed(id: u64, status: Status, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
    let payload_len = reason.len() as u32;
    let header = Header { status: status as u16, id, payload_len, ..Header::new(Kind::Reply) };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(&[0; DIGEST]);
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
