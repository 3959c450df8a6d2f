//! Messages hashed side by side, by every width that the processor has.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_pairs(data);
});
