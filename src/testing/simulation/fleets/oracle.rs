//! What must hold at the end of a fleet's run. The numbers are those of the sentences that define the gateway.

use std::collections::BTreeMap;

use super::Fleet;
use super::device::{ANSWER, Device, Due, Sent, decide};
use crate::gateway::CloseReason;
use crate::runtime::handler::Answer;
use crate::wire::{Decoder, Header, Kind, Rules};

impl Fleet<'_> {
    pub(super) fn check(self) -> Covered {
        self.gate.check_empty();
        let ledger = self.gate.ledger();
        assert!(ledger.is_balanced(), "7: {ledger}");
        let reasons: BTreeMap<usize, CloseReason> =
            self.gate.closed().iter().map(|(addr, reason)| (addr.port() as usize, reason.clone())).collect();
        let came = self.delivered();
        let mut covered = Covered { skipped: ledger.bytes_skipped, ..Covered::default() };
        for device in &self.devices {
            covered += self.check_device(device, reasons.get(&device.wire), &came);
        }
        covered
    }

    /// What came out, by number: intact, what was sent or what a handler put in its place, each device's in order.
    fn delivered(&self) -> BTreeMap<u32, usize> {
        let mut came = BTreeMap::new();
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: true });
        let mut rest = &self.subscriber.1[..];
        loop {
            while let Some(frame) = decoder.next_frame().expect("the gateway sends frames") {
                assert!(frame.is_intact(&self.scheme()), "3: a frame with a wrong digest came out");
                if frame.header.kind == Kind::Reply {
                    continue;
                }
                let number = frame.header.key as u32;
                let expected = Header {
                    key: number.into(),
                    topic_len: frame.header.topic_len,
                    payload_len: frame.header.payload_len,
                    ..Header::new(Kind::Data)
                };
                assert_eq!(frame.header, expected, "3: the header of a native frame");
                let who = number >> 12;
                let sent = self.devices[who as usize].script.iter().find(|sent| sent.number == number);
                let sent = sent.expect("3: a frame came out that nobody sent");
                assert_eq!(sent.due, Due::Published, "3: {number} came out");
                let is_replaced = self.rules.handler && matches!(decide(number), Answer::Replace { .. });
                match is_replaced {
                    true => assert_eq!((frame.topic(), frame.payload()), (&b"dev.other"[..], &[7; 9][..])),
                    false => {
                        assert_eq!(frame.payload(), sent.bytes, "3: other bytes came out");
                        assert_eq!(frame.topic(), format!("dev.{who}").as_bytes());
                    }
                }
                let before = last.insert(who, number);
                let is_first = self.rules.dedup || before.is_none_or(|before| before < number);
                assert!(is_first, "1: {number} came after {before:?}");
                *came.entry(number).or_default() += 1;
            }
            if rest.is_empty() {
                return came;
            }
            let spare = decoder.spare();
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            decoder.advance(n);
            rest = &rest[n..];
        }
    }

    /// Each frame that is answered has one answer, in the order of the frames, and what it says is so.
    fn check_device(
        &self,
        device: &Device,
        reason: Option<&CloseReason>,
        came: &BTreeMap<u32, usize>,
    ) -> Covered {
        let mut covered = Covered::default();
        // What a handler writes goes to the device where the layout would say nothing, too.
        let is_optional = |sent: &&Sent| {
            let is_written = matches!(decide(sent.number), Answer::Pass(written) if !written.is_empty());
            sent.bytes[0] == 0xC3 && sent.due == Due::Published && self.rules.handler && is_written
        };
        let mut due = device.script.iter().filter(|sent| match sent.due {
            Due::Published if is_optional(sent) => true,
            Due::Published | Due::Refused | Due::Taken => matches!(sent.bytes[0], 0xA1 | 0xB2),
            Due::Ends(is_answered) => is_answered && matches!(sent.bytes[0], 0xA1 | 0xB2),
        });
        assert!(device.broke || device.received.len().is_multiple_of(ANSWER), "4: half an answer");
        for (tag, number) in device.answers() {
            let sent = due
                .find(|sent| sent.number == number || !is_optional(sent))
                .unwrap_or_else(|| panic!("4: an answer that is not due: {tag:x} {number}"));
            assert_eq!(
                number,
                sent.number,
                "4: {tag:x} is not in the order of its frame: {:?}",
                device.answers().collect::<Vec<_>>()
            );
            let decided = if self.rules.handler { decide(number) } else { Answer::Pass(Vec::new()) };
            let refused_by_chance =
                self.rules.overflows || self.rules.sink.as_ref().is_some_and(|sink| sink.borrow().refuses);
            let may: &[u8] = match (sent.due, decided) {
                (Due::Taken, _) => &[0xA1],
                (Due::Refused | Due::Ends(_), _) => &[0xEE],
                (Due::Published, Answer::Reject(_) | Answer::Busy(_)) => &[0xEE],
                // What comes again is answered without the handler.
                (Due::Published, Answer::Pass(written)) if !written.is_empty() => &[0xF5, 0xB2, 0xEE],
                (Due::Published, _) => &[0xB2, 0xEE],
            };
            assert!(may.contains(&tag), "4: {number} is answered {tag:x}, not {may:x?}");
            if sent.due == Due::Published && tag == 0xEE && may.len() > 1 {
                assert!(refused_by_chance, "4: {number} is refused");
            }
            if matches!(tag, 0xB2 | 0xF5) {
                assert!(came.contains_key(&number), "4: {number} is answered, and did not come out");
            }
            covered.answered += 1;
            covered.written += u64::from(tag == 0xF5);
            covered.refused += u64::from(tag == 0xEE);
        }
        let is_complete = !device.broke
            && matches!(reason, Some(CloseReason::Finished | CloseReason::Fault(_) | CloseReason::BadDigest));
        if is_complete {
            let left: Vec<u32> = due.filter(|sent| !is_optional(sent)).map(|sent| sent.number).collect();
            assert!(left.is_empty(), "4: not answered: {left:?}, {reason:?}");
            let ends = device.script.iter().any(|sent| matches!(sent.due, Due::Ends(_)));
            assert_eq!(ends, *reason.expect("it has one") != CloseReason::Finished, "4: {reason:?}");
            covered.whole += 1;
        }
        covered.broken += u64::from(device.broke);
        if !self.rules.dedup {
            assert!(
                device.script.iter().all(|sent| came.get(&sent.number).is_none_or(|times| *times == 1)),
                "2"
            );
        }
        covered
    }
}

/// What was reached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Covered {
    pub answered: u64,
    pub written: u64,
    pub refused: u64,
    pub skipped: u64,
    pub whole: u64,
    pub broken: u64,
}

impl std::ops::AddAssign for Covered {
    fn add_assign(&mut self, other: Covered) {
        self.answered += other.answered;
        self.written += other.written;
        self.refused += other.refused;
        self.skipped += other.skipped;
        self.whole += other.whole;
        self.broken += other.broken;
    }
}
