//! The oracle is awake: a story that is right passes, and each that is doctored is seen.

use std::sync::Arc;

use serde_json::json;

use super::options::{Dedup, Http, KIB, MIB, Options, Store};
use super::oracle::judge;
use super::stores::topic_of;
use super::story::{Line, Phase, Post, Stored, Story, Watcher};
use super::wire::{self, Digest, Frame, Head, covers, encode};
use super::world::{Ending, Flaw, Item, What, ping, single};

fn options() -> Options {
    Options {
        is_in_file: false,
        workers: 1,
        max_payload: MIB,
        memory: 256 * MIB,
        outbox: 512 * KIB,
        slow: "pause",
        frozen: 0,
        closes_on_bad_digest: false,
        dedup: Dedup::Off,
        handler: None,
        lease: "30s",
        max_keys: 1_000_000,
        parts_memory: 64 * MIB,
        expires_under_pressure: false,
        store: Some(Store { rotate: "10s", sync: "batch", keep: false }),
        http: Some(Http { max_in_flight: 10, ordered: true, retries: 0, doors: usize::MAX }),
    }
}

fn data(id: u64, topic: &str) -> Item {
    let head = Head { kind: wire::DATA, want: true, id, key: 1, ..Head::default() };
    single(What::Data, head, topic, format!("Po{id}").as_bytes(), None)
}

const MESSAGE_KEY: u64 = 1_000_007;

/// Two fragments, and the message that they are.
fn fragments() -> ([Item; 2], Vec<u8>) {
    let head = Head { kind: wire::DATA, key: MESSAGE_KEY, ..Head::default() };
    let message = encode(head, b"a.b", b"PoABCD", None);
    let digest = Digest(*message.last_chunk().expect("a digest"));
    let part = |index: u16, payload: &[u8]| {
        let head = Head { want: true, index, count: 2, id: 50 + u64::from(index), ..head };
        single(What::Part(digest, 2), head, "a.b", payload, None)
    };
    ([part(0, b"PoAB"), part(1, b"CD")], message)
}

fn cut(bytes: &[u8]) -> Frame {
    let mut cutter = wire::Cutter::default();
    cutter.push(bytes);
    cutter.next(None).expect("a frame").expect("all of it")
}

fn reply(id: u64, status: u16, text: &str) -> Frame {
    let digest = Digest([0; 32]);
    Frame {
        kind: wire::REPLY,
        status,
        key: 0,
        id,
        topic: Vec::new(),
        text: text.into(),
        digest,
        intact: true,
    }
}

/// One connection: a, b, half a message, c, the other half, a wrong digest, a PING. All but that digest came out.
fn story() -> Story {
    let ([first, second], message) = fragments();
    let mut bad = data(9, "a.b");
    *bad.bytes.last_mut().expect("it has bytes") ^= 1;
    bad.digest = Digest(*bad.bytes.last_chunk().expect("a digest"));
    bad.flaw = Flaw::Digest;
    let (a, b, c) = (data(1, "a.b"), data(2, "a.c"), data(3, "a.b"));
    let order: Vec<Frame> = [&a.bytes, &b.bytes, &c.bytes, &message].map(|bytes| cut(bytes)).into();
    let items: Vec<Arc<Item>> = [a, b, first, c, second, bad, ping(99, None)].map(Arc::new).into();
    let status = |item: &Item| if item.flaw == Flaw::Digest { wire::BAD_DIGEST } else { wire::OK };
    let replies = items.iter().map(|item| reply(item.id, status(item), "")).collect();
    let line = Line {
        items,
        ending: Ending::HalfClose,
        is_complete: true,
        replies,
        got: Vec::new(),
        end: "closed".into(),
    };
    let watcher = |pattern: &str| Watcher {
        patterns: vec![pattern.into()],
        got: order.iter().filter(|frame| covers(pattern, &frame.topic)).cloned().collect(),
        end: "closed".into(),
        ..Watcher::default()
    };
    let post = |(number, (frame, body)): (usize, (&Frame, &str))| Post {
        number,
        digest: frame.digest.hex(),
        topic: frame.topic.clone(),
        key: frame.key,
        id: frame.id,
        body: body.into(),
        answer: Some(200),
    };
    let bodies = ["Po1", "Po2", "Po3", "PoABCD"];
    let ledger = json!({
        "read": 9, "reassembled": 1, "delivered": 4, "control": 3, "rejected": {"BAD_DIGEST": 1}, "fragments": 2,
        "to_sinks": {"put": 4, "confirmed": 4, "refused": 0},
    });
    let of = |topic: &[u8]| order.iter().filter(|frame| frame.topic == topic).cloned().collect();
    let stored = Stored {
        folders: vec![(b"a.b".to_vec(), of(b"a.b")), (b"a.c".to_vec(), of(b"a.c"))],
        order: order.iter().map(|frame| frame.digest).collect(),
        ..Stored::default()
    };
    let phase = Phase {
        options: options(),
        killed: false,
        cut_short: false,
        lines: vec![line],
        watchers: vec![watcher(">"), watcher("a.b")],
        posts: order.iter().zip(bodies).enumerate().map(post).collect(),
        ledger: Some(ledger),
        exit: Some(0),
        resident: 10 << 20,
        memory: 256 * MIB,
        log: String::new(),
    };
    Story { phases: vec![phase], stored: Some(stored), ..Story::default() }
}

