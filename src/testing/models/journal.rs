//! The journal of `post`, broken off and damaged, against a list of the lines that are whole.

use super::Choices;
use super::scratch::Scratch;
use crate::http::dispatch::judge::Reason;
use crate::tools::post::Key;
use crate::tools::post::journal::{Identity, Journal, JournalError, Known, Noted, Outcome};

/// Steps of a run; more finds nothing new.
const STEPS: usize = 40;

/// Few keys, so that they come again.
const KEYS: usize = 6;

/// Names of files in the source; the first is the source itself.
const FILES: [&str; 3] = ["", "a", "b/ü"];

/// One of the two checks, as the first byte says: a fuzzer tries both with what suits each.
pub fn check_journals(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    if first % 2 == 0 { check_journal(rest) } else { check_any_journal(rest) }
}

/// Every outcome that was written is known after a crash, and the last of a record counts; so are the ids of the source
/// and its files, and whether it was read to its end. What is torn off was not synced, and what is damaged is as if it
/// had not been written.
pub fn check_journal(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut run = Run::new();
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        match choices.below(10) {
            0..6 => run.note(&mut choices),
            6 => run.synced = run.scratch.len(),
            7 => run.name(&mut choices),
            8 => run.end(choices.byte().into()),
            _ => run.crash(&mut choices),
        }
    }
    run.crash(&mut Choices::new(&[]));
}

/// Any bytes as a journal are taken up, or refused in one line and left as they are.
pub fn check_any_journal(data: &[u8]) {
    let scratch = Scratch::new();
    let mut choices = Choices::new(data);
    let begins = choices.flip();
    if begins {
        drop(Journal::open(scratch.path(), &identity()).expect("a new one"));
    }
    let before = [scratch.read(), choices.bytes(1000).to_vec()].concat();
    scratch.write(&before);
    match Journal::open(scratch.path(), &identity()) {
        Ok((journal, known)) => {
            let found = outcomes(&known);
            drop((journal, known));
            let (_journal, known) = Journal::open(scratch.path(), &identity()).expect("it is one");
            assert_eq!(outcomes(&known), found, "what is cut off held no outcome");
        }
        Err(JournalError::Unfit(why)) => {
            assert!(!begins, "it begins as ours: {why}");
            assert!(why.contains("--journal") && why.lines().count() == 1, "{why}");
            assert_eq!(scratch.read(), before, "it is not ours");
        }
        Err(JournalError::Busy(why)) => panic!("nobody else is there: {why}"),
    }
}

struct Line {
    end: usize,
    says: Says,
    is_whole: bool,
}

enum Says {
    Outcome(usize, Outcome),
    Source(Noted),
    End(u64),
}

struct Run {
    scratch: Scratch,
    journal: Journal,
    known: Known,
    /// Where the first line ends.
    head: usize,
    lines: Vec<Line>,
    /// So many bytes no crash takes back.
    synced: usize,
}

impl Run {
    fn new() -> Run {
        let scratch = Scratch::new();
        let (journal, known) = Journal::open(scratch.path(), &identity()).expect("a new one");
        let head = scratch.len();
        Run { scratch, journal, known, head, lines: Vec::new(), synced: head }
    }

    fn write(&mut self, says: Says) {
        self.journal.write().expect("the temporary folder takes files");
        let end = self.scratch.len();
        self.lines.push(Line { end, says, is_whole: true });
    }

    /// An id for the source or a file in it.
    fn name(&mut self, choices: &mut Choices<'_>) {
        let file = FILES[choices.below(FILES.len())];
        let noted = Noted {
            file: (!file.is_empty()).then(|| file.to_owned()),
            id: String::from_utf8_lossy(choices.bytes(40)).into_owned(),
            path: String::new(),
            print: None,
        };
        self.known.note(noted.clone(), false).expect("the temporary folder takes files");
        self.journal.goes_on();
        self.write(Says::Source(noted));
    }

    fn end(&mut self, failed: u64) {
        let is_said =
            matches!(self.lines.last(), Some(Line { says: Says::End(said), .. }) if *said == failed);
        let before = self.scratch.len();
        self.journal.ended(failed);
        self.journal.write().expect("the temporary folder takes files");
        if is_said {
            assert_eq!(self.scratch.len(), before, "that is there already");
        } else {
            self.write(Says::End(failed));
        }
    }

