//! Runs become native batches; and what people are shown of a frame.

use super::*;

fn run(layout: &Arc<Layout>, frames: &[&[u8]], memory: &Arc<Memory>) -> Run {
    let (mut bytes, mut spots) = (Vec::new(), Vec::new());
    for frame in frames {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(frame);
        spots.push(Spot { start, end: bytes.len() as u32, shape: 0 });
    }
    let room = memory.charge(Share::Small, layout.room(frames.len(), bytes.len()));
    let buffer = Buffer::charged(memory, bytes.into());
    Run { layout: layout.clone(), buffer, frames: spots, kept: Kept::default(), room }
}

fn generic(len: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
    let frame = [&(len as u32).to_be_bytes()[..], &body].concat();
    [&frame[..], &Scheme::Sha256.digest(&frame)].concat()
}

#[test]
fn a_run_becomes_one_batch_that_verifies() {
    let memory = Memory::new(Memory::least(1 << 24), 1 << 24);
    let layout = builtin().get("generic-sha256").unwrap();
    for scheme in [Scheme::Sha256, Scheme::keyed(b"k")] {
        let frames: Vec<Vec<u8>> = (0..40).map(|at| generic(at * 13)).collect();
        let mut frames: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
        let mut wrong = generic(99);
        wrong[20] ^= 1;
        frames[7] = &wrong;
        frames[39] = &wrong;
        let done = run(layout, &frames, &memory).convert(&scheme, &memory);
        let bad: Vec<usize> = (0..40).filter(|at| done.fates[*at].outcome == Outcome::BadCheck).collect();
        assert_eq!(bad, [7, 39]);
        let native = done.native.as_ref().unwrap();
        assert_eq!((native.frames(), native.plain_topic()), (38, Some(&b"frames"[..])));
        assert!(memory.used() > native.len() && memory.used() < native.len() + done.charged() + 1000);
        let bytes = native.body().slices().collect::<Vec<_>>().concat();
        let (len, count) = (bytes.len(), native.frames());
        let again = verify(Batch::new(Buffer::charged(&memory, bytes.into()), len, count, None), &scheme);
        assert!(again.iter().all(|frame| frame.intact));
        drop((done, again));
        assert_eq!(memory.used(), 0);
    }
}

#[test]
fn replies_take_no_more_than_was_set_aside() {
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    let lines = "topic = \"t\"\nsize = 1\ncheck = \"none\"\nreply = \"01 02 03\"\nrefuse = \"04\"";
    let layout = layout(&format!("[layout.a]\n{lines}"));
    for frames in 1..100 {
        let run = run(&layout, &vec![&b"a"[..]; frames], &memory);
        let reserved = run.room.bytes();
        let done = run.convert(&Scheme::Sha256, &memory);
        assert!(memory.used() <= reserved, "{frames}");
        assert!(
            done.fates
                .iter()
                .all(|fate| done.reply(fate) == b"\x01\x02\x03" && done.refusal(fate) == b"\x04")
        );
    }
}

#[test]
fn a_large_frame_is_not_copied() {
    let memory = Memory::new(Memory::least(1 << 24), 1 << 24);
    let layout = builtin().get("generic-sha256").unwrap();
    let frame = generic(1 << 20);
    for scheme in [Scheme::Sha256, Scheme::keyed(b"k")] {
        let run = run(layout, &[&frame], &memory);
        let at = run.buffer.as_ptr();
        let done = run.convert(&scheme, &memory);
        let native = done.native.as_ref().unwrap();
        assert!(native.body().slices().any(|slice| slice.as_ptr() == at), "it is the very buffer");
        let mut expected = Vec::new();
        let header = crate::wire::Header::new(crate::wire::Kind::Data);
        crate::wire::encode(header, b"frames", &frame, &scheme, &mut expected);
        assert_eq!(native.body().slices().collect::<Vec<_>>().concat(), expected);
        drop(done);
        assert_eq!(memory.used(), 0);
    }
    let mut wrong = frame.clone();
    wrong[1000] ^= 1;
    let done = run(layout, &[&wrong], &memory).convert(&Scheme::Sha256, &memory);
    assert!(done.native.is_none() && done.fates[0].outcome == Outcome::BadCheck);
}

#[test]
fn topics_that_differ_are_told() {
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    let layout = layout("[layout.a]\ntopic = \"t.{f}\"\nsize = 1\ncheck = \"none\"\nf = \"u8 @ 0\"");
    for (frames, topic) in [(&[&b"a"[..], b"a", b"a"][..], Some(&b"t.97"[..])), (&[b"a", b"b"], None)] {
        let done = run(&layout, frames, &memory).convert(&Scheme::Sha256, &memory);
        assert_eq!(done.native.unwrap().plain_topic(), topic);
    }
}

#[test]
fn layouts_and_runs_go_to_other_threads() {
    fn is_sent<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Layout>();
    is_shared::<Layouts>();
    is_sent::<Run>();
    is_sent::<Converted>();
    is_sent::<Kept>();
}

