//! Steering a running gateway from another thread, and looking into it.
//!
//! A [`Control`] sends [`Command`]s through a bounded channel and ends the reactor's wait; the gate
//! carries them out at the beginning of its next turn and gives each its [`Answer`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use serde::Serialize;

use crate::core::call_queue::Overflow;
use crate::core::limits::{ANSWER_TIMEOUT, COMMANDS};
use crate::core::ranges;
use crate::core::units::{Size, nearest};
use crate::gateway::Where;
pub use crate::gateway::access::Reviewed;
use crate::gateway::snapshot::{NameUse, Snapshot};
use crate::runtime::net::Waker;
use crate::runtime::tls::SharedSetup;
use crate::wire::access::Access;
use crate::wire::durable::Start;

/// What was read again. What is none of it stays as it is.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// An access file; only where there was one from the start.
    pub access: Option<Arc<Access>>,
    /// How TLS is agreed on, by the place of a listener among all: 0 is the first. Only where it spoke TLS from the start.
    pub tls: Vec<(usize, SharedSetup)>,
}

/// What a gate is told, and where its answer goes.
#[derive(Debug)]
pub enum Command {
    /// Takes nothing more in, and finishes what was accepted. The answer waits at most so long for that.
    Pause(Duration, Answer<Paused>),
    /// Takes in again. The answer says whether it was paused.
    Resume(Answer<bool>),
    /// Changes a setting.
    Set(Setting, Answer<Result<Change, String>>),
    /// Has what was read again in force: connections are judged by it, and then it is answered.
    Reload(Reloaded, Answer<Reviewed>),
    /// Lists the durable names; none where there is no store.
    Subscriptions(Answer<Option<Vec<NameUse>>>),
    /// Has a durable name go on at another place; the inner error is one line with the mend.
    Rewind(String, Start, Answer<Result<Where, String>>),
    /// Forgets a durable name that no connection has; likewise.
    Forget(String, Answer<Result<Where, String>>),
    /// Describes itself. With `survey`, connections are looked at too, over as many turns as that takes.
    Describe {
        /// Whether to look at every connection.
        survey: bool,
        /// Gets the description.
        answer: Answer<Snapshot>,
    },
}

/// Where the answer to one command goes.
pub struct Answer<T>(Box<dyn FnOnce(T) + Send>);

impl<T: Send + 'static> Answer<T> {
    /// An answer, and where it arrives.
    pub fn new() -> (Answer<T>, Receiver<T>) {
        let (to, from) = bounded(1);
        // The caller may have gone.
        let answer = Answer::to(move |value| drop(to.try_send(value)));
        (answer, from)
    }

    /// An answer that is handed to `to`, which returns at once: it is called by the reactor.
    pub fn to(to: impl FnOnce(T) + Send + 'static) -> Answer<T> {
        Answer(Box::new(to))
    }

    /// Gives it.
    pub fn give(self, value: T) {
        (self.0)(value);
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// The answer to a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// Everything that was accepted is finished and written, but for what waits for a handler, or for others' parts.
    pub quiet: bool,
    /// Frames that are not finished.
    pub in_flight: u64,
    /// Frames that a sink has not confirmed.
    pub unconfirmed: u64,
    /// Frames that wait for a handler, and will until it goes on.
    pub queued: u64,
    /// Frames of connections that wait for room for a part.
    pub parked: u64,
    /// Fragments that are held until their messages are complete.
    pub held: u64,
}

