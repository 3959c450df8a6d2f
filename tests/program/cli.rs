//! The program's own errors: one line with the mend, and the promised exit codes.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

use framegate::wire::Status;

/// Runs it to its end, without any input.
pub fn framegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_framegate"))
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// Runs it, and sees that it ends with `code` and one line on standard error that holds `parts`.
pub fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let output = framegate(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?} prints nothing");
    for part in parts {
        assert!(said.contains(part), "{args:?} should say {part:?}: {said}");
    }
}

#[test]
fn wrong_usage_is_one_line_with_the_mend() {
    refused(&[], 2, &["requires a subcommand", "serve"]);
    refused(&["dance"], 2, &["dance"]);
    refused(&["serve", "--memroy", "1GiB"], 2, &["--memroy", "--memory"]);
    refused(&["serve", "--memory", "lots"], 2, &["invalid size 'lots'", "16MiB"]);
    refused(&["serve", "--drain", "soon"], 2, &["invalid time 'soon'", "30s"]);
    refused(&["serve", "--slow", "never"], 2, &["disconnect, pause, drop"]);
    refused(&["serve", "--workers", "0"], 2, &["'0' for '--workers <N>'", "allowed is 1 to 4096"]);
    refused(&["serve", "--idle-timeout", "1e19"], 2, &["'1e19'", "allowed is 1ms to 10years"]);
    refused(&["serve", "--handlers", "2"], 2, &["--handlers is for --handler alone"]);
    refused(&["serve", "--store-rotate", "1s"], 2, &["--store-rotate is for --store alone"]);
    refused(&["serve", "--http-patience", "1s"], 2, &["--http-patience is for --http-sink alone"]);
    refused(&["serve", "--memory", "8MiB"], 2, &["give --memory 22MiB"]);
    refused(&["serve", "--listen", "7450"], 2, &["127.0.0.1:7450"]);
}

#[test]
fn a_port_in_use_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mend = "is already in use: stop the other program or choose another --listen";
    refused(&["serve", "--listen", &address], 2, &[&address, mend]);
    let mend = "is already in use: stop the other program or choose another --admin, or --admin off";
    refused(&["serve", "--listen", "127.0.0.1:0", "--admin", &address], 2, &[&address, mend]);
}

#[test]
fn faults_of_the_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let unknown = write("unknown.toml", "memory = \"1GiB\"\nadmni = \"off\"\n");
    let mend = "unknown.toml line 2: unknown setting admni: did you mean admin?";
    refused(&["serve", "--config", &unknown], 2, &[mend]);
    let size = write("size.toml", "memory = \"big\"\n");
    refused(&["serve", "--config", &size], 2, &["size.toml line 1", "invalid size 'big'"]);
    refused(&["serve", "--config", "/nonexistent.toml"], 2, &["/nonexistent.toml", "give a TOML file"]);
    let empty = write("empty", "\n");
    refused(
        &["serve", "--secret-file", &empty],
        2,
        &["the file is empty", "give a file that holds the secret"],
    );
    refused(&["serve", "--secret-file", "/nonexistent"], 2, &["/nonexistent"]);
    let short = write("short", "hush\n");
    let mend = "openssl rand -hex 16";
    let admin = ["serve", "-q", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--admin-token-file"];
    refused(&[&admin[..], &[&short]].concat(), 2, &["a token of 4 bytes is too short", mend]);
    let mend = "a secret of 4 bytes is too short, 16 are needed: make one with: openssl rand -hex 16";
    refused(&["serve", "-q", "--secret-file", &short], 2, &[mend]);
    refused(&["bench", "frames", "-q", "--secret-file", &short], 2, &[mend]);
    // What the file asks for is checked like what the options ask for.
    let little = write("little.toml", "memory = 1\n");
    refused(&["serve", "--config", &little], 2, &["memory 1 B is too little"]);
}

