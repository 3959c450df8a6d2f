//! From sockets to verdicts: reading, cutting, verifying, and queues of those that wait to be read.

pub(in crate::gateway) mod large;
pub(in crate::gateway) mod order;
pub(in crate::gateway) mod read;
mod read_large;
pub(in crate::gateway) mod read_layout;
pub(in crate::gateway) mod reading;
pub(in crate::gateway) mod wait_queues;

use order::{Item, Order};

use crate::core::limits::READ_MAX;
use crate::gateway::Config;
use crate::gateway::conn::Conn;
use crate::wire::Rules;

/// What reading needs beside the connections.
pub struct Ingress {
    rules: Rules,
    /// Batches and large frames in all windows.
    in_flight: usize,
    /// The frames in them.
    frames_in_flight: u64,
    /// Numbers the large frames.
    large_count: u64,
}

impl Ingress {
    /// Nobody is there yet.
    pub fn new(config: &Config) -> Ingress {
        let rules = Rules { payload_max: config.payload_max as u32, replies: false };
        Ingress { rules, in_flight: 0, frames_in_flight: 0, large_count: 0 }
    }

    /// Batches and large frames between their reading and their release.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The frames in them.
    pub fn frames_in_flight(&self) -> usize {
        self.frames_in_flight as usize
    }

    /// Something takes its place in a connection's window, which it has or is about to get.
    fn begin(&mut self, order: &mut Order, frames: u32) {
        order.frames_in_flight += frames;
        self.in_flight += 1;
        self.frames_in_flight += u64::from(frames);
    }

    /// What is next in a connection's order, as far as it is verified.
    pub fn release<S>(&mut self, conn: &mut Conn<S>) -> Option<Item> {
        let order = &mut conn.order;
        let item = order.window.release()?;
        self.in_flight -= 1;
        order.frames_in_flight -= item.frames() as u32;
        self.frames_in_flight -= item.frames();
        // A large frame was never charged to the credit: its memory was granted to it alone.
        match &item {
            Item::Frames(verified) if verified.body().is_slice() => {
                order.bytes_in_flight -= verified.len() as u32;
            }
            Item::Run(converted) if converted.bytes <= READ_MAX => {
                order.bytes_in_flight -= converted.bytes as u32;
            }
            Item::Frames(_) | Item::Run(_) | Item::BadCheck | Item::Refused | Item::Fault(_) => {}
        }
        Some(item)
    }

    /// A connection is no more. How many of its frames were not released.
    pub fn forget_conn<S>(&mut self, conn: &Conn<S>) -> u64 {
        self.in_flight -= conn.order.window.len();
        self.frames_in_flight -= u64::from(conn.order.frames_in_flight);
        u64::from(conn.order.frames_in_flight)
    }

    /// What is counted agrees with what is there.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants<S>(&self, conns: &crate::gateway::conn::table::Conns<S>) {
        assert_eq!(self.in_flight, conns.iter().map(|conn| conn.order.window.len()).sum::<usize>());
        let frames = conns.iter().map(|conn| u64::from(conn.order.frames_in_flight));
        assert_eq!(self.frames_in_flight, frames.sum::<u64>());
    }
}
