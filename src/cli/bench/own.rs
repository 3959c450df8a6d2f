//! A gateway of the bench's own: this program in a process of its own, so that what it spends is told
//! apart from what the load does.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use crate::cli::{Exit, Failure};

/// A gateway that ends with this, however this ends: it drains when its standard input does.
pub struct OwnGateway {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl OwnGateway {
    /// Starts one on a free port of loopback, with further options of `serve`.
    pub fn start(options: &[OsString]) -> Result<OwnGateway, Failure> {
        let failed = |message: String| Failure { exit: Exit::Partly, message };
        let program = std::env::current_exe().map_err(|why| {
            failed(format!("cannot find this program to start a gateway: {why}: give its ADDR"))
        })?;
        let mut command = Command::new(program);
        command.args(["serve", "--until-stdin-ends", "--listen", "127.0.0.1:0"]).args(options);
        command.env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // An interrupt of the terminal is for the load alone, which is still to report.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .map_err(|why| failed(format!("cannot start a gateway: {why}: give the ADDR of one")))?;
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        match address(stderr) {
            Ok(address) => Ok(OwnGateway { child, address }),
            Err(said) => {
                // It has said why, or it never will.
                let _ = child.kill();
                let _ = child.wait();
                let said = said.strip_prefix("framegate: ").unwrap_or(&said);
                Err(Failure::usage(format!("the gateway did not start: {said}")))
            }
        }
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

/// Where it says that it listens; else what it says instead. What it says later goes to the log.
fn address(stderr: BufReader<ChildStderr>) -> Result<SocketAddr, String> {
    let mut lines = stderr.lines().map_while(Result::ok);
    let mut last = "it said nothing".to_string();
    let found = lines.find_map(|line| {
        let (_, behind) = line.split_once("listening on ").or_else(|| {
            last.clone_from(&line);
            None
        })?;
        behind.split(',').next()?.parse().ok()
    });
    let address = found.ok_or(last)?;
    let forward = move || {
        for line in lines {
            let is_grave = line.contains("WARN") || line.contains("ERROR");
            log::log!(if is_grave { log::Level::Warn } else { log::Level::Debug }, "gateway: {line}");
        }
    };
    thread::Builder::new().name("gateway's log".into()).spawn(forward).map_err(|why| why.to_string())?;
    Ok(address)
}
