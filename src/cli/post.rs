//! `framegate post`: every record of archives, files or a watched folder to a store.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use crossbeam::channel;

use super::in_range::in_range;
use super::post_report::{self, Bars};
use super::{Exit, Failure, Size, Time, complain, print, signals, spawn};
use crate::core::limits::{DISPATCH_UNREACHABLE_PATIENCE, POST_RECORD_MAX};
use crate::http::dispatch::{self, Unreachable, judge::OkWhen};
use crate::http::wire::{Field, Target};
use crate::tools::post::report::{Lines, failed_records};
use crate::tools::post::source_id::{Ids, Wanted};
use crate::tools::post::watch::Watcher;
use crate::tools::post::{self, Options, Poster, STDIN, Source, journal_in, journal_of};
use crate::tools::records::{Cut, Walk};

/// POSTs every record of archives, files or a watched folder to URL, a bounded number at once, and tells for every
/// one whether it was stored.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub struct Post {
    /// Zips, tars, tables or text, plain or packed with gzip, bzip2, xz or zstd, or folders of them; - is standard
    /// input; with --watch one folder; and last, where records go
    #[arg(value_name = "SOURCE... URL", required = true)]
    sources_and_url: Vec<PathBuf>,
    /// Takes archives as they arrive complete in the folder, but for names that begin with a dot or end in .part,
    /// .partial, .filepart or .tmp; those that are done move to done/ in there, those with failures to failed/ with
    /// their report [default: posts what is there, and ends]
    #[arg(long)]
    watch: bool,
    /// What a record is [default: a file of an archive, a row of a .csv or .tsv file, a line of other text]
    #[arg(long, value_name = "WHAT")]
    record: Option<What>,
    /// What stands between the fields of a table: a character, tab, or auto, which finds commas, semicolons, tabs and
    /// pipes
    #[arg(long, value_name = "C", default_value = "auto", allow_hyphen_values = true)]
    delimiter: Delimiter,
    /// Posts blank lines of text, too [default: they are left out and counted]
    #[arg(long)]
    keep_blank: bool,
    /// The largest record; what an archive unpacks to more is a failed record
    #[arg(long, value_name = "SIZE", default_value_t = Size(POST_RECORD_MAX), value_parser = in_range::<Size>())]
    max_record: Size,
    /// Sends just the failed records of a report again
    #[arg(long, value_name = "REPORT")]
    retry_failed: Option<PathBuf>,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Requests")]
struct Requests {
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = in_range::<u32>())]
    max_in_flight: u32,
    /// Connections open at once; fewer where the store refuses so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = in_range::<u32>())]
    max_connections: u32,
    /// Finds out how many requests at once the store takes, up to the two numbers above
    #[arg(long)]
    adaptive: bool,
    /// How long a complete response may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = in_range::<Time>())]
    timeout: Time,
    /// Further tries after a refused or lost connection, a timeout, or 408, 425, 429 or 5xx; 0 for none
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = in_range::<u32>())]
    retries: u32,
    /// How long a store that was there may be away before it ends, 0 for not at all; with --watch it is waited for without end
    #[arg(long, value_name = "TIME", default_value_t = Time(DISPATCH_UNREACHABLE_PATIENCE), value_parser = in_range::<Time>())]
    patience: Time,
    /// The Content-Type of every record [default: application/json for rows, text/plain for lines,
    /// application/octet-stream for files]
    #[arg(long, value_name = "T")]
    content_type: Option<String>,
    /// A header of every request; can be repeated [default: Host and User-Agent]
    #[arg(long = "header", value_name = "'K: V'")]
    headers: Vec<Field>,
    /// Beside a 2xx, the JSON of the response must hold this, such as code=0 or data.ok=true [default: 2xx is enough]
    #[arg(long, value_name = "FIELD=VALUE")]
    ok_when: Option<OkWhen>,
    /// Does not verify the server's certificate [default: those that the system trusts]
    #[arg(long)]
    insecure: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Report")]
