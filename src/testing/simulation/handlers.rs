//! Programs that answer calls: in any order, a few bytes at a time, wrongly, or not at all.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;

use super::network::{World, take, take_into, write};
use super::rng::SimRng;
use super::script::{Decision, Rules};
use crate::runtime::net::{Event, Pipe, Process};
use crate::testing::heap;
use crate::wire::{Decoder, Header, Kind, Scheme, Status, encode};

/// Bytes that a pipe holds.
const PIPE: usize = 2_000;

/// One program, as the kernel sees it, and what it is up to.
pub struct Program {
    key: u64,
    /// From the gateway, not read by the program yet.
    input: VecDeque<u8>,
    /// From the program, not read by the gateway yet.
    output: VecDeque<u8>,
    log: VecDeque<u8>,
    input_ended: bool,
    output_ended: bool,
    ended: Option<&'static str>,
    /// The gateway knows that it ended.
    pub reaped: bool,
    dropped: bool,
    edges: [bool; 3],

    decoder: Decoder,
    /// Calls that it has not answered: their ids, and what it will say.
    held: Vec<(u64, Vec<u8>, Decision)>,
    /// What it has said and not written.
    pending: VecDeque<u8>,
    /// It does nothing any more.
    hangs: bool,
}

impl Program {
    pub fn new(key: u64) -> Program {
        let rules = crate::wire::Rules { payload_max: u32::MAX, replies: true };
        Program {
            key,
            input: VecDeque::new(),
            output: VecDeque::new(),
            log: VecDeque::new(),
            input_ended: false,
            output_ended: false,
            ended: None,
            reaped: false,
            dropped: false,
            edges: [false; 3],
            decoder: Decoder::new(rules),
            held: Vec::new(),
            pending: VecDeque::new(),
            hangs: false,
        }
    }

    pub fn take_events(&mut self, events: &mut Vec<Event>) {
        if self.dropped {
            return;
        }
        for (edge, pipe) in self.edges.iter_mut().zip([Pipe::Input, Pipe::Output, Pipe::Log]) {
            if std::mem::take(edge) {
                events.push(Event::Pipe { key: self.key, pipe });
            }
        }
    }

