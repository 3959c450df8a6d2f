//! Frames at a rate, sent when they are due whatever became of those before (open loop), and how
//! long after their intended start each arrived.
//!
//! Frames are encoded before the clock starts and sent again and again. A publisher's frames come in
//! order, which the check has shown, so the n-th to arrive is the n-th that was due.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use framegate::wire::{HEADER, Header};
use hdrhistogram::Histogram;

use super::saturate::{publish, read_one};
use super::{Clock, Figures, Job, WARM_UP, connect, frames, subscribe};

const PAYLOAD: usize = 256;

/// 1,024 frames of a publisher are encoded and sent in turn; their ids say that none is missing.
const RING: u64 = 1024;

/// 50 µs between looks at the clock: the system's own slack when it wakes a sleeper.
const NAP: Duration = Duration::from_micros(50);

/// 1 s more before the clock starts: then whatever a gateway keeps for a subscriber that never reads is full.
const FREEZE: Duration = Duration::from_secs(1);

/// 100 ms without a frame, then the receiver looks whether it is over: some gateways stop for ever.
const LOOK: Duration = Duration::from_millis(100);

/// The percentiles of the plot, and the names of their figures.
const PERCENTILES: [(f64, &str); 6] = [
    (50.0, "latency_us_p50"),
    (75.0, "latency_us_p75"),
    (90.0, "latency_us_p90"),
    (99.0, "latency_us_p99"),
    (99.9, "latency_us_p999"),
    (100.0, "latency_us_max"),
];

/// When which frame is due: all publishers in turn, evenly.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    rate: f64,
    publishers: usize,
}

impl Schedule {
    /// The intended start of a publisher's n-th frame, since the start.
    fn due_us(&self, publisher: usize, n: u64) -> f64 {
        (n as f64 * self.publishers as f64 + publisher as f64) * 1e6 / self.rate
    }

    /// How many frames of a publisher are due.
    fn count(&self, publisher: usize, now: Instant) -> u64 {
        let all = (now - self.start).as_secs_f64() * self.rate;
        ((all - publisher as f64) / self.publishers as f64 + 1.0).max(0.0) as u64
    }
}

pub fn run(job: &Job, rate: f64, publishers: usize, large: usize, frozen: usize) -> Figures {
    let large_bytes = Arc::new(AtomicU64::new(0));
    if large > 0 {
        let (stream, mine) = (subscribe(job.gateway, "large"), Arc::clone(&large_bytes));
        std::thread::spawn(move || read_one(&stream, &mine));
        let encoded = frames("large", 0, 8 << 20, 1);
        (0..large).for_each(|_| publish(connect(job.gateway), encoded.clone()));
    }
    let small = subscribe(job.gateway, "small");
    // Held to the end, never read.
    let frozen: Vec<TcpStream> = (0..frozen).map(|_| subscribe(job.gateway, "small")).collect();
    let sockets: Vec<TcpStream> = (0..publishers).map(|_| connect(job.gateway)).collect();
    // Of thousands of publishers a few frames each: the rings are no larger together.
    let ring = (RING * 100 / publishers as u64).clamp(1, RING);
    let rings: Vec<_> = (0..publishers).map(|key| frames("small", key as u64, PAYLOAD, ring)).collect();
    let schedule = Schedule { start: Instant::now(), rate, publishers };
    let measuring = Arc::new(AtomicBool::new(false));
    let (mine, (told, latencies)) = (Arc::clone(&measuring), channel());
    std::thread::spawn(move || {
        let _ = told.send(receive(small, schedule, &mine, ring));
    });
    std::thread::spawn(move || send(sockets, &rings, ring, schedule));

    std::thread::sleep(if frozen.is_empty() { WARM_UP } else { WARM_UP + FREEZE });
    let large_before = large_bytes.load(Ordering::Relaxed);
    let clock = Clock::start(job.process);
    measuring.store(true, Ordering::Relaxed);
    std::thread::sleep(job.window);
    measuring.store(false, Ordering::Relaxed);
    let large_mb = (large_bytes.load(Ordering::Relaxed) - large_before) as f64 / 1e6;
    figures(&clock, &latencies, large_mb, large > 0)
}

