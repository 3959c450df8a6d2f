//! `framegate layout check`: how a person develops a layout.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::capture::{Capture, Form};
use super::declared;
use super::frames::{Found, Frames};
use super::report::{Mends, Printer, Totals, Why};
use crate::cli::in_range::in_range;
use crate::cli::{Exit, Failure, Size, layouts, secret};
use crate::core::units::{many, plain};
use crate::wire::Scheme;
use crate::wire::layout::{
    Alikes, Explained, Hint, Kept, LENGTH_BYTES_MAX, Layout, Layouts, builtin, explain,
};

/// Checks a declaration, and shows what the frames of a capture are under it: the bytes of one connection, on standard
/// input, in binary or as hexadecimal digits.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckLayout {
    /// A file of layouts, or a configuration of `serve` that holds some [default: those that come with the program]
    #[arg(value_name = "FILE", required_unless_present = "layout")]
    file: Option<PathBuf>,
    /// The layout of the capture [default: the only one of FILE]
    #[arg(long, value_name = "NAME")]
    layout: Option<String>,
    /// The capture is hexadecimal digits; white space, colons, commas and what follows a # are skipped [default: recognised]
    #[arg(long)]
    hex: bool,
    /// The capture is bytes as they came [default: recognised]
    #[arg(long, conflicts_with = "hex")]
    binary: bool,
    /// The secret of the listener, for layouts that are checked with hmac-sha-256 [default: none]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The --max-payload of the gateway: no frame is larger
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = in_range::<Size>())]
    max_payload: Size,
    /// Prints each frame, and the totals, as one JSON object a line
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
All mistakes of a declaration are told, a line each. Of each frame are shown: its bytes from..to in the capture, its shape, \
what stands where, what each check is and would have to be, topic, key, and what is written back. Where a check is wrong and \
another one would agree, that is told; where no frame begins, what the bytes look like. Without a capture only the \
declaration is checked.
Exits 0 if every byte belongs to a frame that a gateway would accept; 1 if one is malformed or unfinished, or its check is \
wrong, or it is refused; 2 if the declaration is wrong.

Examples:
  framegate layout check mine.toml < capture.bin
  echo 78780D01086471700328358100093F040D0A | framegate layout check --layout gt06
  nc -l 5027 | framegate layout check gateway.toml --layout house --json";

impl CheckLayout {
    /// Checks the declaration, then the capture.
    pub fn run(self) -> Result<Exit, Failure> {
        let (own, warnings) = match self.file.as_deref().map(declared::read) {
            Some(read) => match read? {
                Ok(declared::Read { layouts, warnings }) => (layouts, warnings),
                Err(exit) => return Ok(exit),
            },
            None => (Layouts::default(), Vec::new()),
        };
        let all = own.clone().or(builtin());
        let named = match &self.layout {
            Some(name) => Some(layouts::find(&all, name)?),
            None => own.iter().next().filter(|_| own.len() == 1).cloned(),
        };
        // Of those that nobody asked about nothing is said.
        layouts::warn(&warnings, &self.layout.as_deref().into_iter().collect::<Vec<_>>());
        let input = io::stdin().lock();
        if input.is_terminal() {
            return self.declared(&own, named.as_ref(), "there is no capture on standard input");
        }
        let form = Form::given(self.hex, self.binary);
        let (mut capture, mut bytes) = (Capture::new(input, form), Vec::new());
        if !capture.read(&mut bytes)? {
            return self.declared(&own, named.as_ref(), "the capture on standard input is empty");
        }
        let layout = named.ok_or_else(|| {
            let names: Vec<&str> = own.iter().map(|layout| layout.name()).collect();
            let file = self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            let (file, names) = (plain(&file), names.join(", "));
            Failure::usage(format!("{file} declares {names}: say with --layout which one the capture is of"))
        })?;
        if layout.needs_secret() && self.secret_file.is_none() {
            let name = layout.name();
            let what = "is checked with the listener's secret: give it with --secret-file FILE";
            return Err(Failure::usage(format!("layout {name} {what}")));
        }
        let scheme = secret::scheme(self.secret_file.as_deref())?;
        let check = Check { layout, all, scheme, max: self.max_payload.0 };
        let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), self.json);
        match check.capture(capture, bytes, &mut printer) {
            Ok(Ok(totals)) => Ok(if totals.are_right() { Exit::Done } else { Exit::Partly }),
            // What came before is printed.
            Ok(Err(failure)) => Err(failure),
            // Nobody is left to read it.
            Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(Exit::Partly),
            Err(why) => Err(Failure { exit: Exit::Partly, message: format!("cannot print: {why}") }),
        }
    }

    /// Says that only the declaration was checked, and why.
    fn declared(&self, own: &Layouts, named: Option<&Arc<Layout>>, why: &str) -> Result<Exit, Failure> {
        let mut out = String::new();
        // One that comes with the program is not in a file.
        let shown: Vec<&Arc<Layout>> =
            if own.is_empty() { named.into_iter().collect() } else { own.iter().collect() };
        for layout in shown {
            if self.json {
                let (name, shapes) = (layout.name(), layout.shapes());
                out.push_str(&format!("{}\n", serde_json::json!({ "layout": name, "shapes": shapes })));
                continue;
            }
            let checks = layout.checks();
            let checks = if checks.is_empty() { "nothing is checked".into() } else { checks.join(", ") };
            let topics = layout.topics().join(", ");
            let shapes = many(layout.shapes() as u64, "shape");
            out.push_str(&format!("layout {} is right: {shapes}; {checks}; topic {topics}\n", layout.name()));
        }
        crate::cli::print(&out)?;
        log::warn!("{why}: only the declaration was checked");
        Ok(Exit::Done)
    }
}

