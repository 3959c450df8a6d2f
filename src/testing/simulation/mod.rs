//! The whole gateway under a seeded simulation: virtual time, sockets that take and give a few bytes
//! at a time, break and stall, a pool that completes in any order; and an oracle that knows what must
//! come of it.

mod again;
mod charged;
mod coverage;
mod devices;
#[cfg(test)]
mod fair;
#[cfg(all(test, feature = "layouts"))]
mod fleets;
mod fragmented;
mod handlers;
#[cfg(test)]
mod hang_ups;
#[cfg(all(test, feature = "access"))]
mod identities;
mod messages;
mod network;
mod oracle;
mod peers;
#[cfg(test)]
mod restart;
mod rng;
#[cfg(test)]
mod scenarios;
mod script;
#[cfg(test)]
mod secure;
mod setup;
mod sink;
mod steering;
mod story;
#[cfg(test)]
mod uncharged;
mod watch;
mod workers;
mod worlds;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::gateway::{Gate, Overflow, Pressure, SlowPolicy};
use crate::runtime::net::Event;
use crate::testing::heap;
use crate::wire::Status;

use charged::Account;
pub use coverage::Coverage;
use devices::Devices;
use handlers::Seen;
use network::{SimNet, World};
use peers::Peer;
use rng::SimRng;
use script::{Rules, Script};
use sink::SinkState;
use steering::Steering;
use workers::{SimPool, Workers};
use worlds::Kind;

/// Turns within which everything must be finished once faults stop.
const TURNS_MAX: usize = 20_000;

/// How long draining may take.
const DRAIN: Duration = Duration::from_secs(60);

/// Runs the simulation of one seed.
///
/// # Panics
/// If the gateway breaks one of its promises; the message names the seed.
pub fn check_seed(seed: u64) -> Coverage {
    let hint = Hint(seed);
    let coverage = Simulation::new(SimRng::from_seed(seed), Devices::of(seed), None).run();
    std::mem::forget(hint);
    coverage
}

/// Runs the simulation that a fuzzer's bytes describe.
///
/// # Panics
/// Likewise.
pub fn check_schedule(data: &[u8]) {
    Simulation::new(SimRng::Bytes(data), None, None).run();
}

/// Says the seed of a run that panics.
struct Hint(u64);

impl Drop for Hint {
    fn drop(&mut self) {
        eprintln!("the failing seed is {}: FRAMEGATE_SEED={} replays it", self.0, self.0);
    }
}

/// A gateway that is wrong in a way that the oracle must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canary {
    /// Its pool swaps two verdicts.
    Verdicts,
    /// It puts two parts in the place of each other.
    Parts,
    /// Its sink says that it has what it let fall.
    Sink,
    /// Its sink files a run under the topic of its first frame.
    Filing,
    /// It puts frames of different topics as one run.
    Mixed,
    /// It tells a sink of a message before the frame that stands before it.
    Order,
    /// It tells a copy at once that all is done.
    Copy,
    /// It keeps something of every turn, and charges nothing for it.
    Leak,
    /// It is not told of resets while it is paused.
    Deaf,
    /// Its pool swaps two runs of a device's frames.
    Runs,
    /// It takes a device's frame for the one behind it.
    Doubled,
}

struct Simulation<'a> {
    rng: SimRng<'a>,
    rules: Rules,
    policy: SlowPolicy,
    /// The clock hardly moves while there are faults: nothing may be closed for being late.
    calm: bool,
    /// Handlers misbehave.
    chaos: bool,
    overflow: Overflow,
    /// Publishers send messages in parts.
    parts: bool,
    /// No lease ends before everything has come.
    patient: bool,
    lease: Duration,
    pressure: Pressure,
    /// Two parts are swapped.
    swaps: bool,
    /// A copy is told DUPLICATE at once.
    hurries: bool,
    /// Sinks, whose word is waited for; they do not give it at the end.
    sinks: Vec<Rc<RefCell<SinkState>>>,
    silent: bool,
    /// Connections break off often.
    fragile: bool,
    /// It drains before everyone has sent everything.
    early: bool,
    /// Until then leases may be longer.
    kept_until: Instant,
    /// It was paused in the turn before.
    was_paused: bool,
    /// What parts could take at least ever; and what they may take now, which is more than their bound where they
    /// had more when that was lowered.
    parts_bytes: (usize, usize),
    /// Turns in which someone waited for room for a part, or for room in a sink.
    parked_turns: u64,
    full_turns: u64,
    /// Turns in which a handler did not start.
    stuck_turns: u64,
    /// Calls at once: no more than these, where the limit was lowered.
    in_flight_max: usize,
    seen: Seen,
    world: Rc<RefCell<World>>,
    workers: Rc<RefCell<Workers>>,
    gate: Gate<SimNet, SimPool>,
    now: Instant,
    peers: Vec<Peer>,
    /// Where there is a listener with a layout.
    devices: Option<Devices>,
    frame_max: usize,
    steering: Steering,
    account: Account,
    /// What it may have allocated beside.
    uncharged: usize,
    /// What a gateway that leaks has kept.
    leak: Option<Vec<Box<[u8]>>>,
    /// Connections that came and went.
    passed: usize,
    turns: u64,
}

