//! Publishing with answers, without waiting for each.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connect::{Security, connect_within};
use super::link::Link;
use super::shared::{Life, Reply, Shared, State, Take};
use super::silence::TIMEOUT;
use super::window::{CHUNK, Chunk};
use super::{Error, Identity, Report};
use crate::core::limits::{PAYLOAD_MAX, SEND_WINDOW};
use crate::core::units::later;
use crate::wire::{DIGEST, Frame, HEADER, Header, Kind, Scheme, check_topic};

/// 4 MiB between the caller and the socket where nothing has to be kept for sending it again: enough
/// that hashing and writing do not wait for each other.
const QUEUE: usize = 4 * 1024 * 1024;

/// 60 s without a gateway before a client gives up, unless it is set.
pub const RETRY: Duration = Duration::from_secs(60);

/// How a [`Publisher`] publishes.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// How digests are made.
    pub scheme: Scheme,
    /// Whether every frame asks for a reply. Without, what the connection loses cannot be known or sent again.
    pub replies: bool,
    /// Frames that may be unanswered at once; their bytes are bounded too, by [`SEND_WINDOW`].
    pub max_in_flight: usize,
    /// How long to try to connect again after the connection was lost. If none, not at all; then
    /// nothing is sent twice, and BUSY is an answer.
    pub retry: Option<Duration>,
    /// How long a gateway that is connected may say nothing, not even to a PING, until it is taken for gone and the
    /// connection for lost; for ever if none. A gateway that is paused says nothing either.
    pub timeout: Option<Duration>,
    /// Who it is, where the gateway has an access file that knows it by a token.
    pub identity: Option<Identity>,
    /// Whether and how it speaks TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<super::Tls>,
    /// How long to try to connect at first where nobody listens, so that a gateway may be started on the line before.
    pub patience: Duration,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        PublisherOptions {
            scheme: Scheme::Sha256,
            replies: true,
            max_in_flight: 1000,
            retry: Some(RETRY),
            timeout: Some(TIMEOUT),
            identity: None,
            #[cfg(feature = "tls")]
            tls: None,
            patience: Duration::ZERO,
        }
    }
}

impl PublisherOptions {
    /// The same, and each connection says first whose it is: the name of an identity in the gateway's access file, and
    /// one of its tokens.
    ///
    /// # Errors
    /// Where they cannot be those of an identity.
    pub fn identity(self, name: &str, token: &[u8]) -> Result<PublisherOptions, Error> {
        Ok(PublisherOptions { identity: Some(Identity::new(name, token)?), ..self })
    }
}

/// Publishes frames over one connection after the other, in order.
///
/// Frames are gathered and written in large pieces; [`flush`](Self::flush) sends what is gathered.
/// What is not answered when the connection goes away is sent again on the next one, the same bytes in the same order.
///
/// ```no_run
/// use framegate::client::{Publisher, PublisherOptions};
///
/// let mut publisher = Publisher::connect("127.0.0.1:7450", PublisherOptions::default())?;
/// for reading in ["21.5", "21.6"] {
///     publisher.send("sensors.hall", 0, reading.as_bytes())?;
/// }
/// let report = publisher.finish();
/// assert!(report.is_complete(), "{report:?}");
/// # Ok::<(), framegate::client::Error>(())
/// ```
pub struct Publisher {
    shared: Arc<Shared>,
    link: Option<JoinHandle<()>>,
    options: PublisherOptions,
    /// What is gathered and not handed over yet.
    open: Chunk,
    /// A chunk is handed over at so many frames, so that a small window is not all in one.
    open_max: usize,
    /// What the window had room for when last asked, less what was gathered since.
    room: Room,
    /// The last topic, which need not be checked again.
    topic: String,
    frames: u64,
    /// Frames as they are that ask for a reply themselves.
    asked: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Room {
    frames: usize,
    bytes: usize,
}

/// Ends a [`Publisher`]'s waiting from another thread.
#[derive(Clone)]
pub struct Interrupter {
    shared: Arc<Shared>,
}

impl Publisher {
    /// Connects; if that does not work, it is an error at once, or after the [patience](PublisherOptions::patience).
    pub fn connect(to: &str, options: PublisherOptions) -> Result<Publisher, Error> {
        Self::begin(to, options, None)
    }

