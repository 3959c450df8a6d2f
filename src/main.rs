//! The `framegate` program; [`framegate::cli`] is all of it.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Freed memory goes back to the system at once. mimalloc would wait for a later allocation, which an idle gateway never
/// makes.
#[cfg(feature = "mimalloc")]
#[allow(unsafe_code)]
fn give_memory_back_at_once() {
    /// `mi_option_purge_delay` of mimalloc.h, in milliseconds, which the crate has no name for: the same number in
    /// mimalloc 2 and 3.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: no other thread is there yet, and an option that mimalloc does not know changes nothing.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}

fn main() -> std::process::ExitCode {
    #[cfg(feature = "mimalloc")]
    give_memory_back_at_once();
    framegate::cli::run(std::env::args_os())
}
