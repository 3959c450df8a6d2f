//! The sink alone.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::nginx::Nginx;
use super::options;
use super::store::{Act, OK, PATIENCE, Store};
use framegate::core::memory::{Buffer, Memory};
use framegate::http::dispatch;
use framegate::sinks::http::{HttpSink, Options};
use framegate::sinks::{Put, Sink};
use framegate::wire::{Body, Header, Kind, Scheme, encode};

fn sized(options: Options, max_in_flight: usize) -> Options {
    let carried = dispatch::Options { max_in_flight, max_connections: max_in_flight, ..options.carried };
    Options { carried, ..options }
}

/// A sink, and the gate's side of it.
struct Gate {
    sink: HttpSink,
    woken: Receiver<()>,
    memory: Arc<Memory>,
    put: u64,
    outcomes: BTreeMap<u64, Option<String>>,
}

impl Gate {
    fn start(options: Options) -> Gate {
        let (to, woken) = channel();
        // Nobody listens where the test is over.
        let sink = HttpSink::start(options, move || {
            let _ = to.send(());
        })
        .unwrap();
        let memory = Memory::new(64 << 20, 1 << 20);
        Gate { sink, woken, memory, put: 0, outcomes: BTreeMap::new() }
    }

    /// Puts a frame, its number the ticket.
    fn put(&mut self, key: u64, payload: &str) -> u64 {
        self.put += 1;
        let header = Header { key, id: 1000 + self.put, ..Header::new(Kind::Data) };
        let mut bytes = Vec::new();
        encode(header, b"orders.eu", payload.as_bytes(), &Scheme::Sha256, &mut bytes);
        let end = bytes.len();
        let body =
            Body::Slice { buffer: Arc::new(Buffer::charged(&self.memory, bytes.into())), start: 0, end };
        self.sink.put(Put { ticket: self.put, from: 1, body, frames: 1 });
        self.put
    }

    /// Waits until so many outcomes came.
    fn wait_for(&mut self, outcomes: usize) {
        loop {
            while let Some(outcome) = self.sink.collect() {
                let refusal = outcome.refusal.map(String::from);
                assert!(self.outcomes.insert(outcome.ticket, refusal).is_none(), "an outcome comes once");
            }
            if self.outcomes.len() >= outcomes {
                return;
            }
            if self.sink.prepare_sleep() {
                self.woken.recv_timeout(PATIENCE).expect("the sink brings what ended");
            }
            self.sink.end_sleep();
        }
    }

    /// Waits for what is said of it, which comes a moment after.
    fn until(&self, is_so: impl Fn(&Gate) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "it says {:?}", self.sink.condition());
            std::thread::yield_now();
        }
    }

    fn said(&self, names: &str) -> u64 {
        let condition = self.sink.condition();
        let found = condition.done.iter().chain(&condition.now).find(|(name, _)| *name == names);
        found.map_or(0, |(_, value)| *value)
    }
}

#[test]
fn every_frame_has_the_right_outcome() {
    let store = Store::start(usize::MAX, |record, before| match (record, before) {
        ("busy", _) => Act::Answer(503, "", "out of order\nagain"),
        ("later", 0) => Act::Answer(429, "Retry-After: 1\r\n", ""),
        ("hangs", _) => Act::Hang,
        ("breaks", _) => Act::Reset,
        ("breaks once", 0) => Act::Reset,
        ("unknown", _) => Act::Answer(404, "", "no such thing"),
        ("moved", _) => Act::Answer(301, "Location: http://other/\r\n", ""),
        ("babbles", _) => Act::Babble,
        _ => OK,
    });
    let carried = dispatch::Options { timeout: Duration::from_millis(500), ..options(&store.url()).carried };
    let mut gate = Gate::start(Options { carried, ..options(&store.url()) });
    let records =
        ["busy", "later", "hangs", "breaks", "breaks once", "unknown", "moved", "babbles", "", "fine"];
    let tickets = records.map(|record| gate.put(7, record));
    gate.wait_for(records.len());
    let of = |record: &str| {
        let at = records.iter().position(|known| *known == record).unwrap();
        gate.outcomes[&tickets[at]].as_deref()
    };
    for (record, expected) in [
        ("busy", "503 Service Unavailable: out of order again (2 tries)"),
        ("hangs", "no whole response within 500ms (2 tries)"),
        ("breaks", "the connection broke: Connection reset by peer (2 tries)"),
        ("unknown", "404 Not Found: no such thing (1 try)"),
        (
            "moved",
            "301 Moved Permanently, a redirect to http://other/: give the URL that it leads to (1 try)",
        ),
    ] {
        assert_eq!(of(record), Some(expected));
    }
    assert!(of("babbles").unwrap().ends_with("(1 try)"), "{:?}", of("babbles"));
    for record in ["later", "breaks once", "", "fine"] {
        assert_eq!(of(record), None, "{record}");
    }
    let log = store.log();
    let fine = &log.seen["fine"][0];
    let mut frame = Vec::new();
    let header = Header { key: 7, id: 1010, ..Header::new(Kind::Data) };
    encode(header, b"orders.eu", b"fine", &Scheme::Sha256, &mut frame);
    let digest: String = frame[frame.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("framegate-topic", "orders.eu"),
        ("framegate-key", "7"),
        ("framegate-id", "1010"),
        ("idempotency-key", &digest),
    ] {
        assert_eq!(fine.fields[name], value);
    }
    assert!(log.seen.values().all(|seen| seen.iter().all(|one| one.key == seen[0].key)));
    drop(log);
    gate.until(|gate| (gate.said("stored"), gate.said("refused")) == (4, 6));
    assert_eq!(gate.memory.used(), 0, "nothing is held of what ended");
}

