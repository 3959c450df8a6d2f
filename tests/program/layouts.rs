//! The program with listeners that have layouts: how they are given, and what a device that was answered can rely on.

use crate::stored_frames::each_stored;
use crate::support;

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use support::PATIENCE;
use support::process::Process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_framegate");

const OWN: &str = "[layout.own]\n\
    topic = \"own\"\n\
    key = \"{number}\"\n\
    length = \"u16 @ 0\"\n\
    check = { is = \"xor-8\", over = \"0..-1\", at = \"u8 @ -1\" }\n\
    number = \"u64 @ 2\"\n\
    reply = \"{number}\"\n";

fn frame(number: u64) -> Vec<u8> {
    let body = support::payload((number % 300) as usize, number as usize);
    let mut frame = ((8 + body.len() + 1) as u16).to_be_bytes().to_vec();
    frame.extend(number.to_be_bytes());
    frame.extend(body);
    frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
    frame
}

fn serve() -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"]);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Where it says that it listens for a layout.
fn address(process: &Process, layout: &str) -> String {
    let line = process.says(&format!("listening for layout {layout} on "));
    line.rsplit(' ').next().expect("it has words").to_owned()
}

/// Sends until the connection breaks. The numbers that were answered.
fn send(address: &str, first: u64) -> Vec<u64> {
    let mut device = TcpStream::connect(address).expect("it listens");
    device.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answered = Vec::new();
    for number in (first..).step_by(16) {
        let batch: Vec<u8> = (number..number + 16).flat_map(frame).collect();
        if device.write_all(&batch).is_err() {
            break;
        }
        let mut reply = [0; 8];
        for number in number..number + 16 {
            if device.read_exact(&mut reply).is_err() {
                return answered;
            }
            assert_eq!(u64::from_be_bytes(reply), number, "in the order of the frames");
            answered.push(number);
        }
    }
    answered
}

/// The numbers of all stored frames, each intact and as it was sent.
fn stored(store: &Path) -> HashSet<u64> {
    let mut found = HashSet::new();
    each_stored(store, |got| {
        assert_eq!(got.payload(), frame(got.header.key));
        assert!(found.insert(got.header.key), "a frame is stored twice");
    });
    found
}

#[test]
fn what_a_device_was_answered_survives_being_killed() {
    const KILLS: u64 = 10;
    let folder = tempfile::tempdir().unwrap();
    let (layouts, store) = (folder.path().join("own.toml"), folder.path().join("store"));
    fs::write(&layouts, OWN).unwrap();
    let start = || {
        let mut command = serve();
        command.args(["--listen-layout", "own=127.0.0.1:0", "--store-rotate", "50ms", "--store"]);
        Process::start(command.arg(&store).arg("--layouts").arg(&layouts))
    };
    let mut answered = Vec::new();
    for cycle in 0..KILLS {
        let mut process = start();
        let address = address(&process, "own");
        let devices: Vec<_> = (0..3)
            .map(|at| (address.clone(), (cycle * 3 + at) << 32))
            .map(|(address, first)| thread::spawn(move || send(&address, first)))
            .collect();
        // In the middle of the load, at another moment each time.
        thread::sleep(Duration::from_millis(30 + cycle * 37 % 90));
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        devices.into_iter().for_each(|device| answered.extend(device.join().unwrap()));
    }
    // It finishes what the last one left.
    let process = start();
    address(&process, "own");
    process.signal("TERM");
    let found = stored(&store);
    assert!(answered.len() > 100, "only {} were answered", answered.len());
    assert!(answered.iter().all(|number| found.contains(number)), "one that was answered is not stored");
}

#[test]
fn listeners_are_given_by_options_and_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    let text = format!(
        "max-connections = 100\n[[listener]]\naddress = \"127.0.0.1:0\"\nlayout = \"own\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         layout = \"gt06\"\n{OWN}"
    );
    fs::write(&config, text).unwrap();
    let process = Process::start(serve().arg("--config").arg(&config));
    let address = address(&process, "own");
    let mut device = TcpStream::connect(address).unwrap();
    device.set_read_timeout(Some(PATIENCE)).unwrap();
    device.write_all(&frame(7)).unwrap();
    let mut reply = [0; 8];
    device.read_exact(&mut reply).unwrap();
    assert_eq!(reply, 7u64.to_be_bytes());
    // What cannot be cut is shown, with what it looks like.
    device.write_all(b"\x00\x00").unwrap();
    device.read_to_end(&mut Vec::new()).unwrap();
    let line = process.says("(layout own) sent what is no frame");
    assert!(line.contains("it begins with 00 00 \"\\x00\\x00\""), "{line}");
    process.signal("TERM");
    // Those of the command line are all.
    let mut command = serve();
    command.arg("--config").arg(&config).args(["--listen-layout", "own=127.0.0.1:0"]);
    let process = Process::start(&mut command);
    process.says("--listen-layout replaces 2 listeners of");
    process.signal("TERM");
}

