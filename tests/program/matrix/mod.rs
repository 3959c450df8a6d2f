//! Worlds in which features meet: the program with options that are drawn, publishers, subscribers, a store, an HTTP
//! store and a handler, and an oracle to which all of them must tell one story.
//!
//! `cargo test --locked --test program matrix` runs a few. `FRAMEGATE_WORLDS=N` runs N others, `FRAMEGATE_MINUTES=N` as many as
//! fit, and `FRAMEGATE_WORLD=SEED` runs one again.

mod canaries;
mod expected;
mod gateway;
mod options;
mod oracle;
mod publishers;
mod run;
mod sinks;
use crate::support::store;
mod stores;
mod story;
mod subscribers;
use crate::support;
mod wire;
mod world;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use world::World;

/// Worlds that every test run sees.
const WORLDS: u64 = 40;

/// Worlds at once: most of the time each of them waits.
const AT_ONCE: usize = 6;

/// Failures whose folders are kept, to be looked into.
const KEPT: usize = 20;

#[test]
fn worlds_tell_one_story() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let has_python = has_python();
    let (one, minutes, many) =
        (number("FRAMEGATE_WORLD"), number("FRAMEGATE_MINUTES"), number("FRAMEGATE_WORLDS"));
    let (first, last) = match (one, minutes, many) {
        (Some(seed), ..) => (seed, seed),
        (None, Some(_), _) => (fastrand::u64(..1 << 40), u64::MAX),
        (None, None, Some(many)) => {
            let first = fastrand::u64(..1 << 40);
            (first, first + many - 1)
        }
        (None, None, None) => (1, WORLDS),
    };
    println!("worlds from seed {first} on");
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let is_over = until.is_some_and(|until| Instant::now() >= until);
                    let seed = next.fetch_add(1, Relaxed);
                    if is_over || seed > last {
                        return;
                    }
                    let keeps = failed.lock().expect("nobody panics with it").len() < KEPT;
                    if let Err(said) = try_world(seed, has_python, keeps) {
                        println!("{said}");
                        failed.lock().expect("nobody panics with it").push(seed);
                    }
                    done.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    println!("{} worlds in {:.1?}", done.load(Relaxed), begun.elapsed());
    assert!(failed.is_empty(), "these worlds fail: {failed:?}");
}

/// Runs a world; what to say where it fails.
fn try_world(seed: u64, has_python: bool, keeps: bool) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::draw(seed, has_python);
    let judged = std::panic::catch_unwind(|| oracle::judge(&run::run(&world, folder.path())));
    let faults = judged.unwrap_or_else(|why| {
        let said = why.downcast_ref::<String>().cloned();
        let said = said.or_else(|| why.downcast_ref::<&str>().map(|said| said.to_string()));
        vec![format!("a panic: {}", said.unwrap_or_default())]
    });
    if faults.is_empty() {
        return Ok(());
    }
    let said = report(&world, folder.path(), &faults);
    if keeps {
        let _ = folder.keep();
    }
    Err(said)
}

fn report(world: &World, folder: &Path, faults: &[String]) -> String {
    let mut said = format!("\nFRAMEGATE_WORLD={} fails:\n", world.seed);
    for fault in faults {
        said += &format!("  {fault}\n");
    }
    for (number, plan) in world.phases.iter().enumerate() {
        let args = run::args(world, plan, folder, "http://127.0.0.1:PORT/");
        let args: Vec<String> =
            args.iter().map(|arg| shlex::try_quote(arg).map_or(arg.clone(), Into::into)).collect();
        said += &format!("  phase {number}: framegate serve {}\n", args.join(" "));
        if let Some(after) = plan.killed_after {
            said += &format!("    killed after {after:?}\n");
        }
        if let Some(after) = plan.ended_after {
            said += &format!("    ended after {after:?}\n");
        }
        for steer in &plan.steering {
            said += &format!("    after {:?}: ctl {}\n", steer.after, steer.words.join(" "));
        }
    }
    said += &format!("  its log and its store: {}\n", folder.display());
    said
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(why) = &found {
        assert!(std::env::var_os("FRAMEGATE_TOOLS_REQUIRED").is_none(), "python3: {why}");
        println!("there is no python3 here: no world has a handler");
    }
    found.is_ok()
}
