//! The gateway's process, and what the system says of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::variants::Variant;

/// A gateway in a process of its own, which ends with this.
pub struct Gateway {
    pub address: SocketAddr,
    child: Child,
}

impl Gateway {
    /// `slow` is what Framegate does about subscribers that are too slow; if none, as the others do: it pauses
    /// their publishers.
    pub fn start(variant: &Variant, slow: Option<&str>) -> Gateway {
        let mut child = myself()
            .args(["gateway", variant.name])
            .args(slow)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be run again");
        let mut line = String::new();
        let said = child.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut line).expect("the gateway says where it is");
        let address = line.trim().parse().expect("it says an address");
        Gateway { address, child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Either may fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, to be run again.
pub fn myself() -> Command {
    Command::new(std::env::current_exe().expect("the system knows it"))
}

/// User and system time that a process has taken, in µs; the system counts in hundredths of a second.
pub fn cpu_us(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The name in parentheses may hold spaces.
    let fields = stat.rsplit(") ").next().expect("rsplit gives one");
    let ticks = |at| fields.split(' ').nth(at).and_then(|field| field.parse::<f64>().ok());
    (ticks(11).expect("user time") + ticks(12).expect("system time")) * 10_000.0
}

/// Memory in bytes: now, and the most so far.
pub fn memory(process: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let kib = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system says it");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0
    };
    (kib("VmRSS:"), kib("VmHWM:"))
}

/// The line that figures are worthless without.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} cores of {}, Linux {}, load {}, {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
        framegate::wire::implementation(),
    )
}
