//! A source that is being posted.

use std::io;

use super::Key;
use super::feed::{Item, Source};
use super::journal::{Journal, JournalError, Outcome};
use super::move_done::{self, Change, Moved, move_done};
use super::report::{FailedRecord, LeftOutRecord, Lines, Part, failed_record};
use super::run::{Carried, Poster};
use crate::core::units::{many, of_file};
use crate::http::dispatch::{Outcome as End, judge::Reason};
use crate::tools::records::{Extent, LeftOut};

/// A source that is being posted.
pub(super) struct Job {
    pub source: Source,
    pub journal: Journal,
    extent: Extent,
    id: u64,
    /// Records that were read, of any kind.
    read: u64,
    done: u64,
    failed: u64,
    /// Whether it was read to its end; with an error, not quite.
    ended: Option<Option<String>>,
    /// Failed records, where they are reported beside the source.
    lines: Option<Lines>,
}

impl Job {
    /// How far it is.
    pub fn part(&self) -> Part {
        Part {
            id: self.id,
            name: self.source.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            done: self.done,
            failed: self.failed,
            total: match (&self.ended, &self.source.only) {
                (Some(_), _) => Some(self.read),
                (None, Some(only)) => Some(only.len() as u64),
                (None, None) => self.extent.estimate(self.read),
            },
        }
    }

    /// Notes a failed record beside the source, which is watched.
    fn note(&mut self, record: &FailedRecord) -> io::Result<()> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => match Lines::create(&move_done::report_of(self.journal.path())) {
                // Its folder is gone, and with it the source.
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
                created => none.insert(created?),
            },
        };
        lines.write(record)
    }
}

impl Poster {
    /// Takes what was read.
    pub(super) fn take(&mut self, item: Item) {
        match item {
            Item::Begin { source, journal, extent } => {
                self.begun += 1;
                let job = Job {
                    source,
                    journal,
                    extent,
                    id: self.begun,
                    read: 0,
                    done: 0,
                    failed: 0,
                    ended: None,
                    lines: None,
                };
                self.current = Some(self.jobs.insert(job));
            }
            Item::Refused { path, why } => {
                self.begun += 1;
                self.refuse_source(&path.display().to_string(), why);
            }
            Item::Record(record) => {
                let job = self.read_one();
                self.send(job, record);
            }
            Item::Known { name, source_id, key, outcome } => {
                let job = self.read_one();
                match outcome {
                    Outcome::Stored => {
                        self.report.stored_before += 1;
                        self.jobs[job].done += 1;
                    }
                    Outcome::Failed(tries, reason) => {
                        self.failed(job, (&name, &source_id, Some(&key)), tries, &reason);
                    }
                }
            }
            Item::Flawed { name, source_id, flaw } => {
                let job = self.read_one();
                self.failed(job, (&name, &source_id, None), 0, &Reason::from(&flaw));
            }
            Item::LeftOut { name, what } => {
                self.report.found += 1;
                self.left_out(name, &what);
            }
            Item::End(error) => {
                let job = self.current.take().expect("a source begins before it ends");
                // What is watched may yet turn out to be read again.
                if let Some(why) = error.as_ref().filter(|_| !self.options.watches) {
                    self.report.add_broken(why.clone());
                }
                self.jobs[job].ended = Some(error);
                self.settle(job);
            }
        }
    }

    fn read_one(&mut self) -> usize {
        let job = self.current.expect("a source begins before its records");
        self.jobs[job].read += 1;
        self.report.found += 1;
        job
    }

    fn left_out(&mut self, name: String, what: &LeftOut) {
        let job = &self.jobs[self.current.expect("a source begins before what is in it")];
        let left_out =
            LeftOutRecord { source: job.source.path.clone(), record: name, left_out: what.to_string() };
        log::debug!("{}: {}: left out, a {what}", left_out.source.display(), left_out.record);
        let written = match &mut self.lines {
            Some(lines) if what.is_named() => lines.write(&left_out),
            _ => Ok(()),
        };
        self.report.add_left_out(left_out, what);
        self.check_report(written);
    }

    fn refuse_source(&mut self, path: &str, why: JournalError) {
        match why {
            JournalError::Busy(why) if self.options.watches => log::debug!("{why}"),
            JournalError::Unfit(why) if self.options.watches => log::warn!("{path} stays where it is: {why}"),
            JournalError::Busy(why) | JournalError::Unfit(why) => self.report.add_broken(why),
        }
    }

