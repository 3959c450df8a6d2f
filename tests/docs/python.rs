//! The handlers in Python that docs/handlers.md shows, under load.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use framegate::gateway::Config;
use framegate::wire::{Header, Kind, Status};

use super::pages::{self, Page};
use super::support::{Running, data, payload, start};
use super::tools;

const PAGE: &str = "docs/handlers.md";

fn has_python(module: &str) -> bool {
    tools::are_there(Some(&format!("python3-{module}")), PAGE)
}

/// A file that the page shows.
fn example(name: &str) -> String {
    let page = Page::read(&pages::root().join(PAGE));
    let file = page.blocks.iter().find(|block| block.file() == Some(name));
    file.unwrap_or_else(|| panic!("{PAGE} shows no {name}")).text.clone()
}

/// A gateway whose handlers are a script beside the page's module, in a folder of its own.
fn handled(config: Config, script: &str) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("framegate_handler.py"), example("framegate_handler.py")).unwrap();
    let path = folder.path().join("handler.py");
    fs::write(&path, script).unwrap();
    let handler = vec!["python3".into(), path.to_str().unwrap().into()];
    (start(Config { handler, ..config }), folder)
}

#[test]
fn a_handler_in_python_passes_replaces_and_refuses() {
    if !has_python("hashlib") {
        return;
    }
    let script = "\
from framegate_handler import serve
def handle(topic, key, payload):
    print('this is no answer')
    if topic == 'bad':
        raise ValueError('not this one')
    if topic == 'old':
        return 'new.topic', key + 1, payload[::-1]
    return payload.upper() if payload else None
serve(handle)
";
    let (gateway, _folder) = handled(Config { handlers: 2, ..Config::default() }, script);
    let mut subscriber = gateway.subscriber(">");
    let mut client = gateway.connect();
    assert_eq!(client.publish("good", b"hello"), (Status::Ok, "HELLO".into()));
    assert_eq!(client.publish("good", b""), (Status::Ok, String::new()));
    assert_eq!(client.publish("bad", b"x"), (Status::Rejected, "not this one".into()));
    client.send(Header { key: 7, ..data(5) }, b"old", b"abc");
    assert_eq!(client.next().status(), Some(Status::Ok));
    let large = payload(600_000, 3);
    client.send(data(6), b"good", &large);
    assert!(client.next().payload == large.to_ascii_uppercase());
    let got: Vec<_> = (0..4).map(|_| subscriber.next()).collect();
    assert_eq!((got[0].topic.as_str(), &got[0].payload[..]), ("good", &b"hello"[..]));
    assert_eq!(
        (got[2].topic.as_str(), got[2].header.key, &got[2].payload[..]),
        ("new.topic", 8, &b"cba"[..])
    );
    assert_eq!((got[2].header.id, got[2].header.want_reply), (5, true), "the publisher's own");
    assert!(got[3].payload == large);
    gateway.stop();
}

#[test]
fn coroutines_are_answered_as_they_end_and_distributed_as_they_came() {
    if !has_python("asyncio") {
        return;
    }
    // The first of each ten ends last.
    let script = "\
import asyncio
from framegate_handler import serve_async
async def handle(topic, key, payload):
    await asyncio.sleep(0.1 if key % 10 == 0 else 0.005)
    return str(key).encode()
serve_async(handle)
";
    let config = Config { handlers: 1, max_in_flight: 50, ..Config::default() };
    let (gateway, _folder) = handled(config, script);
    let mut client = gateway.connect();
    for topic in ["nobody", "somebody"] {
        let mut subscriber = gateway.subscriber("somebody");
        let frames: u64 = 200;
        for key in 0..frames {
            client.send(Header { key, ..data(key) }, topic.as_bytes(), b"x");
        }
        let told: Vec<u64> = (0..frames)
            .map(|_| client.next())
            .inspect(|got| assert_eq!(got.payload, got.header.id.to_string().as_bytes()))
            .map(|got| got.header.id)
            .collect();
        let mut sorted = told.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..frames), "each once");
        // What goes to somebody is confirmed when it does, in order; what goes to nobody at once.
        assert_eq!(told.is_sorted(), topic == "somebody");
        if topic == "somebody" {
            assert!((0..frames).all(|key| subscriber.next().header.key == key));
        }
    }
    gateway.stop();
}

/// Pictures of several kinds, and what the page's thumbnail makes of each.
fn pictures(folder: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let make = "\
import sys, io
from PIL import Image
from pathlib import Path
folder = Path(sys.argv[1])
for n in range(24):
    image = Image.effect_mandelbrot((200 + 20 * n, 300), (-2, -1.5, 1, 1.5), 20 + n).convert('RGB')
    image.putpixel((n, n), (255, n, 0))
    image.save(folder / f'{n}.in', ['JPEG', 'PNG'][n % 2])
    image = Image.open(folder / f'{n}.in').convert('RGB')
    image.thumbnail((128, 128))
    image.save(folder / f'{n}.out', 'JPEG')
";
    let status = Command::new("python3").args(["-c", make]).arg(folder).status().expect("python3 runs");
    assert!(status.success());
    let read = |n: usize, what: &str| fs::read(folder.join(format!("{n}.{what}"))).unwrap();
    (0..24).map(|n| (read(n, "in"), read(n, "out"))).collect()
}

#[test]
fn the_image_server_answers_a_burst() {
    if !has_python("PIL") {
        return;
    }
    let script = example("thumbnails.py");
    let lines = script.lines().filter(|line| !line.starts_with('#') && !line.contains("framegate_handler"));
    assert_eq!(lines.count(), 8, "as the page says");
    let (gateway, folder) = handled(Config { handlers: 2, max_in_flight: 20, ..Config::default() }, &script);
    let pictures = pictures(folder.path());
    for connections in [1, 20] {
        std::thread::scope(|scope| {
            for number in 0..connections {
                let (gateway, pictures) = (&gateway, &pictures);
                scope.spawn(move || {
                    let mut client = gateway.connect();
                    let ids: Vec<u64> = (0..240).filter(|id| id % connections == number).collect();
                    for &id in &ids {
                        client.send(data(id), b"pictures", &pictures[id as usize % 24].0);
                    }
                    let mut left = ids.clone();
                    for _ in &ids {
                        let got = client.next();
                        assert_eq!((got.header.kind, got.status()), (Kind::Reply, Some(Status::Ok)));
                        let at = left.iter().position(|&id| id == got.header.id).expect("once");
                        left.swap_remove(at);
                        assert!(got.payload == pictures[got.header.id as usize % 24].1, "its own thumbnail");
                    }
                });
            }
        });
    }
    // What is no picture is refused with Pillow's own words.
    let (status, reason) = gateway.connect().publish("pictures", b"no picture");
    assert!(status == Status::Rejected && reason.contains("cannot identify image"), "{reason}");
    let began = Instant::now();
    let ledger = gateway.stop();
    assert!(began.elapsed() < Duration::from_secs(8), "handlers end when their input does");
    assert_eq!((ledger.calls.answered, ledger.calls.tried_again), (481, 0), "{ledger}");
}
