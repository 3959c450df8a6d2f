//! A sink that confirms and refuses when, in the order and in the groups that chance has it, and that
//! cannot confirm anything for a while, as on a full disk.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::Canary;
use super::devices::{is_of_device, name_of};
use super::fragmented::{FIRST_KEY, Name, parts_of};
use super::rng::SimRng;
use super::story::Item;
use crate::sinks::{Condition, Outcome, Put, Sink};
use crate::testing::heap;
use crate::wire::Frame;

/// What a sink has and had.
#[derive(Default)]
pub struct SinkState {
    /// Judges each frame alone.
    alone: bool,
    /// Refuses some, where it judges each alone.
    refuses: bool,
    /// What it refused may be put again.
    again: bool,
    /// What it has may be put again.
    forgets: bool,
    /// How long it stays in trouble: one in so many chances to get out of it.
    stubborn: usize,
    /// Something is wrong with it, or with what it is told, that the oracle must see.
    canary: Option<Canary>,
    room: usize,
    held: Vec<Put>,
    done: VecDeque<Outcome>,
    /// It can confirm nothing now.
    trouble: bool,
    /// The last frame of each connection: they come in order.
    last: HashMap<u64, u64>,
    /// Everything that it was told, in that order.
    pub told: Vec<Told>,
    /// Tickets of what it refused.
    pub refused_tickets: HashSet<u64>,
    /// What it has, byte for byte.
    pub confirmed: HashMap<Name, Vec<u8>>,
    /// What it ever refused, and how often.
    pub refused: HashMap<Name, usize>,
    /// What it refused first, and has now.
    pub mended: u64,
    /// What was ever put into it.
    put: HashSet<Name>,
    /// Messages on which it gave its word, and whether that was good.
    pub messages: Vec<(Vec<u8>, bool)>,
    /// How many of the confirmed ones a part is in.
    pub parts: HashMap<Name, usize>,
    /// Words on several puts at once, and times of trouble.
    pub groups: u64,
    pub troubles: u64,
}

/// A frame that was put.
pub struct Told {
    pub ticket: u64,
    /// The connection that it is said to be of.
    pub from: u64,
    /// The topic that it was filed under.
    pub folder: Vec<u8>,
    pub item: Item,
}

impl SinkState {
    pub fn new(alone: bool, refuses: bool, again: bool, room: usize, canary: Option<Canary>) -> SinkState {
        SinkState {
            alone,
            refuses: alone && refuses,
            again,
            room,
            canary,
            stubborn: 8,
            ..SinkState::default()
        }
    }

    /// One that may be in trouble for long, and told again what it has.
    pub fn in_world(self, forgets: bool, stubborn: usize) -> SinkState {
        SinkState { forgets, stubborn, ..self }
    }

    /// Whether there is an outcome to collect.
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether it takes nothing before it has given its word on something.
    pub fn is_full(&self) -> bool {
        self.held.len() >= self.room && self.done.is_empty()
    }

    /// Whether a frame of this peer was ever put.
    pub fn knows(&self, peer: u64) -> bool {
        self.confirmed.keys().chain(self.refused.keys()).any(|name| name.0 == peer)
    }

    /// The frames that it was told of, each where it came first.
    pub fn frames(&self) -> Vec<Name> {
        let mut seen = HashSet::new();
        let frames = self.told.iter().filter_map(|told| match &told.item {
            Item::Frame(name) => Some(*name),
            Item::Message(_) => None,
        });
        frames.filter(|name| seen.insert(*name)).collect()
    }

    /// Lets go of what it has given no word on.
    pub fn end(&mut self) {
        self.held.clear();
    }

    /// Something happens to it.
    pub fn act(&mut self, rng: &mut SimRng<'_>) {
        if self.trouble {
            self.trouble = !rng.one_in(self.stubborn);
        } else if rng.one_in(16) {
            self.trouble = true;
            self.troubles += 1;
        } else {
            self.go_on(rng);
        }
    }

    /// Without faults: gives its word on some puts. Whether there was one.
    pub fn go_on(&mut self, rng: &mut SimRng<'_>) -> bool {
        self.trouble = false;
        if self.held.is_empty() {
            return false;
        }
        let group = match rng.below(4) {
            0..2 => 1,
            2 => 1 + rng.below(self.held.len()),
            _ => self.held.len(),
        };
        self.groups += u64::from(group > 1);
        for _ in 0..group {
            let at = rng.below(self.held.len());
            let refused = self.refuses && rng.one_in(4);
            self.judge(at, refused);
        }
        true
    }

