//! The store on a disk that fails and machines that stop, against a list of what was confirmed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choices::Choices;
use super::disk::{Fault, SimDisk};
use crate::frame::{Body, Header, Kind, Scheme, encode};
use crate::memory::{Buffer, Memory};
use crate::sinks::store::{
    Append, Clock, Now, Policy, Recovered, Scan, Stamp, Stop, SyncPolicy, Warehouse, index, names, recover,
};

const TOPICS: [&str; 6] = ["", "a", "a.b", "c/d", "..", "e"];

/// Steps of a run; more finds nothing new.
const STEPS: usize = 400;

/// 10 s, as long as the clock of a run is set forward at once.
const ROTATE: Duration = Duration::from_secs(10);

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
    for _ in 0..crashes {
        disk.break_after(choices.below(30), Fault::Crash, choices.number());
        if let Ok((_, recovered)) = recover(&mut disk.clone(), &Scheme::Sha256, Stamp(2_000)) {
            (cuts, frames) = (recovered.cuts.len(), recovered.frames);
        }
        disk.restart();
    }
    let (clock, recovered) = recover(&mut disk.clone(), &Scheme::Sha256, Stamp(2_000)).expect("all is well");
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
    let next = { clock }.take(Stamp(0), 1);
    assert!(stored.last().is_none_or(|(last, _)| *last < next), "no stamp is given twice");
    let again = recover(&mut disk.clone(), &Scheme::Sha256, Stamp(2_000)).expect("all is well").1;
    assert_eq!((again.segments, check_segments(&disk)), (0, stored), "a second start finds all done");
}

struct Run {
    disk: SimDisk,
    warehouse: Warehouse<SimDisk>,
    memory: Arc<Memory>,
    waiting: VecDeque<Append>,
    now: Now,
    /// Numbers the frames.
    next: u64,
    /// Ids in the order in which they were confirmed, and whether a crash may have changed it since.
    confirmed: Vec<u64>,
    /// Of those, how many were confirmed before the last crash.
    before: usize,
    /// The topic of every frame.
    topics: HashMap<u64, &'static str>,
}

impl Run {
    fn new(disk: SimDisk) -> Run {
        Run {
            warehouse: warehouse(&disk, Clock::default()),
            disk,
            memory: Memory::new(Memory::least(1 << 20), 1 << 20),
            waiting: VecDeque::new(),
            now: Now { stamp: Stamp(1_785_233_730_000_000_000), instant: Instant::now() },
            next: 0,
            confirmed: Vec::new(),
            before: 0,
            topics: HashMap::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..7 => self.append(choices),
            7..11 => self.store(),
            11 => {
                self.pass(Duration::from_secs(choices.below(12) as u64));
                let _ = self.warehouse.rotate(self.now);
            }
            12 => {
                let fault = [Fault::Error, Fault::Error, Fault::Full, Fault::Crash][choices.below(4)];
                self.disk.break_after(choices.below(40), fault, choices.number());
            }
            13 => self.disk.heal(),
            // The clock is set back.
            14 => self.now.stamp = Stamp(self.now.stamp.0 - 60_000_000_000),
            _ if choices.below(8) == 0 => {
                self.disk.break_after(0, Fault::Crash, choices.number());
                self.store();
                let _ = self.warehouse.rotate(self.now);
            }
            _ => {}
        }
        if self.disk.is_stopped() {
            self.restart(choices);
        }
    }

    fn append(&mut self, choices: &mut Choices<'_>) {
        let topic = TOPICS[choices.below(TOPICS.len())];
        let frames = 1 + choices.below(3) as u32;
        let mut bytes = Vec::new();
        for _ in 0..frames {
            let max = if choices.below(20) == 0 { 5_000 } else { 100 };
            let payload = choices.long_payload(max);
            let header = Header { id: self.next, ..Header::new(Kind::Data) };
            encode(header, topic.as_bytes(), &payload, &Scheme::Sha256, &mut bytes);
            self.topics.insert(self.next, topic);
            self.next += 1;
        }
        let ticket = self.next - u64::from(frames);
        let end = bytes.len();
        let buffer = Arc::new(Buffer::charged(&self.memory, bytes.into()));
        self.waiting.push_back(Append { body: Body::Slice { buffer, start: 0, end }, frames, ticket });
    }

