//! The thread that keeps a publisher connected and writes what it hands over.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::connect::{Security, connect};
use super::error::{Error, explain};
use super::identity::Identity;
use super::replies::{self, End};
use super::shared::{AUTH, LAST_PING, Life, PING, Shared, State};
use super::silence::{ANSWER_ME, Silence};
use super::stream::Stream;
use super::window::Job;
use crate::core::limits::LINGER;
use crate::core::units::{about, later};
use crate::wire::{Header, Kind, Scheme, encode};

/// 100 ms to 5 s between attempts to connect again.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// See [`RETRY_FIRST`].
const RETRY_MAX: Duration = Duration::from_secs(5);

/// 5 connections in a row that end without an answer, where there never was one: no gateway does that. With the pauses
/// between them that takes a second or two.
const MUTE_MAX: u32 = 5;

/// One publisher's way to its gateway.
pub struct Link {
    /// What it shares with the caller.
    pub shared: Arc<Shared>,
    /// The gateway's address.
    pub to: String,
    /// Whether it is under TLS.
    pub security: Security,
    /// How digests are made.
    pub scheme: Scheme,
    /// Whether frames ask for no reply.
    pub no_reply: bool,
    /// How long to try to connect again; not at all if none.
    pub retry: Option<Duration>,
    /// How long a gateway may say nothing, not even to a PING, until it is taken for gone.
    pub timeout: Option<Duration>,
    /// Who it is, which is the first word of each connection.
    pub identity: Option<Identity>,
}

/// What one connection did, beside what the shared state knows.
struct Done {
    /// Frames without replies that were written whole.
    written: u64,
    /// Whether the gateway was asked whether it has everything, and told that no more comes.
    half_closed: bool,
    silence: Silence,
}

enum Work {
    Write(Job),
    /// What was answered BUSY, again.
    Again(Vec<Job>),
    Ping,
    HalfClose,
}

