//! The store on a disk that fails and machines that stop, against a list of what was confirmed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Choices;
use super::disk::{Fault, SimDisk};
use crate::core::memory::{Buffer, Memory};
use crate::sinks::Put;
use crate::sinks::store::order;
use crate::sinks::store::repair::repair;
use crate::sinks::store::{
    Append, Keys, Now, Policy, Puts, Recovered, Scan, Schemes, SegmentLog, Stamp, Start, Stop, SyncPolicy,
    Trouble, finish_open, index, names, recover,
};
use crate::wire::{Body, Header, Kind, Scheme, encode};

const TOPICS: [&str; 6] = ["", "a", "a.b", "c/d", "..", "e"];

/// Steps of a run; more finds nothing new, and slows the search.
const STEPS: usize = 100;

/// Frames that a repair finds; of more nothing new is learned.
const MISFILED: usize = 30;

/// 10 s, as long as the clock of a run is set forward at once.
const ROTATE: Duration = Duration::from_secs(10);

/// One of the checks of the store, as the first byte says: a fuzzer tries each of them with what suits it.
pub fn check_any_store(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 4 {
        0 => check_store(rest),
        1 => check_recovery(rest),
        2 => check_repair(rest),
        _ => super::check_clocks(rest),
    }
}

/// Every confirmed frame is in the store once and intact, in its order, whatever failed and whenever the
/// machine stopped; no frame is there twice; every finished segment verifies.
pub fn check_store(data: &[u8]) {
    check_store_on(SimDisk::new(), data);
}

fn check_store_on(disk: SimDisk, data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut run = Run::new(disk);
    for _ in 0..STEPS {
        if choices.is_empty() {
            break;
        }
        run.step(&mut choices);
    }
    run.finish();
}

/// Any bytes as an open segment and its index are recovered, however often the machine stops meanwhile: what
/// is left verifies, and with what was cut off it is what was there.
pub fn check_recovery(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut segment = Vec::new();
    for _ in 0..choices.below(8) {
        let payload = choices.payload(300);
        let header = Header { id: u64::from(choices.byte()), ..choices.header() };
        encode(header, b"a", &payload, &Scheme::Sha256, &mut segment);
    }
    if choices.flip() && !segment.is_empty() {
        let at = choices.below(segment.len());
        segment[at] ^= choices.byte();
    }
    segment.extend_from_slice(choices.bytes(200));
    let mut indexed = Vec::new();
    for _ in 0..choices.below(4) {
        // As late as a clock may be, or so late that nobody believes it.
        let first = choices.number();
        let first = Stamp(if first >> 63 == 0 { first } else { first | 1 << 62 });
        let (end, frames) = (choices.below(segment.len() + 1) as u64, u32::from(choices.byte()));
        indexed.extend(index::Entry { first, end, frames }.encode());
    }
    indexed.extend_from_slice(choices.bytes(60));

    let disk = SimDisk::new();
    let base = Stamp(1_000);
    disk.put(Path::new("a"), &format!("{base}.open"), &segment);
    disk.put(Path::new("a"), &format!("{base}.index"), &indexed);
    let crashes = choices.below(4);
    let (mut cuts, mut frames) = (0, 0);
    // It is known what the frames were made under.
    let known = Schemes::default().begin(&mut disk.clone(), Stamp(0), &Scheme::Sha256);
    known.unwrap_or_else(|why| panic!("{why}"));
    let recover = |disk: &SimDisk| begin(disk, Stamp(2_000));
    for _ in 0..crashes {
        disk.break_after(choices.below(30), Fault::Crash, choices.number());
        if let Ok((_, recovered)) = recover(&disk) {
            (cuts, frames) = (recovered.cuts.len(), recovered.frames);
        }
        disk.restart();
    }
    let (start, recovered) = recover(&disk).expect("all is well");
    let stored = check_segments(&disk);
    let kept: usize = stored.iter().map(|(_, bytes)| bytes.len()).sum();
    let files: HashMap<_, _> = disk.all().into_iter().collect();
    let cut = files.get(&Path::new("a").join(format!("{base}.cut")));
    let cut = cut.map_or(&[][..], |bytes| &bytes[..]);
    assert_eq!((kept, cut), (segment.len() - cut.len(), &segment[kept..]), "all bytes are still there");
    if crashes == 0 {
        (cuts, frames) = (recovered.cuts.len(), recovered.frames);
        assert_eq!((cuts, frames), (usize::from(!cut.is_empty()), stored.len() as u64));
    }
    assert!(cuts <= 1 && frames <= stored.len() as u64);
    let next = { start.clock }.take(Stamp(0), 1);
    assert!(stored.last().is_none_or(|(last, _)| *last < next), "no stamp is given twice");
    let again = recover(&disk).expect("all is well").1;
    assert_eq!((again.segments, check_segments(&disk)), (0, stored), "a second start finds all done");
}

