//! A gateway of the bench's own: this program in a process of its own, so that what it spends is told
//! apart from what the load does.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use crate::cli::{Exit, Failure, spawn};

/// A gateway that ends with this, however this ends: it drains when its standard input does. It says where
/// it listens in the first lines that it prints.
pub struct OwnGateway {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens beside that, in the order of its options.
    pub listeners: Vec<SocketAddr>,
    /// Its ledger, which nobody reads, is to find an open end.
    _stdout: BufReader<ChildStdout>,
}

impl OwnGateway {
    /// Starts one on a free port of loopback, with further options of `serve`, of which so many open a listener.
    pub fn start(options: &[OsString], listeners: usize) -> Result<OwnGateway, Failure> {
        let failed = |message: String| Failure { exit: Exit::Partly, message };
        let program = std::env::current_exe().map_err(|why| {
            failed(format!("cannot find this program to start a gateway: {why}: give its ADDR"))
        })?;
        let mut command = Command::new(program);
        // Two benches at once must not want the same port; the option --admin starts the admin server.
        let asks =
            |option: &OsString| option.to_str().is_some_and(|text| text.split('=').next() == Some("--admin"));
        let admin = if options.iter().any(asks) { &[][..] } else { &["--admin", "off"] };
        command.args(["serve", "--until-stdin-ends", "--listen", "127.0.0.1:0"]).args(admin).args(options);
        command.env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt of the terminal is for the load alone, which is still to report.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .map_err(|why| failed(format!("cannot start a gateway: {why}: give the ADDR of one")))?;
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut addresses = Vec::new();
        // Whatever goes wrong here, it ends without saying where it listens.
        for _ in 0..=listeners {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            addresses.extend(line.trim().parse::<SocketAddr>());
        }
        let Some((&address, others)) =
            addresses.split_first().filter(|(_, others)| others.len() == listeners)
        else {
            drop(child.stdin.take());
            let said = stderr.lines().map_while(Result::ok).last().unwrap_or_default();
            let _ = child.wait();
            let said = said.strip_prefix("framegate: ").unwrap_or(&said);
            return Err(Failure::usage(format!("the gateway did not start: {said}")));
        };
        log::debug!("a gateway of its own listens on {address}");
        let gateway = OwnGateway { child, address, listeners: others.to_vec(), _stdout: stdout };
        let forward = || forward(stderr);
        spawn("gateway's log", forward)?;
        Ok(gateway)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OwnGateway {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the gateway complains of is to be seen.
fn forward(stderr: BufReader<ChildStderr>) {
    for line in stderr.lines().map_while(Result::ok) {
        let is_grave = line.contains("WARN") || line.contains("ERROR");
        log::log!(if is_grave { log::Level::Warn } else { log::Level::Debug }, "gateway: {line}");
    }
}
