//! Formats that no declaration covers: a trait, in the place of a declaration.
//!
//! Its code is somebody else's. What it answers wrongly, and that it panics, is found here and named: it ends that
//! connection, or refuses that frame, and nobody else's.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::cut::{Cut, Malformed};
use super::form::{Layout, Made};
use super::kept::Kept;
use super::template::{REPLY_MAX, Refusal, TOPIC_MAX, encode_token};
use crate::core::limits::READ_MAX;
use crate::wire::topic::check_topic;

/// A format of frames, in code: for those that no declaration covers.
///
/// The gateway asks it where a frame ends, on the thread that owns every socket, and what a frame is, on the threads
/// that verify. All else is as for a declared layout: order, replies in order, memory, drains, dedup, the store.
///
/// ```
/// use framegate::layouts::{Boundary, Format, Parsed, Progress, Verdict};
///
/// /// A length in words of two bytes, and a sum of all bytes that is 0.
/// struct Words;
///
/// impl Format for Words {
///     fn name(&self) -> &str {
///         "words"
///     }
///
///     fn cut(&self, bytes: &[u8], _: &mut Progress) -> Boundary {
///         match bytes {
///             [0, ..] => Boundary::Malformed("a frame of no words"),
///             [words, ..] => Boundary::Frame(2 * usize::from(*words)),
///             [] => Boundary::More,
///         }
///     }
///
///     fn parse(&self, frame: &[u8], parsed: &mut Parsed) -> Verdict {
///         if frame.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
///             parsed.refusal.push(0x15);
///             return Verdict::BadCheck;
///         }
///         parsed.topic.push_str("words");
///         parsed.reply.push(0x06);
///         Verdict::Publish
///     }
/// }
/// # let _ = framegate::layouts::Layout::of(Words);
/// ```
///
/// # What goes wrong in it
/// Where [`cut`](Self::cut) panics or answers what cannot be, its connection ends as MALFORMED; a frame over which
/// [`parse`](Self::parse) panics or says what cannot be is REJECTED, and its connection goes on. Either is in the log,
/// with the format's name. A program that is built with `panic = "abort"` ends instead. What takes long in `cut` holds
/// everybody up: nobody can end it.
pub trait Format: Send + Sync + 'static {
    /// What it is called in logs, metrics and the ledger: letters, digits, `_`, `.` and `-`, at most 64 of them.
    fn name(&self) -> &str;

    /// What begins at the first of `bytes`, which are all that came and are in no frame yet; there is at least one.
    ///
    /// It is called again with more bytes as long as it asks for more, and must not depend on how they are cut into
    /// reads. A length that it tells is final: the frame is read, and it is not asked again. It runs on the thread of
    /// all sockets, so it allocates nothing, looks at few bytes, and at each only once: `progress` says which it has
    /// seen.
    fn cut(&self, bytes: &[u8], progress: &mut Progress) -> Boundary;

    /// What a whole frame is, and what becomes of it. It runs on the workers, on several at once, also for frames of one
    /// connection, whose order is restored behind it.
    ///
    /// What it leaves in [`Parsed::kept`] is there again with the next frame of the connection: behind one for which
    /// [`keeps`](Self::keeps) is true the connection waits for its verdict.
    fn parse(&self, frame: &[u8], parsed: &mut Parsed) -> Verdict;

    /// Whether a whole frame may change what is [kept](Parsed::kept). A connection waits for the verdict on such frames
    /// before more of it is read, so a format that keeps something says which are its logins, and one that keeps
    /// nothing says `false`. It runs where [`cut`](Self::cut) does.
    fn keeps(&self, frame: &[u8]) -> bool {
        let _ = frame;
        true
    }

    /// The most bytes that the reply and the refusal of one frame have together; 0 if it never answers. This much memory
    /// is reserved for each frame, so at most 2 KiB are accepted.
    fn answers_max(&self) -> usize {
        64
    }
}

/// Where a frame ends, as [`Format::cut`] says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// A frame of so many bytes begins here, at least one. They need not have come: what is larger than `max-payload` is
    /// refused before it is read.
    Frame(usize),
    /// That is not known before more bytes come; not with more than 256 KiB either.
    More,
    /// Skip this many bytes, at least one and no more than were given: noise between frames. They are counted as skipped,
    /// and each stretch as one MALFORMED.
    Skip(usize),
    /// No frame begins so, for this reason, and where the next one does is not known: the connection ends.
    Malformed(&'static str),
}

/// How far [`Format::cut`] has come with the frame that begins at its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it wants to remember of the bytes that it has seen; 0 where a frame begins.
    pub note: u64,
    seen: u32,
}

impl Progress {
    /// How many of the bytes it was given before, and asked for more.
    pub fn seen(&self) -> usize {
        self.seen as usize
    }
}

