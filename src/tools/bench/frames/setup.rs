//! What happens before the clock starts: connecting, a probe of the gateway, subscribing.

use std::net::SocketAddr;
use std::time::Instant;

use super::conn::{Role, Stage};
use super::run::Load;
use super::{Failed, ring};
use crate::core::limits::{LOAD_CONNECTING, LOAD_PATIENCE, START_PATIENCE, START_PAUSE};
use crate::core::units::plain;
use crate::runtime::net::{Event, Net};
use crate::tools::bench::kind_of;
use crate::wire::{Header, Kind, Status, encode};

/// The id of a probe: that of no frame of a ring.
const PROBE: u64 = u64::MAX;

impl Load {
    /// Everything until frames can be sent.
    pub(super) fn set_up(&mut self) -> Result<(), Failed> {
        self.connect_all()?;
        self.probe()?;
        self.subscribe()
    }

    fn connect_all(&mut self) -> Result<(), Failed> {
        let (mut begun, mut standing) = (0, 0);
        self.starts_until = Instant::now() + START_PATIENCE;
        let mut patience = Instant::now() + LOAD_PATIENCE;
        while standing < self.conns.len() {
            // The first connection finds out which address is the gateway's.
            let at_once = if standing == 0 { 1 } else { LOAD_CONNECTING };
            while begun < self.conns.len() && begun - standing < at_once {
                self.begin_connection(begun)?;
                begun += 1;
            }
            self.wait_in_setup(patience, "does not take connections")?;
            for event in std::mem::take(&mut self.events) {
                let Event::Socket { key, .. } = event else { continue };
                let at = key as usize;
                if self.conns[at].stage == Stage::Connecting && self.is_standing(at)? {
                    standing += 1;
                    patience = Instant::now() + LOAD_PATIENCE;
                }
                self.note(event);
            }
        }
        Ok(())
    }

    fn gateway(&self) -> SocketAddr {
        self.options.gateway[self.address]
    }

    fn begin_connection(&mut self, at: usize) -> Result<(), Failed> {
        let sources = &self.options.sources;
        let source = (!sources.is_empty()).then(|| sources[at % sources.len()]);
        loop {
            let connected = self.reactor.connect(self.gateway(), source).and_then(|mut socket| {
                self.reactor.register(&mut socket, at as u64)?;
                Ok(socket)
            });
            match connected {
                Ok(socket) => {
                    self.conns[at].socket = Some(socket);
                    return Ok(());
                }
                Err(error) => self.try_next_address(at, &error)?,
            }
        }
    }

    fn is_standing(&mut self, at: usize) -> Result<bool, Failed> {
        let Some(socket) = &self.conns[at].socket else { return Ok(false) };
        match self.reactor.is_connected(socket) {
            Ok(false) => Ok(false),
            Ok(true) => {
                self.conns[at].stage = Stage::Open;
                self.alive += 1;
                Ok(true)
            }
            Err(error) => {
                self.try_next_address(at, &error)?;
                self.begin_connection(at)?;
                Ok(false)
            }
        }
    }

    /// A name may stand for several addresses; whichever took the first connection takes them all.
    fn try_next_address(&mut self, at: usize, error: &std::io::Error) -> Result<(), Failed> {
        if at == 0 && self.address + 1 < self.options.gateway.len() {
            self.address += 1;
            return Ok(());
        }
        if at == 0
            && kind_of(error) == "refused"
            && Instant::now() < self.starts_until
            && !self.stop.is_asked()
        {
            // It may have been started a moment ago. No socket is there yet, so this is a pause.
            self.address = 0;
            self.conns[at].socket = None;
            self.events.clear();
            let polled = self.reactor.poll(Some(START_PAUSE), &mut self.events);
            return polled.map_err(|why| Failed::Gone(format!("the system's poll failed: {why}")));
        }
        let gateway = self.gateway();
        Err(match kind_of(error) {
            "no local port" => Failed::Refused(format!(
                "cannot connect to {gateway}: {error}: give addresses of this machine with --bind, more of them if its ports are used up"
            )),
            "no open file" => {
                Failed::Refused(format!("cannot connect to {gateway}: {error}: raise ulimit -n"))
            }
            _ => Failed::Gone(format!(
                "cannot connect to {gateway}: {error}: is the gateway running? framegate serve"
            )),
        })
    }

