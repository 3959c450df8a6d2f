//! Identities and what they may do, over real sockets.

use crate::support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use framegate::client::{Error, Event, Identity, Publisher, PublisherOptions, Subscriber};
use framegate::gateway::snapshot::AccessUse;
use framegate::gateway::{AccessFile, Config};
use framegate::handler::{Answer, Call};
use framegate::wire::access::{Access, TokenDigest};
use framegate::wire::layout::builtin;
use framegate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};
use support::{Client, PATIENCE, Running, data, look_until, silent, start, start_with};

/// Where `<x>` stands for the digest of the token `x`.
fn access(text: &str) -> Arc<Access> {
    let mut filled = String::new();
    for (at, part) in text.split(['<', '>']).enumerate() {
        // A pattern ends with one, too.
        match TokenDigest::of(part.as_bytes()).filter(|_| at % 2 == 1) {
            Some(digest) => filled.push_str(&digest.hex()),
            None => filled.push_str(&part.replace('…', ">")),
        }
    }
    let parsed = Access::parse(filled.as_bytes(), "access.toml", SystemTime::now());
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{}", problems[0])).0)
}

fn config(text: &str) -> Config {
    let file = AccessFile { path: "access.toml".into(), access: access(text) };
    Config { access: Some(file), ..Config::default() }
}

const FILE: &str = r#"
revoked = ["gone"]
[default]
subscribe = ["public.…"]
[who.pump]
token-sha256 = ["<old>", "<new>"]
publish = ["plant.{name}.…", "public.…"]
subscribe = ["cmd.{name}.…"]
[who.desk]
token-sha256 = "<desk>"
publish = "cmd.…"
subscribe = "…"
[who.gone]
token-sha256 = "<gone>"
publish = "…"
subscribe = "…"
"#;

fn auth(client: &mut Client, name: &str, token: &str) {
    let header = Header { want_reply: true, id: 99, ..Header::new(Kind::Auth) };
    client.send(header, name.as_bytes(), token.as_bytes());
}

/// A connection that is known, and confirmed to be.
fn known(gateway: &Running, name: &str, token: &str) -> Client {
    let mut client = gateway.connect();
    auth(&mut client, name, token);
    let reply = client.next();
    assert_eq!((reply.status(), reply.header.id), (Some(Status::Ok), 99));
    client
}

fn subscribe(client: &mut Client, pattern: &str) -> (Status, String) {
    let header = Header { want_reply: true, id: 5, ..Header::new(Kind::Subscribe) };
    client.send(header, pattern.as_bytes(), b"");
    let reply = client.next();
    (reply.status().expect("a reply"), String::from_utf8(reply.payload).unwrap())
}

/// What it is told before it is closed.
fn last_word(client: &mut Client) -> (Status, String) {
    let last = client.rest().pop().expect("a last word");
    (last.status().expect("a reply"), String::from_utf8(last.payload).unwrap())
}

fn used(gateway: &Running) -> AccessUse {
    gateway.control().describe(false).expect("it answers").access.expect("it has an access file")
}

fn refused(gateway: &Running, kind: &str) -> u64 {
    used(gateway).refused.iter().find(|(name, _)| *name == kind).expect("a kind").1
}

