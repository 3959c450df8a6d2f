//! What may come of what was sent: worked out from the frames, the settings and what was told.

use std::collections::{BTreeMap, HashMap};

use super::options::{Dedup, Options};
use super::story::{Line, Phase};
use super::wire::{self, Digest, Frame};
use super::world::{Ending, Flaw, Item, What};

/// A frame, or a message, that a gateway distributes.
#[derive(Debug)]
pub struct Product {
    pub topic: Vec<u8>,
    pub key: u64,
    pub id: u64,
    pub want: bool,
    pub is_message: bool,
    /// A handler made it of this frame.
    pub made_of: Option<Digest>,
    /// Times that it must and may be distributed in this life of the gateway.
    pub least: u64,
    pub most: u64,
    pub told: Told,
    /// Why a sink refused it, as one of its publishers was told.
    pub reason: String,
    /// The connection and the place there, where there can be but one.
    pub place: Option<(usize, usize)>,
    /// Times that it was sent.
    pub sent: u64,
    /// It may lie in the store since before this gateway began, whose window covers that: then it is a copy, and goes
    /// at most to the sink that has it not.
    pub is_known: bool,
}

/// How often a product's publishers were told what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub ok: u64,
    pub duplicate: u64,
    pub expired: u64,
    /// REJECTED by a sink.
    pub by_sink: u64,
    /// BUSY, and REJECTED otherwise.
    pub refused: u64,
    /// It asked, and heard nothing.
    pub nothing: u64,
    /// It did not ask, and was read for certain; or not for certain.
    pub silent: u64,
    pub maybe: u64,
}

/// All products of a phase.
#[derive(Default)]
pub struct Expected {
    pub products: BTreeMap<Digest, Product>,
    /// What has no effect, and why.
    pub without: HashMap<Digest, &'static str>,
    /// What was told and must not be.
    pub faults: Vec<String>,
    /// What was told DUPLICATE though a handler refuses it: right where it was stored before there was a handler.
    pub copies_refused: Vec<(Digest, String)>,
    /// Whether every frame that was sent was read, for certain.
    pub is_exact: bool,
}

/// One time that a frame was sent.
struct Sent<'a> {
    at: (usize, usize),
    item: &'a Item,
    /// It was read for certain.
    sure: bool,
    reply: Option<&'a Frame>,
}

pub fn of(number: usize, phase: &Phase) -> Expected {
    let mut expected = Expected { is_exact: !phase.killed, ..Expected::default() };
    let mut sent: BTreeMap<Digest, Vec<Sent<'_>>> = BTreeMap::new();
    for (at, line) in phase.lines.iter().enumerate() {
        expected.line(number, at, line, phase, &mut sent);
    }
    let mut messages: BTreeMap<Digest, Vec<Sent<'_>>> = BTreeMap::new();
    for (digest, all) in sent {
        let item = all[0].item;
        expected.check_told(number, &all, &phase.options);
        let made = item.made.as_ref().filter(|_| phase.options.handler.is_some());
        match (item.message(), effect(item, &phase.options)) {
            (_, Err(why)) => {
                expected.without.insert(digest, why);
            }
            (Some(message), Ok(())) => messages.entry(message).or_default().extend(all),
            (None, Ok(())) => {
                let (topic, key, digest) =
                    made.cloned().unwrap_or((item.topic.clone(), item.key, item.digest));
                let product = Product {
                    topic,
                    key,
                    id: item.id,
                    want: item.want,
                    is_message: false,
                    made_of: made.is_some().then_some(item.digest),
                    ..whole(&all, &phase.options)
                };
                expected.products.insert(digest, product);
            }
        }
    }
    for (digest, parts) in messages {
        let (product, fault) = message(&parts, &phase.options);
        if let Some(fault) = fault {
            let shown = format!("message {digest:?} (key {}, {} fragments sent)", product.key, parts.len());
            expected.faults.push(format!("phase {number}: {shown}: {fault}: {:?}", product.told));
        }
        expected.products.insert(digest, product);
    }
    expected
}

