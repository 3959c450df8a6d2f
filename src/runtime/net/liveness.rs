//! How a peer is noticed that vanished without a word: a pulled plug, a forgetful firewall, a host that lost power.
//!
//! Nothing comes from such a peer, and what is written to it is only buffered. So the system asks: a connection on which
//! nothing comes is probed, and what is sent must be acknowledged in time. One that fails is reset here, and that is
//! an event like any reset.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// After how long a peer that does not answer is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    probed: Duration,
    /// Where the system's own time for what is sent is as good, it stays: it does not end a connection whose peer is
    /// there and only reads nothing.
    unacknowledged: Option<Duration>,
}

/// 3 probes that are not answered; the first comes when half of the time is over.
const PROBES: u32 = 3;

/// 6 s: the system counts in whole seconds, and three probes want one each.
const LEAST: Duration = Duration::from_secs(6);

/// 15 min: what Linux would take to give up what it has sent.
const MOST: Duration = Duration::from_secs(15 * 60);

impl Liveness {
    /// A peer is given up that does not answer for `time`, as far as a system can tell: 6 s to 15 min. Up to there, so is
    /// one that takes nothing of what is sent to it for as long.
    pub fn within(time: Duration) -> Liveness {
        let unacknowledged = (time <= MOST).then_some(time.max(LEAST));
        Liveness { probed: time.clamp(LEAST, MOST), unacknowledged }
    }

    /// Sets a socket so; those that a listener accepts are as it is.
    pub fn set(&self, socket: SockRef<'_>) -> io::Result<()> {
        let idle = Duration::from_secs(self.probed.as_secs() / 2);
        let between = Duration::from_secs((self.probed - idle).as_secs() / u64::from(PROBES));
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(between).with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        // Elsewhere what is sent is given up in the system's own time.
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
        socket.set_tcp_user_timeout(self.unacknowledged)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_what_a_system_can_count() {
        let secs = Duration::from_secs;
        for (asked, probed, unacknowledged) in [
            (Duration::ZERO, secs(6), Some(secs(6))),
            (secs(5), secs(6), Some(secs(6))),
            (secs(30), secs(30), Some(secs(30))),
            (MOST, MOST, Some(MOST)),
            (MOST + secs(1), MOST, None),
            (Duration::MAX, MOST, None),
        ] {
            let liveness = Liveness::within(asked);
            assert_eq!((liveness.probed, liveness.unacknowledged), (probed, unacknowledged), "{asked:?}");
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            liveness.set(SockRef::from(&socket)).unwrap();
        }
    }
}