#[test]
fn each_does_what_its_identity_may() {
    let gateway = start(config(FILE));
    let mut desk = known(&gateway, "desk", "desk");
    assert_eq!(subscribe(&mut desk, ">").0, Status::Ok);
    for token in ["old", "new"] {
        let mut pump = known(&gateway, "pump", token);
        for (topic, expected) in [
            ("plant.pump.flow", (Status::Ok, "")),
            ("plant.pump.flow", (Status::Ok, "")),
            ("plant.other.flow", (Status::Rejected, "may not publish to 'plant.other.flow'")),
            ("plant.pump", (Status::Rejected, "may not publish to 'plant.pump'")),
            ("cmd.pump.stop", (Status::Rejected, "may not publish to 'cmd.pump.stop'")),
            ("public.news", (Status::Ok, "")),
        ] {
            assert_eq!(pump.publish(topic, b"x"), (expected.0, expected.1.to_string()), "{topic}");
        }
        for (pattern, expected) in [
            ("cmd.pump.>", (Status::Ok, "")),
            ("cmd.pump.*", (Status::Ok, "")),
            ("cmd.>", (Status::Rejected, "may not subscribe to 'cmd.>'")),
            (">", (Status::Rejected, "may not subscribe to '>'")),
            ("cmd.*.x", (Status::Rejected, "may not subscribe to 'cmd.*.x'")),
        ] {
            assert_eq!(subscribe(&mut pump, pattern), (expected.0, expected.1.to_string()), "{pattern}");
        }
        // A second one is refused, and changes nothing.
        auth(&mut pump, "desk", "desk");
        let reply = pump.next();
        assert_eq!(reply.status(), Some(Status::Rejected));
        assert_eq!(reply.payload, b"an AUTH is the first frame of its connection");
        assert_eq!(pump.publish("cmd.pump.stop", b"x").0, Status::Rejected);
        for topic in ["plant.pump.flow", "plant.pump.flow", "public.news"] {
            assert_eq!(desk.next().topic, topic, "and nothing else came");
        }
    }
    // Without a word it is the default.
    let mut anyone = gateway.connect();
    assert_eq!(subscribe(&mut anyone, "public.news").0, Status::Ok);
    assert_eq!(subscribe(&mut anyone, "plant.>").0, Status::Rejected);
    assert_eq!(anyone.publish("public.news", b"x").0, Status::Rejected);
    let used = used(&gateway);
    assert_eq!((used.not_published, used.not_subscribed), (9, 7));
    assert_eq!((used.identities, used.revoked, used.has_default), (3, 1, true));
    gateway.stop();
}

#[test]
fn many_frames_of_mixed_topics_in_one_write_have_each_its_own_fate() {
    let gateway = start(config(FILE));
    let mut desk = known(&gateway, "desk", "desk");
    assert_eq!(subscribe(&mut desk, "plant.>").0, Status::Ok);
    let mut pump = gateway.connect();
    // The AUTH and what it is for in one write, the last of them after a large one.
    let mut bytes = pump.frame(Header::new(Kind::Auth), b"pump", b"new");
    let topics: Vec<String> = (0..600).map(|n| format!("plant.{}.t{n}", ["pump", "other"][n % 2])).collect();
    for (id, topic) in topics.iter().enumerate() {
        let payload = vec![7; if id == 300 || id == 301 { 400_000 } else { 100 }];
        bytes.extend(pump.frame(data(id as u64), topic.as_bytes(), &payload));
    }
    let writer = std::thread::spawn(move || {
        pump.write(&bytes);
        (0..600)
            .map(|_| pump.next())
            .map(|reply| (reply.header.id, reply.status().unwrap()))
            .collect::<Vec<_>>()
    });
    for id in (0..600).step_by(2) {
        assert_eq!(desk.next().header.id, id);
    }
    for (id, status) in writer.join().unwrap() {
        assert_eq!(status, if id % 2 == 0 { Status::Ok } else { Status::Rejected }, "{id}");
    }
    gateway.stop();
}

#[test]
fn who_may_not_be_here_hears_why_and_is_closed() {
    let gateway = start(config(&FILE.replace("[default]\nsubscribe = [\"public.…\"]", "")));
    let began = Instant::now();
    let mut wrong: Vec<Client> = (0..20).map(|_| gateway.connect()).collect();
    for (at, client) in wrong.iter_mut().enumerate() {
        let (name, token) = [("pump", "guess"), ("nobody", "new"), ("pump", ""), ("desk", "new")][at % 4];
        auth(client, name, token);
        // What is behind it has no effect.
        client.send(silent(1), b"plant.pump.x", b"x");
    }
    // Others are not kept waiting.
    let mut desk = known(&gateway, "desk", "desk");
    assert_eq!(subscribe(&mut desk, ">").0, Status::Ok);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for client in &mut wrong {
        assert_eq!(last_word(client), (Status::Unauthorized, "wrong name or token".into()));
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "guessing takes time");
    let mut gone = gateway.connect();
    auth(&mut gone, "gone", "gone");
    assert_eq!(last_word(&mut gone), (Status::Unauthorized, "gone is revoked".into()));
    let unknown = "the access file knows no such identity, and has no [default]";
    for kind in [Kind::Ping, Kind::Data, Kind::Subscribe] {
        let mut client = gateway.connect();
        client.send(Header { want_reply: true, ..Header::new(kind) }, b"a", b"");
        assert_eq!(last_word(&mut client), (Status::Unauthorized, unknown.into()), "{kind:?}");
    }
    // A token that is too long is not waited for, nor what anybody else announces.
    let mut long = gateway.connect();
    let bytes = long.frame(Header::new(Kind::Auth), b"pump", &[7; 257]);
    long.write(&bytes[..32]);
    assert_eq!(last_word(&mut long).0, Status::TooLarge);
    let mut announced = gateway.connect();
    let bytes = announced.frame(data(7), b"a", &[7; 1 << 20]);
    announced.write(&bytes[..40]);
    assert_eq!(last_word(&mut announced), (Status::Unauthorized, unknown.into()));
    assert_eq!((refused(&gateway, "wrong_token"), refused(&gateway, "revoked")), (20, 1));
    assert_eq!(refused(&gateway, "unknown"), 4);
    let closed = gateway.control().describe(true).unwrap().survey.unwrap().closed;
    assert!(closed.iter().any(|closed| closed.reason == "gone is revoked"));
    let ledger = gateway.stop();
    assert_eq!(ledger.delivered, 0, "{ledger}");
}

