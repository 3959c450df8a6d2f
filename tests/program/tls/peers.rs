//! Other programs as peers: openssl, and Python's ssl.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use framegate::wire::Kind;

use super::World;
use super::refused::frame;
use crate::support::skipped;

/// Whether a program is there.
fn has(name: &str, args: &[&str]) -> bool {
    Command::new(name)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn openssl_publishes_under_both_versions() {
    if !has("openssl", &["version"]) {
        return skipped::missing("openssl is missing: TLS with it as a peer");
    }
    let world = World::new(&[]);
    let mut tail = world.tail("desk", ">");
    for version in ["-tls1_2", "-tls1_3"] {
        let ca = world.path("ca.pem");
        let (cert, key) = (world.path("pump.pem"), world.path("pump.key"));
        let args = [
            "s_client",
            "-quiet",
            version,
            "-connect",
            &world.secure,
            "-CAfile",
            &ca,
            "-cert",
            &cert,
            "-key",
            &key,
        ];
        let mut command = Command::new("openssl");
        command.args(args).args(["-verify_return_error", "-servername", "localhost"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&frame(Kind::Data, "plant.pump.flow", version.as_bytes())).unwrap();
        stdin.flush().unwrap();
        // The reply has come when there is one.
        let mut header = [0; 32];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut header).unwrap();
        assert_eq!((&header[..2], header[3], &header[6..8]), (&b"FG"[..], 1, &[0, 0][..]), "{version}");
        drop(stdin);
        let _ = child.kill();
        child.wait().unwrap();
    }
    tail.signal("INT");
    let (_, printed, _) = tail.finish();
    assert!(printed.contains("-tls1_2") && printed.contains("-tls1_3"), "{printed}");
}

const PYTHON: &str = "\
import hashlib, socket, ssl, struct, sys
host, port, ca, cert, key = sys.argv[1:]
def frame(kind, topic, payload, id):
    t = topic.encode()
    body = struct.pack('>2sBBBBHIHHQQ', b'FG', 1, kind, 1, len(t), 0, len(payload), 0, 0, 0, id) + t + payload
    return body + hashlib.sha256(body).digest()
def exactly(s, n):
    b = b''
    while len(b) < n:
        more = s.recv(n - len(b))
        assert more, 'the end'
        b += more
    return b
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
for least in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version = context.maximum_version = least
    with socket.create_connection((host, int(port))) as raw:
        with context.wrap_socket(raw, server_hostname='localhost') as s:
            for id, size in enumerate((0, 1, 16384, 300000), 1):
                s.sendall(frame(0, 'plant.pump.flow', b'x' * size, id))
                header = exactly(s, 32)
                status, n = struct.unpack('>HI', header[6:12])
                exactly(s, header[5] + n + 32)
                assert status == 0, status
            print(s.version())
";

#[test]
fn python_publishes_under_both_versions() {
    if !has("python3", &["-c", "import ssl"]) {
        return skipped::missing("python3 is missing: TLS with it as a peer");
    }
    let world = World::new(&[]);
    let script = world.path("publish.py");
    fs::write(&script, PYTHON).unwrap();
    let (host, port) = world.secure.rsplit_once(':').unwrap();
    let (ca, cert, key) = (world.path("ca.pem"), world.path("pump.pem"), world.path("pump.key"));
    let output = Command::new("python3").args([&script, host, port, &ca, &cert, &key]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "TLSv1.2\nTLSv1.3\n", "{}", super::said(&output));
}
