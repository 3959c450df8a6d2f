//! What the three threads of a publisher share: the caller's, the one that writes, the one that reads.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Error;
use super::backoff::Backoff;
use super::replies::End;
use super::report::Answers;
use super::stream::Stream;
use super::window::Window;
use crate::wire::Status;

/// 5 ms to 1 s before a frame that was answered BUSY is sent again.
const BUSY_FIRST: Duration = Duration::from_millis(5);
/// See [`BUSY_FIRST`].
const BUSY_MAX: Duration = Duration::from_secs(1);

/// The ids of the PINGs between frames, and of the one that ends a stream without replies. Frames that are sent as they
/// are may have any id, so these are two that nobody chooses; those made here count from 1.
pub const PING: u64 = 0x9f3a_61c7_04d2_8be5;
/// See [`PING`].
pub const LAST_PING: u64 = PING + 1;
/// Likewise that of an AUTH, the first frame of a connection.
pub const AUTH: u64 = PING + 2;

/// The state, who waits for room in it (the caller) and who for work (the writer).
pub struct Shared {
    /// What they share.
    pub state: Mutex<State>,
    /// The caller waits here.
    pub room: Condvar,
    /// The writer waits here.
    pub work: Condvar,
    /// Who waits for the end of it all waits here.
    pub over: Condvar,
    /// Gets every final reply, on the reader's thread.
    take: Mutex<Option<Take>>,
}

/// What a caller does with each final reply.
pub type Take = Box<dyn FnMut(Reply<'_>) + Send>;

/// The final reply to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The frame's id.
    pub id: u64,
    /// What became of it.
    pub status: Status,
    /// Of OK what a handler answered, of others a reason; often nothing.
    pub payload: &'a [u8],
}

/// Where a publisher is.
///
/// ```text
/// Open ──finish──▶ Finishing ──everything answered──▶ Over
///   └──────────────────┴──an error, the deadline──────▶┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Frames may come.
    Open,
    /// No more will come.
    Finishing,
    /// Nothing more happens.
    Over,
}

/// Everything that more than one thread looks at.
pub struct State {
    /// Where the publisher is.
    pub life: Life,
    /// What is in flight.
    pub window: Window,
    /// The final answers so far.
    pub answers: Answers,
    /// Frames to be sent again at `busy_due`.
    pub busy: Vec<u64>,
    /// When; none if there are none.
    pub busy_due: Option<Instant>,
    busy_pauses: Backoff,
    /// Whether BUSY is a reason to send again and not an answer.
    busy_again: bool,
    /// Whether frames ask for no reply: then writing is their answer.
    no_reply: bool,
    /// Whether frames are sent as they are: some may ask all the same, under ids of their own.
    pub as_they_are: bool,
    /// Until when finishing may take; set by an interrupt.
    pub deadline: Option<Instant>,
    /// The present connection, so that others can end a read or a write of it.
    pub stream: Option<Arc<Stream>>,
    /// How the present connection ended, told by the reader.
    pub ended: Option<End>,
    /// Whether some frame got its final answer on the present connection.
    pub progress: bool,
    /// Whether the gateway answered anything on the present connection, a PING too.
    pub heard: bool,
    /// When it last sent something there; while the caller takes replies, nobody can know.
    pub heard_at: Instant,
    /// Whether the caller takes replies just now.
    pub taking: bool,
    /// Whether the last PING was answered: everything before it was taken.
    pub confirmed: bool,
    /// Frames without reply that were written on the present connection and then refused.
    pub refused: u64,
    /// See [`Report`](super::Report).
    pub unconfirmed: u64,
    /// See [`Report`](super::Report).
    pub resent: u64,
    /// Why nothing more happens, where that is an error.
    pub error: Option<Error>,
}

/// One reply.
pub struct Answer {
    /// The frame's id.
    pub id: u64,
    /// What became of it.
    pub status: Status,
    /// Why.
    pub reason: Box<[u8]>,
}