/// Whether a frame does anything, or why not.
fn effect(item: &Item, options: &Options) -> Result<(), &'static str> {
    match (item.flaw, &item.what, &options.handler, item.letter) {
        (Flaw::Digest, ..) => Err("its digest was wrong"),
        (Flaw::Topic, ..) => Err("its topic was none"),
        (_, What::Ping | What::Subscribe(_), ..) => Err("it is no DATA"),
        (_, What::Part(..), Some(_), _) => Err("it is a fragment, where a handler answers"),
        (_, What::Data, Some(_), b'R' | b'B') => Err("the handler refused it"),
        (_, What::Data, Some(_), b'X') => Err("two handlers died of it"),
        _ => Ok(()),
    }
}

impl Expected {
    /// What became of each item of a connection, and whether it was told right.
    fn line<'a>(
        &mut self,
        number: usize,
        at: usize,
        line: &'a Line,
        phase: &Phase,
        sent: &mut BTreeMap<Digest, Vec<Sent<'a>>>,
    ) {
        let name = format!("phase {number}, connection {at}");
        let closes = |item: &Item| item.flaw == Flaw::Digest && phase.options.closes_on_bad_digest;
        let closing = line.items.iter().position(|item| closes(item));
        let is_reset = matches!(line.ending, Ending::Reset(_));
        self.is_exact &= line.is_complete;
        let orderly = !phase.killed && !phase.cut_short && !is_reset;
        if orderly && !line.is_complete && closing.is_none() {
            let last = line.replies.iter().rev().find(|reply| reply.status >= 16);
            let last = last.map(|reply| format!(", told {}: {}", reply.status, reply.text));
            self.faults.push(format!(
                "{name}: its last PING was not answered: {}{}",
                line.end,
                last.unwrap_or_default()
            ));
        }
        if orderly && line.is_complete && line.end != "closed" {
            self.faults.push(format!("{name}: it ended with: {}", line.end));
        }
        let last = match line.ending {
            Ending::Garbage => Some(wire::MALFORMED),
            Ending::TooLarge => Some(wire::TOO_LARGE),
            _ => None,
        };
        if let Some(last) = last.filter(|_| orderly && line.is_complete)
            // Or the gateway ended before it had read that.
            && !line.replies.iter().any(|reply| reply.status == last || reply.status == wire::CLOSING)
        {
            self.faults.push(format!("{name}: it ended with what is no frame, and was not told {last}"));
        }
        let mut replies: HashMap<u64, Vec<&Frame>> = HashMap::new();
        for reply in &line.replies {
            if !reply.intact {
                self.faults.push(format!("{name}: a reply with a wrong digest to {}", reply.id));
            }
            if reply.status < 16 {
                replies.entry(reply.id).or_default().push(reply);
            }
        }
        for (place, item) in line.items.iter().enumerate() {
            let is_void = closing.is_some_and(|closing| place > closing);
            let sure = !is_void && (line.is_complete || orderly && closing.is_some());
            // Copies on one connection have one id: which reply is whose is not told, and does not matter.
            let reply = replies.get_mut(&item.id).and_then(Vec::pop);
            // Where its connection was closed, what becomes of a held fragment is told to nobody.
            let is_closed = closing.is_some() || matches!(line.ending, Ending::Garbage | Ending::TooLarge);
            let is_due = item.want && sure && !(is_closed && matches!(item.what, What::Part(..)));
            if is_due && reply.is_none() && !phase.killed && (orderly || line.end == "closed") {
                self.faults.push(format!("{name}: {} asked and was not answered", shown(item)));
            }
            if reply.is_some() && is_void {
                self.faults.push(format!("{name}: {} came after the end and was answered", shown(item)));
            }
            if let Some(reply) = reply.filter(|_| !item.want) {
                self.faults.push(format!(
                    "{name}: {} did not ask and was told {}",
                    shown(item),
                    reply.status
                ));
            }
            if is_void {
                self.without.insert(item.digest, "its connection was closed before it");
                continue;
            }
            match (&item.what, reply) {
                (What::Ping | What::Subscribe(_), Some(reply)) if reply.status != wire::OK => {
                    self.faults.push(format!(
                        "{name}: {} was told {}: {}",
                        shown(item),
                        reply.status,
                        reply.text
                    ));
                }
                (What::Ping | What::Subscribe(_), _) => {}
                _ => sent.entry(item.digest).or_default().push(Sent { at: (at, place), item, sure, reply }),
            }
        }
        // What was begun and not written as a whole is answered nothing, but what a failed write held may be.
        let extra: Vec<_> = replies.values().flatten().filter(|reply| reply.id != 0).collect();
        if !extra.is_empty() && line.is_complete {
            self.faults.push(format!("{name}: answers that nobody asked for: {extra:?}"));
        }
    }

    /// Whether each was told something that may be.
    fn check_told(&mut self, number: usize, all: &[Sent<'_>], options: &Options) {
        let item = all[0].item;
        let handled = options.handler.is_some();
        let may_be_busy = options.handler.as_ref().is_some_and(|handler| handler.rejects);
        let copied = options.dedup != Dedup::Off;
        for reply in all.iter().filter_map(|sent| sent.reply) {
            let by_sink = reply.status == wire::REJECTED && is_by_sink(reply);
            let is_right = match (effect(item, options), reply.status) {
                (Err(_), wire::BAD_DIGEST) => item.flaw == Flaw::Digest,
                (Err(_), wire::REJECTED) => {
                    item.flaw != Flaw::Digest
                        && !by_sink
                        && !(handled
                            && item.letter == b'B'
                            && item.flaw == Flaw::None
                            && item.what == What::Data)
                }
                (Err(_), wire::BUSY) => {
                    let is_call = item.flaw == Flaw::None && item.what == What::Data;
                    is_call && (may_be_busy || item.letter == b'B')
                }
                (Err(_), _) => false,
                (Ok(()), wire::OK) => true,
                (Ok(()), wire::DUPLICATE) => copied,
                (Ok(()), wire::BUSY) => {
                    // At most so many copies of fragments wait to hear what becomes of their message.
                    let is_crowded = reply.text.starts_with("as many copies of fragments wait");
                    may_be_busy || copied && is_crowded && matches!(item.what, What::Part(..))
                }
                // What is not certain of messages is looked at with all of their fragments.
                (Ok(()), wire::EXPIRED) => item.what != What::Data,
                (Ok(()), wire::REJECTED) => item.what != What::Data || by_sink && options.http.is_some(),
                (Ok(()), _) => false,
            };
            let said =
                || format!("phase {number}: {} was told {}: {}", shown(item), reply.status, reply.text);
            let is_refused = handled && copied && item.flaw == Flaw::None && item.what == What::Data;
            if !is_right && is_refused && reply.status == wire::DUPLICATE {
                self.copies_refused.push((item.digest, said()));
            } else if !is_right {
                self.faults.push(said());
            }
        }
    }
}

