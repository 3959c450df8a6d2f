//! The real thing: nginx, in the clear and through TLS.

use std::fs;

use serde_json::Value;

use super::program::{framegate, json};
use super::server::alone;
use super::support::Nginx;

#[test]
fn nginx_holds_every_connection() {
    let _alone = alone();
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
    let _alone = alone();
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
            let path = nginx.folder().join("other.pem");
            fs::write(&path, other.pem()).unwrap();
            command.env("SSL_CERT_FILE", path);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
    }
    // In the clear to where TLS is spoken, nginx says what is wrong.
    let report = json(bench(&format!("http://127.0.0.1:{}/", nginx.tls_port), &[]), 1);
    assert_eq!(report["statuses"]["400"], report["done"]);
    assert!(report["closes"]["announced"].as_u64() >= report["done"].as_u64(), "{report}");
}
