//! What happens before the clock starts: connecting, a probe of the gateway, subscribing.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::conn::{Conn, Endpoint, Role, Stage};
use super::run::Load;
use super::sequence::Sequence;
use super::{Failed, ring};
use crate::core::limits::{LOAD_CONNECTING, LOAD_PATIENCE, START_PATIENCE, START_PAUSE};
use crate::core::units::plain;
use crate::runtime::net::{Event, Got, Link, LinkError, Net, Reactor};
use crate::runtime::tls::said_of;
use crate::tools::bench::kind_of;
use crate::wire::{Header, Kind, Status, encode};

/// Goes on with a handshake as far as what came allows. Whether it is over.
fn handshakes_on(link: &mut Link, reactor: &mut Reactor, scratch: &mut [u8]) -> Result<bool, Failed> {
    let failed = |why: LinkError| {
        Failed::Gone(match why {
            LinkError::Tls(why) => format!("no TLS with the gateway: {}", said_of(&why)),
            LinkError::Broken(why) => format!("the gateway ended the TLS handshake: {why}: its log says why"),
        })
    };
    link.write(reactor, &[]).map_err(failed)?;
    loop {
        // Nothing but what belongs to TLS comes before something is asked.
        match link.read(reactor, scratch, |_| Ok::<(), LinkError>(())).map_err(failed)? {
            Got::Some => {}
            Got::Nothing | Got::All => break,
            Got::End { .. } => return Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
        }
    }
    link.write(reactor, &[]).map_err(failed)?;
    Ok(!link.is_handshaking())
}

/// The id of a probe: that of no frame of a ring.
const PROBE: u64 = u64::MAX;

impl Load {
    /// Everything until frames can be sent.
    pub(super) fn set_up(&mut self) -> Result<(), Failed> {
        for endpoint in [Endpoint::Gateway, Endpoint::Listener] {
            let conns: Vec<usize> =
                (0..self.conns.len()).filter(|&at| self.endpoint(at) == endpoint).collect();
            self.connect_all(endpoint, &conns)?;
        }
        self.identify()?;
        self.probe()?;
        self.subscribe()?;
        self.log_in()
    }

    fn connect_all(&mut self, endpoint: Endpoint, conns: &[usize]) -> Result<(), Failed> {
        let (mut begun, mut standing) = (0, 0);
        self.starts_until = Instant::now() + START_PATIENCE;
        let mut patience = Instant::now() + LOAD_PATIENCE;
        while standing < conns.len() {
            // The first connection finds out which address is the gateway's.
            let is_first = standing == 0;
            let at_once = if is_first { 1 } else { LOAD_CONNECTING };
            while begun < conns.len() && begun - standing < at_once {
                self.begin_connection(conns[begun], is_first)?;
                begun += 1;
            }
            self.wait_in_setup(endpoint, patience, "does not take connections")?;
            for event in std::mem::take(&mut self.events) {
                let Event::Socket { key, .. } = event else { continue };
                let at = key as usize;
                if self.conns[at].stage == Stage::Connecting && self.is_standing(at, is_first)? {
                    standing += 1;
                    patience = Instant::now() + LOAD_PATIENCE;
                }
                self.note(event);
            }
        }
        Ok(())
    }

    /// Where a connection goes.
    fn endpoint(&self, at: usize) -> Endpoint {
        match self.conns[at].role {
            Role::Publisher { group: 0, .. } | Role::Idle if self.options.layout.is_some() => {
                Endpoint::Listener
            }
            _ => Endpoint::Gateway,
        }
    }

    fn addresses(&self, endpoint: Endpoint) -> &[SocketAddr] {
        match (endpoint, &self.options.layout) {
            (Endpoint::Listener, Some(load)) => &load.listener,
            _ => &self.options.gateway,
        }
    }

    /// The address that is used; where nothing of the load goes there, that of the other endpoint.
    pub(super) fn shown(&self, endpoint: Endpoint) -> String {
        let at = |endpoint: Endpoint| self.addresses(endpoint).get(self.address[endpoint as usize]);
        at(endpoint).or_else(|| at(Endpoint::Listener)).map(SocketAddr::to_string).unwrap_or_default()
    }

    fn begin_connection(&mut self, at: usize, is_first: bool) -> Result<(), Failed> {
        let endpoint = self.endpoint(at);
        let sources = &self.options.sources;
        let source = (!sources.is_empty()).then(|| sources[at % sources.len()]);
        loop {
            let address = self.addresses(endpoint)[self.address[endpoint as usize]];
            let connected = self.reactor.connect(address, source).and_then(|mut socket| {
                self.reactor.register(&mut socket, at as u64)?;
                Ok(socket)
            });
            match connected {
                Ok(socket) => {
                    let tls = self.options.tls.as_ref().map(|tls| tls.0.to(&self.tls_address(endpoint)));
                    let tls = tls.transpose().map_err(Failed::Refused)?;
                    let link =
                        Link::new(socket, tls.as_ref()).map_err(|why| Failed::Refused(why.to_string()))?;
                    self.conns[at].link = Some(link);
                    return Ok(());
                }
                Err(error) => self.try_next_address(at, is_first, &error)?,
            }
        }
    }