    /// The same, and hands every final reply to `take`, each once, in the order in which they come, which
    /// need not be that of the frames. It is called by the thread that reads: as long as it runs, nothing
    /// more is read.
    ///
    /// ```no_run
    /// use framegate::client::{Publisher, PublisherOptions};
    ///
    /// let mut publisher = Publisher::connect_and_take("127.0.0.1:7450", PublisherOptions::default(), |reply| {
    ///     println!("{} {} {}", reply.id, reply.status, String::from_utf8_lossy(reply.payload));
    /// })?;
    /// publisher.send("pictures", 0, &std::fs::read("cat.jpg").unwrap())?;
    /// publisher.finish();
    /// # Ok::<(), framegate::client::Error>(())
    /// ```
    pub fn connect_and_take(
        to: &str,
        options: PublisherOptions,
        take: impl FnMut(Reply<'_>) + Send + 'static,
    ) -> Result<Publisher, Error> {
        Self::begin(to, options, Some(Box::new(take)))
    }

    fn begin(to: &str, options: PublisherOptions, take: Option<Take>) -> Result<Publisher, Error> {
        let security = Security {
            #[cfg(feature = "tls")]
            tls: options.tls.clone(),
        };
        let stream =
            connect_within(to, &security, options.patience).map_err(|why| Error::unreachable(to, &why))?;
        let shared = Shared::new(!options.replies, options.retry.is_some(), take);
        let link = Link {
            shared: shared.clone(),
            to: to.to_string(),
            security,
            scheme: options.scheme.clone(),
            no_reply: !options.replies,
            retry: options.retry,
            timeout: options.timeout,
            identity: options.identity.clone(),
        };
        let link = thread::Builder::new()
            .name("publisher".into())
            .spawn(move || link.run(stream))
            .map_err(|why| Error::unreachable(to, &why))?;
        let open_max = if options.replies { (options.max_in_flight / 4).max(1) } else { usize::MAX };
        let (open, topic) = (Chunk::default(), String::new());
        let (frames, asked, bytes) = (0, 0, 0);
        let room = Room::default();
        Ok(Publisher { shared, link: Some(link), options, open, open_max, room, topic, frames, asked, bytes })
    }

    /// Publishes one frame, and gives its id: 1, 2, 3, …. Waits while as many are unanswered as may be.
    pub fn send(&mut self, topic: &str, key: u64, payload: &[u8]) -> Result<u64, Error> {
        self.check(topic, payload)?;
        let len = HEADER + topic.len() + payload.len() + DIGEST;
        if self.room.frames == 0 || self.room.bytes < len {
            self.make_room(len)?;
        }
        self.frames += 1;
        self.bytes += payload.len() as u64;
        let header =
            Header { want_reply: self.options.replies, key, id: self.frames, ..Header::new(Kind::Data) };
        self.open.push(header, topic.as_bytes(), payload, &self.options.scheme);
        self.room.frames -= 1;
        self.room.bytes = self.room.bytes.saturating_sub(len);
        if self.open.bytes().len() >= CHUNK || self.open.frames() >= self.open_max {
            self.flush()?;
        }
        Ok(self.frames)
    }

    /// Publishes a frame as it is, its id, its flags and its digest too. For a publisher that asks for no
    /// [replies](PublisherOptions::replies) and sends nothing else: a frame that asks for one itself is
    /// answered under its own id, and [`Report::answers`] counts that.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_as_it_is(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        debug_assert!(!self.options.replies, "its own ids would be mistaken for ours");
        let payload = frame.payload();
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::TooLarge(payload.len()));
        }
        let len = frame.bytes.len();
        if self.room.frames == 0 || self.room.bytes < len {
            self.make_room(len)?;
        }
        if self.frames == 0 {
            self.shared.state.lock().as_they_are = true;
        }
        self.frames += 1;
        self.asked += u64::from(frame.header.want_reply);
        self.bytes += payload.len() as u64;
        self.open.push_as_it_is(self.frames, frame.bytes);
        self.room.frames -= 1;
        self.room.bytes = self.room.bytes.saturating_sub(len);
        if self.open.bytes().len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what was gathered, without waiting until it is sent.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.open.frames() == 0 {
            return Ok(());
        }
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        self.hand_over(&mut state);
        going_on(&state)
    }

    /// Frames given to it that are neither answered nor, without replies, written.
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().window.frames() + self.open.frames()
    }

    /// A handle that ends waiting from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter { shared: self.shared.clone() }
    }

    /// Sends what was gathered, waits until every frame has its final answer (without replies: until the
    /// gateway has taken everything and closed), and tells what became of it all.
    pub fn finish(mut self) -> Report {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        self.hand_over(&mut state);
        if state.life == Life::Open {
            state.life = Life::Finishing;
            shared.work.notify_all();
        }
        while state.life != Life::Over {
            match state.deadline {
                None => shared.room.wait(&mut state),
                Some(deadline) => {
                    if shared.room.wait_until(&mut state, deadline).timed_out() {
                        // Its thread may be connecting; nobody waits for that.
                        self.link = None;
                        break;
                    }
                }
            }
        }
        drop(state);
        self.end();
        let state = shared.state.lock();
        let left = state.window.frames() as u64;
        let (unanswered, unsent) = if self.options.replies { (left, 0) } else { (0, left) };
        let (answered, unconfirmed) = (state.answers.total(), state.unconfirmed);
        // Of what is neither answered nor lost, some may have asked all the same.
        let rest = self.frames.saturating_sub(answered + unanswered + unsent + unconfirmed);
        let missing = self.asked.saturating_sub(answered + unsent + unconfirmed).min(rest);
        Report {
            frames: self.frames,
            bytes: self.bytes,
            answers: state.answers.clone(),
            unanswered: unanswered + missing,
            unsent,
            unconfirmed,
            unasked: rest - missing,
            resent: state.resent,
            error: state.error.clone(),
        }
    }

    fn check(&mut self, topic: &str, payload: &[u8]) -> Result<(), Error> {
        if topic != self.topic {
            check_topic(topic.as_bytes()).map_err(Error::Topic)?;
            if topic.len() > usize::from(u8::MAX) {
                return Err(Error::TopicTooLong);
            }
            self.topic = topic.to_string();
        }
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::TooLarge(payload.len()));
        }
        Ok(())
    }

    /// Waits until the window has room for a frame of `len` bytes.
    fn make_room(&mut self, len: usize) -> Result<(), Error> {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        self.hand_over(&mut state);
        loop {
            going_on(&state)?;
            self.room = self.room_in(&state);
            // However large: what is larger than the window is in flight alone.
            if self.room.frames > 0 && (self.room.bytes >= len || state.window.is_empty()) {
                return Ok(());
            }
            shared.room.wait(&mut state);
        }
    }

    fn hand_over(&mut self, state: &mut State) {
        if self.open.frames() > 0 {
            self.open = state.window.push(std::mem::take(&mut self.open));
            self.shared.work.notify_one();
        }
        self.room = self.room_in(state);
    }

    fn room_in(&self, state: &State) -> Room {
        let (frames_max, bytes_max) = if self.options.replies {
            (self.options.max_in_flight.max(1), SEND_WINDOW)
        } else {
            (usize::MAX, QUEUE)
        };
        Room {
            frames: frames_max.saturating_sub(state.window.frames()),
            bytes: bytes_max.saturating_sub(state.window.bytes()),
        }
    }

    fn end(&mut self) {
        self.shared.end(None);
        if let Some(link) = self.link.take() {
            let _ = link.join();
        }
    }
}

/// Ends the connection; what is unanswered is not waited for.
impl Drop for Publisher {
    fn drop(&mut self) {
        self.end();
    }
}

impl Interrupter {
    /// Frames that were handed over and are neither answered nor, without replies, written.
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().window.frames()
    }

    /// Waits until the publisher has ended, or can send nothing more: so that a caller can end what it waits for otherwise,
    /// such as a standard input on which nothing comes.
    pub fn wait_until_over(&self) {
        let mut state = self.shared.state.lock();
        while state.life != Life::Over {
            self.shared.over.wait(&mut state);
        }
    }

    /// [`Publisher::send`] fails from now on, and [`Publisher::finish`] waits no longer than `grace` from now.
    pub fn interrupt(&self, grace: Duration) {
        let mut state = self.shared.state.lock();
        state.deadline = Some(later(Instant::now(), grace));
        self.shared.room.notify_all();
    }
}

/// Whether more may be sent.
fn going_on(state: &State) -> Result<(), Error> {
    match &state.error {
        Some(error) => Err(error.clone()),
        None if state.deadline.is_some() => Err(Error::Interrupted),
        None => Ok(()),
    }
}
