//! A thread reads each connection and hashes there; another writes to each subscriber.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, RwLock};

use bytes::{Buf, Bytes, BytesMut};
use framegate::wire::{Kind, Rest, cut};

use super::listen;
use crate::wire::{
    OUTBOX, READ_MAX, READ_MIN, RULES, Segment, WRITE_SLICES, is_intact, ok_reply, segments, takes,
};

/// 128 KiB of stack: nothing here is deep.
const STACK: usize = 128 << 10;

type Hub = RwLock<Vec<(String, Arc<Outbox>)>>;

pub fn serve() {
    let hub: Arc<Hub> = Arc::default();
    for stream in listen().incoming().flatten() {
        let hub = Arc::clone(&hub);
        // Where the system gives no more threads, the connection closes.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || connection(stream, &hub));
    }
}

fn connection(mut stream: TcpStream, hub: &Hub) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = BytesMut::zeroed(READ_MIN);
    let mut filled = 0;
    let mut step = READ_MIN;
    let mut outbox: Option<Arc<Outbox>> = None;
    loop {
        let to = bytes.len().min(filled + READ_MAX);
        let n = stream.read(&mut bytes[filled..to])?;
        if n == 0 {
            return Ok(());
        }
        if filled + n == to {
            step = (step * 2).min(READ_MAX);
        }
        filled += n;
        let cut = cut(&bytes[..filled], &RULES);
        let run = bytes.split_to(cut.whole).freeze();
        filled -= cut.whole;
        let missing = match cut.rest {
            Rest::Short => 0,
            Rest::Begun(header) => header.frame_len() - filled,
            Rest::Fault(_) => return Ok(()),
        };
        if bytes.len() - filled < missing.max(step / 4) {
            let mut next = BytesMut::zeroed(filled + missing.max(step));
            next[..filled].copy_from_slice(&bytes[..filled]);
            bytes = next;
        }
        for segment in &segments(&run, is_intact) {
            match segment.kind {
                Kind::Data => distribute(hub, &run, segment),
                Kind::Subscribe => {
                    let outbox = match &outbox {
                        Some(outbox) => outbox,
                        None => outbox.insert(Outbox::start(stream.try_clone()?)?),
                    };
                    let pattern = String::from_utf8_lossy(segment.topic(&run)).into_owned();
                    hub.write().expect("no holder panics").push((pattern, Arc::clone(outbox)));
                    if segment.want_reply {
                        outbox.push(ok_reply(segment.id).into());
                    }
                }
                _ => {}
            }
        }
    }
}

fn distribute(hub: &Hub, run: &Bytes, segment: &Segment) {
    let topic = segment.topic(run);
    for (_, outbox) in hub.read().expect("no holder panics").iter().filter(|(one, _)| takes(one, topic)) {
        outbox.push(run.slice(segment.range.clone()));
    }
}

/// What waits for one peer.
#[derive(Default)]
struct Outbox {
    state: Mutex<Waiting>,
    room: Condvar,
    work: Condvar,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    fn start(stream: TcpStream) -> io::Result<Arc<Outbox>> {
        let outbox: Arc<Outbox> = Arc::default();
        let mine = Arc::clone(&outbox);
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let _ = mine.write(stream);
            mine.state.lock().expect("no holder panics").closed = true;
            mine.room.notify_all();
        })?;
        Ok(outbox)
    }

    /// Waits for room. A peer that is gone takes everything.
    fn push(&self, bytes: Bytes) {
        let mut state = self.state.lock().expect("no holder panics");
        while state.bytes >= OUTBOX && !state.closed {
            state = self.room.wait(state).expect("no holder panics");
        }
        if state.closed {
            return;
        }
        state.bytes += bytes.len();
        state.entries.push_back(bytes);
        if state.entries.len() == 1 {
            self.work.notify_one();
        }
    }

    fn write(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut open = VecDeque::new();
        loop {
            self.take(&mut open);
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            for (slice, bytes) in slices.iter_mut().zip(&open) {
                *slice = IoSlice::new(bytes);
            }
            let mut n = stream.write_vectored(&slices[..open.len()])?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.state.lock().expect("no holder panics").bytes -= n;
            self.room.notify_all();
            while let Some(first) = open.front_mut()
                && n > 0
            {
                let len = first.len().min(n);
                n -= len;
                first.advance(len);
                if first.is_empty() {
                    open.pop_front();
                }
            }
        }
    }

    fn take(&self, open: &mut VecDeque<Bytes>) {
        let mut state = self.state.lock().expect("no holder panics");
        while open.is_empty() && state.entries.is_empty() {
            state = self.work.wait(state).expect("no holder panics");
        }
        let free = (WRITE_SLICES - open.len()).min(state.entries.len());
        open.extend(state.entries.drain(..free));
    }
}
