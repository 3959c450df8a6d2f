//! Copies under `--dedup`, sinks that refuse or are slow, and parts that are held: over real sockets.

use crate::support;
use crate::support::desk;

use std::time::Duration;

use desk::Desk;
use framegate::gateway::snapshot::Snapshot;
use framegate::gateway::{BadDigestPolicy, Config, Pressure};
use framegate::runtime::handler::{Answer, Call};
use framegate::wire::{Header, Kind, Status};
use support::{Client, PATIENCE, Running, data, payload, reset, silent, start, start_with};

/// A lease, or a window, that does not end in a test.
const LONG: Duration = Duration::from_secs(3600);

fn config() -> Config {
    Config { lease: LONG, dedup: Some(LONG), ..Config::default() }
}

fn part(key: u64, index: u16, count: u16) -> Header {
    Header { key, part_index: index, part_count: count, ..data(u64::from(index)) }
}

fn told(client: &mut Client) -> (u64, Status, String) {
    let got = client.next();
    (got.header.id, got.status().expect("a reply"), String::from_utf8(got.payload).unwrap())
}

/// Sends bytes on a connection of their own and returns the next status that it is told.
fn sent_again(gateway: &Running, bytes: &[u8]) -> Client {
    let mut client = gateway.connect();
    client.write(bytes);
    client
}

/// Nothing but this PING is answered: what was sent before is waited for.
fn says_nothing_yet(client: &mut Client) {
    client.send(Header { id: 7_777, ..Header::new(Kind::Ping) }, b"", b"");
    assert_eq!(told(client).0, 7_777, "it was answered too early");
}

