//! The program gives back what a burst took: read from the system, not from its own counts.

use crate::support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framegate::wire::{Header, Scheme, Status};
use support::process::Process;
use support::{Client, PATIENCE, data};

const MIB: u64 = 1 << 20;
const KEYS: u64 = 200_000;

/// What may stay: buffers for reuse, what a first use touches, and what the allocator notes.
const STAYS: u64 = 24 * MIB;

/// A line of what the system says of a process' memory, in bytes.
fn memory(process: &Process, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system says so");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB")
}

#[test]
fn the_memory_of_keys_that_expired_is_given_back() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--lease", "3s"]);
    command.args(["--memory", "1GiB", "--parts-memory", "512MiB"]).env_remove("RUST_LOG");
    let serving = Process::start(command.stdout(Stdio::null()));
    let address = serving.address().parse().unwrap();
    let before = memory(&serving, "VmRSS:");

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
    let most = memory(&serving, "VmHWM:");
    assert!(most > before + 2 * STAYS, "they took {} MiB: too little to tell", (most - before) / MIB);

    let deadline = Instant::now() + PATIENCE;
    while memory(&serving, "VmRSS:") > before + STAYS {
        let after = memory(&serving, "VmRSS:") / MIB;
        assert!(Instant::now() < deadline, "{after} MiB, {} at most, {} before", most / MIB, before / MIB);
        thread::sleep(Duration::from_millis(50));
    }
}

const CONNECTIONS: u64 = 10_000;

/// What so many idle connections may take, right after they came: as much as docs/backpressure.md says.
const IDLE: u64 = 5 * MIB;

#[test]
fn idle_connections_cost_what_the_pages_say() {
    // A socket here and one there, and what both need beside.
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("it can be read");
    if files < CONNECTIONS + 1_000 {
        let what =
            format!("{files} open files are too few for {CONNECTIONS} idle connections: raise ulimit -n");
        return crate::support::skipped::skipped(&what);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"]).env_remove("RUST_LOG");
    let serving = Process::start(command.stdout(Stdio::null()));
    let address = serving.address().parse().unwrap();
    // What a first use touches is not what each of them costs.
    assert_eq!(Client::connect(address, Scheme::Sha256).publish("first", &[7; 256]).0, Status::Ok);
    let before = memory(&serving, "VmRSS:");
    let idle: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = Client::connect(address, Scheme::Sha256);
            assert_eq!(client.publish("idle", &[7; 256]).0, Status::Ok);
            client.socket
        })
        .collect();
    let after = memory(&serving, "VmRSS:");
    let added = after - before;
    assert!(added <= IDLE, "{} connections took {} KiB", idle.len(), added / 1024);
}
