//! Copies of fragments, and how far back and how many copies are known.

use super::*;

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
    assert_eq!(told(&mut again), (8, Status::Rejected, "fragment 0 came before".into()));
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
                (Status::Expired, "the other fragments did not come within the lease")
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
