//! The `framegate` program; [`framegate::cli`] is all of it.

fn main() -> std::process::ExitCode {
    framegate::cli::run(std::env::args_os())
}
