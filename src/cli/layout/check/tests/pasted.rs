//! What is proposed is a declaration: pasted in the place of what was wrong, it is accepted and makes frames of the capture.

use super::*;

/// The hints in what was printed: whether each is sure, and its lines.
fn hints(text: &str, what: &str) -> Vec<(bool, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let at = (0..lines.len()).filter(|at| lines[*at].starts_with(&format!("  it would {what} with")));
    at.map(|at| {
        let pasted = lines[at + 1..].iter().map_while(|line| line.strip_prefix("    "));
        (!lines[at].contains("perhaps by chance"), pasted.collect::<Vec<_>>().join("\n"))
    })
    .collect()
}

/// A declaration with these lines in the place of those of the same keys.
fn pasted(declared: &str, lines: &str) -> String {
    let keys: Vec<&str> = lines.lines().map(|line| line.split(' ').next().expect("a key")).collect();
    let others = declared.lines().filter(|line| !keys.contains(&line.split(' ').next().expect("a key")));
    let [first, rest @ ..] = &others.collect::<Vec<_>>()[..] else { panic!("{declared} is empty") };
    format!("{first}\n{lines}\n{}\n", rest.join("\n"))
}

/// Frames of a declaration, of different lengths.
fn frames(declared: &str, count: u64) -> Option<Vec<u8>> {
    let layouts =
        Layouts::parse(declared, "x.toml").unwrap_or_else(|wrong| panic!("{declared}: {wrong:?}")).0;
    let layout = layouts.iter().next().expect("one is declared");
    let device = layout.device(7, 40, &Scheme::Sha256).ok()?;
    let frames = (0..count).map(|n| device.frame(layout, n, 30 + 5 * n as usize, &Scheme::Sha256));
    frames.collect::<Option<Vec<_>>>().map(|frames| frames.concat())
}

fn is_right(declared: &str, capture: &[u8]) -> bool {
    Layouts::parse(declared, "x.toml").is_ok() && shown(declared, capture).1.are_right()
}

#[test]
fn a_check_that_is_proposed_can_be_pasted() {
    // How a frame is bounded, and how many bytes stand behind its check.
    let bounds = [
        ("start = \"AB CD\"\nlength = \"u8 @ 2\"\ncounts = \"0..\"", 0),
        ("length = \"u16 @ 0\"\ncounts = \"2..\"\nend = \"0D 0A\"", 2),
        ("start = \"AB\"\nsize = 40", 0),
        ("start = \"24\"\nuntil = \"0D 0A\"", 2),
    ];
    let custom = "{ width = 16, poly = 0x1021, init = 0x1234, refin = true }";
    let named = [
        ("\"crc-16/modbus\"", "\"crc-16/arc\"", 2),
        ("\"crc-16/can\"", "\"crc-16/arc\"", 2),
        ("\"crc-15/can\"", "\"crc-16/arc\"", 2),
        ("\"crc-32\"", "\"crc-32c\"", 4),
        (custom, custom, 2),
        ("\"lrc-8\"", "\"sum-8\"", 1),
        ("\"md5\"", "\"sha-1\"", 16),
        ("\"sha-256\"", "\"md5\"", 4),
    ];
    let (mut asked, mut mended) = (0, 0);
    for (bound, tail) in bounds {
        for (right, wrong, width) in named.iter().filter(|(right, ..)| !right.contains("16/can")) {
            let places = |before: usize, front: usize| match width {
                1 => vec![
                    format!("u8 @ -{before}"),
                    format!("u8 @ {front}"),
                    format!("digits -{}..-{}", before + 2, before - 1),
                ],
                2 => vec![
                    format!("u16 @ -{before}"),
                    format!("u16le @ {front}"),
                    format!("hex -{}..-{}", before + 2, before - 2),
                ],
                4 => vec![format!("u32 @ -{before}"), format!("bytes {front}..{}", front + 4)],
                _ => vec![
                    format!("bytes -{before}..-{}", before - width),
                    format!("bytes {front}..{}", front + width),
                ],
            };
            for at in places(width + tail, 4) {
                let at = at.replace("-0", "");
                let is_front = !at.contains('-');
                let overs = match is_front {
                    true => [
                        format!("{}..", 4 + width),
                        format!("{}..-{}", 4 + width, tail.max(1)),
                        "2..4".into(),
                    ],
                    false => [1, 0, 2].map(|from| {
                        format!(
                            "{from}..{}",
                            at.split(['@', '.', ' '])
                                .find(|part| part.starts_with('-'))
                                .expect("it is at the end")
                        )
                    }),
                };
                for (over, other) in [(0, 0), (0, 1), (1, 0), (2, 1)] {
                    let of = |is: &str, over: &str, at: &str| {
                        format!(
                            "[layout.x]\ntopic = \"x\"\n{bound}\ncheck = {{ is = {is}, over = \"{over}\", at = \"{at}\" }}\n"
                        )
                    };
                    let declared = of(right, &overs[over], &at);
                    let Some(capture) = frames(&declared, 6) else { continue };
                    assert!(is_right(&declared, &capture), "{declared}");
                    let turned = match at.contains("u16 ") {
                        true => at.replace("u16 ", "u16le "),
                        false => at.replace("u16le ", "u16 "),
                    };
                    for (is, over, at) in [
                        (wrong, &overs[over], &at),
                        (right, &overs[other], &at),
                        (wrong, &overs[other], &turned),
                    ] {
                        let wrong = of(is, over, at);
                        let (text, totals) = shown(&wrong, &capture);
                        if totals.are_right() {
                            continue;
                        }
                        asked += 1;
                        let hints = hints(&text, "agree");
                        for (is_sure, lines) in &hints {
                            let mended = pasted(&wrong, lines);
                            let parsed = Layouts::parse(&mended, "x.toml");
                            assert!(parsed.is_ok(), "{lines} for {wrong}: {parsed:?}");
                            assert!(!is_sure || is_right(&mended, &capture), "{lines} for {wrong}{text}");
                        }
                        mended += usize::from(
                            hints.last().is_some_and(|(_, lines)| is_right(&pasted(&wrong, lines), &capture)),
                        );
                    }
                }
            }
        }
    }
    assert!(asked > 200 && mended * 10 > asked * 8, "{mended} of {asked}");
}

