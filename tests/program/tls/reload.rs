//! Certificates, keys, authorities and revocation lists change while the gateway runs.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use framegate::wire::Kind;
use rustls::HandshakeKind;

use super::certs::{Authority, DAY, Wanted};
use super::refused::{config, connect, frame, reply};
use super::{World, said};

#[test]
fn a_revoked_certificate_closes_its_live_connection_and_no_session_of_it_is_resumed() {
    let world = World::new(&[]);
    let config = config(&world, "pump");
    let ping = frame(Kind::Ping, "", b"");
    let mut live = connect(&world, &config);
    live.write_all(&ping).unwrap();
    assert_eq!(reply(&mut live).unwrap().0, 0);
    // Tickets came with the reply: a second connection resumes.
    let mut again = connect(&world, &config);
    again.write_all(&ping).unwrap();
    assert_eq!(reply(&mut again).unwrap().0, 0);
    assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    let mut desk = world.tail("desk", ">");
    world.put("crl.pem", &world.ca.revoke(&[17]));
    for peer in [&mut live, &mut again] {
        let (status, reason) = reply(peer).unwrap();
        assert_eq!(
            (status, reason.as_str()),
            (18, "the client certificate is revoked, by what is in force now")
        );
        assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0, "it is closed in good order");
    }
    world.says("2 connections were closed by them");
    let refused = world.send("pump", "plant.pump.flow");
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let mut resumed = std::net::TcpStream::connect(&world.secure).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(config.clone(), name).unwrap();
    let mut is_over = false;
    while !is_over {
        is_over = session.complete_io(&mut resumed).is_err();
    }
    assert_ne!(session.handshake_kind(), Some(HandshakeKind::Resumed));
    // Others are as they were.
    let sent = world.send("desk", "cmd.pump");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    desk.signal("INT");
    let (_, printed, _) = desk.finish();
    assert!(printed.starts_with("cmd.pump "), "{printed}");
}

#[test]
fn what_does_not_fit_together_changes_nothing() {
    let world = World::new(&[]);
    let old = config(&world, "pump");
    let first = connect(&world, &old).conn.peer_certificates().unwrap()[0].clone();
    let (cert, key) = world.ca.issue(&Wanted { until: SystemTime::now() + 10 * DAY, ..Wanted::server() });
    // One file after the other: between them they do not fit.
    world.put("gateway.pem", &cert);
    world.says("nothing was reloaded, what was in force stays so: ");
    let reloaded = world.ctl("reload", &[]);
    assert_eq!(reloaded.status.code(), Some(2), "{}", said(&reloaded));
    assert!(said(&reloaded).contains("it is not the key of the certificate"), "{}", said(&reloaded));
    assert_eq!(connect(&world, &old).conn.peer_certificates().unwrap()[0], first);
    world.put("gateway.key", &key);
    world.says("ends in 9 days");
    world.says("certificates and keys were read again");
    let second = connect(&world, &old).conn.peer_certificates().unwrap()[0].clone();
    assert_ne!(second, first);
    // All or nothing: a wrong access file keeps a right certificate out.
    world.put("access.toml", "[who.pump]\npublish = 'a'\nnonsense = 1\n");
    world.says("nothing was reloaded");
    let sent = world.send("pump", "plant.pump.flow");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
}

#[test]
fn another_authority_takes_the_place_of_one_and_its_clients_go() {
    let world = World::new(&["--tls-client", "require"]);
    let mut live = connect(&world, &config(&world, "pump"));
    let other = Authority::new("new plant");
    let (cert, key) = other.issue(&Wanted::client("pump.plant"));
    world.put("next.pem", &cert);
    world.put("next.key", &key);
    let refused = world.send("next", "plant.pump.flow");
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    // Both for a while, then the new one alone.
    world.put("ca.pem", &(world.ca.pem() + &other.pem()));
    let both = world.ctl("reload", &[]);
    assert!(said(&both).contains(", 0 were closed"), "{}", said(&both));
    let gateway = world.path("gateway.pem");
    let mut args = world.tls("next");
    args[2] = gateway;
    assert_eq!(world.send("pump", "plant.pump.flow").status.code(), Some(0));
    let sent = world.send("next", "plant.pump.flow");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    world.put("ca.pem", &other.pem());
    let (status, reason) = reply(&mut live).unwrap();
    assert_eq!(status, 18, "{reason}");
    assert!(reason.starts_with("no authority of --tls-client-ca has issued"), "{reason}");
}

#[test]
fn links_are_swapped_as_kubernetes_does_it() {
    let world = World::new(&[]);
    let folder = world.folder.path().join("secret");
    std::fs::create_dir(&folder).unwrap();
    let put = |version: &str| {
        let (cert, key) = world.ca.issue(&Wanted::server());
        let data = folder.join(version);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("tls.crt"), cert).unwrap();
        std::fs::write(data.join("tls.key"), key).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    put("..1");
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let args =
        ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--listen-tls", "127.0.0.1:0", "--tls-cert"];
    let mut command = super::program(&args);
    let gateway = crate::support::process::Process::start(command.arg(&cert).arg("--tls-key").arg(&key));
    gateway.says("listening for native frames on ");
    put("..2");
    gateway.says("certificates and keys were read again");
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let world = World::new(&[]);
    world.put("gateway.toml", "listen = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\nmemory = '64MiB'\n");
    let path = world.path("gateway.toml");
    let gateway = crate::support::process::Process::start(&mut super::program(&["serve", "--config", &path]));
    let page = gateway.says("the page, metrics and ctl on http://");
    let admin = page.split("http://").nth(1).unwrap().trim_end_matches('/').to_string();
    world.put(
        "gateway.toml",
        "listen = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\nmemory = '128MiB'\nslow = 'drop'\n",
    );
    let reloaded = crate::cli::framegate(&["ctl", "--admin", &admin, "reload"]);
    let part = "changed, and read at the start alone: memory, slow: restart the gateway for them";
    assert!(said(&reloaded).contains(part), "{}", said(&reloaded));
    gateway.signal("HUP");
    gateway.says("HUP: changed, and read at the start alone: memory, slow");
}