impl Simulation<'_> {
    /// Whether any called frame may be refused with this status, beside those that a handler refuses.
    fn may_refuse(&self, status: Status) -> bool {
        match status {
            Status::Rejected => self.rules.handlers && self.chaos,
            // Nothing is refused for want of room in the memory.
            Status::Busy => self.rules.handlers && self.overflow == Overflow::Reject,
            _ => false,
        }
    }

    fn run(mut self) -> Coverage {
        for _ in 0..self.rng.below(3) {
            let index = self.peers.len();
            let script = Script::subscriber(index, &self.rules, &mut self.rng);
            self.connect(script, true);
        }
        if self.rules.kind == Kind::Collecting {
            for _ in 0..1 + self.rng.below(6) {
                let script = Script::collector(self.peers.len(), &self.rules, &mut self.rng);
                self.connect(script, true);
            }
        }
        // Who subscribed before anyone published must get everything.
        self.finish(|peer| peer.has_all_replies());
        if self.rules.proven {
            let script = Script::harmless(self.peers.len(), &self.rules);
            self.connect(script, false);
            self.finish(|peer| peer.is_subscriber || peer.is_closed());
        }
        let publishers = 1 + self.rng.below(self.rules.kind.publishers());
        let hands = match self.parts {
            true => fragmented::deal(publishers, &self.rules, &mut self.rng),
            false => (0..publishers).map(|_| Vec::new()).collect(),
        };
        for hand in &hands {
            let script = Script::publisher(self.peers.len(), hand, &self.rules, &mut self.rng);
            let lie = if self.swaps { script.with_parts_swapped(&self.rules.scheme) } else { None };
            let hurried = if self.hurries { script.hurried_reply(&self.rules.scheme) } else { None };
            self.connect(script, false);
            let peer = self.peers.last_mut().expect("just pushed");
            (peer.lie, peer.received) = (lie, hurried.unwrap_or_default());
        }
        if let Some(devices) = &mut self.devices {
            devices.connect(&self.rules, &self.world);
        }
        for _ in 0..self.rng.below(self.rules.kind.steps()) {
            if self.rng.is_used_up() {
                break;
            }
            self.step();
        }
        if self.rng.one_in(4) {
            self.pause_until_quiet();
        }
        self.resume();
        // Sinks that give their word no more are waited for until the end of draining.
        self.silent = !self.sinks.is_empty() && self.rng.one_in(8);
        self.early = self.parts && self.rng.one_in(8);
        if !self.silent && !self.early {
            self.devices.iter_mut().for_each(|devices| devices.must_end = true);
            self.finish(|peer| peer.is_subscriber || peer.is_closed());
        }
        self.drain();
        self.sinks.iter().for_each(|sink| sink.borrow_mut().end());
        self.check_answered();
        oracle::check(&self)
    }

    /// The connections of a publisher: its own, which comes first, and those on which it sent everything again.
    fn connections_of(&self, peer: u64) -> Vec<&Peer> {
        match self.rules.resends {
            true => self.peers.iter().filter(|other| other.script.owner == Some(peer)).collect(),
            false => vec![&self.peers[peer as usize]],
        }
    }

    fn connect(&mut self, mut script: Script, is_subscriber: bool) {
        script.owner.get_or_insert(self.peers.len() as u64);
        let room = *self.rng.pick(&[100, 1_000, 10_000]);
        let wire = self.world.borrow_mut().connect(room);
        let frozen = self.rng.one_in(4);
        self.peers.push(Peer::new(wire, script, is_subscriber, frozen, self.world.clone()));
    }

    /// Something happens: to a peer, to a handler, to the workers, to the clock.
    fn step(&mut self) {
        if let Some(devices) = &mut self.devices {
            devices.step(&self.world, self.fragile);
        }
        if let Kind::Passing(after) = self.rules.kind
            && self.rng.one_in(4)
        {
            return self.come_and_go(after);
        }
        if self.rules.handlers && self.rng.below(3) > 0 {
            return self.step_calls();
        }
        if !self.sinks.is_empty() && self.rng.one_in(4) {
            let sink = self.rng.pick(&self.sinks).clone();
            sink.borrow_mut().act(&mut self.rng);
        }
        let rng = &mut self.rng;
        let at = rng.below(self.peers.len());
        let peer = &mut self.peers[at];
        match rng.below(16) {
            0..7 => {
                let n = *rng.pick(&[1, 10, 100, 1_000, 10_000]);
                peer.send(rng.below(n) + 1);
            }
            // It stalls for a while, or goes on.
            7..10 if rng.one_in(32) => peer.frozen = !peer.frozen,
            7..10 if !peer.frozen => {
                let n = *rng.pick(&[1, 100, 10_000]);
                peer.read(n);
            }
            7..10 => {}
            10..13 => self.workers.borrow_mut().work(rng),
            13 => self.world.borrow_mut().wires[peer.wire].nudge(),
            14 if self.rules.resends && rng.one_in(3) => {
                peer.break_off(rng.one_in(2));
                if peer.broke {
                    let script = peer.script.resent();
                    self.connect(script, false);
                }
            }
            14 if rng.one_in(if self.fragile { 3 } else { 20 }) => peer.break_off(rng.one_in(2)),
            14 if rng.one_in(10) => self.world.borrow_mut().accept_fails = true,
            14 => self.steer(),
            _ if self.calm => self.now += Duration::from_micros(rng.below(200) as u64),
            _ => self.now += Duration::from_millis(*rng.pick(&[1, 20, 150, 1_200, 6_000])),
        }
        if self.rng.below(3) < 2 {
            self.turn_if_due();
        }
    }

    fn step_calls(&mut self) {
        let (calm, chaos, rng) = (self.calm, self.chaos, &mut self.rng);
        match rng.below(100) {
            0 => self.steer_calls(),
            1 if !calm => self.world.borrow_mut().start_fails = true,
            _ => {
                let programs = &mut self.world.borrow_mut().programs;
                let alive: Vec<usize> = (0..programs.len()).filter(|&at| programs[at].is_alive()).collect();
                if !alive.is_empty() {
                    programs[*rng.pick(&alive)].act(chaos, &self.rules, &mut self.seen, rng);
                }
            }
        }
        if self.rng.below(3) < 2 {
            self.turn();
        }
    }

    /// What a sink refused is told so.
    fn is_refused(&self, name: fragmented::Name) -> bool {
        self.sinks.iter().any(|sink| sink.borrow().refused.contains_key(&name))
    }

    /// Handlers answer, and sinks give their word.
    fn calls_go_on(&mut self) -> bool {
        let mut went_on = false;
        for sink in self.sinks.iter().filter(|_| !self.silent) {
            went_on |= sink.borrow_mut().go_on(&mut self.rng);
        }
        let programs = &mut self.world.borrow_mut().programs;
        for program in programs {
            went_on |= program.go_on(&self.rules, &mut self.seen, &mut self.rng);
        }
        went_on
    }

    /// A turn, if the loop would not sleep now. Whether something was done.
    fn turn_if_due(&mut self) -> bool {
        let events = self.world.borrow_mut().take_events();
        let has_done = self.workers.borrow().has_done() || self.sinks.iter().any(|s| s.borrow().has_done());
        let is_due = self.gate.next_deadline().is_some_and(|at| at <= self.now);
        if events.is_empty() && !has_done && !is_due {
            // It would sleep, unless it hashed something itself instead, which the next turn takes in.
            return self.within(|gate, _| gate.help());
        }
        self.turn_with(&events);
        true
    }

    /// The gateway does something: what it allocates for that is its own.
    fn within<T>(&mut self, act: impl FnOnce(&mut Gate<SimNet, SimPool>, Instant) -> T) -> T {
        let _scope = heap::gateway();
        act(&mut self.gate, self.now)
    }

    /// The turn that follows a command.
    fn turn(&mut self) {
        let events = self.world.borrow_mut().take_events();
        self.turn_with(&events);
    }

    fn turn_with(&mut self, events: &[Event]) {
        self.turns += 1;
        self.world.borrow_mut().now = self.now;
        let unread = self.unread_while_full();
        self.within(|gate, now| gate.turn(now, events));
        if let Some(leak) = &mut self.leak {
            let _scope = heap::gateway();
            leak.push(vec![0; 100].into());
        }
        self.take_looks();
        let snapshot = self.gate.describe_state();
        self.check_steering(&snapshot);
        self.account.check(&self.gate, self.uncharged);
        self.check_unread(&unread);
        self.check_broken();
        self.check_parts(&snapshot);
        if !self.sinks.is_empty()
            && self.turns.is_multiple_of(if self.rules.kind.is_large() { 500 } else { 8 })
        {
            self.check_confirmed();
        }
        if self.turns.is_multiple_of(8) {
            self.check_devices();
        }
        self.gate.check_invariants(self.steering.memory_max);
        let (in_flight, max) = self.gate.calls_in_flight();
        self.in_flight_max = max.max(self.in_flight_max.min(in_flight));
        assert!(in_flight <= self.in_flight_max, "5: {in_flight} calls at once");
        let held: usize =
            self.world.borrow().programs.iter().filter(|p| p.is_alive()).map(|p| p.held()).sum();
        assert!(held <= in_flight, "5: handlers have {held} calls of {in_flight}");
    }

    /// Faults stop: everyone sends and reads all there is, until `done` holds for every peer.
    fn finish(&mut self, done: impl Fn(&Peer) -> bool) {
        self.turn();
        for _ in 0..self.turns_max() {
            let mut went_on = false;
            for peer in &mut self.peers {
                went_on |= peer.go_on();
            }
            went_on |= self.devices_go_on();
            while self.workers.borrow().has_work() {
                self.workers.borrow_mut().work(&mut self.rng);
            }
            went_on |= self.calls_go_on();
            went_on |= self.turn_if_due();
            if went_on {
                continue;
            }
            let are_devices = self.devices.as_ref().is_none_or(|devices| devices.are_done(&self.world));
            if are_devices && self.peers.iter().all(&done) {
                return;
            }
            // Only the clock can bring something.
            let next = self.gate.next_deadline();
            self.now = next.expect("the gateway would sleep for ever, and not everything is done");
        }
        let left = (0..self.peers.len()).filter(|&at| !done(&self.peers[at])).collect::<Vec<usize>>();
        let snapshot = self.gate.describe();
        let turns = self.turns_max();
        panic!("not everything is done after {turns} turns without faults: peers {left:?}, {snapshot:?}");
    }

    fn devices_go_on(&mut self) -> bool {
        self.devices.as_mut().is_some_and(|devices| devices.go_on(&self.world))
    }

    fn turns_max(&self) -> usize {
        if self.rules.kind.is_large() { 10 * TURNS_MAX } else { TURNS_MAX }
    }

    fn drain(&mut self) {
        let began = self.now;
        self.within(|gate, now| gate.begin_drain(now));
        self.turn();
        for turns in 0.. {
            assert!(turns < self.turns_max(), "draining does not end");
            let went_on = self.turn_if_due();
            let mut moved = false;
            for peer in &mut self.peers {
                moved |= peer.go_on();
            }
            moved |= self.devices_go_on();
            moved |= self.calls_go_on();
            if self.gate.is_drained() && !self.workers.borrow().has_work() && !went_on {
                assert!(!self.calm || self.silent || self.now < began + DRAIN, "draining waited for its end");
                return;
            }
            while self.workers.borrow().has_work() {
                self.workers.borrow_mut().work(&mut self.rng);
                moved = true;
            }
            // Only the clock can bring something.
            if !went_on
                && !moved
                && let Some(next) = self.gate.next_deadline()
            {
                self.now = self.now.max(next);
            }
        }
    }
}

#[cfg(test)]
mod tests;