fn figures(clock: &Clock, latencies: &Receiver<Histogram<u64>>, large_mb: f64, mixed: bool) -> Figures {
    let seconds = clock.began.elapsed().as_secs_f64();
    // Taken before the receiver has ended, for the processor time of the window alone.
    let mut figures = clock.figures(1.0, 0.0);
    let latencies = latencies.recv_timeout(Duration::from_secs(10)).expect("the receiver looks up");
    let frames = latencies.len() as f64;
    figures.insert("frames_per_s".to_owned(), frames / seconds);
    figures.remove("mb_per_s");
    if mixed {
        figures.insert("large_mb_per_s".to_owned(), large_mb / seconds);
    }
    if frames == 0.0 {
        // Nothing arrived, and so nothing took any time.
        figures.remove("frame_cpu_us");
        return figures;
    }
    if mixed {
        // What a small frame cost cannot be told from what the large ones did.
        figures.remove("frame_cpu_us");
    } else if let Some(cpu_us) = figures.get_mut("frame_cpu_us") {
        *cpu_us /= frames;
    }
    for (percentile, name) in PERCENTILES {
        figures.insert(name.to_owned(), latencies.value_at_percentile(percentile) as f64 / 1e3);
    }
    figures
}

/// Sends every frame that is due.
fn send(mut sockets: Vec<TcpStream>, rings: &[Vec<u8>], ring: u64, schedule: Schedule) {
    let mut sent = vec![0u64; sockets.len()];
    loop {
        for (publisher, socket) in sockets.iter_mut().enumerate() {
            let due = schedule.count(publisher, Instant::now());
            let encoded = &rings[publisher];
            let frame_len = encoded.len() / ring as usize;
            while sent[publisher] < due {
                let from = sent[publisher] % ring;
                let count = (due - sent[publisher]).min(ring - from);
                let range = from as usize * frame_len..(from + count) as usize * frame_len;
                if socket.write_all(&encoded[range]).is_err() {
                    return;
                }
                sent[publisher] += count;
            }
        }
        std::thread::sleep(NAP);
    }
}

/// Takes frames until measuring has been on and is off again. Says how long each took, in ns.
fn receive(mut small: TcpStream, schedule: Schedule, measuring: &AtomicBool, ring: u64) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).expect("3 digits are possible");
    let mut arrived = vec![0u64; schedule.publishers];
    let frame_len = frames("small", 0, PAYLOAD, 1).len();
    let mut bytes = vec![0; 1 << 20];
    let (mut filled, mut begun) = (0, false);
    small.set_read_timeout(Some(LOOK)).expect("it is open");
    loop {
        match small.read(&mut bytes[filled..]) {
            Ok(n) if n > 0 => filled += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            end => panic!("the gateway keeps its subscriber: {end:?}"),
        }
        let on = measuring.load(Ordering::Relaxed);
        if begun && !on {
            return latencies;
        }
        begun |= on;
        let now_us = schedule.start.elapsed().as_secs_f64() * 1e6;
        let whole = filled / frame_len * frame_len;
        for frame in bytes[..whole].chunks_exact(frame_len) {
            let header = Header::decode(frame.first_chunk::<HEADER>().expect("it is a frame"));
            let header = header.expect("the gateway sends frames");
            let publisher = header.key as usize;
            let n = arrived[publisher];
            assert_eq!(header.id, n % ring, "no frame is missing");
            arrived[publisher] += 1;
            if on {
                let latency_us = now_us - schedule.due_us(publisher, n);
                latencies.record((latency_us * 1e3).max(0.0) as u64).expect("the histogram grows");
            }
        }
        bytes.copy_within(whole..filled, 0);
        filled -= whole;
    }
}