/// What becomes of a frame, as [`Format::parse`] says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right, and is published under [`Parsed::topic`]. It is replied to when that is done; with a store, when
    /// it is stored.
    Publish,
    /// It is right, and nothing comes of it but its reply, as of a login.
    Accept,
    /// Its check is wrong: BAD_DIGEST, and the refusal is written.
    BadCheck,
    /// It is right and cannot be published, for this reason: REJECTED, and the refusal is written.
    Refuse(&'static str),
}

/// What [`Format::parse`] makes of a frame. All of it is empty before, but for [`payload`](Self::payload) and
/// [`kept`](Self::kept).
#[derive(Debug, Default)]
pub struct Parsed {
    /// What it is published under, 1 to 255 bytes. What comes from the frame goes in by [`token`](Self::token).
    pub topic: String,
    /// Its key.
    pub key: u64,
    /// Which of its bytes subscribers get: all, unless this is changed.
    pub payload: Range<usize>,
    /// What is written back when all is done that its acceptance promises; nothing for silence. At most 1 KiB.
    pub reply: Vec<u8>,
    /// What is written back when it is refused, here or by what comes after it. At most 1 KiB.
    pub refusal: Vec<u8>,
    /// What is known of the connection, as the frame before left it, at most 1 KiB: who logged in, the number of the
    /// last frame. Changes count if the frame is published or accepted, and [`Format::keeps`] says so of it.
    pub kept: Vec<u8>,
}

impl Parsed {
    /// Appends `bytes` to the topic, so that they are a part of one token of it whatever they are: what makes no
    /// token, such as a dot or a space, is percent-encoded.
    pub fn token(&mut self, bytes: &[u8]) {
        let mut topic = std::mem::take(&mut self.topic).into_bytes();
        let from = topic.len();
        topic.extend_from_slice(bytes);
        encode_token(&mut topic, from);
        self.topic = String::from_utf8(topic).unwrap_or_default();
    }

    fn begin(&mut self, frame: usize, kept: &Kept) {
        let Parsed { topic, key, payload, reply, refusal, kept: known } = self;
        topic.clear();
        reply.clear();
        refusal.clear();
        known.clear();
        known.extend_from_slice(kept.bytes());
        (*key, *payload) = (0, 0..frame);
    }
}

/// 1 KiB kept for a connection; charged while it is kept.
pub(super) const KEPT_BYTES_MAX: usize = 1024;

/// What is said of a format whose code answers what cannot be.
pub(super) const CODE_IS_WRONG: &str = "the code of its format is wrong";

/// A format as a layout has it.
pub(super) struct Custom(Box<dyn Format>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Custom({:?})", self.0.name())
    }
}

impl Layout {
    /// The layout of a format in code.
    pub fn of(format: impl Format) -> Arc<Layout> {
        Arc::new(Layout {
            name: format.name().into(),
            topic_max: TOPIC_MAX,
            answers_max: format.answers_max().min(2 * REPLY_MAX),
            made: Made::Code(Custom(Box::new(format))),
        })
    }
}

/// Where one connection's stream of such frames is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CustomCutter {
    progress: Progress,
    /// How long the frame is that has begun, once it was told.
    len: Option<NonZeroU32>,
    /// So many bytes of dirt are not told of yet.
    dirt: Option<NonZeroU32>,
    /// It was told of dirt since the last frame.
    is_dirty: bool,
}

impl CustomCutter {
    /// Whether bytes are to be skipped.
    pub fn is_skipping(&self) -> bool {
        self.dirt.is_some()
    }

    pub fn next(&mut self, format: &Custom, bytes: &[u8], max: usize) -> Cut {
        if let Some(dirt) = self.dirt.take() {
            return Cut::Skip(dirt.get() as usize);
        }
        let len = match self.len {
            Some(len) => len.get() as usize,
            None if bytes.is_empty() => return Cut::More(1),
            None => match self.ask(format, bytes, max) {
                Ok(len) => len,
                Err(cut) => return cut,
            },
        };
        let Some(frame) = bytes.get(..len) else { return Cut::More(len) };
        let Some(keeps) = guarded(|| format.0.keeps(frame)) else {
            return Cut::Malformed(Malformed::Code("keeps panicked"));
        };
        *self = CustomCutter::default();
        Cut::Frame { len, shape: usize::from(keeps) }
    }