    /// What a certificate must be for, where no other name is given.
    fn tls_address(&self, endpoint: Endpoint) -> String {
        match endpoint {
            Endpoint::Gateway if !self.options.host.is_empty() => self.options.host.clone(),
            _ => self.shown(endpoint),
        }
    }

    fn is_standing(&mut self, at: usize, is_first: bool) -> Result<bool, Failed> {
        let Some(link) = &mut self.conns[at].link else { return Ok(false) };
        match link.is_connected(&self.reactor) {
            Ok(false) => Ok(false),
            Ok(true)
                if link.is_handshaking() && !handshakes_on(link, &mut self.reactor, &mut self.scratch)? =>
            {
                Ok(false)
            }
            Ok(true) => {
                self.conns[at].stage = Stage::Open;
                self.alive += 1;
                Ok(true)
            }
            Err(error) => {
                self.try_next_address(at, is_first, &error)?;
                self.begin_connection(at, is_first)?;
                Ok(false)
            }
        }
    }

    /// A name may stand for several addresses; whichever took the first connection takes them all.
    fn try_next_address(&mut self, at: usize, is_first: bool, error: &std::io::Error) -> Result<(), Failed> {
        let endpoint = self.endpoint(at);
        if is_first && self.address[endpoint as usize] + 1 < self.addresses(endpoint).len() {
            self.address[endpoint as usize] += 1;
            return Ok(());
        }
        if is_first
            && kind_of(error) == "refused"
            && Instant::now() < self.starts_until
            && !self.stop.is_asked()
        {
            // It may have been started a moment ago. No socket is there yet, so this is a pause.
            self.address[endpoint as usize] = 0;
            self.conns[at].link = None;
            self.events.clear();
            let polled = self.reactor.poll(Some(START_PAUSE), &mut self.events);
            return polled.map_err(|why| Failed::Gone(format!("the system's poll failed: {why}")));
        }
        let gateway = self.shown(endpoint);
        let how = match (&self.options.layout, endpoint) {
            (Some(load), Endpoint::Listener) => {
                format!(
                    "does a gateway listen there? framegate serve --listen-layout {}={gateway}",
                    load.layout.name()
                )
            }
            _ => "is the gateway running? framegate serve".to_string(),
        };
        Err(match kind_of(error) {
            "no local port" => Failed::Refused(format!(
                "cannot connect to {gateway}: {error}: give addresses of this machine with --bind, more of them if its ports are used up"
            )),
            "no open file" => {
                Failed::Refused(format!("cannot connect to {gateway}: {error}: raise ulimit -n"))
            }
            _ => Failed::Gone(format!("cannot connect to {gateway}: {error}: {how}")),
        })
    }

    /// Native connections say who they are, where they are somebody.
    fn identify(&mut self) -> Result<(), Failed> {
        let Some(identity) = &self.options.identity else { return Ok(()) };
        let auth = identity.frame(PROBE, &self.options.scheme);
        let native: Vec<usize> =
            (0..self.conns.len()).filter(|&at| self.endpoint(at) == Endpoint::Gateway).collect();
        native.iter().for_each(|&at| self.conns[at].control = auth.to_vec());
        self.ask(&native, 1, |status| status == Status::Ok)?;
        native.iter().for_each(|&at| self.conns[at].replies.clear());
        Ok(())
    }

