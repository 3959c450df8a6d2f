//! Devices that speak a layout: their frames, made from its declaration before the clock starts, and what is to come of
//! each.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Failed;
use super::known::{Known, Packed};
use super::ring::Ring;
use crate::core::limits::{LAYOUT_SLOTS, PAYLOAD_MAX, READ_MAX, RINGS_BYTES};
use crate::core::units::grouped;
use crate::wire::layout::{Cut, Cutter, Device, Explained, Kept, Layout, explain};
use crate::wire::{DIGEST, HEADER, Header, Kind, Scheme, encode};

/// A load of frames that a layout declares.
#[derive(Clone, Debug)]
pub struct LayoutLoad {
    /// What publishers and idle connections speak.
    pub layout: Arc<Layout>,
    /// Where its listener may be; the first that takes a connection is it.
    pub listener: Vec<SocketAddr>,
    /// Bytes of each frame; none for about 256, as far as the layout has such.
    pub frame_len: Option<usize>,
}

/// 256 bytes, as those of native frames.
const FRAME_LEN: usize = 256;

/// So many frames that are too long, too short or there already are passed over until one will do.
const TRIES: usize = 64;

/// Fewer frames than these tell no loss from a repetition.
const LEAST: usize = 4;

/// What is written before anything else, and what it is answered.
#[derive(Clone, Debug, Default)]
pub struct Login {
    pub bytes: Vec<u8>,
    pub answers: Vec<u8>,
}

/// What one publisher sends, again and again, and what it is answered, frame by frame.
#[derive(Debug, Default)]
pub struct Sender {
    pub login: Login,
    pub frames: Packed,
    pub replies: Packed,
    pub refusals: Packed,
}

/// All devices of a load.
#[derive(Debug)]
pub struct Devices {
    pub layout: Arc<Layout>,
    /// Bytes of each frame of the rings.
    pub frame_len: usize,
    /// What matches every topic of theirs.
    pub topics: String,
    /// What subscribers get.
    pub known: Known,
    pub senders: Vec<Sender>,
    /// Of connections that log in and say nothing more.
    pub idle: Vec<Login>,
}

impl LayoutLoad {
    /// How many frames each of the publishers has, at most.
    fn slots(&self, publishers: usize) -> usize {
        (RINGS_BYTES / publishers.max(1) / (2 * self.len()).max(1)).clamp(LEAST, LAYOUT_SLOTS)
    }

    fn len(&self) -> usize {
        self.frame_len.unwrap_or(FRAME_LEN)
    }

    /// Bytes that the frames of so many publishers take, as they are sent and as they are distributed.
    pub fn bytes(&self, publishers: usize) -> u64 {
        let frame = 2 * self.len() + HEADER + DIGEST;
        (publishers * self.slots(publishers)) as u64 * frame as u64
    }

    /// Makes all that is sent. `nonce` tells it from what other loads send.
    pub fn devices(
        &self,
        publishers: usize,
        idle: usize,
        nonce: u32,
        scheme: &Scheme,
    ) -> Result<Devices, Failed> {
        let mut making = Making::new(self, nonce, scheme)?;
        let senders: Vec<Device> =
            (0..publishers).map(|index| making.device(index)).collect::<Result<_, _>>()?;
        let mut made = making.senders(&senders, self.slots(publishers))?;
        for (sender, device) in made.iter_mut().zip(&senders) {
            sender.login = making.login(device);
        }
        let idle = (publishers..publishers + idle)
            .map(|index| making.device(index).map(|device| making.login(&device)))
            .collect::<Result<_, _>>()?;
        Ok(Devices {
            layout: self.layout.clone(),
            frame_len: making.frame_len,
            topics: pattern(&making.topics),
            known: making.known,
            senders: made,
            idle,
        })
    }
}

impl Devices {
    /// What the publishers send. It is theirs from here on.
    pub fn rings(&mut self) -> Vec<Ring> {
        let frames = self.senders.iter_mut().map(|sender| std::mem::take(&mut sender.frames));
        frames.map(|frames| Ring::packed(self.frame_len, frames.into_bytes())).collect()
    }
}

struct Making<'a> {
    layout: &'a Layout,
    scheme: &'a Scheme,
    nonce: u32,
    /// Bytes of each frame, and about how many are asked for, which differs where some are escaped.
    frame_len: usize,
    about: usize,
    /// The number of the next frame of all devices: it is in the frame, where there is room for it.
    number: u64,
    known: Known,
    topics: BTreeSet<String>,
}

