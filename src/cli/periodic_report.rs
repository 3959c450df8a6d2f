//! A line in the log at an interval, with how full every queue is.

use std::fmt::{self, Write};
use std::io;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::core::units::{about, held, many};
use crate::gateway::control::{Control, Unanswered};
use crate::gateway::snapshot::{Depth, Snapshot};

/// Goes on until it is dropped, or the gateway has ended.
pub struct PeriodicReport {
    _end: Sender<()>,
}

/// Looks into the gateway each `every`, and says so in the log.
pub fn start(control: Control, every: Duration) -> io::Result<PeriodicReport> {
    let (end, ended) = bounded(0);
    thread::Builder::new().name("report".into()).spawn(move || run(&control, every, &ended))?;
    Ok(PeriodicReport { _end: end })
}

fn run(control: &Control, every: Duration, ended: &Receiver<()>) {
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        match control.describe(false) {
            Ok(snapshot) => log::info!("{}", line(&snapshot)),
            Err(Unanswered::Gone) => return,
            Err(why) => log::warn!("patrol: {why}"),
        }
    }
}

/// Everything that can be full, as `NAME NOW of MOST`.
fn line(snapshot: &Snapshot) -> String {
    let Snapshot { queues, memory, parts, .. } = snapshot;
    let of = |depth: Depth| format!("{} of {}", depth.now, depth.max);
    let mut out = format!(
        "patrol: connections {}, jobs {}, in flight {}, outboxes {}, memory {} of {}",
        of(queues.connections),
        of(queues.jobs),
        queues.in_flight,
        queues.outbox_items,
        held(memory.used_bytes),
        held(memory.limit_bytes),
    );
    if let Some(calls) = &snapshot.calls {
        add(&mut out, format_args!(", with the handlers {}", of(calls.in_flight)));
        add(&mut out, format_args!(", waiting for them {}", of(calls.queued)));
    }
    add(&mut out, format_args!(", incomplete messages {}", of(parts.keys)));
    if parts.keys.now > 0 {
        let bytes = held(parts.bytes.now);
        let held = many(parts.held, "fragment");
        add(&mut out, format_args!(" ({held}, {bytes}, oldest {})", about(parts.oldest)));
    }
    if let Some(sinks) = &snapshot.sinks {
        let frames = snapshot.ledger.to_sinks.unconfirmed();
        let frames = many(frames, "frame");
        add(&mut out, format_args!(", not confirmed {frames} (oldest {})", about(sinks.oldest)));
        for sink in &sinks.each {
            add(&mut out, format_args!(", {} {}", sink.name, held(sink.lag_bytes)));
            if let Some(trouble) = &sink.trouble {
                add(&mut out, format_args!(" ({trouble})"));
            }
        }
    }
    out
}

fn add(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ledger::{Ledger, ToSinks};
    use crate::gateway::snapshot::{
        CallsUse, MemoryUse, PartsUse, Phase, Queues, SinkUse, SinksUse, Stages, WorkersUse,
    };

    fn snapshot() -> Snapshot {
        Snapshot {
            access: None,
            tls: None,
            phase: Phase::Running,
            quiet: true,
            uptime: Duration::ZERO,
            ledger: Ledger::default(),
            queues: Queues { connections: Depth { now: 8, max: 1000 }, in_flight: 2, ..Queues::default() },
            memory: MemoryUse { used_bytes: 3 << 20, limit_bytes: 256 << 20, ..MemoryUse::default() },
            subscriptions: Default::default(),
            workers: WorkersUse::default(),
            stages: Stages::default(),
            calls: None,
            parts: PartsUse { keys: Depth { now: 0, max: 9 }, ..PartsUse::default() },
            sinks: None,
            durable: None,
            paused: Default::default(),
            settings: Vec::new(),
            survey: None,
        }
    }

    #[test]
    fn a_line_has_every_queue() {
        let mut snapshot = snapshot();
        let least = "patrol: connections 8 of 1000, jobs 0 of 0, in flight 2, outboxes 0, memory 3.0 MiB of 256.0 MiB";
        assert_eq!(line(&snapshot), format!("{least}, incomplete messages 0 of 9"));
        snapshot.calls = Some(CallsUse { queued: Depth { now: 7, max: 10 }, ..CallsUse::default() });
        snapshot.parts.keys.now = 4;
        snapshot.parts.bytes.now = 2048;
        (snapshot.parts.held, snapshot.parts.oldest) = (5, Duration::from_micros(2_100_900));
        snapshot.ledger.to_sinks = ToSinks { put: 12, confirmed: 8, ..ToSinks::default() };
        let store =
            SinkUse { name: "store", lag_bytes: 900, trouble: Some("no room".into()), ..SinkUse::default() };
        let http = SinkUse { name: "http", ..SinkUse::default() };
        snapshot.sinks = Some(SinksUse { oldest: Duration::from_millis(1500), each: vec![store, http] });
        let rest = ", with the handlers 0 of 0, waiting for them 7 of 10, incomplete messages 4 of 9 (5 fragments, 2.0 KiB, oldest 2.1s), \
                    not confirmed 4 frames (oldest 1.5s), store 900 B (no room), http 0 B";
        assert_eq!(line(&snapshot), format!("{least}{rest}"));
    }
}
