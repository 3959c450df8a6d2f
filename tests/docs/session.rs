//! A page's `sh` blocks in one shell, in order, in a folder of its own with the page's files.
//!
//! The program is on the path behind a few lines of shell that give it addresses of this session, so that what is on
//! the pages can be pasted and many pages run at once. A page stops what it has started: the shell waits for that.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::pages::{Block, Page};
use super::tools;

/// The ports on the pages: of publishers and subscribers, of `--admin`, of servers of others, of devices, and of TLS.
const PORTS: [u16; 5] = [7450, 7451, 8080, 5027, 7453];

/// No page takes as long, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(240);

/// Of what a page printed before it failed, so much is shown.
const SHOWN: usize = 4_000;

pub struct Session {
    folder: tempfile::TempDir,
    /// What stands on the pages, and what is here in its place.
    addresses: Vec<(String, String)>,
    listen: String,
    admin: String,
    patience: Duration,
}

impl Session {
    /// The session number `index` of this process.
    pub fn new(index: usize) -> Session {
        let folder = tempfile::tempdir().expect("there is room");
        let host = host(index);
        let free: Vec<TcpListener> =
            PORTS.iter().map(|_| TcpListener::bind((&*host, 0)).expect("a free port")).collect();
        let here: Vec<String> = free.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
        let mut addresses = Vec::new();
        for (port, here) in PORTS.iter().zip(&here) {
            let (_, here_port) = here.rsplit_once(':').expect("it has a port");
            for name in ["127.0.0.1", "localhost"] {
                addresses.push((format!("{name}:{port}"), here.clone()));
                addresses.push((format!("\"{name}\", {port}"), format!("\"{host}\", {here_port}")));
            }
        }
        let session = Session {
            folder,
            addresses,
            listen: here[0].clone(),
            admin: here[1].clone(),
            patience: PATIENCE,
        };
        for folder in [session.work(), session.log(), session.path("bin")] {
            fs::create_dir(folder).expect("there is room");
        }
        session.put_on_path();
        session
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the blocks run.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// A text of a page with the addresses of this session.
    pub fn here(&self, text: &str) -> String {
        self.addresses.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    /// The program, with this session's addresses where none are given.
    fn put_on_path(&self) {
        let script = format!(
            "#!/bin/sh
given=\" $* \"
verb=$1
shift
unless() {{
    case \"$given\" in *\" $1 \"*) return 1 ;; esac
}}
case \"$verb\" in
serve)
    unless --admin && set -- --admin {admin} \"$@\"
    unless --listen && set -- --listen {listen} \"$@\" ;;
send) unless --to && set -- --to {listen} \"$@\" ;;
tail) unless --from && unless --store && set -- --from {listen} \"$@\" ;;
ctl) unless --admin && set -- --admin {admin} \"$@\" ;;
esac
exec {program} \"$verb\" \"$@\"
",
            admin = self.admin,
            listen = self.listen,
            program = env!("CARGO_BIN_EXE_framegate"),
        );
        let path = self.path("bin/framegate");
        fs::write(&path, script).expect("there is room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    /// A command with this session's program and folder.
    pub fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").expect("there is one");
        let mut command = Command::new(program);
        command.current_dir(self.work()).stdin(Stdio::null()).env_remove("RUST_LOG");
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        // As where the Python package is installed.
        command
            .env("PYTHONPATH", super::pages::root().join("clients/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("FRAMEGATE", self.path("bin/framegate"));
        command
    }

    /// Writes the files that a page shows, each where its `sh` blocks find it.
    pub fn write_files(&self, page: &Page) {
        let mut names = HashMap::new();
        for block in &page.blocks {
            if block.is("sh") || block.is("text") || block.is("rust") || block.has("cargo") {
                continue;
            }
            let at = format!("{} line {}", page.name, block.line);
            let name = block.file().unwrap_or_else(|| panic!("{at}: the first line is to be `# NAME`"));
            assert!(names.insert(name, block.line).is_none(), "{at}: a second {name}");
            fs::write(self.work().join(name), self.here(&block.text)).expect("there is room");
        }
    }

    /// Runs the page's blocks, and compares what they print with what the page says. What is wrong, if anything is.
    pub fn run(&self, page: &Page) -> Result<(), String> {
        self.write_files(page);
        let mut script = "set -eu -o pipefail\n".to_owned();
        let mut ran = HashMap::new();
        for (number, block) in page.blocks.iter().enumerate() {
            if !block.is("sh") || block.is_for_ci() || block.value("never").is_some() {
                continue;
            }
            if !tools::are_there(block.value("needs"), &page.name) {
                continue;
            }
            ran.insert(number, block);
            self.begin(&mut script, &number.to_string());
            script.push_str(&self.here(&block.text));
        }
        // What is still running was not stopped by the page; it is the shell that knows of it.
        self.begin(&mut script, "end");
        script.push_str("wait\n");
        if ran.is_empty() {
            return Ok(());
        }
        let mut shell = self.command("bash");
        shell.arg("-c").arg(&script).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let ended = until_end(shell.spawn().expect("bash is there"), self.patience);
        let at = fs::read_to_string(self.log().join("at")).unwrap_or_default();
        let at = at.trim();
        let place = match at.parse().ok().and_then(|number: usize| page.blocks.get(number)) {
            Some(block) => format!("{} line {}", page.name, block.line),
            None => format!("the end of {}", page.name),
        };
        match ended {
            Some(status) if status.success() => self.compare(page, &ran),
            Some(status) => Err(format!("{place}: {status}\n{}", self.said(at))),
            None => Err(format!("{place}: something never ends\n{}", self.said(at))),
        }
    }

    /// What comes now prints into files of its own.
    fn begin(&self, script: &mut String, name: &str) {
        let log = self.log();
        let log = log.display();
        writeln!(script, "exec > {log}/out.{name} 2> {log}/err.{name}; echo {name} > {log}/at").unwrap();
    }

    fn said(&self, name: &str) -> String {
        let read = |kind: &str| {
            let text = fs::read(self.log().join(format!("{kind}.{name}"))).unwrap_or_default();
            String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).into_owned()
        };
        format!("printed:\n{}\nsaid:\n{}", read("out"), read("err"))
    }

    /// Whether each `text output` holds what the block before it printed.
    fn compare(&self, page: &Page, ran: &HashMap<usize, &Block>) -> Result<(), String> {
        let mut before = None;
        for (number, block) in page.blocks.iter().enumerate() {
            if block.is("sh") {
                before = ran.contains_key(&number).then_some(number);
            }
            let (true, true, Some(printed)) = (block.is("text"), block.has("output"), before) else {
                continue;
            };
            let printed = fs::read_to_string(self.log().join(format!("out.{printed}"))).unwrap_or_default();
            let printed: Vec<String> = printed.lines().map(timeless).collect();
            for line in block.text.lines().map(timeless) {
                if !printed.contains(&line) {
                    let printed = printed.join("\n");
                    return Err(format!(
                        "{} line {}: nothing prints {line:?}, but:\n{printed}",
                        page.name, block.line
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A report of `send` without how long it took, ` in 0.05 s (200 frames/s)`, of which slow ones lack the rate.
fn timeless(line: &str) -> String {
    let line = line.trim_end();
    match line.split_once(" in ") {
        Some((sent, rest)) if sent.starts_with("sent ") => {
            rest.split_once(": ").map_or_else(|| sent.to_owned(), |(_, told)| format!("{sent}: {told}"))
        }
        _ => line.to_owned(),
    }
}

/// An address of loopback. On Linux all of 127.0.0.0/8 is, and each session has its own: a port that was free a moment
/// ago stays so.
fn host(index: usize) -> String {
    if cfg!(target_os = "linux") {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        format!("127.{}.{low}.{}", 64 + high % 128, 2 + index)
    } else {
        "127.0.0.1".into()
    }
}

/// Waits for the end of a shell; if that takes too long, ends it. Of a page that failed, gateways may be left: they end
/// in any case.
fn until_end(mut shell: Child, patience: Duration) -> Option<ExitStatus> {
    // The group is the shell's own.
    let group = format!("-{}", shell.id());
    let kill = move || Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
    let (ended, is_ended) = mpsc::channel::<()>();
    let end = kill.clone();
    let watch = thread::spawn(move || {
        let is_late = is_ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
        is_late.then(end).is_some()
    });
    let status = shell.wait().expect("it is our child");
    drop(ended);
    let was_late = watch.join().expect("it waits or kills");
    if !status.success() {
        // Where nothing is left, that is said, and right.
        let _ = kill();
    }
    (!was_late).then_some(status)
}

#[test]
fn addresses_are_those_of_the_session() {
    let session = Session::new(200);
    let here =
        session.here("a = \"127.0.0.1:7450\" http://localhost:7451/ (\"127.0.0.1\", 8080) 127.0.0.1:9");
    let host = host(200);
    assert!(!here.contains("7450") && !here.contains("8080") && here.ends_with(" 127.0.0.1:9"), "{here}");
    assert_eq!(here.matches(&*host).count(), 3, "{here}");
}

#[test]
fn how_long_it_took_is_not_compared() {
    for line in ["sent 1 frame, 5 B in 0.00 s (215 frames/s): OK 1", "sent 1 frame, 5 B in 1.20 s: OK 1"] {
        assert_eq!(timeless(line), "sent 1 frame, 5 B: OK 1");
    }
    assert_eq!(timeless("delivered in order"), "delivered in order");
}

/// A session itself: what fails, what is left running, and what prints something else is told.
#[test]
fn what_is_wrong_with_a_page_is_told() {
    let page = |text: &str| Page {
        name: "a.md".into(),
        text: text.into(),
        blocks: super::pages::blocks(text).expect("they are right"),
    };
    for (text, told) in [
        ("```sh\necho a\n```\n```text output\na\n```\n", None),
        ("```sh\necho a\n```\n```text output\nb\n```\n", Some("nothing prints \"b\"")),
        ("```sh\nfalse\ntrue\n```\n", Some("a.md line 2: exit status: 1")),
        ("```sh\ntrue\n```\n```sh\nsleep 1000 &\n```\n", Some("the end of a.md: something never ends")),
        ("```sh\nframegate dance | cat\n```\n", Some("a.md line 2: exit status: 2")),
    ] {
        let mut session = Session::new(201);
        if text.contains("sleep") {
            session.patience = Duration::from_millis(500);
        }
        let result = session.run(&page(text));
        match (&result, told) {
            (Ok(()), None) => {}
            (Err(said), Some(told)) if said.contains(told) => {}
            _ => panic!("{text}: {result:?}"),
        }
    }
}