#[test]
fn send_and_tail_refuse_what_cannot_work() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    refused(&["send", "--topic", "a b"], 2, &["--topic 'a b'", "no spaces"]);
    refused(&["send", "--topic", "a.*"], 2, &["only patterns may"]);
    refused(&["send", "--max-in-flight", "0"], 2, &["--max-in-flight"]);
    refused(&["send", "--secret-file", "/nonexistent"], 2, &["give a file that holds the secret"]);
    refused(&["send", "/nonexistent.log"], 2, &["cannot open /nonexistent.log", "check its name"]);
    refused(&["send", folder], 2, &["is a folder: name the files in it"]);
    fs::write(format!("{folder}/1-a.jpg"), "").unwrap();
    refused(&["send", "--replies-to", folder], 2, &["1-a.jpg already", "give a new folder"]);
    refused(&["tail", "a..b"], 2, &["the pattern 'a..b'", "empty token"]);
    refused(&["tail", "--count", "0"], 2, &["--count"]);
    refused(&["tail", "--store", folder, "--ready-file", "x"], 2, &["--ready-file", "--store"]);
    // A folder that is no store, an empty one, and one that is new.
    refused(
        &["tail", "--store", folder],
        2,
        &["no gateway has stored there", "give the folder of a gateway's --store"],
    );
    let empty = format!("{folder}/empty");
    fs::create_dir(&empty).unwrap();
    refused(&["tail", "--store", &empty], 2, &["it is empty", "--follow"]);
    fs::write(format!("{empty}/.lock"), "").unwrap();
    let output = framegate(&["tail", "--store", &empty]);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    refused(
        &["tail", "--store", "/nonexistent"],
        2,
        &["/nonexistent", "give the folder of a gateway's --store"],
    );
    let numbers = format!("{folder}/n.txt");
    fs::write(&numbers, "1\n2\n").unwrap();
    let mend = "give a file that framegate post --report wrote, with lines such as {\"source\":";
    refused(
        &["post", "--retry-failed", &numbers, "http://h/"],
        2,
        &["n.txt line 1 is not a line of a report", mend],
    );
    refused(&["tail", "--ready-file", folder], 2, &["--ready-file", folder]);
    refused(&["send", "--confirm"], 2, &["--frames"]);
    refused(&["tail", "--from", "7450"], 2, &["invalid address '7450'", "HOST:PORT"]);
    refused(&["send", "--to", "gateway:65536"], 2, &["invalid address 'gateway:65536'"]);
    refused(&["bench", "frames", "gateway"], 2, &["invalid address 'gateway'", "HOST:PORT"]);
    for alone in [&["--follow"][..], &["--since", "1h"]] {
        refused(&[&["tail"], alone].concat(), 2, &["--store"]);
        refused(&[&["tail", "--from", "127.0.0.1:1"], alone].concat(), 2, &[alone[0], "--from"]);
    }
    refused(&["tail", "--format", "xml"], 2, &["text, json, raw, payload"]);
    refused(&["tail", "--format", "raw", "--json"], 2, &["--json"]);
    refused(&["ctl"], 2, &["requires a subcommand", "status, pause", "ctl --help"]);
    refused(&["bench"], 2, &["requires a subcommand", "frames, http", "bench --help"]);
    refused(&["ctl", "dance"], 2, &["dance"]);
    refused(&["ctl", "set", "memory"], 2, &["VALUE"]);
    refused(&["ctl", "pause", "--wait", "soon"], 2, &["invalid time 'soon'"]);
}

