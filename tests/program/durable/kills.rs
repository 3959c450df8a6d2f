//! Gateways that are killed under load, and subscribers that come and go.

use super::serve;
use crate::store_crash::publish_until_killed;
use crate::support::{Client, data};

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use framegate::client::{Delivery, DurableOptions, DurableSubscriber, Start};
use framegate::wire::{Header, Scheme, Status};

/// What a subscriber under a name saw: how often, and in which order.
#[derive(Default)]
struct Seen {
    times: HashMap<(u64, u64), usize>,
    /// The last id of each key and topic that came for the first time: what a crash left unconfirmed has no order over topics.
    last: HashMap<(u64, u64), u64>,
    /// The last that the gateway has confirmed to be done.
    done: u64,
}

impl Seen {
    fn frame(&mut self, seq: u64, header: &Header) {
        assert!(seq > self.done, "{seq} comes again, and {} was confirmed to be done", self.done);
        let times = self.times.entry((header.key, header.id)).or_default();
        *times += 1;
        if *times == 1 {
            let last = self.last.insert((header.key, header.id % 3), header.id);
            assert!(
                last.is_none_or(|last| last < header.id),
                "{} after {last:?} of {}",
                header.id,
                header.key
            );
        }
    }
}

/// Reads under a name until told to end and nothing more comes, and is itself given up now and then without a word.
fn read_named(address: SocketAddr, is_over: &AtomicBool, total: &dyn Fn(&Seen) -> bool) -> Seen {
    let mut seen = Seen::default();
    let mut life = 0;
    loop {
        life += 1;
        let options = DurableOptions {
            from: Start::Oldest,
            window: Some(500),
            ..DurableOptions::new("n", &["topic.*"])
        };
        let Ok(mut subscriber) = DurableSubscriber::connect(&address.to_string(), options) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let (mut count, mut last) = (0, 0);
        loop {
            match subscriber.next_delivery() {
                Ok(Delivery::Frame(seq, frame)) => {
                    assert!(seq > last, "{seq} after {last} on one connection");
                    last = seq;
                    seen.frame(seq, &frame.header);
                    count += 1;
                    subscriber.ack(seq);
                    if count % 100 == 0 && subscriber.flush_confirmed().is_ok() {
                        seen.done = seq;
                    }
                }
                Ok(Delivery::Again) => last = 0,
                Ok(other) => panic!("{other:?}"),
                Err(_) => break,
            }
            // A subscriber that is killed says nothing.
            if count > 700 * (1 + life % 3) && !is_over.load(SeqCst) {
                break;
            }
            if is_over.load(SeqCst) && total(&seen) {
                return seen;
            }
        }
    }
}

/// FRAMEGATE_KILLS=100 for a long one.
#[test]
fn whatever_got_ok_comes_at_least_once_in_order_through_kills() {
    let kills: u64 = std::env::var("FRAMEGATE_KILLS").map_or(8, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = serve(folder.path(), "127.0.0.1:0");
    let is_over = Arc::new(AtomicBool::new(false));
    let confirmed = Arc::new(std::sync::Mutex::new(HashSet::new()));
    let named = {
        let (is_over, confirmed) = (is_over.clone(), confirmed.clone());
        thread::spawn(move || {
            let has_all =
                |seen: &Seen| confirmed.lock().unwrap().iter().all(|name| seen.times.contains_key(name));
            read_named(address, &is_over, &has_all)
        })
    };
    // One that keeps the sequence with its own result has each exactly once.
    let exactly = {
        let (is_over, confirmed) = (is_over.clone(), confirmed.clone());
        thread::spawn(move || {
            let mut options = DurableOptions::replay(Start::Seq(1), &["topic.*"]);
            let mut times: HashMap<(u64, u64), usize> = HashMap::new();
            let mut next = 1;
            loop {
                options.from = Start::Seq(next);
                let Ok(mut subscriber) = DurableSubscriber::connect(&address.to_string(), options.clone())
                else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                while let Ok(delivery) = subscriber.next_delivery() {
                    if let Delivery::Frame(seq, frame) = delivery {
                        assert!(seq >= next, "{seq} was there before {next}");
                        *times.entry((frame.header.key, frame.header.id)).or_default() += 1;
                        next = seq + 1;
                    }
                    if is_over.load(SeqCst)
                        && confirmed.lock().unwrap().iter().all(|name| times.contains_key(name))
                    {
                        return times;
                    }
                }
            }
        })
    };
    for cycle in 0..kills {
        let publishers: Vec<_> = (0..3)
            .map(|at| {
                let key = cycle * 3 + at;
                thread::spawn(move || {
                    (key, publish_until_killed(Client::connect(address, Scheme::Sha256), key, 3))
                })
            })
            .collect();
        // In the middle of the load, at another moment each time.
        thread::sleep(Duration::from_millis(40 + cycle * 37 % 90));
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        for publisher in publishers {
            let (key, ids) = publisher.join().unwrap();
            confirmed.lock().unwrap().extend(ids.into_iter().map(|id| (key, id)));
        }
        (process, _) = serve(folder.path(), &address.to_string());
    }
    is_over.store(true, SeqCst);
    // A last one, so that both hear something.
    let mut client = Client::connect(address, Scheme::Sha256);
    let last = Header { key: 1 << 40, ..data(0) };
    client.send(last, b"topic.0", b"");
    assert_eq!(client.next().status(), Some(Status::Ok));
    confirmed.lock().unwrap().insert((1 << 40, 0));
    let (seen, times) = (named.join().unwrap(), exactly.join().unwrap());
    let confirmed = confirmed.lock().unwrap();
    for name in &*confirmed {
        assert!(seen.times.contains_key(name) && times.get(name) == Some(&1), "{name:?} got OK");
    }
    assert!(times.values().all(|times| *times == 1));
    let again = seen.times.values().filter(|times| **times > 1).count();
    println!(
        "{kills} kills: {} frames got OK, {} came, {again} of them more than once",
        confirmed.len(),
        seen.times.len()
    );
    drop(process);
}
