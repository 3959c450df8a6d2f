//! The slow handler: a process that answers each frame with the same one, some time after it came.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// As long as a handler takes that asks a database.
const TAKES: Duration = Duration::from_millis(10);

/// Set where this binary is run as the handler.
const MARK: &str = "FRAMEGATE_HOSTILE_HANDLER";

/// The command that runs this test binary as the handler. Its answers go to another descriptor than what the test
/// harness prints.
pub fn command() -> String {
    let binary = std::env::current_exe().expect("it runs");
    let binary = shlex::try_quote(binary.to_str().expect("a path in UTF-8")).expect("no NUL").into_owned();
    let run = format!(
        "{MARK}=1 exec {binary} --exact hostile::handler::run_as_handler --ignored --nocapture 3>&1 >/dev/null"
    );
    format!("sh -c {}", shlex::try_quote(&run).expect("no NUL"))
}

#[test]
#[ignore = "the slow handler's own process"]
fn run_as_handler() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let mut answers = OpenOptions::new().write(true).open("/dev/fd/3").expect("the gateway reads there");
    let (send, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(1024);
    let writing = std::thread::spawn(move || {
        for (at, bytes) in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // The gateway may have ended.
            if answers.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = std::io::stdin().lock().read(&mut buffer) {
        // Bytes keep their order, so frames need not be told apart.
        if send.send((Instant::now() + TAKES, buffer[..n].to_vec())).is_err() {
            break;
        }
    }
    drop(send);
    writing.join().expect("it does not panic");
}