fn is_by_sink(reply: &Frame) -> bool {
    reply.text.starts_with("http: ") || reply.text.starts_with("store: ")
}

fn told(all: &[Sent<'_>]) -> Told {
    let mut told = Told::default();
    for sent in all {
        let count = match sent.reply {
            None if sent.item.want => &mut told.nothing,
            None if sent.sure => &mut told.silent,
            None => &mut told.maybe,
            Some(reply) => match reply.status {
                wire::OK => &mut told.ok,
                wire::DUPLICATE => &mut told.duplicate,
                wire::EXPIRED => &mut told.expired,
                wire::REJECTED if is_by_sink(reply) => &mut told.by_sink,
                _ => &mut told.refused,
            },
        };
        *count += 1;
    }
    told
}

fn reason(all: &[Sent<'_>]) -> String {
    let refusal = all.iter().filter_map(|sent| sent.reply).find(|reply| is_by_sink(reply));
    refusal.map(|reply| reply.text.clone()).unwrap_or_default()
}

/// A frame that is distributed as it is.
fn whole(all: &[Sent<'_>], options: &Options) -> Product {
    let told = told(all);
    let Told { ok, by_sink, duplicate, nothing, silent, maybe, refused, .. } = told;
    let (least, most) = match options.dedup {
        Dedup::Off => (ok + by_sink + silent, ok + by_sink + nothing + silent + maybe),
        // Of those that asked each OK is one; of the others some may be copies.
        Dedup::Short => {
            ((ok + by_sink + duplicate + silent).min(1).max(ok), ok + by_sink + nothing + silent + maybe)
        }
        Dedup::Long => {
            let most = ok + by_sink + duplicate + nothing + silent + maybe;
            ((ok + by_sink + duplicate + silent).min(1), most.min(1))
        }
    };
    let first = all.iter().map(|sent| sent.at).min().expect("it was sent");
    let on_one = all.iter().all(|sent| sent.at.0 == first.0);
    let is_first = options.dedup == Dedup::Long && on_one && refused + by_sink == 0;
    let place = (all.len() == 1 || is_first).then_some(first);
    Product { least, most, told, reason: reason(all), place, sent: all.len() as u64, ..nothing_yet() }
}

fn nothing_yet() -> Product {
    Product {
        topic: Vec::new(),
        key: 0,
        id: 0,
        want: false,
        is_message: false,
        made_of: None,
        least: 0,
        most: 0,
        told: Told::default(),
        reason: String::new(),
        place: None,
        sent: 0,
        is_known: false,
    }
}

/// A message of these fragments, and what is wrong with what they were told.
fn message(parts: &[Sent<'_>], options: &Options) -> (Product, Option<&'static str>) {
    let told = told(parts);
    let item = parts[0].item;
    let What::Part(_, count) = item.what else { unreachable!("it is of fragments") };
    let mut digests: Vec<Digest> = parts.iter().map(|part| part.item.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let is_all = digests.len() == usize::from(count);
    let has_copies = digests.len() < parts.len();
    let sure = parts.iter().all(|part| part.sure);
    let Told { ok, by_sink, duplicate, expired, refused, .. } = told;
    let done = ok + by_sink + duplicate;
    let is_lost = done == 0 && expired + refused > 0 && !has_copies;
    let must = is_all && sure && options.leases_are_long();
    let least = u64::from(done > 0 || must);
    let most = u64::from(is_all && !is_lost);
    let fault = if !is_all && done > 0 {
        Some("it is not whole, and was told done")
    } else if must && expired + refused > 0 && !(has_copies && by_sink > 0) {
        // A copy that comes after a sink has refused the message is the first of another.
        Some("all of it came, and it was refused")
    } else if ok + duplicate > 0 && expired + refused > 0 && !has_copies {
        Some("of one message some was told done and some was not")
    } else if ok > 0 && by_sink > 0 && !has_copies {
        Some("of one message some was told OK and some that a sink refused it")
    } else {
        None
    };
    let line = parts[0].at.0;
    let on_one = !has_copies && parts.iter().all(|part| part.at.0 == line);
    let last = parts.iter().map(|part| part.at).max().expect("it was sent");
    let product = Product {
        topic: item.topic.clone(),
        key: item.key,
        is_message: true,
        least,
        most,
        told,
        reason: reason(parts),
        place: on_one.then_some(last),
        sent: parts.len() as u64,
        ..nothing_yet()
    };
    (product, fault)
}

/// A frame, for people.
pub fn shown(item: &Item) -> String {
    let topic = topic_shown(&item.topic);
    let what = match &item.what {
        What::Data => "frame".to_owned(),
        What::Part(message, count) => format!("fragment (of {count}, of message {message:?})"),
        What::Ping => "PING".to_owned(),
        What::Subscribe(_) => "SUBSCRIBE to".to_owned(),
    };
    let Item { id, key, digest, bytes, .. } = item;
    format!("{what} {digest:?} ('{topic}', key {key}, id {id}, {} bytes)", bytes.len())
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            ("OK", self.ok),
            ("DUPLICATE", self.duplicate),
            ("EXPIRED", self.expired),
            ("REJECTED by a sink", self.by_sink),
            ("refused", self.refused),
            ("nothing", self.nothing),
            ("did not ask", self.silent),
            ("did not ask and may not have been read", self.maybe),
        ];
        let some: Vec<String> = all
            .iter()
            .filter(|(_, times)| *times > 0)
            .map(|(what, times)| format!("{what} {times}"))
            .collect();
        f.write_str(&some.join(", "))
    }
}

/// A topic, for people; of a long one the beginning.
pub fn topic_shown(topic: &[u8]) -> String {
    let topic = String::from_utf8_lossy(topic);
    match topic.char_indices().nth(20) {
        Some((at, _)) => format!("{}…", &topic[..at]),
        None => topic.into_owned(),
    }
}