#[test]
fn frames_begin_in_order_so_many_at_once() {
    let store = Store::start(usize::MAX, |_, _| Act::Held);
    let mut gate = Gate::start(sized(options(&store.url()), 5));
    let records: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    records.iter().for_each(|record| {
        gate.put(0, record);
    });
    // Those that are under way are the first ones.
    for (most, records) in [(5, &records[..5]), (12, &records[..12])] {
        gate.sink.set_max_in_flight(most);
        store.wait_for(most);
        let mut order = store.log().order.clone();
        order.sort_unstable();
        assert_eq!(order, records);
    }
    store.release();
    gate.wait_for(200);
    assert!(gate.outcomes.values().all(Option::is_none), "{:?}", gate.outcomes);
    let log = store.log();
    assert_eq!((log.requests, log.busy_max), (200, 12));
    drop(log);

    let store = Store::start(usize::MAX, |_, _| OK);
    let mut gate = Gate::start(sized(options(&store.url()), 1));
    records.iter().for_each(|record| {
        gate.put(0, record);
    });
    gate.wait_for(200);
    assert_eq!(store.log().order, records);
}

#[test]
fn in_order_one_frame_of_a_key_is_under_way() {
    let store = Store::start(usize::MAX, |record, before| match (record, before) {
        ("a0", _) => Act::Held,
        // A 503 would also make it send fewer at once, and a0 might be all that is left.
        ("b1", 0) => Act::Answer(500, "", ""),
        ("c1", _) => Act::Answer(400, "", ""),
        _ => OK,
    });
    let mut gate = Gate::start(Options { ordered: true, ..options(&store.url()) });
    for n in 0..20 {
        for (key, name) in [(1, "a"), (2, "b"), (3, "c")] {
            gate.put(key, &format!("{name}{n}"));
        }
    }
    // Two keys go on while one waits.
    gate.wait_for(40);
    assert_eq!(store.times("a1"), 0);
    gate.until(|gate| gate.said("in_flight") + gate.said("waiting") == 20);
    store.release();
    gate.wait_for(60);
    let log = store.log();
    for name in ["a", "b", "c"] {
        let order: Vec<usize> =
            log.order.iter().filter_map(|record| record.strip_prefix(name)?.parse().ok()).collect();
        let mut expected: Vec<usize> = (0..20).collect();
        if name == "b" {
            // Its second try comes before those behind it.
            expected.insert(1, 1);
        }
        assert_eq!(order, expected, "{name}");
    }
    let refused: Vec<u64> =
        gate.outcomes.iter().filter(|(_, why)| why.is_some()).map(|(at, _)| *at).collect();
    assert_eq!(refused, [6], "only what the store does not want is refused");
}

#[test]
fn a_store_that_is_away_is_waited_for() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut gate = Gate::start(options(&format!("http://{free}/")));
    (0..50).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    // It says why nothing goes on, and it is not taken for done.
    gate.until(|gate| gate.sink.condition().trouble.is_some());
    let trouble = gate.sink.condition().trouble.unwrap();
    assert!(trouble.contains("cannot connect: Connection refused"), "{trouble}");
    assert!(gate.sink.collect().is_none());
    let store = Store::at(free, usize::MAX, |_, _| OK);
    gate.wait_for(50);
    assert!(gate.outcomes.values().all(Option::is_none), "{:?}", gate.outcomes);
    assert_eq!((store.requests(), gate.sink.condition().trouble), (50, None));
}

#[test]
fn a_store_that_stays_away_is_waited_for_no_longer() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/");
    let patience = Duration::from_millis(300);
    let carried = dispatch::Options { patience, ..options(&url).carried };
    let mut gate = Gate::start(Options { carried, ..options(&url) });
    let began = Instant::now();
    (0..50).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    gate.wait_for(50);
    assert!(began.elapsed() >= patience);
    assert!(began.elapsed() < patience + Duration::from_secs(2), "nobody waits for the next look for it");
    // Where, why, and how often it was tried.
    let why = format!("cannot reach {url}: cannot connect: Connection refused (");
    let is_said = |said: &Option<String>| {
        said.as_deref().is_some_and(|said| {
            said.starts_with(&why) && (said.contains(" tries in ") || said.ends_with("(1 try)"))
        })
    };
    assert!(gate.outcomes.values().all(is_said), "{:?}", gate.outcomes);
    // What comes then is refused at once, one after the other, and none waits for a look for it.
    let began = Instant::now();
    for number in 51..=200 {
        gate.put(0, "too early");
        gate.wait_for(number);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} for 150 refusals", began.elapsed());
    assert!(gate.outcomes.values().all(is_said), "{:?}", gate.outcomes);
    gate.until(|gate| gate.said("refused") == 200);
    // That it is back is found out without any frame.
    let store = Store::at(free, usize::MAX, |_, _| OK);
    gate.until(|gate| gate.sink.condition().trouble.is_none());
    (0..200).for_each(|n| {
        gate.put(0, &format!("again {n}"));
    });
    gate.wait_for(400);
    assert!(gate.outcomes.range(201..).all(|(_, said)| said.is_none()), "{:?}", gate.outcomes);
    assert_eq!((store.requests(), gate.sink.condition().trouble), (200, None));
}

