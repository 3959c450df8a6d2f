//! The store on a disk that fails, and the recovery of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_any_store(data);
});