struct Output {
    /// Writes what failed with its reason, and what was left out, to this file, a JSON object a line, and at last one
    /// with the counts, {"summary": …} [default: none; with --watch beside each archive]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where outcomes are noted, so that the same command goes on where it was; a folder if there are several sources
    /// [default: a hidden file beside each source; none for standard input and pipes]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// The id of the source that keys are made of; of several, each has a slash and its path as given behind it. Give
    /// it where there is no journal, so that the same records have the same keys when they are posted again, and
    /// never to two sources [default: drawn when a journal is begun and kept in it; without one, in each run]
    #[arg(long, value_name = "TEXT", value_parser = source_id)]
    source_id: Option<String>,
    /// Prints the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A whole file
    File,
    /// A line
    Line,
    /// A row of a table with a header, as a JSON object
    Csv,
}

/// What stands between the fields of a table; none: it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter(Option<u8>);

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Delimiter, String> {
        match text.as_bytes() {
            b"auto" => Ok(Delimiter(None)),
            b"tab" | b"\\t" => Ok(Delimiter(Some(b'\t'))),
            [byte] if byte.is_ascii() && !b"\"\r\n\0".contains(byte) => Ok(Delimiter(Some(*byte))),
            _ => Err("expected one ASCII character other than a quote, tab, or auto".to_owned()),
        }
    }
}

const USAGE: &str = "\
framegate post [OPTIONS] <SOURCE>... <URL>
       framegate post [OPTIONS] --watch <FOLDER> <URL>
       framegate post [OPTIONS] --retry-failed <REPORT> <URL>";

const EXAMPLES: &str = "\
Every request carries an Idempotency-Key: the SHA-256 of source id, record name and record, with a zero byte after id \
and name. The source id is drawn when a journal is begun and stands in it: no two files share one, whatever their names. \
After a crash or Ctrl-C the same command goes on where it was; only what was under way is sent again, with the same \
key. A source whose journal says that all is done is not sent again: remove the journal for that. Of a file that grew, \
what is new is sent; another file in its place (a rotated log, the next day's export) is a new source, or refused if of \
the one before not everything is stored. Standard input and pipes have a journal only with --journal: without one, or \
--source-id, a second run has new keys, and the store cannot know its records again.

What is in a source is posted, failed or left out, and the report counts and names each: links, devices and what macOS \
keeps beside files are left out. What is neither text nor an archive that is read here, or not what its name says, is \
refused unless --record says what is meant.

Exits 0 if every record is stored, 1 if some failed (the report says which and why), 3 if the store cannot be reached.

Examples:
  framegate post orders.zip http://store:8080/orders --max-in-flight 1000 --max-connections 1000
  framegate post people.csv events.jsonl https://store/ --ok-when code=0 --report failed.jsonl
  zstdcat events.jsonl.zst | grep eu | framegate post - https://store/ --source-id events-eu-2026-11-30
  framegate post --retry-failed failed.jsonl https://store/
  framegate post --watch /var/spool/orders http://store:8080/orders --header 'Authorization: Bearer x'";

