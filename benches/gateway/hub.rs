//! Who gets what, for the variants on tokio: a bounded outbox and a writer task for each subscriber.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use bytes::{Buf, Bytes};
use framegate::wire::Kind;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::wire::{OUTBOX, Segment, WRITE_SLICES, ok_reply, takes};

/// 4,096 entries of an outbox: 256 B frames, one an entry, are then bounded before their bytes are.
const OUTBOX_ENTRIES: usize = 4096;

/// All subscriptions.
#[derive(Default)]
pub struct Hub {
    subscriptions: RwLock<Arc<Vec<Subscription>>>,
    /// Changes with `subscriptions`, so that connections look only then.
    version: AtomicUsize,
}

#[derive(Clone)]
struct Subscription {
    pattern: String,
    outbox: Outbox,
}

/// What waits for one peer: at most [`OUTBOX`] bytes.
#[derive(Clone)]
struct Outbox {
    sender: mpsc::Sender<Entry>,
    room: Arc<Semaphore>,
}

/// Bytes, and their room in the outbox until they are written.
struct Entry {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Outbox {
    /// Waits for room. A peer that is gone takes everything.
    async fn push(&self, bytes: Bytes) {
        let room = u32::try_from(bytes.len().min(OUTBOX)).expect("an outbox is less than 4 GiB");
        let permit = match Arc::clone(&self.room).try_acquire_many_owned(room) {
            Ok(permit) => permit,
            Err(_) => match Arc::clone(&self.room).acquire_many_owned(room).await {
                Ok(permit) => permit,
                Err(_) => return,
            },
        };
        let _ = self.sender.send(Entry { bytes, _room: permit }).await;
    }
}

/// One connection's side of the hub: what it publishes and what it subscribes to.
pub struct Side {
    hub: Arc<Hub>,
    version: usize,
    subscriptions: Arc<Vec<Subscription>>,
    writer: Writer,
}

enum Writer {
    Idle(Option<OwnedWriteHalf>),
    Running(Outbox),
}

impl Side {
    pub fn new(hub: Arc<Hub>, half: OwnedWriteHalf) -> Side {
        Side { hub, version: 0, subscriptions: Arc::default(), writer: Writer::Idle(Some(half)) }
    }

    /// Distributes the frames of `run` that `segments` says are right, neighbours as one slice.
    pub async fn deliver(&mut self, run: &Bytes, segments: &[Segment]) {
        for stretch in segments.chunk_by(|a, b| a.kind == Kind::Data && b.kind == Kind::Data) {
            match stretch[0].kind {
                Kind::Data => self.distribute(run, stretch).await,
                Kind::Subscribe => self.subscribe(run, &stretch[0]).await,
                _ => {}
            }
        }
    }

    async fn distribute(&mut self, run: &Bytes, stretch: &[Segment]) {
        self.refresh();
        for subscription in self.subscriptions.iter() {
            let mut taken = stretch.iter().filter(|one| takes(&subscription.pattern, one.topic(run)));
            let Some(first) = taken.next() else { continue };
            let mut range = first.range.clone();
            for next in taken {
                if next.range.start == range.end {
                    range.end = next.range.end;
                } else {
                    subscription.outbox.push(run.slice(range)).await;
                    range = next.range.clone();
                }
            }
            subscription.outbox.push(run.slice(range)).await;
        }
    }

    async fn subscribe(&mut self, run: &Bytes, segment: &Segment) {
        let outbox = self.outbox();
        let pattern = String::from_utf8_lossy(segment.topic(run)).into_owned();
        {
            let mut all = self.hub.subscriptions.write().expect("no writer panics");
            let held = all.iter().filter(|held| !held.outbox.sender.is_closed()).cloned();
            *all = Arc::new(held.chain([Subscription { pattern, outbox: outbox.clone() }]).collect());
            self.hub.version.fetch_add(1, Ordering::Release);
        }
        if segment.want_reply {
            outbox.push(ok_reply(segment.id).into()).await;
        }
    }

    fn outbox(&mut self) -> Outbox {
        if let Writer::Idle(half) = &mut self.writer {
            let (sender, receiver) = mpsc::channel(OUTBOX_ENTRIES);
            let outbox = Outbox { sender, room: Arc::new(Semaphore::new(OUTBOX)) };
            let half = half.take().expect("it is taken once");
            let room = Arc::clone(&outbox.room);
            tokio::spawn(async move {
                let _ = write_all(half, receiver).await;
                room.close();
            });
            self.writer = Writer::Running(outbox);
        }
        match &self.writer {
            Writer::Running(outbox) => outbox.clone(),
            Writer::Idle(_) => unreachable!("it was just begun"),
        }
    }

    fn refresh(&mut self) {
        let version = self.hub.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.subscriptions = Arc::clone(&self.hub.subscriptions.read().expect("no writer panics"));
        }
    }
}

/// Writes what comes, as much in a system call as there is, and gives each entry's room back at once.
async fn write_all(mut half: OwnedWriteHalf, mut entries: mpsc::Receiver<Entry>) -> io::Result<()> {
    let mut open: VecDeque<Entry> = VecDeque::new();
    loop {
        while open.len() < WRITE_SLICES
            && let Ok(entry) = entries.try_recv()
        {
            open.push_back(entry);
        }
        if open.is_empty() {
            match entries.recv().await {
                Some(entry) => open.push_back(entry),
                None => return Ok(()),
            }
            continue;
        }
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        for (slice, entry) in slices.iter_mut().zip(&open) {
            *slice = IoSlice::new(&entry.bytes);
        }
        let mut n = half.write_vectored(&slices[..open.len()]).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(entry) = open.front_mut()
            && n > 0
        {
            let len = entry.bytes.len().min(n);
            n -= len;
            entry.bytes.advance(len);
            if entry.bytes.is_empty() {
                open.pop_front();
            }
        }
    }
}
