//! What a load needs of the system, looked at before it starts. Every fault is one line with the mend.

use std::net::IpAddr;

use super::usage::kib;
use crate::core::limits::RESERVED_FILES;
use crate::core::units::{bytes, grouped};

/// Raises the limit of open files to what `connections` of this process need.
pub fn files(connections: usize) -> Result<(), String> {
    let needed = connections as u64 + RESERVED_FILES;
    let limit = rlimit::increase_nofile_limit(needed.max(soft_limit())).unwrap_or_else(|_| soft_limit());
    if limit >= needed {
        return Ok(());
    }
    Err(format!(
        "{} connections need {} open files and the limit is {}: raise it with ulimit -n {needed} (as root), or ask for fewer",
        grouped(connections as u64),
        grouped(needed),
        grouped(limit)
    ))
}

fn soft_limit() -> u64 {
    // POSIX promises no more than this where the limit cannot even be read.
    rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(256, |(soft, _)| soft)
}

/// Whether there are enough local ports for `connections` to `targets` addresses from each of
/// `sources` (as `--bind` gives them; from the system's own choice if there are none).
pub fn ports(connections: usize, targets: usize, sources: &[IpAddr]) -> Result<(), String> {
    // Elsewhere the system does not say here how many there are.
    let Some(ports) = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| port_count(&range))
    else {
        return Ok(());
    };
    enough_ports(connections, targets, sources.len(), ports)
}

fn enough_ports(connections: usize, targets: usize, sources: usize, ports: u64) -> Result<(), String> {
    // A source address that was bound to lends each port once, whatever is connected to.
    let pairs = if sources == 0 { targets } else { sources };
    let available = ports.saturating_mul(pairs as u64);
    if connections as u64 <= available {
        return Ok(());
    }
    let more = (connections as u64).div_ceil(ports);
    Err(format!(
        "{} connections need as many local ports and there are {}: give {more} source addresses with --bind (on loopback 127.0.0.1, 127.0.0.2, …), or widen net.ipv4.ip_local_port_range",
        grouped(connections as u64),
        grouped(available)
    ))
}

/// The ports in a range such as `32768 60999`.
fn port_count(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u64>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    (last + 1).checked_sub(first)
}

/// Whether the system has `needed` bytes of memory left.
pub fn memory(needed: u64, what: &str) -> Result<(), String> {
    let available =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemAvailable:"));
    match available {
        Some(available) if needed > available => Err(format!(
            "{what} take {} of memory and {} are available: ask for fewer or smaller ones",
            bytes(needed),
            bytes(available)
        )),
        // Elsewhere the system does not say here how much there is.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_for_each_address() {
        assert_eq!(port_count("32768\t60999\n"), Some(28_232));
        assert_eq!((port_count("1"), port_count("5 1"), port_count("")), (None, None, None));
        for (connections, targets, sources, enough) in [
            (28_232, 1, 0, true),
            (28_233, 1, 0, false),
            (28_233, 2, 0, true),
            (28_233, 2, 1, false),
            (56_464, 1, 2, true),
        ] {
            let found = enough_ports(connections, targets, sources, 28_232);
            assert_eq!(found.is_ok(), enough, "{connections} {targets} {sources}: {found:?}");
        }
        let said = enough_ports(60_000, 1, 0, 28_232).unwrap_err();
        assert!(said.contains("there are 28,232: give 3 source addresses with --bind"), "{said}");
    }

    #[test]
    fn what_cannot_work_says_the_mend() {
        assert_eq!((files(10), ports(10, 1, &[]), memory(1, "rings")), (Ok(()), Ok(()), Ok(())));
        let said = files(usize::MAX / 2).unwrap_err();
        assert!(said.contains("ulimit -n"), "{said}");
        #[cfg(target_os = "linux")]
        assert!(memory(u64::MAX, "rings").unwrap_err().contains("ask for fewer or smaller ones"));
    }
}
