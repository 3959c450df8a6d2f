//! What `send --whole --frames` publishes: files of frames, as they are.

use std::io::Read;

use indicatif::ProgressBar;

use super::send::PROGRESS_EVERY;
use super::{Exit, Failure};
use crate::client::Publisher;
use crate::sinks::store::{Flaw, Keys, Scan, Stop, Why};
use crate::tools::records::Input;
use crate::wire::{DIGEST, Frame, Kind, check_topic};

use super::verify::Stores;

/// Files of frames.
pub struct FrameFiles {
    inputs: Vec<Input>,
    keys: Keys,
    total: Option<u64>,
    /// Whether each becomes a new frame that asks for a reply.
    confirm: bool,
}

impl FrameFiles {
    /// Checks that every file can be opened.
    pub fn open(inputs: Vec<Input>, keys: Keys, confirm: bool) -> Result<FrameFiles, Failure> {
        let mut total = Some(0);
        for input in &inputs {
            let len = input.check().map_err(|wrong| Failure::usage(wrong.to_string()))?;
            total = total.zip(len).map(|(total, len)| total + len);
        }
        Ok(FrameFiles { inputs, keys, total, confirm })
    }

    /// Bytes of all files, where they are regular ones.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Publishes every frame, each checked before; up to the first that is not one.
    pub fn publish(&self, publisher: &mut Publisher, progress: &ProgressBar) -> Result<(), Failure> {
        let (mut count, mut before) = (0u64, 0);
        let mut stores = Stores::default();
        let mut bytes = Vec::new();
        for input in &self.inputs {
            let mut file = input.open().map_err(|wrong| partly(&wrong))?;
            let judges = match input {
                Input::File(path) => stores.judges(path, &self.keys),
                Input::Stdin => Ok(self.keys.given()),
            };
            let judges = judges.map_err(|why| {
                let name = input.name();
                partly(&format_args!("{name}: {why}: what comes before is sent, nothing after"))
            })?;
            let mut scan = Scan::new(judges, 0);
            loop {
                match scan.next(|bytes| file.read(bytes)) {
                    Ok(None) => break,
                    Ok(Some(frame)) if self.confirm => publish_anew(publisher, &frame, &input.name())?,
                    Ok(Some(Frame { header, bytes: whole })) => {
                        bytes.clear();
                        bytes.extend_from_slice(whole);
                        // The gateway would not take it under another secret than its own.
                        if !std::ptr::eq(scan.under(), self.keys.first()) {
                            let (hashed, digest) =
                                bytes.split_last_chunk_mut::<DIGEST>().expect("a frame holds a digest");
                            *digest = self.keys.first().digest(hashed);
                        }
                        publisher.send_as_it_is(&Frame { header, bytes: &bytes })?;
                    }
                    Err(stop) => {
                        let what: &dyn std::fmt::Display = match &stop {
                            Stop::Flaw(flaw) => flaw,
                            Stop::Read(why) => why,
                        };
                        let hint = match &stop {
                            // As a whole file that was made under a secret begins.
                            Stop::Flaw(Flaw { why: Why::Digest, .. }) if scan.at() == 0 => {
                                match self.keys.first().is_keyed() {
                                    true => {
                                        "; if it was made under another secret, give that too, as a further --secret-file"
                                    }
                                    false => "; if it was made under a secret, give that as --secret-file",
                                }
                            }
                            _ => "",
                        };
                        return Err(partly(&format_args!(
                            "{}: {what}{hint}: what comes before is sent, nothing after",
                            input.name()
                        )));
                    }
                }
                count += 1;
                if count.is_multiple_of(PROGRESS_EVERY) {
                    progress.set_position(before + scan.at());
                }
            }
            before += scan.at();
        }
        Ok(())
    }
}

/// Publishes what a frame holds as a new one.
fn publish_anew(
    publisher: &mut Publisher,
    frame: &Frame<'_>,
    file: &dyn std::fmt::Display,
) -> Result<(), Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        partly(&format_args!("{file}: {why}: leave --confirm out; what comes before is sent, nothing after"))
    };
    if frame.header.kind != Kind::Data || frame.header.is_part() {
        return Err(wrong(&"a frame in it is a fragment or not DATA, which cannot be made anew"));
    }
    let topic = check_topic(frame.topic()).map_err(|why| wrong(&why))?;
    publisher.send(topic, frame.header.key, frame.payload())?;
    Ok(())
}

/// What was sent before stays sent.
fn partly(wrong: &dyn std::fmt::Display) -> Failure {
    Failure { exit: Exit::Partly, message: wrong.to_string() }
}
