//! Whether any process has a file open for writing, and keeping them out for a moment.
//!
//! Linux has one way to ask that: a read lease (`F_SETLEASE` in fcntl(2)) is refused while anybody can write to the
//! file, mapped memory included. While it is held, a process that opens the file for writing waits until it is given back,
//! and [`Lease::is_broken`] tells of him. It is given to the owner of the file and to root (`CAP_LEASE`), on file
//! systems of this machine; elsewhere the answer is [`Writers::Unknown`].
//!
//! # Why it is sound
//!
//! No crate that we found has these two commands, so the only `unsafe` is here: a call of `fcntl` with a descriptor
//! that is open for as long as its file is borrowed, and with commands that take an integer and touch no memory of
//! ours. The system announces a writer who waits by SIGIO, which would end the process: it is caught before the first
//! lease is asked for, and none is where that fails.

use std::fs::File;
use std::io;
use std::path::Path;

/// Who has a file open for writing.
#[derive(Debug)]
pub(super) enum Writers {
    /// Nobody, and nobody will while this is kept.
    Nobody(Lease),
    /// Some process.
    Some,
    /// The system does not say.
    Unknown,
}

/// Keeps others from opening a file for writing; it is given back when it is dropped. They wait meanwhile.
#[derive(Debug)]
pub(super) struct Lease {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there are no leases"))]
    file: File,
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, OnceLock};

    use super::{File, Lease, Path, Writers, io};

    /// CIFS and SMB2, which rustix does not name: see statfs(2).
    const SMB: [u32; 2] = [0xff53_4d42, 0xfe53_4d42];

    impl Lease {
        /// Asks for the lease of what `path` leads to.
        ///
        /// # Errors
        /// Where it leads to nothing.
        pub fn ask(path: &Path) -> io::Result<Writers> {
            if !is_sigio_caught() {
                return Ok(Writers::Unknown);
            }
            // Where another process has a lease on it, opening it would wait for that.
            let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
            let file = match opened {
                Ok(file) => file,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(Writers::Some),
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(why),
                Err(_) => return Ok(Writers::Unknown),
            };
            Ok(match fcntl(&file, libc::F_SETLEASE, libc::F_RDLCK) {
                Ok(_) => Writers::Nobody(Lease { file }),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock && !is_remote(&file) => Writers::Some,
                Err(_) => Writers::Unknown,
            })
        }

        /// Whether a process waits to write to the file.
        pub fn is_broken(&self) -> bool {
            fcntl(&self.file, libc::F_GETLEASE, 0).map_or(true, |lease| lease != libc::F_RDLCK)
        }
    }

    /// Whether a lease is refused there for other reasons than a writer: a server gave none.
    fn is_remote(file: &File) -> bool {
        rustix::fs::fstatfs(file).map_or(true, |system| {
            let kind = system.f_type as u32;
            kind == rustix::fs::NFS_SUPER_MAGIC as u32 || SMB.contains(&kind)
        })
    }

    fn is_sigio_caught() -> bool {
        static CAUGHT: OnceLock<bool> = OnceLock::new();
        *CAUGHT.get_or_init(|| {
            let caught = signal_hook::flag::register(libc::SIGIO, Arc::new(AtomicBool::new(false)));
            if let Err(why) = &caught {
                log::warn!(
                    "cannot catch IO: {why}: files that are still open are judged by whether they change"
                );
            }
            caught.is_ok()
        })
    }

    #[allow(unsafe_code)]
    fn fcntl(file: &File, command: libc::c_int, value: libc::c_int) -> io::Result<libc::c_int> {
        // SAFETY: the descriptor is open, and the two commands of this file take an integer.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), command, value) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

#[cfg(not(target_os = "linux"))]
impl Lease {
    /// The system has no such thing.
    ///
    /// # Errors
    /// Where `path` leads to nothing.
    pub fn ask(path: &Path) -> io::Result<Writers> {
        path.metadata().map(|_| Writers::Unknown)
    }

    /// Nobody waits.
    pub fn is_broken(&self) -> bool {
        false
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::thread;

    #[test]
    fn who_writes_is_seen_and_who_wants_to_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(Lease::ask(&path).is_err());
        let writer = File::create(&path).unwrap();
        assert!(matches!(Lease::ask(&path), Ok(Writers::Some)));
        let moved = folder.path().join("b");
        fs::rename(&path, &moved).unwrap();
        assert!(matches!(Lease::ask(&moved), Ok(Writers::Some)), "whatever it is called");
        drop(writer);
        let _reader = File::open(&moved).unwrap();
        let Ok(Writers::Nobody(lease)) = Lease::ask(&moved) else { panic!("nobody writes") };
        assert!(!lease.is_broken());
        let writer = thread::spawn(move || drop(OpenOptions::new().append(true).open(&moved).unwrap()));
        while !lease.is_broken() {
            assert!(!writer.is_finished(), "it waits");
            thread::yield_now();
        }
        drop(lease);
        writer.join().unwrap();
    }
}
