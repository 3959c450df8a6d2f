//! `framegate serve`: runs the gateway.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread;

use clap::Args;

use super::settings::{LISTEN, Settings, shown};
use super::{Exit, Failure, Size, print, signals};
use crate::frame;
use crate::gate::Config;
use crate::gateway::{Control, Gateway};
use crate::limits::RESERVED_FILES;

/// Runs the gateway: publishers and subscribers connect to it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Takes settings from a TOML file: the names of these options and nothing else; options win [default: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Prints the final ledger as one JSON object
    #[arg(long)]
    json: bool,
    /// For a program that starts a gateway of its own: prints the address first, and drains when standard
    /// input ends, as it does when that program does
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

const EXAMPLES: &str = "\
Sizes are written 64KiB or 16MiB, times 250ms, 30s or 5m; a bare number is bytes or seconds.
INT or TERM finishes what was accepted, prints the ledger and exits 0; a second one ends at once.

Examples:
  framegate serve
  framegate serve --listen 0.0.0.0:7450 --memory 1GiB --slow drop
  framegate serve --config gateway.toml --secret-file /etc/framegate/secret

A gateway.toml:
  listen = \"0.0.0.0:7450\"
  memory = \"1GiB\"
  slow = \"drop\"";

impl Serve {
    /// Runs until a signal ends it.
    pub fn run(self) -> Result<Exit, Failure> {
        let settings = match &self.config {
            Some(path) => self.settings.or(Settings::from_file(path)?),
            None => self.settings,
        };
        let connections_max = connections_that_fit();
        let config = settings.config(connections_max)?;
        if config.connections_max > connections_max {
            log::warn!(
                "max-connections {} is more than the {connections_max} that the file limit allows: raise it with ulimit -n",
                config.connections_max
            );
        }
        if config.outbox_max() < config.outbox {
            log::warn!(
                "outbox {} is more than half of the memory: {} is used; raise --memory",
                Size(config.outbox),
                Size(config.outbox_max())
            );
        }
        let workers = settings.workers()?;
        let listen = settings.listen.as_deref().unwrap_or(LISTEN);
        let gateway = bind(listen, workers, &config)?;

        let (control, drain) = (gateway.control(), config.drain);
        if self.until_stdin_ends {
            print(&gateway.local_addr().to_string())?;
            drain_when_stdin_ends(gateway.control())?;
        }
        signals::on_signal(move || {
            log::info!("draining, for at most {}; a second signal ends at once", super::Time(drain));
            control.drain();
        })?;
        // Not before: whoever waits for this line may send a signal right after it.
        log::info!("{}", start_line(gateway.local_addr(), workers, &config));

        let ledger = gateway
            .run()
            .map_err(|why| Failure { exit: Exit::Partly, message: format!("the gateway stopped: {why}") })?;
        let json = |ledger| serde_json::to_string(ledger).expect("a ledger is numbers and names");
        print(&if self.json { json(&ledger) } else { ledger.to_string() })?;
        Ok(Exit::Done)
    }
}

fn drain_when_stdin_ends(control: Control) -> Result<(), Failure> {
    let wait = move || {
        // An error ends it as well.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        control.drain();
    };
    thread::Builder::new().name("stdin".into()).spawn(wait).map(drop).map_err(|why| Failure {
        exit: Exit::Partly,
        message: format!("cannot start a thread: {why}: raise ulimit -u"),
    })
}

/// Raises the limit of open files as far as the system lets us, and leaves some for everything
/// that is not a connection.
fn connections_that_fit() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|why| {
        log::warn!("cannot raise the limit of open files: {why}");
        // POSIX promises no more than this where the limit cannot even be read.
        rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(256, |(soft, _)| soft)
    });
    usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX).max(1)
}

/// A name may stand for several addresses: the first one that works is it.
fn bind(listen: &str, workers: usize, config: &Config) -> Result<Gateway, Failure> {
    let addresses: Vec<SocketAddr> =
        listen.to_socket_addrs().map_err(|why| no_address(listen, &why))?.collect();
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match Gateway::bind(address, workers, config.clone()) {
            Ok(gateway) => return Ok(gateway),
            Err(why) => last = why,
        }
    }
    Err(Failure::usage(match last.kind() {
        ErrorKind::AddrInUse => {
            format!("{listen} is already in use: stop the other program or choose another --listen")
        }
        ErrorKind::AddrNotAvailable => {
            format!("{listen} is no address of this machine: choose another --listen")
        }
        ErrorKind::PermissionDenied => {
            format!("{listen} may not be opened by this user: choose a --listen with a port from 1024 on")
        }
        _ => format!("cannot listen on {listen}: {last}: choose another --listen"),
    }))
}

fn no_address(listen: &str, why: &io::Error) -> Failure {
    let why = match why.kind() {
        ErrorKind::InvalidInput => "not of the form HOST:PORT".to_string(),
        _ => why.to_string(),
    };
    Failure::usage(format!("--listen {listen}: {why}: write it as {LISTEN}"))
}

/// Scripts that let the system choose the port find it after "listening on".
fn start_line(address: SocketAddr, workers: usize, config: &Config) -> String {
    format!(
        "framegate {} listening on {address}, workers {workers}, memory {}, max-payload {}, \
         max-connections {}, outbox {}, slow {}, {:?} by {}",
        env!("CARGO_PKG_VERSION"),
        Size(config.memory),
        Size(config.payload_max),
        config.connections_max,
        Size(config.outbox_max()),
        shown(&config.slow),
        config.scheme,
        frame::implementation(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_bound_says_the_mend() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        for (listen, parts) in [
            (taken.as_str(), &["already in use", "choose another --listen"][..]),
            ("7450", &["HOST:PORT", "127.0.0.1:7450"]),
            ("192.0.2.1:7450", &["no address of this machine"]),
        ] {
            let failure = bind(listen, 1, &Config::default()).err().unwrap();
            assert_eq!(failure.exit, Exit::Usage);
            for part in parts {
                assert!(failure.message.contains(part), "{failure}");
            }
        }
    }

    #[test]
    fn the_start_line_holds_the_address_where_scripts_look() {
        let line = start_line("127.0.0.1:7".parse().unwrap(), 1, &Config::default());
        assert!(line.contains(" listening on 127.0.0.1:7, workers 1, memory 256MiB,"), "{line}");
        assert!(line.contains("outbox 32MiB, slow disconnect, SHA-256 by "), "{line}");
    }
}
