//! What lies in the store's folder, read without the crate, and what an HTTP store was sent.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::gateway::PROGRAM;
use super::store::{self, Act};
use super::story::{Post, Stored};
use super::wire::{Cutter, Digest, Frame};

/// Everything that lies in a store at rest.
pub fn read(folder: &Path, secret: Option<&[u8]>, secret_file: Option<&Path>) -> Stored {
    let mut stored = Stored::default();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(path) = folders.pop() {
        let mut files = Vec::new();
        for entry in fs::read_dir(&path).expect("a folder") {
            let entry = entry.expect("an entry");
            match entry.file_type().expect("a kind").is_dir() {
                // The sequences of all frames stay.
                true if entry.file_name() == ".order" => {}
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
        files.sort();
        let mut frames = Vec::new();
        for file in files {
            let extension = file.extension().map(|extension| extension.to_string_lossy().into_owned());
            match extension.as_deref() {
                Some("frames") => read_file(&file, secret, &mut frames, &mut stored.odd),
                // A crash may leave the beginning of a frame.
                Some("cut") | Some("index") => {}
                _ if path == folder => {}
                _ => stored.odd.push(format!("{} is left after a clean end", file.display())),
            }
        }
        if !frames.is_empty() {
            let name = path.strip_prefix(folder).expect("it is inside");
            stored.folders.push((topic_of(&name.to_string_lossy()), frames));
        }
    }
    let with_secret = secret_file.map(|path| vec!["--secret-file".to_owned(), path.display().to_string()]);
    let with_secret = with_secret.unwrap_or_default();
    let tail = Command::new(PROGRAM)
        .args(["tail", "--format", "raw", "--store"])
        .arg(folder)
        .args(&with_secret)
        .output()
        .expect("it runs");
    if !tail.status.success() {
        stored.odd.push(format!("tail --store: {}", String::from_utf8_lossy(&tail.stderr)));
    }
    let mut cutter = Cutter::default();
    cutter.push(&tail.stdout);
    while let Ok(Some(frame)) = cutter.next(secret) {
        stored.order.push(frame.digest);
    }
    if stored.folders.is_empty() {
        // It says that there is nothing, which is so.
        stored.verified = (0, String::new());
        return stored;
    }
    let verify =
        Command::new(PROGRAM).arg("verify").arg(folder).args(&with_secret).output().expect("it runs");
    let said = [&verify.stdout[..], &verify.stderr].map(String::from_utf8_lossy).concat();
    stored.verified = (verify.status.code().unwrap_or(-1), said);
    stored
}

fn read_file(file: &Path, secret: Option<&[u8]>, frames: &mut Vec<Frame>, odd: &mut Vec<String>) {
    let mut cutter = Cutter::default();
    cutter.push(&fs::read(file).expect("a file"));
    loop {
        match cutter.next(secret) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) if cutter.left() == 0 => return,
            Ok(None) => return odd.push(format!("{} ends within a frame", file.display())),
            Err(why) => return odd.push(format!("{}: {why}", file.display())),
        }
    }
}

/// The topic that a folder's name stands for: what is not safe is written `%2F`, and a long one goes on inside.
pub fn topic_of(name: &str) -> Vec<u8> {
    if name == "%empty" {
        return Vec::new();
    }
    let name = name.replace("%/", "");
    let mut parts = name.split('%');
    let mut topic = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        topic.push(u8::from_str_radix(part.get(..2).unwrap_or("0"), 16).unwrap_or(0));
        topic.extend_from_slice(&part.as_bytes()[2.min(part.len())..]);
    }
    topic
}

/// A store over HTTP that does what the second letter of a body says.
pub struct HttpStore {
    store: store::Store,
    /// For each body and how often it came before: what was answered.
    answers: Arc<Mutex<Vec<Given>>>,
    /// Requests that were told of already.
    told: usize,
}

struct Given {
    body: Arc<str>,
    before: usize,
    answer: Option<u16>,
}

impl HttpStore {
    /// One that takes so many connections at once, and breaks off all others.
    pub fn start(doors: usize) -> HttpStore {
        let answers: Arc<Mutex<Vec<Given>>> = Arc::default();
        let given = answers.clone();
        let store = store::Store::start(doors, move |body, before| {
            let (act, answer) = act(body, before);
            given.lock().expect("nobody panics with it").push(Given { body: body.into(), before, answer });
            act
        });
        HttpStore { store, answers, told: 0 }
    }

    pub fn url(&self) -> String {
        self.store.url()
    }

    /// What was sent since this was last asked, in the order in which it came, by gateways that have ended.
    pub fn posts(&mut self) -> Vec<Post> {
        let log = self.store.settle();
        let answers = self.answers.lock().expect("nobody panics with it");
        let mut posts = Vec::new();
        // Both were written under one lock, in one order.
        for (number, given) in answers.iter().enumerate().skip(self.told) {
            let seen = &log.seen[&*given.body][given.before];
            assert_eq!(seen.number, number, "a request is an answer");
            let field = |name: &str| seen.fields.get(name).cloned().unwrap_or_default();
            posts.push(Post {
                number,
                digest: seen.key.clone(),
                topic: field("framegate-topic").into_bytes(),
                key: field("framegate-key").parse().unwrap_or(u64::MAX),
                id: field("framegate-id").parse().unwrap_or(u64::MAX),
                body: given.body.clone(),
                answer: given.answer,
            });
        }
        self.told = answers.len();
        posts
    }
}

fn act(body: &str, before: usize) -> (Act, Option<u16>) {
    match (body.as_bytes().get(1), before) {
        (Some(b'r'), _) => (Act::Answer(422, "", "not wanted"), Some(422)),
        (Some(b'u'), _) => (Act::Answer(503, "", "busy"), Some(503)),
        (Some(b't'), 0) => (Act::Answer(503, "", "busy once"), Some(503)),
        (Some(b'z'), 0) => (Act::Reset, None),
        (Some(b's'), _) => (Act::Later(Duration::from_millis(20)), Some(200)),
        _ => (store::OK, Some(200)),
    }
}

/// The digests of all frames of a store, however they are filed.
pub fn digests(stored: &Stored) -> impl Iterator<Item = Digest> {
    stored.folders.iter().flat_map(|(_, frames)| frames.iter().map(|frame| frame.digest))
}
