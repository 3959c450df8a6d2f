//! Every command and snippet of README.md, CONTRIBUTING.md and `docs/` is run, what they say is printed, and what they
//! name is there. How a block says what is to be done with it stands in `pages.rs`.
#![cfg(all(unix, feature = "cli"))]

mod examples;
mod files;
mod pages;
mod python;
mod session;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod words;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use session::Session;

/// Pages at once: most of the time each of them waits.
const AT_ONCE: usize = 4;

#[test]
fn every_command_on_the_pages_works() {
    let pages = pages::all();
    assert!(pages.len() > 15, "only {} pages were found", pages.len());
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // Until there is no further one.
                while let Some((index, page)) = pages.iter().enumerate().nth(next.fetch_add(1, Relaxed)) {
                    if let Err(said) = Session::new(index).run(page) {
                        wrong.lock().expect("nobody panics with it").push(said);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("nobody panics with it");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}
