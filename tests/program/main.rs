//! The program, end to end: everything here starts `framegate`, or needs what it is made of.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod admin;
mod archives;
#[cfg(unix)]
mod bench_frames;
#[cfg(unix)]
mod bench_layouts;
#[cfg(unix)]
mod cases;
mod cli;
#[cfg(unix)]
mod durable;
#[cfg(unix)]
mod end_to_end;
#[cfg(unix)]
mod endings;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod hostile;
#[cfg(unix)]
mod http_sink;
#[cfg(unix)]
mod identities;
mod layout_tools;
#[cfg(unix)]
mod layouts;
mod matrix;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory_returns;
mod oddities;
#[cfg(unix)]
mod page;
#[cfg(unix)]
mod post;
#[cfg(unix)]
mod prometheus;
#[cfg(unix)]
mod python_client;
#[cfg(unix)]
mod skips;
#[cfg(unix)]
mod store_crash;
#[cfg(unix)]
mod stored;
#[cfg(unix)]
mod stored_frames;
#[cfg(target_os = "linux")]
mod subscriptions;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod tls;
