//! A program in a process of its own, ended with the test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use super::PATIENCE;

pub struct Process {
    pub child: Child,
    /// What it says on standard error, line by line.
    said: Receiver<String>,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        Process::start_with_log(command, None)
    }

    /// The same; what it says is written to `log` too, where it stays when the process is killed.
    pub fn start_with_log(command: &mut Command, mut log: Option<File>) -> Process {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (to, said) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(log) = &mut log {
                    writeln!(log, "{line}").expect("there is room for a log");
                }
                // Nobody may listen any more; the log goes on.
                if to.send(line).is_err() && log.is_none() {
                    return;
                }
            }
        });
        Process { child, said }
    }

    /// Waits until it says something with `part` in it.
    pub fn says(&self, part: &str) -> String {
        loop {
            let line = self.said.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|why| panic!("it never says {part:?}: {why}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Where a gateway says that it listens.
    pub fn address(&self) -> String {
        let line = self.says(" listening on ");
        let (_, rest) = line.split_once(" listening on ").unwrap();
        rest.split(',').next().unwrap().to_owned()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn write(&mut self, text: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for its end: the exit code, unless a signal ended it, what it printed, and what it said since last asked.
    pub fn finish(&mut self) -> (Option<i32>, String, String) {
        drop(self.child.stdin.take());
        // One that never ends is killed, and that is seen.
        let (ended, is_ended) = mpsc::channel::<()>();
        let pid = self.child.id().to_string();
        let watch = thread::spawn(move || {
            if is_ended.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-s", "KILL", &pid]).status();
            }
        });
        let mut printed = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut printed).unwrap();
        }
        let status = self.child.wait().unwrap();
        drop(ended);
        watch.join().expect("it waits or kills");
        let said: Vec<String> = self.said.iter().collect();
        (status.code(), printed, said.join("\n"))
    }

    /// The same, of one that was not killed.
    pub fn end(mut self) -> (i32, String, String) {
        let (code, printed, said) = self.finish();
        (code.expect("it ends by itself"), printed, said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
