//! What is said of types that are none: people write those of the language that they know.

use super::mistakes::{said, with};

#[test]
fn types_of_other_languages_are_named() {
    for (lines, expected) in [
        ("b = \"uint8 @ 4\"", "a, b: unknown type \"uint8\": did you mean u8?"),
        ("b = \"uint16_t @ 4\"", "a, b: unknown type \"uint16_t\": did you mean u16?"),
        ("b = \"uint32le @ 4\"", "a, b: unknown type \"uint32le\": did you mean u32le?"),
        ("b = \"u16-le @ 4\"", "a, b: unknown type \"u16-le\": did you mean u16le?"),
        ("b = \"u16_LE @ 4\"", "a, b: unknown type \"u16_LE\": did you mean u16le?"),
        ("b = \"u16 le @ 4\"", "a, b: unknown type \"u16 le\": did you mean u16le?"),
        ("b = \"u16LE @ 4\"", "a, b: unknown type \"u16LE\": did you mean u16le?"),
        ("b = \"u16be @ 4\"", "a, b: unknown type \"u16be\": did you mean u16?"),
        ("b = \"U8 @ 4\"", "a, b: unknown type \"U8\": did you mean u8?"),
        ("b = \"BCD 4..6\"", "a, b: unknown type \"BCD\": did you mean bcd?"),
        ("b = \"byte @ 4\"", "a, b: unknown type \"byte\": did you mean u8?"),
        ("b = \"string 4..6\"", "a, b: unknown type \"string\": did you mean text?"),
        (
            "b = \"i16 @ 4\"",
            "a, b: unknown type \"i16\": integers have no sign here: u16 takes the same bytes",
        ),
        (
            "b = \"int32_t @ 4\"",
            "a, b: unknown type \"int32_t\": integers have no sign here: u32 takes the same bytes",
        ),
        (
            "b = \"i32le @ 4\"",
            "a, b: unknown type \"i32le\": integers have no sign here: u32le takes the same bytes",
        ),
        (
            "b = \"int @ 4\"",
            "a, b: unknown type \"int\": integers have no sign here: u32 takes the same bytes",
        ),
        (
            "b = \"f32 @ 4\"",
            "a, b: unknown type \"f32\": there are no fractions: bytes A..A+4 takes it as it is, and subscribers read it",
        ),
        (
            "b = \"double @ 4\"",
            "a, b: unknown type \"double\": there are no fractions: bytes A..A+8 takes it as it is, and subscribers read it",
        ),
        ("length = \"uint16 @ 0\"", "a, length: unknown type \"uint16\": did you mean u16?"),
    ] {
        let said = said(&with(lines));
        let expected = format!("layout {expected}");
        assert!(
            said.iter().any(|said| said.ends_with(&expected)),
            "{lines}\nexpected {expected}\nsaid {said:#?}"
        );
    }
}
