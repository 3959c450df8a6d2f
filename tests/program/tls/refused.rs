//! Clients that are not taken, and those that stall, trickle and cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use framegate::wire::{Header, Kind, Scheme, encode};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::certs::{Authority, DAY, Wanted};
use super::{World, said};
use crate::support::PATIENCE;

pub type Peer = StreamOwned<ClientConnection, TcpStream>;

/// How a client of the world's is set up.
pub fn config(world: &World, who: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.ca.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let cert = CertificateDer::pem_file_iter(world.path(&format!("{who}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(world.path(&format!("{who}.key"))).unwrap();
    Arc::new(builder.with_client_auth_cert(cert.map(Result::unwrap).collect(), key).unwrap())
}

/// A connection that stands.
pub fn connect(world: &World, config: &Arc<ClientConfig>) -> Peer {
    let socket = TcpStream::connect(&world.secure).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let session = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut peer = StreamOwned::new(session, socket);
    while peer.conn.is_handshaking() {
        peer.conn.complete_io(&mut peer.sock).unwrap();
    }
    peer
}

pub fn frame(kind: Kind, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { want_reply: true, id: 1, ..Header::new(kind) };
    encode(header, topic.as_bytes(), payload, &Scheme::Sha256, &mut bytes);
    bytes
}

/// One reply: its status and its reason.
pub fn reply(peer: &mut impl Read) -> std::io::Result<(u16, String)> {
    let mut header = [0; 32];
    peer.read_exact(&mut header)?;
    let len = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
    let mut rest = vec![0; usize::from(header[5]) + len + 32];
    peer.read_exact(&mut rest)?;
    let reason = String::from_utf8_lossy(&rest[usize::from(header[5])..rest.len() - 32]).into_owned();
    Ok((u16::from_be_bytes([header[6], header[7]]), reason))
}

#[test]
fn certificates_that_are_not_taken_are_named_in_the_log() {
    let world = World::new(&[]);
    world.put("crl.pem", &world.ca.revoke(&[99]));
    world.says("certificates and keys were read again");
    let (other, now) = (Authority::new("plant"), SystemTime::now());
    let client = || Wanted::client("pump.plant");
    for (name, (cert, key), part) in [
        ("other", other.issue(&client()), "no authority of --tls-client-ca has issued"),
        ("expired", world.ca.issue(&Wanted { until: now - DAY / 2, ..client() }), "has expired"),
        ("early", world.ca.issue(&Wanted { from: now + DAY, ..client() }), "is not valid yet"),
        ("revoked", world.ca.issue(&Wanted { serial: 99, ..client() }), "is revoked"),
        (
            "server",
            world.ca.issue(&Wanted { usage: ExtendedKeyUsagePurpose::ServerAuth, ..client() }),
            "is not for clients",
        ),
    ] {
        world.put(&format!("{name}.pem"), &cert);
        world.put(&format!("{name}.key"), &key);
        let sent = world.send(name, "plant.pump.flow");
        assert_eq!(sent.status.code(), Some(3), "{name}: {}", said(&sent));
        assert!(said(&sent).contains("TLS") || said(&sent).contains("went away"), "{name}: {}", said(&sent));
        // Lines of one kind that come within a moment are counted; the status has every one.
        let status = said(&world.ctl("status", &[]));
        assert!(status.contains("TLS failed: "), "{name}: {part}: {status}");
    }
    let kinds = ["unknown_ca", "expired", "not_yet_valid", "revoked", "wrong_usage"];
    let began = Instant::now();
    // What the admin port shows may be a tenth of a second old.
    let status = loop {
        let json = said(&world.ctl("status", &["--json".into()]));
        let status: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        let is_new = kinds.iter().all(|kind| status["tls"]["refused"][*kind] != 0);
        if is_new || began.elapsed() > PATIENCE {
            break status;
        }
    };
    for kind in kinds {
        assert_eq!(status["tls"]["refused"][kind], 1, "{kind}: {}", status["tls"]);
    }
    let sent = world.send("pump", "plant.pump.flow");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
}

#[test]
fn one_who_begins_and_falls_silent_is_closed_on_the_deadline_and_holds_nobody_up() {
    let world = World::new(&[]);
    let began = Instant::now();
    let hello = [&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 40]].concat();
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&world.secure).unwrap()).collect();
    for (at, peer) in silent.iter_mut().enumerate() {
        // Nothing, a byte, and half of a ClientHello.
        peer.write_all(&hello[..[0, 1, hello.len()][at % 3]]).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let sent = world.send("pump", "plant.pump.flow");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    assert!(began.elapsed() < Duration::from_secs(9), "it did not wait for those that are silent");
    for peer in &mut silent {
        assert_eq!(peer.read(&mut [0; 100]).unwrap_or(0), 0);
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(30), "{took:?}");
    world.says("its TLS handshake was not over in time");
}

#[test]
fn a_cut_in_the_middle_of_a_frame_is_an_unfinished_one_and_trickled_bytes_are_as_good_as_others() {
    let world = World::new(&[]);
    let config = config(&world, "pump");
    // All but the last byte, and no word that nothing more comes.
    let data = frame(Kind::Data, "plant.pump.flow", &[7; 1000]);
    let mut cut = connect(&world, &config);
    cut.write_all(&data[..data.len() - 1]).unwrap();
    cut.flush().unwrap();
    cut.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(cut.read(&mut [0; 100]).unwrap_or(0), 0, "it ends, and nothing is said of the frame");
    // A frame in records of one byte, which come in pieces.
    let mut trickling = connect(&world, &config);
    for byte in &data {
        trickling.conn.writer().write_all(&[*byte]).unwrap();
    }
    let mut records = Vec::new();
    while trickling.conn.wants_write() {
        trickling.conn.write_tls(&mut records).unwrap();
    }
    for piece in records.chunks(701) {
        trickling.sock.write_all(piece).unwrap();
    }
    assert_eq!(reply(&mut trickling).unwrap().0, 0);
    // A word that nothing more comes: what was sent is answered, and the end is said.
    trickling.write_all(&data).unwrap();
    trickling.conn.send_close_notify();
    trickling.flush().unwrap();
    assert_eq!(reply(&mut trickling).unwrap().0, 0);
    assert_eq!(trickling.read(&mut [0; 100]).unwrap(), 0, "the gateway says its end, too");
    let json = said(&world.ctl("status", &["--json".into()]));
    let status: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(status["ledger"]["bytes_unfinished"], data.len() as u64 - 1, "{}", status["ledger"]);
}

#[test]
fn text_and_http_at_the_port_of_tls_are_told_so() {
    let world = World::new(&[]);
    for (text, part) in
        [("GET / HTTP/1.1\r\n\r\n", "looks like HTTP in the clear"), ("hello\n", "looks like plain text")]
    {
        let mut peer = TcpStream::connect(&world.secure).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("this port speaks TLS"), "{part}: {answer}");
    }
    world.says("looks like HTTP in the clear");
}

#[test]
fn an_address_has_as_many_connections_as_it_may() {
    let world = World::new(&["--max-per-address", "3"]);
    let config = config(&world, "pump");
    let held: Vec<Peer> = (0..3).map(|_| connect(&world, &config)).collect();
    let mut more = TcpStream::connect(&world.plain).unwrap();
    more.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(more.read(&mut [0; 10]).unwrap_or(0), 0);
    world.says("as many as --max-per-address allows");
    drop(held);
    let began = Instant::now();
    while world.send("pump", "plant.pump.flow").status.code() != Some(0) {
        assert!(began.elapsed() < PATIENCE, "its places are free again");
    }
}
