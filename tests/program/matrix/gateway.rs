//! The program in a process of its own, as a world sets it, and what it says of itself.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::support::process::Process;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_framegate");

pub struct Gateway {
    process: Process,
    pub address: SocketAddr,
    admin: String,
    /// The most that was resident.
    resident: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    measuring: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Starts it, with what it says on standard error in `log`.
    pub fn start(args: &[String], log: &Path) -> Gateway {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").args(args).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let process = Process::start_with_log(&mut command, Some(log));
        let address = process.address().parse().expect("an address");
        let line = process.says("ctl on http://");
        let (_, admin) = line.split_once("ctl on http://").expect("it was looked for");
        let admin = admin.trim_end_matches('/').to_owned();
        let (resident, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let status = format!("/proc/{}/status", process.child.id());
        let measuring = {
            let (resident, over) = (resident.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    let peak = fs::read_to_string(&status).ok().and_then(|status| peak_of(&status));
                    resident.fetch_max(peak.unwrap_or(0), Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        Gateway { process, address, admin, resident, over, measuring: Some(measuring) }
    }

    /// Runs `framegate ctl`: its exit code, and what it printed and said.
    pub fn ctl(admin: &str, words: &[String]) -> (i32, String) {
        let done =
            Command::new(PROGRAM).args(["ctl", "--admin", admin]).args(words).output().expect("it runs");
        let said = [&done.stdout[..], &done.stderr].map(String::from_utf8_lossy).concat();
        (done.status.code().unwrap_or(-1), said)
    }

    pub fn admin(&self) -> &str {
        &self.admin
    }

    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    pub fn kill(&mut self) {
        self.process.child.kill().expect("it runs");
        self.process.child.wait().expect("it was started");
    }

    /// The most that was resident so far, after the last look at it.
    pub fn resident(&mut self) -> u64 {
        self.over.store(true, Relaxed);
        if let Some(measuring) = self.measuring.take() {
            measuring.join().expect("it only reads");
        }
        self.resident.load(Relaxed)
    }

    /// Waits for its end: the exit code and the ledger.
    pub fn end(mut self) -> (Option<i32>, Option<Value>) {
        self.resident();
        let (code, printed, _) = self.process.finish();
        (code, serde_json::from_str(&printed).ok())
    }
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
