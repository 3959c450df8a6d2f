//! What one of several sinks, or every sink, refused and gets again.

use super::*;

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
    let given = ledger.to_sinks;
    assert_eq!((given.put, given.confirmed, given.refused), (4, 2, 2), "{ledger}");
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
    let given = ledger.to_sinks;
    assert_eq!((given.put, given.confirmed, given.refused), (2, 1, 1), "{ledger}");
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
    assert_eq!((ledger.to_sinks.put, ledger.to_sinks.confirmed), (1, 1), "{ledger}");
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
    assert_eq!((ledger.reassembled, ledger.fragments), (4, 8), "{ledger}");
    assert!(subscriber.rest().iter().all(|got| got.status().is_some()), "each came once");
}