    fn note(&mut self, choices: &mut Choices<'_>) {
        let key = choices.below(KEYS);
        let outcome = if choices.flip() {
            self.journal.stored(&keyed(key));
            Outcome::Stored
        } else {
            let text = String::from_utf8_lossy(choices.bytes(80)).into_owned();
            let status = choices.flip().then(|| 100 + u16::from(choices.byte()));
            let kind = ["422 Unprocessable Entity", "timed out"][choices.below(2)].to_owned();
            let (tries, mut reason) = (choices.byte().into(), Reason { kind, status, text });
            self.journal.failed(&keyed(key), tries, &reason);
            reason.text = reason.text.replace(['\n', '\r'], " ");
            Outcome::Failed(tries, reason)
        };
        self.write(Says::Outcome(key, outcome));
    }

    /// The machine stops: what was not synced may be there in part, with other bytes behind it.
    fn crash(&mut self, choices: &mut Choices<'_>) {
        let mut bytes = self.scratch.read();
        bytes.truncate(bytes.len().max(self.synced) - choices.below(bytes.len() - self.synced + 1));
        let len = bytes.len();
        // What a system leaves behind a torn write is no line of ours.
        bytes.extend(choices.bytes(20).iter().map(|byte| byte | 0x80));
        if choices.below(4) == 0 && len > self.head {
            let at = self.head + choices.below(len - self.head);
            bytes[at] ^= (1 << choices.below(8)) * u8::from(self.damage(at));
        }
        self.lines.retain(|line| line.end <= len);
        self.reopen(&bytes);
    }

    /// Whether a byte that is damaged belongs to a line that was not: twice damaged is whole.
    fn damage(&mut self, at: usize) -> bool {
        let index = self.lines.partition_point(|line| line.end <= at);
        let Some(line) = self.lines.get_mut(index) else { return false };
        if !std::mem::replace(&mut line.is_whole, false) {
            return false;
        }
        // Without its line break, the next one runs into it.
        if line.end == at + 1
            && let Some(next) = self.lines.get_mut(index + 1)
        {
            next.is_whole = false;
        }
        true
    }

    fn reopen(&mut self, bytes: &[u8]) {
        // One process at a time: the other file is closed before.
        let mut other = Scratch::new();
        other.write(bytes);
        let (journal, known) = Journal::open(other.path(), &identity()).expect("it begins as ours");
        (self.journal, self.known) = (journal, known);
        std::mem::swap(&mut self.scratch, &mut other);
        while self.lines.pop_if(|line| !line.is_whole).is_some() {}
        let end = self.lines.last().map_or(self.head, |line| line.end);
        assert_eq!(self.scratch.read(), bytes[..end], "what is behind the last line is cut off, and no more");
        self.synced = end;
        let known = &self.known;
        let whole = || self.lines.iter().rev().filter(|line| line.is_whole).map(|line| &line.says);
        for key in 0..KEYS {
            let last = whole().find_map(|says| match says {
                Says::Outcome(of, outcome) if *of == key => Some(outcome),
                _ => None,
            });
            let found = known.outcome(&keyed(key)).expect("it is a file");
            assert_eq!(found.as_ref(), last, "{key}");
        }
        for name in FILES {
            let last = whole().find_map(|says| match says {
                Says::Source(noted) if noted.file.as_deref().unwrap_or("") == name => Some(noted),
                _ => None,
            });
            let found = match name {
                "" => known.own().cloned(),
                name => known.file(name).expect("it is a file"),
            };
            assert_eq!(found.as_ref(), last, "{name:?}");
        }
        let ended = match whole().next() {
            Some(Says::End(failed)) => Some(*failed),
            _ => None,
        };
        assert_eq!(known.ended(), ended);
    }
}

fn outcomes(known: &Known) -> Vec<Option<Outcome>> {
    (0..KEYS).map(|key| known.outcome(&keyed(key)).expect("it is a file")).collect()
}

fn keyed(key: usize) -> Key {
    Key::of("a.zip", &key.to_string(), b"")
}

fn identity() -> Identity {
    Identity { source: "a.zip".into(), url: "http://h/".into(), record: "file".into() }
}
