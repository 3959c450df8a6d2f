//! A gateway on real sockets and threads.

#![cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "it runs the turns by the clock"))]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::gateway::control::Commands;
use crate::gateway::ledger::Ledger;
use crate::gateway::{Config, Gate, Listener};
use crate::runtime::handler::{Function, Handler};
use crate::runtime::net::{Liveness, Reactor};
use crate::runtime::pool::Threads;
use crate::sinks::Sink;
use crate::sinks::store::{self, Recall, StoreThread};
use crate::wire::layout::Layout;

pub use crate::gateway::control::Control;

/// A gateway that listens and does not run yet.
pub struct Gateway {
    reactor: Reactor,
    workers: usize,
    config: Config,
    store: Option<StoreThread>,
    local_addr: SocketAddr,
    control: Control,
    commands: Commands,
    sinks: Vec<Box<dyn Sink + Send>>,
}

impl Gateway {
    /// Listens on `listen`, to verify on as many `workers`. With none, the thread that runs it does all.
    ///
    /// # Errors
    /// What the system says of the address, and [`io::ErrorKind::InvalidInput`] with the reason where
    /// the settings [cannot work](Config::check).
    pub fn bind(listen: SocketAddr, workers: usize, config: Config) -> io::Result<Gateway> {
        Gateway::new(Reactor::bind, listen, workers, config)
    }

