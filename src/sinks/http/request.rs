//! A frame as a request.

use crate::core::units::hex;
use crate::http::dispatch::Request;
use crate::http::wire::Field;
use crate::sinks::Put;
use crate::wire::{Body, DIGEST, HEADER, Header};

/// A frame on its way to the store.
#[derive(Debug)]
pub struct FramePost {
    pub ticket: u64,
    pub header: Header,
    pub body: Body,
    content_type: Field,
}

impl FramePost {
    pub fn new(put: Put, content_type: Field) -> FramePost {
        let Put { body, ticket, .. } = put;
        let bytes = body.bytes(0..HEADER);
        let header = bytes.first_chunk().and_then(|header| Header::decode(header).ok());
        let header = header.expect("only what was cut is posted");
        debug_assert_eq!(header.frame_len(), body.len());
        FramePost { ticket, header, body, content_type }
    }

    fn payload_start(&self) -> usize {
        HEADER + usize::from(self.header.topic_len)
    }
}

impl Request for FramePost {
    fn fields(&self) -> Vec<Field> {
        let key = hex(&self.body.bytes(self.body.len() - DIGEST..self.body.len()));
        vec![
            self.content_type.clone(),
            field("Idempotency-Key", key.as_bytes()),
            // Of any language, but without control characters and spaces.
            field("Framegate-Topic", &self.body.bytes(HEADER..self.payload_start())),
            field("Framegate-Key", self.header.key.to_string().as_bytes()),
            field("Framegate-Id", self.header.id.to_string().as_bytes()),
        ]
    }

    fn body_len(&self) -> usize {
        self.header.payload_len as usize
    }

    fn body_at(&self, at: usize) -> &[u8] {
        let mut left = self.payload_start() + at;
        let mut rest = self.body_len() - at;
        if rest == 0 {
            return &[];
        }
        for slice in self.body.slices() {
            if left < slice.len() {
                rest = rest.min(slice.len() - left);
                return &slice[left..left + rest];
            }
            left -= slice.len();
        }
        unreachable!("a payload is within its frame")
    }
}

fn field(name: &'static str, value: &[u8]) -> Field {
    Field::new(name, value).expect("a topic is checked before it is distributed, and numbers are digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::{Buffer, Memory};
    use crate::wire::{Kind, Scheme, encode};
    use std::sync::Arc;

    #[test]
    fn a_frame_is_a_request() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let mut bytes = Vec::new();
        let header = Header { key: 7, id: 9, ..Header::new(Kind::Data) };
        encode(header, "orders.ü".as_bytes(), b"hello", &Scheme::Sha256, &mut bytes);
        let digest = hex(&bytes[bytes.len() - DIGEST..]);
        // Behind another in one buffer.
        let bytes = [&[0; 10][..], &bytes].concat();
        let (start, end) = (10, bytes.len());
        let buffer = Arc::new(Buffer::charged(&memory, bytes.into()));
        let body = Body::Slice { buffer, start, end };
        let post =
            FramePost::new(Put { ticket: 3, from: 1, body, frames: 1 }, field("Content-Type", b"text/plain"));
        assert_eq!((post.ticket, post.body_len()), (3, 5));
        assert_eq!(
            (post.body_at(0), post.body_at(2), post.body_at(5)),
            (&b"hello"[..], &b"llo"[..], &b""[..])
        );
        let mut head = Vec::new();
        let target = "http://h/a".parse().unwrap();
        let request = crate::http::wire::Request::new(&crate::http::wire::Method::POST, &target, &[]);
        request.encode_head(&post.fields(), 5, &mut head);
        let head = String::from_utf8(head).unwrap();
        for line in [
            "Framegate-Topic: orders.ü",
            "Framegate-Key: 7",
            "Framegate-Id: 9",
            &format!("Idempotency-Key: {digest}"),
            "Content-Length: 5",
        ] {
            assert!(head.lines().any(|found| found == line), "{line} in {head}");
        }
    }
}
