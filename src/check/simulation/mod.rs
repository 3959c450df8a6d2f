//! The whole gateway under a seeded simulation: virtual time, sockets that take and give a few bytes
//! at a time, break and stall, a pool that completes in any order; and an oracle that knows what must
//! come of it.

mod dice;
mod handlers;
mod network;
mod oracle;
mod peers;
mod script;
mod shelf;
mod steering;
mod workers;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::frame::Scheme;
use crate::frame::{Header, Kind, Status};
use crate::gate::{BadDigestPolicy, Config, Gate, Overflow, SlowPolicy};
use crate::memory::Memory;
use crate::net::Event;

use dice::Dice;
use handlers::Seen;
use network::{SimNet, World};
use peers::Peer;
use script::{Fate, Rules, Script};
use shelf::{Shelf, SimSink};
use steering::Steering;
use workers::{SimPool, Workers};

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
    let coverage = Simulation::new(Dice::Seed(seed), false).run();
    std::mem::forget(hint);
    coverage
}

/// Runs the simulation that a fuzzer's bytes describe.
///
/// # Panics
/// Likewise.
pub fn check_schedule(data: &[u8]) {
    Simulation::new(Dice::Bytes(data), false).run();
}

/// Says the seed of a run that panics.
struct Hint(u64);

impl Drop for Hint {
    fn drop(&mut self) {
        eprintln!("the failing seed is {}: FRAMEGATE_SEED={} replays it", self.0, self.0);
    }
}

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
    /// Calls answered, calls tried again, frames told BUSY.
    pub calls: [u64; 3],
    /// Frames confirmed by sinks, refused by one, forgotten at the end.
    pub sunk: [u64; 3],
    /// Pauses that became quiet, settings changed, looks at every connection.
    pub steered: [u64; 3],
    /// Turns.
    pub turns: u64,
}

impl std::ops::AddAssign for Coverage {
    fn add_assign(&mut self, other: Coverage) {
        self.frames += other.frames;
        self.delivered += other.delivered;
        self.turns += other.turns;
        for (all, one) in [
            (&mut self.verified[..], &other.verified[..]),
            (&mut self.losses[..], &other.losses[..]),
            (&mut self.closed[..], &other.closed[..]),
            (&mut self.calls[..], &other.calls[..]),
            (&mut self.sunk[..], &other.sunk[..]),
            (&mut self.steered[..], &other.steered[..]),
        ] {
            all.iter_mut().zip(one).for_each(|(all, one)| *all += one);
        }
    }
}

struct Simulation<'a> {
    dice: Dice<'a>,
    rules: Rules,
    policy: SlowPolicy,
    /// The clock hardly moves while there are faults: nothing may be closed for being late.
    calm: bool,
    /// Handlers misbehave.
    chaos: bool,
    overflow: Overflow,
    /// Sinks, whose word is waited for; they do not give it at the end.
    shelves: Vec<Rc<RefCell<Shelf>>>,
    silent: bool,
    /// Calls at once: no more than these, where the limit was lowered.
    in_flight_max: usize,
    seen: Seen,
    world: Rc<RefCell<World>>,
    workers: Rc<RefCell<Workers>>,
    gate: Gate<SimNet, SimPool>,
    now: Instant,
    peers: Vec<Peer>,
    frame_max: usize,
    steering: Steering,
    turns: u64,
}

/// As many handlers and calls as there are ever set to be.
fn most_calls() -> Config {
    Config { handlers: 3, max_in_flight: 6, ..Config::default() }
}

