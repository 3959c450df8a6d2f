//! The real thing: nginx, with a configuration and a folder of its own, in the clear and through TLS.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than nginx takes to start.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Nginx {
    master: Child,
    folder: TempDir,
    pub port: u16,
    pub tls_port: u16,
}

impl Nginx {
    /// None where there is no nginx.
    pub fn start() -> Option<Nginx> {
        if let Err(why) = Command::new("nginx").arg("-v").stderr(Stdio::null()).status() {
            assert!(std::env::var_os("FRAMEGATE_TOOLS_REQUIRED").is_none(), "nginx: {why}");
            println!("there is no nginx here: nothing was tried");
            return None;
        }
        // It cannot choose a port itself, and somebody may be faster to one that was free a moment ago.
        let started = (0..10).find_map(|_| Nginx::try_start());
        Some(started.expect("nginx starts"))
    }

    fn try_start() -> Option<Nginx> {
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
        let mut nginx = Nginx { master, folder, port: ports[0], tls_port: ports[1] };
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

    /// Its folder, which is gone with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its certificate, which is for `localhost`.
    pub fn cert(&self) -> String {
        self.folder().join("cert.pem").to_str().unwrap().to_owned()
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
