//! A socket as the standard library writes to one, for what wants that.

use std::io::{self, IoSlice};

use super::Net;

/// Writes to a socket of a net.
pub struct SocketWriter<'a, N: Net>(pub &'a mut N, pub &'a mut N::Socket);

impl<N: Net> io::Write for SocketWriter<'_, N> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(self.1, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write(self.1, slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
