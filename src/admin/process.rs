//! What the system says of this process.

use std::fs;
use std::time::Duration;

/// The usual `process_…` metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Memory.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// When it started, since the Unix epoch.
    pub started: Duration,
}

/// Processor time is told in hundredths of a second: USER_HZ, the same on every Linux.
const TICKS: u64 = 100;

impl Process {
    /// As it is now; none where the system does not say (it is not Linux).
    pub fn look() -> Option<Process> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        read(&stat, &status, &system, open_files)
    }
}

/// Reads what proc(5) describes.
fn read(stat: &str, status: &str, system: &str, open_files: u64) -> Option<Process> {
    // The second field is the program's name in brackets, and may hold spaces; the third comes after it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = |field: usize| fields.split(' ').nth(field - 3)?.parse::<u64>().ok();
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    let started = Duration::from_millis(ticks(22)? * 1000 / TICKS);
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Process {
        cpu: Duration::from_millis((ticks(14)? + ticks(15)?) * 1000 / TICKS),
        resident_bytes: resident.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024,
        open_files,
        started: Duration::from_secs(booted.trim().parse().ok()?) + started,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_proc() {
        let stat = "42 (frame) gate) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 1234 9 9";
        let status = "Name:\tframegate\nVmRSS:\t   12345 kB\nThreads:\t4\n";
        let system = "cpu 1 2 3\nbtime 1700000000\n";
        let process = read(stat, status, system, 7).unwrap();
        assert_eq!(process.cpu, Duration::from_secs(3));
        assert_eq!((process.resident_bytes, process.open_files), (12345 * 1024, 7));
        assert_eq!(process.started, Duration::from_millis(1_700_000_012_340));
        assert_eq!(read("", "", "", 0), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some_of_each() {
        let process = Process::look().unwrap();
        assert!(process.resident_bytes > 1 << 20 && process.open_files > 2, "{process:?}");
    }
}