/// Judges a story that was doctored: some complaint must hold each of these.
fn sees(parts: &[&str], doctor: impl FnOnce(&mut Story)) {
    let mut story = story();
    doctor(&mut story);
    let faults = judge(&story);
    for part in parts {
        assert!(faults.iter().any(|fault| fault.contains(part)), "nothing says {part:?}: {faults:#?}");
    }
}

fn stored(story: &mut Story) -> &mut Stored {
    story.stored.as_mut().expect("it has a store")
}

#[test]
fn a_right_story_passes() {
    assert_eq!(judge(&story()), Vec::<String>::new());
}

#[test]
fn a_frame_in_another_topics_folder_is_seen() {
    // A run of two topics that is filed by its first frame.
    sees(&["is in the folder of 'a.b'"], |story| {
        let folders = &mut stored(story).folders;
        let moved = folders.remove(1).1;
        folders[0].1.splice(1..1, moved);
    });
}

#[test]
fn another_order_in_one_place_is_seen() {
    sees(&["phase 0, subscriber 0", "came behind"], |story| story.phases[0].watchers[0].got.swap(0, 1));
    sees(&["phase 0, subscriber 1", "came behind"], |story| story.phases[0].watchers[1].got.swap(0, 1));
    sees(&["store, topic 'a.b'", "came behind"], |story| stored(story).folders[0].1.swap(0, 1));
    sees(&["store, all topics by tail", "came behind"], |story| stored(story).order.swap(0, 1));
    sees(&["HTTP store", "came behind"], |story| story.phases[0].posts.swap(0, 1));
}

#[test]
fn a_message_before_what_stood_before_its_last_fragment_is_seen() {
    sees(&["subscriber 0", "came behind message"], |story| story.phases[0].watchers[0].got.swap(2, 3));
    sees(&["store, all topics by tail: frame", "came behind message"], |story| {
        stored(story).order.swap(2, 3)
    });
}

#[test]
fn what_is_missing_in_one_place_is_seen() {
    sees(&["came 0 times"], |story| drop(story.phases[0].watchers[0].got.remove(1)));
    sees(&["subscriber 1", "to another 1 times"], |story| drop(story.phases[0].watchers[1].got.pop()));
    sees(&["lies there 0 times", "tail --store gives 4"], |story| drop(stored(story).folders[0].1.pop()));
    sees(&["tail --store gives 3"], |story| stored(story).order.truncate(3));
    sees(&["taken 0 times", "to_sinks.confirmed"], |story| drop(story.phases[0].posts.pop()));
    sees(&["was not answered"], |story| drop(story.phases[0].lines[0].replies.remove(0)));
}

#[test]
fn a_hole_before_a_kill_is_seen() {
    // Of a connection that was cut off, what came is the beginning of what it sent.
    sees(&["subscriber 0", "is missing before"], |story| {
        story.phases[0].killed = true;
        story.phases[0].watchers[0].got.remove(1);
    });
    sees(&["store, topic 'a.b'", "is missing before"], |story| {
        story.phases[0].killed = true;
        stored(story).folders[0].1.remove(0);
    });
}

#[test]
fn what_comes_twice_is_seen() {
    sees(&["came 2 times"], |story| {
        let again = story.phases[0].watchers[0].got[1].clone();
        story.phases[0].watchers[0].got.push(again);
    });
    sees(&["lies there 2 times"], |story| {
        let again = stored(story).folders[0].1[0].clone();
        stored(story).folders[0].1.push(again);
    });
    sees(&["taken 2 times"], |story| {
        let again = story.phases[0].posts[0].clone();
        story.phases[0].posts.push(again);
    });
    sees(&["answers that nobody asked for"], |story| {
        let again = story.phases[0].lines[0].replies[0].clone();
        story.phases[0].lines[0].replies.push(again);
    });
}

