//! What a world is, drawn from its seed: gateways one after the other, and what is sent to each.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::options::{Common, Dedup, KIB, MIB, Options, Steer, chance, one_of, steering};
use super::wire::{self, Digest, Head, TAIL, encode};

pub struct World {
    pub seed: u64,
    pub secret: Option<Vec<u8>>,
    pub phases: Vec<PhasePlan>,
}

/// One life of the gateway.
pub struct PhasePlan {
    pub options: Options,
    pub lines: Vec<LinePlan>,
    pub watchers: Vec<Vec<String>>,
    pub steering: Vec<Steer>,
    /// Killed so long after it was first sent something; else it is told to end when all is done.
    pub killed_after: Option<Duration>,
    /// Told to end so long after it was first sent something, whatever is not done.
    pub ended_after: Option<Duration>,
    /// Told by `ctl drain` instead of a signal.
    pub drains_by_ctl: bool,
    /// Whether publishers first send what the gateways before did not answer, and some of what they did.
    pub sends_again: Option<Again>,
}

#[derive(Clone, Copy)]
pub struct Again {
    /// Percent of what was told OK that is sent again all the same.
    pub told: u32,
}

/// One publisher's connection.
#[derive(Clone, Default)]
pub struct LinePlan {
    pub items: Vec<Arc<Item>>,
    /// How many items go into each write, and how long before.
    pub writes: Vec<(usize, Duration)>,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It sends no more, and reads to the end.
    #[default]
    HalfClose,
    /// It stays until the gateway ends.
    Stays,
    /// It breaks off after so many items and half of the next.
    Reset(usize),
    /// Behind everything it sends what is no frame.
    Garbage,
    /// Or a header of a frame that is too large.
    TooLarge,
}

/// A frame of a publisher.
#[derive(Clone, Debug)]
pub struct Item {
    pub what: What,
    pub id: u64,
    pub key: u64,
    pub topic: Vec<u8>,
    pub want: bool,
    pub flaw: Flaw,
    pub bytes: Vec<u8>,
    /// Of its bytes.
    pub digest: Digest,
    /// The first letters of the payload say what becomes of it; see [`letters`].
    pub letter: u8,
    /// What a handler makes of it, where it has one replaced: topic, key, digest.
    pub made: Option<(Vec<u8>, u64, Digest)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Data,
    /// A fragment of the message with this digest, and how many it has.
    Part(Digest, u16),
    Ping,
    Subscribe(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Digest,
    Topic,
}

impl Item {
    /// The message that it is a fragment of.
    pub fn message(&self) -> Option<Digest> {
        match self.what {
            What::Part(message, _) => Some(message),
            _ => None,
        }
    }

    pub fn is_copyable(&self) -> bool {
        self.flaw == Flaw::None && matches!(self.what, What::Data | What::Part(..))
    }
}

const TOPICS: [&str; 14] = [
    "a.b",
    "a.c",
    "a.b.c",
    "orders.eu",
    "orders.us",
    "orders.eu.de",
    "größe.東京",
    "",
    "x",
    "y",
    "a-b_c",
    "a/b:c",
    "made.a",
    "z.9",
];

const PATTERNS: [&str; 10] =
    ["a.*", "a.>", "orders.*", "*.eu", "a.b", "made.>", "*", "größe.*", "*.*.*", "orders.us"];

const BAD_TOPICS: [&[u8]; 6] = [b"a..b", b"a b", b"*", b"a.>", b"\xff\xfe", b"a\x07"];

/// What handlers do: pass most; replace, refuse with either status, be slow, answer late, die.
const HANDLER_LETTERS: &[u8; 20] = b"PPPPPPPPPDDDDRRBSSLL";
/// What the HTTP store does: takes most; refuses for good, is busy, is busy once, breaks off once, is slow.
const STORE_LETTERS: &[u8; 20] = b"oooooooooooorrutttzs";

struct Draw<'a> {
    rng: &'a mut Rng,
    secret: Option<Vec<u8>>,
    max_payload: usize,
    ids: u64,
    deaths: u32,
}

