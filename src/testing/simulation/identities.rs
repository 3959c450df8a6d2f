//! Identities: peers that publish and subscribe to what they may and may not, with tokens that are right and wrong, while
//! the access file changes under them.
//!
//! 9. No frame of a topic that its publisher may not publish reaches anyone, and no subscriber receives what it may not;
//!    every other frame reaches all who hold a pattern for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::rng::SimRng;
use super::scenarios::Scene;
use crate::core::limits::CONN_PATTERNS;
use crate::gateway::control::{Answer, Command, Reloaded};
use crate::gateway::{AccessFile, Config};
use crate::runtime::handler::{Answer as Handled, Call, Function};
use crate::wire::access::{Access, TokenDigest};
use crate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// As short as they can be told apart; the model below knows them by their first letters.
const TOPICS: [&str; 6] = ["a.1", "a.2", "b.1", "b.2.x", "c", "all.x"];
const PATTERNS: [&str; 8] = [">", "a.>", "a.*", "a.1", "b.>", "b.2.x", "c", "all.>"];

/// What is wrong with the file that the gateway gets, which the oracle must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canary {
    Publish,
    Subscribe,
}

/// What identities may, as the oracle knows it: by index into [`PATTERNS`], which are looked up by hand.
#[derive(Clone, Debug)]
struct File {
    /// Of each name: what it may publish to, what it may subscribe to, whether it is revoked, which token it has.
    who: Vec<(Vec<usize>, Vec<usize>, bool, usize)>,
    /// Of one that has no name.
    default: Option<(Vec<usize>, Vec<usize>)>,
}

/// Whether a pattern matches a topic, said without the code that is tested: of six topics and eight patterns.
fn is_match(pattern: usize, topic: &str) -> bool {
    match PATTERNS[pattern] {
        ">" => true,
        "a.>" | "a.*" => topic.starts_with("a."),
        "b.>" => topic.starts_with("b."),
        "all.>" => topic.starts_with("all."),
        exact => exact == topic,
    }
}

/// Whether an allowed pattern covers another: everything that one matches, the other does. It is so for these patterns,
/// which are told apart by more topics than those above.
fn is_covered(allowed: usize, pattern: usize) -> bool {
    match (PATTERNS[allowed], PATTERNS[pattern]) {
        (a, b) if a == b => true,
        (">", _) => true,
        ("a.>", b) => b.starts_with("a."),
        ("a.*", b) => b == "a.1",
        ("b.>", b) => b.starts_with("b."),
        _ => false,
    }
}

impl File {
    fn draw(rng: &mut SimRng<'_>) -> File {
        let some = |rng: &mut SimRng<'_>, most: usize| -> Vec<usize> {
            (0..rng.below(most + 1)).map(|_| rng.below(PATTERNS.len())).collect()
        };
        let who = NAMES.map(|_| (some(rng, 3), some(rng, 3), rng.one_in(8), rng.below(2))).to_vec();
        let default = rng.one_in(2).then(|| (some(rng, 1), some(rng, 2)));
        File { who, default }
    }

    fn access(&self, canary: Option<Canary>) -> Arc<Access> {
        let list = |patterns: &[usize], wider: bool| {
            let wider = wider.then_some("'>'".to_string());
            let all: Vec<String> =
                patterns.iter().map(|at| format!("'{}'", PATTERNS[*at])).chain(wider).collect();
            format!("[{}]", all.join(", "))
        };
        let rights = |publish: &[usize], subscribe: &[usize], name: Option<&str>| {
            let of_canary = |which| canary == Some(which) && name != Some("a");
            format!(
                "publish = {}\nsubscribe = {}\n",
                list(publish, of_canary(Canary::Publish)),
                list(subscribe, of_canary(Canary::Subscribe))
            )
        };
        let revoked: Vec<String> =
            (0..NAMES.len()).filter(|at| self.who[*at].2).map(|at| format!("'{}'", NAMES[at])).collect();
        let mut text = format!("revoked = [{}]\n", revoked.join(", "));
        if let Some((publish, subscribe)) = &self.default {
            text.push_str(&format!("[default]\n{}", rights(publish, subscribe, None)));
        }
        for (name, (publish, subscribe, _, token)) in NAMES.iter().zip(&self.who) {
            let digest = TokenDigest::of(token_of(name, *token).as_bytes()).expect("it is short").hex();
            let rights = rights(publish, subscribe, Some(name));
            text.push_str(&format!("[who.{name}]\ntoken-sha256 = '{digest}'\n{rights}"));
        }
        let parsed = Access::parse(text.as_bytes(), "a", SystemTime::UNIX_EPOCH);
        Arc::new(parsed.unwrap_or_else(|problems| panic!("{}\n{text}", problems[0])).0)
    }

    /// What a peer may publish and subscribe to; none where it may not be there.
    fn rights(&self, peer: &Peer) -> Option<(&[usize], &[usize])> {
        match peer.claims {
            None => self.default.as_ref().map(|(publish, subscribe)| (&publish[..], &subscribe[..])),
            Some((at, token)) => {
                let (publish, subscribe, is_revoked, right) = &self.who[at];
                (token == *right && !is_revoked).then_some((&publish[..], &subscribe[..]))
            }
        }
    }
}

