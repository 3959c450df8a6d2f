//! Which connections the server's system dropped before they stood, and how many are tried at once.
//!
//! Where a program accepts more slowly than connections come and few may wait (five, of Python's `http.server`), its
//! system drops what asks for one more. Nothing is said of that: this machine's system asks again after 1 s, then 2 s
//! later, and all that were dropped together ask again together, to be dropped again. So no more are on their way than
//! a system that takes them would leave on their way, and one that was overtaken is given up and begun anew: by then
//! the program has accepted others.

use std::time::{Duration, Instant};

use super::connection_limit::{BURST, TICK};
use super::overtaken::{Begun, Line};

/// The quickest connection is forgotten by one in 64 with each one that takes longer.
const FORGOTTEN: u32 = 64;

/// 1 s at most until one more is tried, though none of the others stands yet.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// 2 are on their way at least, however many were dropped: the program has accepted one meanwhile, or a few.
const LEAST: usize = 2;

/// Connections that are being made, each with the address that it goes to: one may be far, and another not there.
#[derive(Clone, Debug, Default)]
pub struct Connecting(Vec<Attempts>);

/// Those to one address.
#[derive(Clone, Debug, Default)]
struct Attempts {
    line: Line,
    /// What the quickest one of late took. A system answers by itself, so all take as long, unless they are dropped.
    quickest: Option<Duration>,
    /// Since some were dropped: as many may be on their way, which is half as many as before and one more with each
    /// that stands.
    fewer: Option<usize>,
    /// When that was halved. Many that were dropped together halve it once.
    halved: Option<Instant>,
}

impl Connecting {
    /// A connection to an endpoint was begun.
    pub fn began(&mut self, endpoint: usize, begun: Begun) {
        if self.0.len() <= endpoint {
            self.0.resize_with(endpoint + 1, Attempts::default);
        }
        self.0[endpoint].line.began(begun);
    }

    /// The server's system agreed to a connection to an endpoint that was begun then.
    pub fn stood(&mut self, endpoint: usize, began: Instant, now: Instant) {
        let attempts = &mut self.0[endpoint];
        attempts.line.ended(began);
        let took = now.saturating_duration_since(began);
        let quickest = attempts.quickest.map_or(took, |quickest| took.min(quickest + quickest / FORGOTTEN));
        attempts.quickest = Some(quickest);
        attempts.fewer = attempts.fewer.map(|fewer| fewer + 1);
    }

    /// Leaves out those that are not being made any more.
    pub fn retain(&mut self, waits: impl Fn(&Begun) -> bool) {
        self.0.iter_mut().for_each(|attempts| attempts.line.retain(&waits));
    }

    /// The next one that still `waits` and is given up by `now`, if there is one.
    pub fn next_by(&mut self, now: Instant, waits: impl Fn(&Begun) -> bool) -> Option<Begun> {
        self.0.iter_mut().find_map(|attempts| {
            let dropped = attempts.line.next_by(now, attempts.patience()?, &waits)?;
            if Some(dropped.at) > attempts.halved {
                attempts.fewer = Some(LEAST.max(attempts.window() / 2));
                attempts.halved = Some(now);
            }
            Some(dropped)
        })
    }

    /// When there will be one, as far as is known.
    pub fn due(&self) -> Option<Instant> {
        self.0.iter().filter_map(|attempts| attempts.line.due(attempts.patience()?)).min()
    }

    /// Whether one more may be begun to an endpoint.
    pub fn has_room(&self, endpoint: usize, now: Instant) -> bool {
        self.0.get(endpoint).is_none_or(|attempts| match attempts.next_probe() {
            None => attempts.line.len() < attempts.window(),
            Some(at) => at <= now,
        })
    }

    /// How many are not expected to stand any more, though they may.
    pub fn late(&self, now: Instant) -> usize {
        self.0.iter().map(|attempts| attempts.line.len() - attempts.in_time(now).count()).sum()
    }

