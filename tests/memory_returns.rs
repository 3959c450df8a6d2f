//! The program gives back what a burst took: read from the system, not from its own counts.
#![cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framegate::frame::{Header, Scheme, Status};
use support::{Client, PATIENCE, data};

const MIB: u64 = 1 << 20;
const KEYS: u64 = 200_000;

/// What may stay: buffers for reuse, what a first use touches, and what the allocator notes.
const STAYS: u64 = 24 * MIB;

struct Serving(Child);

impl Serving {
    /// A line of what the system says of its memory, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system says so");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_memory_of_keys_that_expired_is_given_back() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--lease", "3s"]);
    command.args(["--memory", "1GiB", "--parts-memory", "512MiB"]).env_remove("RUST_LOG");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let serving = Serving(child);
    let line = said.find(|line| line.contains(" listening on ")).expect("it listens");
    let (_, rest) = line.split_once(" listening on ").unwrap();
    let address = rest.split(',').next().unwrap().parse().unwrap();
    let before = serving.memory("VmRSS:");

    let mut client = Client::connect(address, Scheme::Sha256);
    let mut bytes = Vec::new();
    for key in 0..KEYS {
        let header = Header { key, part_index: 0, part_count: 2, ..data(key) };
        bytes.extend(client.frame(header, b"orders", &[7; 16]));
    }
    let mut socket = client.socket.try_clone().unwrap();
    let writing = thread::spawn(move || socket.write_all(&bytes));
    for _ in 0..KEYS {
        assert_eq!(client.next().status(), Some(Status::Expired));
    }
    writing.join().unwrap().expect("it reads all of them");
    let most = serving.memory("VmHWM:");
    assert!(most > before + 2 * STAYS, "they took {} MiB: too little to tell", (most - before) / MIB);

    let deadline = Instant::now() + PATIENCE;
    while serving.memory("VmRSS:") > before + STAYS {
        let after = serving.memory("VmRSS:") / MIB;
        assert!(Instant::now() < deadline, "{after} MiB, {} at most, {} before", most / MIB, before / MIB);
        thread::sleep(Duration::from_millis(50));
    }
}