struct Run {
    disk: SimDisk,
    segment_log: SegmentLog<SimDisk>,
    memory: Arc<Memory>,
    waiting: VecDeque<Append>,
    puts: Puts,
    now: Now,
    /// Numbers the frames.
    next: u64,
    /// Ids in the order in which they were confirmed, and whether a crash may have changed it since.
    confirmed: Vec<u64>,
    /// Of those, how many were confirmed before the last crash.
    before: usize,
    /// The topic of every frame.
    topics: HashMap<u64, &'static str>,
    /// What somebody took away, and what the store would not have.
    taken: HashSet<u64>,
    refused: HashSet<u64>,
    /// Puts on which there was a word.
    told: HashSet<u64>,
    /// What was shown to durable subscribers: frames by their sequences.
    shown: HashMap<u64, u64>,
    /// How many topics it may have.
    topics_max: usize,
    /// Rounds that may find nothing but what was taken away, and one more.
    taken_unseen: usize,
}

impl Run {
    fn new(disk: SimDisk) -> Run {
        let now = Now { stamp: Stamp(1_785_233_730_000_000_000), instant: Instant::now() };
        Run {
            segment_log: segment_log(&disk, Start::default(), TOPICS.len(), now),
            disk,
            memory: Memory::new(Memory::least(1 << 20), 1 << 20),
            waiting: VecDeque::new(),
            puts: Puts::default(),
            now,
            next: 0,
            confirmed: Vec::new(),
            before: 0,
            topics: HashMap::new(),
            taken: HashSet::new(),
            refused: HashSet::new(),
            told: HashSet::new(),
            shown: HashMap::new(),
            topics_max: TOPICS.len(),
            taken_unseen: 1,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(17) {
            0..7 => self.append(choices),
            7..11 => self.store(),
            11 => {
                self.pass(Duration::from_secs(choices.below(12) as u64));
                let _ = self.segment_log.rotate(self.now);
            }
            12 => {
                let fault = [Fault::Error, Fault::Error, Fault::Full, Fault::Crash][choices.below(4)];
                self.disk.break_after(choices.below(40), fault, choices.number());
            }
            13 => self.disk.heal(),
            // The clock is set back.
            14 => self.now.stamp = Stamp(self.now.stamp.0 - 60_000_000_000),
            15 => self.take_away(choices),
            _ if choices.below(8) == 0 => {
                self.disk.break_after(0, Fault::Crash, choices.number());
                self.store();
                let _ = self.segment_log.rotate(self.now);
            }
            _ => {}
        }
        if self.disk.is_stopped() {
            self.restart(choices);
        }
    }

    /// Frames of one topic or of several, put at once.
    fn append(&mut self, choices: &mut Choices<'_>) {
        let mut topic = TOPICS[choices.below(TOPICS.len())];
        let is_mixed = choices.flip();
        let frames = 1 + choices.below(if is_mixed { 5 } else { 3 }) as u32;
        let ticket = self.next;
        let mut bytes = Vec::new();
        for _ in 0..frames {
            let max = if choices.below(20) == 0 { 5_000 } else { 100 };
            let payload = choices.long_payload(max);
            let header = Header { id: self.next, ..Header::new(Kind::Data) };
            encode(header, topic.as_bytes(), &payload, &Scheme::Sha256, &mut bytes);
            self.topics.insert(self.next, topic);
            self.next += 1;
            if is_mixed {
                topic = TOPICS[choices.below(TOPICS.len())];
            }
        }
        let end = bytes.len();
        let buffer = Arc::new(Buffer::charged(&self.memory, bytes.into()));
        let put = Put { ticket, from: 0, body: Body::Slice { buffer, start: 0, end }, frames };
        self.puts.take(put, |append| self.waiting.push_back(append));
    }

    /// A round; what it does not store waits, and nothing of it is told.
    fn store(&mut self) {
        self.pass(Duration::from_micros(1));
        let frames =
            |waiting: &VecDeque<Append>| waiting.iter().map(|append| u64::from(append.frames())).sum::<u64>();
        let before = frames(&self.waiting) + self.segment_log.failing().frames();
        let mut told = Vec::new();
        let (healthy, held) = (self.disk.is_healthy(), self.segment_log.failing().said().is_some());
        let result = self.segment_log.store(&mut self.waiting, self.now, |append, refusal| {
            told.push((ids_of(append.body()), refusal.is_some()));
            if let Some(outcome) = self.puts.done(append, refusal) {
                assert!(self.told.insert(outcome.ticket), "one word on a put");
            }
        });
        let after = frames(&self.waiting) + self.segment_log.failing().frames();
        let told_frames: usize = told.iter().map(|(ids, _)| ids.len()).sum();
        assert_eq!(after + told_frames as u64, before, "what is not stored waits");
        if let Err(trouble) = &result {
            assert!(!healthy, "without a fault: {trouble}");
        }
        // A round may find one topic after the other taken away, and nothing else.
        let goes_on = before == 0 || !told.is_empty() || !healthy || held;
        self.taken_unseen = if goes_on { self.taken_unseen } else { self.taken_unseen.saturating_sub(1) };
        assert!(goes_on || self.taken_unseen > 0, "a round goes on");
        for (ids, is_refused) in told {
            if is_refused {
                self.refused.extend(ids);
            } else {
                self.confirmed.extend(ids);
            }
        }
        self.show(self.next.is_multiple_of(3));
    }

    /// What is confirmed is shown, and has its sequence for ever.
    fn show(&mut self, at_once: bool) {
        if self.disk.is_stopped() {
            return;
        }
        let healthy = self.disk.is_healthy();
        let shown = match self.segment_log.show(at_once) {
            Ok(shown) => shown,
            Err(trouble) => return assert!(!healthy, "without a fault: {trouble}"),
        };
        let Some(shown) = shown else { return };
        let files: HashMap<_, _> = self.disk.all().into_iter().collect();
        for run in shown.runs {
            let path = |holds| names::file(&run.folder, run.base, holds);
            let file = files.get(&path(names::Holds::OpenFrames));
            // Somebody may have taken it away.
            let Some(bytes) = file.or(files.get(&path(names::Holds::Frames))) else { continue };
            let Some(bytes) = bytes.get(run.from as usize..run.to as usize) else { continue };
            let ids = ids_in(bytes);
            assert_eq!(ids.len(), run.frames as usize, "a run is whole");
            for (seq, id) in (run.seq..).zip(ids) {
                assert!(self.confirmed.contains(&id), "frame {id} is shown, and was not confirmed");
                assert_eq!(self.shown.insert(seq, id), None, "sequence {seq} is of two frames");
            }
        }
    }

    /// Somebody takes a topic's folder away, or its open file.
    fn take_away(&mut self, choices: &mut Choices<'_>) {
        let folder = names::folder(TOPICS[choices.below(TOPICS.len())]);
        let all = choices.flip();
        let mut found = self.disk.all();
        found.retain(|(path, _)| path.parent() == Some(&folder));
        for (path, bytes) in found {
            let is_open = path.extension().is_some_and(|extension| extension == "open");
            if is_open || (all && path.extension().is_some_and(|extension| extension == "frames")) {
                self.taken.extend(ids_in(&bytes));
            }
            if is_open && !all {
                self.disk.take_file(&path);
            }
        }
        if all {
            self.disk.take_folder(&folder);
        }
        self.taken_unseen += 1;
    }

    fn pass(&mut self, time: Duration) {
        self.now.stamp.0 += time.as_nanos() as u64;
        self.now.instant += time;
    }

    /// The machine starts again, perhaps more than once.
    fn restart(&mut self, choices: &mut Choices<'_>) {
        self.waiting.clear();
        self.puts = Puts::default();
        let (start, _) = loop {
            self.disk.restart();
            if !choices.is_empty() && choices.below(3) == 0 {
                self.disk.break_after(choices.below(30), Fault::Crash, choices.number());
            }
            match begin(&self.disk, self.now.stamp) {
                Ok(recovered) => break recovered,
                Err(trouble) => assert!(self.disk.is_stopped(), "{trouble}"),
            }
        };
        self.disk.heal();
        self.before = self.confirmed.len();
        self.topics_max = TOPICS.len() - choices.below(3);
        self.segment_log = segment_log(&self.disk, start, self.topics_max, self.now);
        self.check();
    }

    /// Nothing goes wrong any more: all that waits is stored.
    fn finish(&mut self) {
        self.disk.heal();
        for round in 0.. {
            self.segment_log.hurry(self.now);
            if self.waiting.is_empty() && self.segment_log.failing().said().is_none() {
                break;
            }
            self.store();
            assert!(round < 10_000, "it goes on for ever: {:?}", self.segment_log.failing());
        }
        self.segment_log.close_all(self.now).unwrap_or_else(|trouble| panic!("{trouble}"));
        // A start afterwards has nothing to do, unless somebody left an index without its frames.
        let (_, Recovered { segments, cuts, .. }) = begin(&self.disk, self.now.stamp).expect("all is well");
        assert!(segments == 0 && cuts.is_empty());
        self.check();
        assert_eq!(self.memory.used(), 0);
        let folders = self.disk.all().into_iter().filter_map(|(path, _)| Some(path.parent()?.to_owned()));
        let own = ["", order::FOLDER].map(Path::new);
        let folders: HashSet<_> = folders.filter(|folder| !own.contains(&&**folder)).collect();
        assert!(folders.len() <= TOPICS.len());
    }

    fn check(&self) {
        let stored = check_segments(&self.disk);
        let ids: Vec<u64> = stored.iter().map(|(_, bytes)| id_of(bytes)).collect();
        self.check_sequences(&stored);
        let mut times: HashMap<u64, usize> = HashMap::new();
        ids.iter().for_each(|&id| *times.entry(id).or_default() += 1);
        for id in self.confirmed.iter().filter(|id| !self.taken.contains(id)) {
            assert_eq!(times.get(id), Some(&1), "frame {id} was confirmed");
        }
        assert!(times.iter().all(|(id, times)| *times == 1 && *id < self.next), "{times:?}");
        assert!(times.keys().all(|id| !self.refused.contains(id)), "what was refused is not there");
        // Within a topic always in order; over all topics as confirmed, unless a crash came between.
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for id in &ids {
            let before = last.insert(self.topics[id], *id);
            assert!(before.is_none_or(|before| before < *id), "{before:?} before {id}");
        }
        let left = |id: &&u64| times.contains_key(id);
        let since: HashSet<u64> = self.confirmed[self.before..].iter().copied().collect();
        let confirmed: Vec<u64> = self.confirmed[self.before..].iter().filter(left).copied().collect();
        let in_order: Vec<u64> = ids.iter().copied().filter(|id| since.contains(id)).collect();
        assert_eq!(in_order, confirmed, "in the order in which they were confirmed");
    }
}

impl Run {
    /// Each frame has a sequence, in the order of all; what was shown has the one with which it was.
    fn check_sequences(&self, stored: &[(Stamp, Vec<u8>)]) {
        let mut disk = self.disk.clone();
        let shown: HashMap<u64, u64> = self.shown.iter().map(|(seq, id)| (*id, *seq)).collect();
        let mut last = 0;
        for (stamp, bytes) in stored {
            let place = order::at_stamp(&mut disk, *stamp).expect("the disk works");
            let place = place.filter(|place| place.stamp == *stamp).expect("each has a sequence");
            assert!(place.seq > last, "{} after {last}", place.seq);
            last = place.seq;
            assert_eq!(order::at_seq(&mut disk, last).expect("the disk works"), Some(place));
            let id = id_of(bytes);
            if !self.taken.contains(&id) {
                assert!(
                    shown.get(&id).is_none_or(|seq| *seq == last),
                    "frame {id} was shown as {:?}",
                    shown[&id]
                );
                assert!(self.shown.get(&last).is_none_or(|shown| *shown == id), "{last} was another's");
            }
        }
    }
}

/// A start.
pub(super) fn begin(disk: &SimDisk, now: Stamp) -> Result<(Start, Recovered), Trouble> {
    let keys = Keys::new(vec![Scheme::Sha256]);
    recover(&mut disk.clone(), &keys, now).map(|(start, _, recovered)| (start, recovered))
}

fn segment_log(disk: &SimDisk, start: Start, topics: usize, now: Now) -> SegmentLog<SimDisk> {
    let policy = Policy { rotate: ROTATE, sync: SyncPolicy::Batch, keep: None, topics, hold: None };
    let mut segment_log = SegmentLog::new(disk.clone(), policy, start, now);
    // Somebody is always there to see it.
    segment_log.set_wanted(true);
    segment_log
}

fn ids_of(body: &Body) -> Vec<u64> {
    ids_in(&body.bytes(0..body.len()))
}

/// The ids of the whole frames that bytes begin with.
pub(super) fn ids_in(bytes: &[u8]) -> Vec<u64> {
    let (mut rest, mut ids) = (bytes, Vec::new());
    while let Some(header) = rest.first_chunk().and_then(|head| Header::decode(head).ok()) {
        let Some(behind) = rest.get(header.frame_len()..) else { break };
        ids.push(header.id);
        rest = behind;
    }
    ids
}

/// Frames that lie in other topics' folders come into their own, each once, and are then where they would be had they
/// never lain elsewhere; however often the machine stops meanwhile.
pub fn check_repair(data: &[u8]) {
    let mut choices = Choices::new(data);
    let disk = SimDisk::new();
    // By folder: its open segment, with the stamps of its frames.
    let mut open: BTreeMap<&str, (Stamp, Vec<u8>, Vec<index::Entry>)> = BTreeMap::new();
    let mut all: Vec<(Stamp, Vec<u8>)> = Vec::new();
    let mut stamp = 1_000;
    let finish = |folder: &str, (base, bytes, entries): (Stamp, Vec<u8>, Vec<index::Entry>)| {
        let index: Vec<u8> = entries.iter().flat_map(index::Entry::encode).collect();
        disk.put(&names::folder(folder), &format!("{base}.frames"), &bytes);
        disk.put(&names::folder(folder), &format!("{base}.index"), &index);
    };
    while !choices.is_empty() && all.len() < MISFILED {
        // A run of several topics, all in the folder of the first, as a gateway once had it.
        let folder = TOPICS[choices.below(TOPICS.len())];
        let mut topic = folder;
        stamp += choices.below(3) as u64;
        let (_, bytes, entries) = open.entry(folder).or_insert((Stamp(stamp), Vec::new(), Vec::new()));
        let first = Stamp(stamp);
        let frames = 1 + choices.below(4) as u32;
        for _ in 0..frames {
            let header = Header { id: all.len() as u64, ..Header::new(Kind::Data) };
            let mut frame = Vec::new();
            encode(header, topic.as_bytes(), &choices.payload(300), &Scheme::Sha256, &mut frame);
            bytes.extend_from_slice(&frame);
            all.push((Stamp(stamp), frame));
            stamp += 1;
            topic = TOPICS[choices.below(TOPICS.len())];
        }
        entries.push(index::Entry { first, end: bytes.len() as u64, frames });
        if choices.below(4) == 0
            && let Some(segment) = open.remove(folder)
        {
            finish(folder, segment);
        }
    }
    open.into_iter().for_each(|(folder, segment)| finish(folder, segment));
    for _ in 0..choices.below(4) {
        disk.break_after(choices.below(200), Fault::Crash, choices.number());
        let repaired = put_right(&disk);
        assert!(repaired.is_ok() || disk.is_stopped(), "{repaired:?}");
        if choices.flip() && disk.is_stopped() {
            // A gateway that starts goes to the end of it.
            disk.restart();
            begin(&disk, Stamp(2_000)).expect("all is well");
        }
        disk.restart();
    }
    put_right(&disk).expect("all is well");
    assert_eq!(check_segments(&disk), all, "the same frames in the same order, each in its topic's folder");
    let mut last: BTreeMap<_, Stamp> = BTreeMap::new();
    for (path, bytes) in disk.all() {
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
        if let Some((base, names::Holds::Index)) = names::read_file(name) {
            let before = last.insert(path.parent().expect("a file is in a folder").to_owned(), {
                let entries = index::read(&bytes, None);
                Stamp(entries.last().expect("no segment is empty").next())
            });
            assert!(before.is_none_or(|before| before <= base), "no two segments of a topic overlap");
        }
    }
    assert!(put_right(&disk).expect("all is well").is_empty(), "a second repair finds all done");
}

/// A repair; what it moved.
fn put_right(disk: &SimDisk) -> Result<BTreeMap<(String, String), u64>, Trouble> {
    let (keys, disk) = (Keys::new(vec![Scheme::Sha256]), &mut disk.clone());
    let (_, schemes, _): (Start, Schemes, Recovered) = finish_open(disk, &keys, Stamp(2_000))?;
    repair(disk, &keys, &schemes).map(|repaired| repaired.moved)
}

fn id_of(frame: &[u8]) -> u64 {
    Header::decode(frame.first_chunk().expect("a frame holds a header")).expect("it was scanned").id
}

/// The frames of all segments in the order of their stamps. Every segment is finished, verifies, lies where
/// its topic says, and has an index that agrees with it.
fn check_segments(disk: &SimDisk) -> Vec<(Stamp, Vec<u8>)> {
    let files: BTreeMap<_, _> = disk.all().into_iter().collect();
    let mut stored = Vec::new();
    for (path, bytes) in &files {
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
        if ["", order::FOLDER].map(Path::new).contains(&path.parent().expect("a file is in a folder")) {
            // What the store says of itself.
            continue;
        }
        let (base, holds) = names::read_file(name).expect("nothing else is in a store");
        let topic = names::topic(path.parent().expect("a file is in a folder")).expect("a topic's folder");
        match holds {
            names::Holds::Frames => {}
            names::Holds::OpenFrames => panic!("{} is not finished", path.display()),
            names::Holds::Index => {
                let frames = path.with_extension("frames");
                assert!(files.contains_key(&frames), "{} is an index of nothing", path.display());
                continue;
            }
            names::Holds::Cut => continue,
            names::Holds::NewFrames | names::Holds::NewIndex => panic!("{} is left", path.display()),
        }
        let entries = index::read(&files[&path.with_extension("index")], None);
        let stamps = entries.iter().flat_map(|entry| (entry.first.0..).take(entry.frames as usize));
        let mut compared = index::Compared::new(entries.clone());
        let mut frames = Vec::new();
        let mut scan = Scan::new(&[Scheme::Sha256], 0);
        let mut rest = &bytes[..];
        loop {
            let next = scan.next(|buffer| {
                let n = buffer.len().min(rest.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            });
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(Stop::Flaw(flaw)) => panic!("{}: {flaw}", path.display()),
                Err(Stop::Read(why)) => panic!("{why}"),
            };
            assert_eq!(frame.topic(), topic.as_bytes());
            frames.push(frame.bytes.to_vec());
            compared.frame(scan.at());
        }
        assert!(!frames.is_empty(), "{} is empty", path.display());
        assert!(!compared.is_wrong() && compared.open() == 0, "the index of {}", path.display());
        assert!(entries[0].first >= base, "a segment is called by its first frame");
        stored.extend(stamps.map(Stamp).zip(frames));
    }
    stored.sort_by_key(|(stamp, _)| *stamp);
    assert!(stored.windows(2).all(|two| two[0].0 < two[1].0), "no two have the same stamp");
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes for run after run, the same each time.
    fn runs(count: u64) -> impl Iterator<Item = Vec<u8>> {
        (1..=count).map(|seed| {
            let mut state = seed;
            let mut next = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            };
            (0..1500).map(|_| next()).collect()
        })
    }

    /// The check is awake: a disk that says that it has synced, and has not, does not get past it.
    #[test]
    fn a_disk_that_lies_is_caught() {
        let caught = runs(100).any(|data| {
            let run = || check_store_on(SimDisk::that_lies(), &data);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
        });
        assert!(caught, "confirmed frames were lost and nobody noticed");
    }
}