#[test]
fn one_that_says_nothing_is_not_waited_for_for_ever() {
    let text = FILE.replace("[default]\nsubscribe = [\"public.…\"]", "");
    let gateway = start(Config { frame_timeout: Duration::from_millis(100), ..config(&text) });
    let mut client = gateway.connect();
    assert_eq!(last_word(&mut client).0, Status::Unauthorized);
    // One that is known stays.
    let mut pump = known(&gateway, "pump", "new");
    look_until(&gateway, "the other's end", |snapshot| snapshot.ledger.connections.closed == 1);
    // Longer than that of another one.
    assert_eq!(last_word(&mut gateway.connect()).0, Status::Unauthorized);
    assert_eq!(pump.publish("plant.pump.x", b"x").0, Status::Ok);
    gateway.stop();
}

#[test]
fn without_an_access_file_an_auth_is_ok() {
    let gateway = start(Config::default());
    let mut client = known(&gateway, "anybody", "anything");
    assert_eq!(client.publish("a", b"x").0, Status::Ok);
    auth(&mut client, "anybody", "anything");
    assert_eq!(client.next().status(), Some(Status::Ok));
    gateway.stop();
}

#[test]
fn an_access_that_ends_ends_its_connections() {
    let until = humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_millis(700)).to_string();
    let gateway = start(config(&format!(
        "{FILE}\n[who.short]\ntoken-sha256 = '<short>'\npublish = '…'\nuntil = {until}"
    )));
    let mut short = known(&gateway, "short", "short");
    assert_eq!(short.publish("a", b"x").0, Status::Ok);
    let (status, reason) = last_word(&mut short);
    assert_eq!(status, Status::Unauthorized);
    assert!(reason.starts_with("short ended at 20"), "{reason}");
    gateway.stop();
}

#[test]
fn clients_of_the_library_say_who_they_are() {
    let gateway = start(config(FILE));
    let address = gateway.address.to_string();
    let mut subscriber = Subscriber::open(&address, Scheme::Sha256, Duration::ZERO).unwrap();
    subscriber.identity("desk", b"desk").unwrap();
    subscriber.subscribe(&["plant.>"]).unwrap();
    let options = PublisherOptions::default().identity("pump", b"new").unwrap();
    let mut publisher = Publisher::connect(&address, options).unwrap();
    for _ in 0..3 {
        publisher.send("plant.pump.flow", 0, b"21").unwrap();
    }
    publisher.send("plant.other.flow", 0, b"21").unwrap();
    let report = publisher.finish();
    assert_eq!(
        (report.answers.count(Status::Ok), report.answers.count(Status::Rejected)),
        (3, 1),
        "{report:?}"
    );
    for _ in 0..3 {
        assert!(matches!(subscriber.next_event().unwrap(), Event::Frame(frame) if frame.payload() == b"21"));
    }
    // Without replies, too.
    let options = PublisherOptions { replies: false, ..PublisherOptions::default() };
    let mut publisher = Publisher::connect(&address, options.identity("pump", b"old").unwrap()).unwrap();
    publisher.send("plant.pump.flow", 0, b"22").unwrap();
    assert!(publisher.finish().is_complete());
    assert!(matches!(subscriber.next_event().unwrap(), Event::Frame(frame) if frame.payload() == b"22"));

    let wrong =
        PublisherOptions { identity: Some(Identity::new("pump", "guess").unwrap()), ..Default::default() };
    let mut publisher = Publisher::connect(&address, wrong).unwrap();
    publisher.send("plant.pump.flow", 0, b"21").unwrap();
    let error = publisher.finish().error.expect("it is refused");
    assert_eq!(error.to_string(), "the gateway refuses this connection: wrong name or token");
    let mut stranger = Subscriber::open(&address, Scheme::Sha256, Duration::ZERO).unwrap();
    let error = stranger.identity("desk", b"guess").unwrap_err();
    assert!(
        matches!(&error, Error::Unauthorized { reason, .. } if reason == "wrong name or token"),
        "{error}"
    );
    gateway.stop();
}

