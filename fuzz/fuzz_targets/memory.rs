//! The memory that bounds what is held.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_memory(data);
});
