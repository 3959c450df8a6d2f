//! From foreign frames to native ones: the work of a worker.
//!
//! A run is what one read of one connection gave, whole frames of a layout. All of them are verified, answered and
//! written into one native batch. What a frame makes known for later ones (`keep`) is used by those behind it in the
//! run; so that the next run begins with what this one ends with, a connection waits for a run that keeps something
//! ([`Run::keeps`]). Fields of a frame whose check is wrong are never kept: that is why they are not taken on the loop,
//! where the order would be known without waiting.

use std::ops::Range;
use std::sync::Arc;

use super::check::Sum;
use super::form::{Declared, Layout, Made};
use super::format::{Asked, Parsed, Verdict};
use super::kept::Kept;
use super::place::View;
use super::template::{Context, Refusal};
use crate::core::limits::{PIECE, READ_MAX};
use crate::core::memory::{Buffer, Charge, Memory};
use crate::wire::batch::Verified;
use crate::wire::digest::Scheme;
use crate::wire::draft::Draft;
use crate::wire::header::{DIGEST, HEADER, Header, Kind};

/// Where a frame is in its run, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its first byte.
    pub start: u32,
    /// Behind its last byte.
    pub end: u32,
    /// Its shape, as the [`Cutter`](super::Cutter) said.
    pub shape: u16,
}

/// Whole frames of one connection under a layout, not verified yet.
#[derive(Debug)]
pub struct Run {
    /// What they are.
    pub layout: Arc<Layout>,
    /// Their bytes, and perhaps some between them that were skipped.
    pub buffer: Buffer,
    /// Where they are, in order.
    pub frames: Vec<Spot>,
    /// What is known of the connection before the first.
    pub kept: Kept,
    /// For what they become: at least [`Layout::room`].
    pub room: Charge,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the next frame of the native batch.
    Published,
    /// It is right, and nothing comes of it but its reply (`publish = false`).
    Accepted,
    /// Its check is wrong.
    BadCheck,
    /// It is right, and cannot become a native frame.
    Refused(Refusal),
}

/// What the gateway said of a published frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// Nothing yet.
    #[default]
    Nothing,
    /// All is done that its reply promises.
    Ok,
    /// It is refused.
    Refused,
    /// A handler wrote what goes to the peer.
    Other,
}

/// The outcome of a frame, and what is written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What became of it.
    pub outcome: Outcome,
    /// Of a published one: what the gateway said of it.
    pub said: Said,
    /// Of the answers: the reply is `from..refuse`, the refusal `refuse..to`. Of two, one is sent.
    from: u32,
    refuse: u32,
    to: u32,
}

/// A run that was verified.
#[derive(Debug)]
pub struct Converted {
    /// The frames to be distributed, in order; none where there is none.
    pub native: Option<Verified>,
    /// Of every frame of the run.
    pub fates: Vec<Fate>,
    /// What is known of the connection behind the last.
    pub kept: Kept,
    /// Whether it is a run that [keeps](Run::keeps) something.
    pub keeps: bool,
    /// Bytes of the run, up to the end of its last frame.
    pub bytes: usize,
    answers: Vec<u8>,
    /// For the answers and the fates.
    charge: Charge,
}

/// 64 KiB: a frame that is alone in its run is not copied from here on; its native frame is made around it.
pub(super) const LARGE: usize = if READ_MAX < 64 << 10 { READ_MAX } else { 64 << 10 };

impl Run {
    /// Whether a frame of it may change what is known of its connection: then no other run of the connection begins
    /// before this one is done.
    pub fn keeps(&self) -> bool {
        self.frames.iter().any(|spot| self.layout.keeps(usize::from(spot.shape)))
    }

    /// Verifies every frame and makes native ones of those that are to be distributed, their digests under `scheme`,
    /// which also has the secret for checks that want one.
    pub fn convert(self, scheme: &Scheme, memory: &Arc<Memory>) -> Converted {
        let (mut converted, draft) = self.convert_checked(None, scheme, memory);
        converted.native = draft.map(hashed).or(converted.native);
        converted
    }

    /// Whether it is one frame that does not fit in one read: then it is verified [in pieces](super::LargeRun).
    pub fn is_large(&self) -> bool {
        self.buffer.len() > READ_MAX && self.frames.len() == 1
    }