/// Declares [`Setting`]: the name that `ctl set` and the option have, how a value is written, and what is told.
macro_rules! settings {
    ($(#[$enum_doc:meta])* pub enum Setting {
        $($(#[$doc:meta])* $name:literal $variant:ident($written:ty => $value:ty),)*
    }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Setting {
            $($(#[$doc])* $variant($value),)*
        }

        impl Setting {
            /// The names, for help and errors.
            pub const NAMES: &[&str] = &[$($name),*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Setting::$variant(_) => $name,)*
                }
            }

            fn of(name: &str, value: &str) -> Option<Result<Setting, String>> {
                match name {
                    $($name => {
                        let read = value.parse::<$written>().map_err(|wrong| wrong.to_string());
                        Some(read.map(|value| Setting::$variant(value.into())))
                    })*
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// What can change while a gateway runs.
    pub enum Setting {
        /// Threads that verify: more are started, the surplus end as they become idle.
        "workers" Workers(usize => usize),
        /// The bound on buffered bytes. A lower one takes effect as they are given back.
        "memory" Memory(Size => usize),
        /// How far one subscriber may fall behind. A lower one takes effect with the next frame for it.
        "outbox" Outbox(Size => usize),
        /// Handlers: more are started at once, the surplus end when they have answered what they have.
        "handlers" Handlers(usize => usize),
        /// Frames with the handlers at once: up at once, down as they are answered.
        "max-in-flight" MaxInFlight(usize => usize),
        /// Frames that wait for the handlers. Those that do stay.
        "max-queued" MaxQueued(usize => usize),
        /// What happens to a frame beyond that.
        "overflow" Overflow(Overflow => Overflow),
        /// Requests of the HTTP sink at once: up at once, down as they are answered.
        "http-max-in-flight" HttpMaxInFlight(usize => usize),
    }
}

impl Setting {
    /// Reads a name and a value as they stand on the command line.
    ///
    /// # Errors
    /// In one line, what is wrong and how to mend it.
    pub fn parse(name: &str, value: &str) -> Result<Setting, String> {
        let value = value.trim();
        if let Some(range) = ranges::of("serve", name).filter(|_| Self::NAMES.contains(&name)) {
            range.check(value).map_err(|wrong| format!("{name} {value}: {wrong}"))?;
        }
        Self::of(name, value).unwrap_or_else(|| {
            let meant = nearest(name, Self::NAMES.iter().copied().chain(["log"]));
            let meant = meant.map_or(String::new(), |meant| format!("did you mean {meant}? Or "));
            Err(format!("'{name}' cannot be set while it runs: {meant}choose {}", Self::NAMES.join(", ")))
        })
    }
}

/// A setting that was changed, its values as they are written on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
    /// What else is different now, since it depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
}

/// Steers a running gateway from any thread.
#[derive(Clone, Debug)]
pub struct Control {
    commands: Sender<Command>,
    drain: Arc<AtomicBool>,
    runs: Arc<AtomicBool>,
    waker: Waker,
}

/// The gateway's end of its controls.
#[derive(Debug)]
pub struct Commands {
    commands: Receiver<Command>,
    drain: Arc<AtomicBool>,
    runs: Arc<AtomicBool>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// As many commands wait as may.
    Busy,
    /// It did not answer in time.
    Late,
    /// The gateway has ended.
    Gone,
}

impl Control {
    /// A control and the gateway's end of it. `waker` ends the reactor's wait.
    pub fn new(waker: Waker) -> (Control, Commands) {
        let (to, from) = bounded(COMMANDS);
        let (drain, runs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let commands = Commands { commands: from, drain: drain.clone(), runs: runs.clone() };
        (Control { commands: to, drain, runs, waker }, commands)
    }

    /// Begins to drain: nothing more is taken in, what was accepted is finished, and the gateway ends.
    pub fn drain(&self) {
        self.drain.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether everything has started and its port answers. It still does when it drains or has ended.
    pub fn is_running(&self) -> bool {
        self.runs.load(Ordering::Acquire)
    }

    /// Takes nothing more in, and waits at most `wait` until what was accepted is finished.
    pub fn pause(&self, wait: Duration) -> Result<Paused, Unanswered> {
        self.ask(wait, |answer| Command::Pause(wait, answer))
    }

    /// Takes in again. Whether it was paused.
    pub fn resume(&self) -> Result<bool, Unanswered> {
        self.ask(Duration::ZERO, Command::Resume)
    }

    /// Changes a setting; the inner error is one line with the mend.
    pub fn set(&self, setting: Setting) -> Result<Result<Change, String>, Unanswered> {
        self.ask(Duration::ZERO, |answer| Command::Set(setting, answer))
    }

    /// Puts another access file into force, where the gateway was [started with one](crate::Config::access): every
    /// connection is judged by it, and what came of that is told. With none, nothing happens.
    pub fn set_access(&self, access: Arc<Access>) -> Result<Reviewed, Unanswered> {
        self.reload(Reloaded { access: Some(access), tls: Vec::new() })
    }

    /// Puts what was read again into force, all of it at once: every connection is judged by it, and what came of that is
    /// told.
    pub fn reload(&self, reloaded: Reloaded) -> Result<Reviewed, Unanswered> {
        self.ask(Duration::from_secs(10), |answer| Command::Reload(reloaded, answer))
    }

    /// The durable names; none where there is no store.
    pub fn subscriptions(&self) -> Result<Option<Vec<NameUse>>, Unanswered> {
        self.ask(Duration::ZERO, Command::Subscriptions)
    }

    /// Has a durable name go on at another place; a connection that has it is closed, so that it comes again there. The
    /// inner error is one line with the mend.
    pub fn rewind(&self, name: &str, to: Start) -> Result<Result<Where, String>, Unanswered> {
        self.ask(Duration::ZERO, |answer| Command::Rewind(name.into(), to, answer))
    }

    /// Forgets a durable name that no connection has; the inner error is one line with the mend.
    pub fn forget(&self, name: &str) -> Result<Result<Where, String>, Unanswered> {
        self.ask(Duration::ZERO, |answer| Command::Forget(name.into(), answer))
    }

    /// What the gateway looks like now; with `survey`, every connection is looked at.
    pub fn describe(&self, survey: bool) -> Result<Snapshot, Unanswered> {
        self.ask(Duration::ZERO, |answer| Command::Describe { survey, answer })
    }

    /// Sends a command, whose answer comes where it says.
    pub fn send(&self, command: Command) -> Result<(), Unanswered> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Unanswered::Busy,
            TrySendError::Disconnected(_) => Unanswered::Gone,
        })?;
        self.waker.wake();
        Ok(())
    }

    fn ask<T: Send + 'static>(
        &self,
        wait: Duration,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (to, from) = Answer::new();
        self.send(command(to))?;
        from.recv_timeout(wait.saturating_add(ANSWER_TIMEOUT)).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unanswered::Late,
            RecvTimeoutError::Disconnected => Unanswered::Gone,
        })
    }
}

impl Commands {
    /// The commands that wait.
    pub fn waiting(&self) -> impl Iterator<Item = Command> + '_ {
        self.commands.try_iter().take(COMMANDS)
    }

    /// Everything has started and the port answers.
    pub fn begin(&self) {
        self.runs.store(true, Ordering::Release);
    }

    /// Whether the gateway is told to drain.
    pub fn is_told_to_drain(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }
}

