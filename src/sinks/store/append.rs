//! What the store is given, topic by topic.
//!
//! A put is handed over as frames of one topic. That is not taken on trust: each frame's topic is looked at, and where
//! there are several, the put is cut where the topic changes. So no frame can come into the folder of another topic,
//! whatever a gate puts together. Looking at a header costs some 10 ns, on the store's own thread.

use std::collections::HashMap;

use crate::sinks::{Outcome, Put};
use crate::wire::{Body, Frame, Header};

/// Frames of one topic, to be stored. Only [`Puts::take`] makes one.
#[derive(Debug)]
pub struct Append {
    body: Body,
    frames: u32,
    ticket: u64,
    from: u64,
    /// The put that it is a piece of, where that has several.
    piece_of: Option<u64>,
    /// It was written once, and not stored: until that is undone it may turn up after a crash.
    is_tried: bool,
}

impl Append {
    /// It was written, and that did not store it.
    pub fn tried(self) -> Append {
        Append { is_tried: true, ..self }
    }

    /// Whether it may turn up in the store though it was never told.
    pub fn is_tried(&self) -> bool {
        self.is_tried
    }

    /// The connection that it comes from.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The bytes of its frames.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// How many they are.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether there are none; no append is made that has none.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The topic of its frames.
    pub fn topic(&self) -> &[u8] {
        let mut slices = self.body.slices();
        let first = slices.next().expect("frames have bytes");
        let (head, rest) = first.split_first_chunk().expect("a frame's header lies together");
        let header = Header::decode(head).expect("only what was cut is stored");
        // Behind the header, or first in the slice behind that.
        let topic = if rest.is_empty() { slices.next().unwrap_or_default() } else { rest };
        &topic[..header.topic_len as usize]
    }
}

/// Cuts puts into appends, and says what became of each put once that is known of all its pieces.
#[derive(Debug, Default)]
pub struct Puts {
    /// Numbers those in several pieces.
    count: u64,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    pieces: usize,
    bytes: usize,
    refusal: Option<Box<str>>,
}

impl Puts {
    /// Hands over a put's appends, in its order.
    pub fn take(&mut self, put: Put, mut give: impl FnMut(Append)) {
        let Put { ticket, from: conn, body, frames } = put;
        let runs = runs(&body, frames);
        if runs.is_empty() {
            return give(Append { body, frames, ticket, from: conn, piece_of: None, is_tried: false });
        }
        self.count += 1;
        let open = Open { pieces: runs.len(), bytes: body.len(), refusal: None };
        self.open.insert(self.count, open);
        let mut from = 0;
        for (end, frames) in runs {
            let (body, piece_of) = (body.part(from, end), Some(self.count));
            give(Append { body, frames, ticket, from: conn, piece_of, is_tried: false });
            from = end;
        }
    }

    /// An append is stored, or refused for a reason. What became of its put, if that was the last of it.
    pub fn done(&mut self, append: Append, refusal: Option<Box<str>>) -> Option<Outcome> {
        let Append { body, ticket, piece_of, .. } = append;
        let Some(put) = piece_of else { return Some(Outcome { ticket, bytes: body.len(), refusal }) };
        let open = self.open.get_mut(&put)?;
        open.pieces -= 1;
        open.refusal = open.refusal.take().or(refusal);
        if open.pieces > 0 {
            return None;
        }
        let Open { bytes, refusal, .. } = self.open.remove(&put)?;
        Some(Outcome { ticket, bytes, refusal })
    }
}

/// Where each run of frames of one topic ends, and how many they are; none where all are of one topic.
fn runs(body: &Body, frames: u32) -> Vec<(usize, u32)> {
    let mut runs = Vec::new();
    if frames < 2 {
        return runs;
    }
    let bytes = body.slices().next().unwrap_or_default();
    let mut topic = Frame::first_of(bytes).topic();
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let frame = Frame::first_of(&bytes[at..]);
        if frame.topic() != topic {
            runs.push((at, count));
            (topic, count) = (frame.topic(), 0);
        }
        at += frame.bytes.len();
        count += 1;
    }
    if !runs.is_empty() {
        runs.push((at, count));
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::memory::{Buffer, Memory};
    use crate::wire::{Kind, Scheme, encode};

    fn put(topics: &[&str]) -> Put {
        let mut bytes = Vec::new();
        for (id, topic) in (0..).zip(topics) {
            let header = Header { id, ..Header::new(Kind::Data) };
            encode(header, topic.as_bytes(), b"payload", &Scheme::Sha256, &mut bytes);
        }
        let (memory, end) = (Memory::new(Memory::least(1 << 20), 1 << 20), bytes.len());
        let buffer = Arc::new(Buffer::charged(&memory, bytes.into()));
        Put { ticket: 7, from: 0, body: Body::Slice { buffer, start: 0, end }, frames: topics.len() as u32 }
    }

    #[test]
    fn a_put_of_several_topics_is_cut_where_they_change() {
        for (topics, expected) in [
            (&["a"][..], &[("a", 1)][..]),
            (&["a", "a"], &[("a", 2)]),
            (&["a", "b"], &[("a", 1), ("b", 1)]),
            (&["a", "b", "b", "a", ""], &[("a", 1), ("b", 2), ("a", 1), ("", 1)]),
            // One begins as the other does.
            (&["a.b", "a", "a.b"], &[("a.b", 1), ("a", 1), ("a.b", 1)]),
        ] {
            let (put, mut puts, mut appends) = (put(topics), Puts::default(), Vec::new());
            let all = put.body.bytes(0..put.body.len()).into_owned();
            puts.take(put, |append| appends.push(append));
            let found: Vec<_> =
                appends.iter().map(|a| (std::str::from_utf8(a.topic()).unwrap(), a.frames())).collect();
            assert_eq!(found, expected);
            let bytes: Vec<u8> = appends.iter().flat_map(|a| a.body().slices()).flatten().copied().collect();
            assert_eq!(bytes, all, "all of them, in their order");
            // The put's outcome comes once, with the last of its pieces, whichever that is.
            appends.reverse();
            let last = appends.pop().unwrap();
            for append in appends {
                assert_eq!(puts.done(append, Some("no".into())), None);
            }
            let refusal = (expected.len() > 1).then(|| "no".into());
            let outcome = Outcome { ticket: 7, bytes: all.len(), refusal };
            assert_eq!(puts.done(last, None), Some(outcome));
            assert!(puts.open.is_empty());
        }
    }
}