    /// Takes the address, and refuses connections there until it runs and everything has started: where opening the
    /// store or starting handlers takes long or fails, no connection is taken in that cannot be served.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub fn reserve(listen: SocketAddr, workers: usize, config: Config) -> io::Result<Gateway> {
        Gateway::new(Reactor::reserve, listen, workers, config)
    }

    fn new(
        reactor: impl FnOnce(SocketAddr, Liveness) -> io::Result<Reactor>,
        listen: SocketAddr,
        workers: usize,
        config: Config,
    ) -> io::Result<Gateway> {
        check(&config)?;
        let reactor = reactor(listen, Liveness::within(config.vanished_after()))?;
        let local_addr = reactor.local_addr()?;
        let (control, commands) = Control::new(reactor.waker());
        let (store, sinks) = (None, Vec::new());
        let also = config.listeners.clone();
        let config = Config { listeners: Vec::new(), ..config };
        let mut gateway = Gateway { reactor, workers, config, store, local_addr, control, commands, sinks };
        for listener in also {
            gateway.listen_at(listener)?;
        }
        Ok(gateway)
    }

    /// Has a handler in Rust answer every frame before it is distributed.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), where the settings cannot work with a handler.
    pub fn with_handler(mut self, handler: impl Handler) -> io::Result<Gateway> {
        self.config.function = Some(Function(Arc::new(handler)));
        self.config.handler = Vec::new();
        check(&self.config)?;
        Ok(self)
    }

    /// Opens the store, if there is to be one, and finishes what a crash left there. Running does that too,
    /// but then those who connect wait for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] where it cannot be used, and how to mend that.
    pub fn open_store(&mut self) -> io::Result<()> {
        let Some(folder) = self.config.store.as_ref().filter(|_| self.store.is_none()) else { return Ok(()) };
        let Config { scheme, stored, store_earlier, dedup, memory, .. } = &self.config;
        let digests_max = self.config.digests_max();
        let options = store::Options {
            earlier: store_earlier.clone(),
            recall: dedup.zip(digests_max).map(|(window, most)| Recall { window, most }),
            held_max: store::held_max(*memory),
            ..store::Options::new(folder, scheme.clone(), *stored)
        };
        let waker = self.reactor.waker();
        let store = StoreThread::start(&options, move || waker.wake());
        self.store = Some(store.map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?);
        Ok(())
    }

    /// Has every distributed frame put into a sink as well, whose confirmation its OK waits for. `start` is given what
    /// wakes the gateway when the sink has something to say.
    ///
    /// # Errors
    /// What `start` says.
    pub fn with_sink<S: Sink + Send + 'static, E>(
        mut self,
        start: impl FnOnce(Box<dyn Fn() + Send + Sync>) -> Result<S, E>,
    ) -> Result<Gateway, E> {
        let waker = self.reactor.waker();
        self.sinks.push(Box::new(start(Box::new(move || waker.wake()))?));
        Ok(self)
    }

    /// Listens on one more address, where frames of a layout are taken in (of native ones, without one): they become
    /// native frames, and what is replied to these is said as the layout says it. The port answers as soon as the
    /// gateway runs. Where it is; tells the port where 0 was asked for.
    ///
    /// # Errors
    /// What the system says of the address, and [`io::ErrorKind::InvalidInput`] with the reason where
    /// the layout [cannot work](Config::check) with the settings.
    pub fn listen_also(
        &mut self,
        address: SocketAddr,
        layout: Option<Arc<Layout>>,
    ) -> io::Result<SocketAddr> {
        self.listen_at(Listener { address, layout, tls: None })
    }

    /// The same for a listener that may speak TLS.
    ///
    /// # Errors
    /// As for [`listen_also`](Self::listen_also).
    pub fn listen_at(&mut self, listener: Listener) -> io::Result<SocketAddr> {
        let address = listener.address;
        // A port that is only reserved may be reserved once more.
        let mut taken = self.config.listeners.iter().map(|listener| listener.address);
        if address.port() != 0 && (address == self.local_addr() || taken.any(|taken| taken == address)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.config.listeners.push(listener);
        let result = check(&self.config).and_then(|()| {
            self.reactor.reserve_another(address, Liveness::within(self.config.vanished_after()))
        });
        match result {
            Ok(bound) => {
                self.config.listeners.last_mut().expect("it was just added").address = bound;
                Ok(bound)
            }
            Err(why) => {
                self.config.listeners.pop();
                Err(why)
            }
        }
    }

    /// Where it listens beside that, in the order in which the listeners were added.
    pub fn listeners(&self) -> &[Listener] {
        &self.config.listeners
    }

    /// Where it listens first, for native frames; tells the port where 0 was asked for.
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
    /// Where a worker cannot be started, or the system's poll fails; that the thread of a worker or of a sink panicked,
    /// where panics unwind: connections would wait for it for ever, so all of them end here; and
    /// [`io::ErrorKind::InvalidInput`] where a handler cannot be started or the store cannot be used.
    pub fn run(self) -> io::Result<Ledger> {
        self.run_and(|| ())
    }

    /// The same, and calls `started` on this thread once everything has started and the port answers; not at all where
    /// it was told to drain before.
    ///
    /// # Errors
    /// As for [`run`](Self::run), and [`io::ErrorKind::AddrInUse`] where another program took a
    /// [reserved](Self::reserve) address meanwhile.
    pub fn run_and(mut self, started: impl FnOnce()) -> io::Result<Ledger> {
        self.open_store()?;
        let waker = self.reactor.waker();
        let pool = Threads::start(self.workers, &self.config.scheme, move || waker.wake())?;
        let handler = self.config.handler.first().cloned().unwrap_or_default();
        let mut gate = Gate::new(self.reactor, pool, self.config, Instant::now());
        if let Some(mut store) = self.store {
            let recent = store.take_recent();
            let name = store.name();
            gate.set_feed(store.feed());
            gate.add_sink(Box::new(store));
            gate.remember_stored(name, recent);
        }
        for sink in self.sinks {
            gate.add_sink(sink);
        }
        gate.start_handlers().map_err(|why| {
            let message = format!("cannot start the handler {handler}: {why}: check --handler");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        if !self.commands.is_told_to_drain() {
            gate.listen()?;
            self.commands.begin();
            started();
        }
        let mut events = Vec::new();
        while !gate.is_drained() {
            events.clear();
            gate.poll(Instant::now(), &mut events)?;
            let now = Instant::now();
            gate.set_clock(now, SystemTime::now);
            for command in self.commands.waiting() {
                // A command that follows the order to drain finds it draining.
                if self.commands.is_told_to_drain() {
                    gate.begin_drain(now);
                }
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

fn check(config: &Config) -> io::Result<()> {
    config.check().map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))
}
