//! Programs that are started, and their pipes.

use std::io::{self, IoSlice, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::reactor::uninterrupted;
use super::{Pipe, Process};

/// A child process in a process group of its own: a signal that is meant for the gateway, such as the one
/// that a terminal sends, does not reach it.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    pid: Pid,
    input: Option<Sender>,
    output: Receiver,
    log: Receiver,
    ended: bool,
}

impl ChildProcess {
    /// Starts `command`, a program and its arguments. The events of its pipes come under what `token` says.
    pub(super) fn start(
        command: &[String],
        registry: &Registry,
        token: impl Fn(Pipe) -> Token,
    ) -> io::Result<ChildProcess> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&child);
        let input = Sender::from(child.stdin.take().expect("it is piped"));
        let output = Receiver::from(child.stdout.take().expect("it is piped"));
        let log = Receiver::from(child.stderr.take().expect("it is piped"));
        // From here on whatever fails drops the process, which ends it.
        let mut process = ChildProcess { child, pid, input: Some(input), output, log, ended: false };
        process.register(registry, token)?;
        Ok(process)
    }

    fn register(&mut self, registry: &Registry, token: impl Fn(Pipe) -> Token) -> io::Result<()> {
        let input = self.input.as_mut().expect("it was just opened");
        input.set_nonblocking(true)?;
        registry.register(input, token(Pipe::Input), Interest::WRITABLE)?;
        for (receiver, pipe) in [(&mut self.output, Pipe::Output), (&mut self.log, Pipe::Log)] {
            receiver.set_nonblocking(true)?;
            registry.register(receiver, token(pipe), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Whether it has ended and waits to be reaped.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Where the system will not tell, reaping says what it knows.
        waitid(WaitId::Pid(self.pid), options).map_or(true, |status| status.is_some())
    }
}

impl Process for ChildProcess {
    fn id(&self) -> u32 {
        self.child.id()
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.output.read(bytes))
    }

    fn read_log(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.log.read(bytes))
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        uninterrupted(|| input.write_vectored(slices))
    }

    fn end_input(&mut self) {
        self.input = None;
    }

    fn kill(&mut self) {
        if self.ended {
            return;
        }
        if let Err(error) = kill_process_group(self.pid, Signal::KILL) {
            // It has ended, and nobody of its group is left.
            log::trace!("kill {}: {error}", self.child.id());
        }
    }

    fn ended(&mut self) -> Option<String> {
        if !self.has_ended() {
            return None;
        }
        // What it started itself and left behind ends with it. As long as it is not reaped, nobody else
        // can have its number.
        self.kill();
        let status = match self.child.try_wait() {
            Ok(status) => status?,
            Err(error) => return Some(format!("ended, and how is not known ({error})")),
        };
        self.ended = true;
        Some(shown(status))
    }
}

/// Nobody is left behind, whatever happens.
impl Drop for ChildProcess {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
            if let Err(error) = self.child.wait() {
                log::trace!("wait {}: {error}", self.child.id());
            }
        }
    }
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => "ended".to_string(),
    }
}
