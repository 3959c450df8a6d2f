//! Seeing what a gateway does, and steering it, over HTTP: the page, metrics, status and controls.
//!
//! All of it lives on a thread of its own and reaches the gateway only through its
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
//! | `POST /ctl/pause`, `resume`, `drain`, `set` | steers, and answers in JSON |

mod events;
mod guard;
mod heads;
mod history;
mod metrics;
mod page;
mod process;
mod request;
mod routes;
mod seats;
mod server;
mod status;
mod steer;
mod transport;
mod watch;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};

use crate::core::limits::{ACCEPT_BACKOFF, ADMIN_STALL};
use crate::core::units::plain;
use crate::gateway::control::{Change, Control};
use crate::runtime::net::Liveness;
use crate::runtime::wake::Panicked;
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

/// A running admin server; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    thread: Option<JoinHandle<()>>,
    /// Its end is the server's.
    stop: Sender<()>,
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

    /// Answers from a thread of its own.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(self, control: Control, options: Options) -> io::Result<Running> {
        let (stop, stopped) = async_channel::bounded(1);
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            self.run(&control, &options, &stopped);
        })?;
        Ok(Running { thread: Some(thread), stop })
    }
}

impl Admin {
    /// Answers until it is stopped. A panic in it ends the requests of that moment and nothing else, where panics do
    /// not end the process: it begins anew.
    fn run(&self, control: &Control, options: &Options, stopped: &Receiver<()>) {
        loop {
            let mut ended = Ok(());
            let panicked = Panicked::default();
            let run = || {
                ended = self.listener.try_clone().and_then(|listener| {
                    server::run(listener, self.local_addr, control.clone(), options, stopped.clone())
                });
            };
            if !panicked.guard(run) {
                if let Err(why) = ended {
                    log::error!("the admin server has stopped: {why}; the gateway goes on");
                }
                return;
            }
            let said = plain(panicked.said().unwrap_or_default());
            log::error!(
                "the admin server panicked, which is a bug: {said}: it begins anew; the gateway goes on"
            );
            // One that panics at once must not take a whole core.
            std::thread::sleep(ACCEPT_BACKOFF);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.close();
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