impl<'a> Making<'a> {
    fn new(of: &'a LayoutLoad, nonce: u32, scheme: &'a Scheme) -> Result<Making<'a>, Failed> {
        let layout = &*of.layout;
        let mut making = Making {
            layout,
            scheme,
            nonce,
            frame_len: 0,
            about: of.len(),
            number: u64::from(nonce % 100) * 10_000_000,
            known: Known::default(),
            topics: BTreeSet::new(),
        };
        let device = making.device(0)?;
        let lens = (0..TRIES as u64)
            .filter_map(|n| device.frame(layout, n, making.about, scheme))
            .map(|frame| frame.len());
        let nearest = lens
            .min_by_key(|len| len.abs_diff(making.about))
            .ok_or_else(|| making.cannot("none is taken for one"))?;
        if of.frame_len.is_some_and(|wanted| wanted != nearest) {
            let why = match making.about > READ_MAX && nearest <= READ_MAX {
                true => format!(" (those whose end is looked for have at most {})", grouped(READ_MAX as u64)),
                false => String::new(),
            };
            return Err(Failed::Refused(format!(
                "layout {} has no frames of {} bytes{why}: give --payload {nearest}, the nearest, or leave it out",
                layout.name(),
                grouped(making.about as u64),
            )));
        }
        making.frame_len = nearest;
        Ok(making)
    }

    fn cannot(&self, why: &str) -> Failed {
        let name = self.layout.name();
        Failed::Refused(format!(
            "no frame of layout {name} can be made from its declaration alone: {why}; send a capture of a device with \
             framegate send --layout {name}",
        ))
    }

    fn device(&self, index: usize) -> Result<Device, Failed> {
        // The digits of an identity: at the end those of the connection, before them those of the load.
        let seed = u64::from(self.nonce % 4_000) * 1_000_000 + index as u64;
        self.layout.device(seed, self.about, self.scheme).map_err(|why| self.cannot(&why))
    }

    /// What a device sends first, and what becomes of that.
    fn login(&mut self, device: &Device) -> Login {
        let (mut login, mut kept) = (Login::default(), Kept::default());
        for frame in &device.logins {
            let Cut::Frame { shape, .. } = Cutter::default().next(self.layout, frame, PAYLOAD_MAX) else {
                unreachable!("it was made as a frame")
            };
            let explained = explain(self.layout, shape, frame, 0, &kept, self.scheme);
            login.bytes.extend_from_slice(frame);
            login.answers.extend_from_slice(answer(&explained.reply));
            if let Some(native) = self.native(&explained, frame) {
                self.known.add_login(&native);
            }
            kept = explained.kept;
        }
        login
    }

    /// Rings of the same number of frames for all of these, no two of them alike.
    fn senders(&mut self, devices: &[Device], slots: usize) -> Result<Vec<Sender>, Failed> {
        let mut senders: Vec<Sender> = devices.iter().map(|_| Sender::default()).collect();
        let mut rounds = 0;
        'rounds: while rounds < slots && !devices.is_empty() {
            for (publisher, (sender, device)) in senders.iter_mut().zip(devices).enumerate() {
                if !self.add(publisher, sender, device) {
                    break 'rounds;
                }
            }
            rounds += 1;
        }
        if rounds < LEAST && !devices.is_empty() {
            return Err(Failed::Refused(format!(
                "frames of layout {} of {} are too alike to be told apart: nothing in them is free for a number; \
                 give fewer --publishers, or a larger --payload if it has larger frames",
                self.layout.name(),
                crate::core::units::many(self.frame_len as u64, "byte")
            )));
        }
        for sender in &mut senders {
            for packed in [&mut sender.frames, &mut sender.replies, &mut sender.refusals] {
                packed.truncate(rounds);
            }
        }
        self.known.truncate(rounds);
        Ok(senders)
    }

    /// Makes one more frame of a device. Whether there is one that is like no other.
    fn add(&mut self, publisher: usize, sender: &mut Sender, device: &Device) -> bool {
        for _ in 0..TRIES {
            let number = self.number;
            self.number += 1;
            let frame = device.frame(self.layout, number, self.about, self.scheme);
            let Some(frame) = frame.filter(|frame| frame.len() == self.frame_len) else { continue };
            let explained = explain(self.layout, device.shape, &frame, 0, &device.kept, self.scheme);
            let Some(native) = self.native(&explained, &frame) else { continue };
            if self.known.add(&native, publisher, sender.frames.len()) {
                sender.frames.push(&frame);
                sender.replies.push(answer(&explained.reply));
                sender.refusals.push(answer(&explained.refuse));
                return true;
            }
        }
        false
    }

    /// What subscribers get of a frame; none where nothing is distributed.
    fn native(&mut self, explained: &Explained, raw: &[u8]) -> Option<Vec<u8>> {
        let (Ok(topic), Ok(key), true) = (&explained.topic, &explained.key, explained.publish) else {
            return None;
        };
        if !self.topics.contains(topic) {
            self.topics.insert(topic.clone());
        }
        let mut native = Vec::with_capacity(HEADER + topic.len() + raw.len() + DIGEST);
        let header = Header { key: *key, ..Header::new(Kind::Data) };
        encode(header, topic.as_bytes(), raw, self.scheme, &mut native);
        Some(native)
    }
}

