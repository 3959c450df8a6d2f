//! The real thing: nginx, with a configuration and a folder of its own, in the clear and through TLS.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::program::{framegate, json};
use super::server::alone;

/// Longer than nginx takes to start.
const PATIENCE: Duration = Duration::from_secs(30);

struct Nginx {
    master: Child,
    folder: TempDir,
    port: u16,
    tls_port: u16,
    _alone: MutexGuard<'static, ()>,
}

impl Nginx {
    /// None where there is no nginx.
    fn start() -> Option<Nginx> {
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            println!("there is no nginx here: nothing was tried");
            return None;
        }
        // It cannot choose a port itself, and somebody may be faster to one that was free a moment ago.
        (0..10).find_map(|_| Nginx::try_start())
    }

    fn try_start() -> Option<Nginx> {
        let alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(path.join("cert.pem"), key.cert.pem()).unwrap();
        fs::write(path.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        let free: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = free.iter().map(|one| one.local_addr().unwrap().port()).collect();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|one| format!("{one}_temp_path {one};"))
            .concat();
        let conf = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
             events {{ worker_connections 16384; }}
             http {{
               access_log off; keepalive_timeout 1h; keepalive_requests 1000000; {temporary}
               server {{
                 listen 127.0.0.1:{}; listen 127.0.0.1:{} ssl;
                 ssl_certificate cert.pem; ssl_certificate_key key.pem;
                 location / {{ return 200 'a page\\n'; }}
                 location /elsewhere {{ return 302 /; }}
               }}
             }}",
            ports[0], ports[1]
        );
        fs::write(path.join("nginx.conf"), conf).unwrap();
        drop(free);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(path).args(["-c", "nginx.conf", "-e", "error.log"]);
        let master = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = Nginx { master, folder, port: ports[0], tls_port: ports[1], _alone: alone };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", nginx.tls_port)).is_err() {
            if nginx.master.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "nginx does not start");
            thread::yield_now();
        }
        Some(nginx)
    }

    fn cert(&self) -> String {
        self.folder.path().join("cert.pem").to_str().unwrap().to_owned()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its worker behind.
        let pid = self.master.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.master.wait();
    }
}

#[test]
fn nginx_holds_every_connection() {
    let Some(nginx) = Nginx::start() else { return };
    let url = format!("http://127.0.0.1:{}/", nginx.port);
    let mut command = framegate(&["bench", "http", &url, "-c", "500", "--ramp", "50"]);
    command.args(["--think", "100ms..1s", "--duration", "3s", "--json"]);
    let report = json(command, 0);
    assert_eq!(report["connections"]["min"], 500, "{report}");
    assert_eq!(report["errors"], Value::Object(Default::default()));
    let done = report["done"].as_u64().unwrap();
    // 500 over a mean of 0.55 s, for three seconds.
    assert!((2_000..4_000).contains(&done), "{done}");
    assert_eq!(report["statuses"]["200"], done);
    assert!(report["generator"]["rss_bytes_max"].as_u64().unwrap() < 30_000_000, "{report}");

    let report = json(
        framegate(&[
            "bench",
            "http",
            &url,
            "--think",
            "0",
            "--method",
            "get",
            "--requests",
            "3000",
            "--json",
        ]),
        0,
    );
    assert_eq!((&report["done"], &report["statuses"]["200"]), (&3000.into(), &3000.into()));
    let elsewhere = format!("{url}elsewhere");
    let output =
        framegate(&["bench", "http", &elsewhere, "--think", "0", "--requests", "50"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("302: 50") && said.contains("load what they point to"), "{said}");
}

#[test]
fn nginx_through_tls() {
    let Some(nginx) = Nginx::start() else { return };
    let url = |host: &str| format!("https://{host}:{}/", nginx.tls_port);
    let bench = |url: &str, more: &[&str]| {
        let mut command =
            framegate(&["bench", "http", url, "-c", "40", "--think", "1ms..20ms", "--method", "GET"]);
        // Not those of the system, which may be none.
        command
            .args(["--ramp", "40", "--duration", "1s", "--json"])
            .args(more)
            .env("SSL_CERT_FILE", nginx.cert());
        command
    };
    for (host, more) in [("localhost", &[][..]), ("127.0.0.1", &["--insecure"])] {
        let report = json(bench(&url(host), more), 0);
        assert_eq!(report["statuses"]["200"], report["done"], "{report}");
        assert!(report["done"].as_u64().unwrap() > 100, "{report}");
        assert_eq!((&report["connections"]["min"], &report["connections"]["end"]), (&40.into(), &40.into()));
        assert_eq!(report["addresses"], serde_json::json!([format!("127.0.0.1:{}", nginx.tls_port)]));
    }
    // The certificate is not for this address, then nobody's who is trusted.
    for (mut command, part) in [
        (bench(&url("127.0.0.1"), &[]), "not valid for name"),
        (bench(&url("localhost"), &[]), "or give --insecure"),
        (bench(&format!("https://127.0.0.1:{}/", nginx.port), &["--insecure"]), "use http://"),
    ] {
        if part == "or give --insecure" {
            let mut other = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            other.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
            let other = other.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            let path = nginx.folder.path().join("other.pem");
            fs::write(&path, other.pem()).unwrap();
            command.env("SSL_CERT_FILE", path);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
    }
    // In the clear to where TLS is spoken, nginx says what is wrong.
    let report = json(bench(&format!("http://127.0.0.1:{}/", nginx.tls_port), &[]), 0);
    assert_eq!(report["statuses"]["400"], report["done"]);
    assert!(report["closes"]["announced"].as_u64() >= report["done"].as_u64(), "{report}");
}