impl World {
    pub fn draw(seed: u64, has_python: bool) -> World {
        let rng = &mut Rng::with_seed(seed);
        let secret = chance(rng, 35).then(|| b"a secret that is long enough".to_vec());
        let common = Common { max_payload: one_of(rng, &[300 * KIB, 700 * KIB, MIB]), has_python };
        let (stores, posts) = (chance(rng, 70), chance(rng, 45));
        let mut draw =
            Draw { rng, secret: secret.clone(), max_payload: common.max_payload, ids: 0, deaths: 0 };
        let lives = one_of(draw.rng, &[1, 1, 1, 2, 2, 3]);
        let mut phases: Vec<PhasePlan> =
            (0..lives).map(|life| draw.phase(common, stores, posts, life, lives)).collect();
        // There is one HTTP store for all of them.
        let mut sinks = phases.iter_mut().filter_map(|phase| phase.options.http.as_mut());
        if let Some(first) = sinks.next().map(|sink| sink.doors) {
            sinks.for_each(|sink| sink.doors = first);
        }
        World { seed, secret, phases }
    }
}

impl Draw<'_> {
    fn phase(&mut self, common: Common, stores: bool, posts: bool, life: usize, lives: usize) -> PhasePlan {
        // Mostly a store stays on; an HTTP sink comes and goes.
        let posts = posts && !(life > 0 && chance(self.rng, 30));
        let options = Options::draw(self.rng, common, stores, posts);
        let lines = self.lines(&options);
        let others = self.rng.usize(..4);
        let mut watchers = vec![vec![">".to_owned()]];
        for _ in 0..others {
            let patterns =
                (0..self.rng.usize(1..=3)).map(|_| one_of(self.rng, &PATTERNS).to_owned()).collect();
            watchers.push(patterns);
        }
        let is_last = life + 1 == lives;
        let moment = Duration::from_millis(self.rng.u64(..250));
        let killed_after = (!is_last && chance(self.rng, 75)).then_some(moment);
        let ended_after = (killed_after.is_none() && chance(self.rng, 15)).then_some(moment);
        let sends_again = (life > 0).then(|| Again { told: one_of(self.rng, &[0, 10, 50]) });
        let steering = steering(self.rng, &options);
        let drains_by_ctl = chance(self.rng, 20);
        PhasePlan {
            options,
            lines,
            watchers,
            steering,
            killed_after,
            ended_after,
            drains_by_ctl,
            sends_again,
        }
    }

    fn lines(&mut self, options: &Options) -> Vec<LinePlan> {
        let mut lines: Vec<Vec<Arc<Item>>> = vec![Vec::new(); one_of(self.rng, &[1, 2, 3, 4, 4, 12])];
        for line in &mut lines {
            let most = one_of(self.rng, &[10, 60, 150]);
            let subscribes = chance(self.rng, 20);
            let bad_digests = chance(self.rng, 40);
            for at in 0..self.rng.usize(5..=most) {
                let item = match self.rng.u32(..100) {
                    _ if at == 0 => self.data(),
                    0..3 => self.plain(What::Ping),
                    3..5 if subscribes => {
                        let pattern = one_of(self.rng, &PATTERNS).to_owned();
                        self.plain(What::Subscribe(pattern))
                    }
                    5..7 if bad_digests => self.flawed(Flaw::Digest),
                    7..9 => self.flawed(Flaw::Topic),
                    _ => self.data(),
                };
                line.push(Arc::new(item));
            }
        }
        for _ in 0..one_of(self.rng, &[0, 2, 6, 12]) {
            self.message(&mut lines);
        }
        if options.dedup != Dedup::Off {
            self.copies(&mut lines, options.dedup);
        }
        lines.into_iter().map(|items| self.line(items)).collect()
    }

    /// A connection that sends these, and then a PING, by whose answer all before it has taken effect.
    fn line(&mut self, mut items: Vec<Arc<Item>>) -> LinePlan {
        items.push(Arc::new(self.plain(What::Ping)));
        let ending = match self.rng.u32(..20) {
            0 | 1 => Ending::Reset(self.rng.usize(..items.len())),
            2 => Ending::Garbage,
            3 => Ending::TooLarge,
            4..8 => Ending::Stays,
            _ => Ending::HalfClose,
        };
        LinePlan { writes: writes(self.rng, items.len()), items, ending }
    }

    fn payload(&mut self, size: usize, id: u64) -> Vec<u8> {
        let letter = match self.rng.u32(..400) {
            0 if self.deaths < 2 => {
                self.deaths += 1;
                b'X'
            }
            _ => one_of(self.rng, HANDLER_LETTERS),
        };
        let mut payload = vec![letter, one_of(self.rng, STORE_LETTERS)];
        payload.extend(format!("{id}:").bytes());
        payload.resize_with(size.max(payload.len()), || self.rng.alphanumeric() as u8);
        payload.truncate(size);
        payload
    }

    fn size(&mut self) -> usize {
        let size = match self.rng.u32(..100) {
            0..10 => self.rng.usize(..3),
            10..75 => self.rng.usize(3..300),
            75..88 => self.rng.usize(300..20 * KIB),
            88..94 => self.rng.usize(60 * KIB..70 * KIB),
            94..97 => self.rng.usize(250 * KIB..270 * KIB),
            97..99 => self.rng.usize(270 * KIB..300 * KIB),
            _ => self.max_payload,
        };
        size.min(self.max_payload)
    }

    fn data(&mut self) -> Item {
        let topic = one_of(self.rng, &TOPICS);
        let topic = match self.rng.u32(..20) {
            0 => format!("many.{}", self.rng.u32(..1000)),
            1 => format!("{}.long", "l".repeat(240)),
            _ => topic.to_owned(),
        };
        let size = self.size();
        self.ids += 1;
        let payload = self.payload(size, self.ids);
        let head = self.head(wire::DATA);
        self.item(What::Data, head, topic.as_bytes(), &payload)
    }

    fn head(&mut self, kind: u8) -> Head {
        Head { kind, want: chance(self.rng, 60), key: self.rng.u64(..6), id: self.ids, ..Head::default() }
    }

    fn item(&self, what: What, head: Head, topic: &[u8], payload: &[u8]) -> Item {
        let secret = self.secret.as_deref();
        let bytes = encode(head, topic, payload, secret);
        let letter = payload.first().copied().unwrap_or(b'P');
        let made = (letter == b'D').then(|| {
            let topic = if topic.is_empty() { b"made".to_vec() } else { [b"made.", topic].concat() };
            let payload = [b"P", &payload[1..]].concat();
            let head = Head { key: head.key ^ 0x55, ..head };
            let bytes = encode(head, &topic, &payload, secret);
            (topic, head.key, told(&bytes))
        });
        let Head { id, key, want, .. } = head;
        let (digest, topic) = (told(&bytes), topic.to_vec());
        Item { what, id, key, topic, want, flaw: Flaw::None, bytes, digest, letter, made }
    }

    fn plain(&mut self, what: What) -> Item {
        self.ids += 1;
        let (kind, topic) = match &what {
            What::Subscribe(pattern) => (wire::SUBSCRIBE, pattern.clone()),
            _ => (wire::PING, String::new()),
        };
        let head = Head { kind, want: true, id: self.ids, ..Head::default() };
        self.item(what, head, topic.as_bytes(), b"")
    }

    fn flawed(&mut self, flaw: Flaw) -> Item {
        let mut item = self.data();
        match flaw {
            Flaw::None => {}
            Flaw::Digest => *item.bytes.last_mut().expect("it has bytes") ^= 1,
            Flaw::Topic => {
                let topic = one_of(self.rng, &BAD_TOPICS);
                let head =
                    Head { kind: wire::DATA, want: item.want, key: item.key, id: item.id, ..Head::default() };
                item = self.item(What::Data, head, topic, b"Po");
            }
        }
        item.digest = told(&item.bytes);
        item.flaw = flaw;
        item
    }

    /// Fragments of a message, among whole frames of one connection or of several.
    fn message(&mut self, lines: &mut [Vec<Arc<Item>>]) {
        let count = one_of(self.rng, &[2, 2, 3, 5, 12]);
        // Of its own, so that it is known by its topic and key.
        self.ids += 1;
        let key = 1_000_000 + self.ids;
        let topic = loop {
            let topic = one_of(self.rng, &TOPICS);
            if !topic.is_empty() {
                break topic.as_bytes();
            }
        };
        let mut sizes: Vec<usize> = (0..count).map(|_| self.size().min(300 * KIB)).collect();
        while sizes.iter().sum::<usize>() > self.max_payload {
            sizes.iter_mut().for_each(|size| *size /= 2);
        }
        let payloads: Vec<Vec<u8>> = sizes.into_iter().map(|size| self.payload(size, key)).collect();
        let whole = Head { kind: wire::DATA, key, ..Head::default() };
        let whole = told(&encode(whole, topic, &payloads.concat(), self.secret.as_deref()));
        let (alone, apart) = (self.rng.usize(..lines.len()), chance(self.rng, 40));
        // Together in the middle of others, or anywhere.
        let near = chance(self.rng, 50).then(|| self.rng.usize(1..=lines[alone].len()));
        let asks = one_of(self.rng, &[0, 50, 100]);
        let mut order: Vec<usize> = (0..usize::from(count)).collect();
        self.rng.shuffle(&mut order);
        for (nth, index) in order.into_iter().enumerate() {
            self.ids += 1;
            let head = Head {
                want: chance(self.rng, asks),
                index: index as u16,
                count,
                key,
                ..self.head(wire::DATA)
            };
            let item = self.item(What::Part(whole, count), head, topic, &payloads[index]);
            let line = if apart { self.rng.usize(..lines.len()) } else { alone };
            let at = match near {
                Some(near) if !apart => near + nth,
                _ => self.rng.usize(1..=lines[line].len()),
            };
            lines[line].insert(at.min(lines[line].len()), Arc::new(item));
        }
    }

    /// The very bytes again, on the same connection or another.
    fn copies(&mut self, lines: &mut [Vec<Arc<Item>>], dedup: Dedup) {
        for _ in 0..self.rng.usize(..20) {
            let from = self.rng.usize(..lines.len());
            let item = lines[from][self.rng.usize(..lines[from].len())].clone();
            // A second copy of a fragment is refused where the window may have ended.
            let is_part = matches!(item.what, What::Part(..));
            if !item.is_copyable() || is_part && dedup != Dedup::Long {
                continue;
            }
            let to = self.rng.usize(..lines.len());
            let at = self.rng.usize(1..=lines[to].len());
            lines[to].insert(at, item);
        }
    }
}

