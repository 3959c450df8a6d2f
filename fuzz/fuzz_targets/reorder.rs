//! The reorder window, and the memory that bounds what it holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::check::models::check_reorder(data);
    framegate::check::models::check_memory(data);
});
