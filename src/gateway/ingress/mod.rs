//! From sockets to verdicts: who may be read, reading, cutting, and verdicts in order.

pub(in crate::gateway) mod admission;
pub(in crate::gateway) mod large;
pub(in crate::gateway) mod order;
pub(in crate::gateway) mod read;
mod read_large;
pub(in crate::gateway) mod reading;
pub(in crate::gateway) mod release;

use admission::WaitQueues;

use crate::core::memory::Memory;
use crate::gateway::Config;
use crate::gateway::conn::accept::Acceptor;
use crate::wire::Rules;

/// What reading needs beside the connections.
pub struct Ingress {
    pub(in crate::gateway) acceptor: Acceptor,
    pub(in crate::gateway) rules: Rules,
    /// Lent to each read; a read that fills it keeps it.
    pub(in crate::gateway) scratch: Box<[u8]>,
    pub(in crate::gateway) lines: WaitQueues,
    /// Batches and large frames in all windows.
    pub(in crate::gateway) in_flight: usize,
    /// Numbers the large frames.
    pub(in crate::gateway) large_count: u64,
}

impl Ingress {
    /// Nobody is there yet.
    pub fn new(config: &Config, memory: &Memory) -> Ingress {
        Ingress {
            acceptor: Acceptor::default(),
            rules: Rules { payload_max: config.payload_max as u32, replies: false },
            scratch: memory.buffer(),
            lines: WaitQueues::default(),
            in_flight: 0,
            large_count: 0,
        }
    }
}
