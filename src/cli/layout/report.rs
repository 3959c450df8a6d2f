//! What a capture is, as it is printed: frame by frame, what is no frame, and the totals.

use std::io::{self, Write};

use super::json;
use crate::core::units::{grouped, many, plain};
use crate::wire::layout::{Explained, Hint, shown};

/// What a capture was in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames, each of which is one of the next four.
    pub frames: u64,
    pub right: u64,
    /// Right, as far as nothing is checked.
    pub unchecked: u64,
    pub wrong: u64,
    pub refused: u64,
    /// Stretches in which no frame begins, or one that cannot be cut.
    pub malformed: u64,
    /// How often a gateway counts MALFORMED for these: once for each byte in them that may begin a frame and does not.
    pub counted: u64,
    /// Bytes that were skipped to the next start.
    pub skipped: u64,
    /// Bytes of a frame that is not there to its end.
    pub unfinished: u64,
    /// Bytes of frames.
    pub bytes: u64,
}

impl Totals {
    /// Whether all of it are frames that a gateway would accept.
    pub fn are_right(&self) -> bool {
        self.wrong + self.refused + self.malformed + self.skipped + self.unfinished == 0
    }
}

/// The bytes that are skipped now.
struct Dirt {
    from: u64,
    len: u64,
    first: Vec<u8>,
}

/// As many bytes are shown of what is skipped.
const SHOWN: usize = 17;
/// Of so many wrong frames it is tried what would agree: it takes milliseconds.
const MENDS_MAX: u64 = 20;

/// What would agree in a frame whose check is wrong.
#[derive(Debug, Default)]
pub struct Mends {
    pub checks: Vec<Hint>,
    /// A length that would make frames.
    pub length: Option<Hint>,
}

/// Why no frame can be cut.
pub struct Why {
    pub what: String,
    /// The shape that it was taken for.
    pub shape: Option<String>,
    /// A length that would make frames.
    pub mend: Option<Hint>,
    /// What the bytes look like otherwise.
    pub looks_like: Option<String>,
    /// Whether the next start is looked for.
    pub scans: bool,
}

/// Prints what is found in a capture.
pub struct Printer<W> {
    out: W,
    json: bool,
    dirt: Option<Dirt>,
    totals: Totals,
}

impl<W: Write> Printer<W> {
    pub fn new(out: W, json: bool) -> Printer<W> {
        Printer { out, json, dirt: None, totals: Totals::default() }
    }

    /// A frame. `mends` says what would agree where its check is wrong.
    pub fn frame(&mut self, frame: &Explained, mends: impl FnOnce() -> Mends) -> io::Result<()> {
        self.clean()?;
        self.totals.frames += 1;
        self.totals.bytes += (frame.at.end - frame.at.start) as u64;
        let count = match (frame.is_right(), frame.is_taken(), frame.checks.is_empty()) {
            (false, ..) => &mut self.totals.wrong,
            (true, false, _) => &mut self.totals.refused,
            (true, true, true) => &mut self.totals.unchecked,
            (true, true, false) => &mut self.totals.right,
        };
        *count += 1;
        let is_tried = !frame.is_right() && self.totals.wrong <= MENDS_MAX;
        let mends = if is_tried { mends() } else { Mends::default() };
        if self.json {
            return json::write(&json::frame(frame, &mends), &mut self.out);
        }
        self.gap()?;
        write!(self.out, "{frame}")?;
        mends.checks.iter().try_for_each(|check| self.hint("it would agree with", check))?;
        self.length(mends.length.as_ref())
    }

    /// What would make frames of it.
    fn length(&mut self, length: Option<&Hint>) -> io::Result<()> {
        length.map_or(Ok(()), |length| self.hint("it would make frames with", length))
    }

    /// What would be right, in lines that can be pasted.
    fn hint(&mut self, what: &str, Hint { lines, is_sure }: &Hint) -> io::Result<()> {
        let but = if *is_sure { "" } else { ", perhaps by chance: more frames would tell" };
        writeln!(self.out, "  {what}{but}")?;
        lines.lines().try_for_each(|line| writeln!(self.out, "    {line}"))
    }

