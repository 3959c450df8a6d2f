//! Frames that are made from declarations are frames.

use super::*;

/// The scheme of the connections here.
fn keyed() -> Scheme {
    Scheme::keyed(b"secret")
}

/// What a device sends is cut, right and published, every frame of it.
fn is_published(layout: &Arc<Layout>, len: usize) -> usize {
    let device = layout.device(4711, len, &keyed());
    let device = device.unwrap_or_else(|why| panic!("{}: {why}", layout.name()));
    let frames: Vec<Vec<u8>> = (0..5)
        .map(|n| device.frame(layout, n, len, &keyed()))
        .map(|frame| frame.unwrap_or_else(|| panic!("{}: no frame of {len} bytes", layout.name())))
        .collect();
    let stream = [device.logins.concat(), frames.concat()].concat();
    let events = events(layout, &stream);
    assert_eq!(events.len(), device.logins.len() + frames.len(), "{}: {events:?}", layout.name());
    for (event, frame) in events[device.logins.len()..].iter().zip(&frames) {
        assert!(matches!(event, Event::Published(_, _, payload, _) if *payload == hex(frame)), "{event:?}");
    }
    frames[0].len()
}

#[test]
fn every_layout_that_comes_with_the_program_has_devices() {
    for layout in builtin().iter() {
        for len in [1, 40, 100, 256, 1000] {
            let made = is_published(layout, len);
            // A length of 8 bits cannot say more; FIX and others take more than one byte.
            assert!(made >= len.min(200), "{}: {made} bytes, not {len}", layout.name());
        }
    }
}

#[test]
fn every_shape_has_frames() {
    for layout in builtin().iter() {
        let kept = layout.device(1, 64, &keyed()).expect("it has devices").kept;
        for shape in 0..layout.shapes() {
            let made = [20, 17, 30].into_iter().find_map(|len| layout.sample(shape, len, 7, &kept, &keyed()));
            assert!(made.is_some(), "{} {}", layout.name(), layout.shape_name(shape));
        }
    }
}

#[test]
fn devices_and_frames_differ() {
    let layout = builtin().get("teltonika").unwrap();
    let [a, b] = [1, 2].map(|seed| layout.device(seed, 100, &keyed()).unwrap());
    assert_ne!(a.logins, b.logins);
    let frame = |device: &super::super::Device, n| device.frame(layout, n, 100, &keyed()).unwrap();
    assert_ne!(frame(&a, 0), frame(&a, 1));
    assert_eq!(frame(&a, 3), frame(&a, 3));
}

#[test]
fn declarations_of_every_kind_have_devices() {
    for text in [
        "length = \"hex 1..5\"\ncounts = \"5..\"\nstart = \"02\"\ncheck = \"none\"",
        "length = \"bcd 0..2\"\ncheck = { is = \"sha-1\", over = \"0..-20\", at = \"bytes -20..\" }\ncounts = \"2..-20\"",
        "length = \"digits 0..4\"\ncheck = { is = \"crc-16/modbus\", over = \"4..-4\", at = \"hex -4..\" }\ncounts = \"4..-4\"",
        "length = \"u64le @ 0\"\ncheck = [{ is = \"md5\", over = \"8..-20\", at = \"bytes -20..-4\" }, { is = \"crc-32\", over = \"0..-4\", at = \"u32 @ -4\" }]\ncounts = \"8..-20\"",
        "start = \"02\"\nuntil = \"03\"\nunescape = { \"10 02\" = \"02\", \"10 03\" = \"03\", \"10 10\" = \"10\" }\ncheck = { is = \"sum-8\", over = \"1..-2\", at = \"u8 @ -2\" }",
        "start = \"AA\"\nsize = 12\ncheck = { is = \"hmac-sha-256\", over = \"0..-4\", at = \"bytes -4..\" }",
        "length = \"u16 @ 0\"\nname = \"u8 @ 2\"\nwho = \"text 3..3 + name\"\ncheck = \"none\"",
    ] {
        is_published(&layout(&format!("[layout.x]\ntopic = \"x\"\n{text}\n")), 80);
    }
}

#[test]
fn a_device_has_one_topic_and_one_key() {
    let layout = builtin().get("gt06").unwrap();
    let device = layout.device(5, 100, &Scheme::Sha256).unwrap();
    let shown = |n| {
        let frame = device.frame(layout, n, 100, &Scheme::Sha256).unwrap();
        let shown = explain(layout, device.shape, &frame, 0, &device.kept, &Scheme::Sha256);
        (shown.topic.unwrap(), shown.key.unwrap(), frame)
    };
    let (topic, key, first) = shown(0);
    for n in 1..60 {
        let (same_topic, same_key, frame) = shown(n);
        assert_eq!((&same_topic, same_key), (&topic, key));
        assert_ne!(frame, first);
    }
}