    /// When the next one will be late, or there will be room for one more.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let of = |attempts: &Attempts| {
            let late = attempts.in_time(now).next().zip(attempts.patience());
            late.map(|(began, patience)| began + patience).into_iter().chain(attempts.next_probe()).min()
        };
        self.0.iter().filter_map(of).min()
    }
}

impl Attempts {
    /// For how long one is expected to stand. Not known before one did.
    fn patience(&self) -> Option<Duration> {
        self.quickest.map(|quickest| TICK + 2 * quickest)
    }

    /// As many may be on their way: those that are while none is dropped, at the pace at which they are begun, or
    /// [`fewer`](Attempts::fewer).
    fn window(&self) -> usize {
        let on_their_way = 2 * BURST as u128 * self.quickest.unwrap_or_default().as_nanos() / TICK.as_nanos();
        let all = BURST + usize::try_from(on_their_way).unwrap_or(usize::MAX - BURST);
        self.fewer.map_or(all, |fewer| fewer.min(all))
    }

    /// Where there are as many as may be, when one more is tried to see whether it stands: each time after twice as
    /// long.
    fn next_probe(&self) -> Option<Instant> {
        let tried = self.line.len().checked_sub(self.window())?;
        let pause = self.patience()?.saturating_mul(1 << tried.min(20)).min(PROBE_MAX);
        Some(self.line.latest()? + pause)
    }