    /// A round; one that fails leaves what it did not store first in line.
    fn store(&mut self) {
        self.pass(Duration::from_micros(1));
        let before: Vec<u64> = self.waiting.iter().map(|append| append.ticket).collect();
        let mut stored = Vec::new();
        let healthy = self.disk.is_healthy();
        let result = self.warehouse.store(&mut self.waiting, self.now, |append| stored.push(append));
        let tickets = stored.iter().map(|append| append.ticket);
        let mut left: Vec<u64> = self.waiting.iter().map(|append| append.ticket).collect();
        left.extend(tickets.clone());
        left.sort_unstable();
        assert_eq!(left, before, "what is not stored waits");
        assert!(tickets.is_sorted(), "what is stored is told in order");
        if let Err(trouble) = &result {
            assert!(!healthy, "without a fault: {trouble}");
        }
        assert!(result.is_err() || before.is_empty() || !stored.is_empty(), "a round goes on");
        for append in stored {
            self.confirmed.extend(append.ticket..append.ticket + u64::from(append.frames));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.stamp.0 += time.as_nanos() as u64;
        self.now.instant += time;
    }

    /// The machine starts again, perhaps more than once.
    fn restart(&mut self, choices: &mut Choices<'_>) {
        self.waiting.clear();
        let (clock, _) = loop {
            self.disk.restart();
            if !choices.is_empty() && choices.below(3) == 0 {
                self.disk.break_after(choices.below(30), Fault::Crash, choices.number());
            }
            match recover(&mut self.disk.clone(), &Scheme::Sha256, self.now.stamp) {
                Ok(recovered) => break recovered,
                Err(trouble) => assert!(self.disk.is_stopped(), "{trouble}"),
            }
        };
        self.disk.heal();
        self.before = self.confirmed.len();
        self.warehouse = warehouse(&self.disk, clock);
        self.check();
    }

    /// Nothing goes wrong any more: all that waits is stored.
    fn finish(&mut self) {
        self.disk.heal();
        while !self.waiting.is_empty() {
            self.store();
        }
        self.warehouse.close_all().unwrap_or_else(|trouble| panic!("{trouble}"));
        self.check();
        // A start afterwards has nothing to do.
        let (_, Recovered { segments, cuts, .. }) =
            recover(&mut self.disk.clone(), &Scheme::Sha256, self.now.stamp).expect("all is well");
        assert!(segments == 0 && cuts.is_empty());
        assert_eq!(self.memory.used(), 0);
    }

    fn check(&self) {
        let stored = check_segments(&self.disk);
        let ids: Vec<u64> = stored.iter().map(|(_, bytes)| id_of(bytes)).collect();
        let mut times: HashMap<u64, usize> = HashMap::new();
        ids.iter().for_each(|&id| *times.entry(id).or_default() += 1);
        for id in &self.confirmed {
            assert_eq!(times.get(id), Some(&1), "frame {id} was confirmed");
        }
        assert!(times.iter().all(|(id, times)| *times == 1 && *id < self.next), "{times:?}");
        // Within a topic always in order; over all topics as confirmed, unless a crash came between.
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for id in &ids {
            let before = last.insert(self.topics[id], *id);
            assert!(before.is_none_or(|before| before < *id), "{before:?} before {id}");
        }
        let since = &self.confirmed[self.before..];
        let in_order: Vec<u64> = ids.iter().copied().filter(|id| since.contains(id)).collect();
        assert_eq!(in_order, since, "in the order in which they were confirmed");
    }
}

fn warehouse(disk: &SimDisk, clock: Clock) -> Warehouse<SimDisk> {
    let policy = Policy { rotate: ROTATE, sync: SyncPolicy::Batch, keep: None };
    Warehouse::new(disk.clone(), policy, clock)
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
        }
        let entries = index::read(&files[&path.with_extension("index")], None);
        let stamps = entries.iter().flat_map(|entry| (entry.first.0..).take(entry.frames as usize));
        let mut compared = index::Compared::new(entries.clone());
        let mut frames = Vec::new();
        let mut scan = Scan::new(&Scheme::Sha256, 0);
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
