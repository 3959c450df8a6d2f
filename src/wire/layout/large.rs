//! A foreign frame that does not fit in one read is checked, and made a native one, a piece at a time: no job keeps a
//! worker for long, whatever it hashes twice. A format in code is asked about the whole frame at once.

use std::ops::Range;
use std::sync::Arc;

use super::check::Check;
use super::place::View;
use super::run::{Converted, Run};
use super::sum::Summing;
use crate::core::limits::PIECE;
use crate::core::memory::Memory;
use crate::wire::digest::Scheme;
use crate::wire::draft::Draft;

/// A run of one large frame between its last byte and its verdict.
pub struct LargeRun {
    memory: Arc<Memory>,
    stage: Stage,
}

enum Stage {
    /// Its checks are made, one after the other.
    Checks { run: Run, number: usize, sum: Option<Summing>, summed: usize },
    /// Its native frame is hashed, if one comes of it.
    Hash(Box<Converted>, Option<Draft>),
}

/// What comes of a piece of work.
pub enum LargeStep {
    /// There is more to do.
    More(Box<LargeRun>),
    /// It is verified.
    Done(Box<Converted>),
}

impl LargeRun {
    /// Whether a format in code is asked about the frame next: all at once, for as long as it likes.
    pub fn is_code(&self) -> bool {
        matches!(&self.stage, Stage::Checks { run, .. } if run.layout.is_code())
    }

    /// A run of one frame, that has no escapes.
    pub fn new(run: Run, memory: Arc<Memory>) -> LargeRun {
        LargeRun { memory, stage: Stage::Checks { run, number: 0, sum: None, summed: 0 } }
    }

    /// Goes on by at most [`PIECE`] bytes. `scheme` is the same each time. A format in code is asked about the whole frame
    /// at once.
    pub fn go_on(mut self: Box<Self>, scheme: &Scheme) -> LargeStep {
        match self.stage {
            Stage::Checks { run, number, sum, summed } => {
                let step = check_on(&run, number, sum, summed, scheme);
                self.stage = match step {
                    Step::On { number, sum, summed } => Stage::Checks { run, number, sum, summed },
                    Step::Verdict(is_right) => {
                        let (converted, draft) = run.convert_checked(Some(is_right), scheme, &self.memory);
                        Stage::Hash(Box::new(converted), draft)
                    }
                };
                LargeStep::More(self)
            }
            Stage::Hash(mut converted, Some(mut draft)) => {
                draft.hash(PIECE);
                if draft.unhashed() > 0 {
                    self.stage = Stage::Hash(converted, Some(draft));
                    return LargeStep::More(self);
                }
                converted.native = Some(draft.finish());
                LargeStep::Done(converted)
            }
            Stage::Hash(converted, None) => LargeStep::Done(converted),
        }
    }
}

enum Step {
    On { number: usize, sum: Option<Summing>, summed: usize },
    Verdict(bool),
}

/// Adds the next bytes to a check, of which `summed` are in `sum`, or says what came of all.
fn check_on(run: &Run, number: usize, sum: Option<Summing>, summed: usize, scheme: &Scheme) -> Step {
    let Some((check, view, over, at)) = check_of(run, number) else {
        // The last was right, or there is none; or its places are not there, and it is wrong.
        return Step::Verdict(run.checks() <= number);
    };
    let mut sum = sum.unwrap_or_else(|| Summing::new(&check.algorithm, scheme));
    let bytes = &view.bytes[over][summed..];
    let more = bytes.len().min(PIECE);
    sum.update(&check.algorithm, &bytes[..more]);
    if more < bytes.len() {
        return Step::On { number, sum: Some(sum), summed: summed + more };
    }
    match check.agrees(&sum.finish(&check.algorithm), &view.bytes[at]) {
        true => Step::On { number: number + 1, sum: None, summed: 0 },
        false => Step::Verdict(false),
    }
}

/// A check of the frame, what it covers and where it stands.
fn check_of(run: &Run, number: usize) -> Option<(&Check, View<'_>, Range<usize>, Range<usize>)> {
    let spot = run.frames.first()?;
    let of = run.layout.all_shapes().get(usize::from(spot.shape))?;
    let view = View { shape: of, bytes: &run.buffer[spot.start as usize..spot.end as usize] };
    let check = of.checks.get(number)?;
    Some((check, view, view.slice(&check.over)?, view.place(&check.at)?))
}

impl std::fmt::Debug for LargeRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.stage {
            Stage::Checks { run, number, summed, .. } => {
                write!(f, "LargeRun({} of its {} checks, {summed} bytes)", number, run.checks())
            }
            Stage::Hash(_, draft) => {
                write!(f, "LargeRun({} unhashed)", draft.as_ref().map_or(0, Draft::unhashed))
            }
        }
    }
}