#[test]
fn mistakes_say_the_mend() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("gt06={}", taken.local_addr().unwrap());
    for (given, expected) in [
        ("gt60=127.0.0.1:0", "unknown layout gt60: did you mean gt06?"),
        ("127.0.0.1:0", "--listen-layout 127.0.0.1:0: write it as gt06=0.0.0.0:5023"),
        ("gt06=5023", "write it as gt06=0.0.0.0:5023"),
        (&taken, "is already in use: stop the other program or choose another --listen-layout"),
    ] {
        let output = serve().args(["--listen-layout", given]).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    // Those of the file are told with their lines.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    let (_, port) = taken.rsplit_once(':').unwrap();
    for (address, expected) in [
        (format!("127.0.0.1:{port}"), "is already in use: stop the other program or choose another address"),
        ("5023".into(), "not of the form HOST:PORT: write it as 0.0.0.0:5027"),
    ] {
        fs::write(&config, format!("\n[[listener]]\naddress = \"{address}\"\nlayout = \"gt06\"\n")).unwrap();
        let output = serve().arg("--config").arg(&config).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("gateway.toml line 3: listener: ") && said.contains(expected), "{said}");
    }
    // One address for two.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = serve();
    command.args(["--listen-layout", &format!("gt06={free}"), "--listen-layout", &format!("ubx={free}")]);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "{free} is already in use by --listen-layout {free} of this gateway: give one of them another address"
    );
    assert!(output.status.code() == Some(2) && said.contains(&expected), "{said}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--listen-layout", &format!("gt06={free}"), "--admin"]);
    command.arg(free.to_string());
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains(&expected), "{said}");
    fs::write(
        &config,
        format!(
            "[[listener]]\naddress = \"{free}\"\nlayout = \"gt06\"\n[[listener]]\nlayout = \"ubx\"\naddress = \"{free}\"\n"
        ),
    )
    .unwrap();
    let output = serve().arg("--config").arg(&config).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let expected =
        format!("gateway.toml line 6: listener: {free} is already in use by [[listener]] {free} of this");
    assert!(output.status.code() == Some(2) && said.contains(&expected), "{said}");
}

#[test]
fn files_of_a_configuration_are_looked_for_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    fs::write(&config, "layouts = [\"own.toml\"]\nlisten-layout = [\"own=127.0.0.1:0\"]\n").unwrap();
    fs::write(folder.path().join("own.toml"), OWN).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let process = Process::start(serve().arg("--config").arg(&config).current_dir(elsewhere.path()));
    address(&process, "own");
    process.signal("TERM");
}

#[test]
fn what_goes_wrong_at_one_listener_hides_nothing_at_another() {
    let folder = tempfile::tempdir().unwrap();
    let layouts = folder.path().join("own.toml");
    fs::write(&layouts, format!("{OWN}{}", OWN.replace("[layout.own]", "[layout.other]"))).unwrap();
    let mut command = serve();
    command.arg("--layouts").arg(&layouts);
    let process = Process::start(command.args([
        "--listen-layout",
        "own=127.0.0.1:0",
        "--listen-layout",
        "other=127.0.0.1:0",
    ]));
    let [own, other] = ["own", "other"].map(|layout| address(&process, layout));
    for address in [&own, &own, &other] {
        let mut device = TcpStream::connect(address).unwrap();
        device.set_read_timeout(Some(PATIENCE)).unwrap();
        device.write_all(b"\x00\x00").unwrap();
        device.read_to_end(&mut Vec::new()).unwrap();
    }
    // What is said of the second of one listener is only counted.
    for said in [
        "(layout own) sent what is no frame",
        "(layout own) is closed (MALFORMED)",
        "(layout other) sent what is no frame",
        "(layout other) is closed (MALFORMED)",
    ] {
        process.says(said);
    }
    process.signal("TERM");
}