    /// At `at` no frame can be cut; `why` is asked for the first place alone of those without a frame between them.
    pub fn malformed(&mut self, at: u64, bytes: &[u8], why: impl FnOnce() -> Why) -> io::Result<()> {
        self.totals.counted += 1;
        if self.dirt.is_some() {
            return Ok(());
        }
        let Why { what, shape, mend, looks_like, scans } = why();
        self.totals.malformed += 1;
        self.dirt = Some(Dirt { from: at, len: 0, first: Vec::new() });
        if self.json {
            let found = json::malformed(at, bytes, &what, shape.as_deref(), looks_like.as_deref());
            return json::write(&json::with_length(found, mend.as_ref()), &mut self.out);
        }
        self.gap()?;
        let of = shape.map_or(String::new(), |shape| format!(", {shape}"));
        writeln!(self.out, "{at}..  malformed{of}: {what}")?;
        writeln!(self.out, "  begins {}", plain(&shown(bytes)))?;
        self.length(mend.as_ref())?;
        if let Some(looks_like) = looks_like {
            writeln!(self.out, "  looks like {looks_like}")?;
        }
        match scans {
            true => writeln!(self.out, "  a gateway looks for the next start (on-malformed = \"scan\")"),
            false => writeln!(
                self.out,
                "  a gateway closes the connection here; with on-malformed = \"scan\" it would look for the next start"
            ),
        }
    }

    /// Bytes that belong to no frame.
    pub fn skipped(&mut self, at: u64, bytes: &[u8]) {
        let dirt = self.dirt.get_or_insert_with(|| Dirt { from: at, len: 0, first: Vec::new() });
        dirt.len += bytes.len() as u64;
        let room = SHOWN - dirt.first.len();
        dirt.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.totals.skipped += bytes.len() as u64;
    }

    /// A frame that is not there to its end: it has at least `least` bytes.
    pub fn unfinished(
        &mut self,
        at: u64,
        bytes: &[u8],
        least: usize,
        length: Option<Hint>,
    ) -> io::Result<()> {
        self.clean()?;
        self.totals.unfinished += bytes.len() as u64;
        if self.json {
            let found = json::with_length(json::unfinished(at, bytes, least), length.as_ref());
            return json::write(&found, &mut self.out);
        }
        self.gap()?;
        let (is, wanted) = (grouped(bytes.len() as u64), many(least as u64, "byte"));
        writeln!(
            self.out,
            "{at}..  unfinished: this frame takes {wanted} or more, of which the capture has {is}"
        )?;
        writeln!(self.out, "  begins {}", plain(&shown(bytes)))?;
        self.length(length.as_ref())
    }

    /// What is printed is to be seen.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The totals.
    pub fn end(&mut self) -> io::Result<Totals> {
        self.clean()?;
        if self.json {
            json::write(&json::totals(&self.totals), &mut self.out)?;
        } else {
            if self.totals != Totals::default() {
                writeln!(self.out)?;
            }
            writeln!(self.out, "{}", self.totals.line())?;
        }
        self.out.flush()?;
        Ok(self.totals)
    }

    /// Says what was skipped, behind which something begins.
    fn clean(&mut self) -> io::Result<()> {
        let Some(Dirt { from, len, first }) = self.dirt.take().filter(|dirt| dirt.len > 0) else {
            return Ok(());
        };
        let to = from + len;
        if self.json {
            return json::write(&json::skipped(from, to), &mut self.out);
        }
        writeln!(self.out, "{from}..{to}  skipped {}: {}", many(len, "byte"), plain(&shown(&first)))
    }

    /// An empty line before everything but the first.
    fn gap(&mut self) -> io::Result<()> {
        let Totals { frames, malformed, unfinished, .. } = self.totals;
        let is_first = frames + malformed + unfinished.min(1) == 1;
        if is_first { Ok(()) } else { writeln!(self.out) }
    }
}

impl Totals {
    /// `3 frames of 120 bytes: 2 right, 1 with a wrong check; 7 bytes skipped`
    fn line(&self) -> String {
        let mut fates = Vec::new();
        for (count, what) in [
            (self.right, "right"),
            (self.unchecked, "not checked"),
            (self.wrong, "with a wrong check"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                fates.push(format!("{} {what}", grouped(count)));
            }
        }
        let fates = if fates.is_empty() { String::new() } else { format!(": {}", fates.join(", ")) };
        let mut line = format!("{} of {}{fates}", many(self.frames, "frame"), many(self.bytes, "byte"));
        if self.malformed > 0 {
            line += &format!("; malformed in {}", many(self.malformed, "place"));
            if self.counted > self.malformed {
                line += &format!(" (MALFORMED {})", grouped(self.counted));
            }
        }
        if self.skipped > 0 {
            line += &format!("; skipped {}", many(self.skipped, "byte"));
        }
        if self.unfinished > 0 {
            line += &format!("; {} of an unfinished frame", many(self.unfinished, "byte"));
        }
        line
    }
}
