//! What runs reached.

/// What a run reached, added up over many to see that the checks are awake.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    /// Frames read.
    pub frames: u64,
    /// Frames that subscribers got.
    pub delivered: u64,
    /// Batches verified by the reactor, batches by workers, pieces of large frames, jobs that the reactor
    /// helped with, jobs in pairs, batches distributed as one.
    pub verified: [u64; 6],
    /// Frames rejected, copies dropped, copies not delivered.
    pub losses: [u64; 3],
    /// Connections closed for being slow, for stalling, for being idle, in the middle by their peer.
    pub closed: [u64; 4],
    /// Copies that came out again since the first were forgotten, and that were told DUPLICATE on another connection.
    pub again: [u64; 2],
    /// Calls answered, calls tried again, frames told BUSY, calls repeated since their answers found no room, turns
    /// in which a handler did not start.
    pub calls: [u64; 5],
    /// Frames confirmed by sinks, refused by one, forgotten at the end.
    pub to_sinks: [u64; 3],
    /// Words that sinks gave on several frames at once, times that they could confirm nothing, turns in
    /// which one was full and publishers were not read, frames that one confirmed which it had refused before.
    pub sinks: [u64; 4],
    /// Reassembled messages that came out, those of them hashed by workers and put into sinks, turns in which a connection
    /// waited for room for a part, messages that had to be reassembled and were.
    pub messages: [u64; 5],
    /// Parts told EXPIRED since their lease ended, for want of room and in a drain; refused as copies, for their
    /// counts and for the size of the message; told DUPLICATE; refused by a sink as part of a message, and for what their
    /// message would take.
    pub parts: [u64; 9],
    /// Frames of devices that subscribers got, replies to devices, refusals, what handlers wrote to them, bytes that were
    /// skipped, devices that ended with what is no frame, that broke off, and that were told everything.
    pub devices: [u64; 8],
    /// Pauses that became quiet, settings changed, looks at every connection.
    pub steered: [u64; 3],
    /// Connections that broke while they were not read: for want of memory, of a subscriber, of reading their replies,
    /// of handlers, of room for parts, of sinks; and since an operator paused the gateway.
    pub broken: [u64; 7],
    /// Turns.
    pub turns: u64,
}

impl Coverage {
    /// Each count.
    pub fn counts(&mut self) -> impl Iterator<Item = &mut u64> {
        let Coverage { frames, delivered, again, verified, losses, closed, calls, .. } = self;
        let Coverage { to_sinks, sinks, messages, parts, devices, steered, broken, turns, .. } = self;
        [frames, delivered, turns]
            .into_iter()
            .chain(again)
            .chain(verified)
            .chain(losses)
            .chain(closed)
            .chain(calls)
            .chain(to_sinks)
            .chain(sinks)
            .chain(messages)
            .chain(parts)
            .chain(devices)
            .chain(steered)
            .chain(broken)
    }
}

impl std::ops::AddAssign for Coverage {
    fn add_assign(&mut self, mut other: Coverage) {
        self.counts().zip(other.counts()).for_each(|(all, one)| *all += *one);
    }
}