fn look_until(gateway: &Running, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let began = std::time::Instant::now();
    loop {
        let snapshot = gateway.control().describe(false).expect("it runs");
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

/// What one of two sinks refuses goes to that one alone when it comes again.
fn check_refused_by_one(add: impl FnOnce(framegate::gateway::Gateway) -> framegate::gateway::Gateway) {
    let (keeper, judge) = (Desk::new("keeper", false), Desk::new("judge", true));
    let gateway = start_with(config(), |gateway| add(judge.add_to(keeper.add_to(gateway))));
    let mut subscriber = gateway.subscriber(">");
    let bytes = subscriber.frame(data(1), b"a", b"first");
    let mut publisher = sent_again(&gateway, &bytes);
    assert_eq!((keeper.judge(None), judge.judge(Some("no"))), (bytes.clone(), bytes.clone()));
    assert_eq!(told(&mut publisher), (1, Status::Rejected, "judge: no".into()));
    // A copy of what comes again waits for it.
    let mut again = sent_again(&gateway, &bytes);
    judge.wait_for(2);
    let mut copy = sent_again(&gateway, &bytes);
    says_nothing_yet(&mut copy);
    assert_eq!(judge.judge(Some("not yet")), bytes);
    for client in [&mut again, &mut copy] {
        assert_eq!(told(client), (1, Status::Rejected, "judge: not yet".into()));
    }
    let mut last = sent_again(&gateway, &bytes);
    assert_eq!(judge.judge(None), bytes);
    assert_eq!(told(&mut last).1, Status::Ok);
    assert_eq!(told(&mut sent_again(&gateway, &bytes)).1, Status::Duplicate);
    assert_eq!((keeper.count(), judge.count()), (1, 3));
    // Subscribers and the other sink had it once.
    let other = subscriber.frame(data(2), b"a", b"second");
    let mut publisher = sent_again(&gateway, &other);
    assert_eq!((keeper.judge(None), judge.judge(None)), (other.clone(), other.clone()));
    assert_eq!(told(&mut publisher).1, Status::Ok);
    assert_eq!((subscriber.next().bytes, subscriber.next().bytes), (bytes, other));
    drop(subscriber);
    let ledger = gateway.stop();
    let sunk = ledger.sunk;
    assert_eq!((sunk.put, sunk.confirmed, sunk.refused), (4, 2, 2), "{ledger}");
}

#[test]
fn what_one_sink_refused_goes_to_that_one_alone() {
    check_refused_by_one(|gateway| gateway);
}

/// What comes again has its place among what comes with it, in the sink that did not have it.
#[test]
fn what_goes_to_one_sink_alone_keeps_its_place() {
    let (keeper, judge) = (Desk::new("keeper", false), Desk::new("judge", false));
    let gateway = start_with(config(), |gateway| judge.add_to(keeper.add_to(gateway)));
    let client = gateway.connect();
    let [before, again, behind] = [1, 2, 3].map(|id| client.frame(data(id), b"a", b"x"));
    let mut publisher = sent_again(&gateway, &again);
    assert_eq!((keeper.judge(None), judge.judge(Some("no"))), (again.clone(), again.clone()));
    assert_eq!(told(&mut publisher).1, Status::Rejected);
    let mut publisher = sent_again(&gateway, &[&before[..], &again, &behind].concat());
    assert_eq!(
        [judge.judge(None), judge.judge(None), judge.judge(None)],
        [before.clone(), again, behind.clone()]
    );
    assert_eq!([keeper.judge(None), keeper.judge(None)], [before, behind]);
    for _ in 0..3 {
        assert_eq!(told(&mut publisher).1, Status::Ok);
    }
    gateway.stop();
}

#[test]
fn what_a_handler_passed_and_one_sink_refused_likewise() {
    check_refused_by_one(|gateway| {
        gateway.with_handler(|_: &Call<'_>| Answer::Pass(Vec::new())).expect("it works")
    });
}

#[test]
fn what_one_sink_refuses_is_told_before_the_other_has_spoken() {
    let (keeper, judge) = (Desk::new("keeper", false), Desk::new("judge", true));
    let gateway = start_with(config(), |gateway| judge.add_to(keeper.add_to(gateway)));
    let bytes = gateway.connect().frame(data(1), b"a", b"first");
    let mut publisher = sent_again(&gateway, &bytes);
    assert_eq!(judge.judge(Some("no")), bytes);
    assert_eq!(told(&mut publisher), (1, Status::Rejected, "judge: no".into()));
    // Who has the frame is not settled: what comes again waits for that, and goes to nobody.
    let mut copy = sent_again(&gateway, &bytes);
    says_nothing_yet(&mut copy);
    assert_eq!((keeper.count(), judge.count()), (1, 1));
    assert_eq!(keeper.judge(None), bytes);
    assert_eq!(told(&mut copy), (1, Status::Rejected, "judge: no".into()));
    let mut again = sent_again(&gateway, &bytes);
    assert_eq!(judge.judge(None), bytes);
    assert_eq!(told(&mut again).1, Status::Ok);
    assert_eq!(told(&mut sent_again(&gateway, &bytes)).1, Status::Duplicate);
    assert_eq!((keeper.count(), judge.count()), (1, 2));
    says_nothing_yet(&mut publisher);
    drop((publisher, copy, again));
    let ledger = gateway.stop();
    let sunk = ledger.sunk;
    assert_eq!((sunk.put, sunk.confirmed, sunk.refused), (2, 1, 1), "{ledger}");
}

/// What a handler made and the store had before a restart is known once, as that of one frame.
#[test]
fn what_a_handler_makes_of_another_frame_is_another_though_it_looks_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let life = || {
        start_with(Config { store: Some(folder.path().into()), ..config() }, |gateway| {
            let same = |_: &Call<'_>| {
                let (topic, key, payload) = ("a".into(), 0, b"made".to_vec());
                Answer::Replace { topic, key, payload }
            };
            gateway.with_handler(same).expect("it works")
        })
    };
    let gateway = life();
    let [one, other] = ["one", "other"].map(|payload| {
        let client = gateway.connect();
        client.frame(data(1), b"a", payload.as_bytes())
    });
    assert_eq!(told(&mut sent_again(&gateway, &one)).1, Status::Ok);
    gateway.stop();
    let gateway = life();
    for (bytes, status) in [(&one, Status::Duplicate), (&other, Status::Ok), (&other, Status::Duplicate)] {
        assert_eq!(told(&mut sent_again(&gateway, bytes)).1, status);
    }
    let ledger = gateway.stop();
    assert_eq!((ledger.sunk.put, ledger.sunk.confirmed), (1, 1), "{ledger}");
}

#[test]
fn a_run_that_is_refused_leaves_its_neighbours_of_other_topics_alone() {
    let store = Desk::new("store", false);
    let gateway = start_with(config(), |gateway| store.add_to(gateway));
    let mut subscriber = gateway.subscriber(">");
    let frame = |id: u64, topic: &str| subscriber.frame(data(id), topic.as_bytes(), b"x");
    let (first, second) = ([frame(1, "full"), frame(2, "full")].concat(), frame(3, "fine"));
    let both = [&first[..], &second].concat();
    let mut publisher = sent_again(&gateway, &both);
    assert_eq!((store.judge(Some("no more topics")), store.judge(None)), (first.clone(), second));
    let expected = [(1, Status::Rejected), (2, Status::Rejected), (3, Status::Ok)];
    let told_all = |client: &mut Client| {
        let mut all: Vec<(u64, Status)> = (0..3).map(|_| told(client)).map(|(id, is, _)| (id, is)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(told_all(&mut publisher), expected);
    let mut again = sent_again(&gateway, &both);
    // Each alone, and to the sink that has it not.
    assert_eq!((store.judge(None), store.judge(None)), (frame(1, "full"), frame(2, "full")));
    assert_eq!(told_all(&mut again), [(1, Status::Ok), (2, Status::Ok), (3, Status::Duplicate)]);
    assert_eq!(store.count(), 4);
    (0..3).for_each(|_| drop(subscriber.next()));
    gateway.stop();
}

#[test]
fn what_every_sink_refused_goes_to_them_again_and_to_no_subscriber() {
    let (first, second) = (Desk::new("first", true), Desk::new("second", true));
    let gateway = start_with(config(), |gateway| second.add_to(first.add_to(gateway)));
    let mut subscriber = gateway.subscriber(">");
    let bytes = subscriber.frame(data(1), b"a", b"unwanted");
    for refusal in [Some("no"), None] {
        let mut publisher = sent_again(&gateway, &bytes);
        assert_eq!((first.judge(refusal), second.judge(refusal)), (bytes.clone(), bytes.clone()));
        assert_eq!(told(&mut publisher).1, if refusal.is_some() { Status::Rejected } else { Status::Ok });
    }
    assert_eq!(told(&mut sent_again(&gateway, &bytes)).1, Status::Duplicate);
    assert_eq!(subscriber.next().bytes, bytes);
    gateway.stop();
    assert!(subscriber.rest().iter().all(|got| got.status().is_some()), "it came once");
}

#[test]
fn a_message_that_one_sink_refused_goes_to_that_one_when_its_fragments_come_again() {
    let (keeper, judge) = (Desk::new("keeper", false), Desk::new("judge", true));
    let gateway = start_with(config(), |gateway| judge.add_to(keeper.add_to(gateway)));
    let mut subscriber = gateway.subscriber(">");
    let bytes: Vec<u8> =
        (0..2).flat_map(|index| subscriber.frame(part(5, index, 2), b"a", &[1; 50])).collect();
    let mut publisher = sent_again(&gateway, &bytes);
    assert_eq!(keeper.judge(None), judge.judge(Some("no")));
    for _ in 0..2 {
        assert_eq!(told(&mut publisher).1, Status::Rejected);
    }
    for (refusal, status) in [(Some("no"), Status::Rejected), (None, Status::Ok)] {
        let mut again = sent_again(&gateway, &bytes);
        judge.judge(refusal);
        assert_eq!([told(&mut again).1, told(&mut again).1], [status; 2]);
    }
    let mut again = sent_again(&gateway, &bytes);
    assert_eq!([told(&mut again).1, told(&mut again).1], [Status::Duplicate; 2]);
    assert_eq!((keeper.count(), judge.count()), (1, 3));
    // The same message of other fragments is another.
    let other: Vec<u8> = (0..2)
        .flat_map(|index| subscriber.frame(Header { id: 9, ..part(5, index, 2) }, b"a", &[1; 50]))
        .collect();
    let mut publisher = sent_again(&gateway, &other);
    assert_eq!(keeper.judge(None), judge.judge(None));
    assert_eq!([told(&mut publisher).1, told(&mut publisher).1], [Status::Ok; 2]);
    assert_eq!(subscriber.next().bytes, subscriber.next().bytes);
    let ledger = gateway.stop();
    assert_eq!((ledger.wholes, ledger.assembled), (4, 8), "{ledger}");
    assert!(subscriber.rest().iter().all(|got| got.status().is_some()), "each came once");
}

#[test]
fn a_fragment_sent_again_after_a_reset_hears_what_becomes_of_the_message() {
    let gateway = start(config());
    let mut subscriber = gateway.subscriber(">");
    let first = subscriber.frame(part(3, 0, 2), b"a", b"first ");
    let lost = sent_again(&gateway, &first);
    look_until(&gateway, "the fragment", |snapshot| snapshot.parts.held == 1);
    reset(lost.socket);
    let mut again = sent_again(&gateway, &first);
    says_nothing_yet(&mut again);
    let mut other = gateway.connect();
    other.send(part(3, 1, 2), b"a", b"second");
    assert_eq!((told(&mut other).1, told(&mut again).1), (Status::Ok, Status::Duplicate));
    assert_eq!(subscriber.next().payload, b"first second");
    assert_eq!(told(&mut sent_again(&gateway, &first)).1, Status::Duplicate);
    // One that differs is no copy, and refused as ever.
    again.send(part(4, 0, 2), b"a", b"this");
    again.send(Header { id: 8, ..part(4, 0, 2) }, b"a", b"this");
    assert_eq!(told(&mut again), (8, Status::Rejected, "part 0 came before".into()));
    gateway.stop();
}

#[test]
fn the_copy_of_a_fragment_expires_with_it_and_is_then_new() {
    let gateway = start(Config { lease: Duration::from_millis(50), ..config() });
    let mut client = gateway.connect();
    let bytes = client.frame(part(1, 0, 2), b"a", b"alone");
    for _ in 0..2 {
        client.write(&[&bytes[..], &bytes].concat());
        for _ in 0..2 {
            let (_, status, reason) = told(&mut client);
            assert_eq!(
                (status, reason.as_str()),
                (Status::Expired, "the other parts did not come within the lease")
            );
        }
    }
    let ledger = gateway.stop();
    assert_eq!(
        (ledger.rejected.of(Status::Expired), ledger.rejected.of(Status::Duplicate)),
        (2, 2),
        "{ledger}"
    );
}

#[test]
fn copies_that_wait_for_a_fragment_are_bounded() {
    let gateway = start(config());
    let mut client = gateway.connect();
    let bytes = client.frame(part(1, 0, 2), b"a", b"again and again");
    client.write(&bytes.repeat(21));
    for _ in 0..12 {
        assert_eq!(told(&mut client).1, Status::Busy);
    }
    client.send(part(1, 1, 2), b"a", b"");
    let mut statuses: Vec<Status> = (0..10).map(|_| told(&mut client).1).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [&[Status::Ok; 2][..], &[Status::Duplicate; 8]].concat());
    gateway.stop();
}

#[test]
fn a_copy_needs_no_room() {
    for pressure in [Pressure::Pause, Pressure::Expire] {
        let gateway = start(Config { max_keys: 1, lease_pressure: pressure, ..config() });
        let mut client = gateway.connect();
        let done: Vec<Vec<u8>> = (0..2).map(|index| client.frame(part(1, index, 2), b"a", b"x")).collect();
        client.write(&done.concat());
        assert_eq!([told(&mut client).1, told(&mut client).1], [Status::Ok; 2]);
        client.send(part(2, 0, 2), b"a", b"held");
        look_until(&gateway, "the other", |snapshot| snapshot.parts.held == 1);
        let mut again = sent_again(&gateway, &done[0]);
        assert_eq!(told(&mut again).1, Status::Duplicate);
        assert_eq!(again.publish("behind", b"it").0, Status::Ok, "its connection does not wait");
        client.send(part(2, 1, 2), b"a", b"whole");
        assert_eq!([told(&mut client).1, told(&mut client).1], [Status::Ok; 2]);
        gateway.stop();
    }
}

#[test]
fn the_copy_of_a_fragment_of_a_large_message_waits_for_the_sinks() {
    let judge = Desk::new("judge", true);
    let gateway = start_with(config(), |gateway| judge.add_to(gateway));
    let mut client = gateway.connect();
    let parts: Vec<Vec<u8>> = (0..3)
        .map(|index| client.frame(part(1, index, 3), b"a", &payload(1_500_000, index.into())))
        .collect();
    client.write(&parts.concat());
    // While it is hashed or with the sink: where it is then is up to the machine.
    let mut early = sent_again(&gateway, &parts[2]);
    judge.wait_for(1);
    let mut late = sent_again(&gateway, &parts[0]);
    for client in [&mut early, &mut late] {
        says_nothing_yet(client);
    }
    judge.judge(Some("not this one"));
    for client in [&mut client, &mut early, &mut late] {
        assert_eq!(told(client).1, Status::Rejected);
    }
    gateway.stop();
}

#[test]
fn what_promises_nothing_is_answered_while_a_sink_takes_nothing() {
    for alone in [false, true] {
        let disk = Desk::new("disk", alone);
        let gateway = start_with(Config { dedup: None, ..config() }, |gateway| disk.add_to(gateway));
        let mut client = gateway.connect();
        let mut bytes = client.frame(data(1), b"a", b"to be stored");
        bytes.extend(client.frame(Header { id: 2, ..Header::new(Kind::Ping) }, b"", b""));
        let subscribe = Header { id: 3, want_reply: true, ..Header::new(Kind::Subscribe) };
        bytes.extend(client.frame(subscribe, b"other", b""));
        bytes.extend(client.frame(data(4), b"no topic", b""));
        let damaged = bytes.len() + 40;
        bytes.extend(client.frame(data(5), b"a", b"damaged"));
        bytes[damaged] ^= 1;
        client.write(&bytes);
        let mut statuses: Vec<(u64, Status)> =
            (0..4).map(|_| told(&mut client)).map(|(id, is, _)| (id, is)).collect();
        statuses.sort_unstable();
        let expected = [(2, Status::Ok), (3, Status::Ok), (4, Status::Rejected), (5, Status::BadDigest)];
        assert_eq!(statuses, expected);
        disk.judge(None);
        assert_eq!(told(&mut client), (1, Status::Ok, String::new()));
        gateway.stop();
    }
}

#[test]
fn no_lease_ends_while_a_sink_takes_nothing() {
    let lease = Duration::from_millis(200);
    // In trouble from the first frame on, or silent as a disk that does not answer.
    for trouble in [true, false] {
        let disk = Desk::new("disk", false);
        disk.set_trouble(trouble);
        let gateway = start_with(Config { lease, ..config() }, |gateway| disk.add_to(gateway));
        let mut client = gateway.connect();
        client.send(data(9), b"a", b"to be stored");
        disk.wait_for(1);
        client.send(part(1, 0, 2), b"a", b"early");
        look_until(&gateway, "an old fragment", |snapshot| snapshot.parts.oldest > 5 * lease);
        let at = std::time::Instant::now();
        disk.set_trouble(false);
        disk.judge(None);
        assert_eq!(told(&mut client).1, Status::Ok);
        assert_eq!(told(&mut client).1, Status::Expired);
        assert!(at.elapsed() >= lease, "one lease after that");
        gateway.stop();
    }
}

#[test]
fn a_held_fragment_does_not_hold_up_the_end_of_its_connection() {
    let disk = Desk::new("disk", false);
    let gateway = start_with(Config { on_bad_digest: BadDigestPolicy::Close, ..config() }, |gateway| {
        disk.add_to(gateway)
    });
    let mut subscriber = gateway.subscriber(">");
    // What waits for a sink is told before the end.
    for (key, garbage, status) in [(1, false, Status::BadDigest), (2, true, Status::Malformed)] {
        let mut client = gateway.connect();
        let mut bytes = client.frame(Header { key, ..data(1) }, b"a", b"stored");
        bytes.extend(client.frame(part(key, 0, 2), b"a", b"held "));
        let mut last = client.frame(data(3), b"a", b"damaged");
        last[if garbage { 0 } else { 40 }] ^= 1;
        bytes.extend(last);
        client.write(&bytes);
        disk.judge(None);
        let mut all: Vec<_> =
            client.rest().iter().map(|got| (got.header.id, got.status().unwrap())).collect();
        // What promises nothing need not wait for what does; the end does.
        all.sort_by_key(|&(_, status)| status);
        let id = if garbage { 0 } else { 3 };
        assert_eq!(all, [(1, Status::Ok), (id, status)]);
        assert_eq!(subscriber.next().payload, b"stored");
        // The fragment is held, and its message becomes whole.
        let mut other = gateway.connect();
        other.send(part(key, 1, 2), b"a", b"on");
        disk.judge(None);
        assert_eq!(told(&mut other), (1, Status::Ok, String::new()));
        assert_eq!(subscriber.next().payload, b"held on");
    }
    drop(subscriber);
    let ledger = gateway.stop();
    assert_eq!((ledger.assembled, ledger.connections.accepted), (4, 5), "{ledger}");
}

#[test]
fn a_reset_connection_is_gone_though_fragments_of_it_are_held() {
    let gateway = start(config());
    let mut client = gateway.connect();
    client.send(part(1, 0, 2), b"a", b"held");
    look_until(&gateway, "the fragment", |snapshot| snapshot.parts.held == 1);
    reset(client.socket);
    look_until(&gateway, "its end", |snapshot| snapshot.queues.connections.now == 0);
    // One that has sent all that it will waits for its reply.
    let mut other = gateway.connect();
    other.send(part(1, 1, 2), b"a", b"whole");
    other.end();
    assert_eq!(other.rest().len(), 1);
    gateway.stop();
}

#[test]
fn a_pause_says_that_fragments_wait() {
    let gateway = start(Config { max_keys: 1, ..config() });
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    first.send(part(1, 0, 2), b"a", b"held");
    look_until(&gateway, "the fragment", |snapshot| snapshot.parts.held == 1);
    second.send(part(2, 0, 2), b"a", b"no room");
    second.send(silent(3), b"a", b"behind it");
    look_until(&gateway, "the other", |snapshot| snapshot.parts.parked == 1);
    let paused = gateway.control().pause(PATIENCE).expect("it runs");
    assert!(paused.quiet && paused.in_flight == 0 && paused.queued == 0, "{paused:?}");
    assert_eq!(paused.held, 1);
    assert!(paused.parked >= 1, "{paused:?}");
    gateway.control().resume().expect("it runs");
    gateway.stop();
}

#[test]
fn it_is_shown_how_far_back_the_window_reaches() {
    let memory = 8 << 20;
    let gateway = start(Config { payload_max: 1 << 20, memory, ..config() });
    let window = |snapshot: &Snapshot| snapshot.queues.dedup_window.expect("there is one");
    let max = look_until(&gateway, "a look", |_| true).queues.dedup.max;
    assert_eq!(max, memory as u64 / 8 / 112);
    let mut client = gateway.connect();
    let frames: Vec<u8> = (0..max).flat_map(|id| client.frame(silent(id), b"a", b"")).collect();
    client.write(&frames);
    let full = look_until(&gateway, "all of them", |snapshot| snapshot.queues.dedup.now == max);
    assert_eq!((window(&full).reach, window(&full).forgotten_early), (LONG, 0));
    assert_eq!(client.publish("a", b"one more").0, Status::Ok);
    let beyond = look_until(&gateway, "a look", |_| true);
    assert_eq!((beyond.queues.dedup.now, window(&beyond).forgotten_early), (max, 1));
    assert!(window(&beyond).reach < LONG);
    gateway.stop();
}

/// Copies that wait take their part of what open messages may, and no more than all of it.
#[test]
fn copies_that_wait_take_part_of_the_memory_of_parts() {
    let parts_memory = 16 << 10;
    let gateway = start(Config { payload_max: 4 << 10, parts_memory, max_parts: 2, ..config() });
    let mut client = gateway.connect();
    let parts: Vec<Vec<u8>> = (0..10).map(|key| client.frame(part(key, 0, 2), b"a", b"")).collect();
    client.write(&parts.concat());
    look_until(&gateway, "the fragments", |snapshot| snapshot.parts.held == 10);
    let mut waiting = Vec::new();
    for bytes in parts.iter().flat_map(|bytes| [bytes; 8]) {
        let mut copy = sent_again(&gateway, bytes);
        copy.send(Header { id: 7_777, ..Header::new(Kind::Ping) }, b"", b"");
        let (id, status, _) = told(&mut copy);
        if id != 7_777 {
            assert_eq!(status, Status::Busy);
            break;
        }
        waiting.push(copy);
    }
    assert!((8..80).contains(&waiting.len()), "{} copies found room", waiting.len());
    // Nor is there room for another fragment then.
    client.send(part(1_000, 0, 2), b"a", &[0; 1_000]);
    look_until(&gateway, "one that waits", |snapshot| snapshot.parts.parked == 1);
    gateway.stop();
}

/// A copy of a connection that is gone waits for nothing, and takes nobody's place.
#[test]
fn copies_of_connections_that_ended_make_room_for_others() {
    let gateway = start(config());
    let mut client = gateway.connect();
    let bytes = client.frame(part(1, 0, 2), b"a", b"again and again");
    client.write(&bytes);
    look_until(&gateway, "the fragment", |snapshot| snapshot.parts.held == 1);
    for _ in 0..8 {
        let mut lost = sent_again(&gateway, &bytes);
        says_nothing_yet(&mut lost);
        reset(lost.socket);
    }
    look_until(&gateway, "their ends", |snapshot| snapshot.queues.connections.now == 1);
    let mut copy = sent_again(&gateway, &bytes);
    says_nothing_yet(&mut copy);
    client.send(part(1, 1, 2), b"a", b"");
    assert_eq!(told(&mut copy).1, Status::Duplicate);
    gateway.stop();
}

/// No lease ends while publishers are kept from sending, though the sink that keeps them gives its word all the time.
#[test]
fn no_lease_ends_while_a_sink_has_no_room() {
    let lease = Duration::from_secs(1);
    let disk = Desk::new("disk", true);
    let gateway = start_with(Config { lease, dedup: None, ..config() }, |gateway| disk.add_to(gateway));
    let mut client = gateway.connect();
    client.send(part(1, 0, 2), b"a", b"held");
    let frames: Vec<u8> = (0..500).flat_map(|id| client.frame(silent(id), b"a", b"to be stored")).collect();
    client.write(&frames);
    disk.wait_for(500);
    disk.set_full(true);
    let mut left = 500;
    while look_until(&gateway, "a look", |_| true).parts.oldest < 4 * lease {
        disk.judge(None);
        left -= 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(look_until(&gateway, "a look", |_| true).parts.held, 1);
    disk.set_full(false);
    (0..left).for_each(|_| drop(disk.judge(None)));
    assert_eq!(told(&mut client).1, Status::Expired);
    gateway.stop();
}

/// A sink that had nothing for long is not silent when it gets something.
#[test]
fn leases_end_though_frames_come_now_and_then() {
    let lease = Duration::from_millis(400);
    let disk = Desk::new("disk", false);
    let gateway = start_with(Config { lease, ..config() }, |gateway| disk.add_to(gateway));
    let (mut client, mut other) = (gateway.connect(), gateway.connect());
    client.send(part(1, 0, 2), b"a", b"held");
    client.socket.set_read_timeout(Some(3 * lease / 4)).unwrap();
    for id in 0.. {
        match client.try_next() {
            Ok(got) => {
                assert_eq!(got.expect("it stays").status(), Some(Status::Expired));
                break;
            }
            Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(id < 20, "it is held for ever");
        other.send(data(id), b"a", b"now and then");
        disk.judge(None);
        assert_eq!(told(&mut other).1, Status::Ok);
    }
    gateway.stop();
}

/// A sink in trouble keeps a lease at once, however little of it is left.
#[test]
fn a_lease_that_is_about_to_end_waits_for_a_sink_in_trouble() {
    let lease = Duration::from_secs(2);
    let disk = Desk::new("disk", false);
    disk.set_trouble(true);
    let gateway = start_with(Config { lease, ..config() }, |gateway| disk.add_to(gateway));
    let mut client = gateway.connect();
    client.send(part(1, 0, 2), b"a", b"held");
    look_until(&gateway, "an old fragment", |snapshot| snapshot.parts.oldest > lease * 3 / 5);
    client.send(data(9), b"a", b"to be stored");
    disk.wait_for(1);
    look_until(&gateway, "an older one", |snapshot| snapshot.parts.oldest > 2 * lease);
    disk.set_trouble(false);
    disk.judge(None);
    assert_eq!([told(&mut client).1, told(&mut client).1], [Status::Ok, Status::Expired]);
    gateway.stop();
}
