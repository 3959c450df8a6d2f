//! Identities from the command line: tokens, their rotation, reloads, and what `serve --check` says.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::cli::framegate;
use crate::support::process::Process;

/// A gateway with an access file in a folder, and tokens beside it.
struct World {
    folder: TempDir,
    gateway: Option<Process>,
    listen: String,
    admin: String,
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

impl World {
    fn new(rest: &str, options: &[&str]) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World { folder, gateway: None, listen: String::new(), admin: String::new() };
        let tables: String = ["pump", "desk"].map(|name| world.new_token(name, name)).concat();
        world.put(&with_rights(&tables, rest));
        let access = world.path("access.toml");
        let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access", &access];
        let gateway = Process::start(&mut program(&[&args[..], options].concat()));
        world.listen = gateway.address();
        let page = gateway.says("the page, metrics and ctl on http://");
        let (_, page) = page.split_once("http://").unwrap();
        world.admin = page.trim_end_matches('/').to_string();
        world.gateway = Some(gateway);
        world
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    /// A token in a file; what the access file has of it.
    fn new_token(&self, name: &str, file: &str) -> String {
        let output = framegate(&["access", "new-token", name]);
        let text = String::from_utf8(output.stdout).unwrap();
        let (token, lines) = text.split_once('\n').unwrap();
        let path: PathBuf = self.path(&format!("{file}.token")).into();
        fs::write(&path, token).unwrap();
        restrict(&path, 0o600);
        lines.to_string()
    }

    fn put(&self, text: &str) {
        let next = self.path("next.toml");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.path("access.toml")).unwrap();
    }

    fn access(&self) -> String {
        fs::read_to_string(self.path("access.toml")).unwrap()
    }

    fn send(&self, topic: &str, name: &str, token: &str) -> Output {
        let token = self.path(&format!("{token}.token"));
        let args = ["send", "--to", &self.listen, "--topic", topic, "--name", name, "--token-file", &token];
        let mut child = program(&args).spawn().unwrap();
        // One that is refused may read nothing.
        let _ = child.stdin.take().unwrap().write_all(b"21.5\n");
        child.wait_with_output().unwrap()
    }

    fn tail(&self, pattern: &str) -> Process {
        let token = self.path("desk.token");
        let args = ["tail", "-v", "--from", &self.listen, pattern, "--name", "desk", "--token-file", &token];
        let tail = Process::start(&mut program(&args));
        tail.says("subscribed to");
        tail
    }

    fn reload(&self) -> Output {
        framegate(&["ctl", "--admin", &self.admin, "reload"])
    }

    fn says(&self, part: &str) -> String {
        self.gateway.as_ref().unwrap().says(part)
    }
}

fn with_rights(tables: &str, rest: &str) -> String {
    let mut text = rest.to_string();
    for table in tables.split_inclusive("]\n").collect::<Vec<_>>().chunks(2) {
        let rights = if table[0].contains("pump") { "publish = 'plant.{name}.>'" } else { "subscribe = '>'" };
        text.push_str(&format!("{}{}{rights}\n", table[0], table[1]));
    }
    text
}

