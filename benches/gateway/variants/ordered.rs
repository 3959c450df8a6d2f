//! Verifying elsewhere, several at once, and delivering in order: what the variants that hand over share.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::hub::{Hub, Side};
use crate::reading::Reading;
use crate::wire::{Segment, header_of, is_intact, segments};

/// 256 items of one connection that are verified at once: 64 KiB of small frames.
const IN_FLIGHT: usize = 256;

/// 8 MiB of them.
const IN_FLIGHT_BYTES: usize = 8 << 20;

/// Frames with their verdicts.
pub struct Checked {
    run: Bytes,
    segments: Vec<Segment>,
}

/// Verifies a run here.
pub fn check(run: Bytes) -> Checked {
    let segments = segments(&run, is_intact);
    Checked { run, segments }
}

/// Serves a connection: `split` makes items of a run, `verify` begins to verify an item, and the items
/// are delivered in the order in which they came.
pub async fn connection<F>(
    stream: TcpStream,
    hub: Arc<Hub>,
    split: fn(Bytes, &mut VecDeque<Bytes>),
    verify: impl Fn(Bytes) -> F,
) where
    F: Future<Output = Checked>,
{
    let (half, other) = stream.into_split();
    let mut side = Side::new(hub, other);
    let source = Source {
        reading: Reading::new(half),
        items: VecDeque::new(),
        room: Arc::new(Semaphore::new(IN_FLIGHT_BYTES)),
    };
    let items = stream::unfold(source, |mut source| async move {
        let item = source.next(split).await?;
        Some((item, source))
    });
    let verified = items.map(|(item, room)| {
        let checked = verify(item);
        async move { (checked.await, room) }
    });
    // It is FuturesOrdered underneath, filled while there is room.
    let mut verified = pin!(verified.buffered(IN_FLIGHT));
    while let Some((checked, _room)) = verified.next().await {
        side.deliver(&checked.run, &checked.segments).await;
    }
}

/// Every frame for itself.
pub fn each(run: Bytes, items: &mut VecDeque<Bytes>) {
    pieces(run, items, 0);
}

/// Each frame of more than `small` bytes for itself; neighbours that are smaller together.
pub fn pieces(mut run: Bytes, items: &mut VecDeque<Bytes>, small: usize) {
    let mut together = 0;
    while together < run.len() {
        let len = header_of(&run[together..]).frame_len();
        if len <= small {
            together += len;
            continue;
        }
        if together > 0 {
            items.push_back(run.split_to(together));
            together = 0;
        }
        items.push_back(run.split_to(len));
    }
    if together > 0 {
        items.push_back(run);
    }
}

struct Source {
    reading: Reading,
    items: VecDeque<Bytes>,
    room: Arc<Semaphore>,
}

impl Source {
    async fn next(
        &mut self,
        split: fn(Bytes, &mut VecDeque<Bytes>),
    ) -> Option<(Bytes, OwnedSemaphorePermit)> {
        while self.items.is_empty() {
            let run = self.reading.next_run().await?;
            split(run, &mut self.items);
        }
        let item = self.items.pop_front()?;
        let bytes = u32::try_from(item.len().min(IN_FLIGHT_BYTES)).expect("less than 4 GiB");
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()?;
        Some((item, room))
    }
}
