//! The store on a disk that fails, and the recovery of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_store(data);
    framegate::testing::models::check_recovery(data);
    framegate::testing::models::check_repair(data);
    framegate::testing::models::check_clocks(data);
});
