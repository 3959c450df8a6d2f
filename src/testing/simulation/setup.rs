//! How a run begins: what the gateway is set to do, and what is around it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::charged::Account;
use super::devices::Devices;
use super::handlers::Seen;
use super::network::{SimNet, World};
use super::rng::SimRng;
use super::script::Rules;
use super::sink::{SimSink, SinkState};
use super::steering::Steering;
use super::workers::{SimPool, Workers};
use super::worlds::Kind;
use super::{Canary, DRAIN, Simulation};
use crate::core::limits::READ_MAX;
use crate::core::memory::Memory;
use crate::gateway::{BadDigestPolicy, Config, Gate, Overflow, Pressure, SlowPolicy};
use crate::testing::heap;
use crate::wire::Scheme;

/// A window that does not end during a run, in milliseconds.
const FOR_EVER: u64 = 100_000_000;

/// As many handlers and calls as there are ever set to be.
fn most_calls() -> Config {
    Config { handlers: 3, max_in_flight: 6, ..Config::default() }
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        mut rng: SimRng<'a>,
        devices: Option<Devices>,
        canary: Option<Canary>,
    ) -> Simulation<'a> {
        let scheme = if rng.one_in(4) { Scheme::keyed(b"secret") } else { Scheme::Sha256 };
        let parts = rng.one_in(2);
        let on_bad_digest = match parts && rng.one_in(2) {
            // So that more of the parts have an effect.
            true => BadDigestPolicy::Drop,
            false => *rng.pick(&[BadDigestPolicy::Drop, BadDigestPolicy::Drop, BadDigestPolicy::Close]),
        };
        // Large frames are larger than a read.
        let large = if rng.is_fuzzed() { READ_MAX + 2_000 } else { 20_000 };
        let payload_max = *rng.pick(&[200, 3_000, large]);
        let handlers = rng.one_in(3);
        let dedup = rng.one_in(3);
        // A window that ends, or one that has no room for all of them.
        let window = match dedup && !handlers {
            true => *rng.pick(&[FOR_EVER, FOR_EVER, 5_000, 1_000]),
            false => FOR_EVER,
        };
        let is_cramped = dedup && !handlers && rng.one_in(4);
        // What becomes of a copy depends on what became of the first, so that must be certain.
        let certain = handlers && dedup;
        let calm = certain || rng.one_in(2);
        let kind = Kind::draw(&mut rng, calm);
        let large = kind.is_large();
        // Or the first frames find out whether the handlers work, even where they die of all of those.
        let proven = handlers && !rng.one_in(4);
        let rules = Rules {
            scheme: scheme.clone(),
            dedup,
            forgets: window < FOR_EVER || is_cramped,
            window: (dedup && !is_cramped).then_some(Duration::from_millis(window)),
            on_bad_digest,
            payload_max,
            resends: dedup
                && !handlers
                && !parts
                && window == FOR_EVER
                && !is_cramped
                && !large
                && rng.one_in(2),
            frames_max: kind.frames(&mut rng),
            kind,
            slow: handlers && rng.one_in(3),
            handlers,
            poison: handlers,
            proven,
            parts_max: *rng.pick(&[1024, 1024, 9, 3]),
        };
        let patient = calm && parts && rng.one_in(3);
        let policy = *rng.pick(&[SlowPolicy::Disconnect, SlowPolicy::Pause, SlowPolicy::Drop]);
        let mut config = Config {
            payload_max,
            connections_max: if rng.one_in(16) { 3 } else { 1_000 },
            outbox: *rng.pick(&[1 << 10, 1 << 13, 1 << 16, 1 << 20]),
            slow: policy,
            slow_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(*rng.pick(&[300, 5])),
            on_bad_digest,
            scheme: scheme.clone(),
            dedup: rules.dedup.then_some(Duration::from_millis(window)),
            drain: DRAIN,
            // Parts that wait for room would be looked at so often that their leases take more turns than a run has.
            frame_timeout: Duration::from_millis(match calm || parts {
                true => 30_000,
                false => *rng.pick(&[30_000, 1_000, 100]),
            }),
            max_parts: rules.parts_max,
            ..Config::default()
        };
        if parts {
            config.lease_pressure = *rng.pick(&[Pressure::Pause, Pressure::Expire]);
            config.lease = Duration::from_millis(*rng.pick(&[30_000, 2_000, 500]));
            if patient {
                config.lease = Duration::from_secs(20);
            }
            // A hundred connections would wait for each other's leases for longer than a run lasts.
            config.max_keys = if large { 1_000 } else { *rng.pick(&[1_000, 1_000, 3, 1]) };
            config.parts_memory = *rng.pick(&[1 << 20, 1 << 20, 1 << 14, 6_000, 2_000]);
            if calm {
                // The clock brings the ends of leases, in which nobody is to have been idle too long.
                config.idle_timeout = Duration::from_secs(1_000_000);
            }
        }
        if handlers {
            config.handler = vec!["handler".into()];
            config.handlers = 1 + rng.below(3);
            config.handler_timeout = Duration::from_secs(3);
            config.max_in_flight = *rng.pick(&[1, 2, 6]);
            config.max_queued = *rng.pick(&[20, 3, 1, 0]);
            config.overflow = *rng.pick(&[Overflow::Pause, Overflow::Pause, Overflow::Reject]);
            if calm && !parts {
                // A handler that failed is started again after a pause, and only the clock brings that.
                config.idle_timeout = Duration::from_secs(300);
            }
        }
        let chaos = !certain && (!calm || rng.one_in(2));
        if !chaos {
            // Nobody hangs, but chance may leave a program alone for long.
            config.handler_timeout = Duration::from_secs(3600);
        }
        if certain {
            config.overflow = Overflow::Pause;
        }
        let (overflow, in_flight_max) = (config.overflow, config.max_in_flight);
        // A window that forgets early would need a model of its own here; it has one in its room.
        let more = match rules.dedup && !is_cramped {
            true => *rng.pick(&[1 << 20, 1 << 18]),
            false => *rng.pick(&[0, 1 << 13, 1 << 16, 1 << 20]),
        };
        config.memory = match handlers {
            false => Memory::least(config.frame_max()),
            true => Memory::least_with_answers(config.frame_max(), most_calls().answer_room()),
        } + more;
        if dedup {
            // An eighth is the digests'.
            config.memory = config.memory.div_ceil(7) * 8;
        }
        if parts && !rng.one_in(4) {
            // Or there is hardly room for a message.
            config.memory += 1 << 18;
        }
        if large {
            // Room for the patterns of so many: what is refused for want of it would need a model of its own here.
            config.memory += 1 << 17;
        }
        if large && dedup && !is_cramped {
            // Room for the digests of so many frames.
            config.memory += 1 << 23;
        }
        if kind == Kind::Collecting {
            // Room for what they subscribe to.
            config.memory += 1 << 23;
        }

        config.listeners = devices.iter().map(Devices::listener).collect();
        let fragile = rng.one_in(8);
        let now = Instant::now();
        let world = Rc::new(RefCell::new(World::listening(now)));
        world.borrow_mut().deaf = canary == Some(Canary::Deaf);
        let workers = Rc::new(RefCell::new(Workers::new(scheme, canary)));
        let (lease, pressure) = (config.lease, config.lease_pressure);
        let (frame_max, steering) = (config.frame_max(), Steering::default());
        let mut account = Account::begin();
        let mut gate = {
            let _scope = heap::gateway();
            Gate::new(SimNet(world.clone()), SimPool(workers.clone()), config, now)
        };
        {
            let _scope = heap::gateway();
            gate.start_handlers().expect("they start");
        }
        let mut sinks = Vec::new();
        for _ in 0..*rng.pick(&[0, 0, 0, 0, 1, 1, 2, 2]) {
            let (alone, room) = (rng.one_in(2), *rng.pick(&[1, 3, 100]));
            // What is sent again because it was forgotten, or on another connection, is judged without them.
            let refuses = !rules.dedup || rng.one_in(2) && !rules.forgets && !rules.resends;
            let sink = SinkState::new(alone, refuses, rules.dedup, room, canary);
            let sink = sink.in_world(rules.forgets, *rng.pick(&[8, 8, 200]));
            let sink = Rc::new(RefCell::new(sink));
            let adapter = Box::new(SimSink(sink.clone()));
            let _scope = heap::gateway();
            gate.add_sink(adapter);
            let _scope = heap::world();
            sinks.push(sink);
        }
        account.built();
        Simulation {
            rng,
            rules,
            policy,
            calm,
            chaos,
            overflow,
            parts,
            patient,
            lease,
            pressure,
            swaps: canary == Some(Canary::Parts),
            hurries: canary == Some(Canary::Copy),
            sinks,
            silent: false,
            fragile,
            early: false,
            kept_until: now,
            was_paused: false,
            parts_bytes: (usize::MAX, 0),
            parked_turns: 0,
            full_turns: 0,
            stuck_turns: 0,
            in_flight_max,
            seen: Seen::new(),
            world,
            workers,
            gate,
            now,
            peers: Vec::new(),
            devices,
            frame_max,
            steering,
            account,
            uncharged: 0,
            leak: (canary == Some(Canary::Leak)).then(Vec::new),
            passed: 0,
            turns: 0,
        }
    }

    /// The least memory with which this gateway works.
    pub(super) fn memory_min(&self) -> usize {
        match self.rules.handlers {
            false => Memory::least(self.frame_max),
            true => Memory::least_with_answers(self.frame_max, most_calls().answer_room()),
        }
    }
}
