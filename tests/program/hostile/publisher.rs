//! The other publisher, and its subscriber: they do what they should, and expect the same.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framegate::tools::bench::{Latency, Percentiles};
use framegate::wire::{Header, Scheme, Status};

use super::support::{Client, data, payload};

const TOPIC: &str = "well";

pub struct Publisher {
    client: Client,
    /// A frame is due in so long.
    period: Duration,
    next: u64,
    subscriber: JoinHandle<u64>,
}

impl Publisher {
    pub fn start(gateway: SocketAddr, period: Duration) -> Publisher {
        let mut subscriber = Client::connect(gateway, Scheme::Sha256);
        let subscribe = Header { want_reply: true, ..Header::new(framegate::wire::Kind::Subscribe) };
        subscriber.send(subscribe, TOPIC.as_bytes(), b"");
        assert_eq!(subscriber.next().status(), Some(Status::Ok));
        let subscriber = std::thread::spawn(move || {
            // Every frame once and in order, until the last one.
            (0..).find(|id| {
                let got = subscriber.next();
                assert_eq!((got.topic.as_str(), got.header.id), (TOPIC, *id), "every frame, in order");
                got.payload.is_empty()
            })
        });
        let subscriber =
            std::thread::spawn(move || subscriber.join().expect("it gets all").expect("a last one"));
        let client = Client::connect(gateway, Scheme::Sha256);
        let mut publisher = Publisher { client, period, next: 0, subscriber };
        // The first ones find everything cold.
        publisher.publish(5 * period);
        publisher
    }

    /// Publishes for so long. How long each frame took, from when it was due to its OK.
    pub fn publish(&mut self, time: Duration) -> Percentiles {
        let period = self.period;
        let frames = (time.as_nanos() / period.as_nanos()) as u64;
        let (first, began) = (self.next, Instant::now() + period);
        let due = move |id: u64| began + period * (id - first) as u32;
        self.next += frames;
        let body = payload(256, 0);
        let bytes: Vec<Vec<u8>> =
            (first..self.next).map(|id| self.client.frame(data(id), TOPIC.as_bytes(), &body)).collect();
        let mut writer = self.client.socket.try_clone().expect("files are left");
        let mut took = Latency::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for (id, bytes) in (first..).zip(bytes) {
                    std::thread::sleep(due(id).saturating_duration_since(Instant::now()));
                    std::io::Write::write_all(&mut writer, &bytes).expect("the gateway reads");
                }
            });
            for _ in 0..frames {
                let reply = self.client.next();
                assert_eq!(reply.status(), Some(Status::Ok), "of another publisher's frame: {reply:?}");
                took.record(due(reply.header.id).elapsed(), 1);
            }
        });
        took.percentiles().expect("there were some")
    }

    /// Sees that its subscriber has got everything. How many frames there were.
    pub fn finish(mut self) -> u64 {
        self.client.send(data(self.next), TOPIC.as_bytes(), b"");
        assert_eq!(self.client.next().status(), Some(Status::Ok));
        let last = self.subscriber.join().expect("it gets all");
        assert_eq!(last, self.next);
        last
    }
}