    /// When each of those was begun that are not late.
    fn in_time(&self, now: Instant) -> impl ExactSizeIterator<Item = Instant> {
        let since = self.patience().and_then(|patience| now.checked_sub(patience));
        self.line.begun_after(since)
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection_limit::ConnectionLimit;
    use super::*;
    use std::collections::{BTreeMap, HashSet};

    const MS: Duration = Duration::from_millis(1);

    /// A server's system and its program.
    struct Store {
        /// From here to there and back.
        round_trip: Duration,
        /// As many wait to be accepted.
        backlog: usize,
        /// The program accepts one each time, from then on.
        accepts_every: Duration,
        accepts_after: Duration,
    }

    /// As they are begun, asked for again and accepted; time is told.
    #[derive(Default)]
    struct Sim {
        begun: usize,
        dropped: usize,
        /// When what was asked for arrives, and what waits for it: its number, and how often it was asked for before.
        asked: BTreeMap<(Duration, usize), (Begun, u32)>,
        agreed: BTreeMap<(Duration, usize), Begun>,
        /// Those of both.
        pending: HashSet<usize>,
        waiting: usize,
        accepted: usize,
    }

    const WANTED: usize = 1000;
    /// When no more may be open, there are none that could overtake the last ones: they are asked for again after 1 s.
    const ALMOST_ALL: usize = WANTED - 2 * BURST;

    impl Sim {
        fn arrive(&mut self, store: &Store, at: Duration) {
            while let Some(entry) = self.asked.first_entry().filter(|entry| entry.key().0 <= at) {
                let ((_, index), (begun, tries)) = entry.remove_entry();
                if self.waiting <= store.backlog {
                    self.waiting += 1;
                    self.agreed.insert((at + store.round_trip / 2, index), begun);
                } else {
                    self.dropped += 1;
                    // Linux asks again after 1 s, 2 s, 4 s.
                    self.asked.insert((at + 1000 * MS * (1 << tries), index), (begun, tries + 1));
                }
            }
        }

        /// Until almost all are accepted, or so long: how long that took.
        fn run(&mut self, store: &Store, most: Duration) -> Duration {
            let start = Instant::now();
            let (mut limit, mut connecting) = (ConnectionLimit::new(WANTED), Connecting::default());
            let step = MS / 10;
            let (mut at, mut next_accept) = (Duration::ZERO, store.accepts_after);
            while self.accepted < ALMOST_ALL && at < most {
                at += step;
                let now = start + at;
                self.arrive(store, at);
                if self.waiting > 0 && at >= next_accept {
                    (self.waiting, self.accepted) = (self.waiting - 1, self.accepted + 1);
                    next_accept = at + store.accepts_every;
                }
                while let Some(entry) = self.agreed.first_entry().filter(|entry| entry.key().0 <= at) {
                    let begun = entry.remove();
                    self.pending.remove(&begun.index);
                    connecting.stood(0, begun.at, now);
                }
                while let Some(begun) = connecting.next_by(now, |begun| self.pending.contains(&begun.index)) {
                    self.pending.remove(&begun.index);
                    self.asked.retain(|&(_, index), _| index != begun.index);
                    self.agreed.retain(|&(_, index), _| index != begun.index);
                }
                connecting.retain(|begun| self.pending.contains(&begun.index));
                let open = self.accepted + self.waiting + self.asked.len();
                for _ in 0..limit.room(now, open) {
                    if !connecting.has_room(0, now) {
                        break;
                    }
                    limit.opened(now);
                    let begun = Begun { at: now, index: self.begun, serial: self.begun };
                    connecting.began(0, begun);
                    self.pending.insert(begun.index);
                    self.asked.insert((at + store.round_trip / 2, self.begun), (begun, 0));
                    self.begun += 1;
                }
            }
            at
        }
    }

    const PYTHON: Store = Store {
        round_trip: Duration::from_micros(100),
        backlog: 5,
        accepts_every: MS,
        accepts_after: Duration::ZERO,
    };

    #[test]
    fn a_server_that_accepts_slowly_never_waits() {
        // The farther it is, the later is it seen that too many are on their way.
        for (accepts_every, round_trip) in
            [(MS / 4, MS / 10), (MS, MS / 10), (3 * MS, MS / 10), (20 * MS, MS / 10), (3 * MS, 5 * MS)]
        {
            let mut sim = Sim::default();
            let best = accepts_every * WANTED as u32;
            let took = sim.run(&Store { accepts_every, round_trip, ..PYTHON }, 100 * best);
            assert!(took <= best.mul_f64(1.15) + 20 * MS, "{accepts_every:?}: {took:?}");
            // And it is not asked much more often than it accepts.
            assert!(sim.dropped <= 6 * WANTED, "{accepts_every:?}: {}", sim.dropped);
        }
    }

    #[test]
    fn a_server_that_takes_all_gets_all_at_once() {
        let best = TICK * (WANTED / BURST) as u32;
        for round_trip in [MS / 10, 10 * MS, 200 * MS] {
            let store = Store { round_trip, backlog: WANTED, accepts_every: MS / 10, ..PYTHON };
            let mut sim = Sim::default();
            let took = sim.run(&store, 10_000 * MS);
            // Only the first ones are waited for.
            assert!(took <= best.mul_f64(1.2) + 2 * round_trip + 10 * MS, "{round_trip:?}: {took:?}");
            assert!(sim.begun <= WANTED && sim.dropped == 0, "{} begun, {} dropped", sim.begun, sim.dropped);
        }
    }

    #[test]
    fn a_server_that_stands_still_is_asked_now_and_then() {
        let store = Store { accepts_after: 5000 * MS, ..PYTHON };
        let mut sim = Sim::default();
        sim.run(&store, store.accepts_after);
        assert!(sim.begun < 30, "{}", sim.begun);
        let took = Sim::default().run(&store, 10_000 * MS);
        assert!(took < store.accepts_after + PROBE_MAX + 1150 * MS, "{took:?}");
    }

    #[test]
    fn an_address_that_answers_nothing_holds_up_no_other() {
        let start = Instant::now();
        let mut connecting = Connecting::default();
        for n in 0..1000 {
            let now = start + n * MS;
            for endpoint in 0..2 {
                if connecting.has_room(endpoint, now) {
                    let index = 2 * n as usize + endpoint;
                    connecting.began(endpoint, Begun { at: now, index, serial: index });
                }
            }
            connecting.stood(1, now, now + MS);
            connecting.retain(|begun| begun.index % 2 == 0);
            assert_eq!(connecting.next_by(now + MS, |_| true), None, "the other one may be far");
            assert!(connecting.has_room(1, now + MS));
        }
        assert_eq!((connecting.late(start + 1000 * MS), connecting.0[0].line.len()), (0, BURST));
        assert_eq!(connecting.next(start + 1000 * MS), None);
    }
}
