//! Connections and their threads, all bounded.
//!
//! Each connection has a thread, which blocks on its socket until its deadline: there are as many threads as
//! [slots](super::slots), pages that watch included, and each has a stack of [`ADMIN_STACK`], of which it touches a few
//! pages. One thread more accepts, and one samples.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crossbeam::channel::TryRecvError;

use super::connection::Connection;
use super::routes::Site;
use super::slots::{Full, Slot, Slots};
use super::watch::Stopped;
use crate::core::limits::{ACCEPT_BACKOFF, ADMIN_CONNECTIONS, ADMIN_LAST, ADMIN_STACK};
use crate::core::units::plain;
use crate::runtime::net::{Acceptor, Waker};
use crate::runtime::wake::Panicked;

/// What waits for connections.
#[derive(Debug)]
pub struct Server {
    acceptor: Acceptor,
    slots: Slots,
}

impl Server {
    /// Waits on `listener`.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(listener: TcpListener) -> io::Result<Server> {
        let acceptor = Acceptor::new(listener)?;
        let waker = acceptor.waker();
        Ok(Server { acceptor, slots: Slots::new(ADMIN_CONNECTIONS, move || waker.wake()) })
    }

    /// Ends its wait.
    pub fn waker(&self) -> Waker {
        self.acceptor.waker()
    }

    /// Answers until it is stopped, or the gateway has ended.
    ///
    /// # Errors
    /// Where there is no thread to sample with.
    pub fn run(self, site: &Site, stopped: &Stopped) -> io::Result<()> {
        let Server { acceptor, slots } = self;
        let waker = acceptor.waker();
        let has_gone = AtomicBool::new(false);
        let has_ended =
            || has_gone.load(Acquire) || matches!(stopped.try_recv(), Err(TryRecvError::Disconnected));
        std::thread::scope(|scope| {
            thread("admin-sampler").spawn_scoped(scope, || {
                // A panic there ends a sample.
                while !guarded("it samples anew", || site.sample()) {
                    std::thread::sleep(ACCEPT_BACKOFF);
                }
                has_gone.store(true, Release);
                waker.wake();
            })?;
            let mut accepting = Accepting { scope, site, acceptor, slots: &slots, waiting: None };
            while !has_ended() {
                let mut wait = Some(ACCEPT_BACKOFF);
                guarded("it accepts again", || wait = accepting.turn());
                if let Err(why) = accepting.acceptor.wait(wait) {
                    log::error!("admin: cannot wait for connections: {why}");
                    std::thread::sleep(ACCEPT_BACKOFF);
                }
            }
            drop(accepting);
            site.pages.close();
            slots.close(ADMIN_LAST);
            Ok(())
        })
    }
}

/// Connections that come, and the one that waits for a slot. Those behind it wait with the system, in their order.
struct Accepting<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    site: &'env Site,
    acceptor: Acceptor,
    slots: &'env Slots,
    waiting: Option<(Arc<TcpStream>, SocketAddr)>,
}

impl<'env> Accepting<'_, 'env> {
    /// Takes what has come, some at a time; says when to look again at the latest.
    fn turn(&mut self) -> Option<Duration> {
        for _ in 0..ADMIN_CONNECTIONS {
            let accepted = self.waiting.take().map_or_else(|| self.accept(), |waiting| Ok(Some(waiting)));
            let (socket, peer) = match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return None,
                Err(why) => {
                    log::debug!("admin: accept: {why}");
                    return Some(ACCEPT_BACKOFF);
                }
            };
            let (now, evicted) = (Instant::now(), socket.clone());
            let evict = move || {
                log::debug!("admin: {peer} has to go: all {ADMIN_CONNECTIONS} connections are taken");
                // It may have ended meanwhile.
                let _ = evicted.shutdown(Shutdown::Both);
            };
            match self.slots.take(now, evict) {
                Ok(slot) => self.start(slot, socket, peer),
                Err(Full { until }) => {
                    log::debug!("admin: {peer} waits: all {ADMIN_CONNECTIONS} connections are taken");
                    self.waiting = Some((socket, peer));
                    return until
                        .map(|until| until.saturating_duration_since(now).max(Duration::from_millis(1)));
                }
            }
        }
        Some(Duration::ZERO)
    }

    fn accept(&self) -> io::Result<Option<(Arc<TcpStream>, SocketAddr)>> {
        Ok(self.acceptor.accept()?.map(|(socket, peer)| (Arc::new(socket), peer)))
    }

    /// Serves a connection from a thread of its own.
    fn start(&self, slot: Slot<'env>, socket: Arc<TcpStream>, peer: SocketAddr) {
        let site = self.site;
        let serve = move || {
            let mut ended = Ok(());
            guarded("it ends the connection", || ended = Connection::new(&socket, peer).serve(site, &slot));
            log::trace!("admin: {peer}: {ended:?}");
        };
        if let Err(why) = thread("admin-conn").spawn_scoped(self.scope, serve) {
            log::error!("admin: {peer} is refused: there is no thread for it: {why}");
        }
    }
}

fn thread(name: &str) -> Builder {
    Builder::new().name(name.into()).stack_size(ADMIN_STACK)
}

/// Runs something whose panic ends it and nothing else, where panics do not end the process. Whether it ended well.
fn guarded(and: &str, run: impl FnOnce()) -> bool {
    let panicked = Panicked::default();
    if !panicked.guard(run) {
        return true;
    }
    let said = plain(panicked.said().unwrap_or_default());
    log::error!("the admin server panicked, which is a bug: {said}: {and}; the gateway goes on");
    false
}
