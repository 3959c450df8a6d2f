//! A gateway in a process of its own, and what the system and its status say of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use super::support::PATIENCE;
use super::support::process::Process;
use super::{MIB, handler};

/// `--memory` of every gateway here.
pub const MEMORY: u64 = 64 * MIB;

/// Longer than what is queued takes to be done.
const RETURN: Duration = Duration::from_secs(180);

/// 4 GiB of addresses, most of which an allocator only reserves.
const ADDRESSES: u64 = 4096 * MIB;

/// What a gateway is set to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    Plain,
    Stored,
    Handled,
}

impl Combination {
    pub fn name(self) -> &'static str {
        match self {
            Combination::Plain => "plain",
            Combination::Stored => "dedup, store, lease",
            Combination::Handled => "slow handlers, dedup, store",
        }
    }

    pub fn payload_max(self) -> usize {
        match self {
            Combination::Plain | Combination::Stored => 16 << 20,
            // Beside it there must be room for an answer as large.
            Combination::Handled => 4 << 20,
        }
    }

    /// How many times slower clients send: a disk and a handler take less than memory does.
    pub fn slower(self) -> usize {
        match self {
            Combination::Plain => 1,
            Combination::Stored | Combination::Handled => 4,
        }
    }

    /// How often the other publisher publishes: often enough that in a full run a stall of a tenth of a second is in
    /// the p99, and not more than its share of the handlers, of which every connection has one.
    pub fn period(self) -> Duration {
        match self {
            Combination::Plain | Combination::Stored => Duration::from_millis(2),
            Combination::Handled => Duration::from_millis(20),
        }
    }

    fn options(self) -> Vec<String> {
        let mut options = vec![format!("--lease=1s --max-payload={}", self.payload_max())];
        if self != Combination::Plain {
            options.push("--dedup=10s --store-keep=64MiB --store-rotate=1s".into());
        }
        if self == Combination::Handled {
            // More at once than there are clients: then each connection's share is one place at least.
            options.push("--handlers=2 --max-in-flight=250".into());
        }
        options.iter().flat_map(|some| some.split(' ')).map(str::to_owned).collect()
    }
}

pub struct Serving {
    process: Process,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    store: tempfile::TempDir,
}

impl Serving {
    pub fn start(combination: Combination) -> Serving {
        let store = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--memory"]);
        command.arg(MEMORY.to_string()).args(combination.options());
        if combination != Combination::Plain {
            command.arg("--store").arg(store.path());
        }
        if combination == Combination::Handled {
            command.args(["--handler", &handler::command()]);
        }
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let process = Process::start(&mut command);
        // One that takes whatever there is must not take the machine with it.
        let limit = Rlimit { current: Some(ADDRESSES), maximum: Some(ADDRESSES) };
        prlimit(Some(Pid::from_child(&process.child)), Resource::As, limit).expect("a child's limit");
        let address = process.address().parse().unwrap();
        let line = process.says(" on http://");
        let (_, admin) = line.split_once(" on http://").unwrap();
        let admin = admin.trim_end().trim_end_matches('/').parse().unwrap();
        let serving = Serving { process, address, admin, store };
        serving.wait_for_handlers();
        serving
    }

    fn wait_for_handlers(&self) {
        // They are there before a frame needs them.
        let there = |status: &Value| {
            let handlers = status.pointer("/calls/handlers").and_then(Value::as_array);
            handlers.is_none_or(|all| all.iter().all(|handler| handler["pid"].is_number()))
        };
        self.wait_until("its handlers start", there);
    }

    pub fn status(&self) -> Value {
        let began = Instant::now();
        loop {
            match status(self.admin) {
                Ok(status) => return status,
                Err(why) => assert!(began.elapsed() < PATIENCE, "the admin server does not answer: {why}"),
            }
        }
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return began.elapsed();
            }
            assert!(began.elapsed() < RETURN, "{what}: not within {RETURN:?}: {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until no more than so many connections are left and nothing is held for others. How long that took.
    pub fn returns_to(&self, connections: u64) -> Duration {
        self.wait_until("what clients held that are gone comes back", |status| {
            let of = |pointer| number(status, pointer);
            // Topics stay remembered while anybody is connected, within a bound of their own.
            let held = of("/memory/used_bytes") - of("/memory/subscriptions_bytes");
            of("/queues/connections/now") <= connections
                && held + of("/subscriptions/bytes/now") < MIB / 4
                && of("/parts/held") == 0
                && of("/ledger/in_flight") == 0
        })
    }

    /// The most memory that was ever resident, as the system counts it: nothing between two looks is missed.
    pub fn memory_peak(&self) -> u64 {
        memory(self.process.child.id(), "VmHWM:")
    }

    /// Ends it in peace. How it ended, where that is not as it should be.
    pub fn stop(self) -> Result<(), String> {
        self.process.signal("TERM");
        let (code, printed, said) = self.process.end();
        drop(self.store);
        match code {
            0 if !said.contains("panicked") => Ok(()),
            _ => Err(format!("it ends with {code}: {printed}\n{said}")),
        }
    }
}

/// A number in a status; 0 where it is not.
pub fn number(status: &Value, pointer: &str) -> u64 {
    status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn status(admin: SocketAddr) -> Result<Value, String> {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect(admin)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|why| why.to_string())?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    serde_json::from_slice(&answer[body..])
        .map_err(|why| format!("{why}: {}", String::from_utf8_lossy(&answer)))
}

fn memory(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system says so");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB")
}

/// Looks at a gateway's status, again and again, as a monitor would.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Looks>>,
}

/// How that went.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    pub count: u64,
    pub failed: u64,
    pub last_failure: Option<String>,
    pub longest: Duration,
    /// The most that was charged at once, in bytes.
    pub charged: u64,
}

impl Watch {
    pub fn start(serving: &Serving) -> Watch {
        let (is_over, admin) = (Arc::new(AtomicBool::new(false)), serving.admin);
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut looks = Looks::default();
            while !over.load(Ordering::Acquire) {
                let began = Instant::now();
                looks.count += 1;
                match status(admin) {
                    Ok(status) => looks.charged = looks.charged.max(number(&status, "/memory/used_bytes")),
                    Err(why) => (looks.failed, looks.last_failure) = (looks.failed + 1, Some(why)),
                }
                looks.longest = looks.longest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(100));
            }
            looks
        });
        Watch { is_over, thread: Some(thread) }
    }

    pub fn stop(mut self) -> Looks {
        self.is_over.store(true, Ordering::Release);
        self.thread.take().expect("it is stopped once").join().expect("it looks")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}
