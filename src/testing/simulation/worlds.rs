//! Worlds that are more than a few peers for a moment: connections that come and go for hours, subscriptions that take
//! what they can, resets while nobody is read.

use std::time::Duration;

use super::Simulation;
use super::rng::SimRng;
use super::script::{Rules, Script};

/// What is out of the ordinary in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is.
    #[default]
    Small,
    /// Connections by the hundred, at once.
    Wide,
    /// One or two publishers with thousands of frames.
    Long,
    /// Connections that come and go, by the hundred, so long after each other.
    Passing(Duration),
    /// Subscribers with the costliest patterns that there are.
    Collecting,
}

/// Most of those that come and go in one run.
const PASSING_MAX: usize = 800;

impl Kind {
    /// Drawn so that those that take long are few.
    pub fn draw(rng: &mut SimRng<'_>, calm: bool) -> Kind {
        match rng.below(1_000) {
            // Nobody steers thousands of frames with the bytes of a fuzzer.
            0..6 if rng.is_fuzzed() => Kind::Small,
            0..2 => Kind::Wide,
            2..6 => Kind::Long,
            // Where the clock hardly moves nothing but a reset would end them.
            6..16 if !calm => {
                let after = *rng.pick(&[10, 1_000, 30_000]);
                Kind::Passing(Duration::from_millis(after))
            }
            16..46 => Kind::Collecting,
            _ => Kind::Small,
        }
    }

    /// As many publishers as there are less than.
    pub fn publishers(self) -> usize {
        match self {
            Kind::Wide => 150,
            Kind::Long => 2,
            Kind::Small | Kind::Passing(_) | Kind::Collecting => 4,
        }
    }

    /// Frames of one of them are fewer.
    pub fn frames(self, rng: &mut SimRng<'_>) -> usize {
        match self {
            Kind::Wide => *rng.pick(&[40, 100]),
            Kind::Long => 2_000,
            Kind::Small | Kind::Passing(_) | Kind::Collecting if rng.is_fuzzed() => 16,
            Kind::Small | Kind::Passing(_) | Kind::Collecting => 40,
        }
    }

    /// Steps of the world are fewer.
    pub fn steps(self) -> usize {
        match self {
            Kind::Wide => 8_000,
            Kind::Long => 20_000,
            Kind::Passing(_) => 4_000,
            Kind::Small | Kind::Collecting => 400,
        }
    }

    /// Whether everything takes longer than in most.
    pub fn is_large(self) -> bool {
        matches!(self, Kind::Wide | Kind::Long | Kind::Passing(_))
    }
}

impl Simulation<'_> {
    /// Someone comes, sends a little or nothing, and goes: at its end, or in the middle.
    pub(super) fn come_and_go(&mut self, after: Duration) {
        if self.passed == PASSING_MAX {
            return;
        }
        self.passed += 1;
        let at = self.peers.len();
        let rules = Rules { frames_max: 3, ..self.rules.clone() };
        let script = Script::publisher(at, &[], &rules, &mut self.rng);
        self.connect(script, false);
        self.turn();
        self.peers[at].send(1 << 30);
        self.turn();
        match self.rng.one_in(4) {
            true => {
                let keeps_unread = self.rng.one_in(2);
                self.peers[at].break_off(keeps_unread);
            }
            false => {
                self.peers[at].send(1 << 30);
            }
        }
        self.peers[at].read(usize::MAX);
        self.turn();
        self.now += after;
    }

    /// While it is paused and nobody is read, some break off: they must be seen off all the same.
    pub(super) fn break_some_off(&mut self) {
        for at in 0..self.peers.len() {
            if self.rng.one_in(4) {
                let keeps_unread = self.rng.one_in(2);
                self.peers[at].break_off(keeps_unread);
            }
        }
    }

    /// 7. Who has reset is gone, though nobody is read: what it held is for others.
    pub(super) fn check_resets(&self) {
        let world = self.world.borrow();
        let stays = |at: &usize| {
            let wire = &world.wires[self.peers[*at].wire];
            wire.reset && wire.is_accepted()
        };
        let stay: Vec<usize> = (0..self.peers.len()).filter(stays).collect();
        assert!(stay.is_empty(), "4: peers {stay:?} broke, and each holds its slot");
    }
}
