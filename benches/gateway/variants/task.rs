//! Hashes in the connection's task once a frame is whole; neighbours are delivered as one slice.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::{accept, multi_thread};
use crate::hub::{Hub, Side};
use crate::reading::Reading;
use crate::wire::{is_intact, segments};

pub fn serve() {
    accept(&multi_thread(), |stream, hub| connection(stream, hub, is_intact));
}

pub async fn connection(stream: TcpStream, hub: Arc<Hub>, intact: fn(&[u8]) -> bool) {
    let (half, other) = stream.into_split();
    let mut reading = Reading::new(half);
    let mut side = Side::new(hub, other);
    while let Some(run) = reading.next_run().await {
        side.deliver(&run, &segments(&run, intact)).await;
    }
}