fn token_of(name: &str, number: usize) -> String {
    format!("token-{name}-{number}")
}

struct Peer {
    wire: usize,
    /// A name and the number of a token; one of them is nobody's.
    claims: Option<(usize, usize)>,
    decoder: Decoder,
    has_spoken: bool,
    is_over: bool,
    /// By index.
    patterns: BTreeSet<usize>,
    /// Ids of frames, and what they are to be told.
    told: BTreeMap<u64, Status>,
    /// Ids of what is to come, each so often.
    due: Vec<u64>,
}

struct Run<'a> {
    scene: Scene,
    file: File,
    canary: Option<Canary>,
    peers: Vec<Peer>,
    next_id: u64,
    rng: SimRng<'a>,
    /// Bytes that peers have not sent yet.
    waiting: Vec<(usize, Vec<u8>)>,
}

impl Run<'_> {
    fn connect(&mut self) {
        let wire = self.scene.connect();
        let claims = (!self.rng.one_in(4)).then(|| (self.rng.below(NAMES.len()), self.rng.below(3)));
        let decoder = Decoder::new(Rules { payload_max: 1 << 20, replies: true });
        let (patterns, told, due) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let (has_spoken, is_over) = (false, false);
        self.peers.push(Peer { wire, claims, decoder, has_spoken, is_over, patterns, told, due });
    }

    /// A peer says something, and the oracle knows what must come of it. One connection at a time, so that it knows the
    /// order; what it says is cut and verified in any pieces.
    fn act(&mut self) {
        let at = self.rng.below(self.peers.len());
        let peer = &mut self.peers[at];
        // One that nobody knows is not waited for for ever.
        let is_closed = self.scene.gate.closed().iter().any(|(of, _)| usize::from(of.port()) == peer.wire);
        peer.is_over |= is_closed && !peer.has_spoken;
        if peer.is_over {
            return;
        }
        let mut bytes = Vec::new();
        let peer = &mut self.peers[at];
        if !std::mem::replace(&mut peer.has_spoken, true)
            && let Some((name, token)) = peer.claims
        {
            let token = token_of(NAMES[name], token);
            encode(
                Header::new(Kind::Auth),
                NAMES[name].as_bytes(),
                token.as_bytes(),
                &Scheme::Sha256,
                &mut bytes,
            );
        }
        for _ in 0..1 + self.rng.below(4) {
            self.say(at, &mut bytes);
        }
        self.waiting.push((self.peers[at].wire, bytes));
        self.send_all();
    }

    fn say(&mut self, at: usize, bytes: &mut Vec<u8>) {
        self.next_id += 1;
        let id = self.next_id;
        let header = |kind| Header { want_reply: true, id, ..Header::new(kind) };
        let rights = self
            .file
            .rights(&self.peers[at])
            .map(|(publish, subscribe)| (publish.to_vec(), subscribe.to_vec()));
        let is_here = rights.is_some();
        let (publish, subscribe) = rights.unwrap_or_default();
        let mut told = Status::Rejected;
        if self.rng.one_in(3) {
            let pattern = self.rng.below(PATTERNS.len());
            let held = &mut self.peers[at].patterns;
            let has_room = held.contains(&pattern) || held.len() < CONN_PATTERNS;
            if has_room && subscribe.iter().any(|allowed| is_covered(*allowed, pattern)) {
                held.insert(pattern);
                told = Status::Ok;
            }
            encode(header(Kind::Subscribe), PATTERNS[pattern].as_bytes(), b"", &Scheme::Sha256, bytes);
        } else {
            let topic = *self.rng.pick(&TOPICS);
            if publish.iter().any(|allowed| is_match(*allowed, topic)) {
                told = Status::Ok;
                for peer in self.peers.iter_mut().filter(|peer| !peer.is_over) {
                    if peer.patterns.iter().any(|pattern| is_match(*pattern, topic)) {
                        peer.due.push(id);
                    }
                }
            }
            let len = [0, 10, 900, 2_000][self.rng.below(4)];
            encode(header(Kind::Data), topic.as_bytes(), &vec![7; len], &Scheme::Sha256, bytes);
        }
        match is_here {
            true => drop(self.peers[at].told.insert(id, told)),
            false => self.peers[at].is_over = true,
        }
    }

    /// What waits arrives in pieces, and is done.
    fn send_all(&mut self) {
        for (wire, bytes) in std::mem::take(&mut self.waiting) {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (part, later) = rest.split_at(1 + self.rng.below(rest.len()));
                self.scene.world.borrow_mut().wires[wire].arrive(part, self.scene.now);
                let turns = 1 + self.rng.below(3);
                self.scene.turns(turns);
                rest = later;
            }
        }
        self.scene.finish();
    }

    /// The file changes. What was said before is done; who may not stay, and what may not be held, is known.
    fn reload(&mut self) {
        self.receive();
        self.file = File::draw(&mut self.rng);
        let access = self.file.access(self.canary);
        let (answer, reviewed) = Answer::new();
        self.scene.gate.command(
            Command::Reload(Reloaded { access: Some(access), tls: Vec::new() }, answer),
            self.scene.now,
        );
        for peer in self.peers.iter_mut().filter(|peer| peer.has_spoken && !peer.is_over) {
            match self.file.rights(peer) {
                None => peer.is_over = true,
                Some((_, subscribe)) => peer
                    .patterns
                    .retain(|pattern| subscribe.iter().any(|allowed| is_covered(*allowed, *pattern))),
            }
        }
        // Someone speaks before all are judged, every other time.
        if self.rng.one_in(2) {
            self.scene.turns(1);
        } else {
            self.scene.finish();
            assert!(reviewed.try_recv().is_ok(), "9: a reload does not end");
        }
    }

    /// What came to the peers is what was to come.
    fn receive(&mut self) {
        self.scene.finish();
        for peer in &mut self.peers {
            let bytes = self.scene.world.borrow_mut().wires[peer.wire].take(usize::MAX);
            let mut got = Vec::new();
            for part in bytes.chunks(500) {
                peer.decoder.spare()[..part.len()].copy_from_slice(part);
                peer.decoder.advance(part.len());
                while let Some(frame) = peer.decoder.next_frame().expect("frames") {
                    match (frame.header.kind, Status::from_u16(frame.header.status)) {
                        (Kind::Data, _) => got.push(frame.header.id),
                        // A pattern was taken, or a last word.
                        (_, Some(status)) if status.closes() || frame.header.id == 0 => {}
                        (_, status) => {
                            let due = peer.told.remove(&frame.header.id);
                            assert_eq!(due, status, "9: of the frame {}", frame.header.id);
                        }
                    }
                }
            }
            assert_eq!(
                got,
                std::mem::take(&mut peer.due),
                "9: {:?} gets what is not due to it, or not what is",
                peer.claims
            );
            if !peer.is_over {
                let closed = self.scene.gate.closed();
                assert!(
                    peer.told.is_empty(),
                    "9: {:?} is not told to {:?}: {closed:?}",
                    peer.told,
                    peer.claims
                );
            }
        }
    }
}

