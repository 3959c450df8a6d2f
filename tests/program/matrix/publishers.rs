//! Publishers on plain sockets: one thread writes what was drawn, another reads what comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::story::Line;
use super::support;
use super::wire::{self, Cutter, Frame};
use super::world::{Ending, LinePlan, What};

/// A socket with which nothing waits for ever.
pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    // Longer than a world takes.
    socket.set_read_timeout(Some(2 * support::PATIENCE))?;
    socket.set_write_timeout(Some(2 * support::PATIENCE))?;
    Ok(socket)
}

/// Reads to the end, giving each frame to `take`. How it ended.
pub fn read_all(socket: &mut TcpStream, secret: Option<&[u8]>, mut take: impl FnMut(Frame)) -> String {
    let mut cutter = Cutter::default();
    let mut bytes = vec![0; 1 << 16];
    loop {
        match socket.read(&mut bytes) {
            Ok(0) if cutter.left() > 0 => return format!("{} bytes of a frame, and the end", cutter.left()),
            Ok(0) => return "closed".into(),
            Ok(n) => cutter.push(&bytes[..n]),
            Err(why) => return why.to_string(),
        }
        loop {
            match cutter.next(secret) {
                Ok(Some(frame)) => take(frame),
                Ok(None) => break,
                Err(why) => return why,
            }
        }
    }
}

/// Does what is planned with one connection, and lets go of `done` when all of it has taken effect, or never will.
pub fn run(address: SocketAddr, plan: &LinePlan, secret: Option<&[u8]>, done: Sender<()>) -> Line {
    let mut line = Line { ending: plan.ending, ..Line::default() };
    let Ok(mut socket) = connect(address) else {
        line.end = "no connection".into();
        return line;
    };
    let barrier = match plan.items.last() {
        Some(last) if last.what == What::Ping => last.id,
        _ => 0,
    };
    thread::scope(|scope| {
        let mut reading = socket.try_clone().expect("files are left");
        let reader = scope.spawn(move || {
            let (mut replies, mut got, mut is_complete) = (Vec::new(), Vec::new(), false);
            let mut waited_for = Some(done);
            let end = read_all(&mut reading, secret, |frame| {
                if frame.kind == wire::DATA {
                    got.push(frame);
                    return;
                }
                if frame.id == barrier && frame.status == wire::OK {
                    is_complete = true;
                    drop(waited_for.take());
                }
                replies.push(frame);
            });
            drop(waited_for);
            (replies, got, is_complete, end)
        });
        let written = write(&mut socket, plan);
        line.items = plan.items[..written].to_vec();
        match plan.ending {
            Ending::Reset(_) => {
                // The reader lets go of it; what is left of it is broken off.
                let _ = socket.shutdown(Shutdown::Read);
            }
            // In all of these it may be gone already.
            Ending::HalfClose => {
                let _ = socket.shutdown(Shutdown::Write);
            }
            Ending::Garbage => {
                let _ = socket.write_all(b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n");
            }
            Ending::TooLarge => {
                let _ = socket.write_all(&wire::too_large());
            }
            Ending::Stays => {}
        }
        (line.replies, line.got, line.is_complete, line.end) = reader.join().expect("it only reads");
    });
    if let Ending::Reset(_) = plan.ending {
        support::reset(socket);
    }
    line
}

/// How many items were written as a whole.
fn write(socket: &mut TcpStream, plan: &LinePlan) -> usize {
    let most = match plan.ending {
        Ending::Reset(items) => items.min(plan.items.len()),
        _ => plan.items.len(),
    };
    let mut at = 0;
    for &(items, pause) in &plan.writes {
        if pause > Duration::ZERO {
            thread::sleep(pause);
        }
        let to = (at + items).min(most);
        let mut bytes: Vec<u8> =
            plan.items[at..to].iter().flat_map(|item| &item.bytes[..]).copied().collect();
        if to == most
            && let Some(next) = plan.items.get(to)
        {
            bytes.extend(&next.bytes[..next.bytes.len() / 2]);
        }
        if socket.write_all(&bytes).is_err() {
            // Some of them may have been read.
            return to;
        }
        at = to;
        if at == most {
            break;
        }
    }
    at
}