    /// Whether it runs and is not told to end.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Calls that it read and has not answered.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn end(&mut self, how: &'static str) {
        if self.ended.is_none() {
            self.ended = Some(how);
            self.output_ended = true;
            self.edges = [true; 3];
        }
    }

    /// Reads at most `max` bytes of its calls. Whether there were any.
    fn read_calls(&mut self, max: usize, rules: &Rules, seen: &mut Seen) -> bool {
        let n = max.min(self.input.len());
        self.edges[0] |= n > 0 && self.input.len() >= PIPE;
        let bytes = take(&mut self.input, n);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let spare = self.decoder.spare();
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            self.decoder.advance(n);
            rest = &rest[n..];
        }
        while let Some(frame) = self.decoder.next_frame().expect("the gateway writes frames") {
            assert!(frame.is_intact(&Scheme::Sha256), "a handler gets right digests");
            assert_eq!(frame.header.kind, Kind::Data);
            assert!(self.held.iter().all(|(id, ..)| *id != frame.header.id), "each call has its own id");
            let decision = Decision::on(frame.topic(), frame.payload(), rules);
            *seen.entry((frame.header.key, frame.topic().to_vec(), frame.payload().to_vec())).or_default() +=
                1;
            let answer = decision.encode(frame.header.id, frame.header.key);
            self.held.push((frame.header.id, answer, decision));
        }
        n > 0
    }

    /// Answers one of its calls. Whether there was one.
    fn answer(&mut self, first: bool, rng: &mut SimRng<'_>) -> bool {
        // The first is kept back where others are answered before it.
        let from = usize::from(!first);
        if self.held.len() <= from {
            return false;
        }
        let (_, answer, decision) = self.held.swap_remove(from + rng.below(self.held.len() - from));
        match decision {
            Decision::Poison => self.end("choked"),
            _ => self.pending.extend(answer),
        }
        true
    }

    /// Writes at most `max` bytes of what it has said. Whether there were any.
    fn write(&mut self, max: usize) -> bool {
        let n = max.min(self.pending.len()).min(PIPE.saturating_sub(self.output.len()));
        self.output.extend(take(&mut self.pending, n));
        self.edges[1] |= n > 0;
        n > 0
    }

    /// Does something that a handler must not.
    fn misbehave(&mut self, rng: &mut SimRng<'_>) {
        match rng.below(9) {
            0 => self.end("fell over"),
            1 => {
                self.output_ended = true;
                self.edges[1] = true;
            }
            2 => self.hangs = true,
            3 => self.pending.extend(b"Traceback (most recent call last):\n"),
            4 => self.say(Header { id: u64::MAX, ..Header::new(Kind::Reply) }, b"", false),
            5 => self.say(Header::new(Kind::Ping), b"", false),
            6 => self.say(Header { status: Status::Closing as u16, ..Header::new(Kind::Reply) }, b"", false),
            // What is wrong with it is found before anything of it counts.
            _ => {
                let id = self.held.first().map_or(0, |(id, ..)| *id);
                self.say(Header { id, ..Header::new(Kind::Reply) }, b"answer", true);
            }
        }
    }

    fn say(&mut self, header: Header, payload: &[u8], corrupt: bool) {
        let mut bytes = Vec::new();
        encode(header, b"", payload, &Scheme::Sha256, &mut bytes);
        *bytes.last_mut().expect("a digest") ^= u8::from(corrupt);
        self.pending.extend(bytes);
    }

    fn is_busy(&self) -> bool {
        self.is_alive() && !self.hangs && !self.dropped
    }

    /// Something happens.
    pub fn act(&mut self, chaos: bool, rules: &Rules, seen: &mut Seen, rng: &mut SimRng<'_>) {
        if !self.is_busy() {
            return;
        }
        if self.input_ended && self.input.is_empty() {
            return self.end("done");
        }
        let n = *rng.pick(&[1, 100, 10_000]);
        match rng.below(24) {
            0..9 => {
                self.read_calls(n, rules, seen);
            }
            9..15 => {
                let first = !rules.slow || rng.one_in(200);
                self.answer(first, rng);
            }
            15..22 => {
                self.write(n);
            }
            22 => {
                self.log.extend(b"a line\nand a half");
                self.edges[2] = true;
            }
            _ if chaos && rng.one_in(3) => self.misbehave(rng),
            _ => {}
        }
    }

    /// Reads all of its calls, and answers all but the first.
    #[cfg(test)]
    pub fn overtake(&mut self, rules: &Rules, seen: &mut Seen, rng: &mut SimRng<'_>) {
        self.read_calls(usize::MAX, rules, seen);
        while self.answer(false, rng) {}
        self.write(usize::MAX);
    }

    /// Without faults: answers all there is.
    pub fn go_on(&mut self, rules: &Rules, seen: &mut Seen, rng: &mut SimRng<'_>) -> bool {
        if !self.is_busy() {
            return false;
        }
        let mut went_on = self.read_calls(usize::MAX, rules, seen);
        while self.is_alive() && self.answer(true, rng) {
            went_on = true;
        }
        went_on |= self.write(usize::MAX);
        if self.input_ended && self.is_alive() && self.pending.is_empty() {
            self.end("done");
            went_on = true;
        }
        went_on
    }
}

/// How often the handlers got each frame, by key, topic and payload.
pub type Seen = HashMap<(u64, Vec<u8>, Vec<u8>), usize>;

/// The gateway's side of a program.
pub struct SimProcess {
    pub at: usize,
    pub world: Rc<RefCell<World>>,
}

impl SimProcess {
    fn with<T>(&self, act: impl FnOnce(&mut Program) -> T) -> T {
        let _scope = heap::world();
        act(&mut self.world.borrow_mut().programs[self.at])
    }
}

fn read(from: &mut VecDeque<u8>, ended: bool, bytes: &mut [u8]) -> io::Result<usize> {
    assert!(!bytes.is_empty(), "a read for nothing could not be told from the end");
    if from.is_empty() && !ended {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let n = bytes.len().min(from.len());
    take_into(from, &mut bytes[..n]);
    Ok(n)
}

impl Process for SimProcess {
    fn id(&self) -> u32 {
        self.at as u32
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.with(|program| read(&mut program.output, program.output_ended, bytes))
    }

    fn read_log(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.with(|program| read(&mut program.log, program.ended.is_some(), bytes))
    }

    fn write(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.with(|program| {
            assert!(!program.input_ended, "nothing is written after the end");
            if program.ended.is_some() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            write(slices, &mut program.input, PIPE)
        })
    }

    fn end_input(&mut self) {
        self.with(|program| program.input_ended = true);
    }

    fn kill(&mut self) {
        self.with(|program| program.end("was killed"));
    }

    fn ended(&mut self) -> Option<String> {
        self.with(|program| {
            let how = program.ended?;
            program.reaped = true;
            Some(how.to_string())
        })
    }
}

impl Drop for SimProcess {
    fn drop(&mut self) {
        self.with(|program| program.dropped = true);
    }
}
