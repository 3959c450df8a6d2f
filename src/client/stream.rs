//! A connection to a gateway, in the clear or through TLS. One thread reads it, one writes it, and any ends it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

#[cfg(feature = "tls")]
use super::tls::Channel;

/// A connection, whose reads and writes block until they are done or its timeouts are over.
pub struct Stream {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    channel: Option<Box<Channel>>,
}

impl Stream {
    /// A connection in the clear.
    pub fn plain(socket: TcpStream) -> Stream {
        Stream {
            socket,
            #[cfg(feature = "tls")]
            channel: None,
        }
    }

    /// A connection whose TLS is agreed on.
    #[cfg(feature = "tls")]
    pub(super) fn sealed(socket: TcpStream, channel: Channel) -> Stream {
        Stream { socket, channel: Some(Box::new(channel)) }
    }

    /// The socket beneath, to end it from elsewhere.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Ends one side of it, or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(channel) = self.channel.as_ref().filter(|_| how == Shutdown::Write) {
            channel.close(&self.socket)?;
        }
        self.socket.shutdown(how)
    }

    /// How long a read blocks.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    /// How long a write blocks.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }
}

impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(channel) = &self.channel {
            return channel.read(&self.socket, into);
        }
        (&self.socket).read(into)
    }
}

impl Write for &Stream {
    /// After an error that is only about time, the same bytes are to be written again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(channel) = &self.channel {
            return channel.write(&self.socket, bytes);
        }
        (&self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.socket).finish()
    }
}