fn run(seed: u64, canary: Option<Canary>) {
    let mut rng = SimRng::from_seed(seed);
    let file = File::draw(&mut rng);
    let access = Some(AccessFile { path: Default::default(), access: file.access(canary) });
    let function: Option<Function> =
        rng.one_in(4).then(|| Function(Arc::new(|_: &Call<'_>| Handled::Pass(Vec::new()))));
    let dedup = rng.one_in(3).then_some(Duration::from_secs(60));
    let config =
        Config { payload_max: 3_000, memory: 16 << 20, access, insecure_tokens: true, ..Config::default() };
    let scene = Scene::new(Config { function, dedup, ..config });
    let mut run = Run { scene, file, canary, peers: Vec::new(), next_id: 0, rng, waiting: Vec::new() };
    for _ in 0..3 + run.rng.below(10) {
        run.connect();
    }
    for _ in 0..40 {
        match run.rng.below(12) {
            0 => run.reload(),
            1 => run.connect(),
            _ => run.act(),
        }
    }
    run.receive();
}

#[test]
fn nobody_gets_or_publishes_what_it_may_not() {
    let first = std::env::var("FRAMEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..150, |seed| seed..seed + 1);
    for seed in seeds {
        println!("seed {seed}");
        run(seed, None);
    }
}

#[test]
fn rights_that_are_too_wide_are_noticed() {
    for canary in [Canary::Publish, Canary::Subscribe] {
        let caught = (0..20).any(|seed| {
            let result = std::panic::catch_unwind(|| run(seed, Some(canary)));
            result
                .is_err_and(|panic| panic.downcast_ref::<String>().map_or("", String::as_str).contains("9: "))
        });
        assert!(caught, "{canary:?} was not noticed");
    }
}