#[test]
fn a_store_that_takes_connections_and_answers_nothing_is_away_too() {
    let hangs = Arc::new(AtomicBool::new(true));
    let is_hanging = hangs.clone();
    let store = Store::start(usize::MAX, move |_, _| if is_hanging.load(Relaxed) { Act::Hang } else { OK });
    let (patience, timeout) = (Duration::from_millis(500), Duration::from_millis(300));
    let carried = dispatch::Options { patience, timeout, retries: 100, ..options(&store.url()).carried };
    let mut gate = Gate::start(sized(Options { carried, ..options(&store.url()) }, 5));
    let began = Instant::now();
    (0..50).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    gate.wait_for(50);
    assert!(began.elapsed() >= patience);
    let why = format!("{} does not answer: no whole response within 300ms (", store.url());
    let mut own = 0;
    for said in gate.outcomes.values().map(|said| said.as_deref().expect("it is refused")) {
        own += usize::from(said.starts_with("no whole response within 300ms ("));
        assert!(said.starts_with("no whole response") || said.starts_with(&why), "{said}");
    }
    assert!(own <= 5, "{own} were under way");
    // One at a time finds out whether it answers again; nobody waits for that one.
    let began = Instant::now();
    (0..1000).for_each(|_| {
        gate.put(0, "too early");
    });
    gate.wait_for(1049);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} for 999 refusals", began.elapsed());
    gate.wait_for(1050);
    hangs.store(false, Relaxed);
    let began = Instant::now();
    while gate.sink.condition().trouble.is_some() {
        assert!(began.elapsed() < PATIENCE, "it is not found to be back");
        let put = gate.put(0, "again");
        gate.wait_for(put as usize);
    }
    let put = gate.put(0, "done");
    gate.wait_for(put as usize);
    assert_eq!((gate.outcomes[&put].as_deref(), store.times("done")), (None, 1));
}

#[test]
fn a_store_that_refuses_connections_gets_fewer() {
    let store = Store::start(5, |_, _| OK);
    let mut gate = Gate::start(options(&store.url()));
    (0..2000).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    gate.wait_for(2000);
    assert!(gate.outcomes.values().all(Option::is_none));
    assert_eq!(store.log().seen.len(), 2000);
    assert!(gate.said("connections_refused") > 0);
}

#[test]
fn a_store_that_accepts_slowly_gets_all_connections_as_it_accepts_them() {
    const WANTED: usize = 300;
    let store = Store::accepts_slowly(Duration::from_millis(2), |_, _| Act::Held);
    let mut gate = Gate::start(sized(options(&store.url()), WANTED));
    let began = Instant::now();
    (0..WANTED).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    store.wait_for(WANTED);
    // The system would ask for those that it dropped again after 1 s, 3 s, 7 s and 15 s, a few of them with success.
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    store.release();
    gate.wait_for(WANTED);
    assert_eq!((store.requests(), gate.said("connections_not_taken")), (WANTED, 0));
}

#[test]
fn an_end_waits_for_nobody() {
    let store = Store::start(usize::MAX, |_, _| Act::Held);
    let mut gate = Gate::start(options(&store.url()));
    (0..500).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    store.wait_for(100);
    let memory = gate.memory.clone();
    let began = Instant::now();
    drop(gate);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(memory.used(), 0);
    store.release();
}

#[test]
fn a_store_behind_tls() {
    let Some(nginx) = Nginx::start() else { return };
    let url = format!("https://127.0.0.1:{}/", nginx.tls_port);
    let carried = dispatch::Options { insecure: true, ..options(&url).carried };
    let mut gate = Gate::start(Options { carried, ..options(&url) });
    (0..300).for_each(|n| {
        gate.put(0, &n.to_string());
    });
    gate.wait_for(300);
    assert!(gate.outcomes.values().all(Option::is_none), "{:?}", gate.outcomes);
    // Of a certificate that nobody trusts, each frame is told.
    let mut gate = Gate::start(options(&url));
    gate.put(0, "x");
    gate.wait_for(1);
    let why = gate.outcomes[&1].clone().unwrap();
    assert!(why.contains("certificate") && why.lines().count() == 1, "{why}");
}