#[test]
fn a_change_of_the_file_takes_effect_on_a_thousand_live_subscribers() {
    const SUBSCRIBERS: usize = 1000;
    let gateway = start(config(FILE));
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| known(&gateway, "desk", "desk")).collect();
    for client in &mut subscribers {
        for pattern in ["plant.>", "public.news"] {
            assert_eq!(subscribe(client, pattern).0, Status::Ok);
        }
    }
    let mut revoked = known(&gateway, "pump", "old");
    let mut pump = known(&gateway, "pump", "new");
    assert_eq!(pump.publish("plant.pump.flow", b"before").0, Status::Ok);
    // A token is no more, and a right.
    let narrower = FILE
        .replace("\"<old>\", ", "")
        .replace("subscribe = \"…\"\n[who.gone]", "subscribe = 'public.…'\n[who.gone]");
    let reviewed = gateway.control().set_access(access(&narrower)).unwrap();
    assert_eq!((reviewed.identities, reviewed.connections, reviewed.closed), (3, SUBSCRIBERS as u64 + 2, 1));
    assert_eq!(reviewed.patterns_taken, SUBSCRIBERS as u64);
    assert_eq!(last_word(&mut revoked), (Status::Unauthorized, "wrong name or token".into()));
    assert_eq!(pump.publish("plant.pump.flow", b"after").0, Status::Ok);
    assert_eq!(pump.publish("public.news", b"news").0, Status::Ok);
    for client in &mut subscribers {
        assert_eq!(client.next().payload, b"before");
        let told = client.next();
        assert_eq!((told.status(), told.header.id), (Some(Status::Rejected), 0));
        assert_eq!(told.payload, b"may no longer subscribe to 'plant.>'");
        assert_eq!(client.next().payload, b"news", "and nothing of what came after in between");
        assert_eq!(subscribe(client, "plant.>").0, Status::Rejected);
    }
    // The same names, and other rights to publish.
    let other = narrower.replace("\"plant.{name}.…\", ", "");
    gateway.control().set_access(access(&other)).unwrap();
    assert_eq!(pump.publish("plant.pump.flow", b"x").0, Status::Rejected, "what was remembered is forgotten");
    let everyone = gateway.control().set_access(access("[who.x]\ncert = 'cn:x'\npublish = 'x'")).unwrap();
    assert_eq!(everyone.closed, SUBSCRIBERS as u64 + 1);
    for client in &mut subscribers {
        assert_eq!(last_word(client).0, Status::Unauthorized);
    }
    drop(subscribers);
    gateway.stop();
}