impl Link {
    /// Writes until everything is answered, or nothing more can be done.
    pub fn run(self, mut stream: Stream) {
        let mut pauses = Backoff::new(RETRY_FIRST, RETRY_MAX);
        let mut trouble = None;
        // How many connections ended without an answer; none once there was one.
        let mut mute = Some(0);
        let error = loop {
            let since = Instant::now();
            let (end, done) = self.converse(stream);
            let heard = self.shared.state.lock().heard || matches!(end, End::Closed(Some(_)));
            // One that is stopped is a gateway all the same.
            let ended = !matches!(end, End::Silent(_));
            mute = mute.filter(|_| !heard).map(|mute| mute + u32::from(ended));
            let why = match self.judge(end, done, mute.is_some()) {
                Ok(None) => break None,
                Ok(Some(why)) => why,
                Err(error) => break Some(error),
            };
            if !self.wait_until_needed() {
                // Nothing was sent, and nobody knows that there is a gateway.
                let is_over = self.shared.state.lock().life == Life::Over;
                break (mute.is_some() && !is_over).then(|| self.no_answer(&why));
            }
            if mute == Some(MUTE_MAX) {
                let why = format!("it ended {MUTE_MAX} connections without an answer ({why})");
                break Some(Error::NoGateway { to: self.to, why });
            }
            // A gateway that closes every connection at once is as good as none, and so is one that says nothing.
            if heard && since.elapsed() > RETRY_MAX || self.shared.state.lock().progress {
                pauses.reset();
                trouble = None;
            }
            let trouble = trouble.get_or_insert_with(Instant::now);
            match self.reconnect(why, *trouble, &mut pauses) {
                Ok(Some(again)) => stream = again,
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        self.shared.end(error);
    }

    /// Uses one connection until it ends.
    fn converse(&self, stream: Stream) -> (End, Done) {
        let stream = Arc::new(stream);
        let mut done = Done { written: 0, half_closed: false, silence: Silence::new(self.timeout) };
        // So that a write that waits for a gateway that does not read can be given up.
        let _ = stream.set_write_timeout(self.timeout.map(|_| done.silence.look_every()));
        self.shared.state.lock().begin(stream.clone());
        thread::scope(|scope| {
            let reader = thread::Builder::new().name("replies".into()).spawn_scoped(scope, || {
                let end = replies::collect(&stream, &self.to, &self.scheme, &self.shared);
                // No answer will come: a write that waits for the gateway to read waits in vain.
                let _ = stream.shutdown(Shutdown::Both);
                // Where the writer has given up, that is why.
                self.shared.state.lock().ended.get_or_insert(end);
                self.shared.work.notify_all();
            });
            if let Err(error) = reader {
                self.shared.state.lock().ended = Some(End::Lost(explain(&error)));
                return;
            }
            if self.write(&stream, &mut done).is_err() {
                // Why is for the reader to find out: the gateway's last word may be on its way.
                let deadline = Instant::now() + LINGER;
                let mut state = self.shared.state.lock();
                while state.ended.is_none() && !self.shared.work.wait_until(&mut state, deadline).timed_out()
                {
                }
            }
            let _ = stream.shutdown(Shutdown::Both);
        });
        let end = self.shared.state.lock().ended.take();
        (end.expect("the reader ended"), done)
    }

    /// Whether the end of a connection is the end of the work (none), or why another is needed.
    /// `mute` if the gateway never said anything, on no connection.
    fn judge(&self, end: End, done: Done, mute: bool) -> Result<Option<String>, Error> {
        let mut state = self.shared.state.lock();
        state.stream = None;
        if state.life == Life::Over {
            return Ok(None);
        }
        // A gateway that closed before it had read everything would not have answered.
        let taken = state.confirmed && matches!(end, End::Closed(None));
        if state.is_finished() && (taken || !self.no_reply && state.heard) {
            return Ok(None);
        }
        state.unconfirmed += done.written.saturating_sub(state.refused);
        let is_silent = matches!(end, End::Silent(_));
        let why = match end {
            End::Fatal(error) => return Err(error),
            End::Closed(None) => "it closed the connection".to_string(),
            End::Closed(Some(said)) => format!("it closed the connection, {said}"),
            End::Lost(why) | End::Silent(why) => why,
        };
        match self.retry {
            None => Err(Error::Gone { to: self.to.clone(), why }),
            Some(_) if is_silent && mute && state.is_finished() => {
                Err(Error::Gone { to: self.to.clone(), why })
            }
            // Nothing of it is known to have been read by a gateway.
            Some(_) if mute && state.is_finished() => Err(self.no_answer(&why)),
            // What was lost cannot be sent again, and nothing else is left.
            Some(_) if state.is_finished() => Ok(None),
            Some(_) => Ok(Some(why)),
        }
    }

    fn no_answer(&self, why: &str) -> Error {
        let why = format!("it ended the connection without an answer ({why})");
        Error::NoGateway { to: self.to.clone(), why }
    }

    /// Waits until there is something to send. Whether there is.
    fn wait_until_needed(&self) -> bool {
        let mut state = self.shared.state.lock();
        while state.life == Life::Open && state.window.is_empty() {
            self.shared.work.wait(&mut state);
        }
        state.life != Life::Over && !state.window.is_empty()
    }

    /// Connects again; none if everything was ended meanwhile.
    fn reconnect(
        &self,
        mut why: String,
        since: Instant,
        pauses: &mut Backoff,
    ) -> Result<Option<Stream>, Error> {
        let give_up = later(since, self.retry.unwrap_or_default());
        log::warn!("{}: {why}; connecting again", self.to);
        loop {
            let at = Instant::now() + pauses.pause();
            if at > give_up {
                let tried = since.elapsed().max(Duration::from_millis(1));
                return Err(Error::Unreachable { to: self.to.clone(), why, tried });
            }
            let mut state = self.shared.state.lock();
            while state.life != Life::Over && !self.shared.work.wait_until(&mut state, at).timed_out() {}
            if state.life == Life::Over {
                return Ok(None);
            }
            drop(state);
            match connect(&self.to, &self.security) {
                Ok(stream) => {
                    log::info!("connected to {} again", self.to);
                    return Ok(Some(stream));
                }
                Err(error) => match Error::unreachable(&self.to, &error) {
                    // Trying again does not change what does not fit together.
                    error @ Error::Tls { .. } => return Err(error),
                    _ => why = explain(&error),
                },
            }
            log::debug!("{}: {why}", self.to);
        }
    }

    /// Writes until there is nothing more to write on this connection.
    fn write(&self, stream: &Stream, done: &mut Done) -> io::Result<()> {
        if let Some(identity) = &self.identity {
            self.write_all(stream, &identity.frame(AUTH, &self.scheme), done).1?;
        }
        if self.no_reply {
            // Nothing else would tell a gateway from what is none before the end.
            self.ping(stream, PING, ANSWER_ME, done)?;
        }
        while let Some(work) = self.next_work(done) {
            match work {
                Work::Write(job) => self.write_job(stream, job, done)?,
                Work::Again(jobs) => {
                    for job in jobs {
                        self.write_job(stream, job, done)?;
                    }
                }
                Work::Ping => {
                    self.say_if_silent(done);
                    let heard = self.shared.state.lock().heard;
                    self.ping(stream, PING, if heard { b"" } else { ANSWER_ME }, done)?;
                }
                Work::HalfClose => {
                    done.half_closed = true;
                    self.ping(stream, LAST_PING, b"", done)?;
                    stream.shutdown(Shutdown::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for something to write; none if there is nothing more on this connection.
    fn next_work(&self, done: &mut Done) -> Option<Work> {
        let mut state = self.shared.state.lock();
        loop {
            let now = Instant::now();
            self.give_up_silent(&mut state, done, now);
            if state.life == Life::Over || state.ended.is_some() {
                return None;
            }
            let ping_at = done.silence.ping_at(state.heard_at, state.heard);
            // However much there is to write: nothing else tells whether the gateway is there.
            if now >= ping_at && !done.half_closed {
                return Some(Work::Ping);
            }
            if let Some(job) = state.window.next_job() {
                return Some(Work::Write(job));
            }
            if state.busy_due.is_some_and(|due| due <= now) {
                state.busy_due = None;
                let ids = std::mem::take(&mut state.busy);
                let jobs: Vec<Job> = ids.into_iter().filter_map(|id| state.window.job_again(id)).collect();
                state.resent += jobs.len() as u64;
                return Some(Work::Again(jobs));
            }
            if state.is_finished() && !done.half_closed {
                if self.no_reply {
                    return Some(Work::HalfClose);
                }
                // However little was sent, a gateway must have taken it.
                if state.heard {
                    return None;
                }
                if !done.silence.is_asked() {
                    return Some(Work::Ping);
                }
            }
            let mut until = now + done.silence.look_every();
            if let Some(due) = state.busy_due {
                until = until.min(due);
            }
            self.shared.work.wait_until(&mut state, until);
        }
    }

    /// Ends a connection on which the gateway says nothing any more.
    fn give_up_silent(&self, state: &mut State, done: &mut Done, now: Instant) {
        if state.taking {
            state.heard_at = now;
        }
        if done.silence.is_over(state.heard_at, now) {
            state.ended.get_or_insert_with(|| End::Silent(done.silence.reason()));
        }
    }

    /// A gateway that is paused says nothing either, so this is no error yet.
    fn say_if_silent(&self, done: &Done) {
        if !self.shared.state.lock().heard && done.silence.is_asked() {
            log::warn!(
                "{} has said nothing for {}: is it a gateway, and is it paused?",
                self.to,
                about(done.silence.ping_every())
            );
        }
    }

    fn ping(&self, stream: &Stream, id: u64, payload: &[u8], done: &mut Done) -> io::Result<()> {
        let mut ping = Vec::new();
        encode(Header { id, ..Header::new(Kind::Ping) }, b"", payload, &self.scheme, &mut ping);
        let result = self.write_all(stream, &ping, done).1;
        let heard = self.shared.state.lock().heard_at;
        done.silence.ask(heard, Instant::now());
        result
    }

    fn write_job(&self, stream: &Stream, job: Job, done: &mut Done) -> io::Result<()> {
        let (mut bytes, mut result) = (0, Ok(()));
        for range in &job.ranges {
            let written = self.write_all(stream, &job.chunk.bytes()[range.clone()], done);
            (bytes, result) = (bytes + written.0, written.1);
            if result.is_err() {
                break;
            }
        }
        let mut state = self.shared.state.lock();
        if self.no_reply {
            done.written += state.window.answer_written(&job, bytes) as u64;
            self.shared.room.notify_one();
        }
        state.window.recycle(job.chunk);
        result
    }

    /// How many bytes were written, and why no more.
    fn write_all(&self, mut stream: &Stream, bytes: &[u8], done: &mut Done) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            let began = Instant::now();
            let result = stream.write(&bytes[written..]);
            let (now, n) = (Instant::now(), *result.as_ref().unwrap_or(&0));
            // What took no time waited for nobody.
            if n == 0 || now.saturating_duration_since(began) >= Duration::from_millis(1) {
                let mut state = self.shared.state.lock();
                done.silence.wrote(began, now, state.heard_at, n);
                self.give_up_silent(&mut state, done, now);
                if state.life == Life::Over || state.ended.is_some() {
                    return (written + n, Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
            match result {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => written += n,
                Err(error) => match error.kind() {
                    // The gateway does not read yet; whether it is there was just asked.
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {}
                    _ => return (written, Err(error)),
                },
            }
        }
        (written, Ok(()))
    }
}