    /// How many checks its first frame has.
    pub(super) fn checks(&self) -> usize {
        let of = self.frames.first().and_then(|spot| self.layout.all_shapes().get(usize::from(spot.shape)));
        of.map_or(0, |of| of.checks.len())
    }

    /// The same, of frames whose checks were made already where a verdict is given; the native frame of a large one is
    /// still to be hashed.
    pub(super) fn convert_checked(
        self,
        verdict: Option<bool>,
        scheme: &Scheme,
        memory: &Arc<Memory>,
    ) -> (Converted, Option<Draft>) {
        let keeps = self.keeps();
        let Run { layout, buffer, frames, mut kept, mut room } = self;
        let verdicts = match &layout.made {
            Made::Declared(declared) => side_by_side(declared, &buffer, &frames, scheme),
            Made::Code(_) => SideBySide(Vec::new()),
        };
        let is_large = matches!(frames[..], [spot] if (spot.end - spot.start) as usize >= LARGE);
        let read = frames.last().map_or(0, |spot| spot.end as usize);
        let bytes: usize = frames.iter().map(|spot| (spot.end - spot.start) as usize).sum();
        let each = HEADER + DIGEST + layout.topic_max;
        let mut out = Out {
            native: Vec::with_capacity(if is_large {
                HEADER + layout.topic_max
            } else {
                bytes + frames.len() * each
            }),
            large: is_large,
            ends: Vec::with_capacity(frames.len()),
            plain: true,
            // As much as was set aside, so that it never grows beyond that.
            answers: Vec::with_capacity(frames.len() * layout.answers_max),
            lent: Vec::new(),
            payload: 0..0,
        };
        let mut parsed = Parsed::default();
        let mut fates = Vec::with_capacity(frames.len());
        let mut unescaped = Vec::new();
        for (at, spot) in frames.iter().enumerate() {
            let (shape, raw) = (usize::from(spot.shape), &buffer[spot.start as usize..spot.end as usize]);
            let declared = match &layout.made {
                Made::Declared(declared) => declared,
                Made::Code(format) => {
                    let (keeps, answers_max) = (layout.keeps(shape), layout.answers_max);
                    let asked = Asked { frame: raw, keeps, answers_max };
                    let verdict = format.parse(asked, &mut kept, &mut parsed);
                    fates.push(out.parsed(verdict, raw, &parsed));
                    continue;
                }
            };
            let of = &declared.shapes[shape];
            let view = of.view(declared, raw, &mut unescaped);
            let is_right = verdict.unwrap_or_else(|| {
                of.checks.iter().all(|check| match verdicts.verdict(at, check.algorithm.is_side_by_side()) {
                    Some(verdict) => verdict,
                    None => check.is_right(&view, scheme),
                })
            });
            fates.push(out.frame(declared, shape, &view, raw, &mut kept, is_right, scheme));
        }
        let Out { mut native, ends, plain, mut answers, payload, .. } = out;
        answers.shrink_to_fit();
        let answers_cost = answers.capacity() + fates.capacity() * size_of::<Fate>();
        let charge = room.split(answers_cost.min(room.bytes()));
        let native = match ends.len() {
            0 => None,
            _ if is_large => {
                let topic = native.split_off(HEADER);
                let header = Header::decode(native.first_chunk().expect("a header was written"));
                let mut draft = Draft::new(header.expect("it was encoded here"), scheme);
                draft.topic(topic, memory);
                let start = frames[0].start as usize;
                draft.payload_in(Arc::new(buffer), start + payload.start..start + payload.end);
                let converted = Converted { native: None, fates, kept, keeps, bytes: read, answers, charge };
                return (converted, Some(draft));
            }
            frames => {
                seal(&mut native, &ends, scheme);
                let native = native.into_boxed_slice();
                room.resize(native.len() + crate::core::limits::BUFFER_OVERHEAD);
                Some(Verified::made_run(Buffer::new(native, room), frames as u32, plain))
            }
        };
        (Converted { native, fates, kept, keeps, bytes: read, answers, charge }, None)
    }
}

/// Hashes in pieces that stay in the cache.
fn hashed(mut draft: Draft) -> Verified {
    while draft.unhashed() > 0 {
        draft.hash(PIECE);
    }
    draft.finish()
}

/// The bytes of a foreign frame that are published.
struct Payload<'a> {
    frame: &'a [u8],
    at: Range<usize>,
}