fn answer(declared: &Option<Result<Vec<u8>, String>>) -> &[u8] {
    declared.as_ref().and_then(|answer| answer.as_deref().ok()).unwrap_or_default()
}

/// What matches all of these topics: the one, or their common first tokens and whatever is behind.
fn pattern(topics: &BTreeSet<String>) -> String {
    let (Some(first), Some(last)) = (topics.first(), topics.last()) else { return ">".into() };
    if first == last {
        return first.clone();
    }
    // Of sorted texts, what the first and the last have in common all have.
    let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let tokens = first.as_bytes()[..common].iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
    format!("{}>", &first[..tokens])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::layout::{Layouts, builtin};

    fn load_of(layout: &Arc<Layout>, frame_len: Option<usize>) -> LayoutLoad {
        LayoutLoad { layout: layout.clone(), listener: Vec::new(), frame_len }
    }

    fn declared(text: &str) -> Arc<Layout> {
        let text = format!("[layout.x]\ntopic = \"x\"\n{text}\n");
        Layouts::parse(&text, "test").expect("it is right").0.get("x").cloned().expect("it is declared")
    }

    fn refusal(made: Result<Devices, Failed>) -> String {
        made.map(|_| ()).expect_err("it is refused").to_string()
    }

    #[test]
    fn every_layout_that_comes_with_the_program_has_devices_whose_frames_differ() {
        for layout in builtin().iter() {
            let made = load_of(layout, None).devices(3, 2, 1_234_567, &Scheme::keyed(b"k"));
            let devices = made.unwrap_or_else(|why| panic!("{}: {why}", layout.name()));
            assert_eq!((devices.senders.len(), devices.idle.len()), (3, 2));
            let slots = devices.senders[0].frames.len();
            assert!(slots >= LEAST, "{}: {slots}", layout.name());
            for sender in &devices.senders {
                assert_eq!(
                    [sender.frames.len(), sender.replies.len(), sender.refusals.len()],
                    [slots; 3],
                    "{}",
                    layout.name()
                );
                let lens = (0..slots).map(|slot| sender.frames.get(slot).len());
                assert!(lens.into_iter().all(|len| len == devices.frame_len), "{}", layout.name());
            }
        }
    }

    #[test]
    fn a_device_logs_in_once_and_is_known_by_its_topic() {
        let made = load_of(builtin().get("gt06").unwrap(), Some(100)).devices(2, 1, 42, &Scheme::Sha256);
        let devices = made.unwrap();
        assert_eq!(devices.frame_len, 100);
        assert_eq!(devices.topics, "gt06.>");
        let logins: BTreeSet<_> =
            devices.senders.iter().map(|one| &one.login).chain(&devices.idle).map(|one| &one.bytes).collect();
        assert_eq!(logins.len(), 3);
        // Both are answered as the contract has it.
        assert!(devices.idle[0].answers.starts_with(&[0x78, 0x78, 0x05]), "{:02x?}", devices.idle[0].answers);
        assert_eq!(devices.senders[1].replies.get(3).len(), 10);
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_the_mend() {
        let fixed = declared("size = 12\ncheck = \"none\"");
        let said = refusal(load_of(&fixed, Some(100)).devices(1, 0, 1, &Scheme::Sha256));
        assert!(
            said.contains(
                "layout x has no frames of 100 bytes: give --payload 12, the nearest, or leave it out"
            ),
            "{said}"
        );
        assert_eq!(load_of(&fixed, None).devices(1, 0, 1, &Scheme::Sha256).unwrap().frame_len, 12);
        // All of it is declared: nothing tells two frames apart.
        let alike = declared(
            "start = \"AA BB\"\nsize = 3\ncheck = { is = \"xor-8\", over = \"0..2\", at = \"u8 @ 2\" }",
        );
        let said = refusal(load_of(&alike, None).devices(1, 0, 1, &Scheme::Sha256));
        assert!(said.contains("too alike to be told apart"), "{said}");
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_its_reason() {
        let said = |text: &str, len| refusal(load_of(&declared(text), len).devices(1, 0, 1, &Scheme::Sha256));
        let silent = said("publish = false\nlength = \"u8 @ 0\"\ncheck = \"none\"", None);
        assert!(silent.contains(": it publishes nothing (publish = false), and"), "{silent}");
        // No login is made: its check stands where its end does, and is never that.
        let login = "start = \"01\"\nsize = 6\nend = \"00\"\nwho = \"digits 1..4\"\nkeep = [\"who\"]\npublish = false\n\
                     check = { is = \"xor-8\", over = \"0..4\", at = \"u8 @ 5\" }";
        let text = format!(
            "[layout.x]\ntopic = \"x.{{who}}\"\ncheck = \"none\"\n[[layout.x.shape]]\n{login}\n[[layout.x.shape]]\nlength = \"u8 @ 1\"\n"
        );
        let layout = Layouts::parse(&text, "test").expect("it is right").0.get("x").cloned().unwrap();
        let unknown = refusal(load_of(&layout, None).devices(1, 0, 1, &Scheme::Sha256));
        assert!(
            unknown.contains("its frames would be refused: who is not known on this connection yet"),
            "{unknown}"
        );
        // Their end is looked for: of such frames there are none as large as that.
        let jt808 = load_of(builtin().get("jt808").unwrap(), Some(2 * READ_MAX));
        let said = refusal(jt808.devices(1, 0, 1, &Scheme::Sha256));
        let why = format!("(those whose end is looked for have at most {})", grouped(READ_MAX as u64));
        assert!(said.contains(&why) && said.contains(": give --payload "), "{said}");
    }

    #[test]
    fn the_shape_that_has_such_frames_is_taken() {
        // A length of 8 bits, and one of 16.
        for (len, start) in [(256, [0x78, 0x78]), (300, [0x79, 0x79])] {
            let gt06 = load_of(builtin().get("gt06").unwrap(), Some(len));
            let devices = gt06.devices(2, 0, 7, &Scheme::Sha256).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(devices.frame_len, len);
            assert!(devices.senders[1].frames.get(3).starts_with(&start), "{len}");
        }
    }

    #[test]
    fn a_login_whose_text_has_a_length_names_its_device() {
        let text = "topic = \"x.{who}\"\n[[layout.x.shape]]\nstart = \"01\"\nlength = \"u8 @ 1\"\nn = \"u8 @ 2\"\n\
                    who = \"text 3..3 + n\"\nkeep = [\"who\"]\npublish = false\ncheck = \"none\"\n\
                    [[layout.x.shape]]\nlength = \"u16 @ 1\"\ncheck = \"none\"";
        let layout =
            Layouts::parse(&format!("[layout.x]\n{text}\n"), "test").unwrap().0.get("x").cloned().unwrap();
        let devices =
            load_of(&layout, None).devices(3, 0, 7, &Scheme::Sha256).unwrap_or_else(|why| panic!("{why}"));
        let logins: BTreeSet<_> = devices.senders.iter().map(|sender| &sender.login.bytes).collect();
        assert_eq!(logins.len(), 3);
        assert_eq!(devices.topics, "x.>");
    }

    #[test]
    fn frames_of_which_there_are_few_are_shared_out() {
        // Two digits: a hundred frames for three publishers, each with as many.
        let few = declared("start = \"AA\"\nsize = 3\ncheck = \"none\"");
        let devices = load_of(&few, None).devices(3, 0, 1, &Scheme::Sha256).unwrap();
        let slots: BTreeSet<usize> = devices.senders.iter().map(|sender| sender.frames.len()).collect();
        assert_eq!(slots.len(), 1);
        assert!((LEAST..=33).contains(slots.first().unwrap()), "{slots:?}");
    }

    #[test]
    fn a_pattern_matches_all_topics_and_little_else() {
        for (topics, expected) in [
            (&["a.b"][..], "a.b"),
            (&["a.b", "a.c"], "a.>"),
            (&["a.b", "a.b.c"], "a.>"),
            (&["a.bx.1", "a.by.2"], "a.>"),
            (&["a.b.1", "a.b.2", "a.b.3"], "a.b.>"),
            (&["a", "b"], ">"),
        ] {
            assert_eq!(pattern(&topics.iter().map(|topic| topic.to_string()).collect()), expected);
        }
    }
}
