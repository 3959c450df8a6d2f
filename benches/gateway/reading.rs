//! Reading runs of whole frames, for the variants on tokio.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::{BufMut, Bytes, BytesMut};
use framegate::wire::{Header, Rest, cut};
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::io::poll_read_buf;

use crate::wire::{READ_MAX, READ_MIN, RULES};

/// A connection's bytes that are not yet a whole frame. It holds no memory while there are none.
pub struct Reading {
    half: OwnedReadHalf,
    bytes: BytesMut,
    /// What the next read is offered: doubled while reads come back full.
    step: usize,
    /// What is missing of the frame that `bytes` begins.
    missing: usize,
}

impl Reading {
    pub fn new(half: OwnedReadHalf) -> Reading {
        Reading { half, bytes: BytesMut::new(), step: READ_MIN, missing: 0 }
    }

    /// The next whole frames; none at the end of the stream or where it is no stream of frames.
    pub async fn next_run(&mut self) -> Option<Bytes> {
        loop {
            match self.read().await? {
                (run, _) if run.is_empty() => {}
                (run, _) => return Some(run),
            }
        }
    }

    /// One read: the whole frames that it completed, maybe none, and the header of the frame that
    /// [`begun`](Self::begun) is the beginning of.
    pub async fn read(&mut self) -> Option<(Bytes, Option<Header>)> {
        match self.fill().await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let cut = cut(&self.bytes, &RULES);
        let run = self.bytes.split_to(cut.whole).freeze();
        let header = match cut.rest {
            Rest::Short => None,
            Rest::Begun(header) => Some(header),
            Rest::Fault(_) => return None,
        };
        self.missing = header.map_or(0, |header| header.frame_len() - self.bytes.len());
        Some((run, header))
    }

    /// The bytes of the frame that is not whole yet.
    pub fn begun(&self) -> &[u8] {
        &self.bytes
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let Reading { half, bytes, step, missing } = self;
        poll_fn(|cx| {
            let spare = bytes.capacity() - bytes.len();
            if spare < (*missing).max(*step / 4) {
                bytes.reserve((*missing).max(*step));
            }
            let offered = (bytes.capacity() - bytes.len()).min(READ_MAX);
            let read = poll_read_buf(Pin::new(&mut *half), cx, &mut bytes.limit(READ_MAX));
            match read {
                Poll::Pending if bytes.is_empty() => *bytes = BytesMut::new(),
                Poll::Ready(Ok(n)) if n == offered => *step = (*step * 2).min(READ_MAX),
                _ => {}
            }
            read
        })
        .await
    }
}
