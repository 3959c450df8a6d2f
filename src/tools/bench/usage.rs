//! What the generator itself spends, and what another process does.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Latency, Percentiles};

/// What the generator spends from a start on: the measure of whether its figures can be believed.
#[derive(Clone, Debug)]
pub struct Usage {
    started: Instant,
    cpu: Duration,
    waited: Duration,
    slip: Latency,
}

/// What the generator spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Own {
    /// Processor time, user and system.
    pub cpu_s: f64,
    /// The same as a part of the time: 1 is all of one core.
    pub cores: f64,
    /// The most memory that it held; none where the system does not say.
    pub rss_bytes_max: Option<u64>,
    /// The part of the time in which it did not wait for anything to do: near 1, it was saturated.
    pub busy: f64,
    /// How late it was with what was due; none where nothing had a time.
    pub slip_us: Option<Percentiles>,
}

impl Usage {
    /// From `now` on.
    pub fn start(now: Instant) -> Usage {
        Usage { started: now, cpu: own_cpu(), waited: Duration::ZERO, slip: Latency::default() }
    }

    /// It had nothing to do for so long: the length of a poll.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// `count` things that were due were done so much later.
    pub fn slipped(&mut self, late: Duration, count: u64) {
        self.slip.record(late, count);
    }

    /// What it was until `now`.
    pub fn own(&self, now: Instant) -> Own {
        let seconds = now.saturating_duration_since(self.started).as_secs_f64().max(1e-9);
        let cpu_s = own_cpu().saturating_sub(self.cpu).as_secs_f64();
        Own {
            cpu_s,
            cores: cpu_s / seconds,
            rss_bytes_max: memory("self").map(|(_, most)| most),
            busy: (1.0 - self.waited.as_secs_f64() / seconds).clamp(0.0, 1.0),
            slip_us: self.slip.percentiles(),
        }
    }
}

/// Another process, watched from a start on.
#[derive(Clone, Debug)]
pub struct Process {
    id: u32,
    started: Instant,
    cpu: Duration,
}

/// What another process spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Processor time, user and system.
    pub cpu_s: f64,
    /// The same as a part of the time: 1 is all of one core.
    pub cores: f64,
    /// The memory that it holds.
    pub rss_bytes: u64,
    /// The most that it ever held.
    pub rss_bytes_max: u64,
}

impl Process {
    /// From `now` on; none where the system does not say what a process spends.
    pub fn watch(id: u32, now: Instant) -> Option<Process> {
        Some(Process { id, started: now, cpu: cpu_of(id)? })
    }

    /// What it was until `now`; none if the process is gone.
    pub fn spent(&self, now: Instant) -> Option<Spent> {
        let cpu_s = cpu_of(self.id)?.saturating_sub(self.cpu).as_secs_f64();
        let (rss_bytes, rss_bytes_max) = memory(&self.id.to_string())?;
        let seconds = now.saturating_duration_since(self.started).as_secs_f64().max(1e-9);
        Some(Spent { cpu_s, cores: cpu_s / seconds, rss_bytes, rss_bytes_max })
    }
}

fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// In the ticks that the system counts, usually of 10 ms.
fn cpu_of(id: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    ticks(&stat)
        .map(|ticks| Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// User and system time in a line of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    fields.next()??.checked_add(fields.next()??)
}

/// The memory that a process holds, and the most that it ever held, in bytes.
fn memory(process: &str) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some((kib(&status, "VmRSS:")?, kib(&status, "VmHWM:")?))
}

/// The bytes that a line such as `VmRSS:  123 kB` says.
pub(super) fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1 2"), None);
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:")), (Some(1 << 20), Some(2 << 20)));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_watched() {
        let now = Instant::now();
        let process = Process::watch(std::process::id(), now).unwrap();
        let mut usage = Usage::start(now);
        usage.waited(Duration::from_millis(250));
        usage.slipped(Duration::from_micros(70), 2);
        let later = now + Duration::from_secs(1);
        let (own, spent) = (usage.own(later), process.spent(later).unwrap());
        assert!((own.busy - 0.75).abs() < 1e-9 && own.slip_us.unwrap().max >= 70.0);
        assert!(own.rss_bytes_max.unwrap() > 100_000 && spent.rss_bytes_max >= spent.rss_bytes);
        assert!(Process::watch(u32::MAX, now).is_none());
    }
}
