//! The order of one connection: what is verified, and what of that waits to be distributed.

use crate::core::reorder::Reorder;
use crate::gateway::conn::stage::Stage;
use crate::wire::layout::Converted;
use crate::wire::{Fault, Verified};

/// What the reorder window holds.
#[derive(Debug)]
pub enum Item {
    /// Verified frames.
    Frames(Verified),
    /// Foreign frames that were verified. Only the window holds them: when their turn has come, those that are published
    /// are native ones.
    Run(Box<Converted>),
    /// A foreign frame whose check is wrong and that ends its connection, behind what came before it.
    BadCheck,
    /// What a foreign frame made known of its connection: it may not be here. Behind what came before it.
    Refused,
    /// The end of the stream; it takes its turn after what came before it.
    Fault(Fault),
}

impl Item {
    /// How many frames it stands for.
    pub fn frames(&self) -> u64 {
        match self {
            Item::Frames(verified) => u64::from(verified.frames()),
            Item::Run(converted) => converted.fates.len() as u64,
            Item::BadCheck | Item::Fault(_) => 1,
            // The frame has its own fate.
            Item::Refused => 0,
        }
    }

    /// How many bytes of its stream it is.
    pub fn bytes(&self) -> usize {
        match self {
            Item::Frames(verified) => verified.len(),
            Item::Run(converted) => converted.bytes,
            Item::BadCheck | Item::Refused | Item::Fault(_) => 0,
        }
    }
}

/// What a connection sent and is not over.
#[derive(Debug, Default)]
pub struct Order {
    /// It knows the secret, or there is none.
    pub authorized: bool,
    pub window: Reorder<Item>,
    /// Less than the credit and one read.
    pub bytes_in_flight: u32,
    pub frames_in_flight: u32,
    /// What follows in its stream has no effect any more.
    pub discard: bool,
    /// What was released and is not over, where handlers or confirmations are waited for.
    pub stage: Option<Box<Stage>>,
}

impl Order {
    /// Whether frames that were released wait in its stage, or would.
    pub fn is_parked(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.hashing || !stage.waiting.is_empty())
    }

    /// Whether everything that it sent has been released and distributed or is held, whatever is still to be told.
    pub fn is_distributed(&self) -> bool {
        let staged = self.stage.as_ref().is_some_and(|stage| stage.frames > 0 || stage.hashing);
        self.window.is_empty() && !staged
    }

    /// Whether everything that it sent has been released and distributed or is held, and no reply is pending but to
    /// fragments that are held.
    pub fn is_quiet(&self) -> bool {
        self.is_distributed() && !self.has_pending_replies()
    }

    /// Whether replies to it are pending, but to fragments that are held.
    pub fn has_pending_replies(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.pending_replies > 0)
    }

    /// Whether it is told everything that it will be.
    pub fn is_answered(&self) -> bool {
        self.is_quiet() && self.stage.as_ref().is_none_or(|stage| stage.held_replies == 0)
    }
}
