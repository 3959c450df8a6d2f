//! What `send` does with each reply: prints it, or writes what a handler answered into a file.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::frame_line::{JsonLine, decimal, shown};
use crate::client::Reply;
use crate::wire::{NO_SUBSCRIBER, Status};

/// Where replies go.
pub struct Replies {
    prints: bool,
    json: bool,
    terminal: bool,
    folder: Option<PathBuf>,
    /// The files that were sent whole, in the order of their ids.
    names: Vec<PathBuf>,
    line: Vec<u8>,
    /// The first thing that could not be written; from then on nothing is.
    pub wrong: Option<String>,
}

impl Replies {
    /// Prints them or not, as JSON or text, and writes what handlers answered to a folder, if there is one.
    pub fn new(prints: bool, json: bool, folder: Option<PathBuf>, names: Vec<PathBuf>) -> Replies {
        let terminal = io::stdout().is_terminal();
        Replies { prints, json, terminal, folder, names, line: Vec::new(), wrong: None }
    }

    /// Checks that `folder` holds no replies yet: ids begin at 1 in each run.
    ///
    /// # Errors
    /// In one line with the mend.
    pub fn check(folder: &Path) -> Result<(), String> {
        let wrong = |why: String| Err(format!("--replies-to {}: {why}", folder.display()));
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // It is made for the first reply.
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(why) => return wrong(format!("{why}: give a folder")),
        };
        for name in entries.filter_map(|entry| Some(entry.ok()?.file_name())) {
            let name = name.to_string_lossy();
            if name.split('-').next().is_some_and(|id| id.parse::<u64>().is_ok()) {
                return wrong(format!(
                    "there is {name} already, and ids begin at 1 again: give a new folder, or empty this one"
                ));
            }
        }
        Ok(())
    }

    /// Takes one.
    pub fn take(&mut self, reply: Reply<'_>) {
        if self.wrong.is_some() {
            return;
        }
        if let Some(folder) = &self.folder
            && reply.status == Status::Ok
            && reply.payload != NO_SUBSCRIBER.as_bytes()
        {
            let path = folder.join(self.name(reply.id));
            let written = fs::create_dir_all(folder)
                .and_then(|()| File::create_new(&path))
                .and_then(|mut file| file.write_all(reply.payload));
            if let Err(why) = written {
                self.wrong = Some(format!("{}: {why}: choose another --replies-to", path.display()));
            }
        }
        if self.prints {
            self.shape(reply);
            match io::stdout().write_all(&self.line) {
                Ok(()) => {}
                // Nobody is left to read it.
                Err(why) if why.kind() == io::ErrorKind::BrokenPipe => self.prints = false,
                Err(why) => self.wrong = Some(format!("cannot print the replies: {why}")),
            }
        }
    }

    /// Two files of one name, in different folders, are told apart by the id.
    fn name(&self, id: u64) -> String {
        let sent = id.checked_sub(1).and_then(|at| self.names.get(usize::try_from(at).ok()?));
        match sent.and_then(|path| path.file_name()) {
            Some(name) => format!("{id}-{}", name.display()),
            None => id.to_string(),
        }
    }

    fn shape(&mut self, reply: Reply<'_>) {
        let line = &mut self.line;
        line.clear();
        if self.json {
            JsonLine::of_reply(&reply).write(self.terminal, line);
        } else {
            decimal(reply.id, line);
            line.push(b' ');
            line.extend_from_slice(reply.status.name().as_bytes());
            if !reply.payload.is_empty() {
                line.push(b' ');
                shown(reply.payload, self.terminal, line);
            }
        }
        line.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: bool, reply: Reply<'_>) -> String {
        let mut replies = Replies::new(true, json, None, Vec::new());
        replies.shape(reply);
        String::from_utf8(replies.line).unwrap()
    }

    #[test]
    fn a_reply_is_a_line() {
        let reply = |payload| Reply { id: 12, status: Status::Ok, payload };
        assert_eq!(line(false, reply(b"")), "12 OK\n");
        assert_eq!(line(false, reply(b"two\nlines")), "12 OK two\\nlines\n");
        assert_eq!(line(true, reply(b"text")), "{\"id\":12,\"status\":\"OK\",\"payload\":\"text\"}\n");
        assert!(line(true, reply(b"\xff\xfe")).contains("\"payload_base64\":\"//4=\""));
    }

    #[test]
    fn what_a_handler_answered_is_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (into, names) = (folder.path().join("new"), vec!["a/x.jpg".into(), "b/x.jpg".into()]);
        let mut replies = Replies::new(false, false, Some(into.clone()), names);
        for (id, status, payload) in [
            (2, Status::Ok, &b"two"[..]),
            (1, Status::Ok, b"one"),
            (3, Status::Ok, b""),
            (4, Status::Rejected, b"no"),
            // That is the gateway's word, and no handler's.
            (5, Status::Ok, NO_SUBSCRIBER.as_bytes()),
        ] {
            replies.take(Reply { id, status, payload });
        }
        assert_eq!(replies.wrong, None);
        let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(&into)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        found.sort();
        let expected = [("1-x.jpg", "one"), ("2-x.jpg", "two"), ("3", "")];
        assert!(
            found
                .iter()
                .map(|(n, b)| (n.as_str(), &b[..]))
                .eq(expected.iter().map(|(n, b)| (*n, b.as_bytes())))
        );
        // The next run would begin at 1 again.
        let said = Replies::check(&into).unwrap_err();
        assert!(said.contains("ids begin at 1 again: give a new folder"), "{said}");
        let mut replies = Replies::new(false, false, Some(into.clone()), Vec::new());
        replies.take(Reply { id: 3, status: Status::Ok, payload: b"another" });
        assert!(replies.wrong.is_some(), "nothing is written over");
        assert_eq!(fs::read(into.join("3")).unwrap(), b"");
        fs::write(folder.path().join("beside.txt"), "x").unwrap();
        assert_eq!(Replies::check(folder.path()), Ok(()));
        assert_eq!(Replies::check(&folder.path().join("none")), Ok(()));
        assert!(Replies::check(&into.join("3")).unwrap_err().contains("give a folder"));
        // A file where the folder should be.
        let mut replies = Replies::new(false, false, Some(into.join("3")), Vec::new());
        replies.take(Reply { id: 1, status: Status::Ok, payload: b"x" });
        assert!(replies.wrong.unwrap().contains("--replies-to"));
    }
}