    fn ask(&mut self, format: &Custom, bytes: &[u8], max: usize) -> Result<usize, Cut> {
        let said = guarded(|| format.0.cut(bytes, &mut self.progress));
        let wrong = |what| Err(Cut::Malformed(Malformed::Code(what)));
        match said {
            None => wrong("cut panicked"),
            Some(Boundary::Frame(0)) => wrong("cut says that a frame has 0 bytes"),
            Some(Boundary::Frame(len)) if len > max => {
                Err(Cut::Malformed(Malformed::TooLarge { shape: 0, len: len as u64, max }))
            }
            Some(Boundary::Frame(len)) => {
                self.len = NonZeroU32::new(len as u32);
                Ok(len)
            }
            Some(Boundary::More) if bytes.len() >= max => {
                Err(Cut::Malformed(Malformed::TooLarge { shape: 0, len: max as u64 + 1, max }))
            }
            Some(Boundary::More) if bytes.len() >= READ_MAX => {
                Err(Cut::Malformed(Malformed::Endless { shape: 0, max: READ_MAX }))
            }
            Some(Boundary::More) => {
                self.progress.seen = bytes.len() as u32;
                Err(Cut::More(bytes.len() + 1))
            }
            Some(Boundary::Skip(0)) => wrong("cut skips 0 bytes"),
            Some(Boundary::Skip(dirt)) if dirt > bytes.len() => wrong("cut skips more bytes than came"),
            Some(Boundary::Skip(dirt)) => {
                self.progress = Progress::default();
                if std::mem::replace(&mut self.is_dirty, true) {
                    return Err(Cut::Skip(dirt));
                }
                self.dirt = NonZeroU32::new(dirt as u32);
                Err(Cut::Malformed(Malformed::Dirt))
            }
            Some(Boundary::Malformed(why)) => Err(Cut::Malformed(Malformed::Said(why))),
        }
    }
}

/// A whole frame that a format in code is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub frame: &'a [u8],
    /// Whether it may change what is kept.
    pub keeps: bool,
    /// The most bytes of its answers.
    pub answers_max: usize,
}

impl Custom {
    /// What becomes of a frame, in `parsed`, whose payload is within it, whose topic is one, and whose answers are no
    /// longer than `answers_max`. Where it is published or accepted, `kept` is what is known from here on. What is wrong
    /// with the code refuses it.
    pub fn parse(&self, asked: Asked<'_>, kept: &mut Kept, parsed: &mut Parsed) -> Result<Verdict, Refusal> {
        let Asked { frame, keeps, answers_max } = asked;
        parsed.begin(frame.len(), kept);
        let Some(verdict) = guarded(|| self.0.parse(frame, parsed)) else {
            // Half an answer is none.
            *parsed = Parsed::default();
            return Err(Refusal::Code("parse panicked"));
        };
        if parsed.refusal.len() > REPLY_MAX.min(answers_max) {
            *parsed = Parsed::default();
            return Err(Refusal::Code("its refusal is too long"));
        }
        if !matches!(verdict, Verdict::Publish | Verdict::Accept) {
            parsed.reply.clear();
            return Ok(verdict);
        }
        let changes = parsed.kept != kept.bytes();
        let judged = parsed.check(verdict == Verdict::Publish, frame.len(), answers_max);
        let judged = judged.and(match changes && !keeps {
            true => Err(Refusal::Code("it changes what is kept, and keeps says it does not")),
            false => Ok(()),
        });
        match judged {
            Ok(()) if changes => *kept = Kept::of(&parsed.kept),
            Ok(()) => {}
            // Its refusal is still written.
            Err(_) => *parsed = Parsed { refusal: std::mem::take(&mut parsed.refusal), ..Parsed::default() },
        }
        judged.map(|()| verdict)
    }
}

impl Parsed {
    fn check(&self, is_published: bool, frame: usize, answers_max: usize) -> Result<(), Refusal> {
        let is_within = self.payload.start <= self.payload.end && self.payload.end <= frame;
        let answers = self.reply.len() + self.refusal.len();
        if is_published && !is_within {
            Err(Refusal::Code("its payload is not within the frame"))
        } else if is_published && self.topic.is_empty() {
            Err(Refusal::Code("it publishes a frame without a topic"))
        } else if is_published && self.topic.len() > TOPIC_MAX {
            Err(Refusal::LongTopic)
        } else if is_published && check_topic(self.topic.as_bytes()).is_err() {
            Err(Refusal::Code("its topic is not valid"))
        } else if self.reply.len() > REPLY_MAX || answers > answers_max {
            Err(Refusal::Code("its answers are longer than answers_max says"))
        } else if self.kept.len() > KEPT_BYTES_MAX {
            Err(Refusal::Code("it keeps more than 1 KiB"))
        } else {
            Ok(())
        }
    }
}

/// Calls code that is not ours. `None` if it panicked; what it said then is on standard error, as of any panic.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    // What it panicked with may panic when it is dropped: it is not.
    catch_unwind(AssertUnwindSafe(call)).map_err(std::mem::forget).ok()
}