impl Post {
    /// Posts everything.
    pub fn run(self) -> Result<Exit, Failure> {
        let (paths, url) = self.paths_and_url()?;
        let options = self.options(&url)?;
        // As a journal knows it: without a user.
        let url = url.to_string();
        if self.watch && self.output.source_id.is_some() {
            let why = "--source-id is not for --watch, where each file has an id of its own: leave it out";
            return Err(Failure::usage(why));
        }
        let sources = self.sources(paths, &url)?;
        let count = sources.len() as u64;
        let ids = Ids { given: self.output.source_id.clone(), are_many: count > 1, watches: self.watch };
        if self.watch && paths.iter().any(|path| path == Path::new(STDIN)) {
            return Err(Failure::usage("--watch takes a folder, not standard input: give just that"));
        }
        let watcher = match paths {
            [folder] if self.watch => Some(Watcher::new(folder).map_err(Failure::usage)?),
            _ if self.watch => return Err(Failure::usage("--watch takes one folder: give just that")),
            _ => None,
        };
        let lines = self.output.report.as_deref().map(|path| {
            let wrong = |why| format!("--report {}: {why}: give a file that can be written", path.display());
            Lines::create(path).map_err(|why| Failure::usage(wrong(why)))
        });
        // A connection each, where the system lets us.
        let _ = rlimit::increase_nofile_limit(u64::MAX);

        let (sync, to_sync) = channel::bounded(64);
        let poster = Poster::new(options, sync, lines.transpose()?)?;
        let walk = Walk {
            delimiter: self.delimiter.0,
            keep_blank: self.keep_blank,
            ..Walk::new(self.record.map(Into::into), self.max_record.0)
        };
        let (to, from) = channel::bounded(1);
        let (feed, intake) = post::feed(from, walk, url.clone(), ids, poster.waker());
        spawn("records", move || feed.run())?;
        spawn("sync", move || post::sync_files(&to_sync))?;
        match watcher {
            Some(watcher) => {
                let (journal, record) = (self.output.journal.clone(), self.named());
                spawn("watch", move || {
                    watcher.run(&to, &|path| place(journal.as_deref(), true, path, &url, record));
                })?;
            }
            // Where nobody takes more, the rest is not wanted.
            None => spawn("sources", move || {
                let _ = sources.into_iter().try_for_each(|source| to.send(source));
            })?,
        }
        let stop = poster.stop();
        signals::on_signal(move || {
            log::warn!("finishing what is under way; a second signal ends at once");
            stop.stop();
        })?;
        let mut bars = Bars::new(if self.watch { None } else { Some(count) });
        let report = poster.run(intake, &mut |progress| bars.show(progress));
        drop(bars);
        if report.is_untouched()
            && let Some(why) = report.error.as_ref().or(report.broken.first())
        {
            let exit = if report.is_gone { Exit::Gone } else { Exit::Usage };
            return Err(Failure { exit, message: why.clone() });
        }
        print(&if self.output.json { post_report::json(&report) } else { post_report::text(&report) })?;
        for why in report.broken.iter().chain(&report.error) {
            complain(why);
        }
        Ok(match report {
            report if report.is_gone => Exit::Gone,
            report if report.interrupted => Exit::Signalled,
            report if report.is_complete() => Exit::Done,
            _ => Exit::Partly,
        })
    }

    /// The sources, and where their records go.
    fn paths_and_url(&self) -> Result<(&[PathBuf], Target), Failure> {
        let (url, paths) = self.sources_and_url.split_last().expect("one is required");
        let url = url.to_string_lossy();
        let target = url.parse().map_err(|why| {
            Failure::usage(format!("the last argument is to be the URL that records go to: {why}"))
        })?;
        match (paths, &self.retry_failed) {
            ([], None) => {
                Err(Failure::usage(format!("no source is given before {url}: name a file or a folder")))
            }
            ([_, ..], Some(_)) => {
                Err(Failure::usage("--retry-failed takes its sources from the report: name no others"))
            }
            (paths, _) => Ok((paths, target)),
        }
    }

    fn options(&self, url: &Target) -> Result<Options, Failure> {
        let requests = &self.requests;
        if requests.insecure && !url.is_secure() {
            return Err(Failure::usage("--insecure is for https:// alone: leave it out"));
        }
        let content_type = requests.content_type.as_ref().map(|given| {
            Field::new("Content-Type", given.as_bytes())
                .map_err(|why| Failure::usage(format!("--content-type: {why}")))
        });
        for own in ["Content-Type", "Idempotency-Key"] {
            if requests.headers.iter().any(|field| field.is(own)) {
                let mend = if own == "Content-Type" { "give it as --content-type" } else { "leave it out" };
                return Err(Failure::usage(format!("--header {own}: every request has its own: {mend}")));
            }
        }
        Ok(Options {
            carried: dispatch::Options {
                target: url.clone(),
                fields: requests.headers.clone(),
                max_in_flight: requests.max_in_flight as usize,
                max_connections: requests.max_connections as usize,
                adaptive: requests.adaptive,
                timeout: requests.timeout.0,
                retries: requests.retries,
                ok_when: requests.ok_when.clone(),
                insecure: requests.insecure,
                patience: requests.patience.0,
                when_unreachable: if self.watch { Unreachable::Waits } else { Unreachable::Ends },
                seed: crate::runtime::chance(),
            },
            content_type: content_type.transpose()?,
            watches: self.watch,
        })
    }