    fn judge(&mut self, at: usize, refused: bool) {
        let put = self.held.swap_remove(at);
        if refused {
            self.refused_tickets.insert(put.ticket);
        }
        let refusal = refused.then(|| "no".into());
        self.done.push_back(Outcome { ticket: put.ticket, bytes: put.body.len(), refusal });
        if self.canary == Some(Canary::Sink) {
            return;
        }
        each_frame(&put, |frame| {
            let name = name_of(&frame.header);
            if name.0 >= FIRST_KEY && !is_of_device(name) {
                self.messages.push((frame.bytes.to_vec(), !refused));
                for (part, _) in parts_of(frame.payload()).into_iter().filter(|_| !refused) {
                    *self.parts.entry(part).or_default() += 1;
                }
                return;
            }
            if self.forgets {
                self.confirmed.insert(name, frame.bytes.to_vec());
                return;
            }
            let before = self.refused.get(&name).copied().unwrap_or(0);
            let is_new = !self.confirmed.contains_key(&name) && (self.again || before == 0);
            assert!(is_new, "2: {name:?} is put twice");
            match refused {
                true => *self.refused.entry(name).or_default() += 1,
                false => {
                    self.mended += u64::from(before > 0);
                    self.confirmed.insert(name, frame.bytes.to_vec());
                }
            }
        });
    }
}

impl SinkState {
    /// Files what it is told under the topic of the first frame, as a store does: all of a put are of one.
    fn file(&mut self, put: &Put) {
        let mut topic: Option<Vec<u8>> = None;
        let before = self.told.last().filter(|told| told.from == put.from);
        let folder = before.filter(|_| self.canary == Some(Canary::Filing)).map(|told| told.folder.clone());
        if self.canary == Some(Canary::Mixed) {
            topic = before.map(|told| told.folder.clone());
        }
        each_frame(put, |frame| {
            let topic = &*topic.get_or_insert_with(|| frame.topic().to_vec());
            assert_eq!(topic, frame.topic(), "2: frames of different topics are put as of one topic");
            let folder = folder.as_ref().unwrap_or(topic).clone();
            let item = Item::of(frame).expect("what is put is DATA");
            self.told.push(Told { ticket: put.ticket, from: put.from, folder, item });
        });
        if self.canary == Some(Canary::Order)
            && let [.., before, last] = &mut self.told[..]
            && before.from == last.from
            && matches!(last.item, Item::Message(_))
        {
            std::mem::swap(before, last);
        }
    }
}

fn each_frame(put: &Put, mut show: impl FnMut(&Frame<'_>)) {
    let bytes = put.body.bytes(0..put.body.len());
    let (mut rest, mut frames) = (&bytes[..], 0);
    while !rest.is_empty() {
        let frame = Frame::first_of(rest);
        show(&frame);
        rest = &rest[frame.bytes.len()..];
        frames += 1;
    }
    assert_eq!(frames, put.frames);
}

/// The gateway's side of it.
pub struct SimSink(pub Rc<RefCell<SinkState>>);

impl Sink for SimSink {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn judges_frames(&self) -> bool {
        self.0.borrow().alone
    }

    fn room(&self) -> usize {
        let sink = self.0.borrow();
        sink.room - sink.held.len() - sink.done.len()
    }

    fn put(&mut self, put: Put) {
        let _scope = heap::world();
        assert!(self.room() > 0, "5: there is no room for another put");
        let mut sink = self.0.borrow_mut();
        assert!(!sink.alone || put.frames == 1);
        let SinkState { last, put: known, again, forgets, .. } = &mut *sink;
        each_frame(&put, |frame| {
            let (key, id) = name_of(&frame.header);
            if key >= FIRST_KEY && !is_of_device((key, id)) {
                // A message has no place in the order of a connection.
                return;
            }
            if !known.insert((key, id)) && *again {
                // What is sent again has its place where it is sent again.
                return;
            }
            let before = last.insert(put.from, id);
            assert!(*forgets || before.is_none_or(|before| before < id), "1: {id} is put after {before:?}");
        });
        sink.file(&put);
        sink.held.push(put);
    }

    fn collect(&mut self) -> Option<Outcome> {
        let _scope = heap::world();
        self.0.borrow_mut().done.pop_front()
    }

    fn prepare_sleep(&mut self) -> bool {
        !self.0.borrow().has_done()
    }

    fn end_sleep(&mut self) {}

    fn condition(&self) -> Condition {
        let _scope = heap::world();
        let trouble = self.0.borrow().trouble.then(|| "the disk is full".into());
        Condition { trouble, ..Condition::default() }
    }
}