    /// Notes what became of records.
    pub(super) fn note_ended(&mut self) {
        for ended in self.dispatcher.ended() {
            let Carried { job, record, .. } = ended.request;
            self.held -= record.size();
            match ended.outcome {
                End::Stored => {
                    self.report.stored += 1;
                    self.report.bytes += record.body.len() as u64;
                    self.jobs[job].done += 1;
                    self.jobs[job].journal.stored(&record.key);
                }
                End::Failed(reason) => {
                    self.jobs[job].journal.failed(&record.key, ended.tries, &reason);
                    let named = (record.name.as_str(), &*record.source_id, Some(&record.key));
                    self.failed(job, named, ended.tries, &reason);
                }
                End::Unsent => {
                    self.report.unsent += 1;
                    continue;
                }
            }
            self.settle(job);
        }
    }

    /// Notes a failed record, which has a name, the id of its source, and a key if it could be read.
    fn failed(&mut self, job: usize, record: (&str, &str, Option<&Key>), tries: u32, reason: &Reason) {
        let job = &mut self.jobs[job];
        let name = record.0;
        job.done += 1;
        job.failed += 1;
        let failed = failed_record(&job.source.path, record, tries, reason);
        log::debug!("{}: {name}: {reason} ({tries} tries)", job.source.path.display());
        self.report.add_failed(&failed, &reason.kind);
        let noted = if self.options.watches { job.note(&failed) } else { Ok(()) };
        let noted = noted.and_then(|()| self.lines.as_mut().map_or(Ok(()), |lines| lines.write(&failed)));
        self.check_report(noted);
    }

    fn check_report(&mut self, written: io::Result<()>) {
        if let Err(why) = written {
            self.ends.get_or_insert(format!(
                "cannot write the report: {}: make room and run it again",
                of_file(&why)
            ));
        }
    }

    /// Ends a source if all of its records have.
    fn settle(&mut self, index: usize) {
        let job = &self.jobs[index];
        if job.ended.is_none() || job.done < job.read {
            return;
        }
        let mut job = self.jobs.remove(index);
        // Where just some of its records were wanted, of the others nothing is known.
        if job.source.only.is_none() {
            job.journal.ended(job.failed + u64::from(matches!(job.ended, Some(Some(_)))));
        }
        if let Err(why) = job.journal.finish() {
            self.ends.get_or_insert(format!(
                "cannot write the journal: {}: mend that and run it again",
                of_file(&why)
            ));
            return;
        }
        if !self.options.watches {
            return;
        }
        self.move_done(job);
    }

    /// Moves a source of a watched folder that is done, unless it is not what was read any more.
    fn move_done(&mut self, job: Job) {
        let error = job.ended.flatten();
        let is_done = job.failed == 0 && error.is_none();
        let path = job.source.path.display();
        let count = many(job.done, "record");
        let became = if is_done { count } else { format!("{} of {count} failed", job.failed) };
        let end = move_done::End { is_done, error: error.as_deref(), lines: job.lines };
        match move_done(&job.source, job.journal, end) {
            Ok(Moved::To(to)) if is_done => log::info!("{path}: {became}, now {}", to.display()),
            Ok(Moved::To(to)) => {
                let why = error.as_ref().map_or(String::new(), |why| format!(", {why}"));
                log::warn!("{path}: {became}{why}, now {}", to.display());
                error.into_iter().for_each(|why| self.report.add_broken(why));
            }
            Ok(Moved::Gone) => log::warn!(
                "{path}: {became}; it was moved or removed meanwhile: write archives elsewhere, \
                 or under a name that begins with a dot, and rename them when they are whole"
            ),
            Ok(Moved::Stays(change)) => {
                let what = match change {
                    Change::Open => {
                        "a program has it open for writing: it is read again when that closes it, and"
                    }
                    Change::Written => "it was written to meanwhile: it is read again, and",
                    Change::Replaced => {
                        "another file has its name by now, which is posted from its beginning:"
                    }
                };
                let then = match change {
                    Change::Open | Change::Written => "what is stored is not sent twice",
                    Change::Replaced => "rename files into the folder under new names",
                };
                log::warn!("{path}: {became}; it stays, for {what} {then}");
            }
            Err(why) => {
                self.ends.get_or_insert(format!("cannot put {path} away: {why}: mend that and run it again"));
            }
        }
    }
}
