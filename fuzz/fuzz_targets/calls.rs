//! The calls that wait for their turn.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_calls(data);
});
