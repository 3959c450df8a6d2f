//! Cuts with a codec and handles a frame at a time, as most would write it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use framegate::wire::{HEADER, Header};
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, FramedRead};

use super::{accept, multi_thread};
use crate::hub::{Hub, Side};
use crate::wire::{RULES, is_intact, segments};

pub fn serve() {
    accept(&multi_thread(), connection);
}

async fn connection(stream: TcpStream, hub: Arc<Hub>) {
    let (half, other) = stream.into_split();
    let mut frames = FramedRead::new(half, Codec);
    let mut side = Side::new(hub, other);
    while let Some(Ok(frame)) = frames.next().await {
        side.deliver(&frame, &segments(&frame, is_intact)).await;
    }
}

/// `LengthDelimitedCodec` with two lengths: the topic's is in another place than the payload's.
struct Codec;

impl Decoder for Codec {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Bytes>> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::decode(header).map_err(|_| io::ErrorKind::InvalidData)?;
        if header.payload_len > RULES.payload_max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let len = header.frame_len();
        if bytes.len() < len {
            bytes.reserve(len - bytes.len());
            return Ok(None);
        }
        Ok(Some(bytes.split_to(len).freeze()))
    }
}