impl<'a> Simulation<'a> {
    fn new(mut dice: Dice<'a>, canary: bool) -> Simulation<'a> {
        let scheme = if dice.one_in(4) { Scheme::keyed(b"secret") } else { Scheme::Sha256 };
        let on_bad_digest =
            *dice.pick(&[BadDigestPolicy::Drop, BadDigestPolicy::Drop, BadDigestPolicy::Close]);
        let payload_max = *dice.pick(&[200, 3_000, 20_000]);
        let handlers = dice.one_in(3);
        let rules =
            Rules { scheme: scheme.clone(), dedup: dice.one_in(4), on_bad_digest, payload_max, handlers };
        // What becomes of a copy depends on what became of the first, so that must be certain.
        let certain = handlers && rules.dedup;
        let calm = certain || dice.one_in(2);
        let policy = *dice.pick(&[SlowPolicy::Disconnect, SlowPolicy::Pause, SlowPolicy::Drop]);
        let mut config = Config {
            payload_max,
            connections_max: if dice.one_in(16) { 3 } else { 100 },
            outbox: *dice.pick(&[1 << 10, 1 << 13, 1 << 16, 1 << 20]),
            slow: policy,
            slow_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(*dice.pick(&[300, 5])),
            on_bad_digest,
            scheme: scheme.clone(),
            dedup: rules.dedup.then_some(Duration::from_secs(100_000)),
            drain: DRAIN,
            ..Config::default()
        };
        if handlers {
            config.handler = vec!["handler".into()];
            config.handlers = 1 + dice.below(3);
            config.handler_timeout = Duration::from_secs(3);
            config.max_in_flight = *dice.pick(&[1, 2, 6]);
            config.max_queued = *dice.pick(&[20, 3, 1, 0]);
            config.overflow = *dice.pick(&[Overflow::Pause, Overflow::Pause, Overflow::Reject]);
            if calm {
                // A handler that failed is started again after a pause, and only the clock brings that.
                config.idle_timeout = Duration::from_secs(300);
            }
        }
        let chaos = !certain && (!calm || dice.one_in(2));
        if !chaos {
            // Nobody hangs, but the dice may leave a program alone for long.
            config.handler_timeout = Duration::from_secs(3600);
        }
        if certain {
            config.overflow = Overflow::Pause;
        }
        let (overflow, in_flight_max) = (config.overflow, config.max_in_flight);
        // A window that forgets early would need a model of its own here; it has one in its room.
        let more = if rules.dedup { 1 << 20 } else { *dice.pick(&[0, 1 << 13, 1 << 16]) };
        config.memory = match handlers {
            false => Memory::least(config.frame_max()),
            true => Memory::least_with_answers(config.frame_max(), most_calls().answers_beside()),
        } + more;
        if certain {
            // A quarter of it is for answers: room for those of all calls to wait.
            config.memory += 4 * most_calls().max_in_flight * config.frame_max();
        }

        let world = Rc::new(RefCell::new(World::listening()));
        let workers = Rc::new(RefCell::new(Workers::new(scheme, canary)));
        let now = Instant::now();
        let (frame_max, steering) = (config.frame_max(), Steering::default());
        let mut gate = Gate::new(SimNet(world.clone()), SimPool(workers.clone()), config, now);
        gate.start_handlers().expect("they start");
        let mut shelves = Vec::new();
        for _ in 0..*dice.pick(&[0, 0, 0, 0, 0, 1, 1, 2]) {
            let (alone, refuses, room) = (dice.one_in(2), !rules.dedup, *dice.pick(&[1, 3, 100]));
            let shelf = Rc::new(RefCell::new(Shelf::new(alone, refuses, room)));
            gate.add_sink(Box::new(SimSink(shelf.clone())));
            shelves.push(shelf);
        }
        Simulation {
            dice,
            rules,
            policy,
            calm,
            chaos,
            overflow,
            shelves,
            silent: false,
            in_flight_max,
            seen: Seen::new(),
            world,
            workers,
            gate,
            now,
            peers: Vec::new(),
            frame_max,
            steering,
            turns: 0,
        }
    }

    /// The least memory with which this gateway works.
    fn memory_min(&self) -> usize {
        match self.rules.handlers {
            false => Memory::least(self.frame_max),
            true => Memory::least_with_answers(self.frame_max, most_calls().answers_beside()),
        }
    }

    /// Whether any called frame may be refused with this status, beside those that a handler refuses.
    fn may_refuse(&self, status: Status) -> bool {
        match status {
            Status::Rejected => self.rules.handlers && self.chaos,
            // Under either policy an answer may find no room to wait in.
            Status::Busy => self.rules.handlers && !self.rules.dedup,
            _ => false,
        }
    }

    fn run(mut self) -> Coverage {
        for _ in 0..self.dice.below(3) {
            let index = self.peers.len();
            let script = Script::subscriber(index, &self.rules, &mut self.dice);
            self.connect(script, true);
        }
        // Who subscribed before anyone published must get everything.
        self.finish(|peer| peer.has_all_replies());
        for _ in 0..1 + self.dice.below(4) {
            let index = self.peers.len();
            let mut script = Script::default();
            for _ in 0..self.dice.below(40) {
                script.add_any(index, &self.rules, &mut self.dice);
            }
            self.connect(script, false);
        }
        for _ in 0..self.dice.below(400) {
            if self.dice.is_used_up() {
                break;
            }
            self.step();
        }
        if self.dice.one_in(4) {
            self.pause_until_quiet();
        }
        self.resume();
        // Sinks that give their word no more are waited for until the end of draining.
        self.silent = !self.shelves.is_empty() && self.dice.one_in(8);
        if !self.silent {
            self.finish(|peer| peer.is_subscriber || peer.is_closed());
        }
        self.drain();
        self.shelves.iter().for_each(|shelf| shelf.borrow_mut().end());
        self.check_answered();
        oracle::check(&self)
    }

    fn connect(&mut self, script: Script, is_subscriber: bool) {
        let room = *self.dice.pick(&[100, 1_000, 10_000]);
        let wire = self.world.borrow_mut().connect(room);
        let frozen = self.dice.one_in(4);
        self.peers.push(Peer::new(wire, script, is_subscriber, frozen, self.world.clone()));
    }

    /// Something happens: to a peer, to a handler, to the workers, to the clock.
    fn step(&mut self) {
        if self.rules.handlers && self.dice.below(3) > 0 {
            return self.step_calls();
        }
        if !self.shelves.is_empty() && self.dice.one_in(4) {
            let shelf = self.dice.pick(&self.shelves).clone();
            shelf.borrow_mut().act(&mut self.dice);
        }
        let dice = &mut self.dice;
        let at = dice.below(self.peers.len());
        let peer = &mut self.peers[at];
        match dice.below(16) {
            0..7 => {
                let n = *dice.pick(&[1, 10, 100, 1_000, 10_000]);
                peer.send(dice.below(n) + 1);
            }
            7..10 if !peer.frozen => {
                let n = *dice.pick(&[1, 100, 10_000]);
                peer.read(n);
            }
            7..10 => {}
            10..13 => self.workers.borrow_mut().work(dice),
            13 => self.world.borrow_mut().wires[peer.wire].nudge(),
            14 if dice.one_in(20) => peer.break_off(),
            14 if dice.one_in(10) => self.world.borrow_mut().accept_fails = true,
            14 => self.steer(),
            _ if self.calm => self.now += Duration::from_micros(dice.below(200) as u64),
            _ => self.now += Duration::from_millis(*dice.pick(&[1, 20, 150, 1_200, 6_000])),
        }
        if self.dice.below(3) < 2 {
            self.turn_if_due();
        }
    }

    fn step_calls(&mut self) {
        let (calm, chaos, dice) = (self.calm, self.chaos, &mut self.dice);
        match dice.below(100) {
            0 => self.steer_calls(),
            1 if !calm => self.world.borrow_mut().start_fails = true,
            _ => {
                let programs = &mut self.world.borrow_mut().programs;
                let alive: Vec<usize> = (0..programs.len()).filter(|&at| programs[at].is_alive()).collect();
                if !alive.is_empty() {
                    programs[*dice.pick(&alive)].act(chaos, &self.rules, &mut self.seen, dice);
                }
            }
        }
        if self.dice.below(3) < 2 {
            self.turn();
        }
    }

    /// What a sink refused is told so.
    fn is_refused(&self, name: shelf::Name) -> bool {
        self.shelves.iter().any(|shelf| shelf.borrow().refused.contains(&name))
    }

    /// Who was told OK was told so after every sink had confirmed.
    fn check_confirmed(&self) {
        for (at, peer) in self.peers.iter().enumerate().filter(|(_, peer)| !peer.is_subscriber) {
            let mut decoder = peer.decoder_of_all();
            while let Ok(Some(frame)) = decoder.next_frame() {
                let Header { kind, status, id, .. } = frame.header;
                let is_put = |sent: &script::Sent| sent.id == id && sent.fate == Fate::Deliver;
                // A copy has the id of the first, and is told when that is done.
                let says_done = [Status::Ok, Status::Duplicate].map(|status| status as u16).contains(&status);
                if kind == Kind::Reply && says_done && peer.script.sent.iter().any(is_put) {
                    let confirmed =
                        |shelf: &Rc<RefCell<Shelf>>| shelf.borrow().confirmed.contains(&(at as u64, id));
                    assert!(
                        self.shelves.iter().all(confirmed),
                        "{status} before {id} of peer {at} is confirmed"
                    );
                }
            }
        }
    }

    /// Handlers answer, and sinks give their word.
    fn calls_go_on(&mut self) -> bool {
        let mut went_on = false;
        for shelf in self.shelves.iter().filter(|_| !self.silent) {
            went_on |= shelf.borrow_mut().act(&mut self.dice);
        }
        let programs = &mut self.world.borrow_mut().programs;
        for program in programs {
            went_on |= program.go_on(&self.rules, &mut self.seen, &mut self.dice);
        }
        went_on
    }

    /// A turn, if the loop would not sleep now. Whether there was one.
    fn turn_if_due(&mut self) -> bool {
        let events = self.world.borrow_mut().take_events();
        let has_done = self.workers.borrow().has_done() || self.shelves.iter().any(|s| s.borrow().has_done());
        let is_due = self.gate.next_deadline().is_some_and(|at| at <= self.now);
        if events.is_empty() && !has_done && !is_due {
            // It would sleep.
            self.gate.help();
            return false;
        }
        self.turn_with(&events);
        true
    }

    /// The turn that follows a command.
    fn turn(&mut self) {
        let events = self.world.borrow_mut().take_events();
        self.turn_with(&events);
    }

    fn turn_with(&mut self, events: &[Event]) {
        self.turns += 1;
        self.gate.turn(self.now, events);
        self.check_steering();
        if !self.shelves.is_empty() && self.turns.is_multiple_of(8) {
            self.check_confirmed();
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
        for _ in 0..TURNS_MAX {
            let mut went_on = false;
            for peer in &mut self.peers {
                went_on |= peer.go_on();
            }
            while self.workers.borrow().has_work() {
                self.workers.borrow_mut().work(&mut self.dice);
            }
            went_on |= self.calls_go_on();
            went_on |= self.turn_if_due();
            if went_on {
                continue;
            }
            if self.peers.iter().all(&done) {
                return;
            }
            // Only the clock can bring something.
            let next = self.gate.next_deadline();
            self.now = next.expect("the gateway would sleep for ever, and not everything is done");
        }
        panic!("not everything is done after {TURNS_MAX} turns without faults");
    }

    fn drain(&mut self) {
        let began = self.now;
        self.gate.begin_drain(began);
        self.turn();
        for turns in 0.. {
            assert!(turns < TURNS_MAX, "draining does not end");
            let went_on = self.turn_if_due();
            let mut moved = false;
            for peer in &mut self.peers {
                moved |= peer.go_on();
            }
            moved |= self.calls_go_on();
            if self.gate.is_drained() && !self.workers.borrow().has_work() && !went_on {
                assert!(!self.calm || self.silent || self.now < began + DRAIN, "draining waited for its end");
                return;
            }
            while self.workers.borrow().has_work() {
                self.workers.borrow_mut().work(&mut self.dice);
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
mod tests {
    use super::*;

    /// How many seeds the ordinary test run tries; FRAMEGATE_SEEDS=100000 for a long one.
    const SEEDS: u64 = 3_000;

    #[test]
    fn seeds() {
        if let Ok(seed) = std::env::var("FRAMEGATE_SEED") {
            let coverage = check_seed(seed.parse().expect("FRAMEGATE_SEED is a number"));
            println!("{coverage:#?}");
            return;
        }
        let seeds = std::env::var("FRAMEGATE_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number"));
        let start = Instant::now();
        let mut all = Coverage::default();
        for seed in 0..seeds {
            all += check_seed(seed);
        }
        let rate = seeds as f64 / start.elapsed().as_secs_f64();
        println!("{seeds} seeds, {rate:.0} a second: {all:#?}");
        let Coverage { frames, delivered, verified, losses, closed, calls, sunk, steered, turns } = all;
        let counts = [&[frames, delivered, turns][..], &verified, &losses, &closed, &calls, &sunk, &steered];
        for (i, count) in counts.iter().flat_map(|counts| counts.iter()).enumerate() {
            assert!(*count > 0, "number {i} of the coverage was never reached");
        }
    }

    /// The oracle is awake: a pool that swaps two verdicts does not get past it.
    #[test]
    fn the_canary_is_caught() {
        let caught = (0..300).any(|seed| {
            let run = || Simulation::new(Dice::Seed(seed), true).run();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
        });
        assert!(caught, "swapped verdicts were not noticed");
    }
}
