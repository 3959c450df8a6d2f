//! The store on a disk that fails, and the recovery of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::check::models::check_store(data);
    framegate::check::models::check_recovery(data);
    framegate::check::models::check_repair(data);
    framegate::check::models::check_clocks(data);
});
