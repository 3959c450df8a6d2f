//! TLS through the program: real certificates, on both sides.

mod certs;
mod peers;
mod refused;
mod reload;

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::cli::framegate;
use crate::support::process::Process;
use certs::{Authority, Wanted, put};

const ACCESS: &str = "\
[who.pump]
cert = ['dns:pump.plant']
publish = ['plant.{name}.>']

[who.desk]
cert = ['dns:desk.plant']
publish = ['cmd.>']
subscribe = ['>']
";

/// A gateway with TLS, and the files of both sides in a folder.
struct World {
    folder: TempDir,
    ca: Authority,
    gateway: Process,
    /// In the clear, and through TLS.
    plain: String,
    secure: String,
    admin: String,
}

impl World {
    fn new(options: &[&str]) -> World {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("plant"));
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
        put(folder.path(), "ca.pem", &ca.pem());
        put(folder.path(), "access.toml", ACCESS);
        for (name, wanted) in [
            ("gateway", Wanted::server()),
            ("pump", Wanted { serial: 17, ..Wanted::client("pump.plant") }),
            ("desk", Wanted { serial: 18, ..Wanted::client("desk.plant") }),
        ] {
            let (cert, key) = ca.issue(&wanted);
            put(folder.path(), &format!("{name}.pem"), &cert);
            put(folder.path(), &format!("{name}.key"), &key);
        }
        put(folder.path(), "crl.pem", &ca.revoke(&[]));
        let own = [
            ["--tls-cert", &at("gateway.pem")],
            ["--tls-key", &at("gateway.key")],
            ["--tls-client-ca", &at("ca.pem")],
            ["--tls-client-crl", &at("crl.pem")],
            ["--access", &at("access.toml")],
        ];
        let listen =
            ["serve", "--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let args: Vec<&str> = listen.iter().chain(own.iter().flatten()).chain(options).copied().collect();
        let gateway = Process::start(&mut program(&args));
        let plain = gateway.address();
        let secure = gateway.says("listening for native frames on ");
        let secure = secure.split(" on ").nth(1).unwrap().replace(" through TLS", "");
        let page = gateway.says("the page, metrics and ctl on ");
        let admin = page.split("://").nth(1).unwrap().trim_end_matches('/').to_string();
        World { folder, ca, gateway, plain, secure, admin }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    fn put(&self, name: &str, text: &str) {
        put(self.folder.path(), name, text);
    }

    /// The options of a client with a certificate, or none.
    fn tls(&self, who: &str) -> Vec<String> {
        let mut args = vec!["--tls".to_string(), "--ca".into(), self.path("ca.pem")];
        if !who.is_empty() {
            let (cert, key) = (self.path(&format!("{who}.pem")), self.path(&format!("{who}.key")));
            args.extend(["--cert".into(), cert, "--cert-key".into(), key]);
        }
        args
    }

    fn send(&self, who: &str, topic: &str) -> Output {
        self.send_with(&self.secure, topic, &self.tls(who))
    }

    fn send_with(&self, to: &str, topic: &str, tls: &[String]) -> Output {
        let mut command = program(&["send", "--to", to, "--topic", topic, "--no-retry"]);
        let mut child = command.args(tls).spawn().unwrap();
        // One that is refused may read nothing.
        let _ = child.stdin.take().unwrap().write_all(b"21.5\n");
        child.wait_with_output().unwrap()
    }

    fn tail(&self, who: &str, pattern: &str) -> Process {
        let mut command = program(&["tail", "-v", "--no-retry", "--from", &self.secure, pattern]);
        let tail = Process::start(command.args(self.tls(who)));
        tail.says("subscribed to");
        tail
    }

    fn ctl(&self, verb: &str, more: &[String]) -> Output {
        let mut command = program(&["ctl", "--admin", &self.admin, verb]);
        command.args(more).output().unwrap()
    }

    fn says(&self, part: &str) -> String {
        self.gateway.says(part)
    }
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_certificate_says_who_a_client_is() {
    let mut world = World::new(&[]);
    let mut tail = world.tail("desk", "plant.>");
    let sent = world.send("pump", "plant.pump.flow");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let sent = world.send("pump", "plant.desk.flow");
    assert_eq!(sent.status.code(), Some(1), "{}", said(&sent));
    assert!(said(&sent).contains("may not publish to 'plant.desk.flow'"), "{}", said(&sent));
    let large = "x".repeat(3 << 20);
    let path = world.path("large");
    fs::write(&path, &large).unwrap();
    let mut command =
        program(&["send", "--to", &world.secure, "--topic", "plant.pump.picture", "--whole", &path]);
    let sent = command.args(world.tls("pump")).output().unwrap();
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let status = world.ctl("status", &[]);
    assert!(said(&status).contains("TLS handshakes "), "{}", said(&status));
    assert!(said(&status).contains("the certificate of native+tls="), "{}", said(&status));
    tail.signal("INT");
    let (_, printed, _) = tail.finish();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "{printed:.200}");
    assert!(lines[0].starts_with("plant.pump.flow ") && lines[1].len() > 3 << 20);
    world.gateway.signal("TERM");
    let (code, ..) = world.gateway.finish();
    assert_eq!(code, Some(0));
}

#[test]
fn what_is_wrong_with_a_certificate_or_the_address_is_said_on_both_sides() {
    let world = World::new(&[]);
    let none = world.send("", "plant.pump.flow");
    assert_eq!(none.status.code(), Some(3), "{}", said(&none));
    assert!(said(&none).contains("requires a client certificate: give --cert and --key"), "{}", said(&none));
    world.says("no client certificate, and this listener requires one");
    // In the clear at the port of TLS, and the other way.
    let clear = world.send_with(&world.secure, "a", &[]);
    assert!(said(&clear).contains("frames in the clear: connect with --tls"), "{}", said(&clear));
    world.says("this port speaks TLS, and what came looks like frames in the clear");
    let secure = world.send_with(&world.plain, "a", &world.tls("pump"));
    assert!(said(&secure).contains("does not speak TLS at this port: leave --tls out"), "{}", said(&secure));
    world.says("this looks like TLS, not like a frame");
    // A gateway that is not trusted, and one of another name.
    let untrusted = Authority::new("other");
    world.put("other.pem", &untrusted.pem());
    let mut args = world.tls("pump");
    args[2] = world.path("other.pem");
    let untrusted = world.send_with(&world.secure, "a", &args);
    assert!(said(&untrusted).contains("give the file of its authority with --ca"), "{}", said(&untrusted));
    let mut args = world.tls("pump");
    args.extend(["--server-name".into(), "gateway.example".into()]);
    let misnamed = world.send_with(&world.secure, "a", &args);
    assert!(said(&misnamed).contains("is not for gateway.example: it is for"), "{}", said(&misnamed));
    let sent = world.send("pump", "plant.pump.flow");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
}

#[test]
fn the_admin_port_speaks_tls_too() {
    let world = World::new(&["--admin-tls", "--tls-client", "want"]);
    let status = world.ctl("status", &world.tls(""));
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    assert!(said(&status).contains("TLS handshakes "), "{}", said(&status));
    let clear = world.ctl("status", &[]);
    assert_ne!(clear.status.code(), Some(0), "{}", said(&clear));
    let reloaded = world.ctl("reload", &world.tls("desk"));
    assert!(said(&reloaded).contains("reloaded: 2 identities"), "{}", said(&reloaded));
}

#[test]
fn wrong_files_are_told_before_anything_starts() {
    let world = World::new(&[]);
    let (cert, key) = (world.path("gateway.pem"), world.path("gateway.key"));
    let now = std::time::SystemTime::now();
    let (expired, expired_key) = world.ca.issue(&Wanted { until: now - certs::DAY / 2, ..Wanted::server() });
    world.put("expired.pem", &expired);
    world.put("expired.key", &expired_key);
    let (early, early_key) = world.ca.issue(&Wanted { from: now + certs::DAY, ..Wanted::server() });
    world.put("early.pem", &early);
    world.put("early.key", &early_key);
    world.put("none.pem", "nothing\n");
    let with = |name: &str| world.path(name);
    let listen = "--listen-tls=127.0.0.1:0".to_string();
    let own = [listen.clone(), format!("--tls-cert={cert}"), format!("--tls-key={key}")];
    for (args, part) in [
        (vec![listen.clone()], "--listen-tls is given without --tls-cert"),
        (vec![format!("--tls-cert={cert}")], "--tls-cert is given without --tls-key"),
        (own[1..].to_vec(), "--tls-cert is for --listen-tls and --admin-tls"),
        (
            vec![listen.clone(), own[1].clone(), format!("--tls-key={}", with("pump.key"))],
            "it is not the key of the certificate",
        ),
        (
            vec![listen.clone(), own[1].clone(), format!("--tls-key={cert}")],
            "no private key in it: it holds a certificate",
        ),
        (
            vec![listen.clone(), format!("--tls-cert={key}"), own[2].clone()],
            "no certificate in it: it holds a private key",
        ),
        (vec![listen.clone(), format!("--tls-cert={}", with("none.pem")), own[2].clone()], "it is not PEM"),
        (vec![listen.clone(), format!("--tls-cert={}", with("gone.pem")), own[2].clone()], "give a PEM file"),
        (
            vec![
                listen.clone(),
                format!("--tls-cert={}", with("expired.pem")),
                format!("--tls-key={}", with("expired.key")),
            ],
            "the certificate has expired at ",
        ),
        (
            vec![
                listen.clone(),
                format!("--tls-cert={}", with("early.pem")),
                format!("--tls-key={}", with("early.key")),
            ],
            "is the clock of this machine right?",
        ),
        (
            [own.to_vec(), vec![format!("--tls-client-crl={}", with("crl.pem"))]].concat(),
            "given without --tls-client-ca",
        ),
        (
            [
                own.to_vec(),
                vec![format!("--tls-client-ca={}", with("ca.pem")), format!("--tls-client-crl={cert}")],
            ]
            .concat(),
            "no revocation list in it: it holds a certificate",
        ),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let args = [&["serve", "--check", "--admin", "off", "--listen", "127.0.0.1:0"][..], &args].concat();
        let output = framegate(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", said(&output));
        assert!(said(&output).contains(part), "{args:?}: {} should say {part}", said(&output));
    }
    let right: Vec<&str> = own.iter().map(String::as_str).collect();
    let right =
        framegate(&[&["serve", "--check", "--admin", "off", "--listen", "127.0.0.1:0"][..], &right].concat());
    assert_eq!(right.status.code(), Some(0), "{}", said(&right));
    let file = "listen = '127.0.0.1:0'\nadmin = 'off'\n[[listener]]\naddress = '127.0.0.1:0'\ntls-cert = 'gateway.pem'\n\
         tls-key = 'pump.key'\n";
    world.put("gateway.toml", file);
    let wrong = framegate(&["serve", "--check", "--config", &world.path("gateway.toml")]);
    assert!(
        said(&wrong).contains("gateway.toml line ") && said(&wrong).contains("listener: tls-key "),
        "{}",
        said(&wrong)
    );
    world.put("gateway.toml", &file.replace("pump.key", "gateway.key"));
    let right = framegate(&["serve", "--check", "--config", &world.path("gateway.toml")]);
    assert_eq!(right.status.code(), Some(0), "{}", said(&right));
}