impl Shared {
    /// A publisher without a connection yet.
    pub fn new(no_reply: bool, busy_again: bool, take: Option<Take>) -> Arc<Shared> {
        let state = State {
            life: Life::Open,
            window: Window::default(),
            answers: Answers::default(),
            busy: Vec::new(),
            busy_due: None,
            busy_pauses: Backoff::new(BUSY_FIRST, BUSY_MAX),
            busy_again,
            no_reply,
            as_they_are: false,
            deadline: None,
            stream: None,
            ended: None,
            progress: false,
            heard: false,
            heard_at: Instant::now(),
            taking: false,
            confirmed: false,
            refused: 0,
            unconfirmed: 0,
            resent: 0,
            error: None,
        };
        let (room, work, over) = (Condvar::new(), Condvar::new(), Condvar::new());
        Arc::new(Shared { state: Mutex::new(state), room, work, over, take: Mutex::new(take) })
    }

    /// Takes the replies of one read, which may be none, under one lock.
    pub fn answer(&self, answers: &mut Vec<Answer>) {
        let mut take = self.take.lock();
        let mut state = self.state.lock();
        state.heard_at = Instant::now();
        if answers.is_empty() {
            return;
        }
        state.heard = true;
        match &mut *take {
            None => answers.drain(..).for_each(|answer| {
                state.answer(&answer);
            }),
            Some(take) => {
                answers.retain(|answer| state.answer(answer));
                // Whatever the caller does with them, nobody waits for the lock meanwhile.
                state.taking = true;
                drop(state);
                for Answer { id, status, reason } in answers.drain(..) {
                    take(Reply { id, status, payload: &reason });
                }
                state = self.state.lock();
                state.taking = false;
                state.heard_at = Instant::now();
            }
        }
        if state.busy_due.is_none() && !state.busy.is_empty() {
            let pause = state.busy_pauses.pause();
            state.busy_due = Some(Instant::now() + pause);
            self.work.notify_one();
        }
        if state.life == Life::Finishing && state.window.is_empty() {
            self.work.notify_one();
        }
        self.room.notify_one();
    }

    /// Ends everything: the threads that read, write and wait, too.
    pub fn end(&self, error: Option<Error>) {
        let mut state = self.state.lock();
        state.life = Life::Over;
        state.error = state.error.take().or(error);
        if let Some(stream) = state.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.room.notify_all();
        self.work.notify_all();
        self.over.notify_all();
    }
}

impl State {
    /// A new connection: what was written on the last one and not answered is sent again.
    pub fn begin(&mut self, stream: Arc<Stream>) {
        self.resent += self.window.frames_written() as u64;
        self.window.restart();
        self.busy.clear();
        self.busy_due = None;
        self.stream = Some(stream);
        self.ended = None;
        self.progress = false;
        self.heard = false;
        self.heard_at = Instant::now();
        self.confirmed = false;
        self.refused = 0;
    }

    /// Whether nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.life == Life::Finishing && self.window.is_empty()
    }

    /// Takes one reply; whether it is the final one of a frame.
    fn answer(&mut self, answer: &Answer) -> bool {
        let Answer { id, status, ref reason } = *answer;
        self.confirmed |= id == LAST_PING;
        if self.as_they_are {
            let is_ping = [PING, LAST_PING, AUTH].contains(&id);
            if !is_ping {
                self.answers.add(status, reason);
            }
            self.progress = true;
            return !is_ping;
        }
        if status == Status::Busy && self.busy_again {
            if self.window.holds(id) {
                self.busy.push(id);
            }
            return false;
        }
        let held = self.window.answer(id);
        // A frame that wants no reply is forgotten when it is written; this is still said of it.
        let refused = !held && self.no_reply && status == Status::TooLarge;
        if held || refused {
            self.answers.add(status, reason);
            self.refused += u64::from(refused);
            self.progress = true;
            self.busy_pauses.reset();
        }
        held || refused
    }
}