impl std::error::Error for Unanswered {}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unanswered::Busy => "the gateway has too many commands waiting: try again",
            Unanswered::Late => "the gateway does not answer: its loop is busy or stuck",
            Unanswered::Gone => "the gateway has ended",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_their_faults_say_the_mend() {
        assert_eq!(Setting::parse("workers", "3"), Ok(Setting::Workers(3)));
        assert_eq!(Setting::parse("memory", "64MiB"), Ok(Setting::Memory(64 << 20)));
        assert_eq!(Setting::parse("outbox", "512"), Ok(Setting::Outbox(512)));
        for (name, value, part) in [
            ("workers", "0", "workers 0: allowed is 1 to 4096 "),
            ("workers", "many", "invalid number 'many'"),
            ("memory", "big", "memory big: invalid size 'big'"),
            (
                "listen",
                "x",
                "choose workers, memory, outbox, handlers, max-in-flight, max-queued, overflow, http-max-in-flight",
            ),
            ("memroy", "1", "'memroy' cannot be set while it runs: did you mean memory? Or choose workers, "),
            ("handlers", "0", "1 to 1024"),
            ("max-in-flight", "0", "1 to 16777216"),
            ("max-queued", "-1", "0 to 1000000000"),
            ("overflow", "drop", "choose pause or reject"),
        ] {
            let message = Setting::parse(name, value).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        for &name in Setting::NAMES {
            let value = if name == "overflow" { "reject" } else { "1" };
            assert_eq!(Setting::parse(name, value).unwrap().name(), name);
            let Some(range) = ranges::of("serve", name) else { continue };
            let (taken, refused) = ranges::tests::cases(range);
            for value in taken {
                assert!(Setting::parse(name, &value).is_ok(), "{name} {value}");
            }
            for value in refused {
                let said = Setting::parse(name, &value).unwrap_err();
                assert!(said.starts_with(&format!("{name} {value}: ")), "{said}");
            }
        }
    }
}