    /// What is to be posted; each must be there, before anything is sent.
    fn sources(&self, paths: &[PathBuf], url: &str) -> Result<Vec<Source>, Failure> {
        let mut wanted: Vec<(PathBuf, Option<Arc<Wanted>>)> = Vec::new();
        if let Some(report) = &self.retry_failed {
            for (source, records) in failed_records(report).map_err(Failure::usage)? {
                wanted.push((found(&source, report), Some(Arc::new(records))));
            }
        }
        wanted.extend(paths.iter().map(|path| (path.clone(), None)));
        let are_many = wanted.len() > 1 || self.watch;
        if let Some(journal) = self.output.journal.as_deref().filter(|journal| are_many && !journal.is_dir())
        {
            let mend = "give a folder that is there";
            return Err(Failure::usage(format!("--journal {}: several sources: {mend}", journal.display())));
        }
        check_apart(paths)?;
        let sources = wanted.into_iter().map(|(path, only)| {
            let given = self.output.journal.as_deref();
            let is_kept = path != Path::new(STDIN) && {
                let metadata = path.metadata().map_err(|why| {
                    Failure::usage(format!("cannot open {}: {why}: check its name and mode", path.display()))
                })?;
                metadata.is_file() || metadata.is_dir()
            };
            // What comes through a pipe comes once: there is nothing beside it, and nothing to go on with.
            let journal =
                (is_kept || given.is_some()).then(|| place(given, are_many, &path, url, self.named()));
            Ok(Source { path, journal, only, fingerprint: None })
        });
        sources.collect()
    }

    fn named(&self) -> &'static str {
        match self.record {
            None => "auto",
            Some(What::File) => "file",
            Some(What::Line) => "line",
            Some(What::Csv) => "csv",
        }
    }
}

/// Each source is given once: what is posted twice would be under another key.
fn check_apart(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut seen: HashSet<PathBuf> = HashSet::new();
    for path in paths {
        // What cannot be opened is told of elsewhere.
        let real = if path == Path::new(STDIN) { Ok(path.clone()) } else { path.canonicalize() };
        if let Ok(real) = real
            && !seen.insert(real)
        {
            return Err(Failure::usage(format!("{} is given twice: name it once", path.display())));
        }
    }
    for path in paths {
        let above = path.canonicalize().ok().and_then(|real| {
            real.ancestors().skip(1).find(|above| seen.contains(*above)).map(Path::to_owned)
        });
        if let Some(above) = above {
            let (path, above) = (path.display(), above.display());
            return Err(Failure::usage(format!(
                "{path} is in {above}, which is given too: name one of them"
            )));
        }
    }
    Ok(())
}

/// A source of a report; one that was put away is where its report is.
fn found(source: &Path, report: &Path) -> PathBuf {
    match source.file_name() {
        Some(name)
            if source != Path::new(STDIN) && !source.exists() && report.with_file_name(name).exists() =>
        {
            report.with_file_name(name)
        }
        _ => source.to_owned(),
    }
}

/// Where a source's journal is.
fn place(given: Option<&Path>, are_many: bool, source: &Path, url: &str, record: &str) -> PathBuf {
    match given {
        None => journal_of(source, url, record),
        Some(folder) if are_many || folder.is_dir() => journal_in(folder, source, url, record),
        Some(file) => file.to_owned(),
    }
}

/// A source id that fits a line of a journal.
fn source_id(text: &str) -> Result<String, String> {
    match text {
        "" => Err("expected some text".to_owned()),
        text if text.len() > 200 || text.chars().any(char::is_control) => {
            Err("expected at most 200 bytes without control characters".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}

impl From<What> for Cut {
    fn from(what: What) -> Cut {
        match what {
            What::File => Cut::File,
            What::Line => Cut::Line,
            What::Csv => Cut::Row,
        }
    }
}
