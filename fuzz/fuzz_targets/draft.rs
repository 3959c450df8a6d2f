//! Frames made of the bytes of others.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_draft(data);
});