fn restrict(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn tokens_right_and_wrong_and_one_that_others_can_read() {
    let world = World::new("", &[]);
    let mut tail = world.tail("plant.>");
    let sent = world.send("plant.pump.flow", "pump", "pump");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    assert!(!said(&sent).contains("others can read"), "{}", said(&sent));
    let denied = world.send("plant.other.flow", "pump", "pump");
    assert_eq!(denied.status.code(), Some(1));
    assert!(said(&denied).contains("may not publish to 'plant.other.flow'"), "{}", said(&denied));
    world.says("(pump) may not publish to 'plant.other.flow'");
    let wrong = world.send("plant.pump.flow", "pump", "desk");
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert!(
        said(&wrong).contains("the gateway refuses this connection: wrong name or token"),
        "{}",
        said(&wrong)
    );
    let token: PathBuf = world.path("pump.token").into();
    restrict(&token, 0o644);
    let read = world.send("plant.pump.flow", "pump", "pump");
    assert!(said(&read).contains("others can read the secret in"), "{}", said(&read));
    assert!(!said(&read).contains(&fs::read_to_string(&token).unwrap()), "{}", said(&read));
    let status = said(&framegate(&["ctl", "--admin", &world.admin, "status"]));
    for part in ["(pump)", "2 identities in ", "frames denied 1", "wrong token 1"] {
        assert!(status.contains(part), "{part} in {status}");
    }
    tail.signal("INT");
    let (_, printed, _) = tail.finish();
    assert_eq!(printed, "plant.pump.flow 0 1 21.5\n".repeat(2));
}

#[test]
fn a_token_is_changed_without_a_gap_and_the_old_one_ends() {
    let world = World::new("", &[]);
    let lines = world.new_token("pump", "new");
    let new = lines.split('"').nth(1).unwrap();
    let old = world.access().split('"').nth(1).unwrap().to_string();
    let rotated = world.access().replace(&format!("\"{old}\""), &format!("\"{old}\", \"{new}\""));
    world.put(&rotated);
    // The file was put into its place: nobody has to say so.
    #[cfg(target_os = "linux")]
    world.says("the access file is in force");
    let reloaded = world.reload();
    assert_eq!(reloaded.status.code(), Some(0), "{}", said(&reloaded));
    assert!(
        said(&reloaded).contains("reloaded: 2 identities; of 0 connections, 0 were closed"),
        "{}",
        said(&reloaded)
    );
    for token in ["pump", "new"] {
        assert_eq!(world.send("plant.pump.flow", "pump", token).status.code(), Some(0), "{token}");
    }
    world.put(&world.access().replace(&format!("\"{old}\", "), ""));
    world.gateway.as_ref().unwrap().signal("HUP");
    world.says("HUP: the access file was read again");
    assert_eq!(world.reload().status.code(), Some(0), "once more, so that it is done");
    assert_eq!(world.send("plant.pump.flow", "pump", "pump").status.code(), Some(2));
    assert_eq!(world.send("plant.pump.flow", "pump", "new").status.code(), Some(0));
}

#[test]
fn a_file_that_is_wrong_or_half_written_changes_nothing() {
    let world = World::new("", &[]);
    let right = world.access();
    let half = &right[..right.len() - 10];
    for (text, part) in [
        (half, "access.toml line "),
        ("", "it says nothing"),
        (&right.replace("publish", "pubilsh"), "did you mean publish?"),
    ] {
        // In place, as an editor would not do it.
        fs::write(world.path("access.toml"), text).unwrap();
        let reloaded = world.reload();
        assert_eq!(reloaded.status.code(), Some(2), "{}", said(&reloaded));
        assert!(
            said(&reloaded).contains("nothing was reloaded, what was in force stays so"),
            "{}",
            said(&reloaded)
        );
        assert!(said(&reloaded).contains(part), "{part} in {}", said(&reloaded));
        assert_eq!(world.send("plant.pump.flow", "pump", "pump").status.code(), Some(0));
    }
    fs::remove_file(world.path("access.toml")).unwrap();
    assert_eq!(world.reload().status.code(), Some(2));
    world.put(&format!("revoked = [\"pump\"]\n{right}"));
    assert_eq!(world.reload().status.code(), Some(0));
    let revoked = world.send("plant.pump.flow", "pump", "pump");
    assert!(said(&revoked).contains("pump is revoked"), "{}", said(&revoked));
}

#[test]
fn a_subscriber_is_told_what_it_may_no_longer_have_and_a_revoked_one_ends() {
    let world = World::new("", &[]);
    let tail = world.tail("plant.>");
    world.put(&world.access().replace("subscribe = '>'", "subscribe = 'public.>'"));
    assert_eq!(world.reload().status.code(), Some(0));
    tail.says("may no longer subscribe to 'plant.>'");
    world.put(&format!("revoked = [\"desk\"]\n{}", world.access()));
    let reloaded = world.reload();
    assert!(
        said(&reloaded).contains("1 connection, 1 was closed")
            || said(&reloaded).contains("of 0 connections")
    );
    let (code, _, said) = tail.end();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("desk is revoked"), "{said}");
}

#[test]
fn serve_check_reads_everything_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let check = |more: &[&str]| {
        let output = framegate(&[&["serve", "--check", "--listen", "127.0.0.1:0"], more].concat());
        (output.status.code(), said(&output))
    };
    let (access, config) = (path("access.toml"), path("gateway.toml"));
    fs::write(&access, "[who.a]\ncert = 'cn:a'\npublish = 'a'\n").unwrap();
    fs::write(
        &config,
        format!("access = '{access}'\n[[listener]]\nlayout = 'gt06'\naddress = '127.0.0.1:1'\n"),
    )
    .unwrap();
    let (code, said) = check(&["--config", &config]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("everything that it would start with is right"), "{said}");
    fs::write(&access, "[who.a]\ncert = 'a'\n").unwrap();
    let wrong = path("wrong.toml");
    fs::write(&wrong, "[[listener]]\nlayout = 'gt07'\naddress = '127.0.0.1:1'\n").unwrap();
    for (options, part) in [
        (&["--config", &config][..], "write \"cn:a\""),
        (&["--config", &wrong], "gt06"),
        (&["--access", "/nowhere"], "give an access file"),
        (&["--secret-file", "/nowhere"], "give a file that holds the secret"),
        (&["--insecure-tokens"], "--insecure-tokens is for --access alone"),
        (&["--listen-layout", "gt06=nowhere"], "HOST:PORT"),
    ] {
        let (code, said) = check(options);
        assert_eq!(code, Some(2), "{options:?}: {said}");
        assert!(said.contains(part), "{part} in {said}");
    }
    let gateway = framegate(&["ctl", "--admin", "127.0.0.1:1", "reload"]);
    assert_eq!(gateway.status.code(), Some(3));
}

#[test]
fn a_load_says_who_it_is() {
    let world = World::new("[default]\nsubscribe = '>'\n", &[]);
    let token = world.path("pump.token");
    let load = |more: &[&str]| {
        let args = [
            "bench",
            "frames",
            &world.listen,
            "--publishers",
            "2",
            "--duration",
            "200ms",
            "--subscribers",
            "0",
        ];
        framegate(&[&args[..], more].concat())
    };
    let known = load(&["--topic", "plant.pump.x", "--name", "pump", "--token-file", &token]);
    assert_eq!(known.status.code(), Some(0), "{}", said(&known));
    let stranger = load(&["--topic", "plant.pump.x"]);
    assert_eq!(stranger.status.code(), Some(2), "{}", said(&stranger));
    assert!(said(&stranger).contains("may not publish to 'plant.pump.x'"), "{}", said(&stranger));
}