/// Items that go into one write, each with a pause before it.
pub fn writes(rng: &mut Rng, mut items: usize) -> Vec<(usize, Duration)> {
    let most = one_of(rng, &[1, 5, 30, 1000]);
    let mut writes = Vec::new();
    while items > 0 {
        let some = rng.usize(1..=most).min(items);
        let pause = if chance(rng, 10) { rng.u64(..20) } else { 0 };
        writes.push((some, Duration::from_millis(pause)));
        items -= some;
    }
    writes
}

/// The digest that a frame carries.
fn told(bytes: &[u8]) -> Digest {
    Digest(bytes[bytes.len() - TAIL..].try_into().expect("a digest"))
}

/// A frame of its own.
pub fn single(what: What, head: Head, topic: &str, payload: &[u8], secret: Option<&[u8]>) -> Item {
    let rng = &mut Rng::with_seed(head.id);
    let draw = Draw { rng, secret: secret.map(<[u8]>::to_vec), max_payload: MIB, ids: 0, deaths: 0 };
    draw.item(what, head, topic.as_bytes(), payload)
}

/// A PING.
pub fn ping(id: u64, secret: Option<&[u8]>) -> Item {
    let head = Head { kind: wire::PING, want: true, id, ..Head::default() };
    single(What::Ping, head, "", b"", secret)
}
