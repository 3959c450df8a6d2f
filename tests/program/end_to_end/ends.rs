//! Every number and time that a gateway can be set to, at the ends of its range.

use framegate::core::ranges::{Bounds, RANGES, Range};

use super::*;

/// What the option needs beside it.
fn beside(option: &str, folder: &Path) -> Vec<String> {
    let strings = |given: &[&str]| given.iter().map(ToString::to_string).collect();
    match option {
        "handlers" | "handler-timeout" | "max-queued" => strings(&["--handler", "cat", "--workers", "1"]),
        // What is with the handlers takes some of the memory.
        "max-in-flight" => strings(&["--handler", "cat", "--workers", "1", "--memory", "1048576GiB"]),
        "max-payload" => strings(&["--memory", "1048576GiB"]),
        "store-keep" => strings(&["--store", &folder.display().to_string(), "--store-rotate", "1ms"]),
        "store-hold" => strings(&["--store", &folder.display().to_string(), "--store-keep", "7d"]),
        store if store.starts_with("store-") => strings(&["--store", &folder.display().to_string()]),
        http if http.starts_with("http-") => strings(&["--http-sink", "http://127.0.0.1:1/"]),
        _ => Vec::new(),
    }
}

fn ends(range: &Range) -> Vec<String> {
    let exact = |time: Duration| format!("{}ns", time.as_nanos());
    match range.bounds {
        // So many threads or programs are too many for a test.
        Bounds::Count(least, _) if ["workers", "handlers"].contains(&range.option) => vec![least.to_string()],
        Bounds::Count(least, most) => vec![least.to_string(), most.to_string()],
        // Its least follows from others.
        Bounds::Size(_, most) if range.option == "memory" => vec![most.to_string()],
        Bounds::Size(least, most) => vec![least.to_string(), most.to_string()],
        Bounds::Time(least, most) => vec![exact(least), exact(most)],
        Bounds::TimeOrSize(time, size) => vec!["1ms".into(), exact(time), "1B".into(), format!("{size}B")],
        Bounds::Rate(..) => unreachable!("serve has none"),
    }
}

#[test]
fn a_gateway_serves_at_both_ends_of_every_range() {
    for range in RANGES.iter().filter(|range| range.command == "serve") {
        for value in ends(range) {
            let folder = tempfile::tempdir().unwrap();
            let option = format!("--{}={value}", range.option);
            let mut args = beside(range.option, folder.path());
            args.push(option.clone());
            if range.option != "drain" {
                // Long enough for a disk; where no server is there to take it, in vain.
                let drain = if range.option.starts_with("http-") { "100ms" } else { "10s" };
                args.extend(["--drain", drain].map(String::from));
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let gateway = serve(&args);
            // A connection begins every clock and counter; what becomes of it is another matter at 1 ms.
            let mut stream = TcpStream::connect(&gateway.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut frames = Vec::new();
            encode(Header::new(Kind::Data), b"a", b"", &Scheme::Sha256, &mut frames);
            encode(Header { id: 7, ..Header::new(Kind::Ping) }, b"", b"", &Scheme::Sha256, &mut frames);
            let _ = stream.write_all(&frames);
            let _ = stream.read(&mut [0; 64]);
            gateway.process.signal("TERM");
            close_when_told(stream);
            let (code, ledger, said) = gateway.process.end();
            // Where nobody is there to take it, what was accepted is left when the drain is over.
            let is_left =
                option.starts_with("--http-") && said.contains("1 frame not confirmed by the sinks");
            assert_eq!(code, i32::from(is_left), "{option}: {said}");
            assert!(ledger.starts_with("frames: read "), "{option}: {ledger}");
        }
    }
}