/// What a run is written into.
struct Out {
    native: Vec<u8>,
    /// Whether the one frame is not copied.
    large: bool,
    /// Where each native frame ends.
    ends: Vec<u32>,
    /// Whether all native frames have one topic.
    plain: bool,
    answers: Vec<u8>,
    /// For replies before they are escaped, and keys.
    lent: Vec<u8>,
    /// Which bytes of the last frame are published.
    payload: Range<usize>,
}

impl Out {
    #[allow(clippy::too_many_arguments, reason = "a frame with all that is known of it")]
    fn frame(
        &mut self,
        layout: &Declared,
        shape: usize,
        view: &View<'_>,
        raw: &[u8],
        kept: &mut Kept,
        is_right: bool,
        scheme: &Scheme,
    ) -> Fate {
        let of = view.shape;
        let mut outcome = if is_right { Outcome::Accepted } else { Outcome::BadCheck };
        let mut now = kept.clone();
        if is_right && !of.keep.is_empty() {
            match kept.with(layout, shape, of, view) {
                Ok(with) => now = with,
                Err(refusal) => outcome = Outcome::Refused(refusal),
            }
        }
        let context = Context { layout, shape, view: *view, kept: &now };
        if outcome == Outcome::Accepted && of.publish {
            let key = context.key(&mut self.lent);
            let all = Payload { frame: raw, at: 0..raw.len() };
            let published = key.and_then(|key| self.publish(key, all, |topic| context.topic(topic)));
            outcome = match published {
                Ok(()) => Outcome::Published,
                Err(refusal) => Outcome::Refused(refusal),
            };
        }
        let from = self.answers.len();
        if let (Outcome::Published | Outcome::Accepted, Some(reply)) = (outcome, &of.reply)
            && let Err(refusal) = context.reply(reply, scheme, &mut self.lent, &mut self.answers)
        {
            // It would wait for its reply for ever.
            if outcome == Outcome::Published {
                self.take_back();
            }
            outcome = Outcome::Refused(refusal);
        }
        let refuse = self.answers.len();
        if let Some(reply) = &of.refuse {
            // One that cannot be made is silence: there is nothing else to say.
            let _ = context.reply(reply, scheme, &mut self.lent, &mut self.answers);
        }
        let to = self.answers.len();
        // Of a frame that is refused nothing is believed.
        if matches!(outcome, Outcome::Published | Outcome::Accepted) {
            *kept = now;
        }
        Fate { outcome, said: Said::Nothing, from: from as u32, refuse: refuse as u32, to: to as u32 }
    }