#[test]
fn post_refuses_what_cannot_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.txt");
    fs::write(&file, "a\n").unwrap();
    let (folder, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
    let url = "http://127.0.0.1:1/";
    refused(&["post"], 2, &["framegate post --help"]);
    refused(&["post", file], 2, &["the last argument is to be the URL"]);
    refused(&["post", url], 2, &["no source is given before http://127.0.0.1:1/"]);
    refused(&["post", "/nonexistent.zip", url], 2, &["cannot open /nonexistent.zip", "check its name"]);
    refused(&["post", file, url, "--ok-when", "code"], 2, &["FIELD=VALUE"]);
    refused(&["post", file, url, "--insecure"], 2, &["https:// alone"]);
    refused(&["post", file, url, "--header", "Idempotency-Key: 1"], 2, &["leave it out"]);
    refused(&["post", file, url, "--record", "page"], 2, &["file, line, csv"]);
    refused(&["post", file, url, "--journal", "/nonexistent/j"], 2, &["cannot use the journal"]);
    refused(&["post", file, url, "--source-id", ""], 2, &["--source-id", "expected some text"]);
    refused(&["post", "--watch", folder, url, "--source-id", "x"], 2, &["--source-id is not for --watch"]);
    refused(&["post", file, url, "--journal", file], 2, &["belongs to another source"]);
    refused(&["post", "--watch", file, url], 2, &["cannot watch", "give a folder"]);
    refused(&["post", "--retry-failed", file, url], 2, &["line 1 is not a line of a report"]);
}

#[test]
fn a_store_that_is_not_there_is_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.txt");
    fs::write(&file, "a\n").unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/");
    let args = ["post", file.to_str().unwrap(), &url, "--retries", "0"];
    refused(&args, 3, &["cannot reach", &url, "Connection refused", "run it again to go on"]);
    refused(
        &["post", file.to_str().unwrap(), "http://nowhere.invalid/"],
        3,
        &["cannot find nowhere.invalid"],
    );
}

#[test]
fn a_gateway_that_is_not_there_is_exit_3() {
    // A port that was free a moment ago, and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mend = "is the gateway running? framegate serve";
    let url = format!("http://{address}/");
    let said = format!("no gateway answers at {address}: Connection refused: ");
    refused(&["tail", "--from", "nowhere.invalid:7450"], 3, &["nowhere.invalid:7450"]);
    // Each waits for a moment: it might be starting.
    let cases: [(&[&str], &[&str]); 6] = [
        (&["send", "--to", &address], &[&address, mend]),
        (&["tail", "--from", &address], &[&address, mend]),
        (&["bench", "frames", &address], &[&address, mend]),
        (&["ctl", "status", "--admin", &address], &[&address, "no gateway answers"]),
        (&["ctl", "pause", "--admin", &address], &[&address, "with this --admin"]),
        (&["ctl", "status", "--admin", &url], &[&said]),
    ];
    thread::scope(|scope| {
        for (args, parts) in cases {
            scope.spawn(move || refused(args, 3, parts));
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn what_nobody_can_be_told_is_in_the_exit_code() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (args, code) in [(&["verify", "/nonexistent"][..], 2), (&["verify", "/dev/null"], 1), (&["dance"], 2)]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
        command.args(args).stdin(Stdio::null()).stdout(full()).stderr(full());
        assert_eq!(command.status().unwrap().code(), Some(code), "{args:?}");
    }
}

#[test]
fn help_and_version_are_not_errors() {
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["serve", "-h"],
        &["help", "send"],
        &["tail", "--help"],
        &["ctl", "--help"],
        &["ctl", "pause", "--help"],
        &["--version"],
    ] {
        let output = framegate(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn the_protocol_page_says_what_each_status_means() {
    let page = include_str!("../../docs/protocol.md");
    for status in Status::ALL {
        let row = format!("\n| {} | {} | ", status as u16, status.name());
        assert!(page.contains(&row), "docs/protocol.md has no row {row:?}");
    }
}

/// The codes are the same wherever they are named.
#[test]
fn the_exit_codes_of_help_are_those_of_the_page() {
    let help = String::from_utf8(framegate(&["--help"]).stdout).unwrap();
    let page = include_str!("../../docs/operations.md");
    let flat = |text: &str| text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ");
    let help = flat(&help);
    let codes = &help[help.find("0 all done").unwrap()..];
    assert!(flat(page).contains(codes), "docs/operations.md should say: {codes}");
}