    /// Sends a frame like those to come, and the same once more, and asks what became of them: a gateway
    /// with another secret, a smaller max-payload or deduplication says so before anything is measured.
    fn probe(&mut self) -> Result<(), Failed> {
        for group in 0..self.groups.len() {
            if self.groups[group].devices.is_some() {
                continue;
            }
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

    /// Devices say who they are, and the first sends a frame twice: whether that comes is known before anything is
    /// measured.
    fn log_in(&mut self) -> Result<(), Failed> {
        let Some(devices) = &self.groups[0].devices else { return Ok(()) };
        let mut idle = devices.idle.iter();
        let mut waiting = Vec::new();
        for (at, conn) in self.conns.iter_mut().enumerate() {
            let (login, probe) = match conn.role {
                Role::Publisher { group: 0, index: 0 } => (&devices.senders[0].login, 2),
                Role::Publisher { group: 0, index } => (&devices.senders[index].login, 0),
                Role::Idle => (idle.next().expect("as many as there are connections"), 0),
                _ => continue,
            };
            (conn.control, conn.awaits) = (login.bytes.clone(), login.answers.clone());
            for _ in 0..probe {
                let ring = &self.groups[0].publishers[0].ring;
                conn.control.extend(ring.beginning(0, ring.frame_len()));
                conn.awaits.extend_from_slice(devices.senders[0].replies.get(0));
            }
            waiting.push(at);
        }
        waiting.iter().for_each(|&at| self.enqueue(at));
        let patience = Instant::now() + LOAD_PATIENCE;
        loop {
            self.serve_ready();
            let is_wrong = |conn: &&Conn| conn.stage == Stage::Closed || conn.is_mismatched;
            if let Some(conn) = self.conns.iter().find(is_wrong) {
                return Err(self.not_spoken(conn.is_mismatched));
            }
            waiting.retain(|&at| !self.conns[at].control.is_empty() || !self.conns[at].awaits.is_empty());
            let unseen = self.unseen();
            if waiting.is_empty() && unseen.is_none() {
                break;
            }
            if self.ready.is_empty() {
                if Instant::now() >= patience {
                    return Err(unseen.unwrap_or_else(|| Failed::Gone(self.unanswered())));
                }
                self.wait_in_setup(Endpoint::Listener, patience, "does not answer")?;
                std::mem::take(&mut self.events).into_iter().for_each(|event| self.note(event));
            }
        }
        self.groups[0].foreign = 0;
        for conn in &mut self.conns {
            conn.sequences.iter_mut().for_each(|sequence| *sequence = Sequence::default());
            (conn.arrived, conn.bad) = (0, 0);
        }
        Ok(())
    }

    /// What subscribers have not got of the frame that was sent twice.
    fn unseen(&self) -> Option<Failed> {
        let group = &self.groups[0];
        let of = |conn: &&Conn| matches!(conn.role, Role::Subscriber { group: 0, .. });
        let least = self.conns.iter().filter(of).map(|conn| conn.received).min().unwrap_or(2);
        let name = group.devices.as_ref().map_or("", |devices| devices.layout.name());
        let [gateway, listener] =
            [Endpoint::Gateway, Endpoint::Listener].map(|endpoint| self.shown(endpoint));
        match least {
            _ if group.publishers.is_empty() => None,
            0 => Some(Failed::Gone(format!(
                "what is sent to {listener} does not come to subscribers of {gateway}: are they of one gateway, is \
                 {listener} its listener of layout {name}, and has it the --secret-file that is given here?"
            ))),
            1 => Some(Failed::Refused(format!(
                "of two equal frames one came: the gateway at {gateway} deduplicates, and a load sends the same frames \
                 again and again: start it without --dedup"
            ))),
            _ => None,
        }
    }

    fn unanswered(&self) -> String {
        let name = self.options.layout.as_ref().map_or("", |load| load.layout.name());
        let listener = self.shown(Endpoint::Listener);
        format!(
            "{listener} does not answer as layout {name} declares: is it a listener of that layout, of a gateway without \
             --dedup and without handlers?"
        )
    }

    /// Why a device is not understood.
    fn not_spoken(&self, answers: bool) -> Failed {
        if answers {
            return Failed::Refused(self.unanswered());
        }
        let name = self.options.layout.as_ref().map_or("", |load| load.layout.name());
        let closed = self.closed_early(Endpoint::Listener);
        Failed::Gone(format!("{closed}: is it a listener of layout {name}? its log says why"))
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
                        None => Failed::Gone(self.closed_early(Endpoint::Gateway)),
                    });
                }
                done += usize::from(conn.replies.len() >= replies);
            }
            if done == asked.len() {
                return Ok(());
            }
            if self.ready.is_empty() {
                self.wait_in_setup(Endpoint::Gateway, patience, "does not answer")?;
                std::mem::take(&mut self.events).into_iter().for_each(|event| self.note(event));
            }
        }
    }

    fn closed_early(&self, endpoint: Endpoint) -> String {
        let why =
            self.groups[0].measure.error_kinds().iter().next().map(|(_, _, example)| example.to_string());
        let why = why.unwrap_or_else(|| "it closed the connection".to_string());
        format!("{} is not a gateway, or does not want this load: {why}", self.shown(endpoint))
    }

    fn wait_in_setup(&mut self, endpoint: Endpoint, patience: Instant, what: &str) -> Result<(), Failed> {
        let now = Instant::now();
        if self.stop.is_asked() {
            return Err(Failed::Stopped);
        }
        if now >= patience {
            return Err(Failed::Gone(format!(
                "{} {what}: is it a gateway, and is it well?",
                self.shown(endpoint)
            )));
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