#[test]
fn a_frame_is_shown_to_people() {
    let layout = builtin().get("gt06").unwrap();
    let frame = unhex("78780D01086471700328358100093F040D0A");
    let shown = explain(layout, 0, &frame, 0, &Kept::default(), &Scheme::Sha256);
    assert!(shown.is_taken() && !shown.kept.is_empty());
    assert_eq!(
        shown.to_string(),
        "\
0..18  18 bytes, shape 1 (start 78 78 0D 01): right
    0..4  start                    78 78 0D 01
    2..3  length  u8               0D                       13
    3..4  type    u8               01                       1
   4..12  imei    bcd              08 64 71 70 03 28 35 81  0864717003283581 (kept)
  12..14  serial  u16              00 09                    9
  14..16  check   crc-16/ibm-sdlc  3F 04                    right, over 2..14
  16..18  end                      0D 0A
  topic gt06.864717003283581.1  key 864717003283581
  reply  78 78 05 01 00 09 55 94 0D 0A
"
    );
    let wrong = unhex("78780C95130A0209321C91000112800D0A");
    let text = explain(layout, 1, &wrong, 100, &shown.kept, &Scheme::Sha256).to_string();
    assert!(text.starts_with("100..117  17 bytes, shape 2 (start 78 78): the check is wrong\n"), "{text}");
    assert!(text.contains("wrong, over 2..13: would be 48 5C"), "{text}");
    let unknown = explain(layout, 1, &wrong, 100, &Kept::default(), &Scheme::Sha256);
    assert!(unknown.to_string().contains("refused: imei is not known on this connection yet"));
    let jt808 = explain(
        builtin().get("jt808").unwrap(),
        0,
        &unhex("7E00020000043048325465007D02037E"),
        0,
        &Kept::default(),
        &Scheme::Sha256,
    );
    assert!(jt808.to_string().contains("unescaped, 15 bytes: 7E 00 02"), "{jt808}");
}

/// What a large frame becomes in pieces is what it becomes at once; and no piece is longer than one.
#[test]
fn a_large_frame_is_verified_in_pieces() {
    use crate::core::limits::{PIECE, READ_MAX};
    let (scheme, len) = (Scheme::keyed(b"k"), 10 * READ_MAX);
    let memory = Memory::new(Memory::least(1 << 24), 1 << 24);
    let double = "topic = \"t\"\nlength = \"u32 @ 0\"\ncounts = \"0..\"\nreply = \"06\"\nrefuse = \"15\"\n\
                  check = [{ is = \"md5\", over = \"0..-20\", at = \"bytes -20..-4\" }, { is = \"crc-32\", over = \"4..-4\", at = \"u32 @ -4\" }]";
    let code = super::super::Layout::of(Code);
    for (layout, checks) in [
        (builtin().get("generic-sha256").unwrap(), 1),
        (&layout(&format!("[layout.a]\n{double}")), 2),
        (&code, 0),
    ] {
        let frame = match checks {
            0 => vec![7; len],
            _ => layout.sample(0, len, 1, &Kept::default(), &scheme).expect("it can be made"),
        };
        for flipped in [None, Some(5), Some(frame.len() / 2), Some(frame.len() - 1)] {
            let mut frame = frame.clone();
            flipped.into_iter().for_each(|at: usize| frame[at] ^= 1);
            let whole = run(layout, &[&frame], &memory);
            assert!(whole.is_large() && !run(layout, &[&frame[..READ_MAX]], &memory).is_large());
            let expected = whole.convert(&scheme, &memory);
            let mut large = Box::new(LargeRun::new(run(layout, &[&frame], &memory), memory.clone()));
            let mut pieces = 0;
            let done = loop {
                pieces += 1;
                match large.go_on(&scheme) {
                    LargeStep::More(more) => large = more,
                    LargeStep::Done(done) => break done,
                }
            };
            assert_eq!(done.fates, expected.fates, "{flipped:?}");
            assert_eq!(done.fates[0].outcome == Outcome::Published, checks == 0 || flipped.is_none());
            assert_eq!(done.reply(&done.fates[0]), expected.reply(&expected.fates[0]));
            let bytes = |done: &Converted| {
                done.native.as_ref().map(|native| native.body().slices().collect::<Vec<_>>().concat())
            };
            assert!(bytes(&done) == bytes(&expected));
            if flipped.is_none() {
                assert!(pieces >= (checks + 1) * len / PIECE, "{pieces} pieces");
            }
            drop((done, expected));
            assert_eq!(memory.used(), 0);
        }
    }
}

/// A format in code of which every frame is published in part.
struct Code;

impl Format for Code {
    fn name(&self) -> &str {
        "code"
    }

    fn cut(&self, bytes: &[u8], _: &mut Progress) -> Boundary {
        Boundary::Frame(bytes.len())
    }

    fn parse(&self, frame: &[u8], parsed: &mut Parsed) -> Verdict {
        parsed.topic.push_str("code");
        parsed.payload = 3..frame.len() - 2;
        Verdict::Publish
    }
}
