//! Errors of sockets in words.

use std::io::{self, ErrorKind};

/// The kind of an error of a socket, in a word or two.
pub fn kind_of(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => "reset",
        ErrorKind::TimedOut => "timed out",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::AddrNotAvailable => "no local port",
        _ if is_out_of_files(error) => "no open file",
        _ => "system",
    }
}

/// Whether the system refused a file descriptor: the limit of the process or of all.
pub fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_errors_have_kinds() {
        for (error, kind) in [
            (ErrorKind::ConnectionRefused.into(), "refused"),
            (ErrorKind::BrokenPipe.into(), "reset"),
            (io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()), "no open file"),
            (ErrorKind::InvalidData.into(), "system"),
        ] {
            assert_eq!(kind_of(&error), kind);
        }
    }
}