/// A frame whose check is wrong, and all that was read from its first byte on.
struct Wrong<'a> {
    shape: usize,
    bytes: &'a [u8],
    from: &'a [u8],
}

/// What a capture is checked with.
struct Check {
    layout: Arc<Layout>,
    /// What else it may be.
    all: Layouts,
    scheme: Scheme,
    max: usize,
}

impl Check {
    /// Shows every frame.
    fn capture<R: Read, W: Write>(
        &self,
        capture: Capture<R>,
        bytes: Vec<u8>,
        printer: &mut Printer<W>,
    ) -> io::Result<Result<Totals, Failure>> {
        let layout = &self.layout;
        let mut frames = Frames::new(layout.clone(), self.max, capture, bytes);
        let mut kept = Kept::default();
        let mut alikes = Alikes::default();
        let mut unchecked = Unchecked::default();
        let broken = loop {
            match frames.next() {
                Found::Frame { at, shape, bytes, from } => {
                    let at = usize::try_from(at).unwrap_or(usize::MAX - bytes.len());
                    let shown = explain(layout, shape, bytes, at, &kept, &self.scheme);
                    let wrong = Wrong { shape, bytes, from };
                    printer.frame(&shown, || self.mends(&mut alikes, &shown, wrong))?;
                    unchecked.add(shape, bytes, shown.checks.is_empty());
                    // Of a frame that is refused nothing is believed.
                    if shown.is_taken() {
                        kept = shown.kept;
                    }
                }
                Found::Malformed { at, why, bytes } => {
                    let before = std::mem::take(&mut unchecked);
                    printer.malformed(at, bytes, || Why {
                        what: why.say(layout),
                        shape: why.shape().map(|shape| layout.shape_name(shape)),
                        mend: self.length(before, why.shape().or(layout.shape_of(bytes)), bytes),
                        looks_like: self.all.likeness(layout, bytes),
                        scans: layout.scans(),
                    })?;
                }
                Found::Skipped { at, bytes } => printer.skipped(at, bytes),
                Found::Within { at, bytes, shape, least } => {
                    let length = self.length(std::mem::take(&mut unchecked), shape, bytes);
                    printer.unfinished(at, bytes, least, length)?;
                }
                // What is shown is seen while more is waited for.
                Found::Waits => printer.flush()?,
                Found::End => break None,
                Found::Broken(failure) => break Some(failure),
            }
        };
        let totals = printer.end()?;
        Ok(broken.map_or(Ok(totals), Err))
    }

    /// What would agree in a frame whose check is wrong: another check, or else another length.
    fn mends(&self, alikes: &mut Alikes, shown: &Explained, of: Wrong<'_>) -> Mends {
        let wrong = shown.checks.iter().enumerate().filter(|(_, check)| !check.is_right);
        let checks = wrong
            .filter_map(|(check, _)| alikes.look(&self.layout, of.shape, of.bytes, check, &self.scheme))
            .collect::<Vec<_>>();
        let length = || self.layout.length_alike(of.shape, of.from, &self.scheme);
        let length = if checks.iter().any(|check| check.is_sure) { None } else { length() };
        Mends { checks, length }
    }

    /// What length would make frames where none can be cut: of the frames before, which nothing has checked, or of what was
    /// taken for this shape.
    fn length(&self, before: Unchecked, shape: Option<usize>, bytes: &[u8]) -> Option<Hint> {
        let Unchecked { bytes: mut all, firsts } = before;
        all.extend_from_slice(&bytes[..bytes.len().min(LENGTH_BYTES_MAX.saturating_sub(all.len()))]);
        let of = |shape: usize, bytes: &[u8]| self.layout.length_alike(shape, bytes, &self.scheme);
        let mends = firsts.iter().filter_map(|&(shape, at)| of(shape, &all[at..]));
        let mends: Vec<Hint> = mends.chain(shape.and_then(|shape| of(shape, bytes))).collect();
        mends.iter().find(|mend| mend.is_sure).or(mends.first()).cloned()
    }
}

/// The last frames, of which no check has told that they are frames: where a length is misread, the first of them may be
/// too long or too short, and the next place where no frame begins only shows it.
#[derive(Default)]
struct Unchecked {
    bytes: Vec<u8>,
    /// Of each shape among them, where its first is.
    firsts: Vec<(usize, usize)>,
}

impl Unchecked {
    fn add(&mut self, shape: usize, frame: &[u8], is_unchecked: bool) {
        if !is_unchecked {
            *self = Unchecked::default();
        } else if self.bytes.len() + frame.len() <= LENGTH_BYTES_MAX {
            if self.firsts.iter().all(|(other, _)| *other != shape) {
                self.firsts.push((shape, self.bytes.len()));
            }
            self.bytes.extend_from_slice(frame);
        }
    }
}

#[cfg(test)]
mod tests;