#[test]
fn a_handler_gets_only_what_may_be_published_and_hears_from_whom() {
    let handler = |call: &Call<'_>| {
        assert!(call.peer.ip().is_loopback());
        Answer::Pass(format!("{} by {}", call.topic, call.identity.unwrap_or("nobody")).into())
    };
    let gateway = start_with(config(FILE), |gateway| gateway.with_handler(handler).expect("it can work"));
    let mut desk = known(&gateway, "desk", "desk");
    assert_eq!(subscribe(&mut desk, ">").0, Status::Ok);
    let mut pump = known(&gateway, "pump", "new");
    let mut frames = Vec::new();
    for id in 0..40 {
        let topic = ["plant.pump.a", "plant.other.a", "public.b", "cmd.x"][id % 4];
        frames.extend(pump.frame(data(id as u64), topic.as_bytes(), b"x"));
    }
    pump.write(&frames);
    let mut told: Vec<_> = (0..40).map(|_| pump.next()).collect();
    told.sort_by_key(|reply| reply.header.id);
    for (id, reply) in told.iter().enumerate() {
        let expected = [
            (Status::Ok, "plant.pump.a by pump"),
            (Status::Rejected, "may not publish to 'plant.other.a'"),
            (Status::Ok, "public.b by pump"),
            (Status::Rejected, "may not publish to 'cmd.x'"),
        ][id % 4];
        assert_eq!((reply.status(), &reply.payload[..]), (Some(expected.0), expected.1.as_bytes()));
    }
    for id in (0..40).step_by(2) {
        assert_eq!(desk.next().header.id, id, "in order");
    }
    let mut wrong = gateway.connect();
    auth(&mut wrong, "pump", "guess");
    wrong.send(silent(1), b"plant.pump.a", b"x");
    assert_eq!(last_word(&mut wrong).0, Status::Unauthorized);
    assert_eq!(gateway.control().describe(false).unwrap().ledger.calls.answered, 20);
    gateway.stop();
}

/// Writes what it reads into a file, and lets everything pass.
const RECORDER: &str = r#"
import hashlib, struct, sys
head, calls, answers = struct.Struct(">2sBBBBHIHHQQ"), sys.stdin.buffer, sys.stdout.buffer
log = open(sys.argv[1], "w")
while len(begin := calls.read(32)) == 32:
    _, _, kind, _, topic, _, size, _, _, key, id = head.unpack(begin)
    rest = calls.read(topic + size + 32)
    assert hashlib.sha256(begin + rest[:-32]).digest() == rest[-32:]
    print(kind, rest[:topic].decode(), rest[topic:-32].decode(), file=log, flush=True)
    if kind == 0:
        body = head.pack(b"FG", 1, 1, 0, 0, 0, 0, 0, 0, 0, id)
        answers.write(body + hashlib.sha256(body).digest())
        answers.flush()
"#;

#[test]
fn a_program_is_told_who_sent_its_frames_where_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let words = ["python3", "-c", RECORDER, log.to_str().unwrap()].map(str::to_string).to_vec();
    for tells in [true, false] {
        let config = Config { handler: words.clone(), handler_identity: tells, ..config(FILE) };
        let gateway = start(config);
        let (mut pump, mut desk) = (known(&gateway, "pump", "new"), known(&gateway, "desk", "desk"));
        let addresses = [&pump, &desk].map(|client| client.socket.local_addr().unwrap());
        for (client, topic) in [(&mut pump, "plant.pump.a"), (&mut desk, "cmd.b")] {
            for payload in ["1", "2"] {
                assert_eq!(client.publish(topic, payload.as_bytes()).0, Status::Ok);
            }
        }
        gateway.stop();
        let seen = std::fs::read_to_string(&log).unwrap();
        let told = [format!("6 pump {}\n", addresses[0]), format!("6 desk {}\n", addresses[1])];
        let [first, second] = if tells { told } else { [String::new(), String::new()] };
        let expected = format!("{first}0 plant.pump.a 1\n0 plant.pump.a 2\n{second}0 cmd.b 1\n0 cmd.b 2\n");
        assert_eq!(seen, expected);
    }
}