    /// What a format in code made of a frame.
    fn parsed(&mut self, verdict: Result<Verdict, Refusal>, raw: &[u8], parsed: &Parsed) -> Fate {
        let outcome = match verdict {
            Ok(Verdict::Publish) => {
                let topic = |out: &mut Vec<u8>| {
                    out.extend_from_slice(parsed.topic.as_bytes());
                    Ok(())
                };
                let payload = Payload { frame: raw, at: parsed.payload.clone() };
                match self.publish(parsed.key, payload, topic) {
                    Ok(()) => Outcome::Published,
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
            Ok(Verdict::Accept) => Outcome::Accepted,
            Ok(Verdict::BadCheck) => Outcome::BadCheck,
            Ok(Verdict::Refuse(why)) => Outcome::Refused(Refusal::Said(why)),
            Err(refusal) => Outcome::Refused(refusal),
        };
        let from = self.answers.len();
        self.answers.extend_from_slice(&parsed.reply);
        let refuse = self.answers.len();
        self.answers.extend_from_slice(&parsed.refusal);
        let to = self.answers.len();
        Fate { outcome, said: Said::Nothing, from: from as u32, refuse: refuse as u32, to: to as u32 }
    }

    /// Appends the native frame of a part of a foreign one, but for its digest.
    fn publish(
        &mut self,
        key: u64,
        payload: Payload<'_>,
        write_topic: impl FnOnce(&mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let start = self.native.len();
        self.native.extend_from_slice(&[0; HEADER]);
        if let Err(refusal) = write_topic(&mut self.native) {
            self.native.truncate(start);
            return Err(refusal);
        }
        let topic = start + HEADER..self.native.len();
        let (topic_len, payload_len) = (topic.len() as u8, payload.at.len() as u32);
        let header = Header { topic_len, payload_len, key, ..Header::new(Kind::Data) };
        self.native[start..start + HEADER].copy_from_slice(&header.encode());
        if !self.ends.is_empty() {
            let first = HEADER..HEADER + usize::from(self.native[5]);
            self.plain &= self.native[first] == self.native[topic];
        }
        if !self.large {
            self.native.extend_from_slice(&payload.frame[payload.at.clone()]);
            self.native.extend_from_slice(&[0; DIGEST]);
        }
        self.ends.push(self.native.len() as u32);
        self.payload = payload.at;
        Ok(())
    }

    fn take_back(&mut self) {
        self.ends.pop();
        self.native.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }
}

/// Writes the digests of native frames.
fn seal(native: &mut [u8], ends: &[u32], scheme: &Scheme) {
    let mut digests = vec![[0; DIGEST]; ends.len()];
    let mut start = 0;
    let messages = ends.iter().enumerate().map(|(at, end)| {
        let message = &native[start..*end as usize - DIGEST];
        start = *end as usize;
        (message, at)
    });
    scheme.digest_each(ends.len(), messages, |digest, at| digests[at] = digest);
    for (end, digest) in ends.iter().zip(&digests) {
        native[*end as usize - DIGEST..*end as usize].copy_from_slice(digest);
    }
}

/// The verdicts of checks that are a single SHA-256, hashed side by side.
struct SideBySide(Vec<bool>);

impl SideBySide {
    fn verdict(&self, frame: usize, is_side_by_side: bool) -> Option<bool> {
        if is_side_by_side { self.0.get(frame).copied() } else { None }
    }
}

/// Where every shape has but one check of that kind, the same, and no escapes.
fn side_by_side(layout: &Declared, buffer: &[u8], frames: &[Spot], scheme: &Scheme) -> SideBySide {
    use super::check::Algorithm::{HmacSha256, Sha256};
    let mut checks = layout
        .shapes
        .iter()
        .flat_map(|of| of.checks.iter())
        .filter(|check| check.algorithm.is_side_by_side());
    let Some(first) = checks.next() else { return SideBySide(Vec::new()) };
    let is_keyed = matches!(first.algorithm, HmacSha256);
    let is_simple = checks.all(|check| matches!(check.algorithm, HmacSha256) == is_keyed)
        && layout.shapes.iter().all(|of| {
            let count = of.checks.iter().filter(|check| check.algorithm.is_side_by_side()).count();
            count <= 1 && (count == 0 || of.escapes.is_none())
        });
    if !is_simple || frames.len() < 2 {
        return SideBySide(Vec::new());
    }
    debug_assert!(is_keyed || matches!(first.algorithm, Sha256));
    let mut verdicts = vec![false; frames.len()];
    let messages = frames.iter().enumerate().filter_map(|(at, spot)| {
        let of = &layout.shapes[usize::from(spot.shape)];
        let bytes = &buffer[spot.start as usize..spot.end as usize];
        let check = of.checks.iter().find(|check| check.algorithm.is_side_by_side())?;
        let view = View { shape: of, bytes };
        let (over, place) = (view.slice(&check.over)?, view.place(&check.at)?);
        Some((&bytes[over], (at, check, &bytes[place])))
    });
    let plain = Scheme::Sha256;
    let scheme = if is_keyed { scheme } else { &plain };
    scheme.digest_each(frames.len(), messages, |digest, (at, check, place)| {
        verdicts[at] = check.agrees(&Sum::digest(&digest), place);
    });
    SideBySide(verdicts)
}

impl Fate {
    /// Whether a reply or a refusal may be written back.
    pub fn is_answered(&self) -> bool {
        self.from < self.to
    }
}

impl Converted {
    /// What a frame is answered when all is done that its OK promises; nothing for silence.
    pub fn reply(&self, fate: &Fate) -> &[u8] {
        &self.answers[fate.from as usize..fate.refuse as usize]
    }

    /// What it is answered when its check is wrong or it is refused.
    pub fn refusal(&self, fate: &Fate) -> &[u8] {
        &self.answers[fate.refuse as usize..fate.to as usize]
    }

    /// Bytes charged for the answers.
    pub fn charged(&self) -> usize {
        self.charge.bytes()
    }
}
