//! The `framegate` program; [`framegate::cli`] is all of it.

/// Memory that a burst took goes back to the system when it is over.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    framegate::cli::run(std::env::args_os())
}