#[test]
fn fragments_and_duplicates_go_through_the_same_door() {
    let gateway = start(Config { dedup: Some(Duration::from_secs(60)), ..config(FILE) });
    let mut desk = known(&gateway, "desk", "desk");
    assert_eq!(subscribe(&mut desk, ">").0, Status::Ok);
    let mut pump = known(&gateway, "pump", "new");
    let part = |index, id| Header { part_index: index, part_count: 2, key: 1, ..data(id) };
    for (topic, status) in [("cmd.x", Status::Rejected), ("plant.pump.x", Status::Ok)] {
        for index in 0..2 {
            pump.send(part(index, 10 + u64::from(index)), topic.as_bytes(), b"ab");
        }
        for _ in 0..2 {
            assert_eq!(pump.next().status(), Some(status), "{topic}");
        }
    }
    assert_eq!((desk.next().payload, used(&gateway).not_published), (b"abab".to_vec(), 2));
    // That it is refused is not remembered as if it had been accepted: another may publish the same bytes.
    let bytes = pump.frame(data(1), b"cmd.x", b"the same");
    for (client, status) in [(&mut pump, Status::Rejected), (&mut desk, Status::Ok)] {
        client.write(&bytes);
        let reply = std::iter::repeat_with(|| client.next()).find(|got| got.header.kind == Kind::Reply);
        assert_eq!(reply.unwrap().status(), Some(status));
    }
    gateway.stop();
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const LOGIN: &str = "78780D01086471700328358100093F040D0A";
const POSITION: &str = "787822220F0C1D023305C9027AC8180C46586000140001CC00287D001F71000001000820860D0A";

#[test]
fn a_tracker_is_known_by_what_its_login_says() {
    let file = r#"
[who.desk]
token-sha256 = "<desk>"
subscribe = "…"
[who.tracker]
field = { imei = "864717003283581" }
publish = "gt06.864717003283581.*"
"#;
    for (imei, may) in [("864717003283581", true), ("0864717003283581", true), ("1", false)] {
        let layout = builtin().get("gt06").unwrap().clone();
        let mut address = None;
        let text = file.replacen("864717003283581", imei, 1);
        let gateway = start_with(config(&text), |mut gateway| {
            address = Some(gateway.listen_also(([127, 0, 0, 1], 0).into(), Some(layout)).unwrap());
            gateway
        });
        let mut desk = known(&gateway, "desk", "desk");
        assert_eq!(subscribe(&mut desk, ">").0, Status::Ok);
        let mut device = TcpStream::connect(address.unwrap()).unwrap();
        device.set_read_timeout(Some(PATIENCE)).unwrap();
        // All of it in one write: the login is judged before what is behind it.
        device.write_all(&[unhex(LOGIN), unhex(POSITION), unhex(POSITION)].concat()).unwrap();
        if may {
            for topic in ["gt06.864717003283581.1", "gt06.864717003283581.34", "gt06.864717003283581.34"] {
                assert_eq!(desk.next().topic, topic);
            }
            let mut answers = [0; 10];
            device.read_exact(&mut answers).unwrap();
            assert_eq!(answers[..4], [0x78, 0x78, 5, 1]);
            let survey = gateway.control().describe(true).unwrap().survey.unwrap();
            assert_eq!(survey.publishers, 1);
        } else {
            let mut rest = Vec::new();
            device.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty(), "it is not answered: {rest:02x?}");
            look_until(&gateway, "its refusal", |snapshot| {
                let refused = &snapshot.access.as_ref().unwrap().refused;
                refused.iter().any(|(kind, count)| *kind == "unknown" && *count == 1)
            });
        }
        let ledger = gateway.stop();
        assert_eq!(ledger.delivered, if may { 3 } else { 0 }, "{ledger}");
    }
}

#[test]
fn an_address_is_an_identity() {
    let text = "[who.here]\nfrom = '127.0.0.0/8'\npublish = 'here.…'\nsubscribe = 'here.…'";
    let gateway = start(config(text));
    let mut client = gateway.connect();
    assert_eq!(client.publish("here.a", b"x").0, Status::Ok);
    assert_eq!(client.publish("there.a", b"x").0, Status::Rejected);
    // It is on no deadline, though it said nothing for long.
    assert_eq!(subscribe(&mut gateway.connect(), "here.>").0, Status::Ok);
    let text = text.replace("[who.here]", "revoked = ['here']\n[who.here]");
    let reviewed = gateway.control().set_access(access(&text)).unwrap();
    assert_eq!(reviewed.closed, 1);
    assert_eq!(last_word(&mut client), (Status::Unauthorized, "here is revoked".into()));
    gateway.stop();
}

#[test]
fn the_decoder_knows_auth() {
    let mut bytes = Vec::new();
    encode(Header::new(Kind::Auth), b"name", b"token", &Scheme::Sha256, &mut bytes);
    let mut decoder = Decoder::new(Rules { payload_max: 1 << 20, replies: false });
    decoder.spare()[..bytes.len()].copy_from_slice(&bytes);
    decoder.advance(bytes.len());
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(
        (frame.header.kind, frame.topic(), frame.payload()),
        (Kind::Auth, &b"name"[..], &b"token"[..])
    );
}
