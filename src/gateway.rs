//! A gateway on real sockets and threads.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::control::Commands;
use crate::gate::{Config, Gate};
use crate::ledger::Ledger;
use crate::net::Reactor;
use crate::pool::Threads;

pub use crate::control::Control;

/// A gateway that listens and does not run yet.
pub struct Gateway {
    reactor: Reactor,
    workers: usize,
    config: Config,
    local_addr: SocketAddr,
    control: Control,
    commands: Commands,
}

impl Gateway {
    /// Listens on `listen`.
    ///
    /// # Errors
    /// What the system says of the address, and [`io::ErrorKind::InvalidInput`] with the reason where
    /// the settings [cannot work](Config::check).
    pub fn bind(listen: SocketAddr, workers: usize, config: Config) -> io::Result<Gateway> {
        config.check().map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
        let reactor = Reactor::bind(listen)?;
        let local_addr = reactor.local_addr()?;
        let (control, commands) = Control::new(reactor.waker());
        Ok(Gateway { reactor, workers, config, local_addr, control, commands })
    }

    /// Where it listens; tells the port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A handle to steer it by.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Runs on this thread until it has drained. Returns what became of every frame.
    ///
    /// # Errors
    /// Where a worker cannot be started, or the system's poll fails.
    pub fn run(self) -> io::Result<Ledger> {
        let waker = self.reactor.waker();
        let pool = Threads::start(self.workers, &self.config.scheme, move || waker.wake())?;
        let mut gate = Gate::new(self.reactor, pool, self.config, Instant::now());
        let mut events = Vec::new();
        while !gate.is_drained() {
            events.clear();
            gate.poll(Instant::now(), &mut events)?;
            let now = Instant::now();
            for command in self.commands.waiting() {
                gate.command(command, now);
            }
            if self.commands.is_told_to_drain() {
                gate.begin_drain(now);
            }
            gate.turn(now, &events);
        }
        Ok(gate.ledger())
    }
}