#[test]
fn a_copy_that_is_stored_again_after_a_restart_is_seen() {
    sees(&["lies there 2 times, not 1 to 1"], |story| {
        story.phases[0].options.dedup = Dedup::Long;
        let mut phase = self::story().phases.remove(0);
        phase.options.dedup = Dedup::Long;
        story.phases.push(phase);
        for folder in &mut stored(story).folders {
            folder.1.extend(folder.1.clone());
        }
    });
}

#[test]
fn an_answer_that_is_not_so_is_seen() {
    // OK, for what is nowhere.
    sees(&["told OK 1) came 0 times"], |story| {
        let lost = story.phases[0].watchers[0].got.remove(1).digest;
        story.phases[0].posts.retain(|post| post.digest != lost.hex());
        stored(story).folders.remove(1);
        stored(story).order.retain(|digest| *digest != lost);
    });
    // OK, for a wrong digest.
    sees(&["was told 0"], |story| story.phases[0].lines[0].replies[5].status = wire::OK);
    // REJECTED, for what is everywhere.
    sees(&["was told 3"], |story| story.phases[0].lines[0].replies[0].status = wire::REJECTED);
    // REJECTED by the store, which has it.
    sees(&["told that it was refused"], |story| {
        story.phases[0].lines[0].replies[0] = reply(1, wire::REJECTED, "http: 422 Unprocessable Entity");
    });
    // A copy's answer, where nothing is a copy.
    sees(&["was told 5"], |story| story.phases[0].lines[0].replies[0].status = wire::DUPLICATE);
    // One fragment's answer is not the other's.
    sees(&["some was told done and some was not"], |story| {
        story.phases[0].options.lease = "300ms";
        story.phases[0].lines[0].replies[2].status = wire::EXPIRED;
    });
    sees(&["all of it came, and it was refused"], |story| {
        story.phases[0].lines[0].replies[2].status = wire::EXPIRED;
        story.phases[0].lines[0].replies[4].status = wire::EXPIRED;
    });
}

#[test]
fn a_copy_that_is_answered_too_early_is_seen() {
    // DUPLICATE, and the gateway was killed before the first was anywhere.
    sees(&["lies there 0 times, not 1", "was told done and never taken"], |story| {
        let phase = &mut story.phases[0];
        (phase.killed, phase.options.dedup) = (true, Dedup::Long);
        phase.lines[0].replies[1].status = wire::DUPLICATE;
        phase.posts.remove(1);
        let lost = stored(story).folders.remove(1).1[0].digest;
        stored(story).order.retain(|digest| *digest != lost);
    });
}

#[test]
fn what_was_refused_and_came_is_seen() {
    sees(&["although its digest was wrong"], |story| {
        let bad = story.phases[0].lines[0].items[5].clone();
        let frame = Frame { intact: true, ..cut(&bad.bytes) };
        story.phases[0].watchers[0].got.push(frame);
    });
    sees(&["which nobody sent"], |story| {
        let frame = cut(&data(77, "a.b").bytes);
        story.phases[0].watchers[0].got.push(frame);
    });
    sees(&["does not match"], |story| {
        let frame = story.phases[0].watchers[0].got[1].clone();
        story.phases[0].watchers[1].got.push(frame);
    });
}

#[test]
fn an_end_that_is_not_in_order_is_seen() {
    sees(&["exit code Some(1)"], |story| story.phases[0].exit = Some(1));
    sees(&["is not balanced"], |story| story.phases[0].ledger.as_mut().expect("a ledger")["read"] = json!(8));
    sees(&["was not confirmed"], |story| {
        story.phases[0].ledger.as_mut().expect("a ledger")["to_sinks"]["confirmed"] = json!(3);
    });
    sees(&["in the log"], |story| story.phases[0].log = "[2026 ERROR framegate] it fails".into());
    sees(&["are resident"], |story| story.phases[0].resident = 512 << 20);
    sees(&["verify exits 1"], |story| stored(story).verified.0 = 1);
    sees(&["its last PING was not answered"], |story| story.phases[0].lines[0].is_complete = false);
}

#[test]
fn a_folders_name_leads_back_to_its_topic() {
    for (name, topic) in
        [("%empty", ""), ("a%2Fb%3Ac", "a/b:c"), ("größe.東京", "größe.東京"), ("100%25", "100%")]
    {
        assert_eq!(String::from_utf8(topic_of(name)).expect("text"), topic);
    }
    let long = "x".repeat(254);
    assert_eq!(topic_of(&format!("{long}%/%2Eb")), format!("{long}.b").into_bytes());
}
