//! Seeing what a gateway does, and steering it, over HTTP: the page, metrics, status and controls.
//!
//! All of it lives on threads of its own, a bounded number, and reaches the gateway only through its
//! [`Control`]: a description is asked for at most every
//! [`LOOK_EVERY`](crate::core::limits::LOOK_EVERY), whatever clients ask for.
//!
//! | path | gives |
//! | --- | --- |
//! | `GET /` | the page |
//! | `GET /metrics` | counters and histograms for Prometheus |
//! | `GET /status` | everything as JSON, with who is slow, who is paused and who was closed |
//! | `GET /events` | the same each second, as server-sent events |
//! | `GET /healthz`, `GET /readyz` | whether the loop answers; whether it takes in |
//! | `POST /ctl/pause`, `resume`, `drain`, `set`, `reload` | steers, and answers in JSON |

mod body;
mod connection;
mod events;
mod guard;
mod head;
mod heads;
mod history;
mod metrics;
mod page;
mod process;
mod request;
mod routes;
mod server;
mod slots;
mod status;
mod steer;
mod watch;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};

use self::guard::Guard;
use self::routes::Site;
use self::server::Server;
use self::watch::Watch;
use crate::core::limits::ADMIN_STALL;
use crate::gateway::control::{Change, Control, Reviewed, Unanswered};
use crate::runtime::net::{Liveness, Waker};
pub use guard::Token;

/// The log of this process, as far as it can be seen and changed here.
pub trait LogLevel: Send + Sync {
    /// As it is.
    fn level(&self) -> String;

    /// Changes it, as `set log` asks.
    ///
    /// # Errors
    /// In one line, what is wrong and how to mend it.
    fn set_level(&self, level: &str) -> Result<Change, String>;
}

/// Reads again what a gateway was started with, where that can change while it runs.
pub trait Reload: Send + Sync {
    /// Reads and checks everything, and has the gateway take it.
    ///
    /// # Errors
    /// Why what was in force stays so.
    fn reload(&self) -> Result<Reloading, ReloadError>;
}

/// What was read again is in force.
#[derive(Debug)]
pub struct Reloading {
    /// Says what came of it, when every connection was judged by it.
    pub reviewed: Receiver<Reviewed>,
    /// Settings that have changed in their file, and are read at the start alone.
    pub needs_restart: Vec<String>,
}

/// Why nothing was reloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// The gateway was started with nothing that can be read again.
    Nothing,
    /// What was read is wrong, and how to mend it.
    Wrong(String),
    /// The gateway does not take it.
    Unanswered(Unanswered),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Nothing => f.write_str(
                "there is nothing to reload: an access file and the files of TLS are read again where the gateway was started \
                 with some; all else is read at the start, and ctl set changes some of it",
            ),
            ReloadError::Wrong(wrong) => write!(f, "nothing was reloaded, what was in force stays so: {wrong}"),
            ReloadError::Unanswered(why) => write!(f, "nothing was reloaded: {why}"),
        }
    }
}

impl std::error::Error for ReloadError {}

/// What an admin server is set to do.
#[derive(Clone)]
pub struct Options {
    /// What a request that changes something must carry. Without one, only a listener on a loopback
    /// address takes such requests.
    pub token: Option<Token>,
    /// Names, beside its address, by which it may be asked.
    pub hosts: Vec<String>,
    /// Where the gateway listens, to be shown.
    pub gateway: SocketAddr,
    /// Sees and changes the log's level.
    pub log: Arc<dyn LogLevel>,
    /// Reads again what can change, where something can.
    pub reload: Option<Arc<dyn Reload>>,
    /// How TLS is agreed on, where it speaks TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<AdminTls>>,
}

/// How TLS is agreed on from now on, until that changes.
#[cfg(feature = "tls")]
#[derive(Debug)]
pub struct AdminTls(parking_lot::Mutex<Arc<crate::runtime::tls::ServerTls>>);

#[cfg(feature = "tls")]
impl AdminTls {
    /// As a setup has it.
    pub fn new(setup: Arc<crate::runtime::tls::ServerTls>) -> AdminTls {
        AdminTls(parking_lot::Mutex::new(setup))
    }

    /// Puts another setup into force, for connections from now on.
    pub fn replace(&self, setup: Arc<crate::runtime::tls::ServerTls>) {
        *self.0.lock() = setup;
    }

    fn get(&self) -> Arc<crate::runtime::tls::ServerTls> {
        self.0.lock().clone()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("hosts", &self.hosts).field("gateway", &self.gateway).finish()
    }
}

/// An admin server that listens and does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    local_addr: SocketAddr,
}

/// A running admin server; it ends when this is dropped, behind the answers of that moment.
#[derive(Debug)]
pub struct Running {
    thread: Option<JoinHandle<()>>,
    /// Its end is the server's.
    stop: Option<Sender<Infallible>>,
    waker: Waker,
}

impl Admin {
    /// Listens on `address`.
    ///
    /// # Errors
    /// What the system says of the address.
    pub fn bind(address: SocketAddr) -> io::Result<Admin> {
        let listener = TcpListener::bind(address)?;
        // What is accepted is set as the listener is.
        Liveness::within(ADMIN_STALL).set((&listener).into())?;
        let local_addr = listener.local_addr()?;
        Ok(Admin { listener, local_addr })
    }

    /// Where it listens; tells the port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers from threads of its own.
    ///
    /// # Errors
    /// Where the thread cannot be started, or the system gives nothing to wait with.
    pub fn start(self, control: Control, options: Options) -> io::Result<Running> {
        let (stop, stopped) = bounded(0);
        let guard = Guard::new(self.local_addr, options.token.clone(), &options.hosts);
        let site = Site::new(Watch::new(control, stopped.clone()), guard, &options);
        let server = Server::new(self.listener)?;
        let waker = server.waker();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            if let Err(why) = server.run(&site, &stopped) {
                log::error!("the admin server has stopped: {why}; the gateway goes on");
            }
        })?;
        Ok(Running { thread: Some(thread), stop: Some(stop), waker })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("its panics are caught");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_vanishes_is_noticed() {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _page = std::net::TcpStream::connect(admin.local_addr()).unwrap();
        let (accepted, _) = admin.listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(ADMIN_STALL));
    }
}