#[test]
fn a_length_that_is_proposed_can_be_pasted() {
    let none = "check = \"none\"";
    let crc = "check = { is = \"crc-16/modbus\", over = \"0..-2\", at = \"u16le @ -2\" }";
    let lengths = [
        "length = \"u8 @ 3\"\ncounts = \"4..\"",
        "length = \"u16 @ 3\"\ncounts = \"0..\"",
        "length = \"u16le @ 3\"\ncounts = \"5..-2\"",
        "length = \"u32 @ 3\"\ncounts = \"7..\"",
        "length = \"varint @ 3\"\ncounts = \"length..\"",
        "length = \"hex 3..5\"\ncounts = \"5..\"",
        "length = \"digits 3..5\"\ncounts = \"5..\"",
    ];
    for start in ["start = \"AB\"", "start = \"AB CD\"", ""] {
        for check in [crc, none] {
            for right in lengths {
                let of = |length: &str| format!("[layout.x]\ntopic = \"x\"\n{start}\n{length}\n{check}\n");
                let Some(capture) = frames(&of(right), 6) else { panic!("{right} has frames") };
                assert!(is_right(&of(right), &capture), "{right}");
                let mut mended = 0;
                for wrong in lengths.into_iter().filter(|wrong| *wrong != right) {
                    let (text, totals) = shown(&of(wrong), &capture);
                    let hints = hints(&text, "make frames");
                    for (is_sure, lines) in &hints {
                        let mended = pasted(&of(wrong), lines);
                        let parsed = Layouts::parse(&mended, "x.toml");
                        assert!(parsed.is_ok(), "{lines} for {}: {parsed:?}", of(wrong));
                        assert!(!is_sure || is_right(&mended, &capture), "{lines} for {}{text}", of(wrong));
                    }
                    let is_mended =
                        |(_, lines): &(bool, String)| is_right(&pasted(&of(wrong), lines), &capture);
                    mended += usize::from(totals.are_right() || hints.first().is_some_and(is_mended));
                }
                assert!(mended >= 4 - usize::from(start.is_empty()), "{mended} for {}", of(right));
            }
        }
    }
}

#[test]
fn a_misread_length_of_frames_that_nothing_checks_is_named() {
    // The first frame is too long, and what is behind it is no frame.
    let declared = |counts: &str| {
        format!(
            "[layout.x]\ntopic = \"x\"\nstart = \"AA\"\nlength = \"u8 @ 1\"\ncounts = \"{counts}\"\ncheck = \"none\"\n"
        )
    };
    let capture = b"\xaa\x05abc\xaa\x06defg\xaa\x03h";
    let named = "  it would make frames with\n    length = \"u8 @ 1\"\n    counts = \"0..\"\n";
    for wrong in ["2..", "2..-1", "1.."] {
        let (text, totals) = shown(&declared(wrong), capture);
        assert!(!totals.are_right() && text.contains(named), "{wrong}: {text}");
    }
    assert!(shown(&declared("0.."), capture).1.are_right());
    // Of one frame, it may be by chance.
    let (text, _) = shown(&declared("2.."), &capture[..5]);
    assert!(
        text.contains("make frames with, perhaps by chance: more frames would tell\n    length"),
        "{text}"
    );
    // Without a start, the end of all that came tells.
    let bare = declared("2..").replace("start = \"AA\"\n", "").replace("u8 @ 1", "u16 @ 0");
    let (text, _) = shown(&bare, b"\0\x05abc\0\x06defg\0\x03h");
    assert!(text.contains("    length = \"u16 @ 0\"\n    counts = \"0..\"\n"), "{text}");
    // Frames of another shape stand between them.
    let two = "[layout.x]\ntopic = \"x\"\ncheck = \"none\"\n[[layout.x.shape]]\nstart = \"01\"\nsize = 3\n\
               [[layout.x.shape]]\nstart = \"AA\"\nlength = \"u8 @ 1\"\n";
    let (text, _) = shown(two, b"\x01xy\xaa\x05abc\x01zz\xaa\x06defg\x01xy\xaa\x03h");
    assert!(text.contains(named), "{text}");
}
