//! The load: a process of its own, which measures a gateway from outside.

mod churn;
mod idle;
mod paced;
mod saturate;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use framegate::wire::{Header, Kind};
use serde::{Deserialize, Serialize};

use crate::process::{cpu_us, memory};
use crate::wire::{frame, ok_reply};

/// Figures by name; the unit is last in the name.
pub type Figures = BTreeMap<String, f64>;

/// One run, as the controller hands it over.
#[derive(Serialize, Deserialize)]
pub struct Job {
    pub gateway: SocketAddr,
    pub process: u32,
    pub window: Duration,
    pub work: Work,
}

/// What to do to the gateway.
#[derive(Clone, Serialize, Deserialize)]
pub enum Work {
    /// Publishers that send as fast as they may.
    Saturate { payload: usize, publishers: usize, subscribers: usize },
    /// 256 B frames at a rate, whatever becomes of them, beside as many publishers of 8 MiB frames.
    Paced { rate: f64, publishers: usize, large: usize },
    /// 256 B frames likewise, beside as many subscribers that never read.
    BesideFrozen { rate: f64, publishers: usize, frozen: usize },
    /// Connections that send one 256 B frame and close, one after the other on each of so many threads.
    Churn { threads: usize },
    /// Connections that have sent one frame and then nothing.
    Idle { connections: usize },
}

/// Does a job and prints its figures.
pub fn run(job: &str) {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let job: Job = serde_json::from_str(job).expect("the controller writes it");
    let figures = match job.work {
        Work::Saturate { payload, publishers, subscribers } => {
            saturate::run(&job, payload, publishers, subscribers)
        }
        Work::Paced { rate, publishers, large } => paced::run(&job, rate, publishers, large, 0),
        Work::BesideFrozen { rate, publishers, frozen } => paced::run(&job, rate, publishers, 0, frozen),
        Work::Churn { threads } => churn::run(&job, threads),
        Work::Idle { connections } => idle::run(&job, connections),
    };
    println!("{}", serde_json::to_string(&figures).expect("figures are numbers"));
    // Threads that wait for the gateway end with the process.
    std::process::exit(0);
}

/// 500 ms before the clock starts: buffers have grown and everyone is connected.
const WARM_UP: Duration = Duration::from_millis(500);

/// The gateway's processor time over the window.
struct Clock {
    process: u32,
    began: Instant,
    cpu_us: f64,
}

impl Clock {
    fn start(process: u32) -> Clock {
        Clock { process, began: Instant::now(), cpu_us: cpu_us(process) }
    }

    /// What `frames` delivered frames of `bytes` bytes together cost.
    fn figures(&self, frames: f64, bytes: f64) -> Figures {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu_us = cpu_us(self.process) - self.cpu_us;
        let (_, most) = memory(self.process);
        Figures::from([
            ("frames_per_s".to_owned(), frames / seconds),
            ("mb_per_s".to_owned(), bytes / seconds / 1e6),
            ("frame_cpu_us".to_owned(), cpu_us / frames),
            ("cores".to_owned(), cpu_us / 1e6 / seconds),
            ("rss_max_mib".to_owned(), most / f64::from(1 << 20)),
        ])
    }
}

fn connect(gateway: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(gateway).expect("the gateway listens");
    stream.set_nodelay(true).expect("it is open");
    stream
}

/// A connection that the gateway has said OK to the subscription of.
fn subscribe(gateway: SocketAddr, pattern: &str) -> TcpStream {
    let mut stream = connect(gateway);
    let header = Header { want_reply: true, ..Header::new(Kind::Subscribe) };
    stream.write_all(&frame(header, pattern.as_bytes(), b"")).expect("it reads");
    let mut reply = ok_reply(0);
    stream.read_exact(&mut reply).expect("it answers");
    assert_eq!(reply, ok_reply(0), "the subscription is made");
    stream
}

/// `count` frames of one publisher, with ids from 0.
fn frames(topic: &str, key: u64, payload: usize, count: u64) -> Vec<u8> {
    let payload: Vec<u8> = (0..payload).map(|at| (at * 31) as u8).collect();
    let one = |id| frame(Header { id, key, ..Header::new(Kind::Data) }, topic.as_bytes(), &payload);
    (0..count).flat_map(one).collect()
}