    /// Sends a frame like those to come, and the same once more, and asks what became of them: a gateway
    /// with another secret, a smaller max-payload or deduplication says so before anything is measured.
    fn probe(&mut self) -> Result<(), Failed> {
        for group in 0..self.groups.len() {
            let role = Role::Publisher { group, index: 0 };
            let Some(at) = self.conns.iter().position(|conn| conn.role == role) else { continue };
            let key = self.groups[group].base + self.groups[group].publishers.len() as u64;
            let header = Header { want_reply: true, key, id: PROBE, ..Header::new(Kind::Data) };
            let payload = if group == 0 { self.options.payload } else { self.options.large_payload };
            let mut probe = Vec::new();
            let topic = self.groups[group].topic.as_bytes();
            encode(header, topic, &ring::payload(payload), &self.options.scheme, &mut probe);
            let twice = if group == 0 { 2 } else { 1 };
            self.conns[at].control = probe.repeat(twice);
            self.ask(&[at], twice, |status| matches!(status, Status::Ok | Status::Busy))?;
        }
        Ok(())
    }

    fn subscribe(&mut self) -> Result<(), Failed> {
        let subscribers: Vec<usize> = (0..self.conns.len())
            .filter(|&at| matches!(self.conns[at].role, Role::Subscriber { .. }))
            .collect();
        for &at in &subscribers {
            let topic = &self.groups[self.conns[at].group()].topic;
            let header = Header { want_reply: true, id: PROBE, ..Header::new(Kind::Subscribe) };
            let mut subscription = Vec::new();
            encode(header, topic.as_bytes(), b"", &self.options.scheme, &mut subscription);
            self.conns[at].control = subscription;
        }
        self.ask(&subscribers, 1, |status| status == Status::Ok)
    }

    /// Writes what is to be said on these connections, until each has got so many replies that will do.
    fn ask(&mut self, asked: &[usize], replies: usize, will_do: fn(Status) -> bool) -> Result<(), Failed> {
        asked.iter().for_each(|&at| self.enqueue(at));
        let patience = Instant::now() + LOAD_PATIENCE;
        loop {
            self.serve_ready();
            let mut done = 0;
            for &at in asked {
                let conn = &self.conns[at];
                let refusal = conn.replies.iter().find(|(status, _)| !status.is_some_and(will_do));
                if let Some((status, reason)) = refusal {
                    return Err(refused(*status, reason));
                }
                if conn.bad > 0 {
                    return Err(Failed::Refused(
                        "the gateway's answer is not signed as it should be: give its --secret-file, or leave it out".to_string(),
                    ));
                }
                if conn.stage == Stage::Closed {
                    return Err(match &conn.last_word {
                        Some((status, reason)) => refused(Some(*status), reason),
                        None => Failed::Gone(self.closed_early()),
                    });
                }
                done += usize::from(conn.replies.len() >= replies);
            }
            if done == asked.len() {
                return Ok(());
            }
            if self.ready.is_empty() {
                self.wait_in_setup(patience, "does not answer")?;
                std::mem::take(&mut self.events).into_iter().for_each(|event| self.note(event));
            }
        }
    }

    fn closed_early(&self) -> String {
        let why =
            self.groups[0].measure.error_kinds().iter().next().map(|(_, _, example)| example.to_string());
        let why = why.unwrap_or_else(|| "it closed the connection".to_string());
        format!("{} is not a gateway, or does not want this load: {why}", self.gateway())
    }

    fn wait_in_setup(&mut self, patience: Instant, what: &str) -> Result<(), Failed> {
        let now = Instant::now();
        if self.stop.is_asked() {
            return Err(Failed::Stopped);
        }
        if now >= patience {
            return Err(Failed::Gone(format!("{} {what}: is it a gateway, and is it well?", self.gateway())));
        }
        self.events.clear();
        let polled = self.reactor.poll(Some(patience - now), &mut self.events);
        polled.map_err(|why| Failed::Gone(format!("the system's poll failed: {why}")))
    }
}

/// What a reply to a probe or a subscription means for the load.
fn refused(status: Option<Status>, reason: &str) -> Failed {
    let Some(status) = status else {
        return Failed::Gone(format!("the gateway gives an answer that is not known here: {reason}"));
    };
    let mend = match status {
        Status::Duplicate => {
            "it deduplicates, and a load sends the same frames again and again: start it without --dedup"
        }
        Status::TooLarge => {
            "start it with a larger --max-payload, or give a smaller --payload or --big-payload"
        }
        Status::Unauthorized => "give its --secret-file",
        Status::BadDigest => "leave --secret-file out, or give that of the gateway",
        Status::Closing => "it is draining: start another",
        _ => "change what it is set to, or give another --topic",
    };
    let colon = if reason.is_empty() { "" } else { ": " };
    Failed::Refused(format!("the gateway answers {status}{colon}{}; {mend}", plain(reason)))
}
