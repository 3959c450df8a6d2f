//! One connection of a load.

use super::answers::Answers;
use super::check::Checker;
use super::sequence::Sequence;
use crate::runtime::net::Link;
use crate::wire::Status;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Publisher `index` of a group.
    Publisher { group: usize, index: usize },
    /// Gets the frames of a group.
    Subscriber { group: usize, index: usize },
    /// Is only there.
    Idle,
}

/// Where a connection of a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Where the native protocol is spoken.
    Gateway,
    /// A layout's listener.
    Listener,
}

/// Connecting → Open → Ended (it has sent everything) → Closed; Closed from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not begun, or not known yet whether it stands.
    Connecting,
    /// Both ways are open.
    Open,
    /// It sends nothing more, and waits for the gateway to close.
    Ended,
    /// It is no more.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    pub role: Role,
    pub stage: Stage,
    pub link: Option<Link>,
    pub readable: bool,
    pub writable: bool,
    /// The gateway has ended its side: behind what can be read comes the end.
    pub read_closed: bool,
    /// Whether it is in the line of those that can go on.
    pub queued: bool,
    /// What is written before any frame of a ring: a subscription, a probe.
    pub control: Vec<u8>,
    pub checker: Checker,
    /// Of a subscriber: what came of each publisher.
    pub sequences: Vec<Sequence>,
    /// Of a subscriber: different frames that came, and those that came with a wrong digest.
    pub arrived: u64,
    pub bad: u64,
    /// Of a subscriber: frames of the load that came, those that came twice too.
    pub received: u64,
    /// Of a device: what it is still to be answered before the load starts, and whether something else came.
    pub awaits: Vec<u8>,
    pub is_mismatched: bool,
    /// Of a device that publishes: what it is answered.
    pub answers: Answers,
    /// The gateway closed it.
    pub closed_by_gateway: bool,
    /// Replies that are not about the end of the connection.
    pub replies: Vec<(Option<Status>, String)>,
    /// What the gateway said before it closed.
    pub last_word: Option<(Status, String)>,
}

impl Conn {
    pub fn new(role: Role) -> Conn {
        Conn {
            role,
            stage: Stage::Connecting,
            link: None,
            readable: false,
            writable: false,
            read_closed: false,
            queued: false,
            control: Vec::new(),
            checker: Checker::default(),
            sequences: Vec::new(),
            arrived: 0,
            bad: 0,
            received: 0,
            awaits: Vec::new(),
            is_mismatched: false,
            answers: Answers::default(),
            closed_by_gateway: false,
            replies: Vec::new(),
            last_word: None,
        }
    }

    /// Its group; of an idle one, the first.
    pub fn group(&self) -> usize {
        match self.role {
            Role::Publisher { group, .. } | Role::Subscriber { group, .. } => group,
            Role::Idle => 0,
        }
    }

    /// What an example of an error calls it.
    pub fn name(&self) -> String {
        match self.role {
            Role::Publisher { group: 0, index } => format!("publisher {index}"),
            Role::Publisher { index, .. } => format!("large publisher {index}"),
            Role::Subscriber { group: 0, index } => format!("subscriber {index}"),
            Role::Subscriber { .. } => "the subscriber of large frames".to_string(),
            Role::Idle => "an idle connection".to_string(),
        }
    }
}
